import pytest
from clew.referral.calls import REPORT
from clew.referral.networks_file import CatalogueError, read

HEAD = """
[meta]
schema = 2
[referrers]
confidence = "likely"
payment_hosts = ["pay.example"]
[utm]
confidence = "likely"
params = ["utm_source"]
"""
NETWORK = """
[[network]]
id = "one"
name = "One"
kind = "affiliate_network"
confidence = "verified"
source = ["its own page"]
landing_params = ["oneid"]
"""
COOKIE = 'name = "c", days = 9, http_only = true'
CALL = """
  [[network.call]]
  id = "get"
  for = ["conversion"]
  preferred = true
  method = "GET"
  url = "https://one.example/{account}"
  encoding = "query"
  success = { status = [200, 299] }
  params = [
    { name = "click", from = "click_id", req = true },
    { name = "sum", from = "amount" },
  ]
"""


def problems(text: str) -> str:
    with pytest.raises(CatalogueError) as caught:
        read(HEAD + text)
    assert "networks.toml" in str(caught.value)
    return "\n".join(caught.value.problems)


def test_a_valid_file_is_read() -> None:
    catalogue = read(HEAD + NETWORK + CALL)
    (network,) = catalogue.networks.values()
    (conversion,) = network.calls
    assert list(conversion.settings) == ["account"]
    assert conversion.settings["account"].required
    assert [(p.name, p.format, p.path) for p in conversion.params] == [
        ("click", "text", ("click",)),
        ("sum", "decimal", ("sum",)),
    ]
    assert catalogue.payment_hosts == {"pay.example"}
    assert catalogue.utm == ("utm_source",)


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('from = "amount"', 'from = "amuont"', "one.call.get.params.sum", "unknown source 'amuont'"),
        (
            'from = "amount"',
            'from = "amount", format = "iso8601"',
            "one.call.get.params.sum",
            "decimal",
        ),
        (
            'from = "amount"',
            'from = "settings.No Key"',
            "one.call.get.params.sum",
            "not a settings key",
        ),
        (
            'from = "amount"',
            'from = "amount", colour = 1',
            "one.call.get.params.sum.colour",
            "not permitted",
        ),
        ('name = "sum"', 'name = "sum{n}"', "one.call.get.params.sum{n}", "{n} and {i} count items"),
        ('name = "sum"', 'name = "click"', "one.call.get.params.click", "the same path"),
        ("req = true", 'of = ["twoid"]', "one.call.get.params.click", "'twoid'"),
        ('encoding = "query"', 'encoding = "form"', "network.one.call.get", "GET has none"),
        ('encoding = "query"', 'encoding = "quary"', "network.one.call.get.encoding", "'query'"),
        ('url = "https:', 'url = "ftp:', "network.one.call.get.url", "https"),
        ("{account}", "{Account No}", "network.one.call.get", "{Account No} is not a settings key"),
        ("{account}", "{conversion}", "network.one", "`conversion` is reserved"),
        ("preferred = true", "preferred = false", "network.one.call", "`preferred`"),
        ("[200, 299]", "[299, 200]", "network.one.call.get.success", "[lowest, highest]"),
        ("[200, 299]", "[200, 299], equals = 1", "network.one.call.get.success", "`pointer`"),
        ('"oneid"', '"oneid", "oneid"', "network.one.landing_params", "twice"),
        (
            '"oneid"',
            '{ name = "oneid", fallback = true }',
            "network.one.landing_params",
            "all are `fallback`",
        ),
        (
            '"oneid"',
            '{ name = "a", parts = ["a", "b"], value = "{a}" }',
            "network.one.landing_params.a",
            "each of `parts`",
        ),
        (
            'confidence = "verified"',
            'confidence = "certain"',
            "network.one.confidence",
            "'verified' or 'likely'",
        ),
        ('source = ["its own page"]', "source = []", "network.one.source", "at least 1"),
        (
            'landing_params = ["oneid"]',
            'landing_params = ["oneid"]\nsettings = { token = { secret = true } }',
            "network.one.settings.token",
            "no call uses it",
        ),
        (
            'landing_params = ["oneid"]',
            f'landing_params = ["oneid"]\ncookies = [{{ {COOKIE}, secure = false, same_site = "None" }}]',
            "network.one.cookies.c",
            "SameSite=None needs Secure",
        ),
        (
            'landing_params = ["oneid"]',
            f'landing_params = ["oneid"]\ncookies = [{{ {COOKIE}, secure = true, value = "{{click_id}};" }}]',
            "network.one.cookies.c.value",
            "pattern",
        ),
    ],
)
def test_a_fault_is_named_by_network_and_key(old: str, new: str, where: str, what: str) -> None:
    text = NETWORK + CALL
    assert old in text
    found = problems(text.replace(old, new, 1))
    assert where in found
    assert what in found


