"""Sends the answers that are due by mail, through the shop's mail server (`[smtp]`).

One mail after the other, by each process that has time. What the server refuses for now is tried again by the
schedule; what it refuses for good is told as an event. A server that cannot be reached, and a wrong password,
are nobody's mail's fault: the mail waits.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import aiosmtplib

from ..events.events import Events
from ..settings.model import Site, Smtp, sender_parts
from ..stores.ledger.books import Ledger
from ..stores.ledger.mails import DueMail
from .letters import Letter, composed

POLL_SECONDS: Final = 2.0
LEASE_MARGIN: Final = 30.0
HOUR: Final = 3600.0
OVER_WAIT: Final = 300.0
"""Seconds until a mail over the limit of its site is tried again."""

_Outcome = Literal["sent", "later", "dead"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of an attempt, and what the server said. `fault`: it is the server's or the settings', not
    that of the mail."""

    outcome: _Outcome
    answer: str = ""
    fault: bool = False


class Mailer:
    """Sends mails while `run` runs. `smtp` and `site` give what the settings say now; `now` unix seconds."""

    def __init__(
        self,
        ledger: Ledger,
        smtp: Callable[[], Smtp | None],
        site: Callable[[str], Site | None],
        now: Callable[[], float],
        events: Events,
    ) -> None:
        self._ledger = ledger
        self._smtp = smtp
        self._site = site
        self._now = now
        self._events = events
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look at once."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            self._wake.clear()
            try:
                while (smtp := self._smtp()) is not None and await self._next(smtp):
                    _stop_if_cancelled()
            except Exception as error:
                self._events.failed(error, site="", where="mail")
            _stop_if_cancelled()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()

    async def _next(self, smtp: Smtp) -> bool:
        """Send the next mail; whether there was one."""
        books, seconds = self._ledger.mails, float(smtp.timeout)
        due = await books.claim(self._now(), seconds + LEASE_MARGIN)
        if due is None:
            return False
        site = self._site(due.site)
        if site is None:
            await books.finish(due, "due", self._now(), next_at=self._now() + HOUR, counts=False)
            return True
        if await books.sent(due.site, self._now() - HOUR) >= smtp.per_hour:
            self._waits(due, f"the site has sent {smtp.per_hour} mails in this hour")
            await books.finish(due, "due", self._now(), next_at=self._now() + OVER_WAIT, counts=False)
            return True
        sent = await deliver(smtp, due, site, self._now())
        await self._note(smtp, due, sent)
        # While the server is away, the others wait too.
        return not sent.fault

    async def _note(self, smtp: Smtp, due: DueMail, sent: Sent) -> None:
        books, now = self._ledger.mails, self._now()
        if sent.outcome == "sent":
            await books.finish(due, "sent", now, answer=sent.answer)
            about = {"conversation": due.conversation, "attempts": due.attempts, "answers": len(due.answers)}
            self._events.emit("mail", site=due.site, **about)
        elif sent.outcome == "dead" or due.attempts > len(smtp.schedule):
            await books.finish(due, "dead", now, answer=sent.answer)
            about = {"conversation": due.conversation, "why": sent.answer}
            self._events.notice("mail_failed", site=due.site, key=due.conversation, **about)
        else:
            pause = smtp.schedule[due.attempts - 1]
            await books.finish(due, "due", now, answer=sent.answer, next_at=now + pause)
            self._waits(due, sent.answer)

    def _waits(self, due: DueMail, why: str) -> None:
        about = {"conversation": due.conversation, "why": why}
        self._events.notice("mail_waiting", site=due.site, key=why[:60], **about)


def _stop_if_cancelled() -> None:
    """Up to Python 3.11, `wait_for`, which the client uses, loses a cancellation that comes together with its
    result."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def deliver(smtp: Smtp, due: DueMail, site: Site, now: float) -> Sent:
    """One attempt."""
    sender = site.chat.sender or smtp.sender
    letter = Letter(
        id=due.id,
        to=due.mail,
        sender=sender,
        reply_to=site.chat.mail,
        shop=next((host for host in site.hosts if not host.startswith("*")), site.name),
        language=due.language,
        question=due.question,
        answers=due.answers,
        first=due.first,
        at=due.created_at,
    )
    try:
        message = composed(letter)
    except ValueError as error:
        return Sent("dead", f"not a mail: {error}")
    address = sender_parts(sender)[1]
    try:
        async with asyncio.timeout(float(smtp.timeout)):
            client = _client(smtp, address)
            await client.connect()
            try:
                _, answer = await client.sendmail(address, [due.mail], message.as_bytes())
            finally:
                client.close()
    except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPDataError) as error:
        return _refused(error)
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        # TimeoutError is an OSError.
        return Sent("later", _said(error), fault=True)
    return Sent("sent", answer[:300])


def _refused(error: aiosmtplib.SMTPException) -> Sent:
    """What was said of the mail or its recipient: 5xx is for good (RFC 5321 §4.2.1)."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        one = error.recipients[0]
        code, text = one.code, one.message
    else:
        assert isinstance(error, aiosmtplib.SMTPDataError)
        code, text = error.code, error.message
    return Sent("dead" if 500 <= code < 600 else "later", f"{code} {text}"[:300])


def _said(error: Exception) -> str:
    code = f"{error.code} " if isinstance(error, aiosmtplib.SMTPResponseException) else ""
    return f"{code}{error}"[:300] or type(error).__name__


def _client(smtp: Smtp, sender: str) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=smtp.host,
        port=smtp.at_port,
        # Else it is looked up, which blocks the loop.
        local_hostname=sender.rpartition("@")[2],
        username=smtp.user,
        password=None if smtp.password is None else smtp.password.get_secret_value(),
        timeout=float(smtp.timeout),
        use_tls=smtp.security == "tls",
        start_tls=smtp.security == "starttls",
        tls_context=None if smtp.security == "none" else _context(smtp.ca_file),
    )


@lru_cache(4)
def _context(ca_file: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
