"""The visit store in Redis: one server, one found by Sentinel, or a Cluster.

A visitor is one string under `clew:{site|visitor}`: a version, a time, and the record. Redis forgets it when
its time is over. A sorted set for each site, `clew:{site}:ids`, finds visitors by the last letters of their
id; it is bounded, and what it holds of visitors whose time is over goes at the next change of it. All of it
goes once the site can have no visitor any more.
"""

import asyncio
import hashlib
import re
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple, Protocol

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from ..referral.visitor import Visitor
from .shared import SIGN_SECONDS, SIGNS_AT_ONCE, SIGNS_KEPT
from .tls import untrusted
from .visits import (
    FOUND_AT_ONCE,
    SEEN_AT_ONCE,
    VisitsError,
    VisitsRefusedError,
    VisitsUnavailableError,
)
from .visits_address import RedisAddress
from .visits_breaker import Told
from .visits_record import EXPIRY_STEP, KEEP_SECONDS, keep_seconds, unpacked
from .visits_remote import Place, RemoteVisits, Stored

CONNECT_SECONDS = 1.0
# After which a connection without an answer is closed. Who asks does not wait for so long, see `Breaker`.
SOCKET_SECONDS = 1.0
SENTINEL_SECONDS = 0.4
# Commands that are sent in one go.
BATCH = 64
# Visitors of a site who are found by the end of their id; those whose time is over first go first.
INDEXED = 100_000
# Of the visitors who end in some letters, so many are compared by when they were last seen.
MATCHED = 200
LEVELS_AT_ONCE = 500
NOTED = "clew:messages"
PROBED = "clew:probe"
SIGNS = "clew:{signs}"

_HEAD = struct.Struct("<Qd")
_VERSION = struct.Struct("<Q")


