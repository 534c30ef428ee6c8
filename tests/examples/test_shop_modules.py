"""What the modules for shop systems send, as PHP sends it, is what the door takes. The shop systems are stubs
here, which behave as their sources say; OpenCart's module was tried on OpenCart itself too."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from desks import VISITOR, DeskServer, desk_server
from hooks import EMAIL_HASH, SECRETS, as_json, signed, woocommerce_order

EXAMPLES = Path(__file__).parents[2] / "examples"
STUBS = Path(__file__).parents[1] / "support/php"
MODULES = {
    "opencart": EXAMPLES / "opencart/catalog/controller/clew.php",
    "prestashop": EXAMPLES / "prestashop/clew.php",
    "magento": EXAMPLES / "magento",
}
LONG = "Mug\twith\na " + "very " * 60 + "long name"

pytestmark = pytest.mark.skipif(shutil.which("php") is None, reason="PHP is not installed")


async def php(desk: DeskServer, name: str, *arguments: str) -> str:
    """Run a stub with a module; what it printed."""
    token = desk.service.sites["shop"].carrier.token(VISITOR)
    done = await asyncio.to_thread(
        subprocess.run,
        ["php", str(STUBS / f"{name}.php"), *arguments],
        capture_output=True,
        text=True,
        env={"TOKEN": token, "PATH": "/usr/bin:/bin", "ROUTE": os.environ.get("ROUTE", "")},
    )
    assert not done.stderr, done.stderr
    return done.stdout


async def report(
    desk: DeskServer, name: str, changes: Mapping[str, Any] | None = None, secret: str | None = None
) -> str:
    """What a shop's module does from an order to its refunds; what stands in the shop's log then."""
    async with desk.served() as address:
        given = [str(MODULES[name]), f"{address}hooks/{name}", secret or SECRETS[name]]
        return await php(desk, name, *given, json.dumps(changes or {}))


@dataclass(frozen=True)
class Got:
    """What clew recorded of the one order."""

    order: Mapping[str, Any]
    sightings: list[Mapping[str, Any]]

    @property
    def details(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.order["details"])
        return found


async def got(desk: DeskServer) -> Got:
    async with desk.service.ledger.db.read() as connection:
        (order,) = (await connection.execute(sa.text("SELECT * FROM orders"))).mappings().all()
        sightings = (
            (await connection.execute(sa.text("SELECT * FROM sightings ORDER BY id"))).mappings().all()
        )
    return Got(order, list(sightings))


def shop(tmp_path: Path, name: str) -> Any:
    return desk_server(tmp_path, webhooks={name: {"secret": SECRETS[name]}})


@pytest.mark.parametrize(
    ("name", "number", "total", "currency", "state"),
    [
        ("opencart", "1", "252.40", "USD", "placed"),
        ("prestashop", "XKBKNABJK", "119.00", "EUR", "paid"),
        ("magento", "000000012", "119.00", "EUR", "paid"),
    ],
)
async def test_what_a_module_sends_is_one_order_of_the_visitor_whose_token_the_shop_kept(
    tmp_path: Path, name: str, number: str, total: str, currency: str, state: str
) -> None:
    async with shop(tmp_path, name) as desk:
        assert await report(desk, name) == ""
        found = await got(desk)
    order = found.order
    assert (order["order_id"].lstrip("0"), order["total"], order["currency"]) == (
        number.lstrip("0"),
        total,
        currency,
    )
    assert (order["state"], order["visitor"]) == (state, VISITOR)
    assert {row["email_hash"] for row in found.sightings} == {EMAIL_HASH}
    wanted = {
        "opencart": ("5.00", "55.40", "10.00", "iPhone", "2"),
        "prestashop": ("4.90", "19.00", "10.00", "MUG-1", "2"),
        "magento": ("4.90", "19.00", "10.00", "MUG-1", "2"),
    }[name]
    details = found.details
    (item,) = details["items"]
    assert (details["shipping"], details["tax"], details["discount"], item["id"]) == wanted[:4]
    assert float(item["quantity"]) == float(wanted[4])


async def test_opencart_tells_the_coupon_and_the_category_and_takes_the_tax_from_the_totals(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path, "opencart") as desk:
        assert await report(desk, "opencart") == ""
        found = await got(desk)
    assert found.order["coupon"] == "TENOFF"
    assert [item["category"] for item in found.details["items"]] == ["Phones & PDAs"]
    # The tax of shipping is in the totals only, and an unconfirmed checkout is not reported.
    assert found.details["tax"] == "55.40"
    assert len(found.sightings) == 1


async def test_prestashop_tells_the_coupon_and_the_category(tmp_path: Path) -> None:
    async with shop(tmp_path, "prestashop") as desk:
        assert await report(desk, "prestashop") == ""
        found = await got(desk)
    assert found.order["coupon"] == "TENOFF"
    assert [item["category"] for item in found.details["items"]] == ["Mugs"]


async def test_an_order_that_the_administration_of_opencart_makes_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTE", "api/sale/order.confirm")
    async with shop(tmp_path, "opencart") as desk:
        assert await report(desk, "opencart") == ""
        found = await got(desk)
    assert found.order["visitor"] is None


async def test_a_slip_of_prestashop_is_a_part_refund_and_counts_once(tmp_path: Path) -> None:
    # The last puts the goods back without money.
    slips = [
        {"id_order_slip": "3", "total_products_tax_incl": "20.100000", "total_shipping_tax_incl": "4.900000"},
        {"id_order_slip": "4", "total_products_tax_incl": "5.000000", "total_shipping_tax_incl": "0.000000"},
        {"id_order_slip": "5", "total_products_tax_incl": "0.000000", "total_shipping_tax_incl": "0.000000"},
    ]
    async with shop(tmp_path, "prestashop") as desk:
        assert await report(desk, "prestashop", {"slips": slips}) == ""
        found = await got(desk)
    assert (found.order["state"], found.order["refunded"]) == ("part_refunded", "30.00")
    assert [(r["id"], r["amount"]) for r in found.details["refunds"][:2]] == [("3", "25.00"), ("4", "5.00")]


async def test_a_credit_memo_of_magento_is_a_part_refund_of_its_items(tmp_path: Path) -> None:
    # A configurable product has its price in the line of the parent; that of the child has none.
    child = {"sku": "MUG-1-L", "qty": "1.0000", "base_row_total_incl_tax": None}
    items = [{"sku": "MUG-1", "qty": "1.0000", "base_row_total_incl_tax": "25.1000"}, child]
    memo = {"increment_id": "000000002", "base_grand_total": "30.0000", "items": items}
    async with shop(tmp_path, "magento") as desk:
        assert await report(desk, "magento", {"memos": [memo]}) == ""
        found = await got(desk)
    assert (found.order["state"], found.order["refunded"]) == ("part_refunded", "30.00")
    (refund,) = found.details["refunds"]
    assert [(i["id"], float(i["amount"])) for i in refund["items"]] == [("MUG-1", 25.1), ("MUG-1-L", 0)]
    assert found.order["coupon"] == "TENOFF"


HARD: dict[str, dict[str, Any]] = {
    # Names as people write them; downloads have no shipping, an order at the till has no address.
    "opencart": {
        "order": {"email": ""},
        "lines": [{"product_id": "7", "model": "M", "name": LONG, "quantity": 1, "price": 1e-7, "tax": 0}]
        * 201,
    },
    "prestashop": {
        "order": {
            "total_paid_tax_incl": 0.1 + 0.2,
            "total_paid_tax_excl": 0.3,
            "total_shipping_tax_excl": None,
        },
        "mail": "",
        "lines": {
            str(n): {
                "product_id": "7",
                "product_reference": "",
                "product_name": LONG,
                "product_quantity": "1",
                "unit_price_tax_incl": 1e-7,
            }
            for n in range(201)
        },
    },
    "magento": {
        "order": {
            "base_shipping_amount": None,
            "base_tax_amount": None,
            "base_discount_amount": None,
            "customer_email": None,
            "coupon_code": None,
        },
        "lines": [{"sku": "DOWNLOAD", "name": LONG, "qty_ordered": 1.0, "base_price_incl_tax": 1e-7}] * 201,
    },
}


@pytest.mark.parametrize("lines", [1, 201])
@pytest.mark.parametrize("name", MODULES)
async def test_an_order_that_is_hard_to_tell_is_told_all_the_same(
    tmp_path: Path, name: str, lines: int
) -> None:
    changes = dict(HARD[name])
    found = changes["lines"]
    changes["lines"] = found[:lines] if isinstance(found, list) else dict(list(found.items())[:lines])
    async with shop(tmp_path, name) as desk:
        assert await report(desk, name, changes) == ""
        told = await got(desk)
    # Nobody's address would be that of all orders without one.
    assert {row["email_hash"] for row in told.sightings} == {None}
    assert len(told.details.get("items") or ()) == (1 if lines == 1 else 0)


@pytest.mark.parametrize("name", MODULES)
async def test_what_is_wrong_stands_in_the_shops_log(tmp_path: Path, name: str) -> None:
    async with shop(tmp_path, name) as desk:
        assert "signature is wrong" in await report(desk, name, secret="another-secret-than-ours")


@pytest.mark.parametrize(
    "hook", ["woocommerce_checkout_create_order", "woocommerce_store_api_checkout_update_order_meta"]
)
async def test_woocommerces_own_webhook_brings_the_token_back(tmp_path: Path, hook: str) -> None:
    async with shop(tmp_path, "woocommerce") as desk:
        printed = await php(desk, "woocommerce", str(EXAMPLES / "woocommerce/clew.php"), hook)
        body = as_json(woocommerce_order(meta_data=json.loads(printed)))
        async with desk.client() as client:
            sent = signed("woocommerce", body, "order.created")
            answer = await client.post("hooks/woocommerce", content=sent.body, headers=dict(sent.headers))
        assert answer.status_code == 200, answer.text
        found = await got(desk)
    assert (found.order["order_id"], found.order["visitor"]) == ("1001", VISITOR)
