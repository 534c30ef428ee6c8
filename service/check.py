"""Validates the settings with the checks of all packages, before anything starts."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ..chat.check import chat_problems
from ..credit.check import credit_problems
from ..orders.check import selector_problems
from ..orders.check_webhooks import webhook_problems
from ..postbacks.check import endpoint_problems, fact_problems, partner_problems, text_source_problems
from ..referral.check import cookie_problems
from ..referral.networks_file import load as load_catalogue
from ..settings.check import site_problems, top_problems
from ..settings.draft import Draft
from ..settings.load import Problem, Source, beside
from ..settings.loader import Loader
from ..settings.model import Settings
from ..settings.wording import Wording
from ..stores.check import journal_problems, ledger_problems, visits_problems
from .clock import Clock
from .places import geo_problems
from .rule_checks import problems_of_rules


class RoomChecks:
    """The checks of all packages. `need_upstream` is whether each site must have its shop's address, which
    `clew serve` needs and the middleware does not."""

    def __init__(self, need_upstream: bool) -> None:
        self._need_upstream = need_upstream
        self._networks = load_catalogue().networks
        self._today = datetime.fromtimestamp(Clock().now(), UTC).date()

    def top(self, source: Source) -> Iterator[Wording]:
        """See `Checks`."""
        for key, problems in (("store", visits_problems), ("ledger", ledger_problems)):
            address = source.data.get(key, Settings.model_fields[key].default)
            if isinstance(address, str):
                for message, hint, warns in problems(beside(address, source.file.absolute().parent)):
                    yield Wording((key,), message, hint, "warning" if warns else "error")
        if isinstance(journal := source.data.get("journal"), str):
            for message, hint, _ in journal_problems(source.file.absolute().parent / journal):
                yield Wording(("journal",), message, hint, "warning")
        yield from geo_problems(source.data)
        yield from top_problems(source.data)

    def site(self, draft: Draft) -> Iterator[Wording]:
        """See `Checks`."""
        yield from site_problems(draft, self._need_upstream)
        yield from cookie_problems(draft.site, draft.path)
        yield from selector_problems(draft.site, draft.path)
        yield from webhook_problems(draft.site, draft.path)
        yield from chat_problems(draft.site, draft.path)
        yield from partner_problems(draft, self._networks)
        yield from endpoint_problems(draft.site, draft.path)
        yield from fact_problems(draft.site, draft.path)
        yield from text_source_problems(draft)
        yield from problems_of_rules(draft, self._networks)
        yield from credit_problems(draft, self._today)


def loader(path: Path, environ: Mapping[str, str], need_upstream: bool = False) -> Loader:
    """A loader that reads and validates a settings file and its included files; it can be used repeatedly."""
    return Loader(path, environ, RoomChecks(need_upstream))


def check(
    path: Path, environ: Mapping[str, str], need_upstream: bool = False
) -> tuple[Settings | None, list[Problem]]:
    """The settings if they are valid, else None; and all problems. Warnings do not make them invalid."""
    loaded = loader(path, environ, need_upstream).load()
    return loaded.settings, list(loaded.problems)


def checked(path: Path, environ: Mapping[str, str], need_upstream: bool = False) -> Settings:
    """The settings of a file. Raises SettingsErrors with all errors."""
    return loader(path, environ, need_upstream).load().used()
