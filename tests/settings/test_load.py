import os
import stat
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from clew.settings.check import site_problems
from clew.settings.draft import Draft
from clew.settings.load import Problem, SettingsErrors, Source, beside, format_problem, key_text
from clew.settings.loader import Loader
from clew.settings.model import LANGUAGES as CODES
from clew.settings.model import Settings
from clew.settings.wording import Wording
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SECRET = "x" * 40
TOP = f'secret = "{SECRET}"\n'
SHOP = '[[sites]]\nname = "shop"\n'


# What cannot be seen in an error.
CYRILLIC_A = ": the character U+0430 (CYRILLIC SMALL LETTER A) is not ASCII"
ZERO_WIDTH = ": the character U+200B (ZERO WIDTH SPACE) is not ASCII"
COLOUR = 'such as "#1b5e9e"'
LANGUAGES = ", ".join(f'"{code}"' for code in CODES[:-1]) + f' or "{CODES[-1]}"'
CYRILLIC_E = ": the character U+0435 (CYRILLIC SMALL LETTER IE) is not ASCII"


class ModelsAndPlatforms:
    """A part of what the product checks: tests/service/test_check.py has all of it."""

    def top(self, source: Source) -> Iterator[Wording]:
        yield from ()

    def site(self, draft: Draft) -> Iterator[Wording]:
        yield from (w for w in site_problems(draft, need_upstream=False) if w.path[-1] == "platform")


def load(file: Path, environ: Mapping[str, str]) -> Settings:
    return Loader(file, environ, ModelsAndPlatforms()).load().used()


def loaded(folder: Path, text: str | bytes, **environ: str) -> Settings:
    file = folder / "clew.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(file, environ)


def problems(folder: Path, text: str | bytes, environ: Mapping[str, str] | None = None) -> list[Problem]:
    with pytest.raises(SettingsErrors) as caught:
        loaded(folder, text, **(environ or {}))
    assert all(problem.file == str(folder / "clew.toml") for problem in caught.value.problems)
    return list(caught.value.problems)


def test_a_settings_file_of_ten_lines_serves_a_shop(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        TOP + SHOP + 'hosts = ["Shop.Example"]\nupstream = "http://127.0.0.1:8000/"\n'
        '[[sites.partners]]\nid = "blog"\nparam = "ref"\npostback = "https://blog.example/?c={click_id}"\n',
    )
    site = found.sites[0]
    assert (site.name, site.hosts, site.upstream) == ("shop", ["shop.example"], "http://127.0.0.1:8000")
    assert site.partners[0].param == "ref"


