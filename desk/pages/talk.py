"""A conversation as the desk's pages show it: its messages, and what the field for an answer needs."""

import secrets
from typing import Any

from ...chat.model import Conversation
from ...referral.visitor import Visitor
from ...service.canned_answers import filled, values_for
from .auth import AgentContext
from .canned import answers_of
from .inbox import hue, short_name
from .render import language_name

SHOWN_MESSAGES = 300


async def talk_values(
    context: AgentContext,
    found: Conversation,
    visitor: Visitor | None,
    *,
    shown: int = SHOWN_MESSAGES,
    problem: str = "",
    draft: str = "",
    inserted: str = "",
) -> dict[str, Any]:
    """The values of `_talk.html`. `inserted` is the number of a canned answer that is put into the field."""
    at, agent = context.at, context.session.agent
    name = (await at.service.ledger.agents.shown({agent})).get(agent)
    values = values_for(at.site, visitor, name)
    canned = filled(await answers_of(context), found.language, values, at.site.settings.language)
    return {
        "conversation": found,
        "visitor_name": short_name(found.visitor),
        "hue": hue(found.visitor),
        "language": language_name(found.language),
        "messages": await at.service.ledger.conversations.newest(found, shown),
        "shown": shown,
        "canned": canned,
        "problem": problem,
        "draft": draft or next((one.text for one in canned if str(one.id) == inserted), ""),
        "draft_id": secrets.token_urlsafe(16),
        "most": at.site.settings.chat.message_length,
    }
