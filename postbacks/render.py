"""Renders the call to a partner: its URL template, a signed webhook, or its network's call."""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import unquote

from standardwebhooks import Webhook

from ..referral.calls import Answer, Success
from ..referral.catalogue import Network
from ..settings.model import Partner
from .call import Call, RenderError, SecretError, json_text, percent
from .masking import masked_address, masked_click
from .model import Report
from .network_call import PURPOSE, chosen, missing, network_call

if TYPE_CHECKING:
    from .values import Json

ANY_2XX = Success(ok=Answer(status=(200, 299)))
# Standard Webhooks: a type consists of words joined by full stops. The keys are the events of URL templates.
EVENT_TYPES: Mapping[str, str] = MappingProxyType(
    {"order": "order.created", "adjust": "order.updated", "cancel": "order.cancelled"}
)
_PLACEHOLDER = re.compile(r"\{(click_id|order_id|amount|currency|channel|event|consent|commission)\}")


def render(
    partner: Partner,
    report: Report,
    network: Network | None,
    now: float,
    *,
    postback_id: str,
    at: float | None = None,
) -> Call:
    """The call that delivers a report to a partner.

    `network` is the partner's, None for a plain partner; `now` and `postback_id` go into a webhook's
    signature, `at` into its body: when the event happened, by default the order's time. Raises RenderError,
    naming what is missing or wrong.
    """
    if partner.network is not None:
        if network is None:
            raise RenderError(f"partner {partner.id}: the catalogue has no network {partner.network!r}")
        call = network_call(partner, [report], network, now)
    elif partner.secret is not None:
        call = _webhook(partner, report, now, postback_id, report.order_time if at is None else at)
    else:
        call = _plain(partner, report)
    return replace(call, allow_private=partner.allow_private)


def missing_settings(partner: Partner, network: Network) -> list[str]:
    """The keys of `settings` that are missing for a call to the partner's network."""
    entry = chosen(partner, network)
    return [] if entry is None else missing(partner, entry)


def repeats_are_safe(partner: Partner, network: Network | None, event: str) -> bool:
    """Whether a call without a response may be repeated: by the partner's settings, by its network's entry,
    or because it is a webhook, whose id lets the receiver ignore it (Standard Webhooks, "idempotency")."""
    if partner.retry_unknown is not None:
        return partner.retry_unknown
    if network is None:
        return partner.secret is not None
    entry = chosen(partner, network, PURPOSE[event])
    return entry is not None and entry.repeatable


def _plain(partner: Partner, report: Report) -> Call:
    url, headers = _address(partner, report)
    return Call(
        method="GET",
        url=url,
        headers=headers,
        body=b"",
        masked=f"GET {_masked_address(partner, report)}",
        success=ANY_2XX,
        hidden=(report.click_id, percent(report.click_id)),
    )


def _webhook(partner: Partner, report: Report, now: float, postback_id: str, at: float) -> Call:
    url, headers = _address(partner, report)
    body = _payload(partner, report, at)
    signed_at = datetime.fromtimestamp(int(now), UTC)
    headers |= {
        "Content-Type": "application/json",
        "webhook-id": postback_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": _signer(partner).sign(postback_id, signed_at, body),
    }
    shown = _payload(partner, replace(report, click_id=masked_click(report.click_id)), at)
    return Call(
        method="POST",
        url=url,
        headers=headers,
        body=body.encode("ascii"),
        masked=f"POST {_masked_address(partner, report)} {shown}",
        success=ANY_2XX,
        hidden=(report.click_id, percent(report.click_id)),
        gone=True,
    )


def _payload(partner: Partner, report: Report, at: float) -> str:
    kind = EVENT_TYPES.get(report.event)
    if kind is None:
        raise RenderError(f"partner {partner.id}: there is no webhook type for the event {report.event!r}")
    data: dict[str, Json] = {
        "order_id": report.order_id,
        "amount": report.amount,
        "currency": report.currency,
        "channel": report.channel,
        "state": report.state,
        "click_id": report.click_id,
        "order_time": _iso(report.order_time),
        "landing_time": _iso(report.landing_time),
    }
    if report.consent != "unknown":
        data["consent"] = report.consent
    if report.commission:
        data["commission"] = report.commission
    if report.voucher:
        data["voucher"] = report.voucher
    return json_text({"type": kind, "timestamp": _iso(int(at)), "data": data})


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _signer(partner: Partner) -> Webhook:
    secret = partner.secret.get_secret_value() if partner.secret is not None else ""
    return signing(secret, f"partner {partner.id}: secret")


def signing(secret: str, what: str) -> Webhook:
    """Signs with a secret: `whsec_` and base64 as in Standard Webhooks; any other text is the key itself, as
    UTF-8. Raises SecretError, whose text begins with `what`."""
    if not secret.startswith("whsec_"):
        key = secret.encode("utf-8")
    else:
        try:
            bare = secret.removeprefix("whsec_").rstrip("=")  # the padding is often missing
            key = b64decode(bare + "=" * (-len(bare) % 4), validate=True)
        except (Base64Error, ValueError) as error:
            raise SecretError(f"{what}: the part after whsec_ is not base64") from error
    if not key:
        raise SecretError(f"{what}: it is empty")
    return Webhook(key)


def _filled(partner: Partner, report: Report) -> str:
    values = {
        "click_id": report.click_id,
        "order_id": report.order_id,
        "amount": report.amount,
        "currency": report.currency,
        "channel": report.channel,
        "event": report.event,
        "consent": report.consent,
        "commission": report.commission,
    }
    return _PLACEHOLDER.sub(lambda m: percent(values[m[1]]), partner.postback or "")


def _address(partner: Partner, report: Report) -> tuple[str, dict[str, str]]:
    """The URL without its user, and the Authorization header for that user (RFC 7617)."""
    url = _filled(partner, report)
    found = re.match(r"(https?://)([^/?#@]*)@", url, re.IGNORECASE)
    if found is None:
        return url, {}
    user, _, password = found[2].partition(":")
    credentials = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode("ascii")
    return found[1] + url[found.end() :], {"Authorization": f"Basic {credentials}"}


def _masked_address(partner: Partner, report: Report) -> str:
    return masked_address(_filled(partner, replace(report, click_id=masked_click(report.click_id))))
