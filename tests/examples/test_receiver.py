"""The partner's server of the demo and of the tests."""

from datetime import UTC, datetime

import httpx2
import pytest
from receiver import Receiver
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_it_records_each_call_unchanged(receiver: Receiver) -> None:
    httpx2.get(f"{receiver.address}/sale?click=a%2Bb%FF&empty=", headers={"X-Key": "k"})
    httpx2.post(f"{receiver.address}/orders", json={"orders": []})

    first, second = receiver.wait(2)
    assert (first.method, first.target) == ("GET", "/sale?click=a%2Bb%FF&empty=")
    assert first.query == {"click": "a+b\udcff", "empty": ""}
    assert first.headers["x-key"] == "k"
    assert (second.method, second.path, second.json()) == ("POST", "/orders", {"orders": []})


def test_it_fails_as_often_as_requested() -> None:
    with Receiver(fail=2) as receiver:
        statuses = [httpx2.get(receiver.address).status_code for _ in range(4)]
    assert statuses == [503, 503, 200, 200]
    assert len(receiver.accepted) == 2


def test_it_refuses_a_call_whose_signature_is_wrong() -> None:
    body, now = '{"type":"order"}', datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", now, body),
    }
    with Receiver(secret=SECRET) as receiver:
        assert httpx2.post(receiver.address, content=body, headers=headers).status_code == 200
        assert httpx2.post(receiver.address, content=body + " ", headers=headers).status_code == 401
        assert httpx2.post(receiver.address, content=body).status_code == 401
    assert [call.signature for call in receiver.calls] == ["right", "wrong", "wrong"]


def test_the_error_of_a_wait_lists_the_calls_received(receiver: Receiver) -> None:
    httpx2.get(f"{receiver.address}/other")
    with pytest.raises(TimeoutError, match=r"1 of 2 calls.*/other"):
        receiver.wait(2, seconds=0.05)
