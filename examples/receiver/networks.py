"""Servers that answer as networks do, made from the catalogue, and keep books of what they were told."""

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import urlsplit

from clew.referral.calls import Answer, CallEntry, Each, Success
from clew.referral.catalogue import Network

from .decoding import Received, Told, WrongCallError, entries_of, read

# ok: as the network answers. errors: every third call fails with 503. partial: of the reports in calls that
# carry several, every third is refused. limits: 429 where the network takes only so many calls a minute.
# anything: 200 to everything, as some networks answer.
Mood = Literal["ok", "errors", "partial", "limits", "anything"]
REFUSED = "refused by the receiver"
TOKEN = "receiver-token"
MINUTE = 60.0


@dataclass(slots=True)
class Entry:
    """What a network has of an order. `times`: how often it was counted."""

    amount: Decimal
    currency: str
    state: str = "open"
    times: int = 1


@dataclass(slots=True)
class Books:
    """What a network was told: its orders, and calls that it refused."""

    orders: dict[str, Entry] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def sums(self) -> dict[str, Decimal]:
        """What the orders come to, by currency. An order that was counted twice counts twice."""
        found: dict[str, Decimal] = {}
        for entry in self.orders.values():
            if entry.state != "cancelled":
                found[entry.currency] = found.get(entry.currency, Decimal()) + entry.amount * entry.times
        return found

    def lines(self) -> list[str]:
        """The books for people."""
        states = Counter(entry.state for entry in self.orders.values())
        counted = ", ".join(f"{count} {state}" for state, count in states.items()) or "none"
        sums = " and ".join(f"{amount} {currency}" for currency, amount in self.sums().items()) or "nothing"
        twice = [order for order, entry in self.orders.items() if entry.times > 1]
        found = [f"orders: {counted}; sum: {sums}"]
        found += [f"counted more than once: {', '.join(twice)}"] if twice else []
        return found + [f"refused: {why}" for why in self.refused]


@dataclass(frozen=True, slots=True)
class Response:
    """A response; `headers` are sent besides its length."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Job:
    """A call that was accepted: its reports, which of them are refused, and how often it was asked for."""

    reports: Sequence[Told]
    refused: frozenset[int]
    asked: int = 0


class NetworkServer:
    """One network. `take` is called with each request; it does no I/O."""

    def __init__(
        self, network: Network, mood: Mood = "ok", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.network = network
        self.books = Books()
        self._mood = mood
        self._clock = clock
        self._count = 0
        self._told = 0
        self._calls: deque[float] = deque()
        self._jobs: list[Job] = []

    def take(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        """The network's response. `headers` have lower-case names."""
        if self._is_token(target):
            return Response(200, json.dumps({"access_token": TOKEN, "expires_in": 3600}).encode())
        self._count += 1
        if self._mood == "errors" and self._count % 3 == 1:
            return Response(503, b"try again later")
        try:
            received = Received.of(target, headers, body)
            first = entries_of(self.network, method, received)[0][0]
            if (refusal := self._refusal(first, headers)) is not None:
                return refusal
            entry, reports = read(self.network, method, received)
            if entry.find is not None:
                return self._looked_up(entry, reports[0])
            if entry.success.done is not None:
                return self._result(entry, reports[0].order)
        except WrongCallError as wrong:
            self.books.refused.append(str(wrong))
            return Response(
                200 if self._mood == "anything" else 400, json.dumps({"error": str(wrong)}).encode()
            )
        refused = self._refused(entry, reports)
        known = [self._record(entry, told) for n, told in enumerate(reports) if n not in refused]
        repeated = bool(known) and all(known)
        if not entry.job:
            return answer(self.network, entry, reports, repeated=repeated, refused=refused)
        # It is accepted as a whole; what became of each report is said later.
        self._jobs.append(Job(reports, refused))
        return answer(self.network, entry, reports, repeated=repeated, job=len(self._jobs))

    def _result(self, entry: CallEntry, name: str) -> Response:
        """What became of an accepted call, by the name that its response gave it: nothing yet when it is
        asked for the first time. Raises WrongCallError."""
        number = name.rpartition("-")[2]
        if not number.isdigit() or not 1 <= int(number) <= len(self._jobs):
            raise WrongCallError(f"there is no job {name}")
        job = self._jobs[int(number) - 1]
        job.asked += 1
        if job.asked == 1:
            return _unfinished(entry)
        return answer(self.network, entry, job.reports, repeated=False, refused=job.refused)

    def _looked_up(self, entry: CallEntry, told: Told) -> Response:
        """The response to a lookup: the order, if it is in the books."""
        listed: list[Any] = []
        if entry.find is not None and told.order in self.books.orders:
            one = _with({}, entry.find.key, told.order)
            listed = [_with(one, entry.keep, f"{self.network.id}-{told.order}")]
        document = _with({}, entry.find.list if entry.find is not None else "", listed)
        return Response(200, json.dumps(document).encode())

    def _refused(self, entry: CallEntry, reports: Sequence[Told]) -> frozenset[int]:
        """Which reports of a call are refused, by their position."""
        if self._mood != "partial" or (entry.success.each is None and not entry.job):
            return frozenset()
        first, self._told = self._told, self._told + len(reports)
        found = frozenset(n for n in range(len(reports)) if (first + n) % 3 == 1)
        self.books.refused += [f"order {reports[n].order}" for n in sorted(found)]
        return found

    def _is_token(self, target: str) -> bool:
        paths = {urlsplit(call.oauth.url).path for call in self.network.calls if call.oauth is not None}
        return urlsplit(target).path in paths

    def _refusal(self, entry: CallEntry, headers: Mapping[str, str]) -> Response | None:
        """A response for a call without its credentials, or of which there are too many."""
        given = headers.get("authorization", "")
        wanted = {name.lower() for name in entry.headers} - {"accept"}
        if (
            (entry.oauth is not None and TOKEN not in given)
            or (entry.basic is not None and not given.startswith("Basic "))
            or any(not headers.get(name) for name in wanted)
        ):
            return Response(401, b'{"error":"unauthorized"}')
        if self._mood != "limits" or entry.per_minute is None:
            return None
        now = self._clock()
        while self._calls and self._calls[0] <= now - MINUTE:
            self._calls.popleft()
        if len(self._calls) >= entry.per_minute:
            return Response(429, b'{"error":"too many requests"}', {"retry-after": "60"})
        self._calls.append(now)
        return None

    def _record(self, entry: CallEntry, told: Told) -> bool:
        """Write a report into the books; whether it was there already."""
        order = told.order.removeprefix(f"{self.network.id}-")
        known = self.books.orders.get(order)
        if told.event in ("cancel", "decline"):
            if known is not None:
                known.state = "cancelled"
            return False
        if told.event == "approve":
            if known is not None:
                known.state = "approved"
            return False
        if known is None or told.event == "adjust":
            currency = told.currency or (known.currency if known else "")
            amount = told.amount if told.amount is not None else known.amount if known else Decimal()
            self.books.orders[order] = Entry(amount, currency)
            return False
        if entry.repeat == "overwrites":
            known.amount = told.amount if told.amount is not None else known.amount
        elif entry.repeat != "ignored":
            known.times += 1
        return True