class _Script(NamedTuple):
    """A script, and the name that Redis gives to it."""

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> "_Script":
        return cls(text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 -- Redis names them by it


# Writes if the version is the one that was read, an empty one for a visitor who is not there. 1 if it has
# written, else what is there, or nothing.
_REPLACE = _Script.of("""
local found = redis.call('GET', KEYS[1])
if (found and string.sub(found, 1, 8) or '') == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return 1
end
return found
""")
# A level is how long its key lives still. Raises each by milliseconds; how high each is then.
_RAISE = _Script.of("""
local levels = {}
for number, key in ipairs(KEYS) do
  local left = math.max(0, redis.call('PTTL', key)) + tonumber(ARGV[number])
  if left >= 1 then
    redis.call('SET', key, '', 'PX', left)
  else
    redis.call('DEL', key)
  end
  levels[number] = math.max(0, left)
end
return levels
""")


class RedisVisits(RemoteVisits):
    """Visits in Redis. `told` hears when it does not answer, and when it does again."""

    def __init__(self, address: RedisAddress, told: Told) -> None:
        super().__init__(address.shown, told)
        self._address = address
        self._connected: _Commands | None = None

    @property
    def _redis(self) -> "_Commands":
        if self._connected is None:
            raise VisitsError("the visit store is not open")
        return self._connected

    async def open(self) -> None:
        """See `RemoteVisits.open`."""
        self._connected = _commands(self._address)
        await super().open()

    async def _look(self) -> None:
        self._connected = _commands(self._address)
        await self._probe()

    async def _disconnect(self) -> None:
        if self._connected is not None:
            with suppress(exceptions.RedisError, OSError):
                await self._connected.close()

    async def _probe(self) -> None:
        with self._own_errors():
            if self.breaker.why is not None:
                # A connection to a server that hangs, or is a replica now, is none for the next one.
                await self._redis.reset()
            if self._address.kind == "server":
                await self._require_no_cluster()
            await self._redis.run("SET", PROBED, "1", "PX", 1000)
            # A server may take changes, and no scripts.
            await self._run_script(_REPLACE, [1, PROBED, b"1", b"1", 1000])

    async def _require_no_cluster(self) -> None:
        try:
            told = await self._redis.run("INFO", "cluster")
        except exceptions.ResponseError:
            return  # the command is not allowed, or was renamed
        if told.get("cluster_enabled"):
            raise exceptions.MovedError("0 :0")

    async def _fetch(self, place: Place) -> Stored | None:
        with self._own_errors():
            return _stored(await self._redis.run("GET", _key(place)))

    async def _replace(
        self, place: Place, old: Stored | None, new: Stored, found: Visitor, now: float
    ) -> tuple[bool, Stored | None]:
        key, value = _key(place), _HEAD.pack(new.version, new.expires_at) + new.data
        before = b"" if old is None else _VERSION.pack(old.version)
        script = [1, key, before, value, int(keep_seconds(found) * 1000)]
        with self._own_errors():
            writing = self._run_script(_REPLACE, script)
            if old is not None and new.expires_at == old.expires_at:
                answer = await writing
            else:
                answer, *_ = await asyncio.gather(writing, *self._index(place, new.expires_at, now))
        if answer == 1:
            return True, None
        there = _stored(answer)
        # The answer to the first try may have been lost with its connection.
        return there is not None and there.version == new.version, there

    async def _run_script(self, script: "_Script", values: list[Any]) -> Any:
        try:
            return await self._redis.run("EVALSHA", script.sha, *values)
        except exceptions.NoScriptError:
            return await self._redis.run("EVAL", script.text, *values)

    def _index(self, place: Place, expires_at: float, now: float) -> Iterator[Any]:
        """Have a visitor found by the end of its id; and the index bounded."""
        site, visitor = place
        yield self._redis.run("ZADD", _ids(site), expires_at, visitor)
        yield self._redis.run("ZREMRANGEBYSCORE", _ids(site), "-inf", now - EXPIRY_STEP)
        yield self._redis.run("ZREMRANGEBYRANK", _ids(site), 0, -INDEXED - 1)
        # Nobody is kept for longer: the index of a site that has no visitors any more goes with them.
        yield self._redis.run("EXPIRE", _ids(site), int(KEEP_SECONDS + EXPIRY_STEP))

    async def _seen_at(self, site: str, visitors: Sequence[str]) -> Mapping[str, float]:
        asked = list(visitors[:SEEN_AT_ONCE])
        with self._own_errors():
            values = await asyncio.gather(*(self._redis.run("GET", _key((site, one))) for one in asked))
        found = {one: _stored(value) for one, value in zip(asked, values, strict=True)}
        return {one: unpacked(stored.data).seen_at for one, stored in found.items() if stored is not None}

    async def ending(self, site: str, letters: str) -> Sequence[str]:
        """See `Visits.ending`."""
        pattern = "*" + re.sub(r"([*?\[\]\\^-])", r"\\\1", letters)
        matched: list[str] = []
        cursor = 0
        while len(matched) < MATCHED:
            cursor, more = await self.breaker.ask(partial(self._scan, site, cursor, pattern))
            matched += more
            if not cursor:
                break
        seen: dict[str, float] = {}
        for start in range(0, len(matched), SEEN_AT_ONCE):
            seen |= await self.seen_at(site, matched[start : start + SEEN_AT_ONCE])
        return sorted(seen, key=lambda one: -seen[one])[:FOUND_AT_ONCE]

    async def _scan(self, site: str, cursor: int, pattern: str) -> tuple[int, list[str]]:
        with self._own_errors():
            cursor, pairs = await self._redis.run(
                "ZSCAN", _ids(site), cursor, "MATCH", pattern, "COUNT", 2000
            )
        return int(cursor), [member.decode() for member, _ in pairs]

    async def _forget(self, place: Place) -> None:
        site, visitor = place
        with self._own_errors():
            await asyncio.gather(
                self._redis.run("DEL", _key(place)),
                self._redis.run("ZREM", _ids(site), visitor),
                self._redis.run("DEL", _page_key(place)),
            )

    async def _put_page(self, place: Place, page: bytes | None, now: float, seconds: float) -> None:
        with self._own_errors():
            if page is None:
                await self._redis.run("DEL", _page_key(place))
            else:
                await self._redis.run("SET", _page_key(place), page, "PX", max(1, round(seconds * 1000)))

    async def _page(self, place: Place, now: float) -> bytes | None:
        with self._own_errors():
            found: bytes | None = await self._redis.run("GET", _page_key(place))
        return found

    async def _noted_up_to(self) -> int | None:
        with self._own_errors():
            found = await self._redis.run("GET", NOTED)
        return None if found is None else int(found)

    async def _set_noted_up_to(self, message: int) -> None:
        with self._own_errors():
            await self._redis.run("SET", NOTED, message)

    async def raise_levels(self, added: Mapping[str, float]) -> Sequence[float]:
        """See `SharesLevels`: each is a key that expires once it has drained, so that they are bounded by
        what the limits let through."""
        names, levels = list(added), list[float]()
        for start in range(0, len(names), LEVELS_AT_ONCE):
            some = names[start : start + LEVELS_AT_ONCE]
            more = [added[name] for name in some]
            levels += await self.breaker.ask(partial(self._raise_levels, some, more))
        return levels

    async def _raise_levels(self, names: Sequence[str], added: Sequence[float]) -> Sequence[float]:
        keys = [f"clew:{{limits}}:{name}" for name in names]
        script = [len(keys), *keys, *(round(seconds * 1000) for seconds in added)]
        with self._own_errors():
            return [int(left) / 1000 for left in await self._run_script(_RAISE, script)]

    async def add_signs(self, signs: Sequence[bytes]) -> None:
        """See `PassesSigns`."""
        await self.breaker.ask(partial(self._add_signs, signs))

    async def _add_signs(self, signs: Sequence[bytes]) -> None:
        with self._own_errors():
            adding = [
                self._redis.run("XADD", SIGNS, "MAXLEN", "~", SIGNS_KEPT, "*", "sign", one) for one in signs
            ]
            await asyncio.gather(*adding, self._redis.run("EXPIRE", SIGNS, int(SIGN_SECONDS)))

    async def signs_after(self, last: str | None) -> tuple[str, Sequence[bytes]]:
        """See `PassesSigns`."""
        return await self.breaker.ask(partial(self._signs_after, last))

    async def _signs_after(self, last: str | None) -> tuple[str, Sequence[bytes]]:
        with self._own_errors():
            if last is None:
                newest = await self._redis.run("XREVRANGE", SIGNS, "+", "-", "COUNT", 1)
                return _text(newest[0][0]) if newest else "0-0", ()
            found = await self._redis.run("XRANGE", SIGNS, f"({last}", "+", "COUNT", SIGNS_AT_ONCE)
        signs = [value for _, fields in found for value in _values(fields)]
        return _text(found[-1][0]) if found else last, signs

    async def prune(self, now: float) -> int:
        """0: Redis forgets by itself."""
        return 0

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except exceptions.RedisClusterException as error:
            # It tells of the last node that was tried only as its cause.
            cause = error.__cause__ if isinstance(error.__cause__, exceptions.RedisError) else error
            raise self._own_error(cause) from error
        except exceptions.RedisError as error:
            raise self._own_error(error) from error
        except OSError as error:
            raise VisitsUnavailableError(f"{self.breaker.name}: {error}") from error

    def _own_error(self, error: Exception) -> VisitsError:
        if (why := untrusted(error, "ssl_ca_certs")) is not None:
            return VisitsUnavailableError(f"{self.breaker.name}: {why}")
        said = f"{self.breaker.name}: {str(error).rstrip('.') or type(error).__name__}"
        if isinstance(error, exceptions.TimeoutError):
            return VisitsUnavailableError(f"{self.breaker.name} does not answer")
        if isinstance(error, exceptions.MovedError):
            return VisitsRefusedError(
                f"{self.breaker.name} is part of a Cluster: write redis+cluster:// as `store`"
            )
        if "WRONGTYPE" in str(error):
            return VisitsError(f"{said}. Another program uses this database: name another one as `store`")
        for kind, way in _WAYS:
            if isinstance(error, kind):
                refused = kind in _REFUSALS
                return (VisitsRefusedError if refused else VisitsUnavailableError)(f"{said}. {way}")
        if "unknown command" in str(error):
            return VisitsRefusedError(
                f"{said}. clew needs the commands for strings, sorted sets and scripts: see rename-command "
                "in the settings of Redis"
            )
        if "cluster support disabled" in str(error) or "Cluster mode is not enabled" in str(error):
            return VisitsRefusedError(f"{self.breaker.name} is no Cluster: write redis:// as `store`")
        return VisitsUnavailableError(said)


_WAYS: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.AuthenticationError, "See user and password in `store`"),
    (exceptions.AuthorizationError, "See user and password in `store`"),
    (exceptions.NoPermissionError, "The user needs +@all on keys ~clew:*, but +@admin and +@dangerous"),
    (exceptions.OutOfMemoryError, "It is full: raise maxmemory, or set maxmemory-policy volatile-ttl"),
    (exceptions.ReadOnlyError, "It is a replica now"),
    (exceptions.BusyLoadingError, "It has just been started"),
)
_REFUSALS = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)


