"""Reads what a provider's webhook says of its conversations, by the provider's entry. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from html import unescape
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from ..orders.webhook import place_of
from .webhooks import ProviderWebhook, TalkRead

TOLD: Final = 100
"""Conversations and agents in one webhook."""

LINES: Final = 500
"""Messages in one webhook."""

NAME_LENGTH: Final = 48
TEXT_LENGTH: Final = 20_000
FIELDS: Final = 200
_ID = re.compile(r"[\x21-\x7e]{1,100}")
_TAG = re.compile(r"<[^<>]*+>")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")
_SURROGATE = re.compile(rb"(?i)\\ud[89a-f]")
_QUOTE = re.compile(r"(?i)<(/?)blockquote\b[^<>]*+>")
_BREAK = re.compile(r"(?i)<(?:br|/?(?:p|div|li|tr|h[1-6]|pre))\b[^<>]*+>")

OLDEST: Final = 946_684_800.0
"""Unix seconds before which no conversation was: 2000. Programs write the year 1 for a time that is not
set."""


class UnreadableError(ValueError):
    """A webhook is not what its provider documents; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Line:
    """One message. `id` is the provider's, or made of what the message says; `at` in unix seconds."""

    id: str
    author: Literal["visitor", "agent"]
    agent: str | None
    text: str
    at: float | None


@dataclass(frozen=True, slots=True)
class ToldOrder:
    """An order that the provider reports, as plain values. `by_page`: a page of the shop told the provider,
    so that a visitor can invent it."""

    number: str
    total: str
    currency: str | None
    by_page: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What a webhook says of one conversation. `ref` is a text that may have clew's token."""

    conversation: str
    at: float | None = None
    says: Literal["started", "ended"] | None = None
    agent: str | None = None
    rating: int | None = None
    ref: str = ""
    lines: tuple[Line, ...] = ()
    order: ToldOrder | None = None


@dataclass(frozen=True, slots=True)
class Present:
    """Whether an agent of the provider is there."""

    agent: str
    online: bool
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Understood:
    """What a webhook says. `why`: a part of it could not be read, and what is wrong with that."""

    parts: tuple[Told | Present, ...]
    why: str | None = None


def parsed(webhook: ProviderWebhook, body: bytes) -> Any:
    """The body as plain data. Raises UnreadableError."""
    try:
        if webhook.encoded == "form":
            pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS)
            return _encodable({name: _json_or_text(value) for name, value in pairs})
        data = json.loads(body, parse_float=Decimal)
        return _encodable(data) if _SURROGATE.search(body) else data
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise UnreadableError(f"the body cannot be read: {str(error)[:100]}") from error


