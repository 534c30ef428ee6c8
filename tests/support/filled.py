"""A ledger that a running service has filled: a click, orders, a refund, a talk and delivered postbacks."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from clew.orders.model import OrderSeen, Refund
from clew.postbacks.model import Attempt
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Shopped, Touched
from clew.service.service import Service
from clew.settings.model import Settings
from clew.stores.ledger.offers import NewOffer, add

NOW = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
TOKEN = "token-of-the-shop-0123456789"
PARTNER = {"id": "blog", "param": "ref", "postback": "http://127.0.0.1:9/p?c={click_id}&e={event}"}
TOML = f"""
secret = "{SECRET}"
[[sites]]
name = "shop"
hosts = ["shop.example"]
api_token = "{TOKEN}"
[[sites.partners]]
id = "blog"
param = "ref"
postback = "http://127.0.0.1:9/p?c={{click_id}}&e={{event}}&o={{order_id}}&a={{amount}}&u={{currency}}"
"""


class Filled:
    """A service over files in a folder, with a clock that a test sets. Open and close its `service`."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        site: dict[str, Any] = {
            "name": "shop",
            "hosts": ["shop.example"],
            "api_token": TOKEN,
            "partners": [PARTNER],
        }
        files = {
            "store": f"sqlite:{folder / 'clew-visits.db'}",
            "ledger": f"sqlite:{folder / 'clew.db'}",
        }
        self.service = Service(
            Settings.model_validate({"secret": SECRET, **files, "sites": [site], **settings})
        )
        self.now = NOW
        self.service.clock.now = lambda: self.now  # type: ignore[method-assign]

    async def bought(self, visitor: str, click: str) -> None:
        """A visitor came by a click, and is about to order."""
        touch = Touch(
            int(self.now) - 3600, (Click("", "ref", click, "blog"),), {"utm_source": "mail"}, "", "/spring"
        )
        await self.service.visits.change("shop", visitor, [Touched(touch), Shopped()], self.now)

    async def order(self, number: str, total: str, visitor: str | None = None, **more: Any) -> None:
        """The shop's server reports an order."""
        seen = OrderSeen(number, Decimal(total), "EUR", "api", **more)
        self.now += 1
        await self.service.ordering.record(self.service.sites["shop"], seen, visitor=visitor)

    async def refund(self, number: str, amount: str) -> None:
        """The shop's server reports a refund."""
        seen = OrderSeen(number, None, "EUR", "api", state=None, refunds=(Refund("r1", Decimal(amount)),))
        self.now += 1
        await self.service.ordering.record(self.service.sites["shop"], seen, visitor=None)

    async def talk(self, visitor: str, text: str, rule: str | None = None) -> str:
        """A visitor writes, by the invite of a rule if it is named; returns the conversation's id."""
        self.now += 1
        said = await self.service.ledger.conversations.add_visitor_message(
            "shop", visitor, text, client_id=text, language="en", rule=rule, now=self.now
        )
        return said.conversation.id

    async def deliver(self) -> None:
        """The partner takes all that is due."""
        outbox = self.service.ledger.outbox
        while waiting := await outbox.waiting(self.now, each=9, limit=9):
            for row in await outbox.claim([one.id for one in waiting], self.now, self.now + 9):
                begun = await outbox.begin(row, self.now + 9)
                assert begun is not None
                done = Attempt(self.now, "GET http://127.0.0.1:9/p", 200, "thanks", "delivered")
                await outbox.finish(begun, done, "delivered", self.now)

    async def callback(self, visitor: str) -> None:
        """A visitor wants to be called."""
        books = self.service.ledger.callbacks
        wish = {"topic": "The mug", "language": "en", "wished_at": None, "partner": "blog"}
        await books.add("shop", visitor, "+4930123456", now=self.now, most=9, **wish)

    async def offer(self, visitor: str, conversation: str) -> None:
        """A link that an agent sent."""
        new = NewOffer(
            code="c" * 22,
            site="shop",
            conversation=conversation,
            visitor=visitor,
            agent="bo",
            client_id=None,
            label="The mug",
            page="/mug",
            cart=None,
            coupon=None,
            coupon_code=None,
            pooled=False,
            returned=False,
            made_at=self.now,
            expires_at=self.now + 3600,
        )
        await self.service.ledger.db.transact(lambda tx: add(tx, new))
