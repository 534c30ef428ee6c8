"""A partner has a call sent to its server again: what may be, how often, and what it comes to."""

from typing import Literal

from ..postbacks.delivery import Worker
from ..postbacks.model import Attempt, Postback
from ..stores.ledger.again import OutboxError
from ..stores.ledger.books import Ledger
from .clock import Clock

AGAIN = 3
"""How often a call is sent again within HOUR at a partner's wish."""

HOUR = 3600.0
Refusal = Literal["waits", "review", "gone", "later", "often", "network", "forgotten", "clickless"]
"""Why a call is not sent again: it is on its way, in review, or replaced; a later one says what holds now; it
was sent again a few times just now; its network would count it twice; its click id is forgotten; there was
no click, so the shop reported it by hand."""


class NotSentAgainError(Exception):
    """A call is not sent again. `why` is a Refusal."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(why)
        self.why: Refusal = why


async def resend(
    ledger: Ledger, worker: Worker, clock: Clock, site: str, partner: str, postback: str
) -> tuple[Postback, Attempt | None] | None:
    """Send a call to its partner again. None if the partner has no such call; raises NotSentAgainError.

    One that was given up, or whose outcome is not known, is due again, with its retries. One that was
    delivered is sent at once and once, with the same id and sequence number, by which its receiver knows it;
    it stays delivered whatever comes of it, since the partner had it. Then the attempt is returned as well.
    """
    with worker.repeats.alone(postback) as alone:
        if not alone:
            raise NotSentAgainError("waits")
        found = await ledger.partner_book.call(site, partner, postback)
        return None if found is None else await _resend(ledger, worker, clock, found)


async def _resend(
    ledger: Ledger, worker: Worker, clock: Clock, found: Postback
) -> tuple[Postback, Attempt | None]:
    if found.state in ("due", "sending", "accepted"):
        raise NotSentAgainError("waits")
    if found.state in ("held", "refused"):
        raise NotSentAgainError("review")
    if found.state == "superseded":
        raise NotSentAgainError("gone")
    if not found.report.click_id:
        raise NotSentAgainError("forgotten" if found.report.click_param else "clickless")
    if await ledger.partner_book.followed(found):
        raise NotSentAgainError("later")
    if found.state != "dead" and not worker.partners.may_repeat(found):
        raise NotSentAgainError("network")
    now = clock.now()
    tried = await ledger.partner_book.attempts(found.id)
    if sum(attempt.at > now - HOUR for attempt in tried) >= AGAIN:
        raise NotSentAgainError("often")
    if found.state != "delivered":
        try:
            able = worker.partners.able(now)
            again = await ledger.outbox.retry(found.id, now, able=able, site=found.site)
        except OutboxError as error:
            # Somebody else was faster.
            raise NotSentAgainError("waits") from error
        worker.wake()
        return again, None
    attempt = await worker.repeats.repeat(found)
    await ledger.partner_book.note(found.id, attempt)
    return found, attempt