def _json_or_text(value: str) -> Any:
    if value[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _encodable(value: Any) -> Any:
    """The data with "?" for halves of surrogate pairs, which JSON may have and no encoding has: the ledger
    would take none of it, and the provider would send it again and again."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_encodable(one) for one in value]
    if isinstance(value, dict):
        return {_encodable(name): _encodable(one) for name, one in value.items()}
    return value


def event_of(webhook: ProviderWebhook, headers: Mapping[str, str], data: Any) -> str:
    """The name of the event; where a webhook has several, that of the first."""
    first = data[0] if isinstance(data, list) and data else data
    return place_of(webhook.event, headers, first if isinstance(first, Mapping) else {})


def told(webhook: ProviderWebhook, headers: Mapping[str, str], data: Any) -> Understood:
    """What a webhook says; nothing if it is about something else. A part that cannot be read is left out, and
    takes none of the others with it."""
    parts = data if isinstance(data, list) else [data]
    found: list[Told | Present] = []
    why = f"it has more than {TOLD} events: the others are left out" if len(parts) > TOLD else None
    for part in parts[:TOLD]:
        try:
            found.extend(_part(webhook, headers, part))
        except (UnreadableError, RecursionError) as error:
            why = why or (str(error) if isinstance(error, UnreadableError) else "it nests too deep")
    return Understood(tuple(found[:TOLD]), why)


def _part(webhook: ProviderWebhook, headers: Mapping[str, str], part: Any) -> Iterator[Told | Present]:
    if not isinstance(part, Mapping):
        raise UnreadableError("the body is no object")
    event = place_of(webhook.event, headers, part)
    for read in webhook.reads:
        if read.events and event not in read.events:
            continue
        if read.only is None or _found(read.only, part):
            yield from _read(read, part)
            return


def _read(read: TalkRead, part: Mapping[str, Any]) -> Iterator[Told | Present]:
    base = part if read.base is None else _found(read.base, part)
    for one in base if isinstance(base, list) else [base]:
        if not isinstance(one, Mapping):
            raise UnreadableError("the body has no conversation where the provider should send it")
        if read.presence is not None:
            if (present := _presence(read, one)) is not None:
                yield present
            continue
        yield _conversation(read, one)


def _presence(read: TalkRead, one: Mapping[str, Any]) -> Present | None:
    found = _found(read.presence, one)
    if not isinstance(found, Mapping):
        return None
    agent, state = _name(found.get("agent")), found.get("state")
    if agent is None or state is None:
        return None
    return Present(agent, str(state).lower() in read.online, _moment(_found(read.at, one)))


def _conversation(read: TalkRead, one: Mapping[str, Any]) -> Told:
    conversation = conversation_id(_found(read.conversation, one))
    if conversation is None:
        raise UnreadableError("the webhook does not name its conversation")
    at, agent = _moment(_found(read.at, one)), _name(_found(read.agent, one))
    ref = _found(read.ref, one)
    rows = _found(read.messages, one)
    lines = [_line(read, row, at, agent) for row in (rows if isinstance(rows, list) else [rows])[:LINES]]
    return Told(
        conversation,
        at,
        read.says,
        agent,
        _rating(read, one),
        ref if isinstance(ref, str) else json.dumps(ref, default=str) if ref is not None else "",
        tuple(line for line in lines if line is not None),
        _order(read, one),
    )


def conversation_id(value: object) -> str | None:
    """A conversation's id as it is kept; a long one, or one with other characters, by its digest."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not text:
        return None
    return text if _ID.fullmatch(text) else digest(text)


def digest(*parts: str) -> str:
    """A short name for texts."""
    whole = "\0".join(parts).encode("utf-8", "replace")
    return blake2b(whole, digest_size=16).hexdigest()


def _line(read: TalkRead, row: object, at: float | None, agent: str | None) -> Line | None:
    if not isinstance(row, Mapping):
        return None
    author = read.authors.get(str(row.get("author")).lower(), "")
    if not author:
        return None
    text = row.get("text")
    text = text[:TEXT_LENGTH] if isinstance(text, str) else ""
    if read.html:
        text = _plain(text)
    at = _moment(row.get("at")) or at
    name = row.get("id")
    known = str(name) if isinstance(name, str | int) and not isinstance(name, bool) and name != "" else None
    key = digest("id", known) if known is not None else digest("text", author, str(at), text)
    return Line(key, author, (_name(row.get("agent")) or agent) if author == "agent" else None, text, at)


def _plain(html: str) -> str:
    """The words of a text with tags, in its lines, without what it quotes: that is somebody else's."""
    kept, depth, start = [], 0, 0
    for tag in _QUOTE.finditer(html):
        if not depth:
            kept.append(html[start : tag.start()])
        depth, start = max(0, depth - 1 if tag[1] else depth + 1), tag.end()
    if not depth:
        kept.append(html[start:])
    return unescape(_TAG.sub(" ", _BREAK.sub("\n", "\n".join(kept)))).strip()


def _rating(read: TalkRead, one: Mapping[str, Any]) -> int | None:
    found = _found(read.rating, one)
    if found is None or isinstance(found, bool):
        return None
    if read.ratings:
        return read.ratings.get(str(found).lower())
    try:
        number = round(float(str(found)))
    except (ValueError, OverflowError):
        return None
    return number if 1 <= number <= 5 else None


def _order(read: TalkRead, one: Mapping[str, Any]) -> ToldOrder | None:
    found = _found(read.order, one)
    if not isinstance(found, Mapping) or not found.get("number") or found.get("total") is None:
        return None
    currency = found.get("currency")
    return ToldOrder(
        str(found["number"]),
        str(found["total"]),
        currency if isinstance(currency, str) else None,
        read.by_page,
    )


def _name(value: object) -> str | None:
    """The name or the id of an agent, on one line."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return _UNPRINTABLE.sub(" ", str(value)).strip()[:NAME_LENGTH].strip() or None


def _moment(value: object) -> float | None:
    """Unix seconds of a time in seconds, milliseconds, or ISO 8601; UTC if it names no zone."""
    if isinstance(value, bool) or value is None:
        return None
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        return _within(number / 1000 if number > 1e11 else number)
    try:
        moment = datetime.fromisoformat(text.removesuffix(" UTC").replace(" ", "T", 1))
    except ValueError:
        return None
    return _within((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp())


def _within(at: float) -> float | None:
    return at if OLDEST < at < 1e11 else None


def _found(expression: ParsedResult | None, one: object) -> Any:
    if expression is None:
        return None
    try:
        found = expression.search(one)
    except (JMESPathError, TypeError, ValueError) as error:
        raise UnreadableError(f"{expression.expression}: {str(error)[:100]}") from error
    return None if found == "" else found
