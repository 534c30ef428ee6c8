"""What requests for the pages of rules bring."""

from typing import Final

from starlette.requests import Request

from ...settings.model import Site
from ...settings.rule_text import LONGEST
from ..guard import Refused
from .auth import AgentContext, agent_pairs

FORM_BYTES: Final = 3 * LONGEST + (64 << 10)
FORM_FIELDS: Final = 100


def site_of(context: AgentContext) -> Site:
    """The site as its settings have it."""
    found = context.at.service.sites.settings_of(context.at.site.name)
    assert found is not None
    return found


async def form_of(request: Request, context: AgentContext) -> dict[str, str]:
    """The fields of a form that may hold all rules."""
    return dict(await agent_pairs(request, context, FORM_FIELDS, FORM_BYTES))


def number_of(text: str) -> int:
    """The number of a revision in a form or an address. Raises Refused (422)."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refused(422, "The number of a revision is missing; reload the page and try again.")
    return int(text)
