"""An explanation of rules in words: for `clew explain visitor`, and for the desk's preview."""

from collections.abc import Mapping
from typing import Any, Final

from ..referral.masking import HIDDEN, Masking, masked_path, short
from ..rules.ruleset import RuleExplained

VERDICTS: Final[Mapping[str, str]] = {
    "acts": "acts",
    "behind": "would act, but another stands before it",
    "armed": "waits for a signal of the browser",
    "fails": "does not act",
    "skipped": "may not act now",
    "disabled": "is switched off",
}
BRANCHES: Final[Mapping[str, str]] = {"all": "all of", "any": "any of", "not": "not"}


def outcome(explained: RuleExplained) -> str:
    """What becomes of a rule, and why."""
    said = VERDICTS[explained.verdict]
    if explained.why:
        said += f", and may not: {explained.why}" if explained.verdict == "fails" else f": {explained.why}"
    said += f": {', '.join(explained.rule.on)}" if explained.verdict == "armed" else ""
    return said + (f", would in {explained.retry_after:g} s" if explained.retry_after is not None else "")


def shown_fact(name: str, value: Any, masking: Masking) -> str:
    """A fact with its value, masked as in the log."""
    if name == "touch.click_ids":
        value = {param: short(click) for param, click in value.items()}
    elif name.startswith("touch.click_id"):
        value = short(value)
    elif name in ("page.url", "touch.landing", "touch.referrer"):
        value = masking.logged(value)
    elif name == "page.path":
        value = masked_path(value)
    elif name == "page.query":
        value = {k: v if masking.keeps(k.encode("utf-8", "replace")) else HIDDEN for k, v in value.items()}
    elif name.startswith("page.query."):
        value = value if masking.keeps(name.removeprefix("page.query.").encode()) else HIDDEN
    return f"{name} = {value!r}"
