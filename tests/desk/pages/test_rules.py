"""The pages of the rules: leads change them, nobody loses what was typed, and the trail has it all."""

import base64
import hashlib
import html
import re
import threading
import tomllib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from clew.desk.pages.rule_form import (
    FIRST,
    SUBJECTS,
    TYPED,
    FieldError,
    fields_of,
    in_short,
    known_of,
    subjects_of,
    table_from,
)
from clew.referral.visitor import Page, Viewed
from clew.settings.model import Rule, Site
from clew.settings.rule_text import RuleText
from desks import VISITOR, DeskServer, desk_server, hidden

RULES = """# Ours.
[[rules]]
name = "first"
when = ["visit.pages > 0", { any = ["cart.items > 0", "page.path == '/sale'"] }]
action = "invite"
text = { en = "Hello <there>", de = "Hallo" }

# The other one.
[[rules]]
name = "second"
action = "hide"
priority = 1
"""


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path) as built:
        yield built


@pytest_asyncio.fixture
async def lead(desk: DeskServer) -> httpx2.AsyncClient:
    return await desk.agent("eva", role="lead")


async def post(client: httpx2.AsyncClient, path: str, base: int, **fields: str) -> httpx2.Response:
    csrf = hidden((await client.get("desk/rules")).text)
    return await client.post(f"desk/rules{path}", data={"csrf": csrf, "base": str(base), **fields})


async def newest(desk: DeskServer) -> str:
    found = await desk.service.ledger.rule_revisions.find("shop")
    assert found is not None
    return found.text or ""


def in_force(desk: DeskServer) -> tuple[int, list[tuple[str, str, int, bool]]]:
    site = desk.service.sites["shop"]
    return site.revision, [(r.name, r.action, r.priority, r.enabled) for r in site.rules.order]


def typed(table: Mapping[str, Any], **changed: str) -> dict[str, str]:
    """What the form of a rule sends."""
    fields = {one.key: one.value for one in fields_of(table)} | changed
    return {f"{TYPED}{key}": value for key, value in fields.items()}


async def test_rules_are_for_leads_and_owners(desk: DeskServer) -> None:
    agent = await desk.agent("bo", role="agent")
    for path in ("", "/edit", "/text", "/preview", "/try", "/history", "/history/0"):
        assert (await agent.get(f"desk/rules{path}")).status_code == 403
    assert (await agent.post("desk/rules/text", data={"text": ""})).status_code == 403


