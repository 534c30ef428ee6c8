"""Revisions of rules in running processes: which is in force, and what becomes of one that does not fit."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from clew.service import rule_checks, rules_in_force
from clew.service.rule_checks import checked_rules
from clew.service.service import Service
from clew.service.site import SiteRuntime
from clew.settings.load import SettingsErrors
from clew.settings.model import Settings
from clew.settings.rule_text import RuleText, table_of
from clew.stores.ledger.rule_revisions import NewRules, Stored
from desks import until
from structlog.testing import capture_logs

SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
OURS = {"name": "ours", "action": "show"}


def settings(folder: Path, *, sites: int = 2, ledger: str | None = None, **shop: Any) -> Settings:
    others = [{"name": f"s{n}", "hosts": [f"s{n}.test"], "rules": [OURS]} for n in range(1, sites)]
    first = {"name": "shop", "hosts": ["shop.test"], "rules": [OURS], **shop}
    return Settings.model_validate(
        {
            "secret": SECRET,
            "desk_host": "desk.test",
            "store": f"sqlite:{folder / 'visits.db'}",
            "ledger": ledger or f"sqlite:{folder / 'ledger.db'}",
            "sites": [first, *others],
        }
    )


@asynccontextmanager
async def running(found: Settings) -> AsyncIterator[Service]:
    service = Service(found)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


def text(*names: str, when: str = "true", action: str = "show") -> str:
    return "\n".join(
        f'[[rules]]\nname = "{name}"\nwhen = [{when!r}]\naction = "{action}"\n' for name in names
    )


async def put(service: Service, written: str, site: str = "shop", base: int | None = None) -> int:
    """Set rules as the desk does; the number of the revision."""
    at = service.sites.settings_of(site)
    assert at is not None
    editing = service.rule_editing
    head, _ = await editing.set(at, written, "anna", "", service.clock.now(), base)
    return head.number


def names(service: Service, site: str = "shop") -> tuple[int, list[str]]:
    found = service.sites[site]
    return found.revision, [rule.name for rule in found.settings.rules]


async def test_what_one_process_sets_is_in_force_in_all(tmp_path: Path, ledger_address: str) -> None:
    found = settings(tmp_path, ledger=ledger_address)
    async with running(found) as one, running(found) as other:
        assert names(one) == names(other) == (0, ["ours"])
        with capture_logs() as logs:
            await put(one, text("a", "b"))
            await until(lambda: names(one) == names(other) == (1, ["a", "b"]))
        assert names(one, "s1") == (0, ["ours"])
        changed = [line for line in logs if line["event"] == "rules_changed"]
        assert [(c["revision"], c["by"], c["rules"]) for c in changed] == [(1, "anna", 2)] * 2
        site = found.sites[0]
        await other.rule_editing.settings_again(site, "bo", "", 1.0, 1)
        await until(lambda: names(one) == names(other) == (2, ["ours"]))
    async with running(found) as later:
        assert names(later) == (2, ["ours"])


async def test_a_process_that_starts_has_what_was_set_before(tmp_path: Path) -> None:
    found = settings(tmp_path)
    async with running(found) as service:
        await put(service, text("a"))
        await put(service, text("b"), site="s1")
    async with running(found) as service:
        assert (names(service), names(service, "s1")) == ((1, ["a"]), (1, ["b"]))


async def test_a_host_of_many_sites_asks_once_at_its_start_and_compiles_what_is_requested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = settings(tmp_path, sites=400)
    async with running(found) as service:
        for n in range(60, 400, 10):
            await put(service, text(f"r{n}"), site=f"s{n}")
    compiled: list[str] = []
    build = SiteRuntime.__init__

    def noting(self: SiteRuntime, *given: Any) -> None:
        compiled.append(given[1].name)
        build(self, *given)

    monkeypatch.setattr(SiteRuntime, "__init__", noting)
    service = Service(found)
    asked: list[object] = []
    books = service.ledger.rule_revisions
    real = service.ledger.db.query

    async def query(work: Any, *given: Any, **named: Any) -> Any:
        asked.append(work)
        return await real(work, *given, **named)

    await service.open()
    monkeypatch.setattr(service.ledger.db, "query", query)
    await service.rule_sets.begin()
    assert len(asked) == 3  # the last row, which are newest, and those
    assert len(compiled) == 50  # the first sites, with the rules of their settings; none has others
    for n in (60, 70, 390):
        assert names(service, f"s{n}") == (1, [f"r{n}"])
    assert names(service, "s61") == (0, ["ours"])
    assert len(compiled) == 54
    assert await books.last() == 34
    await service.close()


async def test_a_decision_that_is_under_way_keeps_its_rules(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as service:
        before = service.sites["shop"]
        await put(service, text("a"))
        await until(lambda: names(service)[0] == 1)
        assert [rule.name for rule in before.settings.rules] == ["ours"]
        assert service.sites["shop"] is not before


async def test_rules_are_compiled_outside_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []
    build = SiteRuntime.__init__

    def noting(self: SiteRuntime, *given: Any) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            threads.append(True)
        else:
            threads.append(False)
        build(self, *given)

    async with running(settings(tmp_path)) as service:
        monkeypatch.setattr(SiteRuntime, "__init__", noting)
        await put(service, text("a"))
        await until(lambda: names(service)[0] == 1)
        service.sites["shop"]
    assert threads == [True]


def broken(service: Service, monkeypatch: pytest.MonkeyPatch, *bad: str) -> None:
    """Have a rule's name be what this version of clew does not take any more."""
    real = rules_in_force.RuleSet

    def build(rules: Sequence[Any], *given: Any, **named: Any) -> Any:
        from clew.rules.compiler import RuleErrors, RuleProblem

        for n, rule in enumerate(rules):
            if rule.name in bad:
                raise RuleErrors([RuleProblem(n, ("when", 0), "`old` is no function any more")])
        return real(rules, *given, **named)

    rules_in_force.rules_of.cache_clear()
    monkeypatch.setattr(rules_in_force, "RuleSet", build)


