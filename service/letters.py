"""An answer as a mail: its headers and its text. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from ..settings.model import mail_address, sender_parts
from ..templates import text

QUOTED: Final = 20
"""Lines of the question that are quoted at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a mail says. `sender` is an address with or without a name, `question` what the visitor wrote
    last, `first` the id of the first mail of the conversation, if this is a later one;
    `at` in unix seconds."""

    id: str
    to: str
    sender: str
    reply_to: str | None
    shop: str
    language: str
    question: str
    answers: Sequence[str]
    first: str | None
    at: float


def composed(letter: Letter) -> EmailMessage:
    """The mail. Raises ValueError for addresses that are none: of what a visitor wrote, only its checked
    address gets into a header."""
    name, sender = sender_parts(letter.sender)
    domain = sender.rpartition("@")[2]
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(name, addr_spec=sender)
    message["To"] = Address(addr_spec=mail_address(letter.to))
    if letter.reply_to is not None:
        message["Reply-To"] = Address(addr_spec=mail_address(letter.reply_to))
    message["Subject"] = text(letter.language, "mail_subject")
    message["Date"] = format_datetime(datetime.fromtimestamp(letter.at, UTC))
    message["Message-ID"] = f"<{letter.id}@{domain}>"
    if letter.first is not None:
        # Mail programs show the mails of a conversation together (RFC 5322 §3.6.4).
        message["In-Reply-To"] = message["References"] = f"<{letter.first}@{domain}>"
    # No holiday notice may answer it (RFC 3834 §5).
    message["Auto-Submitted"] = "auto-generated"
    message["Content-Language"] = letter.language
    message.set_content(_body(letter), cte="quoted-printable")
    return message


def _body(letter: Letter) -> str:
    quoted = letter.question.strip().splitlines()
    if len(quoted) > QUOTED:
        quoted = [*quoted[:QUOTED], "…"]
    parts = ["\n\n".join(answer.strip() for answer in letter.answers)]
    if quoted:
        lines = "\n".join(f"> {line}" for line in quoted)
        parts.append(f"{text(letter.language, 'mail_wrote')}\n{lines}")
    why = text(letter.language, "mail_why", shop=letter.shop)
    return "\n\n".join(parts) + f"\n\n-- \n{why}\n"
