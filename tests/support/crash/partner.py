"""The partners' server: it keeps books, and answers well, badly, late or not at all.

It counts an event once, as networks do: a call with the key of an earlier one is a repeat, and so is a new
order under a number that is known. What it says of a call depends on the seed and on the call alone.
"""

import asyncio
import json
import random
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit

from raw_http import Request, read_request
from standardwebhooks import Webhook, WebhookVerificationError

PARTNERS: Final = ("plain", "repeat", "hook", "tune")
SECRET: Final = "whsec_Y3Jhc2gtdGVzdC1jcmFzaC10ZXN0LWNyYXNo"
HANG_SECONDS: Final = 8.0

# How a call is taken, in a hundred. "counted": the event was counted before it went wrong.
Mood = Literal[
    "ok", "500", "500 counted", "silent", "silent counted", "cut", "cut counted", "half", "error body"
]
MOODS: Final[dict[Mood, int]] = {
    "ok": 80,
    "500": 6,
    "500 counted": 2,
    "silent": 1,
    "silent counted": 1,
    "cut": 2,
    "cut counted": 2,
    "half": 2,
    "error body": 4,
}
_EVENTS: Final = {"order.created": "order", "order.updated": "adjust", "order.cancelled": "cancel"}


@dataclass(frozen=True, slots=True)
class Event:
    """The content of a call. `key` distinguishes it from other calls about the order."""

    partner: str
    number: str
    key: str
    kind: str
    amount: Decimal
    click: str


@dataclass
class Account:
    """What a partner has of one order: the events that counted, in the order of their arrival, and the keys
    of all calls that came."""

    counted: list[Event] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    @property
    def worth(self) -> Decimal:
        """The amount that the partner has now."""
        return self.counted[-1].amount if self.counted else Decimal()


class Books:
    """What the partners have counted."""

    def __init__(self) -> None:
        self.accounts: defaultdict[tuple[str, str], Account] = defaultdict(Account)
        self.calls = 0
        self.repeats = 0
        self.moods: Counter[str] = Counter()
        self.wrong: list[str] = []

    def knows(self, event: Event) -> bool:
        """Whether it was counted, or is a new order with a known number."""
        account = self.accounts[event.partner, event.number]
        return event.key in account.keys or (event.kind == "order" and bool(account.counted))

    def count(self, event: Event) -> None:
        """Count an event, unless it is known."""
        account = self.accounts[event.partner, event.number]
        if self.knows(event):
            self.repeats += 1
        else:
            account.counted.append(event)
        account.keys.add(event.key)


class Partners:
    """Listens for each of the partners on a port of its own. Use it as a context."""

    def __init__(self, host: str, seed: int, books: Books) -> None:
        self._host = host
        self.ports: dict[str, int] = {}
        self._seed = seed
        self._books = books
        self._tries: Counter[tuple[str, str, str]] = Counter()
        self._servers: list[asyncio.Server] = []
        self._webhook = Webhook(SECRET)

    async def __aenter__(self) -> "Partners":
        for partner in PARTNERS:
            server = await asyncio.start_server(
                lambda reader, writer, partner=partner: self._serve(partner, reader, writer), self._host, 0
            )
            self._servers.append(server)
            self.ports[partner] = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()

    def settings(self) -> str:
        """The partners in the settings of a site."""
        query = "click={click_id}&order={order_id}&sum={amount}&event={event}"
        address = {partner: f"http://{self._host}:{port}" for partner, port in self.ports.items()}
        return f"""
[[sites.partners]]
id = "plain"
param = "plain"
postback = "{address["plain"]}/?{query}"
allow_private = true

[[sites.partners]]
id = "repeat"
param = "repeat"
postback = "{address["repeat"]}/?{query}"
retry_unknown = true
allow_private = true

[[sites.partners]]
id = "hook"
param = "hook"
postback = "{address["hook"]}/"
secret = "{SECRET}"
allow_private = true

[[sites.partners]]
id = "tune"
network = "tune"
param = "tune"
endpoint = "{address["tune"]}"
allow_private = true
settings = {{ network_domain = "tune.example" }}
"""

    async def _serve(self, partner: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answer(partner, await read_request(reader), writer):
                pass
        writer.close()

    async def _answer(self, partner: str, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answer a call; whether the connection stays open."""
        books = self._books
        books.calls += 1
        try:
            event = self._event(partner, request)
        except (KeyError, ValueError, ArithmeticError, WebhookVerificationError) as error:
            books.wrong.append(f"{partner} got a call that cannot be read: {request.line!r}: {error!r}")
            await _send(writer, 400, b"")
            return True
        mood = self._mood(event)
        books.moods[mood] += 1
        if mood in ("ok", "half") or mood.endswith("counted"):
            known = books.knows(event)
            books.count(event)
        match mood:
            case "ok":
                good = b"success=false; err_msg=Duplicate conversion;" if known else b"success=true;"
                await _send(writer, 200, good if partner == "tune" else b"ok")
            case "error body":
                await _send(writer, 200, b"success=false; err_msg=Busy;")
            case "500" | "500 counted":
                await _send(writer, 500, b"no")
            case "silent" | "silent counted":
                await asyncio.sleep(HANG_SECONDS)
                return False
            case "half":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsucc")
                await writer.drain()
                return False
            case _:
                return False
        return True

    def _mood(self, event: Event) -> Mood:
        call = (event.partner, event.number, event.key if event.partner != "hook" else _content(event))
        self._tries[call] += 1
        rng = random.Random(f"{self._seed} {call} {self._tries[call]}")
        mood: Mood = rng.choices(list(MOODS), list(MOODS.values()))[0]
        # Only this network says in the body whether it took the call. What it has, it does not refuse.
        refuses = event.partner == "tune" and not self._books.knows(event)
        return "ok" if mood == "error body" and not refuses else mood

    def _event(self, partner: str, request: Request) -> Event:
        """Raises KeyError, ValueError and others where a call is not as it should be."""
        said: dict[str, Any] = dict(parse_qsl(urlsplit(request.target.decode()).query))
        if partner == "hook":
            headers = {name.decode().lower(): value.decode() for name, value in request.headers}
            self._webhook.verify(request.body, headers)
            body = json.loads(request.body)
            data = body["data"]
            found = (data["order_id"], headers["webhook-id"], _EVENTS[body["type"]], data["amount"])
            return Event("hook", *found[:3], Decimal(found[3]), data["click_id"])
        if partner == "tune":
            number, amount = said["adv_sub"], Decimal(said["amount"])
            return Event("tune", number, f"order {amount}", "order", amount, said["transaction_id"])
        event = Event(partner, said["order"], "", said["event"], Decimal(said["sum"]), said["click"])
        return Event(partner, event.number, _content(event), event.kind, event.amount, event.click)


def _content(event: Event) -> str:
    return f"{event.kind} {event.amount}"


async def _send(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
    await writer.drain()