async def test_a_set_that_does_not_compile_keeps_the_one_before_in_force_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = settings(tmp_path)
    async with running(found) as service:
        await put(service, text("a"))
        await until(lambda: names(service)[0] == 1)
        broken(service, monkeypatch, "bad")
        books = service.ledger.rule_revisions
        with capture_logs() as logs:
            # As another version of clew may have set it.
            await books.add("shop", NewRules("x", '[{"name":"bad","action":"show"}]', {}, 1), "bo", "", 1.0)
            await until(lambda: any(line["event"] == "rules_refused" for line in logs))
        assert names(service) == (1, ["a"])
        refused = service.rule_sets.refused("shop")
        assert refused is not None
        assert (refused.number, refused.why) == (2, "rule bad: `old` is no function any more")
        told = next(line for line in logs if line["event"] == "rules_refused")
        assert (told["revision"], told["in_force"], told["why"]) == (2, 1, refused.why)
        with capture_logs() as logs:
            await books.add("shop", NewRules("y", '[{"name":"later","colour":1}]', {}, 1), "bo", "", 1.0)
            await until(lambda: any(line["event"] == "rules_refused" for line in logs))
        assert names(service) == (1, ["a"])
        refused = service.rule_sets.refused("shop")
        assert refused is not None
        assert refused.why.startswith("rule later: action: is missing")
        await put(service, text("good"))
        await until(lambda: names(service) == (4, ["good"]))
        assert service.rule_sets.refused("shop") is None


