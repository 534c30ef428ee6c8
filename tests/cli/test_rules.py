"""`clew rules`: rules of a site from the command line, with a real settings file and ledger."""

import json
import sqlite3
from pathlib import Path

import pytest
from clew.cli import app
from typer.testing import CliRunner, Result

OLD = """
[[rules]]
name = "old"
action = "hide"
"""
NEW = """
[[rules]]
name = "new"
when = ["partner.id == 'anna'"]
action = "show"
priority = 3
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "clew.toml"
    file.write_text(
        f"""
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
store = "sqlite:{tmp_path}/clew.db"
ledger = "sqlite:{tmp_path}/clew.db"

[[sites]]
name = "shop"
hosts = ["shop.test"]
upstream = "http://127.0.0.1:8000"
[[sites.partners]]
id = "anna"
param = "aff"
postback = "https://partner.test/?c={{click_id}}"
[[sites.rules]]
name = "ours"
action = "show"
"""
    )
    run(file, "migrate")
    return file


def run(config: Path, *arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, [*arguments, "--config", str(config)], input=stdin)


def rules(config: Path, *arguments: str, stdin: str = "", status: int = 0) -> str:
    done = run(config, "rules", *arguments, stdin=stdin)
    assert done.exit_code == status, done.output
    return done.output


def test_a_site_has_the_rules_of_its_settings_until_somebody_sets_others(config: Path) -> None:
    assert rules(config, "show") == '[[rules]]\nname = "ours"\naction = "show"\n'
    assert json.loads(rules(config, "list", "--json")) == {
        "site": "shop",
        "revision": 0,
        "settings": True,
        "name": "ours",
        "action": "show",
        "priority": 0,
        "enabled": True,
    }
    assert "nobody has set others" in rules(config, "history")
    assert "shop has revision 1: 1 rules." in rules(config, "set", "--note", "why not", stdin=OLD)
    assert rules(config, "show") == OLD
    assert "revision 1" in rules(config, "list")
    assert "shop has these rules already: revision 1." in rules(config, "set", stdin=OLD)
    told = json.loads(rules(config, "history", "--json"))
    assert (told["number"], told["note"], told["count"]) == (1, "why not", 1)
    assert told["by"].startswith("command line")


def test_history_diff_and_rollback(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.toml"
    file.write_text(NEW)
    rules(config, "set", stdin=OLD)
    rules(config, "set", str(file), "--from", "1")
    assert rules(config, "diff").splitlines() == [
        *("old: removed", '  - action = "hide"', "new: added"),
        *("  + when = \"partner.id == 'anna'\"", '  + action = "show"', "  + priority = 3"),
    ]
    assert "ours: removed" in rules(config, "diff", "0", "1")
    assert rules(config, "diff", "2", "2") == "No rule differs.\n"
    rules(config, "rollback", "1")
    assert rules(config, "show") == OLD
    rules(config, "rollback", "0")
    assert "ours" in rules(config, "show")
    assert "settings" in rules(config, "list")
    lines = [json.loads(line) for line in rules(config, "history", "--json").splitlines()]
    assert [(one["number"], one["note"], one["settings"]) for one in lines] == [
        *((4, "", True), (3, "as revision 1", False)),
        *((2, "", False), (1, "", False)),
    ]
    assert "has no revision 9" in rules(config, "rollback", "9", status=1)
    rules(config, "set", str(file))
    rules(config, "set", "--settings")
    trail = [
        json.loads(line) for line in run(config, "desk", "audit", "--format", "ndjson").output.splitlines()
    ]
    assert [(one["action"], one["subject"]) for one in trail] == [
        *(("rules.set", "6"), ("rules.set", "5"), ("rules.rolled_back", "4"), ("rules.rolled_back", "3")),
        *(("rules.set", "2"), ("rules.set", "1")),
    ]


def test_rules_set_from_an_old_revision_are_refused(config: Path) -> None:
    rules(config, "set", "--from", "0", stdin=OLD)
    said = rules(config, "set", "--from", "0", stdin=NEW, status=1)
    assert "has set revision 1 meanwhile" in said
    assert rules(config, "show") == OLD


def test_errors_are_told_with_file_line_and_what_to_do(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.toml"
    file.write_text(NEW.replace("anna", "ana").replace('"show"', '"shw"'))
    for command in ("check", "set"):
        said = rules(config, command, str(file), status=1)
        assert f"{file}:4 rules[0].when[0]:" in said
        assert '`partner.id` is one of anna → write "anna"' in said
        assert f"{file}:5 rules[0].action:" in said
        assert 'did you mean "show"?' in said
    assert "nobody has set others" in rules(config, "history")
    assert "The rules are in order: 1." in rules(config, "check", stdin=NEW)
    assert "unknown key" in rules(config, "check", stdin=f"{NEW}\nactoin = 1\n", status=1)
    assert "values from the environment" in rules(
        config, "check", stdin=f'{NEW}\ntext = "env:CLEW_SECRET"\n', status=1
    )
    assert "another rule has the name" in rules(config, "check", stdin=OLD + OLD, status=1)
    assert "is none of the site's departments" in rules(
        config, "check", stdin=f'{NEW}\ndepartment = "x"\n', status=1
    )
    assert "there is no site 'x'" in rules(config, "show", "--site", "x", status=1)


def test_explain_goes_by_the_revision_that_is_in_force(config: Path) -> None:
    rules(config, "set", stdin=OLD)
    # There is no visitor, but the site was compiled with the revision before one was looked for.
    done = run(config, "explain", "visitor", "nobody", "--url", "/")
    assert "no visitor 'nobody' is known at shop" in done.output


def test_the_report_has_the_tables_of_the_desks_page(config: Path) -> None:
    """Those of the rules in force, also if people have set others than the settings have."""
    set_rules = '[[rules]]\nname = "sizes"\naction = "invite"\ntext = "M or L?"\n'
    assert run(config, "rules", "set", stdin=set_rules).exit_code == 0
    found = run(config, "rules", "report", "--table", "verdicts", "--json")
    assert found.exit_code == 0, found.output
    (line,) = [json.loads(one) for one in found.output.splitlines() if one.startswith("{")]
    assert (line["rule"], line["verdict"], line["reached_of"]) == ("sizes", "too early", 0)
    assert (line["interval_low"], line["interval_high"], line["next_look"]) == ("0", "1", 100)
    assert "The next look is at 100 conversations" in run(config, "rules", "report").output
    wrong = run(config, "rules", "report", "--table", "nothing")
    assert wrong.exit_code == 1
    assert "there are verdicts" in wrong.output


def test_rules_are_listed_in_the_order_in_which_they_are_asked(config: Path) -> None:
    lines = ("default", "default = true"), ("late", "priority = -1"), ("first", "priority = 9"), ("same", "")
    text = "".join(f'[[rules]]\nname = "{name}"\naction = "invite"\n{line}\n' for name, line in lines)
    rules(config, "set", stdin=text)
    told = [json.loads(line)["name"] for line in rules(config, "list", "--json").splitlines()]
    assert told == ["first", "same", "late", "default"]


def test_nothing_written_sets_nothing(config: Path) -> None:
    rules(config, "set", stdin=OLD)
    for text in ("", "\n", "# none\n"):
        assert "standard input has no [[rules]]" in rules(config, "set", stdin=text, status=1)
    assert rules(config, "show") == OLD
    assert "revision 2: 0 rules" in rules(config, "set", stdin="rules = []\n")


def test_an_unknown_action_is_one_mistake(config: Path) -> None:
    text = '[[rules]]\nname = "a"\naction = "invit"\nkeywords = ["mill"]\noffer_out = "invite"\n'
    told = rules(config, "check", stdin=text, status=1)
    assert "rules[0].action" in told
    assert "is for invites" not in told


def test_a_review_lists_what_is_due_and_notes_who_has_looked(config: Path) -> None:
    """features E16, E17"""
    assert rules(config, "review") == "shop: nothing to do about 1 rules.\n"
    ledger = sqlite3.connect(config.parent / "clew.db")
    with ledger:
        ledger.execute("UPDATE rule_reviews SET at = at - 20 * 86400")
    due = rules(config, "review", status=1)
    assert "stale: Nobody has looked at it for 20 days." in due
    (line,) = rules(config, "review", "--json", status=1).splitlines()
    told = json.loads(line)
    assert (told["rule"], [one["kind"] for one in told["todo"]], told["by"]) == ("ours", ["stale"], None)
    assert "there is no rule 'typo' in force" in rules(config, "review", "typo", status=1)
    assert rules(config, "review", "ours") == "shop: reviewed ours.\n"
    assert rules(config, "review") == "shop: nothing to do about 1 rules.\n"
    with ledger:
        ledger.execute("UPDATE rule_reviews SET at = at - 20 * 86400")
    # Who changes a rule has looked at it.
    changed = 'rules = [{ name = "ours", action = "hide" }]'
    rules(config, "set", stdin=changed)
    rules(config, "review")
    ledger.close()
