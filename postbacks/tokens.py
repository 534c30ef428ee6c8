"""OAuth 2.0 tokens of networks: got when a call needs one, kept in the ledger for all workers, renewed in
time.

The ledger has them encrypted under the settings' secret: whoever reads its file or a copy of it cannot call a
network with them.
"""

import asyncio
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..referral.calls import Answer, CallEntry, OAuth, Setting, Success
from ..settings.model import Partner
from .call import Call, percent, split_address
from .client import Client, Progress
from .network_call import filled
from .verdict import Answered

EARLY_SECONDS = 60.0  # before its end a token is renewed, so that it does not end on the way
RENEWAL_SECONDS = 60.0  # for which one worker may renew a token, before another may
_NONCE = 12


class TokenError(Exception):
    """There is no token now; the text says why. The call can be made later. `pending`: another worker is
    getting one."""

    def __init__(self, why: str, *, pending: bool = False) -> None:
        self.pending = pending
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the ledger has of a token: encrypted, with its end in unix seconds. `refresh` is the newest
    refresh token if the server has replaced it, encrypted; empty if not."""

    token: str
    expires_at: float
    refresh: str = ""


class TokenStore(Protocol):
    """The part of the ledger for tokens; see `stores.ledger.networks.Networks`."""

    async def token(self, key: str) -> Kept | None:
        """The token of this account."""

    async def keep_token(self, key: str, kept: Kept) -> None:
        """Write a token, which ends the renewal."""

    async def begin_renewal(self, key: str, now: float, until: float) -> bool:
        """Whether this worker may renew the token; no other one may until then."""

    async def drop_token(self, key: str) -> None:
        """Forget a token that the network refuses."""


class Tokens:
    """The tokens of all accounts. `secret` is the settings' own, `now` returns unix seconds."""

    def __init__(self, store: TokenStore, secret: str, now: Callable[[], float]) -> None:
        self._store = store
        self._cipher = AESGCM(HKDF(SHA256(), 32, None, b"clew network token").derive(secret.encode("utf-8")))
        self._now = now
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, client: Client, partner: Partner, entry: CallEntry) -> str:
        """A token that lasts; empty if the call needs none. Raises TokenError."""
        if entry.oauth is None:
            return ""
        settings = settings_of(partner, entry)
        key = _key(partner, entry.oauth, settings)
        async with self._locks.setdefault(key, asyncio.Lock()):
            kept = await self._store.token(key)
            token = self._opened(kept.token) if kept is not None else ""
            if token and kept is not None and kept.expires_at - EARLY_SECONDS > self._now():
                return token
            now = self._now()
            if not await self._store.begin_renewal(key, now, now + RENEWAL_SECONDS):
                if token and kept is not None and kept.expires_at > now:
                    return token
                raise TokenError("another worker is getting the network's token", pending=True)
            refresh = self._opened(kept.refresh) if kept is not None and kept.refresh else ""
            return await self._renewed(client, partner, entry.oauth, settings, key, refresh)

    async def drop(self, partner: Partner, entry: CallEntry) -> None:
        """Forget a token that the network refused."""
        if entry.oauth is not None:
            await self._store.drop_token(_key(partner, entry.oauth, settings_of(partner, entry)))

    async def _renewed(
        self,
        client: Client,
        partner: Partner,
        oauth: OAuth,
        settings: Mapping[str, Setting],
        key: str,
        refresh: str,
    ) -> str:
        result = await client.make(token_call(partner, oauth, settings, refresh), _nothing, Progress())
        answer = _object(result.body) if isinstance(result, Answered) else {}
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            status = f"status {result.status}" if isinstance(result, Answered) else result.reason
            why = answer.get("error_description") or answer.get("error") or status
            raise TokenError(f"no token from {split_address(_url(partner, oauth, settings))[0]}: {why}"[:300])
        seconds, newer = answer.get("expires_in"), answer.get("refresh_token")
        lasts = float(oauth.seconds)
        if isinstance(seconds, int | float | str) and _is_number(seconds):
            lasts = float(seconds)
        newest = newer if newer and isinstance(newer, str) else refresh
        sealed = self._sealed(newest) if newest else ""
        await self._store.keep_token(key, Kept(self._sealed(token), self._now() + lasts, sealed))
        return token

    def _sealed(self, text: str) -> str:
        nonce = os.urandom(_NONCE)
        return b64encode(nonce + self._cipher.encrypt(nonce, text.encode("utf-8"), None)).decode("ascii")

    def _opened(self, sealed: str) -> str:
        """The text; empty if it was encrypted under another secret."""
        try:
            content = b64decode(sealed)
            return self._cipher.decrypt(content[:_NONCE], content[_NONCE:], None).decode("utf-8")
        except (InvalidTag, ValueError):
            return ""


def settings_of(partner: Partner, entry: CallEntry) -> dict[str, Setting]:
    """The partner's settings over the entry's defaults."""
    defaults = {s.name: s.default for s in entry.settings.values() if s.default is not None}
    return {**defaults, **partner.plain_settings}


def token_call(partner: Partner, oauth: OAuth, settings: Mapping[str, Setting], refresh: str = "") -> Call:
    """The request for a token (RFC 6749 §4.4.2, §6)."""
    client_id, secret = filled(oauth.client, settings), filled(oauth.secret, settings)
    pairs: dict[str, str] = {"grant_type": oauth.grant}
    if oauth.grant == "refresh_token":
        pairs["refresh_token"] = refresh or filled(oauth.refresh, settings)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    if oauth.basic:
        credentials = f"{percent(client_id)}:{percent(secret)}".encode("ascii")  # RFC 6749 §2.3.1
        headers["Authorization"] = f"Basic {b64encode(credentials).decode('ascii')}"
    else:
        pairs |= {"client_id": client_id, "client_secret": secret}
    pairs |= {name: filled(template, settings) for name, template in oauth.params.items()}
    body = "&".join(f"{percent(name)}={percent(found)}" for name, found in pairs.items())
    url = _url(partner, oauth, settings)
    return Call(
        method="POST",
        url=url,
        headers=headers,
        body=body.encode("ascii"),
        masked=f"POST {url}",
        success=Success(Answer((200, 299))),
        hidden=(secret, pairs.get("refresh_token", "")),
        allow_private=partner.allow_private,
    )


def _url(partner: Partner, oauth: OAuth, settings: Mapping[str, Setting]) -> str:
    url = filled(oauth.url, settings)
    return url if partner.endpoint is None else partner.endpoint + split_address(url)[1]


def _key(partner: Partner, oauth: OAuth, settings: Mapping[str, Setting]) -> str:
    """The account: the same for all partners and workers with these credentials."""
    call = token_call(partner, oauth, settings)
    content = (call.url, sorted(call.headers.items()), call.body.decode("ascii"))
    return sha256(json.dumps(content).encode("ascii")).hexdigest()


async def _nothing() -> None:
    """Do nothing before the first byte: a request for a token may be repeated."""


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_number(found: float | str) -> bool:
    try:
        return 0 < float(found) < 10**9
    except ValueError:
        return False
