"""Webhooks in the shape in which shop systems send them, signed as they sign them."""

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

SECRETS = {
    "shopify": "3f9a1c7e5b2d8046a1f0c9e7d6b5a4f3",
    "woocommerce": "wQ7!kZ2@pLx9#vB4$nM8",
    "shopware": "pR4tY7uI0oK3jH6gF9dS2aZ5xC8vB1n",
    "bigcommerce": "9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e",
    "stripe": "whsec_Xk3Vq8Zr1Lw6Tn9Bm4Yc7Hd2Fj5Gp0Sa",
    "saleor": "hT6yU1iO9pL4kJ7hG2fD5sA8zX3cV0bN",
    "opencart": "mN5bV2cX8zL1kJ4hG7fD0sA3pO6iU9yT",
    "prestashop": "aS8dF3gH6jK1lZ4xC9vB2nM7qW0eR5tY",
    "magento": "zX1cV6bN3mA8sD5fG0hJ7kL2qW9eR4tY",
}


@dataclass(frozen=True)
class Hook:
    """One delivery: its headers and its body."""

    source: str
    headers: Mapping[str, str]
    body: bytes


def b64(key: str, text: bytes) -> str:
    return base64.b64encode(hmac.digest(key.encode(), text, sha256)).decode()


def hexed(key: str, text: bytes) -> str:
    return hmac.digest(key.encode(), text, sha256).hex()


def signed(
    source: str, body: bytes, topic: str = "", *, now: float = 0, name: str = "d1", secret: str | None = None
) -> Hook:
    """A delivery of `body`, signed as the shop system does."""
    key, at = secret or SECRETS[source], str(int(now))
    if source == "shopify":
        headers = {
            "X-Shopify-Topic": topic,
            "X-Shopify-Webhook-Id": name,
            "X-Shopify-Hmac-SHA256": b64(key, body),
        }
    elif source == "woocommerce":
        headers = {
            "X-WC-Webhook-Topic": topic,
            "X-WC-Webhook-Delivery-ID": name,
            "X-WC-Webhook-Signature": b64(key, body),
        }
    elif source == "shopware":
        headers = {"shopware-shop-signature": hexed(key, body), "X-Shopware-Event-Id": name}
    elif source == "stripe":
        mac = hexed(key, f"{at}.".encode() + body)
        headers = {"Stripe-Signature": f"t={at},v1={'0' * 64},v1={mac},v0={mac}"}
    elif source == "saleor":
        headers = {"Saleor-Event": topic, "Saleor-Signature": hexed(key, body)}
    else:
        mac = b64(key, f"{name}.{at}.".encode() + body)
        headers = {"webhook-id": name, "webhook-timestamp": at, "webhook-signature": f"v1,{mac}"}
    return Hook(source, {"Content-Type": "application/json", **headers}, body)


