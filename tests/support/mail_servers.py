"""A real mail server for tests, which answers as a test says."""

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Inbox:
    """The mails that came in. `recipients` and `data` are the server's answers, one for each attempt; without
    one it takes the mail."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)
    attempts: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, count: int) -> None:
        """Wait for so many mails."""
        async with asyncio.timeout(30):
            while len(self.mails) < count:
                self.changed.clear()
                await self.changed.wait()

    async def until_tried(self, count: int) -> None:
        """Wait for so many attempts."""
        async with asyncio.timeout(30):
            while self.attempts < count:
                self.changed.clear()
                await self.changed.wait()

    # aiosmtpd's names

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.attempts += 1
        self.changed.set()
        if self.recipients:
            return self.recipients.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.data:
            return self.data.pop(0)
        assert isinstance(envelope.content, bytes)
        message: Any = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append(message)
        self.senders.append(envelope.mail_from or "")
        assert server.transport is not None
        self.secured.append(server.transport.get_extra_info("sslcontext") is not None)
        self.changed.set()
        return "250 taken"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        right = data.password == b"right"
        # What is not handled is answered by the server: 535.
        return AuthResult(success=right, handled=right)


@asynccontextmanager
async def mail_server(
    security: str = "none", certificate: Path | None = None, login: bool = False
) -> AsyncIterator[Inbox]:
    """A server on a port of this machine. `certificate` has certificate and key."""
    inbox = Inbox()
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    made: list[SMTP] = []

    def session() -> SMTP:
        with warnings.catch_warnings():
            # It warns of a login without STARTTLS, also where all is TLS.
            warnings.simplefilter("ignore")
            made.append(
                SMTP(
                    inbox,
                    loop=loop,
                    tls_context=context if security == "starttls" else None,
                    require_starttls=security == "starttls",
                    authenticator=inbox.authenticate if login else None,
                    auth_required=login,
                    auth_require_tls=False,  # it knows of STARTTLS only
                )
            )
        return made[-1]

    server = await loop.create_server(session, "127.0.0.1", 0, ssl=context if security == "tls" else None)
    inbox.port = server.sockets[0].getsockname()[1]
    try:
        yield inbox
    finally:
        server.close()
        for one in made:
            if one.transport is not None:
                one.transport.close()
        await asyncio.sleep(0)