def test_all_faults_are_reported_at_once() -> None:
    text = (
        (NETWORK + CALL)
        .replace('from = "amount"', 'from = "x"')
        .replace('kind = "affiliate_network"', 'kind = "y"')
    )
    found = problems(text)
    assert "network.one.kind" in found
    assert "params.sum" in found


def test_a_name_that_two_networks_use_must_be_marked_shared() -> None:
    other = NETWORK.replace('"one"', '"two"').replace('"oneid"', '"OneId"')
    found = problems(NETWORK + other)
    assert "network.one.landing_params.oneid: not `shared`, but two also has it" in found
    assert "network.two.landing_params.OneId" in found


def test_a_network_cannot_be_there_twice() -> None:
    assert "network.one: the id is used twice" in problems(NETWORK + NETWORK)


def test_an_error_in_toml_has_its_position() -> None:
    assert "line" in problems("[[network]\n")


def test_a_name_in_a_json_body_leads_to_its_place() -> None:
    call = (
        CALL.replace('"GET"', '"POST"')
        .replace('"query"', '"json"\n  envelope = "data[]"')
        .replace('name = "click"', 'name = "user.click"')
        .replace('name = "sum"', 'name = "/total"')
    )
    (conversion,) = read(HEAD + NETWORK + call).networks["one"].calls
    assert [p.path for p in conversion.params] == [("data", REPORT, "user", "click"), ("total",)]


def test_two_parameters_cannot_have_the_same_path_in_a_body() -> None:
    call = (
        CALL.replace('"GET"', '"POST"')
        .replace('"query"', '"json"')
        .replace('name = "sum"', 'name = "click.sum"')
    )
    assert "the same path" in problems(NETWORK + call)


BATCH = CALL.replace('"GET"', '"POST"').replace('"query"', '"json"\n  batch = 5')


def test_a_batch_may_be_an_object_with_the_orders_numbers_as_keys() -> None:
    text = BATCH.replace("batch = 5", 'batch = 5\n  envelope = "orders.{order_id}"')
    (call,) = read(HEAD + NETWORK + text).networks["one"].calls
    assert call.params[0].path == ("orders", "{order_id}", "click")
    assert "a key for each" in problems(NETWORK + BATCH)
    keyed = CALL.replace('name = "sum"', 'name = "sum.{order_id}"')
    assert "a key with the order's number is only for a JSON body" in problems(NETWORK + keyed)


def test_failures_must_name_their_reports() -> None:
    each = 'success = { status = [200, 299], each = { list = "/errors", failed = true%s } }'
    text = BATCH.replace("batch = 5", 'batch = 5\n  envelope = "orders[]"')
    text = text.replace("success = { status = [200, 299] }", each)
    assert "which report was refused" in problems(NETWORK + text % "")
    assert "one of them names" in problems(NETWORK + text % ', key = "/a", index = "/b"')
    assert read(HEAD + NETWORK + text % ', index = "/b"').networks


def test_what_is_not_to_be_reported_has_no_call_and_is_not_reported_by_hand() -> None:
    nothing = NETWORK + 'nothing = { conversion = "it reads them itself" }\n'
    assert read(HEAD + nothing).networks["one"].nothing == {"conversion": "it reads them itself"}
    assert "nothing.conversion: there is a call for it" in problems(nothing + CALL)
    by_hand = nothing + 'by_hand = { conversion = "at its console" }\n'
    assert "a person reports it by hand" in problems(by_hand)
