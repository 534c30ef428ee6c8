import asyncio
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from clew.postbacks import reach
from clew.postbacks.call import Call
from clew.postbacks.client import BODY_LIMIT, Client, Progress
from clew.postbacks.reach import allowed
from clew.postbacks.render import ANY_2XX
from clew.postbacks.verdict import Answered, NotSent, Result, Unanswered


class StopError(Exception):
    pass


def call(url: str, method: str = "GET", body: bytes = b"", **headers: str) -> Call:
    return Call(method, url, headers, body, "", ANY_2XX)


async def make(target: Call, seconds: float = 60.0, progress: Progress | None = None) -> Result:
    async def before() -> None:
        return None

    async with Client(seconds, 4) as client:
        return await client.make(target, before, progress or Progress())


async def test_the_target_is_sent_byte_for_byte(receiver: Any) -> None:
    target = "/a/../b//%7e;x?x[]=%zz&y={}|\"^`'&c=a%26b"
    assert await make(call(receiver.address + target)) == Answered(200)
    assert receiver.got[0].target == target.encode()


async def test_a_call_has_its_own_headers_and_no_cookies(receiver: Any, reply: Any) -> None:
    receiver.replies = [reply(headers={"Set-Cookie": "id=1"})]
    for _ in range(2):
        await make(call(receiver.address + "/", "POST", b"{}", **{"x-api-key": "k"}))
    second = receiver.got[1]
    assert second.body == b"{}"
    assert second.headers["x-api-key"] == "k"
    assert second.headers["user-agent"] == "clew"
    assert "cookie" not in second.headers


async def test_a_redirect_is_an_answer_and_is_not_followed(receiver: Any, reply: Any) -> None:
    receiver.replies = [reply(302, headers={"Location": "/elsewhere"})]
    assert await make(call(receiver.address + "/")) == Answered(302)
    assert len(receiver.got) == 1


async def test_proxies_of_the_environment_are_not_used(
    receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert await make(call(receiver.address + "/")) == Answered(200)


async def test_a_refused_connection_is_not_sent(receiver: Any) -> None:
    address = receiver.address
    await receiver.stop()
    await receiver.start()
    assert receiver.address != address
    result = await make(call(address + "/"))
    assert isinstance(result, NotSent)
    assert not result.for_good


@pytest.mark.parametrize("url", ["http://p.example:99999/", "http://a..b/", "http://[::1/"])
async def test_an_address_that_cannot_be_called_never_will(url: str) -> None:
    result = await make(call(url))
    assert isinstance(result, NotSent)


async def test_a_header_that_http_forbids_is_not_sent(receiver: Any) -> None:
    result = await make(call(receiver.address + "/", **{"x-api-key": "a\nb"}))
    assert result == NotSent(result.reason, for_good=True)  # type: ignore[union-attr]
    assert receiver.got == []


async def test_silence_after_sending_is_unanswered(receiver: Any, reply: Any) -> None:
    receiver.replies = [reply(then="hang")]
    progress = Progress()
    assert await make(call(receiver.address + "/"), 1.0, progress) == Unanswered("no response within 1 s")
    assert progress.sent


async def test_a_connection_reset_after_sending_is_unanswered(receiver: Any, reply: Any) -> None:
    receiver.replies = [reply(then="reset")]
    assert isinstance(await make(call(receiver.address + "/")), Unanswered)


async def test_a_status_counts_though_its_body_never_ends(receiver: Any, reply: Any) -> None:
    receiver.replies = [reply(503, b"x", {"Retry-After": "7"}, then="hang_after")]
    result = await make(call(receiver.address + "/"), 1.0)
    assert result == Answered(503, complete=False, retry_after="7")


async def test_no_more_of_a_body_is_read_than_the_limit(receiver: Any, reply: Any) -> None:
    receiver.replies = [reply(200, b"x" * (BODY_LIMIT * 3))]
    result = await make(call(receiver.address + "/"))
    assert isinstance(result, Answered)
    assert len(result.body) == BODY_LIMIT
    assert not result.complete


async def test_an_error_before_the_first_byte_cancels_the_whole_call(receiver: Any) -> None:
    async def before() -> None:
        raise StopError

    progress = Progress()
    async with Client(60, 4) as client:
        with pytest.raises(StopError):
            await client.make(call(receiver.address + "/"), before, progress)
    assert not progress.sent
    await asyncio.sleep(0)
    assert receiver.got == []


async def test_nothing_is_sent_while_effects_are_performed(receiver: Any) -> None:
    may_go = asyncio.Event()

    async def before() -> None:
        await may_go.wait()

    async with Client(60, 4) as client:
        task = asyncio.create_task(client.make(call(receiver.address + "/"), before, Progress()))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await receiver.wait(1)
        may_go.set()
        assert await task == Answered(200)


async def looked_up(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], target: Call
) -> tuple[Result, list[str]]:
    """The result of a call whose host leads to `addresses`, and the hosts that were looked up."""
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return await make(target), asked


