from pathlib import Path

import pytest
from clew.service.check import check
from clew.settings.load import Problem
from clew.settings.model import Settings

GOOD = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
TOP = f'secret = "{GOOD}"\n'
SHOP = '[[sites]]\nname = "shop"\n'
APART = "desk_host = 'desk.example'\n"
# Three lines stand before what a test writes: its first line is line 4.
PLAIN = "[[sites.partners]]\nid = 'blog'\nparam = 'ref'\npostback = 'https://blog.example/?c={click_id}'\n"
NEW = "[[sites.partners]]\n"
RULE = "[[sites.rules]]\nname = 'a'\naction = 'hide'\n"
ALLOW = "if that is meant, set allow_private = true for this partner"
AWIN = (
    "[[sites.partners]]\nid = 'awin'\nnetwork = 'awin'\nsettings = { advertiser_id = '1', api_key = 'k' }\n"
)


def checked(
    folder: Path, text: str, *, need_upstream: bool = False, **environ: str
) -> tuple[Settings | None, list[Problem]]:
    file = folder / "clew.toml"
    file.write_text(text)
    return check(file, environ, need_upstream)


def warned(folder: Path, text: str) -> list[tuple[str, int | None, str]]:
    settings, problems = checked(folder, text)
    assert settings is not None
    assert {p.severity for p in problems} <= {"warning"}
    return [(p.key, p.line, p.message) for p in problems]


def found(folder: Path, text: str, **environ: str) -> list[tuple[str, int | None, str, str]]:
    settings, problems = checked(folder, text, **environ)
    assert settings is None
    return [(p.key, p.line, p.message, p.hint) for p in problems]


def test_a_valid_file_gives_its_settings(tmp_path: Path) -> None:
    rules = "[[sites.rules]]\nname = 'r'\naction = 'invite'\nwhen = ['visit.seconds > 60 * 2']\n"
    settings, problems = checked(
        tmp_path,
        TOP + SHOP + "platform = 'django-oscar'\nhosts = ['shop.example']\ncookie_domain = 'example'\n"
        "never = ['/pay/*', '*.pdf']\n[sites.order]\npage = '*/thanks/*'\ncurrency = 'EUR'\n"
        "[sites.cart]\nvalue = '.cart > b'\ncurrency = 'EUR'\n" + PLAIN + AWIN + rules,
    )
    assert problems == []
    assert settings is not None
    assert settings.ledger == f"sqlite:///{tmp_path}/clew.db"