class TestEnvironment:
    def test_any_text_may_come_from_the_environment_numbers_and_truth_values_too(
        self, tmp_path: Path
    ) -> None:
        found = loaded(
            tmp_path,
            'secret = "env:CLEW_SECRET"\n[delivery]\ntimeout = "env:WAIT"\n[[sites]]\nname = "env:NAME"\n'
            'hosts = ["env:HOST", "b.example"]\ndebug = "env:DEBUG"\n'
            '[[sites.partners]]\nid = "a"\nnetwork = "awin"\nsettings = { advertiser_id = "env:ID" }\n',
            CLEW_SECRET=SECRET,
            WAIT="2.5",
            NAME="shop",
            HOST="a.example",
            DEBUG="true",
            ID="77",
        )
        assert found.secret.get_secret_value() == SECRET
        assert found.delivery.timeout == Decimal("2.5")
        assert found.sites[0].hosts == ["a.example", "b.example"]
        assert found.sites[0].debug is True
        assert found.sites[0].partners[0].plain_settings == {"advertiser_id": "77"}

    def test_only_a_whole_value_is_taken_from_it(self, tmp_path: Path) -> None:
        found = loaded(tmp_path, TOP + SHOP + '[sites.widget]\ntitle = "see env:HOME"\n', HOME="/root")
        assert found.sites[0].widget.title == "see env:HOME"

    def test_a_missing_variable_is_the_only_error_of_its_key(self, tmp_path: Path) -> None:
        text = 'secret = "env:CLEW_SECRET"\n' + SHOP + 'hosts = ["env:HOST"]\napi_token = "env:TOKEN"\n'
        found = problems(tmp_path, text, {"TOKEN": ""})
        assert [(p.key, p.line, p.message) for p in found] == [
            ("secret", 1, "the environment variable CLEW_SECRET is not set"),
            ("sites[0].hosts[0]", 4, "the environment variable HOST is not set"),
            ("sites[0].api_token", 5, "the environment variable TOKEN is empty"),
        ]
        assert found[1].hint == "set HOST before clew starts"

    def test_for_a_missing_secret_a_fresh_one_is_offered(self, tmp_path: Path) -> None:
        (found,) = problems(tmp_path, 'secret = "env:CLEW_SECRET"\n' + SHOP)
        fresh = found.hint.removeprefix("for a new one: export CLEW_SECRET=")
        assert len(fresh) >= 32
        assert loaded(tmp_path, 'secret = "env:CLEW_SECRET"\n' + SHOP, CLEW_SECRET=fresh)

    @pytest.mark.parametrize("value", ["env:", "env:my-token", "env:A B", "env:9"])
    def test_an_invalid_variable_name_is_refused_instead_of_used_as_a_token(
        self, tmp_path: Path, value: str
    ) -> None:
        (found,) = problems(tmp_path, TOP + SHOP + f'api_token = "{value}"\n')
        assert found.message == "`env:` is not followed by the name of an environment variable"

    def test_no_value_from_the_environment_is_shown(self, tmp_path: Path) -> None:
        text = 'secret = "env:S"\nlog = "env:L"\n' + SHOP + 'debug = "env:D"\nhosts = ["env:H"]\n'
        found = problems(
            tmp_path, text, {"S": "hush-hush", "L": "hush-hush", "D": "hush-hush", "H": "hush hush!"}
        )
        assert len(found) == 4
        assert "hush" not in "\n".join(map(format_problem, found))


def test_secrets_of_networks_are_not_shown_with_the_settings(tmp_path: Path) -> None:
    partner = '[[sites.partners]]\nid = "a"\nnetwork = "awin"\n'
    found = loaded(
        tmp_path, TOP + SHOP + partner + 'settings = { api_key = "hush-hush", advertiser_id = 7 }\n'
    )
    (awin,) = found.sites[0].partners
    assert awin.plain_settings == {"api_key": "hush-hush", "advertiser_id": 7}
    assert "hush" not in repr(found) + str(found.model_dump()) + found.model_dump_json()


class TestSecret:
    def test_a_missing_secret_shows_a_fresh_one_to_paste(self, tmp_path: Path) -> None:
        (found,) = problems(tmp_path, SHOP)
        assert (found.key, found.line, found.message) == ("secret", None, "is missing")
        assert loaded(tmp_path, f"{found.hint}\n{SHOP}")

    def test_each_fresh_secret_is_another(self, tmp_path: Path) -> None:
        assert problems(tmp_path, SHOP)[0].hint != problems(tmp_path, SHOP)[0].hint

    def test_a_secret_that_is_too_short_shows_a_fresh_one_too(self, tmp_path: Path) -> None:
        (found,) = problems(tmp_path, 'secret = "change me"\n' + SHOP)
        assert (found.line, found.message) == (1, "must be at least 32 characters long")
        assert loaded(tmp_path, f"{found.hint}\n{SHOP}")


UNREADABLE = [
    # text, line, part of what is said
    ("a = ", 1, "not valid TOML: invalid value"),
    (TOP + "[[sites]\n", 2, "not valid TOML: "),
    (TOP + SHOP + 'name = "again"\n', 4, "not valid TOML: cannot overwrite a value"),
    (TOP + SHOP + 'hosts = ["a"\nlog = "json"\n', 5, "not valid TOML: unclosed array"),
    (TOP + SHOP + 'prefix = "open\n', 4, "not valid TOML: "),
    (TOP + SHOP + 'prefix = """open\n\n', 4, "not valid TOML: "),
    (TOP + SHOP + "pаrtners = []\n", 4, "the character U+0430 (CYRILLIC SMALL LETTER A) is not ASCII"),
    (TOP + "[[sitеs]]\n", 2, "the character U+0435 (CYRILLIC SMALL LETTER IE) is not ASCII"),
    (TOP + SHOP + "inject =\u00a0true\n", 4, "the character U+00A0 (NO-BREAK SPACE) is not ASCII"),
    (TOP.encode() + b'[[sites]]\nname = "caf\xe9"\n', 3, "is not UTF-8"),
    ("a = " + "[" * 100_000, None, "is nested too deeply"),
    ("a = " + "9" * 5000, None, "not valid TOML: exceeds the limit"),
    (b"#" * (17 << 20), None, "is larger than 16 MB"),
]