def jws(key: RSAPrivateKey, body: bytes, *, plain: bool) -> str:
    """The detached JWS over a body: the payload as it is (RFC 7797), or in base64url."""
    fields: dict[str, Any] = {"alg": "RS256", "kid": "1"}
    fields |= {"b64": False, "crit": ["b64"]} if plain else {}
    header = base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=")
    payload = body if plain else base64.urlsafe_b64encode(body).rstrip(b"=")
    mac = key.sign(header + b"." + payload, PKCS1v15(), SHA256())
    return (header + b".." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def jwks(key: RSAPrivateKey) -> str:
    """The public key as a JWK set."""
    numbers = key.public_key().public_numbers()

    def text(value: int) -> str:
        return base64.urlsafe_b64encode(value.to_bytes(256, "big").lstrip(b"\0")).rstrip(b"=").decode()

    return json.dumps({"keys": [{"kty": "RSA", "n": text(numbers.n), "e": text(numbers.e)}]})


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


# -- what the shop systems send of one order: number 1001, 119.00 EUR, of which 19.00 tax and 4.90 shipping

EMAIL = "Bob.Norman@mail.example"
EMAIL_HASH = sha256(EMAIL.lower().encode()).hexdigest()


def shopify_order(**changes: Any) -> dict[str, Any]:
    money = {"shop_money": {"amount": "4.90", "currency_code": "EUR"}}
    return {
        "id": 820982911946154508,
        "name": "#1001",
        "order_number": 1001,
        "confirmation_number": "XPAV284CT",
        "email": EMAIL,
        "created_at": "2026-11-27T10:00:00+01:00",
        "updated_at": "2026-11-27T10:00:05+01:00",
        "cancelled_at": None,
        "test": False,
        "currency": "EUR",
        "total_price": "119.00",
        "total_tax": "19.00",
        "total_discounts": "10.00",
        "total_shipping_price_set": money,
        "financial_status": "paid",
        "source_name": "web",
        "landing_site": "/collections/mugs?ref=c7&utm_source=blog",
        "referring_site": "https://blog.example/",
        "discount_codes": [{"code": "TENOFF", "amount": "10.00", "type": "fixed_amount"}],
        "note_attributes": [{"name": "colour", "value": "green"}],
        "customer": {"id": 207119551, "email": EMAIL},
        "line_items": [
            {
                "id": 466157049,
                "sku": "MUG-1",
                "product_id": 632910392,
                "name": "Mug",
                "quantity": 2,
                "price": "39.55",
                "discount_allocations": [{"amount": "10.00"}],
                "tax_lines": [{"price": "12.00"}],
            },
            {
                "id": 518995019,
                "sku": "",
                "product_id": 632910393,
                "name": "Tea",
                "quantity": 1,
                "price": "45.00",
                "discount_allocations": [],
                "tax_lines": [{"price": "7.00"}],
            },
        ],
        "refunds": [],
        **changes,
    }


def shopify_refund(number: int = 509562969, amount: str = "45.00") -> dict[str, Any]:
    return {
        "id": number,
        "order_id": 820982911946154508,
        "created_at": "2026-11-28T10:00:00+01:00",
        "refund_line_items": [
            {
                "line_item_id": 518995019,
                "quantity": 1,
                "subtotal": amount,
                "line_item": {"sku": "", "product_id": 632910393, "name": "Tea"},
            }
        ],
        "transactions": [
            {"kind": "refund", "status": "success", "amount": amount, "currency": "EUR"},
            {"kind": "refund", "status": "failure", "amount": amount, "currency": "EUR"},
        ],
    }


def woocommerce_order(**changes: Any) -> dict[str, Any]:
    return {
        "id": 727,
        "number": "1001",
        "order_key": "wc_order_58d2d042d1d",
        "created_via": "checkout",
        "status": "processing",
        "currency": "EUR",
        "date_created": "2026-11-27T10:00:00",
        "date_created_gmt": "2026-11-27T09:00:00",
        "date_modified_gmt": "2026-11-27T09:00:05",
        "discount_total": "10.00",
        "shipping_total": "4.90",
        "total": "119.00",
        "total_tax": "19.00",
        "billing": {"email": EMAIL},
        "line_items": [
            {
                "id": 315,
                "name": "Mug",
                "product_id": 93,
                "quantity": 2,
                "subtotal": "66.47",
                "total": "56.47",
                "total_tax": "10.73",
                "sku": "MUG-1",
                "price": 28.235,
            }
        ],
        "coupon_lines": [{"id": 5, "code": "tenoff", "discount": "10"}],
        "meta_data": [
            {
                "id": 1,
                "key": "_wc_order_attribution_session_entry",
                "value": "https://shop.test/mugs?ref=c7&utm_source=blog",
            }
        ],
        "refunds": [],
        **changes,
    }


def shopware_order(event: str = "checkout.order.placed", **changes: Any) -> dict[str, Any]:
    order = {
        "id": "0191f0b0c1d27f5a9c6e2b7d4a8e1f30",
        "orderNumber": "1001",
        "orderDateTime": "2026-11-27T09:00:00.000+00:00",
        "amountTotal": 119.0,
        "amountNet": 100.00000000000001,
        "shippingTotal": 4.9,
        "currency": {"isoCode": "EUR"},
        "price": {"calculatedTaxes": [{"tax": 19.0, "taxRate": 19, "price": 119.0}]},
        "orderCustomer": {"email": EMAIL, "customerNumber": "10001"},
        "customFields": {},
        "lineItems": [
            {
                "id": "a1",
                "type": "product",
                "label": "Mug",
                "quantity": 2,
                "unitPrice": 62.05,
                "payload": {"productNumber": "MUG-1"},
            },
            {
                "id": "a2",
                "type": "promotion",
                "label": "Ten off",
                "quantity": 1,
                "totalPrice": -10.0,
                "payload": {"code": "TENOFF"},
            },
        ],
        **changes,
    }
    source = {"url": "https://shop.test", "shopId": "GLblL0Q8YI7veaV5", "eventId": "e1"}
    return {"data": {"payload": {"order": order}, "event": event}, "source": source, "timestamp": 1795770005}


def stripe_event(kind: str, thing: Mapping[str, Any], *, created: int = 1795770005) -> dict[str, Any]:
    return {
        "id": f"evt_{kind.replace('.', '_')}_{created}",
        "object": "event",
        "created": created,
        "livemode": True,
        "type": kind,
        "data": {"object": thing},
    }


def stripe_session(**changes: Any) -> dict[str, Any]:
    return {
        "id": "cs_live_a1b2c3",
        "object": "checkout.session",
        "mode": "payment",
        "amount_subtotal": 11410,
        "amount_total": 11900,
        "currency": "eur",
        "created": 1795769000,
        "client_reference_id": None,
        "customer_details": {"email": EMAIL},
        "invoice": None,
        "metadata": {"order_id": "1001"},
        "payment_intent": "pi_3OqX",
        "payment_status": "paid",
        "total_details": {"amount_discount": 1000, "amount_shipping": 490, "amount_tax": 1900},
        **changes,
    }


def saleor_order(**changes: Any) -> dict[str, Any]:
    order = {
        "id": "T3JkZXI6MQ==",
        "number": "1001",
        "status": "UNFULFILLED",
        "chargeStatus": "FULL",
        "created": "2026-11-27T09:00:00+00:00",
        "updatedAt": "2026-11-27T09:00:05+00:00",
        "userEmail": EMAIL,
        "voucherCode": "TENOFF",
        "checkoutId": "Q2hlY2tvdXQ6MQ==",
        "total": {"gross": {"amount": 119.0, "currency": "EUR"}, "tax": {"amount": 19.0}},
        "shippingPrice": {"net": {"amount": 4.9}},
        "lines": [
            {
                "productSku": "MUG-1",
                "productName": "Mug",
                "quantity": 2,
                "unitPrice": {"gross": {"amount": 57.05}},
                "totalPrice": {"tax": {"amount": 18.21}},
            }
        ],
        "grantedRefunds": [],
        "clew": None,
        **changes,
    }
    return {"order": order}


def bigcommerce_event(scope: str = "store/order/created") -> dict[str, Any]:
    return {
        "store_id": "11111",
        "producer": "stores/abcde",
        "scope": scope,
        "data": {"type": "order", "id": 1001},
        "hash": "3f9ea420af83450d7ef9f78b08c8af25b2213637",
        "created_at": 1795770005,
    }


def bigcommerce_order(**changes: Any) -> dict[str, Any]:
    return {
        "id": 1001,
        "status_id": 11,
        "date_created": "Fri, 27 Nov 2026 09:00:00 +0000",
        "date_modified": "Fri, 27 Nov 2026 09:00:05 +0000",
        "total_inc_tax": "119.0000",
        "total_tax": "19.0000",
        "shipping_cost_ex_tax": "4.9000",
        "discount_amount": "10.0000",
        "coupon_discount": "0.0000",
        "currency_code": "EUR",
        "billing_address": {"email": EMAIL},
        "external_id": None,
        "staff_notes": "",
        "customer_message": "",
        **changes,
    }


def module_order(**changes: Any) -> dict[str, Any]:
    """The fields of POST orders, as the modules in `examples/` send them."""
    return {
        "id": "1001",
        "total": "119.00",
        "currency": "EUR",
        "state": "paid",
        "tax": "19.00",
        "shipping": "4.90",
        "placed_at": "2026-11-27T09:00:00Z",
        "updated_at": "2026-11-27T09:00:05Z",
        "email_hash": EMAIL_HASH,
        **changes,
    }
