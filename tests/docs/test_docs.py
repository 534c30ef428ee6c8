"""The documentation cannot drift: whatever a user can set, call, ask for or watch is in `docs/`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from clew.cli import app
from clew.credit.facts import TERM_FACTS
from clew.desk.app import desk_app
from clew.desk.ops.exposition import exposition
from clew.desk.pages.advice import ADVICE
from clew.events.events import ERRORS, EVENTS, WARNINGS
from clew.rules.facts import FACTS
from clew.service.limits import HELD, PERIODS
from clew.service.service import Service
from clew.settings.changes import FIXED
from clew.settings.model import Bound, Limits, Model, Settings
from facts_table import PAGE
from facts_table import page as table_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def models(model: type[Model], heading: str = "Top level") -> Iterator[tuple[str, type[Model]]]:
    """Every settings table with the heading of its section."""
    yield heading, model
    for name, field in model.model_fields.items():
        for part in (field.annotation, *get_args(field.annotation)):
            # A limit's three numbers are one value; see below.
            if isinstance(part, type) and issubclass(part, Model) and part is not Bound:
                yield from models(part, name)


def section(text: str, heading: str) -> str:
    match = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"docs/settings.md has no section {heading!r}"
    return match[1]


@pytest.mark.parametrize(("heading", "model"), list(models(Settings)))
def test_every_setting_is_documented_and_every_documented_setting_exists(
    heading: str, model: type[Model]
) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section(page("settings.md"), heading), re.MULTILINE)
    assert sorted(rows) == sorted(model.model_fields)


def test_every_plain_default_is_documented() -> None:
    for heading, model in models(Settings):
        text = section(page("settings.md"), heading)
        for name, field in model.model_fields.items():
            default: Any = field.default
            if isinstance(default, bool):
                assert f"| `{name}` | `{str(default).lower()}` |" in text
            elif isinstance(default, int | str) and not isinstance(default, bool):
                shown = f'"{default}"' if isinstance(default, str) else str(default)
                assert f"| `{name}` | `{shown}` |" in text


def test_the_table_of_reloads_has_every_key_and_those_that_need_a_restart() -> None:
    text = page("operations.md").partition("| what changes | what happens |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([^|]*) \| ([^|]*) \|$", text, re.MULTILINE)
    keys = [
        (key, effect.startswith("The reload fails"))
        for subject, effect in rows
        # Of a site's own keys, others start with words.
        if subject.startswith("`") and subject != "`name` of a site"
        for key in re.findall(r"`(\w+)`", subject)
    ]
    assert sorted(key for key, _ in keys) == sorted(Settings.model_fields.keys() - {"sites"})
    assert {key for key, restart in keys if restart} == FIXED.keys()


SPANS = {60: "minute", 600: "10 minutes", 3600: "hour", 86400: "day"}


def test_every_limit_is_documented_and_used() -> None:
    text = page("operations.md").partition("## Limits")[2].partition("## Events")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|", text, re.MULTILINE)
    spans = {name: SPANS[int(seconds)] for name, seconds in PERIODS.items()} | dict.fromkeys(HELD, "at once")
    expected = [
        (name, spans[name], *(f"{number:,}" for number in field.default.model_dump().values()))
        for name, field in Limits.model_fields.items()
    ]
    assert rows == expected
    code = "".join(
        file.read_text(encoding="utf-8")
        for room in ("desk", "service", "middleware")
        for file in (ROOT / room).rglob("*.py")
    )
    for name in Limits.model_fields:
        assert re.search(rf'\b(take|hold)\("{name}"', code), f"nothing is counted as {name}"


def commands(group: typer.Typer, prefix: str) -> Iterator[str]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield f"{prefix} {command.name or command.callback.__name__.replace('_', '-')}"
    for sub in group.registered_groups:
        assert sub.typer_instance is not None
        yield from commands(sub.typer_instance, f"{prefix} {sub.name}")


@pytest.mark.parametrize("command", list(commands(app, "clew")))
def test_every_command_is_documented_with_its_options(command: str) -> None:
    lines = [line for line in page("operations.md").splitlines() if f"`{command} " in line]
    found: Any = typer.main.get_command(app)
    for name in command.split()[1:]:
        found = found.commands[name]
    options = {option for each in found.params for option in each.opts if option.startswith("--")}
    assert {option for option in options if option not in " ".join(lines)} == set()


@pytest.mark.parametrize("command", list(commands(app, "clew")))
def test_the_list_of_commands_has_whole_lines(command: str) -> None:
    """`clew --help` shows the first paragraph, broken where the source is broken."""
    found: Any = typer.main.get_command(app)
    for name in command.split()[1:]:
        found = found.commands[name]
    assert "\n" not in found.help.strip().partition("\n\n")[0]


def test_every_fact_is_documented_and_every_documented_fact_exists() -> None:
    of_rules, _, of_terms = page("rules.md").partition("## Facts of terms")
    for text, facts in ((of_rules, FACTS), (of_terms, TERM_FACTS.facts)):
        rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| (\w+) \|", text, re.MULTILINE)
        assert sorted(rows) == sorted((f.name, f.type) for f in facts if not f.variant)


def test_the_table_of_facts_is_the_programs() -> None:
    """`make facts` writes it."""
    assert PAGE.read_text(encoding="utf-8") == table_page(PAGE.read_text(encoding="utf-8"))


def test_every_event_is_documented_and_every_documented_event_exists() -> None:
    text = page("operations.md").partition("## Events")[2].partition("## Metrics")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(EVENTS)


def test_every_event_for_people_has_a_text() -> None:
    """`desk/pages/advice.py`: what happened, and what to do."""
    assert sorted((WARNINGS | ERRORS) - set(ADVICE)) == []
    assert sorted(set(ADVICE) - set(EVENTS)) == []


async def test_every_metric_is_documented_and_every_documented_metric_exists(tmp_path: Path) -> None:
    service = Service(
        Settings.model_validate(
            {"secret": "s" * 40, "ledger": f"sqlite:{tmp_path / 'clew.db'}", "sites": [{"name": "shop"}]}
        )
    )
    await service.ledger.db.open()
    names = re.findall(r"^# TYPE (clew_\w+) ", (await exposition(service)).decode(), re.MULTILINE)
    await service.ledger.db.close()
    assert len(names) == len(set(names))
    text = page("operations.md").partition("## Metrics")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(clew_\w+)` \|", text, re.MULTILINE)) == set(names)


def test_every_endpoint_is_documented() -> None:
    text = page("api.md") + page("operations.md")
    for route in desk_app().routes:
        path: str = getattr(route, "path", "")
        if not path.startswith("/desk"):
            assert re.search(rf"`(?:(?:GET|POST) )?{re.escape(path.lstrip('/'))}(?!\w)", text), path


def test_links_between_documents_lead_somewhere() -> None:
    for file in [ROOT / "README.md", *DOCS.glob("*.md")]:
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", file.read_text(encoding="utf-8")):
            found = (file.parent / target) if target else file
            assert found.exists(), f"{file.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}
                assert anchor in anchors, f"{file.name}: #{anchor}"
