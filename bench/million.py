"""A ledger with many orders, written by SQL alone: what lists and reports are measured on."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

ORDERS: Final = 1_000_000
SITE: Final = "shop"
PARTNERS: Final = 40
WEEKS: Final = 52
UNTIL: Final = 1_795_996_800.0  # 2026-11-30, a Monday
SINCE: Final = UNTIL - WEEKS * 604_800.0

_DETAILS: Final = {
    "net": "50.34",
    "shipping": "4.95",
    "tax": "9.56",
    "items": [{"id": "sku-1", "name": "A thing", "quantity": "1", "price": "59.90"}],
}
_EARNED: Final = {"currency": "EUR", "lines": ["terms standard: 8 % of 59.90 EUR"], "unpaid": ""}
_REPORT: Final = {"event": "order", "amount": "59.90", "currency": "EUR", "click_id": "c1"}
_CREDITED: Final = "n % 4 <> 3"  # a quarter of the orders has no partner
_SHARED: Final = f"{_CREDITED} AND n % 50 = 0"  # and some have two


def partner(number: int) -> str:
    """A partner's id: the first ones have most of the orders."""
    return f"partner-{number:02d}"


class _Values:
    """Values of a row by its number `n`, as SQL: they look random, and are the same on both engines."""

    def __init__(self, dialect: str, orders: int) -> None:
        self._json = "::json" if dialect == "postgresql" else ""
        self._whole = "CAST({} AS BIGINT)" if dialect == "postgresql" else "CAST({} AS INTEGER)"
        self.rows = (
            f"generate_series(1, {orders}) AS s(n)"
            if dialect == "postgresql"
            else f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {orders}) "
            "SELECT n FROM s)"
        )
        self.no = "false" if dialect == "postgresql" else "0"
        self.at = f"{SINCE} + n * {(UNTIL - SINCE) / (orders + 1)}"
        self.state = self._by(
            self._dice(222_222_222),
            {10: "charged_back", 40: "cancelled", 70: "refunded", 120: "part_refunded", 620: "paid"},
            "placed",
        )
        self.refunded = self._by(self._dice(222_222_222), {70: "0", 120: "5.00"}, "0")
        self.channel = self._by(self._dice(3_333_333_333), {150: "chat", 170: "phone"}, "web")
        self.currency = self._by(f"({self._dice(3_333_333_333)} % 10)", {1: "CHF"}, "EUR")
        who = self._whole.format(f"{self._dice(11)} * {self._dice(11)} * {PARTNERS} / 1000000")
        self.partner = f"'partner-' || substr('0' || {who}, length('0' || {who}) - 1, 2)"

    def _dice(self, salt: int) -> str:
        """A number from 0 to 999 (Knuth's multiplicative hash)."""
        return self._whole.format(f"(((n * 2654435761 + {salt}) % 4294967296) / 4294967.296)")

    def _by(self, dice: str, below: Mapping[int, str], otherwise: str) -> str:
        cases = " ".join(f"WHEN {dice} < {most} THEN '{value}'" for most, value in below.items())
        return f"CASE {cases} ELSE '{otherwise}' END"

    def money(self, least: int, divisor: int = 1) -> str:
        """An amount with two digits after the dot."""
        cents = f"'0' || ({self._dice(4_000_000_007)} % 100)"
        units = self._whole.format(f"{self._dice(222_222_222)} / {divisor}")
        return f"({units} + {least}) || '.' || substr({cents}, length({cents}) - 1, 2)"

    def json(self, value: Any) -> str:
        """Plain data."""
        return f"'{json.dumps(value)}'{self._json}"

    def insert(self, table: str, values: Mapping[str, str], where: str = "1 = 1") -> str:
        """A statement that adds a row for each number for which a condition holds."""
        columns = ", ".join(f'"{name}"' for name in values)
        rows = f"SELECT {', '.join(values.values())} FROM {self.rows} WHERE {where}"
        return f"INSERT INTO {table} ({columns}) {rows}"


def statements(dialect: str, orders: int = ORDERS) -> Iterator[str]:
    """Statements that fill an empty ledger."""
    own = _Values(dialect, orders)
    yield f"INSERT INTO policies (version, policy) VALUES ('v1', {own.json({})})"
    order = {"id": "n", "site": f"'{SITE}'", "order_id": "'o' || n", "version": "1", "state": own.state}
    order |= {"total": own.money(10), "currency": own.currency, "refunded": own.refunded}
    order |= {"details": own.json(_DETAILS), "channel": own.channel, "source": "'api'"}
    order |= {"visitor": "'visitor-' || n", "sources": own.json({"total": "0123456789abcdef"})}
    order |= {"doubts": own.json([]), "placed_at": own.at, "recorded_at": own.at, "changed_at": own.at}
    yield own.insert("orders", order | {"decision": "n", "written": "n"})
    decision = {"id": "n", "order": "n", "order_version": "1", "at": own.at, "policy": "'v1'"}
    decision |= {"inputs": own.json({"touches": []}), "considered": own.json([]), "written": "n"}
    yield own.insert("decisions", decision | {"reason": "'The last click, 2 hours before the order'"})
    share = {
        "decision": "n",
        "order": "n",
        "site": f"'{SITE}'",
        "reason": "'The last click before the order'",
    }
    first = {"partner": own.partner, "place": "0", "part": "CASE WHEN n % 50 = 0 THEN '0.6' ELSE '1' END"}
    first |= {"click": own.json(["awin", "awc", "1234_1700000000_0123456789abcdef0123", ""])}
    first |= {"touched_at": f"{own.at} - 7200", "commission": own.money(1, 10), "operator": "'0.00'"}
    yield own.insert("shares", share | first | {"earned": own.json(_EARNED)}, _CREDITED)
    second = {"partner": "'second'", "place": "1", "part": "'0.4'", "commission": "'1.00'"}
    yield own.insert("shares", share | second, _SHARED)
    earned = {"order": "n", "site": f"'{SITE}'", "currency": own.currency, "state": "'pending'", "value": "0"}
    earned |= {"locked": "0", "paid": "0", "lockable": own.no, "unpaid": own.no}
    earned |= {"placed_at": own.at, "changed_at": own.at}
    amount = f"CAST(replace({own.money(1, 10)}, '.', '') AS BIGINT)"
    yield own.insert("commissions", earned | {"partner": own.partner, "amount": amount}, _CREDITED)
    yield own.insert("commissions", earned | {"partner": "'second'", "amount": "100"}, _SHARED)
    call = {"id": "'pb_' || n", "order": "n", "site": f"'{SITE}'", "partner": own.partner, "sequence": "1"}
    call |= {"event": "'order'", "report": own.json(_REPORT), "attempts": "1", "next_at": own.at}
    call |= {"created_at": own.at, "finished_at": own.at, "written": "n"}
    state = "CASE WHEN n % 1000 = 1 THEN 'held' WHEN n % 1000 = 2 THEN 'dead' ELSE 'delivered' END"
    yield own.insert("postbacks", call | {"state": state}, _CREDITED)
    yield "ANALYZE" if dialect == "postgresql" else "SELECT 1"