def answer(
    network: Network,
    entry: CallEntry,
    reports: Sequence[Told],
    *,
    repeated: bool,
    refused: frozenset[int] = frozenset(),
    job: int = 0,
) -> Response:
    """A response that means success for all reports but those refused, in the words of the catalogue. `job`
    is the number of the call, if it says later what became of them."""
    success = entry.success
    if repeated and success.already is not None:
        return _of(success.already, {})
    # A call that is answered as another one may have no example of its own.
    alike = (call for call in network.calls if entry.job and call.result == entry.result)
    known = (r for call in (entry, *alike) for e in call.examples for r in e.responses)
    example = next((r for r in known if set(r.outcomes) == {"delivered"}), None)
    document: Any = {}
    if example is not None and success.each is None:
        try:
            document = json.loads(example.body)
        except ValueError:
            return Response(example.status, example.body.encode())
    elif success.each is not None:
        document = _with(document, success.each.list, list(_each(success.each, reports, refused)))
        if success.each.failed and not refused:
            document = {}
    if success.done is not None:
        document = _with(document, success.done.pointer, success.done.equals[0])
    if refused and success.each is None and success.ok.pointer:
        document = _with(document, success.ok.pointer, _failure(success))
        return Response(success.ok.status[0], json.dumps(document).encode())
    if job:
        document = _with(document, entry.job, f"{_at(document, entry.job) or network.id}-{job}")
    if entry.keep and reports:
        document = _with(document, entry.keep, f"{network.id}-{reports[0].order}")
    if example is not None and success.each is None:
        return Response(example.status, json.dumps(document).encode())
    return _of(success.ok, document)


def _each(each: Each, reports: Sequence[Told], refused: frozenset[int]) -> Iterator[Any]:
    """What the response says of each report; of those refused only, where it lists only those."""
    for number, told in enumerate(reports):
        wrong = number in refused
        if each.failed and not wrong:
            continue
        one: Any = {}
        if each.key:
            one = _with(one, each.key, told.order)
        if each.index:
            one = _with(one, each.index, number)
        if each.pointer and (wrong or each.ok):
            one = _with(one, each.pointer, REFUSED if wrong else each.ok[0])
        yield _with(one, each.text, REFUSED) if wrong and each.text else one


def _of(expected: Answer, document: Any) -> Response:
    """A response that meets these conditions, as JSON or as the words that it asks for."""
    if expected.pointer and expected.equals:
        document = _with(document, expected.pointer, expected.equals[0])
    text = json.dumps(document)
    if expected.contains and expected.contains not in text:
        text = expected.contains if not document else json.dumps({**document, "note": expected.contains})
    return Response(expected.status[0], text.encode())


def _failure(success: Success) -> Any:
    """A value that says of a whole call that it was refused."""
    done = success.done
    if done is not None and done.pointer == success.ok.pointer:
        return next(one for one in done.equals if one not in success.ok.equals)
    return 1 if any(isinstance(one, int) for one in success.ok.equals) else REFUSED


def _unfinished(entry: CallEntry) -> Response:
    """The network does not know yet what became of the call: as in the entry's example, else nothing."""
    found = next((r for e in entry.examples for r in e.responses if set(r.outcomes) == {"retry"}), None)
    return Response(200, b"{}") if found is None else Response(found.status, found.body.encode())


def _at(document: Any, pointer: str) -> Any:
    for key in pointer.split("/")[1:]:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _with(document: Any, pointer: str, value: Any) -> Any:
    """The document with a value at a pointer; lists are made where it has numbers."""
    if not pointer:
        return value
    key, _, rest = pointer.removeprefix("/").partition("/")
    rest = f"/{rest}" if rest else ""
    if key.isdigit():
        listed = list(document) if isinstance(document, list) else []
        listed += [{}] * (int(key) + 1 - len(listed))
        listed[int(key)] = _with(listed[int(key)], rest, value)
        return listed
    found = dict(document) if isinstance(document, dict) else {}
    return {**found, key: _with(found.get(key, {}), rest, value)}