async def test_a_start_with_a_set_that_does_not_compile_takes_the_last_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = settings(tmp_path, sites=60)
    async with running(found) as service:
        for site in ("shop", "s55"):  # s55 is not compiled at the start
            await put(service, text("a"), site=site)
            await put(service, text("bad"), site=site)
            await put(service, text("worse"), site=site)
        await put(service, text("bad"), site="s1")
    broken(service, monkeypatch, "bad", "worse")
    with capture_logs() as logs:
        async with running(found) as service:
            assert names(service) == (1, ["a"])
            assert names(service, "s1") == (0, ["ours"])
            # Until it was looked for, the site has its settings' rules.
            assert names(service, "s55")[1] in (["ours"], ["a"])
            await until(lambda: names(service, "s55") == (1, ["a"]))
    refused = [line for line in logs if line["event"] == "rules_refused"]
    assert {(line["site"], line["revision"], line["in_force"]) for line in refused} == {
        *(("shop", 3, 1), ("s1", 1, 0), ("s55", 3, 1)),
    }


FACT = {"facts": {"plan": {"header": "X-Plan", "type": "string"}}}


async def test_what_settings_take_away_stops_no_rules_and_is_told(tmp_path: Path) -> None:
    """A fact, a partner and a department that rules name: those lines are never true, the others go on."""
    partner = {"id": "ann", "param": "aff", "postback": "https://partner.test/?c={click_id}"}
    before = settings(tmp_path, **FACT, partners=[partner], chat={"departments": ["sales"]})
    async with running(before) as service:
        asks = text("vip", when="custom.plan == 'gold'") + text("ann", when="partner.id == 'ann'")
        await put(service, asks + text("always") + 'department = "sales"\n')
        await until(lambda: names(service)[0] == 1)
        after = settings(tmp_path)
        with capture_logs() as logs:
            service.announce_swap(service.swap(after))
            assert names(service) == (1, ["vip", "ann", "always"])
            await until(lambda: any(line["event"] == "rules_doubtful" for line in logs))
        decided = service.sites["shop"].rules.decide({"custom": {"plan": "gold"}, "partner": {"id": "x"}})
        assert decided.rule is not None
        said = next(line for line in logs if line["event"] == "rules_doubtful")["why"]
        for part in ("rule vip: ", "rule ann: ", "rule always: 'sales' is none of the site's departments"):
            assert part in said
        # A fact that has another type now is one that is never known.
        other = settings(tmp_path, facts={"plan": {"header": "X-Plan", "type": "int"}})
        service.swap(other)
        assert names(service) == (1, ["vip", "ann", "always"])
    async with running(after) as service:
        # Also after a restart, and so in all processes alike.
        assert names(service) == (1, ["vip", "ann", "always"])
        assert service.rule_sets.refused("shop") is None


