"""What the delivery of postbacks uses of the ledger and of the log."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from .model import Attempt, Postback, State, Waiting


class Outbox(Protocol):
    """The postbacks in the ledger; see `stores.ledger.outbox.Outbox`."""

    async def expire(self, now: float, repeats: Callable[[Postback], bool]) -> tuple[Postback, ...]:
        """Settle the rows whose call was interrupted."""

    async def waiting(self, now: float, *, each: int, limit: int) -> tuple[Waiting, ...]:
        """The rows that are due and not leased."""

    async def claim(self, ids: Sequence[str], now: float, until: float) -> tuple[Postback, ...]:
        """Lease rows."""

    async def begin(self, postback: Postback, until: float) -> Postback | None:
        """Mark a row as sending."""

    async def finish(
        self, postback: Postback, attempt: Attempt, state: State, next_at: float, job: str | None = None
    ) -> bool:
        """Store an attempt."""

    async def claim_accepted(self, now: float, until: float, *, limit: int) -> tuple[Postback, ...]:
        """Lease accepted rows whose outcome is to be asked for."""

    async def ask_later(self, postbacks: Sequence[Postback], at: float) -> None:
        """Give accepted rows back."""

    async def next_result(self) -> float | None:
        """When an outcome is to be asked for next."""

    async def hold(self, postback: Postback, why: str, now: float) -> None:
        """Hold a row of which nothing was sent: a person has to report it."""

    async def release(self, postback: Postback, until: float, *, at: float | None = None) -> None:
        """Release a row of which nothing was sent; it is due as before, or at another time."""

    async def next_due(self) -> float | None:
        """When the next row is due."""


class Ids(Protocol):
    """What networks call orders, and the calls to their accounts; see `stores.ledger.networks.Networks`."""

    async def keep(self, order: int, partner: str, value: str) -> None:
        """Keep what the network calls the order."""

    async def kept(self, order: int, partner: str) -> str:
        """What the network calls the order; empty if it is not known."""

    async def take(self, account: str, limit: int, now: float) -> float:
        """Count a call to an account. Returns 0, or the seconds until one is free if there is none."""


class Events(Protocol):
    """Receives events."""

    def emit(self, name: str, *, site: str, **fields: Any) -> None:
        """Report that `name` happened."""

    def notice(self, name: str, *, site: str, key: str, **fields: Any) -> bool:
        """Report something that needs a person."""

    def failed(self, error: BaseException, *, site: str, where: str) -> None:
        """Report that something of clew's own failed."""

    def took(self, what: Literal["postback"], site: str, outcome: str, seconds: float) -> None:
        """Record the duration of a call by its outcome."""