def _key(place: Place) -> str:
    return f"clew:{{{place[0]}|{place[1]}}}"


def _page_key(place: Place) -> str:
    return f"{_key(place)}:page"


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _values(fields: Any) -> Iterable[bytes]:
    """The values of an entry of a stream, which redis-py gives as a dict or as a list."""
    return fields.values() if isinstance(fields, dict) else fields[1::2]


def _ids(site: str) -> str:
    return f"clew:{{{site}}}:ids"


def _stored(value: bytes | None) -> Stored | None:
    if value is None:
        return None
    if len(value) < _HEAD.size:
        raise VisitsError("a record in Redis is none of clew's")
    version, expires_at = _HEAD.unpack_from(value)
    return Stored(version, expires_at, value[_HEAD.size :])


class _Commands(Protocol):
    """Runs commands. Each raises what redis-py raises, or OSError."""

    async def run(self, *command: Any) -> Any: ...

    async def reset(self) -> None:
        """Close the connections; the next command opens another one."""

    async def close(self) -> None: ...


_Asked = tuple[tuple[Any, ...], asyncio.Future[Any]]


def _closed() -> Exception:
    return exceptions.ConnectionError("the connection was closed")


def _answer(batch: Iterable[_Asked], answers: Iterable[Any]) -> None:
    for (_, asked), answer in zip(batch, answers, strict=True):
        if asked.done():
            continue
        if isinstance(answer, Exception):
            asked.set_exception(answer)
        else:
            asked.set_result(answer)