RULE = "[[sites.rules]]\nname = 'a'\naction = 'invite'\n"
SITE = [
    # below the site's name (the first line is line 4), key below sites[0], line, part of the message, hint
    ("api_token = 'short'", "api_token", 4, "at least 16 characters", None),
    (
        "chat = { departments = ['sales'] }\n[[sites.rules]]\nname = 'a'\naction = 'hide'\n"
        "department = 'seles'",
        *("rules[0].department", 8, "none of the site's departments", None),
    ),
    (
        "[[sites.rules]]\nname = 'a'\naction = 'invite'\nstarts = 2026-12-02\nends = 2026-12-01",
        *("rules[0].ends", 8, "ends before it starts", None),
    ),
    (
        "[[sites.rules]]\nname = 'a'\naction = 'hide'\nno_invite = 10",
        *("rules[0].no_invite", 7, "is for invites", 'write action = "invite"'),
    ),
    (
        "[[sites.rules]]\nname = 'a'\naction = 'invite'\ndefault = true\nforced = true",
        *("rules[0].forced", 8, "a forced one does not", None),
    ),
    (
        "[[sites.rules]]\nname = 'a'\naction = 'invite'\n"
        "variants = [{ name = 'x', text = 'X' }, { name = 'x', text = 'Y' }]",
        *("rules[0].variants[1].name", 7, "another text of the rule has the name 'x'", ""),
    ),
    (RULE + "text = 'Hello {name}'", "rules[0].text", 7, "{name} is no placeholder", None),
    (
        RULE + "text = 'x'\ntext_plain = '{cart}'",
        "rules[0].text_plain",
        8,
        "may have no value",
        "write {cart|…}",
    ),
    (RULE + "text = '{keyword|}'", "rules[0].text", 7, "no search word is ever said", None),
    (RULE + "persona = 'anna'", "rules[0].persona", 7, "the site has no such persona", "it has none"),
    (RULE + "offer = 'summer'", "rules[0].offer", 7, "the site has no such coupon", "it has none"),
    (RULE + "number = '+4930123456'", "rules[0].number", 7, "`number` is for numbers", None),
    (RULE + "text_from = 'ftp://x'", "rules[0].text_from", 7, "not a URL to call", None),
    (
        RULE + "text_from = { url = 'https://x.example', facts = ['cart.valu'] }",
        *("rules[0].text_from.facts[0]", 7, "unknown fact", "did you mean cart.value?"),
    ),
    (
        "[[sites.rules]]\nname = 'a'\naction = 'callback'",
        *("rules[0].action", 6, "this site calls nobody back", "add [sites.callback]"),
    ),
    (
        "[sites.phone]\nnumber = '030 1234'",
        *("phone.number", 5, "not a phone number with its country code", None),
    ),
    ("platform = 'oscar'", "platform", 4, "unknown platform 'oscar'", "did you mean django-oscar?"),
    ("never = ['/a', 'b']", "never[1]", 4, "a path begins with / or *", 'write "/b"'),
    ("page_types = { 'a*' = 'cart' }", 'page_types."a*"', 4, "a path begins with / or *", 'write "/a*"'),
    ("[sites.order]\npage = 'thanks'", "order.page", 5, "a path begins with / or *", 'write "/thanks"'),
    ("[sites.order]\npage = '/x'\nid = 'b['", "order.id", 6, "not a CSS selector", ""),
    ("[sites.order]\npage = '/x'\ncurrency = 'EUX'", "order.currency", 6, "neither an ISO 4217 code", ""),
    ("[sites.cart]\nvalue = ''", "cart.value", 5, "the selector is empty", ""),
    ("[sites.cart]\ncurrency = 'p::before'", "cart.currency", 5, "cannot be used as a selector", ""),
    # field G4
    ("[sites.order]\npage = '/x'\ncurrency = 'EURO'", "order.currency", 6, 'write for example "EUR"', ""),
    ("[sites.order]\npage = '/x'\ncurrency = 'usd'", "order.currency", 6, 'write for example "USD"', ""),
    ("[sites.cart]\ncurrency = '€'", "cart.currency", 5, "neither an ISO 4217 code nor a selector", ""),
    ("[sites.cart]\ncurrency = 'US Dollar'", "cart.currency", 5, "no element <US>", ""),
    ("[sites.order]\npage = '/x'\nid = 'order number'", "order.id", 6, "there is no element <order>", ""),
    ("[sites.order]\npage = '/x'\ntotal = '#order[number'", "order.total", 6, "column 7", ""),
    ("[sites.order]\npage = '/x?'", "order.page", 5, "there is no parameter after the ?", None),
    ("never = ['/a#b']", "never[0]", 4, "browsers do not send", None),
    ("never = ['/a?x=1&amp;y=2']", "never[0]", 4, "HTML", 'write "/a?x=1&y=2"'),
    (
        "hosts = ['a.example', 'shop.other:8000']\ncookie_domain = '.example'",
        *("hosts[1]", 4, "shop.other:8000 does not belong to the cookie domain example"),
        "correct cookie_domain, or leave it out",
    ),
    (
        "hosts = ['shop.co.uk']\ncookie_domain = 'co.uk'",
        *(
            "cookie_domain",
            5,
            "for which browsers refuse cookies",
            'use your own domain, such as "shop.example"',
        ),
    ),
]
PARTNERS = [
    (PLAIN + PLAIN.replace("ref", "r"), "[1].id", 9, "another partner has the id 'blog'", ""),
    (PLAIN + PLAIN.replace("blog", "b"), "[1].param", 10, "another partner has the parameter 'ref'", ""),
    (AWIN + PLAIN.replace("ref", "AWC"), "[1].param", 10, "is the parameter of Awin", ""),
    (PLAIN + "secret = 'whsec_*'", "[0].secret", 8, "base64", ""),
    (
        f"{NEW}id = 'a'\nnetwork = 'аwin'",
        "[0].network",
        6,
        "unknown network 'аwin': the character U+0430 (CYRILLIC SMALL LETTER A) is not ASCII",
        "did you mean awin?",
    ),
    (f"{NEW}id = 'a'\nnetwork = 'awinn'", "[0].network", 6, "unknown network 'awinn'", "did you mean awin?"),
    (
        f"{NEW}id = 'r'\nnetwork = 'retailads'\nparam = 'r'",
        "[0].network",
        6,
        "retailAds accepts no reports from servers: no call from a shop's server is published",
        "remove the partner: its clicks are still recorded",
    ),
    (
        f"{NEW}id = 't'\nnetwork = 'tune'\nsettings = {{ network_domain = 'a.b' }}",
        "[0].param",
        4,
        "missing",
        None,
    ),
    (AWIN + "param = 'x'", "[0].param", 8, "is not used by Awin", "leave it out"),
    (AWIN.replace("advertiser_id = '1',", ""), "[0].settings.advertiser_id", 7, "Awin needs it", None),
    (
        AWIN.replace("'k'", "'k', comission_group = 'x'"),
        "[0].settings.comission_group",
        7,
        "no such setting",
        None,
    ),
    (AWIN.replace("'k'", "'k', conversion = 'x'"), "[0].settings.conversion", 7, "no such call", None),
]
TERMS = "[[sites.credit.terms]]\nname = 'base'\n"
SPLIT = "[[sites.credit.splits]]\nname = 's'\nof = 'blog'\n"
CHANNEL = "[[sites.credit.channels]]\nname = 'c'\nthen = 'take'\n"
WINDOW = "[[sites.credit.lookback]]\ndays = 9\n"
CREDIT = [
    ("[sites.credit]\nmodel = 'lasst'\n", "model", 5, "must be", 'did you mean "last"?'),
    (WINDOW + "partner = 'blgo'\n", "lookback[0].partner", 6, "no partner 'blgo'", "did you mean blog?"),
    (WINDOW + "network = 'awin'\n", "lookback[0].network", 6, "no partner in the network", "add it first"),
    (
        f"{WINDOW}channel = 'chat'\n{WINDOW}partner = 'blog'\nchannel = 'chat'\n",
        "lookback[1]",
        7,
        "never applies: entry 1",
        "move it before that entry, or remove it",
    ),
    (f"{TERMS}percent = 101\n", "terms[0].percent", 6, "must be 100 or less", ""),
    (
        f"{TERMS}percent = 5\nwhen = ['order.chanel == \"chat\"']\n",
        "terms[0].when[0]",
        7,
        "unknown fact",
        None,
    ),
    (f"{TERMS}percent = 5\nwhen = ['order.channel == \"fax\"']\n", "terms[0].when[0]", 7, "is one of", ""),
    (
        f"[sites.credit]\ncategories = ['phones']\n{TERMS}pay = 5\n"
        f"{TERMS.replace('base', 'x')}percent = 5\nwhen = ['item.category == \"fones\"']\n",
        "terms[1].when[0]",
        12,
        "`item.category` is one of phones",
        'write "phones"',
    ),
    (
        f"{TERMS}percent = 5\nwhen = ['order.channel == \"chat\"', 'order.channel == \"web\"']\n",
        "terms[0].when[1]",
        7,
        "is never true together with line 1",
        None,
    ),
    (f"{TERMS}pay = 5\nwhen = ['item.id == \"x\"']\n", "terms[0].when[0]", 7, "for rates only", None),
    (f"{TERMS}fixed = 5\n", "terms[0]", 4, "without a currency", 'write currency = "EUR"'),
    (f"{TERMS}fixed = 5\ncurrency = 'EUX'\n", "terms[0].currency", 7, "is not an ISO 4217 code", None),
    (f"{TERMS}pay = 5\npercent = 5\n", "terms[0].pay", 6, "has a rate too", "make two entries of it"),
    (TERMS, "terms[0]", 4, "says nothing of what is paid", None),
    (
        f"{TERMS}percent = 5\nsince = 2999-02-01\nuntil = 2999-01-01\n",
        "terms[0].until",
        8,
        "before it begins",
        "exchange the two dates, or correct one",
    ),
    (
        f"{TERMS}percent = 5\n{TERMS.replace('base', 'never')}percent = 6\n",
        "terms[1]",
        7,
        "never applies: base applies to all",
        "move it before base, or remove it",
    ),
    (f"{TERMS}percent = 5\n{TERMS}pay = 6\n", "terms[1].name", 8, "another entry has the name", ""),
    (f"{SPLIT}to = {{ blog = 10 }}\n", "splits[0].to.blog", 7, "a part to itself", None),
    (f"{SPLIT}to = {{ x = 10 }}\n", "splits[0].to.x", 7, "no partner 'x'", None),
    (f"{CHANNEL}partners = ['blgo']\n", "channels[0].partners[0]", 7, "no partner", "did you mean blog?"),
    (f"{CHANNEL}arrivals = ['emial']\n", "channels[0].arrivals[0]", 7, "must be", None),
]
# field E23
PARTNERS += [
    (PLAIN.replace("blog.example", host), "[0].postback", 7, "is never called", ALLOW)
    for host in (
        "169.254.169.254",
        "169.254.10.1:8080",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "0xa9fea9fe",
        "2852039166",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.254.169.254.",
        "１６９.254.169.254",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
    )
]
PARTNERS += [
    (AWIN + "endpoint = 'http://169.254.169.254'", "[0].endpoint", 8, "is never called", ALLOW),
    (
        f"{NEW}id = 't'\nnetwork = 'tune'\nparam = 'c'\nsettings = {{ network_domain = '169.254.169.254' }}",
        *("[0].settings", 8, "is never called", ALLOW),
    ),
]
RULES = [
    # field G4
    (f"{PLAIN}{RULE}when = ['partner.id == \"blgo\"']", "[0].when[0]", 11, "one of blog", 'write "blog"'),
    (f"{AWIN}{RULE}when = ['partner.id == \"awinn\"']", "[0].when[0]", 11, "one of awin", 'write "awin"'),
    (f"{RULE}when = ['partner.id == \"blog\"']", "[0].when[0]", 7, "no partner", "add the partner first"),
    (f"{RULE}when = ['touch.network == \"awni\"']", "[0].when[0]", 7, "never 'awni'", 'write "awin"'),
    (f"{RULE}when = ['page.type == \"prodct\"']", "[0].when[0]", 7, "is one of home", 'write "product"'),
    (
        "[[sites.rules]]\nname = 'a'\naction = 'hide'\n" * 2,
        "[1].name",
        8,
        "another rule has the name 'a'",
        "",
    ),
    (
        "[[sites.rules]]\nname = 'a'\naction = 'hide'\nwhen = [\n'visit.pages > 1',\n'visit.pags > 1']",
        *("[0].when[1]", 9, "column 1: unknown fact `visit.pags`", "did you mean visit.pages?"),
    ),
    (
        "rules = [{ name = 'a', action = 'hide', enabled = false, when = ['visit.pages = 1'] }]",
        *("[0].when[0]", 4, "column 13: '=' is not allowed here", "to compare, write =="),
    ),
]
WRONG = [
    *SITE,
    *((text, f"partners{key}", *rest) for text, key, *rest in PARTNERS),
    *((text + PLAIN, f"credit.{key}", *rest) for text, key, *rest in CREDIT),
    *((text, f"rules{key}", *rest) for text, key, *rest in RULES),
]