async def test_a_revision_stays_in_force_when_settings_change_and_that_is_told(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as service:
        await put(service, text("a"))
        await until(lambda: names(service)[0] == 1)
        with capture_logs() as logs:
            service.announce_swap(service.swap(settings(tmp_path, rules=[{**OURS, "name": "theirs"}])))
            await until(lambda: any(line["event"] == "rules_overridden" for line in logs))
        assert names(service) == (1, ["a"])
        site = service.sites.settings_of("shop")
        assert site is not None
        await service.rule_editing.roll_back(site, 0, "bo", "", 1.0, 1)
        await until(lambda: names(service) == (2, ["theirs"]))
        with capture_logs() as logs:
            service.announce_swap(service.swap(settings(tmp_path, rules=[{**OURS, "name": "new"}])))
            assert names(service) == (2, ["new"])
            await service.tasks.stop()
        assert not [line for line in logs if line["event"] == "rules_overridden"]


async def test_a_site_that_comes_back_has_its_revision(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as service:
        await put(service, text("a"), site="s1")
        await until(lambda: names(service, "s1")[0] == 1)
        service.swap(settings(tmp_path, sites=1))
        assert "s1" not in service.sites
        other = settings(tmp_path).sites[1]
        found = await asyncio.to_thread(checked_rules, text("b"), other)
        await service.ledger.rule_revisions.add("s1", found.new, "bo", "", 1.0)
        await until(lambda: service.sites.stored["s1"].number == 2)
        service.swap(settings(tmp_path))
        assert names(service, "s1") == (2, ["b"])


async def test_settings_that_change_while_rules_are_compiled_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings(tmp_path)) as service:
        loop, build = asyncio.get_running_loop(), service.sites.build
        swapped: list[int] = []

        def slow(*given: Any) -> SiteRuntime:
            found = build(*given)
            if not swapped:
                swapped.append(1)
                done = asyncio.run_coroutine_threadsafe(swap(), loop)
                done.result(20)
            return found

        async def swap() -> None:
            service.swap(settings(tmp_path, debug=True))

        monkeypatch.setattr(service.sites, "build", slow)
        await put(service, text("a"))
        await until(lambda: names(service)[0] == 1 and bool(swapped))
        assert service.sites["shop"].settings.debug
        assert names(service) == (1, ["a"])


async def test_a_ledger_that_fails_leaves_the_rules_in_force_and_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew.service.rule_sets.AGAIN", 0.01)
    found = settings(tmp_path)
    async with running(found) as service:
        await put(service, text("a"))
    service = Service(found)
    books = service.ledger.rule_revisions
    real, failures = books.last, [1, 2, 3]

    async def last() -> int:
        if failures:
            failures.pop()
            raise OSError("away")
        return await real()

    monkeypatch.setattr(books, "last", last)
    with capture_logs() as logs:
        await service.start()
        assert names(service) == (0, ["ours"])
        await until(lambda: names(service) == (1, ["a"]))
    assert [line["where"] for line in logs if line["event"] == "fault"] == ["rules"]
    await service.stop()


def test_everything_that_is_wrong_with_a_text_is_told_at_once(tmp_path: Path) -> None:
    written = (
        text("a", when="visit.pages > 'x'")
        + text("b").replace("action", "acton")
        + '[[rules]]\nname = "c"\naction = "show"\ndepartment = "sales"\nshare = 0\n'
    )
    with pytest.raises(rule_checks.SettingsErrors) as error:
        checked_rules(written, settings(tmp_path).sites[0])
    assert [(one.line, one.key) for one in error.value.problems] == [
        (3, "rules[0].when[0]"),
        (5, "rules[1].action"),
        (8, "rules[1].acton"),
        (12, "rules[2].department"),
        (13, "rules[2].share"),
    ]


SERVICE = {"url": "https://texts.example/a", "facts": ["page.path", "cart.value"], "secret": "x" * 24}


@pytest.mark.parametrize(
    ("source", "fits"),
    [
        ('{ url = "https://texts.example/a", facts = ["page.path"] }', True),
        ('"https://texts.example/a"', True),
        ('"https://evil.example/a"', False),
        ('{ url = "https://texts.example/a", facts = ["touch.click_id"] }', False),
    ],
)
async def test_who_edits_rules_cannot_send_facts_elsewhere(tmp_path: Path, source: str, fits: bool) -> None:
    ours = {"name": "ours", "action": "invite", "text_from": SERVICE}
    site = settings(tmp_path, rules=[ours]).sites[0]
    written = f'[[rules]]\nname = "a"\naction = "invite"\ntext_from = {source}\n'
    if fits:
        new = checked_rules(written, site).new
    else:
        with pytest.raises(SettingsErrors, match="no rule of the settings has this service"):
            checked_rules(written, site)
        new = NewRules(written, msgspec.json.encode(RuleText.read(written).tables).decode(), {}, 1)
    # Whatever the ledger has, what is in force goes by the settings.
    stored = Stored("shop", 1, new.rules, {}, "anna")
    (rule,) = rules_in_force.with_rules(site, stored).rules
    assert (rule.text_from is not None) == fits
    if rule.text_from is not None:
        assert rule.text_from.secret is not None
        assert rule.text_from.secret.get_secret_value() == SERVICE["secret"]
    assert "secret" not in table_of(site.rules[0])["text_from"]
