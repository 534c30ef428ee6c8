"""Entries of chat/providers.toml: what is refused, and what a page gets."""

import pytest
from clew.chat.check import chat_problems
from clew.chat.providers import ProviderError, providers, read_providers
from clew.settings.model import Site

ENTRY = """
[tea]
title = "Tea"
confidence = "likely"
sources = ["https://tea.example/docs"]
join = ["attr"]
ids.key = { pattern = "[a-z]{4}", about = "in the settings", number = false }
ids.base_url = { pattern = "https://[a-z.]+", about = "where it is", default = "https://tea.example" }
script = "{base_url}/w.js?{day}"
policy = { script-src = ["{base_url}"], connect-src = ["wss://{host}"] }
"""


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('open = [["fetch", "a"]]', "'fetch' is no verb"),
        ('open = [["call", "a b"]]', "'a b' is no path"),
        ('open = [["set", "a"]]', "set takes 1 to 1 values"),
        ('open = [["call", "a", "{secret}"]]', "{secret} is not filled here"),
        ('open = [["call", "a", "{text}"]]', "{text} is not filled here"),
        ('open = [["call", "a", "{key_}"]]', "{key_} is not filled here"),
        ('before = [["set", "a", "x{attributes}"]]', "{attributes} is not filled here"),
        ('before = [["set", "a", { list = "{text}" }]]', "{text} is not filled here"),
        ('events = [["call", "on", { event = "sneezed" }]]', "no event"),
        ('events = [["call", "on", { event = "opened", colour = 1 }]]', "no event"),
        ('before = [["each", [["set", "a"]]]]', "set takes 1 to 1 values"),
        ("open = [[]]", "a step is a list"),
        ("wings = 2", "wings"),
    ],
)
def test_a_wrong_entry_says_where_and_why(line: str, why: str) -> None:
    with pytest.raises(ProviderError, match=r"\[tea\]") as error:
        read_providers(ENTRY + line)
    assert why in str(error.value)


def test_an_unknown_directive_of_a_policy_is_refused() -> None:
    with pytest.raises(ProviderError, match="worker-src is no directive"):
        read_providers(ENTRY.replace("connect-src", "worker-src"))


def test_the_ids_are_filled_in_and_what_the_page_knows_is_left() -> None:
    text = ENTRY + 'before = [["set", "a", { id = "{key}", ref = "{ref}", "{key}" = 1 }]]'
    tea = read_providers(text)["tea"]
    filled = tea.filled({"key": "abcd"})
    assert filled == {
        "script": "https://tea.example/w.js?{day}",
        "before": [["set", "a", {"id": "abcd", "ref": "{ref}", "{key}": 1}]],
    }
    assert tea.hosts({"key": "abcd", "base_url": "https://own.example"}) == {
        "script-src": ("https://own.example",),
        "connect-src": ("wss://own.example",),
    }
    for ids in ({}, {"key": "abc"}, {"key": "abcd", "base_url": "javascript:alert(1)"}, {"key": 'ab"</'}):
        with pytest.raises(ProviderError):
            tea.filled(ids)


def problems(**chat: object) -> list[tuple[str, str]]:
    site = Site.model_validate({"name": "shop", "chat": chat})
    return [(".".join(map(str, found.path)), found.message) for found in chat_problems(site, ("sites", 0))]


def test_settings_that_cannot_work_are_told() -> None:
    right = {"website_id": "5f9d3b0c-8a7e-4d5c-9b3a-29181706f5e4"}
    assert problems(provider="crisp", ids=right) == []
    assert problems() == []
    assert problems(provider="crsip", ids=right) == [("sites.0.chat.provider", "unknown provider 'crsip'")]
    assert problems(provider="crisp") == [("sites.0.chat.ids", "`website_id` of Crisp is missing")]
    assert problems(provider="crisp", ids={"website_id": "1"}) == [
        ("sites.0.chat.ids.website_id", "'1' is no `website_id` of Crisp")
    ]
    assert problems(provider="crisp", ids=right | {"site": "x"}) == [
        ("sites.0.chat.ids.site", "Crisp has no id 'site'")
    ]
    assert problems(load="page") == [("sites.0.chat.load", "`load` is for a provider's chat")]
    assert problems(provider="zammad", ids={"base_url": "https://z.example"}, attributes=["cart"]) == [
        ("sites.0.chat.attributes", "Zammad takes no attributes from a page")
    ]


def test_a_token_to_ask_who_is_there_needs_the_ids_of_the_address_that_is_asked() -> None:
    ids = {"website_token": "aBcDeFgHiJkLmNoPqRsTuVwX"}
    assert problems(provider="chatwoot", ids=ids) == []
    assert problems(provider="chatwoot", ids=ids, presence_token="secret") == [
        ("sites.0.chat.ids", "`account_id` of Chatwoot is missing, which `presence_token` needs")
    ]
    assert problems(provider="chatwoot", ids=ids | {"account_id": "1"}, presence_token="secret") == []


def test_every_provider_says_where_its_facts_are_from() -> None:
    for provider in providers().values():
        assert provider.sources
        assert provider.policy["script-src"]