@pytest.mark.parametrize(
    ("text", "key", "line", "message", "hint"), WRONG, ids=[f"{k}-{m}" for _, k, _, m, _ in WRONG]
)
def test_check_finds_errors_that_would_occur_later(
    tmp_path: Path, text: str, key: str, line: int, message: str, hint: str | None
) -> None:
    ((at_key, at_line, told, what_to_do),) = found(tmp_path, TOP + SHOP + text)
    assert (at_key, at_line) == (f"sites[0].{key}", line)
    assert message in told
    assert what_to_do == hint or (hint is None and what_to_do)


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("ledger = 'postgresql://db'", "ledger", "names no database"),
        ("ledger = 'mysql://db/clew'", "ledger", "is no address of a ledger"),
        ("store = 'redis://db/x'", "store", "no database number"),
        ("store = 'mysql://db/x'", "store", "none of the stores"),
        ("store = 'sqlite:'", "store", "names no file"),
        ("ledger = 'sqlite:data/clew.db'", "ledger", "/data does not exist"),
        ("metrics_token = 'abc'", "metrics_token", "too short"),
    ],
)
def test_the_top_of_the_file_is_checked_too(tmp_path: Path, text: str, key: str, message: str) -> None:
    ((at_key, line, told, _),) = found(tmp_path, f"{text}\n{TOP}{SHOP}")
    assert (at_key, line) == (key, 1)
    assert message in told