async def test_all_rules_are_set_as_a_text_and_are_in_force_at_once(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    page = await lead.get("desk/rules/text")
    assert "after-wait" in page.text
    done = await post(lead, "/text", 0, text=RULES.replace("\n", "\r\n"), note="the sale", do="save")
    assert done.status_code == 303
    assert in_force(desk) == (1, [("second", "hide", 1, True), ("first", "invite", 0, True)])
    assert await newest(desk) == RULES
    again = await post(lead, "/text", 1, text=RULES, do="save")
    assert again.headers["location"].endswith("done=same")
    listed = (await lead.get("desk/rules")).text
    assert listed.index("rule-second") < listed.index("rule-first")
    assert "set by eva" in listed
    assert "the sale" in listed
    trail = await (await desk.agent("olga")).get("desk/audit.ndjson")
    lines = [line for line in trail.text.splitlines() if "rules.set" in line]
    assert len(lines) == 1
    assert '"revision": "1", "note": "the sale"' in lines[0]


async def test_what_is_wrong_is_told_with_its_line_and_nothing_is_lost(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    wrong = RULES.replace("visit.pages", "visit.pagse").replace("priority", "prioity")
    answer = await post(lead, "/text", 0, text=wrong, note="why", do="save")
    assert answer.status_code == 422
    said = html.unescape(answer.text)
    assert "Line 4: " in said
    assert "visit.pagse" in said
    assert "Line 12: " in said
    assert wrong in said
    assert 'value="why"' in answer.text
    assert in_force(desk)[0] == 0
    answer = await post(lead, "/text", 0, text="[[rules", do="save")
    assert (answer.status_code, "Line 1: " in answer.text) == (422, True)
    answer = await post(lead, "/text", 0, text="#" * (512 * 1024 + 1), do="save")
    assert (answer.status_code, "at most 524,288 are kept" in answer.text) == (422, True)


async def test_one_click_turns_a_rule_off_and_changes_its_priority(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    await post(lead, "/text", 0, text=RULES, do="save")
    for base, (rule, do) in enumerate(
        [("first", "higher"), ("first", "higher"), ("second", "off"), ("second", "lower")], 1
    ):
        assert (await post(lead, "", base, rule=rule, do=do)).status_code == 303
    assert in_force(desk) == (5, [("first", "invite", 2, True), ("second", "hide", 0, False)])
    await post(lead, "", 5, rule="second", do="on")
    assert in_force(desk)[1][1] == ("second", "hide", 0, True)
    assert "# The other one." in await newest(desk)
    late = await post(lead, "", 2, rule="second", do="off")
    assert (late.status_code, "eva has set other rules meanwhile" in late.text) == (409, True)
    assert in_force(desk)[0] == 6
    assert (await post(lead, "", 6, rule="second", do="x")).status_code == 422


async def test_a_rule_is_edited_copied_added_and_removed_in_a_form(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    await post(lead, "/text", 0, text=RULES, do="save")
    page = html.unescape((await lead.get("desk/rules/edit?name=first")).text)
    assert 'visit.pages > 0\n{ any = ["cart.items > 0", "page.path == \'/sale\'"] }' in page
    table = RuleText.read(RULES).tables[0]
    fields = typed(table, when="visit.pages > 1\n\n", share="50", wait="90s", question="no")
    assert (await post(lead, "/edit", 1, name="first", do="save", **fields)).status_code == 303
    found = RuleText.read(await newest(desk)).tables[0]
    assert found == {
        "name": "first",
        "when": ["visit.pages > 1"],
        "action": "invite",
        "text": table["text"],
        "wait": "90s",
        "share": 50.0,
        "question": False,
    }
    assert (await newest(desk)).startswith("# Ours.\n")
    page = (await lead.get("desk/rules/edit?copy=second")).text
    assert 'value="second-copy"' in page
    fields = typed({"name": "third", "action": "hide"})
    assert (await post(lead, "/edit", 2, name="", do="save", **fields)).status_code == 303
    assert [name for name, *_ in in_force(desk)[1]] == ["second", "first", "third"]
    assert (await post(lead, "/edit", 3, name="second", do="remove")).status_code == 303
    assert [name for name, *_ in in_force(desk)[1]] == ["first", "third"]
    assert (await lead.get("desk/rules/edit?name=second")).status_code == 404


async def test_what_is_wrong_with_a_rule_stands_at_its_field(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    await post(lead, "/text", 0, text=RULES, do="save")
    table = RuleText.read(RULES).tables[1]
    fields = typed(table, when="true\nvisit.pagse > 1", share="a lot", department="x")
    answer = await post(lead, "/edit", 1, name="second", do="save", note="n", **fields)
    assert answer.status_code == 422
    for key, said in (
        ("when", "line 2: "),
        ("share", "must be a number"),
        ("department", "is none of the site"),
    ):
        at = answer.text.split(f'id="f-{key}-wrong">')[1].partition("</p>")[0]
        assert said in at, key
        assert f'aria-describedby="f-{key}-wrong"' in answer.text or f'f-{key}-wrong"' in answer.text
    assert "visit.pagse &gt; 1" in answer.text
    answer = await post(lead, "/edit", 1, name="second", do="save", **typed(table, hours="{ mon = "))
    assert (answer.status_code, "is not valid TOML" in answer.text) == (422, True)
    answer = await post(lead, "/edit", 1, name="second", do="save", **typed(table, name="first"))
    assert (answer.status_code, "another rule has the name" in answer.text) == (422, True)
    assert in_force(desk)[0] == 1


async def test_of_two_who_edit_at_once_the_second_is_told_and_loses_nothing(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    await post(lead, "/text", 0, text=RULES, do="save")
    other = await desk.agent("olga")
    tables = RuleText.read(RULES).tables
    changed = typed(tables[1], priority="7")
    assert (await post(other, "/edit", 1, name="second", do="save", **changed)).status_code == 303
    mine = typed(tables[0], when="visit.pages > 5")
    answer = await post(lead, "/edit", 1, name="first", do="save", note="mine", **mine)
    assert answer.status_code == 409
    assert "olga has set revision 2 while you edited" in answer.text
    assert "<ins><code>priority = 7</code></ins>" in answer.text
    assert "visit.pages &gt; 5" in answer.text
    assert 'value="mine"' in answer.text
    assert hidden(answer.text, "base") == "2"
    assert (await post(lead, "/edit", 2, name="first", do="save", **mine)).status_code == 303
    # Both changes are there.
    found = RuleText.read(await newest(desk)).tables
    assert (found[0]["when"], found[1]["priority"]) == (["visit.pages > 5"], 7)
    answer = await post(lead, "/text", 1, text="# mine\n", do="save")
    assert (answer.status_code, "# mine" in answer.text, hidden(answer.text, "base")) == (409, True, "3")


async def test_many_rules_come_in_pages_and_are_read_beside_the_loop(
    desk: DeskServer, lead: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest text takes a second to read, in which all sites of a process would wait."""
    rules = "".join(f'[[rules]]\nname = "r{n:03}"\naction = "hide"\n' for n in range(450))
    assert (await post(lead, "/text", 0, text=rules)).status_code == 303
    whole, threads = tomllib.loads, set[object]()

    def watched(text: str) -> Any:
        threads.add(threading.current_thread())
        return whole(text)

    monkeypatch.setattr(tomllib, "loads", watched)
    seen: list[str] = []
    for start in (0, 200, 400):
        page = (await lead.get("desk/rules", params={"from": start})).text
        seen += re.findall(r'<li class="need" id="rule-(r\d+)"', page)
        assert f"{start + 1} to {min(start + 200, 450)} of 450" in page
        assert ("Further rules" in page) == (start < 400)
    assert seen == [f"r{n:03}" for n in range(450)]
    assert (await lead.get("desk/rules", params={"from": "999999"})).text.count('id="rule-r') == 50
    assert (await lead.get("desk/rules/edit", params={"name": "r449"})).status_code == 200
    changed = typed({"name": "r449", "action": "show"})
    for path, fields in (("", {"rule": "r001", "do": "off"}), ("/edit", {"name": "r449", **changed})):
        base = desk.service.sites["shop"].revision
        assert (await post(lead, path, base, **fields)).status_code == 303
    assert threads
    assert threading.main_thread() not in threads


async def test_of_very_many_mistakes_the_first_ones_are_shown(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    rules = '[[rules]]\nname = "a"\naction = "hide"\n' + "".join(f"k{n} = 1\n" for n in range(1000))
    page = await post(lead, "/text", 0, text=rules)
    assert page.status_code == 422
    assert "there are 800 more problems" in page.text
    assert page.text.count("unknown key") == 200


async def test_history_shows_what_changed_and_leads_back(desk: DeskServer, lead: httpx2.AsyncClient) -> None:
    assert "Nobody has set rules" in (await lead.get("desk/rules/history")).text
    await post(lead, "/text", 0, text=RULES, note="first note", do="save")
    await post(lead, "/text", 1, text=RULES.replace("hide", "show"), do="save")
    page = (await lead.get("desk/rules/history")).text
    assert page.index('history/2">2</a> <span class="tag bought">in force') < page.index('history/1">1</a>')
    assert "first note" in page
    page = html.unescape((await lead.get("desk/rules/history/2")).text)
    assert '<del><code>action = "hide"</code></del>' in page
    assert "Go back to it" not in page
    page = html.unescape((await lead.get("desk/rules/history/1")).text)
    assert "after-wait</b>: removed" in page
    assert "This would change in the newest rules, revision 2" in page
    assert (await post(lead, "/rollback", 2, to="1", note="better")).status_code == 303
    assert (in_force(desk)[0], await newest(desk)) == (3, RULES)
    stale = await post(lead, "/rollback", 2, to="1")
    assert (stale.status_code, "has set revision 3 meanwhile" in stale.text) == (409, True)
    assert (await post(lead, "/rollback", 3, to="0")).status_code == 303
    assert in_force(desk) == (4, [("after-wait", "invite", 0, True)])
    assert "the rules of the settings" in (await lead.get("desk/rules")).text
    assert (await lead.get("desk/rules/history/9")).status_code == 404
    trail = (await (await desk.agent("olga")).get("desk/audit.ndjson")).text
    assert trail.count('"rules.rolled_back"') == 2


async def test_a_draft_is_tried_on_a_page_before_it_is_set(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    tried = {"text": RULES.replace("hide", "show").replace("= 1", "= -1"), "language": "de"}
    answer = await post(lead, "/text", 0, do="preview", note="n", **tried)
    assert (answer.status_code, "Preview" in answer.text) == (200, True)
    answer = await post(lead, "/preview", 0, url="/sale", **tried)
    said = html.unescape(answer.text)
    assert answer.status_code == 200
    assert "The rule <b>first</b> acts: invite" in said
    assert "Hello &lt;there&gt;" in answer.text
    assert "Hallo" in said
    assert "visit.pages = 1" in said
    assert "page.path = '/sale'" in said
    assert "any of" in said
    assert "would act, but another stands before it" in said
    answer = await post(lead, "/preview", 0, url="http://shop.test/", **tried)
    assert "The rule <b>second</b> acts: show" in html.unescape(answer.text)
    for url, why in (("http://elsewhere.example/", "is not this shop"), ("/-/clew/desk", "a page of clew")):
        answer = await post(lead, "/preview", 0, url=url, **tried)
        assert (answer.status_code, why in answer.text) == (422, True)
    answer = await post(lead, "/preview", 0, url="/", visitor="zzzz", **tried)
    assert (answer.status_code, "No visitor ends in" in answer.text) == (422, True)
    answer = await post(lead, "/preview", 0, url="/", text="[[rules")
    assert (answer.status_code, "Line 1" in answer.text) == (422, True)
    # Nothing was set, and nothing is in the trail.
    assert in_force(desk)[0] == 0
    assert "rules." not in (await (await desk.agent("olga")).get("desk/audit.ndjson")).text


@pytest.mark.parametrize(
    ("color", "ink", "scheme", "shown"),
    [
        ("#1b5e9e", "#ffffff", "page", ["light", "dark"]),
        ("#ffd400", "#000000", "light", ["light"]),
        ("#777777", "#000000", "dark", ["dark"]),
    ],
)
async def test_a_preview_shows_the_invite_as_visitors_see_it(
    tmp_path: Path, color: str, ink: str, scheme: str, shown: list[str]
) -> None:
    more = {
        "widget": {"color": color, "scheme": scheme},
        "personas": {"anna": {"name": "Anna"}},
        "phone": {"number": "+4930123456"},
    }
    async with desk_server(tmp_path, more=more) as desk:
        lead = await desk.agent("eva", role="lead")
        draft = '[[rules]]\nname = "a"\ntext = "Which <size>?"\npersona = "anna"\n'
        answer = await post(lead, "/preview", 0, url="/", text=f'{draft}action = "invite"\n')
        assert re.findall(r'class="bubble (\w+)"', answer.text) == shown
        assert answer.text.count('dir="auto">Which &lt;size&gt;?</p>') == len(shown)
        assert ">Anna</p>" in answer.text
        assert ">Your question</span>" in answer.text
        (style,) = re.findall(r"<style>(.*?)</style>", answer.text)
        assert style == f".bubble {{ --fill: {color}; --on-fill: {ink}; }}"
        # Browsers take the style sheet by its hash, and no other one.
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = answer.headers["content-security-policy"]
        assert f"style-src 'sha256-{digest}' " in policy
        assert "unsafe-inline" not in policy
        for kind, words in (
            ('action = "invite"\nquestion = false', ">Start chat</span>"),
            ('action = "number"', ">+49 30 123456</span>"),
        ):
            answer = await post(lead, "/preview", 0, url="/", text=f"{draft}{kind}\n")
            assert words in answer.text, kind


async def test_a_draft_is_tried_for_a_visitor_who_is_there(
    desk: DeskServer, lead: httpx2.AsyncClient
) -> None:
    now = desk.service.clock.now()
    seen = [Viewed(Page(f"view{n}", now, "http://shop.test/", "")) for n in range(3)]
    await desk.service.visits.change("shop", VISITOR, seen, now)
    draft = '[[rules]]\nname = "third"\nwhen = ["visit.pages == 3"]\naction = "hide"\n'
    for visitor in (VISITOR, VISITOR[-6:].upper()):
        answer = await post(lead, "/preview", 0, url="/", visitor=visitor, text=draft)
        assert "The rule <b>third</b> acts: hide" in html.unescape(answer.text)
    answer = await post(lead, "/preview", 0, url="/", text=draft)
    assert "No rule acts: show" in html.unescape(answer.text)


def test_every_key_of_a_rule_has_a_field_and_survives_an_edit() -> None:
    table = {
        "name": "all",
        "when": ["true", {"not": "chat.open"}],
        "action": "invite",
        "priority": -3,
        "wait": "5m",
        "on": ["exit", "idle 30s"],
        "cancel_on": ["add_to_cart"],
        "text": {"en": "One\ntwo", "de": 'A "b"'},
        "variants": [{"name": "a", "text": "A"}, {"name": "b", "text": {"en": "B"}, "weight": 2}],
        "hours": {"mon": ["09:00-12:00", "13:00-17:00"]},
        "starts": "2026-12-24",
        "share": 12.5,
        "enabled": False,
        "goal": "support",
        "forced": True,
    }
    assert {one.key for one in fields_of(table)} == set(Rule.model_fields)
    sent = {key.removeprefix(TYPED): text.replace("\n", "\r\n") for key, text in typed(table).items()}
    assert table_from(sent, table) == table
    # As typed anew, without the table that was there before.
    anew = table_from(sent, {})
    assert Rule.model_validate(anew) == Rule.model_validate(table)
    with pytest.raises(FieldError, match="more than one value"):
        table_from({**sent, "hours": '{}\naction = "hide"'}, {})


def test_each_key_of_a_rule_has_its_place_in_the_form() -> None:
    placed = [*FIRST, *(key for keys in SUBJECTS.values() for key in keys)]
    assert sorted(placed) == sorted(Rule.model_fields)
    shown = [one.key for _, fields in subjects_of(fields_of({})) for one in fields]
    assert sorted([*FIRST, *shown]) == sorted(placed)


def test_what_a_site_has_can_be_chosen() -> None:
    site = Site.model_validate(
        {
            "name": "shop",
            "personas": {"anna": {"name": "Anna"}},
            "offers": {"coupons": [{"name": "welcome"}]},
        }
    )
    fields = {one.key: one for one in fields_of({"offer": "welcome"}, known_of(site))}
    assert (fields["offer"].kind, fields["offer"].choices) == ("choice", ["welcome"])
    assert fields["persona"].choices == ["anna"]
    assert fields["department"].kind == "text"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"wait": "90s", "on": ["exit", "idle 30s"]}, ["after 90s in the visit", "on exit or idle 30s"]),
        ({"cancel_on": ["add_to_cart"], "text": "Hi"}, ["not after add_to_cart", "“Hi”"]),
        ({"text": {"de": "Hallo", "en": "Hello"}}, ["“Hello”"]),
        ({"variants": [{"name": "a", "text": "A"}, {"name": "b", "text": {"de": "B"}}]}, ["“A”", "“B”"]),
        ({"text": 3, "on": "exit", "variants": "x"}, []),
    ],
)
def test_a_rule_is_told_in_short(table: dict[str, object], told: list[str]) -> None:
    assert in_short(table, "en") == told
