"""Visitors and the shop's server: they report orders to whichever clew answers, and repeat what got no
answer."""

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from raw_http import Client, Response

from .plan import Order, Step
from .shop import confirmation

API_TOKEN: Final = "crash-test-api-token"
# A restart takes some seconds, on a machine that does much else more than that.
GIVE_UP_SECONDS: Final = 120.0
PAUSE: Final = 0.1
# For an answer; whatever was sent over a link that is cut may come to nothing.
PATIENCE: Final = 15.0
Address = tuple[str, int]
_COOKIE: Final = re.compile(rb"clew_visitor=([^;]+)")
_NAVIGATION: Final = b"Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"
_BROKEN: Final = (ConnectionError, asyncio.IncompleteReadError, TimeoutError, OSError)


class NeverAnsweredError(RuntimeError):
    """A request got no good answer, however often it was repeated; the text says which."""


@dataclass
class Tally:
    """What was done. `told` has the reports of an order that were delivered, in their order, `sightings`
    counts them. `wrong` are answers that must never come."""

    told: defaultdict[str, list[Step]] = field(default_factory=lambda: defaultdict(list))
    done: int = 0
    sightings: int = 0
    requests: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Writer:
    """Works through an agenda. `clews` are the host and the port of each."""

    def __init__(self, name: int, clews: Sequence[Address], tally: Tally) -> None:
        self._clews = clews
        self._turn = name
        self._tally = tally
        self._idle: defaultdict[Address, list[Client]] = defaultdict(list)
        self._cookies: dict[str, bytes] = {}

    async def run(self, agenda: Sequence[tuple[Order, int]]) -> None:
        """Make all reports, until one never gets a good answer."""
        try:
            await self._work(agenda)
        except NeverAnsweredError as error:
            self._tally.wrong.append(str(error))
        for client in (client for idle in self._idle.values() for client in idle):
            client.writer.close()

    async def _work(self, agenda: Sequence[tuple[Order, int]]) -> None:
        for order, number in agenda:
            if number == 0 and order.partner is not None:
                await self._arrive(order)
            await asyncio.gather(*(self._report(order, step) for step in order.groups[number]))
            self._tally.done += 1
            if number == len(order.groups) - 1:
                self._cookies.pop(order.number, None)

    async def _arrive(self, order: Order) -> None:
        """A visitor comes by its partner's link, and goes to the checkout."""
        target = f"/?{order.partner}={order.click}"

        def cookie(answer: Response) -> bool:
            found = [m[1] for line in answer.all("set-cookie") if (m := _COOKIE.match(line))]
            if found:
                self._cookies[order.number] = found[0]
            return bool(found)

        await self._ask(_page(target, b"cross-site"), cookie, f"landing of {order.number}")
        if any(step.body is None for step in order.steps):
            own = self._cookies[order.number]
            await self._ask(_page("/checkout", b"same-origin", own), lambda _: True, "checkout")

    async def _report(self, order: Order, step: Step) -> None:
        what = f"order {order.number}: {'page' if step.body is None else json.dumps(step.body)}"
        cookie = self._cookies.get(order.number)
        if step.body is None:
            request = _page(confirmation(order.number, order.total), b"same-origin", cookie)
            answer = await self._ask(request, _is_whole, what, once=step.once)
        else:
            body = {**step.body}
            if step.named and cookie is not None:
                body["visitor"] = cookie.decode()
            answer = await self._ask(_api(body), lambda _: True, what, once=step.once)
        if answer is not None:
            self._tally.told[order.number].append(step)
            self._tally.sightings += 1

    async def _ask(
        self, request: bytes, is_good: Callable[[Response], bool], what: str, *, once: bool = False
    ) -> Response | None:
        """The first good answer; None where none came to a request that is made `once`. Raises
        NeverAnsweredError."""
        loop = asyncio.get_running_loop()
        until = loop.time() + GIVE_UP_SECONDS
        last = "nothing"
        while loop.time() < until:
            self._turn += 1
            try:
                answer = await self._once(self._clews[self._turn % len(self._clews)], request)
            except _BROKEN as error:
                last = type(error).__name__
            else:
                last = str(answer.status) if answer.complete else "broken off"
                if answer.complete and 200 <= answer.status < 300 and is_good(answer):
                    self._tally.answers[last] += 1
                    return answer
                if answer.complete and 400 <= answer.status < 500:
                    self._tally.wrong.append(f"{what}: {answer.status} {answer.body[:300]!r}")
                    return None
            self._tally.answers[last] += 1
            if once:
                return None
            await asyncio.sleep(PAUSE)
        raise NeverAnsweredError(f"{what}: no good answer in {GIVE_UP_SECONDS:.0f} s, the last was {last}")

    async def _once(self, clew: Address, request: bytes) -> Response:
        """One try, on a connection that was kept or a new one."""
        self._tally.requests += 1
        host, port = clew
        idle = self._idle[clew]
        async with asyncio.timeout(PATIENCE):
            client = idle.pop() if idle else await Client(port, host).__aenter__()
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await client.ask(request)
        except BaseException:
            client.writer.close()
            raise
        if answer.complete and not answer.all("connection"):
            idle.append(client)
        else:
            client.writer.close()
        return answer


def _page(target: str, came: bytes, cookie: bytes | None = None) -> bytes:
    own = b"" if cookie is None else b"Cookie: clew_visitor=%b\r\n" % cookie
    return b"GET %b HTTP/1.1\r\nHost: shop.example\r\n%bSec-Fetch-Site: %b\r\n%b\r\n" % (
        target.encode(),
        _NAVIGATION,
        came,
        own,
    )


def _api(body: object) -> bytes:
    content = json.dumps(body).encode()
    return (
        b"POST /-/clew/orders HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer %b\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (API_TOKEN.encode(), len(content), content)
    )


def _is_whole(answer: Response) -> bool:
    return answer.body.endswith(b"</html>")