def test_a_journal_that_cannot_be_written_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for journal, message in (("nowhere/orders.journal", "nowhere does not exist"), ("folder", "is a folder")):
        settings, (problem,) = checked(tmp_path, f"journal = '{journal}'\n{TOP}{SHOP}")
        assert settings is not None
        assert (problem.key, problem.line, problem.severity) == ("journal", 1, "warning")
        assert message in problem.message
        assert "nowhere to wait" in problem.message
        assert problem.hint
    assert checked(tmp_path, f"journal = 'folder/orders.journal'\n{TOP}{SHOP}")[1] == []


def test_each_api_token_has_a_name_and_a_strong_value_of_its_own(tmp_path: Path) -> None:
    strong = "vN7kQ2xLrW7mZc4JpYb8"
    token = "[[sites.api_tokens]]\nname = '{}'\ntoken = '{}'\nscopes = ['export']\n"
    tokens = token.format("a", "test-test-test-test") + token.format("a", strong)
    errors = found(tmp_path, f"{TOP}{SHOP}api_token = '{strong}'\n{tokens}")
    assert [(key, line) for key, line, *_ in errors] == [
        ("sites[0].api_tokens[0].token", 7),
        ("sites[0].api_tokens[1].name", 10),
        ("sites[0].api_tokens[1].token", 11),
    ]
    assert [message for _, _, message, _ in errors[1:]] == ["is 'a' twice", "is another token's value too"]


