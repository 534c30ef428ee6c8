"""Rules to begin with, by shop system: those of `starter.toml` whose lines can be true there."""

import textwrap
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import get_args

from .model import Model, PageType
from .platforms import Platform, PlatformError, platforms

RULES = 20
"""So many rules at once suit a shop of 100,000 visitors a month; the default rule comes on top."""

UNATTENDED = (
    "They invite also while no agent is there, and the question is answered by mail: with unattended = false "
    "in [sites.invites] they do not."
)


class Starter(Model):
    """One entry of the file: `rule` is TOML with the keys of a rule. Of its numbers those in `known` rest on
    a source; those in `likely` do not."""

    why: str
    needs: tuple[str, ...]
    known: tuple[str, ...] = ()
    likely: tuple[str, ...] = ()
    rule: str


@cache
def starters() -> Sequence[Starter]:
    """All entries, the most useful first, the default rule last."""
    data = tomllib.loads(files(__package__).joinpath("starter.toml").read_text("utf-8"))
    return tuple(Starter.model_validate(entry) for entry in data["starter"])


def given_by(platform: Platform | None) -> frozenset[str]:
    """What entries may need of a preset; without one, all kinds of pages, which the owner names himself."""
    if platform is None:
        return frozenset(get_args(PageType))
    cart = {f"cart.{key}" for key in ("value", "items") if getattr(platform.cart, key)}
    kinds = {kind for _, kind in platform.page_types}
    return frozenset(kinds | cart | {one.event for one in platform.signals} | {*platform.facts})


def starter_text(name: str | None = None) -> str:
    """The rules for a platform as `clew rules set` takes them. Raises PlatformError for an unknown name."""
    if name is not None and name not in platforms():
        raise PlatformError(name)
    given = given_by(platforms()[name] if name is not None else None)
    *common, default = starters()
    chosen = [*[one for one in common if given.issuperset(one.needs)][:RULES], default]
    blocks = [f"{_comment(_reasons(one))}\n[[rules]]\n{one.rule.strip()}\n" for one in chosen]
    head = (
        f"Rules to begin with for {name}."
        if name
        else ("Rules to begin with. They ask for kinds of pages: name yours in `page_types` first.")
    )
    return "\n".join([f"{_comment(head)}\n{_comment(UNATTENDED)}\n", *blocks])


def _reasons(one: Starter) -> str:
    if not one.likely:
        return one.why
    return f"{one.why} Likely, not measured: {', '.join(one.likely)}."


def _comment(text: str) -> str:
    return textwrap.fill(text, 116, initial_indent="# ", subsequent_indent="# ")
