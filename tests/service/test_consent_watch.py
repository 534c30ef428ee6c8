"""A site that asks for consent without any source of it recognises no visitor, which is reported."""

import pytest
from clew.events.events import Events
from clew.referral.consent.decision import Terms, decide
from clew.referral.consent.message import PageMessage
from clew.service.consent_watch import SILENT, ConsentWatch
from prometheus_client import CollectorRegistry

NOW = 1_800_000_000.0
ASK = Terms("ask")


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(
        Events, "notice", lambda self, name, *, site, key, **fields: found.append((name, key))
    )
    return found


def test_many_calls_without_any_source_are_reported(notices: list[tuple[str, str]]) -> None:
    watch = ConsentWatch(Events(CollectorRegistry()))
    nothing = decide(ASK, [], False, None, NOW)
    undecided = decide(ASK, [b"CookieConsent=0"], False, None, NOW)
    for _ in range(SILENT - 1):
        watch.saw("shop", nothing)
    watch.saw("shop", undecided)
    watch.saw("other", nothing)
    for _ in range(SILENT - 1):
        watch.saw("shop", nothing)
    assert notices == []
    watch.saw("shop", nothing)
    assert notices == [("consent_silent", "")]


@pytest.mark.parametrize(
    ("cookies", "message"),
    [
        ([b"euconsent-v2=BPuKNGaPuKNGaAfEHBFIABAAAAA_mABAfyA"], None),
        ([b"borlabs-cookie=all"], None),
        ([], PageMessage(gpp="DBB")),
        ([], PageMessage(tcf="x")),
    ],
)
def test_an_unreadable_order_is_reported(
    notices: list[tuple[str, str]], cookies: list[bytes], message: PageMessage | None
) -> None:
    ConsentWatch(Events(CollectorRegistry())).saw("shop", decide(ASK, cookies, False, message, NOW))
    ((name, key),) = notices
    assert name == "consent_unreadable"
    assert "unreadable" in key