def test_sites_do_not_take_each_others_names_and_hosts(tmp_path: Path) -> None:
    text = APART + TOP + SHOP + "hosts = ['a', 'b']\n" + SHOP + "hosts = ['b', 'A']\n"
    assert [problem[:3] for problem in found(tmp_path, text)] == [
        ("sites[1].name", 7, "another site has the name 'shop'"),
        ("sites[1].hosts[0]", 8, "the host 'b' already belongs to a site"),
        ("sites[1].hosts[1]", 8, "the host 'a' already belongs to a site"),
    ]


def test_only_one_site_may_serve_every_other_host(tmp_path: Path) -> None:
    one = APART + TOP + SHOP + "[[sites]]\nname = 'b'\nhosts = ['b']\n"
    assert checked(tmp_path, one)[1] == []
    ((key, line, message, _),) = found(tmp_path, one + "[[sites]]\nname = 'c'\n")
    assert (key, line) == ("sites[2]", 8)
    assert "no `hosts` either" in message


def test_the_proxy_needs_each_shops_address_and_the_middleware_does_not(tmp_path: Path) -> None:
    text = (
        "desk_host = 'desk.example'\n"
        + TOP
        + SHOP
        + "upstream = 'http://127.0.0.1:8000'\nhosts = ['a']\n[[sites]]\nname = 'b'\n"
    )
    assert checked(tmp_path, text)[1] == []
    settings, problems = checked(tmp_path, text, need_upstream=True)
    assert settings is None
    assert [(p.key, p.line, p.message) for p in problems] == [("sites[1].upstream", 7, "is missing")]


def test_errors_of_every_kind_come_at_once_and_by_line(tmp_path: Path) -> None:
    """A key that pydantic refuses keeps nothing else from being checked."""
    text = (
        "ledger = 'redis://db'\nsecret = 'env:CLEW_SECRET'\n[[sites]]\nnaem = 'shop'\nprefix = 'x'\n"
        "api_token = 'env:TOKEN'\n[[sites.partners]]\nid = 'a b'\nnetwork = 'awin'\n"
        "[[sites.partners]]\nid = 'x'\nnetwork = 'awim'\n"
        "[[sites.rules]]\naction = 'pop'\nname = 'a'\nwhen = ['nonsense here']\n"
        "[[sites.rules]]\naction = 'hide'\nname = 'a'\nwhen = ['visit.pages']\n"
    )
    assert [problem[:2] for problem in found(tmp_path, text, TOKEN="short")] == [
        ("ledger", 1),
        ("secret", 2),
        ("sites[0].name", 3),
        ("sites[0].naem", 4),
        ("sites[0].prefix", 5),
        ("sites[0].api_token", 6),
        ("sites[0].partners[0].id", 8),
        ("sites[0].partners[1].network", 12),
        ("sites[0].rules[0].action", 14),
        ("sites[0].rules[0].when[0]", 16),
        ("sites[0].rules[1].name", 19),
        ("sites[0].rules[1].when[0]", 20),
    ]