class _Batches:
    """Commands on one connection. What comes while an answer is awaited is sent in one go: that costs a third
    of what a command costs on a connection of its own."""

    def __init__(self, client: Redis, finder: Sentinel | None = None) -> None:
        self._client = client
        self._finder = finder
        self._waiting: deque[_Asked] = deque()
        self._sender: asyncio.Task[None] | None = None

    async def run(self, *command: Any) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all(), name="clew-visits-redis")
        return await answer

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                count = min(BATCH, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(count)]
                # Who has given up asks nothing any more.
                await self._send([one for one in batch if not one[1].done()])
        finally:
            self._sender = None

    async def _send(self, batch: Sequence[_Asked]) -> None:
        if not batch:
            return
        pipe = self._client.pipeline(transaction=False)
        for command, _ in batch:
            pipe.execute_command(*command)
        try:
            answers = await pipe.execute(raise_on_error=False)
        except Exception as error:
            answers = [error] * len(batch)
        except BaseException:
            _answer(batch, [_closed()] * len(batch))
            raise
        _answer(batch, answers)

    async def reset(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            with suppress(asyncio.CancelledError):
                await self._sender
        _answer(self._waiting, [_closed()] * len(self._waiting))
        self._waiting.clear()
        await self._client.connection_pool.disconnect()

    async def close(self) -> None:
        await self.reset()
        await self._client.aclose()
        if self._finder is not None:
            await self._finder.aclose()


class _Cluster:
    """Commands on the nodes of a Cluster, each where its key is."""

    def __init__(self, client: RedisCluster) -> None:
        self._client = client

    async def run(self, *command: Any) -> Any:
        return await self._client.execute_command(*command)

    async def reset(self) -> None:
        await self._client.aclose()

    async def close(self) -> None:
        await self._client.aclose()


def _commands(address: RedisAddress) -> _Commands:
    """What runs commands at an address; nothing is connected yet."""
    tls = {name: value for name, value in address.options.items() if name.startswith("ssl_")}
    common: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "socket_timeout": SOCKET_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "protocol": 2,
        "ssl": address.tls,
        **tls,
    }
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return _Cluster(RedisCluster(startup_nodes=nodes, **common))
    # A server closes connections when it is restarted: the first command after that is sent again.
    common["retry"] = Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,))
    if address.kind == "server":
        ((host, port),) = address.hosts
        return _Batches(Redis(host=host, port=port, db=address.database, **common))
    options = address.options
    finder = Sentinel(  # type: ignore[no-untyped-call]
        list(address.hosts),
        sentinel_kwargs={
            "username": options.get("sentinel_username"),
            "password": options.get("sentinel_password"),
            # There are several, and one that hangs must leave time for the others.
            "socket_timeout": SENTINEL_SECONDS,
            "socket_connect_timeout": SENTINEL_SECONDS,
            "ssl": address.tls,
            **tls,
        },
    )
    return _Batches(finder.master_for(address.name, db=address.database, **common), finder)