PRIVATE = [
    "127.0.0.1",
    "10.0.0.5",
    "169.254.169.254",
    "::1",
    "fe80::1",
    "fd00::1",
    "::ffff:10.0.0.5",
    "0.0.0.0",
]


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_leads_into_a_private_network_is_not_called(
    receiver: Any, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """field E23: also where the name leads elsewhere at each look"""
    port = receiver.address.rpartition(":")[2]
    result, asked = await looked_up(monkeypatch, [address], call(f"http://rebind.example:{port}/"))
    assert isinstance(result, NotSent)
    assert "rebind.example resolves to" in result.reason
    assert "allow_private" in result.reason
    assert asked == ["rebind.example"]
    assert receiver.got == []


async def test_the_address_that_was_looked_at_is_the_one_that_is_called(
    receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """field E23: no second look-up can lead elsewhere; of several addresses the next is tried"""
    monkeypatch.setattr(reach, "kind_of", lambda address: "public")
    port = receiver.address.rpartition(":")[2]
    target = call(f"http://Partner.example:{port}/sale?x=1")
    result, asked = await looked_up(monkeypatch, ["127.0.0.2", "127.0.0.1"], target)
    assert result == Answered(200)
    assert asked == ["partner.example"]
    assert receiver.got[0].headers["host"] == f"partner.example:{port}"
    assert receiver.got[0].target == b"/sale?x=1"


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "2852039166", "[::ffff:a9fe:a9fe]", "metadata.google.internal"]
)
async def test_a_link_local_address_is_refused_at_once(host: str) -> None:
    """field E23"""
    result = await make(call(f"http://{host}/latest/meta-data/"))
    assert isinstance(result, NotSent)
    assert "allow_private" in result.reason


async def test_with_leave_any_address_is_called(receiver: Any) -> None:
    """field E23"""
    address = receiver.address.replace("127.0.0.1", "localhost")
    assert await make(call(address + "/")) == Answered(200)
    assert await make(replace(call(address + "/"), allow_private=True)) == Answered(200)


@pytest.mark.parametrize(
    "address",
    [
        *("::127.0.0.1", "::a9fe:a9fe", "64:ff9b:1::7f00:1", "::ffff:0:a9fe:a9fe", "fec0::1", "5f00::1"),
        *("3fff::1", "100::1", "2001:0:1::1", "192.0.0.8", "192.88.99.1", "100.64.0.1", "198.18.0.1"),
        *("64:ff9b::a00:1", "2002:a00:1::1", "::ffff:10.0.0.1"),
    ],
)
def test_a_name_is_not_called_at_addresses_that_the_internet_does_not_route(address: str) -> None:
    with pytest.raises(ValueError, match="not public"):
        allowed("partner.test", [ip_address(address)])
    assert allowed("partner.test", [ip_address("2001:4860:4860::8888"), ip_address("64:ff9b::808:808")])