def test_a_key_whose_variable_is_not_set_has_no_other_error(tmp_path: Path) -> None:
    text = TOP + SHOP + "api_token = 'env:TOKEN'\nnever = ['env:NEVER']\n"
    assert [problem[:2] for problem in found(tmp_path, text)] == [
        ("sites[0].api_token", 4),
        ("sites[0].never[0]", 5),
    ]


def test_no_secret_is_shown(tmp_path: Path) -> None:
    text = (
        "secret = 'hush'\nmetrics_token = 'hush'\n"
        + SHOP
        + "api_token = 'hush'\n"
        + PLAIN
        + "secret = 'whsec_hush!'\n"
    )
    problems = found(tmp_path, text)
    assert len(problems) == 4
    assert "hush" not in str(problems)


@pytest.mark.parametrize(
    "text", ["sites = 5", "sites = [5]", "[sites]", "[[sites]]\npartners = 5\nrules = [5]", ""]
)
def test_a_file_of_another_shape_is_refused_without_a_fault(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, f"{text}\n")


def test_a_file_that_is_no_toml_or_not_there_is_one_error(tmp_path: Path) -> None:
    assert [problem[1] for problem in found(tmp_path, TOP + "x = \n")] == [2]
    settings, problems = check(tmp_path / "none.toml", {})
    assert settings is None
    assert [p.message for p in problems] == ["cannot be read: no such file or directory"]


def test_a_rules_lines_are_checked_also_where_its_action_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "clew.toml"
    file.write_text(
        'secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"\n[[sites]]\nname = "shop"\n[[sites.rules]]\n'
        'name = "r"\nwhen = ["visit.pags >= 3"]\naction = "invit"\n',
        encoding="utf-8",
    )
    _, problems = check(file, {})
    assert [(p.line, p.key) for p in problems] == [
        (6, "sites[0].rules[0].when[0]"),
        (7, "sites[0].rules[0].action"),
    ]


@pytest.mark.parametrize(
    ("postback", "message"),
    [
        ("http://blog.example/", "is called without encryption"),
        ("http://10.0.0.5/", "10.0.0.5 is an address of a private network"),
        ("https://192.168.1.7:8443/", "192.168.1.7 is an address of a private network"),
        ("https://[fd12:3456::1]/", "fd12:3456::1 is an address of a private network"),
        ("http://167772165/", "167772165 is an address of a private network"),
        ("https://partner/", "partner is a name in your own network"),
        ("https://relay.internal/", "relay.internal is a name in your own network"),
    ],
)
def test_a_postback_that_can_hardly_be_meant_is_a_warning(
    tmp_path: Path, postback: str, message: str
) -> None:
    """field G4, E23"""
    text = TOP + SHOP + PLAIN.replace("https://blog.example/", postback)
    ((key, line, told),) = warned(tmp_path, text)
    assert (key, line) == ("sites[0].partners[0].postback", 7)
    assert message in told


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("https://blog.example/", "http://127.0.0.1:8082/"),
        PLAIN.replace("https://blog.example/", "http://localhost:8082/"),
        PLAIN.replace("https://blog.example/", "http://[::1]:8082/"),
        PLAIN.replace("https://blog.example/", "http://10.0.0.5/") + "allow_private = true\n",
        PLAIN.replace("https://blog.example/", "http://169.254.169.254/") + "allow_private = true\n",
    ],
)
def test_a_postback_to_this_machine_or_with_allow_private_is_valid(tmp_path: Path, text: str) -> None:
    """field E23"""
    assert warned(tmp_path, TOP + SHOP + text) == []


