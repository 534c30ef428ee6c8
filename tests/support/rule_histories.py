"""Histories of rules for tests: who was invited, talked and ordered, written by the service's own stores, and
beside it the plan of what was written, from which a test computes its figures without clew."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from clew.chat.model import Sender
from clew.stores.ledger.exposures import Exposure, Situation
from filled import Filled

DAY = 86400.0
WINDOW = 7 * DAY
RULE = {
    "name": "sizes",
    "action": "invite",
    "variants": [{"name": "ask", "text": "Any question?"}, {"name": "help", "text": "May I help?"}],
}
PLAIN = {"name": "cart", "action": "invite", "target": 0.2}


@dataclass(slots=True)
class Sale:
    """An order of a plan: what was paid and not given back."""

    at: float
    total: Decimal
    refunded: Decimal = Decimal()


@dataclass(slots=True)
class Person:
    """A visitor of a plan. Times in unix seconds; `talk_at` is when its conversation began."""

    visitor: str
    rule: str
    arm: str
    at: float
    seconds: int
    visit: int
    seen: bool = False
    accepted: bool = False
    dismissed: bool = False
    went_on: bool = False
    talk_at: float | None = None
    partner: str | None = None
    agent: str | None = None
    rating: int | None = None
    work: int = 0
    cart: Decimal | None = None
    client: str | None = None
    sales: list[Sale] = field(default_factory=list)

    def within(self, since: float | None) -> list[Sale]:
        """The sales within the window after a time."""
        return [] if since is None else [s for s in self.sales if since <= s.at < since + WINDOW]

    @property
    def post(self) -> bool:
        """Whether it talked after it had bought."""
        at = self.talk_at
        return at is not None and any(at - WINDOW <= sale.at < at for sale in self.sales)


class History(Filled):
    """A service with rules, and people in their experiments."""

    def __init__(self, folder: Path, ledger: str | None = None, **site: Any) -> None:
        shop = {"name": "shop", "hosts": ["shop.example"], "rules": [RULE, PLAIN], **site}
        more = {} if ledger is None else {"ledger": ledger}
        super().__init__(folder, sites=[shop], **more)
        self.number = 0

    @property
    def site(self) -> Any:
        """The compiled site."""
        return self.service.sites["shop"]

    def edition(self, rule: str) -> str:
        """The version of a rule's experiment; of the hold-out's for an empty name."""
        experiment = self.site.invites.experiment(rule) if rule else self.site.invites.holdout
        version: str = experiment.version
        return version

    def person(self, rule: str = "cart", arm: str = "invite", at: float | None = None, **more: Any) -> Person:
        """Somebody new."""
        self.number += 1
        given = {"seconds": 90, "visit": 1, "seen": True, **more}
        return Person(f"v{self.number:08}", rule, arm, self.now if at is None else at, **given)

    async def write(self, people: Iterable[Person]) -> None:
        """Write what happened to them."""
        rows, every = [], list(people)
        for one in every:
            times = {"eligible": one.at, "assigned": one.at}
            if one.arm not in ("no_invite", "holdout"):
                times["rendered"] = one.at
            steps = {"seen": one.seen, "accepted": one.accepted, "dismissed": one.dismissed}
            times |= {name: one.at + 1 for name, happened in steps.items() if happened}
            if one.went_on:
                times["went_on"] = one.at + 30
            cart = None if one.cart is None else f"{one.cart:f}"
            stood = Situation(one.seconds, one.visit, cart, None if cart is None else "EUR")
            key = ("shop", one.rule, self.edition(one.rule), one.visitor, one.arm)
            rows.append(Exposure(*key, times, stood, one.client))
        await self.service.ledger.exposures.write(rows)
        for one in every:
            if one.talk_at is not None:
                await self.talked(one)
            for sale in one.sales:
                await self.sold(one.visitor, sale)

    async def talked(self, one: Person) -> str:
        """Its conversation."""
        assert one.talk_at is not None
        books = self.service.ledger.conversations
        added = await books.add_visitor_message(
            "shop",
            one.visitor,
            "Which size?",
            client_id=f"{one.visitor} {one.talk_at}",
            language="en",
            rule=one.rule or None,
            now=one.talk_at,
            sender=Sender(one.partner),
        )
        talk = added.conversation.id
        if one.agent is not None:
            answer = {"agent": one.agent, "client_id": None}
            await books.add_agent_message("shop", talk, "M", now=one.talk_at + 20, **answer)
            await books.add_agent_message("shop", talk, "Or L", now=one.talk_at + 20 + one.work, **answer)
        if one.rating is not None:
            await books.rate("shop", one.visitor, one.rating, None, one.talk_at + 30)
        return talk

    async def sold(self, visitor: str, sale: Sale) -> None:
        """An order of a visitor, and its refund."""
        self.number += 1
        now, self.now = self.now, max(self.now, sale.at)
        number = f"n{self.number}"
        await self.order(number, f"{sale.total:.2f}", visitor, placed_at=sale.at)
        if sale.refunded:
            await self.refund(number, f"{sale.refunded:.2f}")
        self.now = max(now, self.now)


def crowd(shop: History, seed: int, number: int) -> list[Person]:
    """People of whom nearly all differ, over four weeks before now."""
    draw = random.Random(seed)
    found = []
    for _ in range(number):
        rule, arms = draw.choice([("sizes", ("ask", "help")), ("cart", ("invite",))])
        at = shop.now - draw.uniform(0, 28 * DAY)
        one = shop.person(
            *(rule, draw.choice(arms), at),
            seconds=draw.choice([10, 45, 90, 150, 250, 900]),
            visit=draw.choice([1, 1, 3]),
            seen=draw.random() < 0.9,
            dismissed=draw.random() < 0.2,
            went_on=draw.random() < 0.6,
            cart=Decimal(draw.randrange(10, 300)) if draw.random() < 0.5 else None,
        )
        if draw.random() < 0.5:
            one.accepted, one.talk_at = True, at + draw.uniform(5, 300)
            one.partner = draw.choice([None, "blog", "mail"])
            one.agent = draw.choice([None, "bo", "al"])
            one.work = draw.randrange(30, 900)
            one.rating = draw.choice([None, 2, 4, 5])
        for _ in range(draw.choice([0, 0, 1, 1, 2])):
            total = Decimal(draw.randrange(1000, 30000)) / 100
            refunded = draw.choice([Decimal(), Decimal(), Decimal("5.00")])
            base = one.talk_at or at
            when = base + draw.choice([-3 * DAY, 600.0, 2 * DAY, 8 * DAY]) + draw.random()
            one.sales.append(Sale(when, total, refunded))
        found.append(one)
    return found
