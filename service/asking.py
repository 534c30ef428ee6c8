"""Questions from the form without JavaScript, and the mail address to which a visitor wants its answer."""

from dataclasses import dataclass

from ..chat.model import Conversation
from ..events.events import Events
from ..referral.cookie import Known
from ..settings.model import mail_address
from ..stores.ledger.books import Ledger
from .clock import Clock
from .conversations import Conversations, VisitorMessage
from .limits import Limits
from .site import SiteRuntime


@dataclass(frozen=True, slots=True)
class Question:
    """A question from the form. `trap` is the field that people do not see."""

    text: str
    mail: str
    client_id: str
    language: str
    trap: str = ""


class Asking:
    """The form's questions. Every method raises LimitedError and the ledger's errors."""

    def __init__(
        self, ledger: Ledger, conversations: Conversations, limits: Limits, events: Events, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._conversations = conversations
        self._limits = limits
        self._events = events
        self._clock = clock

    async def ask(self, site: SiteRuntime, known: Known, question: Question, client: str | None) -> str:
        """Make a question a conversation whose answers go out by mail; returns the address. Raises
        MessageError for the text, ValueError for the address."""
        mail = mail_address(question.mail)
        self._limits.take("forms", site.name, client)
        if question.trap:
            # Whoever fills it in learns nothing.
            self._events.emit("form", site=site.name, what="question", dropped="a program filled it in")
            return mail
        said = VisitorMessage(question.text, question.client_id, question.language)
        added = await self._conversations.visitor_says(site, known, said, client)
        await self._wants(site, added.conversation, mail, "question")
        return mail

    async def reply_to(self, site: SiteRuntime, known: Known, mail: str, client: str | None) -> str | None:
        """Send the answers of the visitor's open conversation to an address too, which is returned; None if
        there is no such conversation. Raises ValueError for the address, BlockedError and
        LimitedError."""
        mail = mail_address(mail)
        self._limits.take("forms", site.name, client)
        await self._conversations.require_not_blocked(site.name, known.visitor, client)
        found = (await self._ledger.conversations.visitor_messages(site.name, known.visitor, 0))[0]
        if found is None or found.state != "open":
            return None
        return mail if await self._wants(site, found, mail, "address") else None

    async def _wants(self, site: SiteRuntime, found: Conversation, mail: str, what: str) -> bool:
        if not await self._ledger.mails.ask(site.name, found.id, found.visitor, mail, self._clock.now()):
            return False
        self._conversations.changed(site.name)
        self._events.emit("form", site=site.name, what=what, conversation=found.id)
        return True