ORDER = "[sites.order]\nid = '#n'\npage = "
OPENCART = "platform = 'opencart'\n"


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        (ORDER + "'/index.php'", "order.page", "matches pages of other kinds too, such as /index.php?route="),
        (OPENCART + ORDER + "'/index.php'", "order.page", "matches pages of other kinds too"),
        (ORDER + "'*'", "order.page", "matches pages of other kinds too, such as / (home)"),
        (ORDER + "'/-/clew/thanks'", "order.page", "clew's own pages"),
        (ORDER + "'/shop/../thanks'", "order.page", "browsers resolve /../"),
        ("never = ['/index.php']", "never[0]", "excludes the chat from nearly all pages"),
        (OPENCART + "never = ['/index.php?route=*']", "never[0]", "excludes the chat from nearly all pages"),
        (
            "page_types = { '/index.php' = 'product' }",
            "page_types./index.php",
            "matches pages of other kinds",
        ),
        (
            "page_types = { '/mills/*' = 'category', '/mills/*.html' = 'product' }",
            *("page_types./mills/*.html", "has no effect: /mills/* comes first"),
        ),
        (
            "page_types = { '/x?a' = 'category', '/x?b=1&a=*' = 'product' }",
            *("page_types./x?b=1&a=*", "has no effect: /x?a comes first"),
        ),
    ],
)
def test_a_pattern_that_can_hardly_be_meant_is_a_warning(
    tmp_path: Path, text: str, key: str, message: str
) -> None:
    """field C1"""
    ((at, _, told),) = warned(tmp_path, TOP + SHOP + text)
    assert at.replace('"', "") == f"sites[0].{key}"
    assert message in told


@pytest.mark.parametrize(
    "text",
    [
        OPENCART + ORDER + "'/index.php?route=checkout/success'",
        ORDER + "'/thank-you*'",
        "never = ['/pay/*', '/index.php?route=extension/*']",
        "page_types = { '/mills/*.html' = 'product', '/mills/*' = 'category', '/i.php?p=20*' = 'category' }",
    ],
)
def test_plausible_patterns_have_no_warning(tmp_path: Path, text: str) -> None:
    assert warned(tmp_path, TOP + SHOP + text) == []


def test_hosts_that_can_share_no_visitor_are_a_warning(tmp_path: Path) -> None:
    """field B1"""
    hosts = "hosts = ['www.shop.de', 'shop.de', '*.shop.at', 'localhost:8000']"
    settings, problems = checked(tmp_path, TOP + SHOP + hosts)
    assert settings is not None
    ((key, severity, message),) = [(p.key, p.severity, p.message) for p in problems]
    assert (key, severity) == ("sites[0].hosts", "warning")
    assert message == "shop.at and shop.de cannot share cookies: a visitor of one is new on the other"
    settings, problems = checked(
        tmp_path, TOP + SHOP + "hosts = ['www.shop.de', 'shop.de', 'localhost:8000']"
    )
    assert problems == []


SECRETS = [
    ("secret = 'change-me-change-me-change-me-0000'", "", "secret"),
    (f"secret = '{'a' * 32}'", "", "secret"),
    (f"{TOP}previous_secrets = ['{GOOD}', '{'z' * 40}']", "", "previous_secrets[1]"),
    (f"{TOP}previous_secrets = ['old']", "", "previous_secrets[0]"),
    (f"{TOP}metrics_token = '{'m' * 20}'", "", "metrics_token"),
    (TOP, "api_token = 'example-token-0001'", "sites[0].api_token"),
    (TOP, f"{PLAIN}secret = '{'p' * 20}'", "sites[0].partners[0].secret"),
]


@pytest.mark.parametrize(("top", "site", "key"), SECRETS)
def test_a_secret_that_can_be_guessed_is_an_error(tmp_path: Path, top: str, site: str, key: str) -> None:
    """field E17"""
    ((at_key, line, message, _),) = found(tmp_path, f"{top}\n{SHOP}{site}\n")
    assert at_key == key
    assert line is not None
    assert message


@pytest.mark.parametrize("name", ["clew.db", "clew.db-wal", "clew.db-shm", "clew-visits.db"])
@pytest.mark.parametrize(("mode", "told"), [(0o644, True), (0o640, True), (0o600, False)])
def test_a_database_that_others_can_read_is_a_warning(
    tmp_path: Path, name: str, mode: int, told: bool
) -> None:
    """field E16"""
    for file in ("clew.db", "clew-visits.db", name):
        (tmp_path / file).touch(0o600)
    (tmp_path / name).chmod(mode)
    problems = warned(tmp_path, TOP + "[[sites]]\nname = 'shop'\n")
    assert [key for key, _, message in problems if f"{tmp_path / name} can be read" in message] == (
        ["store" if name == "clew-visits.db" else "ledger"] if told else []
    )