@pytest.mark.parametrize(("text", "line", "message"), UNREADABLE, ids=[message for *_, message in UNREADABLE])
def test_a_file_that_is_no_toml_is_one_error_with_its_line(
    tmp_path: Path, text: str | bytes, line: int | None, message: str
) -> None:
    (found,) = problems(tmp_path, text)
    assert found.line == line
    assert message in found.message


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert loaded(tmp_path, b"\xef\xbb\xbf" + (TOP + SHOP).encode())


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsErrors) as caught:
        load(tmp_path / name, {})
    (found,) = caught.value.problems
    assert (found.file, found.key, found.line) == (str(tmp_path / name), "", None)
    assert found.message.startswith("cannot be read: ")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (os.mkfifo, "is not a regular file"),
        (os.mkdir, "is a folder"),
        (lambda path: os.symlink("/dev/zero", path), "is not a regular file"),
        (lambda path: os.symlink("/dev/ptmx", path), "is not a regular file"),
        (lambda path: os.mknod(path, stat.S_IFSOCK | 0o600), "is not a regular file"),
    ],
    ids=["pipe", "folder", "device", "terminal", "socket"],
)
def test_settings_paths_that_are_not_regular_files_are_refused(
    tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    file = tmp_path / "clew.toml"
    make(file)
    with pytest.raises(SettingsErrors) as caught:
        load(file, {})
    assert [p.message for p in caught.value.problems] == [f"cannot be read: {why}"]


WRONG = [
    # lines of a site (the first is line 4), key, line, what is said, what to do
    ("upstrem = 'http://x'", "upstrem", 4, "unknown key", "did you mean upstream?"),
    ("time-zone = 'UTC'", "time-zone", 4, "unknown key", "did you mean time_zone?"),
    ("[sites.widgets]", "widgets", 4, "unknown key", "did you mean widget?"),
    ("[sites.facts.'own.points']\nheader = 'x'", 'facts."own.points"', 4, "unknown key", None),
    ("[sites.chat]\nper_agnet = 3", "chat.per_agnet", 5, "unknown key", "did you mean per_agent?"),
    ("[[sites.rules]]\nname = 'r'\naction = 'hide'\nwen = []", "rules[0].wen", 7, None, "did you mean when?"),
    ("hosts = 'shop.example'", "hosts", 4, "must be a list", 'write ["…"]'),
    ("hosts = ['a', 5]", "hosts[1]", 4, "must be a text", "write it in quotes"),
    ("hosts = [\n  'a',\n  'b c',\n]", "hosts[1]", 6, "not a host name", None),
    (
        "upstream = 'ftp://x'",
        "upstream",
        4,
        "not a shop's address",
        'write for example "http://127.0.0.1:8000", "https://…" or "unix:/…"',
    ),
    ("upstream = 'http://x:99999'", "upstream", 4, None, ""),
    ("upstream = 'http://[::1'", "upstream", 4, None, ""),
    ("upstream_host = '*.shop.internal'", "upstream_host", 4, "not a single host", None),
    ("upstream_host = 'shop.internal:99999'", "upstream_host", 4, "not a single host", None),
    ("upstream_host = 'http://shop.internal'", "upstream_host", 4, "not a host name", None),
    # proxy 8: no password in an address; 4.7: no path
    ("upstream = 'http://user:secret@x'", "upstream", 4, None, ""),
    ("upstream = 'http://x/path'", "upstream", 4, None, ""),
    ("time_zone = 'Mars/Base'", "time_zone", 4, "not an IANA time zone", 'write for example "Europe/Berlin"'),
    ("language = 'Fr'", "language", 4, None, 'did you mean "fr"?'),
    ("debug = 'maybe'", "debug", 4, "must be true or false", ""),
    ("order = 5", "order", 4, "must be a table", ""),
    ("[sites.order]\nid = 'b'", "order.page", 4, "is missing", None),
    ("[sites.order]\npage = ''", "order.page", 5, "must be a text that is not empty", ""),
    ("[sites.widget]\ncolor = 'red'", "widget.color", 5, 'must be a colour such as "#1b5e9e"', ""),
    ("[sites.invites]\ndismissals = 0", "invites.dismissals", 5, "must be 1 or more", ""),
    (
        "[sites.widget]\ninvite_pages = 2",
        "widget",
        4,
        "`invite_pages` is not a key of the widget any more",
        "write `pages` in [sites.invites]",
    ),
    (
        "[[sites.rules]]\nname = 'r'\naction = 'invite'\nends = 'soon'",
        "rules[0].ends",
        7,
        "not a date",
        "write for example 2026-12-24 or 2026-12-24T18:00:00",
    ),
    ("[sites.chat]\nper_agent = 51", "chat.per_agent", 5, "must be 50 or less", ""),
    ("[sites.chat]\nfree_below = 0.99", "chat", 4, None, ""),
    ("[sites.chat]\nper_agent = 1.5", "chat.per_agent", 5, "must be a whole number", ""),
    ("widget = { title = 5 }", "widget.title", 4, "must be a text or a table", "write it in quotes"),
    ("[sites.widget.title]\nxx = 'a'", "widget.title.xx", 5, "unknown key", None),
    ("[sites.widget.title]\nde = 5", "widget.title.de", 5, "must be a text", "write it in quotes"),
    ("[sites.partners]\nid = 'x'", "partners", 4, None, "write [[sites.partners]] with two brackets"),
    ("[[sites.partners]]\nid = 'x'", "partners[0]", 4, None, "see docs/settings.md#partners"),
    ("[[sites.partners]]\nid = 'x y'\nnetwork = 'awin'", "partners[0].id", 5, None, ""),
    ("[[sites.rules]]\naction = 'zzz'\nname = 'r'", "rules[0].action", 5, None, ""),
    ("[[sites.rules]]\naction = 'hidden'\nname = 'r'", "rules[0].action", 5, None, 'did you mean "hide"?'),
    ("rules = [{ name = 'r' }]", "rules[0].action", 4, None, None),
    ('"pаrtners" = []', '"pаrtners"', 4, f"unknown key{CYRILLIC_A}", "did you mean partners?"),
    ('"a\\u200b" = 1', '"a\u200b"', 4, f"unknown key{ZERO_WIDTH}", None),
    ("[sites.widget.title]\n'nаl' = 'a'", 'widget.title."nаl"', 5, f"unknown key{CYRILLIC_A}", None),
    ("[sites.widget]\ncolor = '#аааааа'", "widget.color", 5, f"must be a colour {COLOUR}{CYRILLIC_A}", ""),
    ("platform = 'prestаshop'", "platform", 4, f"unknown platform 'prestаshop'{CYRILLIC_A}", None),
    ("language = 'dе'", "language", 4, f"must be {LANGUAGES}{CYRILLIC_E}", 'did you mean "de"?'),
    ("platform = 'django_oscar'", "platform", 4, None, "did you mean django-oscar?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "line", "message", "hint"), WRONG, ids=[text for text, *_ in WRONG])
def test_errors_have_key_line_and_what_to_do(
    tmp_path: Path, text: str, key: str, line: int, message: str | None, hint: str | None
) -> None:
    (found,) = problems(tmp_path, f"{TOP}{SHOP}{text}\n")
    assert (found.key, found.line) == (f"sites[0].{key}", line)
    assert found.message == message or (message is None and found.message)
    assert found.hint == hint or (hint is None and found.hint)


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    text = 'loog = "json"\n[delivery]\ntimeout = "soon"\n[[sites]]\nprefix = "x"\n'
    text += '[[sites]]\nname = "b"\nnever = 1\n'
    assert [(p.key, p.line) for p in problems(tmp_path, text)] == [
        ("desk_host", None),
        ("secret", None),
        ("loog", 1),
        ("delivery.timeout", 3),
        ("sites[0].name", 4),
        ("sites[0].prefix", 5),
        ("sites[1]", 6),
        ("sites[1].never", 8),
    ]


@pytest.mark.parametrize(("text", "message"), [("", "is missing"), ("sites = []\n", "is empty")])
def test_a_file_without_a_site_says_how_to_write_one(tmp_path: Path, text: str, message: str) -> None:
    (found,) = problems(tmp_path, TOP + text)
    assert (found.key, found.message) == ("sites", message)
    assert "[[sites]]" in found.hint


@pytest.mark.parametrize("network", ["true", "0", "'10.0.0.1/8'", "'proxy.example'"])
def test_nothing_but_a_network_in_quotes_is_trusted(tmp_path: Path, network: str) -> None:
    (found,) = problems(tmp_path, f"trusted_proxies = ['::1', {network}]\n{TOP}{SHOP}")
    assert (found.key, found.line) == ("trusted_proxies[1]", 1)
    assert '"10.0.0.0/8"' in found.message + found.hint


class TestPaths:
    def test_a_relative_database_lies_beside_the_settings_wherever_clew_is_started(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "conf").mkdir()
        (tmp_path / "conf" / "clew.toml").write_text(TOP + 'store = "sqlite:visits.db"\n' + SHOP)
        monkeypatch.chdir(tmp_path)
        found = load(Path("conf/clew.toml"), {})
        assert found.ledger == f"sqlite:///{tmp_path}/conf/clew.db"
        assert found.store == f"sqlite:///{tmp_path}/conf/visits.db"

    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("sqlite:clew.db", "sqlite:////conf/clew.db"),
            ("sqlite:data/clew.db", "sqlite:////conf/data/clew.db"),
            ("sqlite:///clew.db", "sqlite:////conf/clew.db"),
            ("sqlite:////var/lib/clew.db", "sqlite:////var/lib/clew.db"),
            ("sqlite:/var/lib/clew.db", "sqlite:/var/lib/clew.db"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("postgresql://db/clew", "postgresql://db/clew"),
        ],
    )
    def test_other_addresses_stay_as_they_are(self, address: str, expected: str) -> None:
        assert beside(address, Path("/conf")) == expected


def test_keys_are_written_as_one_would_look_for_them() -> None:
    assert key_text(("sites", 0, "partners", 1, "param")) == "sites[0].partners[1].param"
    assert key_text(("sites", 0, "settings", "a b", "c.d")) == 'sites[0].settings."a b"."c.d"'


def test_a_problem_is_one_line_with_place_message_and_hint() -> None:
    assert format_problem(Problem("c.toml", "sites[0].name", 3, "is missing", "write it")) == (
        "c.toml:3 sites[0].name: is missing → write it"
    )
    assert format_problem(Problem("c.toml", "", None, "cannot be read")) == "c.toml: cannot be read"


VALUES = st.recursive(
    st.sampled_from(["1", "-1", "1.5", "true", "'x'", "''", "'env:X'", "1979-05-27", "inf", "nan", "9" * 20]),
    lambda inner: st.lists(inner, max_size=2).map(lambda items: f"[{', '.join(items)}]")
    | st.dictionaries(st.sampled_from(["id", "name", "de", "x"]), inner, max_size=2).map(
        lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
    ),
    max_leaves=4,
)  # fmt: skip
TOP_KEYS = ["secret", "previous_secrets", "store", "trusted_proxies", "log", "delivery.timeout", "sites", "x"]
SITE_KEYS = [
    *("name", "hosts", "upstream", "prefix", "platform", "time_zone", "never"),
    *("partners", "rules", "order", "cart.value", "chat", "widget.title", "'a b'"),
]
TOP_TABLES = st.dictionaries(st.sampled_from(TOP_KEYS), VALUES)
SITE_TABLES = st.dictionaries(st.sampled_from(SITE_KEYS), VALUES)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TOP_TABLES, st.lists(SITE_TABLES, max_size=2))
def test_no_file_ends_in_anything_but_settings_or_a_list_of_errors(
    tmp_path: Path, top: dict[str, str], sites: list[dict[str, str]]
) -> None:
    text = "".join(f"{key} = {value}\n" for key, value in top.items())
    for site in sites:
        text += "[[sites]]\n" + "".join(f"{key} = {value}\n" for key, value in site.items())
    try:
        loaded(tmp_path, text)
    except SettingsErrors as error:
        found = error.problems
    else:
        return
    assert found
    assert all(p.message and "input" not in p.message.lower() for p in found)
    assert all(p.line is None or 1 <= p.line <= text.count("\n") for p in found)
