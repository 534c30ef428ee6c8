"""What webhooks of chat providers say, whatever stands in them."""

import copy
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

import hypothesis.strategies as st
import pytest
from clew.chat.providers import providers
from clew.chat.told import (
    NAME_LENGTH,
    OLDEST,
    TEXT_LENGTH,
    TOLD,
    Present,
    UnreadableError,
    event_of,
    parsed,
    told,
)
from hypothesis import HealthCheck, given, settings
from provider_hooks import SECRETS, talk

NOW = 1_795_770_000.0
HEADERS = {"content-type": "application/json"}
odd: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(st.characters(), max_size=30)
    | st.sampled_from(
        ["\ud800", "", "0001-01-01T00:00:00Z", "2026-W01", "clw-k7p2qx", "9" * 400, "<blockquote>"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from leaves(one, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    found = copy.deepcopy(value)
    at = found
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = new
    return found


@pytest.mark.parametrize("name", sorted(SECRETS))
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40)
@given(st.data())
def test_any_value_in_any_place_is_read_or_named(name: str, data: st.DataObject) -> None:
    webhook = providers()[name].webhook
    assert webhook is not None
    sent = data.draw(st.sampled_from(talk(name, "clw1_" + "a" * 30, "/order 1001 59.90", NOW)))
    form = webhook.encoded == "form"
    body = dict(parse_qsl(sent.body.decode())) if form else json.loads(sent.body)
    for _ in range(data.draw(st.integers(1, 3))):
        paths = list(leaves(body))
        if not isinstance(body, dict | list) or not paths:
            break
        body = changed(body, data.draw(st.sampled_from(paths)), data.draw(odd))
    if form:
        fields = {k: v if isinstance(v, str) else json.dumps(v) for k, v in body.items()}
        raw = urlencode(fields, errors="replace")
    else:
        raw = json.dumps(body)
    try:
        read = parsed(webhook, raw.encode("utf-8", "replace"))
        event = event_of(webhook, HEADERS, read)
    except UnreadableError:
        return
    event.encode()
    found = told(webhook, HEADERS, read)
    assert len(found.parts) <= TOLD
    for one in found.parts:
        (one.agent or "").encode()
        assert one.at is None or OLDEST < one.at < 1e11
        assert one.agent is None or 0 < len(one.agent) <= NAME_LENGTH
        if isinstance(one, Present):
            continue
        assert 0 < len(one.conversation) <= 100
        f"{one.ref}{one.order and one.order.number}{one.order and one.order.total}".encode()
        assert one.rating is None or 1 <= one.rating <= 5
        for line in one.lines:
            line.text.encode()
            assert len(line.text) <= TEXT_LENGTH
            assert line.at is None or OLDEST < line.at < 1e11