SEVERAL = "[[sites]]\nname = 'a'\nhosts = ['a.example']\n[[sites]]\nname = 'b'\nhosts = ['b.example']\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "is missing"),
        ("desk_host = 'A.example'\n", "is the host of a shop"),
        ("desk_host = '*.x'\n", "not a single host"),
    ],
)
def test_several_sites_need_a_desk_of_its_own_host(tmp_path: Path, line: str, message: str) -> None:
    """field E2"""
    ((key, _, told, _),) = found(tmp_path, line + TOP + SEVERAL)
    assert key == "desk_host"
    assert message in told


def test_several_sites_with_a_desk_host_are_valid(tmp_path: Path) -> None:
    settings, problems = checked(tmp_path, "desk_host = 'desk.example:8443'\n" + TOP + SEVERAL)
    assert settings is not None
    assert problems == []


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("trusted_proxies = ['0.0.0.0/0']\n" + SHOP, "trusted_proxies[0]", "includes strangers"),
        ("trusted_proxies = ['10.0.0.0/8', '::/0']\n" + SHOP, "trusted_proxies[1]", "includes strangers"),
        (
            SHOP + "hosts = ['a.test', 'www.a.test']\nupstream = 'https://WWW.a.test'\n",
            "sites[0].upstream",
            "requests are forwarded in a loop",
        ),
        (
            SHOP + PLAIN.replace("?c={click_id}", "?order={order_id}"),
            "sites[0].partners[0].postback",
            "cannot tell which click",
        ),
    ],
)
def test_problems_without_an_exception_are_warnings(
    tmp_path: Path, text: str, key: str, message: str
) -> None:
    """field G4, E3, E15"""
    (told,) = warned(tmp_path, TOP + text)
    assert told[0] == key
    assert message in told[2]


@pytest.mark.parametrize(
    "text",
    [
        "trusted_proxies = ['10.0.0.0/8', '127.0.0.1/32', '104.16.0.0/12', '2400:cb00::/29', 'fd00::/8']\n"
        + SHOP,
        SHOP + "hosts = ['a.test']\nupstream = 'http://127.0.0.1:8000'\n",
        SHOP + "hosts = ['a.test']\nupstream = 'https://a.test'\nupstream_host = 'shop.internal'\n",
        SHOP + PLAIN.replace("?c={click_id}", "") + "secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'\n",
    ],
)
def test_unusual_but_valid_settings_have_no_warning(tmp_path: Path, text: str) -> None:
    """field G4"""
    assert warned(tmp_path, TOP + text) == []


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    """field G10, G4"""
    (problem,) = found(tmp_path, f"{TOP}ledger = 'sqlite:{tmp_path}'\n{SHOP}")
    assert (problem[0], problem[2]) == ("ledger", f"{tmp_path} is a folder")


def test_terms_that_are_over_or_overlap_are_warnings(tmp_path: Path) -> None:
    ended = f"{TERMS}percent = 5\nuntil = 2020-01-31\n"
    first = f"{TERMS.replace('base', 'one')}percent = 5\nsince = 2998-01-01\nuntil = 2998-12-31\n"
    second = f"{TERMS.replace('base', 'two')}percent = 6\nsince = 2998-12-01\nuntil = 2999-12-31\n"
    found = warned(tmp_path, TOP + SHOP + ended + first + second + PLAIN)
    assert [(key, message) for key, _, message in found if "credit" in key] == [
        ("sites[0].credit.terms[0].until", "2020-01-31 is past: it applies to no new order"),
        (
            "sites[0].credit.terms[2]",
            "its period overlaps with that of one, which comes first and applies then",
        ),
    ]


def test_a_trial_before_the_usual_terms_is_no_overlap(tmp_path: Path) -> None:
    trial = f"{TERMS.replace('base', 'trial')}percent = 9\nsince = 2998-01-01\nuntil = 2998-12-31\n"
    found = warned(tmp_path, TOP + SHOP + trial + f"{TERMS}percent = 5\n" + PLAIN)
    assert [key for key, *_ in found if "credit" in key] == []


def test_one_code_belongs_to_one_partner(tmp_path: Path) -> None:
    twice = (
        PLAIN.replace("blog", "anna").replace("'ref'", "'a'")
        + "codes = ['X10']\n"
        + PLAIN
        + "codes = ['x10']\n"
    )
    ((key, _, message, _),) = found(tmp_path, TOP + SHOP + twice)
    assert (key, message) == (
        "sites[0].partners[1].codes[0]",
        "the code 'x10' is bound already: one code belongs to one partner",
    )
