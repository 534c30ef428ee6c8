"""Webhooks in the shape in which chat providers send them, signed as they sign them (chat/providers.toml)."""

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_SECRET = "pQ7vKx2LrW9mZc4JpYb8NfHs"


@cache
def rsa_key() -> RSAPrivateKey:
    """The key of a Freshchat account."""
    return generate_private_key(65537, 2048)


def public_pem() -> str:
    """Its public part."""
    pem = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


SIGNING = ("crisp", "chatwoot", "tawk", "intercom", "freshchat", "smartsupp", "trengo", "zendesk_messaging")
"""Providers that sign their webhooks, and whose webhooks have what agents write."""

OTHERS = ("livechat", "jivochat", "rocketchat", "papercups", "tiledesk", "iadvize", "hubspot", "gorgias")
SECRETS = dict.fromkeys((*SIGNING, *OTHERS), _SECRET) | {"freshchat": public_pem()}


@dataclass(frozen=True)
class Sent:
    """One webhook: the path below `hooks/`, its headers and its body. `signs`: the body is signed."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    signs: bool = True

    def changed(self, **changes: Any) -> "Sent":
        """The same with other parts."""
        return replace(self, **changes)

    def forged(self) -> "Sent":
        """The same by somebody who does not know the secret."""
        plain = {name: value.replace(_SECRET, "x" * 24) for name, value in self.headers.items()}
        headers = {
            name: value[:-6] + "000000" if "ignature" in name or "mac" in name.lower() else value
            for name, value in plain.items()
        }
        body = self.body.replace(_SECRET.encode(), b"x" * 24)
        return Sent(self.path.replace(_SECRET, "x" * 24), headers, body, self.signs)


def _mac(algorithm: str, text: bytes) -> bytes:
    return hmac.digest(_SECRET.encode(), text, algorithm)


def signed(name: str, body: bytes, now: float) -> Sent:
    """A webhook of this body, signed as the provider does it."""
    at, ms = str(int(now)), str(int(now * 1000))
    headers, path, signs = {"content-type": "application/json"}, name, True
    if name == "crisp":
        headers["X-Crisp-Request-Timestamp"] = ms
        headers["X-Crisp-Signature"] = _mac("sha256", f"[{ms};".encode() + body + b"]").hex()
    elif name == "chatwoot":
        headers["X-Chatwoot-Timestamp"] = at
        headers["X-Chatwoot-Signature"] = "sha256=" + _mac("sha256", f"{at}.".encode() + body).hex()
    elif name == "tawk":
        headers["X-Tawk-Signature"] = _mac("sha1", body).hex()
    elif name == "intercom":
        headers["X-Hub-Signature"] = "sha1=" + _mac("sha1", body).hex()
    elif name == "freshchat":
        signature = rsa_key().sign(body, PKCS1v15(), SHA256())
        headers["X-Freshchat-Signature"] = base64.b64encode(signature).decode()
    elif name == "smartsupp":
        headers["X-Smartsupp-Hmac"] = _mac("sha256", body).hex()
    elif name == "trengo":
        headers = {"content-type": "application/x-www-form-urlencoded"}
        headers["Trengo-Signature"] = f"{at};{_mac('sha256', f'{at}.'.encode() + body).hex()}"
    elif name == "zendesk_messaging":
        iso = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        headers["X-Zendesk-Webhook-Signature-Timestamp"] = iso
        mac = base64.b64encode(_mac("sha256", iso.encode() + body)).decode()
        headers["X-Zendesk-Webhook-Signature"] = mac
    elif name == "iadvize":
        headers["X-iAdvize-Signature"] = "sha256=" + _mac("sha256", body).hex()
    elif name == "hubspot":
        url = b"http://shop.test/-/clew/hooks/hubspot"
        mac = base64.b64encode(_mac("sha256", b"POST" + url + body + ms.encode())).decode()
        headers |= {"X-HubSpot-Request-Timestamp": ms, "X-HubSpot-Signature-v3": mac}
    elif name == "rocketchat":
        headers["X-RocketChat-Livechat-Token"], signs = _SECRET, False
    elif name == "tiledesk":
        headers["X-Hook-Secret"], signs = _SECRET, False
    elif name == "gorgias":
        headers["X-Clew-Secret"], signs = _SECRET, False
    elif name == "livechat":
        signs = False
    else:
        path, signs = f"{name}/{_SECRET}", False
    return Sent(path, headers, body, signs)


def sent(name: str, event: str, data: Mapping[str, Any], now: float) -> Sent:
    """One event of Crisp or iAdvize."""
    if name == "crisp":
        inner = {"session_id": "session_1", "website_id": "w", "timestamp": int(now * 1000), **data}
        body: dict[str, Any] = {
            "website_id": "w",
            "event": event,
            "data": inner,
            "timestamp": int(now * 1000),
        }
    else:
        created = datetime.fromtimestamp(now, UTC).isoformat()
        body = {"eventId": "e", "eventType": event, "createdAt": created, **data}
    return signed(name, json.dumps(body).encode(), now)


def talk(
    name: str, token: str, command: str, now: float, *, extra: str = "Hello", conversation: str = "session_1"
) -> Sequence[Sent]:
    """A whole conversation: the visitor writes `extra`, the agent Ann writes `command`, and it ends."""
    bodies = _TALKS[name](token, command, now, extra, conversation)
    if name == "trengo":
        return [signed(name, urlencode(body).encode(), now) for body in bodies]
    return [signed(name, json.dumps(body).encode(), now) for body in bodies]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _crisp(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    def event(kind: str, at: float, **data: Any) -> dict[str, Any]:
        inner = {"website_id": "w", "session_id": talk, "timestamp": int(at * 1000), **data}
        return {"website_id": "w", "event": kind, "data": inner, "timestamp": int(at * 1000)}

    text = {"type": "text", "origin": "chat"}
    return [
        event("session:set_data", now, data={"clew_ref": token}),
        event("message:send", now + 1, **text, **{"from": "user"}, content=extra, fingerprint=151),
        event(
            "message:received",
            now + 2,
            **{"from": "operator"},
            type="note",
            content=command,
            fingerprint=152,
            user={"nickname": "Ann", "user_id": "u"},
        ),
        event("session:set_state", now + 3, state="resolved"),
    ]


def _chatwoot(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    conversation = {
        "id": 7,
        "status": "open",
        "custom_attributes": {"clew_ref": token},
        "meta": {"sender": {"id": 1, "custom_attributes": {}}, "assignee": {"id": 2, "name": "Ann"}},
    }

    def message(name: int, kind: str, text: str, sender: dict[str, Any]) -> dict[str, Any]:
        at = datetime.fromtimestamp(now + name, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return {
            "event": "message_created",
            "id": name,
            "content": text,
            "created_at": at,
            "message_type": kind,
            "private": kind == "outgoing",
            "sender": sender,
            "conversation": conversation,
        }

    return [
        {"event": "conversation_created", **conversation},
        message(1, "incoming", extra, {"id": 1, "type": "contact"}),
        message(2, "outgoing", command, {"id": 2, "name": "Ann", "type": "user"}),
        {"event": "conversation_status_changed", **conversation, "status": "resolved"},
    ]


def _tawk(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    visitor = {"name": "V1561719148780935", "city": "jelgava", "country": "LV"}
    place = {"id": "58ca8453b8a7e060cd3b1ecb", "name": "shop"}
    words = [
        {"sender": {"t": "v"}, "type": "msg", "msg": token or extra, "time": _iso(now + 1)},
        {"sender": {"t": "v"}, "type": "msg", "msg": extra, "time": _iso(now + 1.5)},
        {"sender": {"t": "a", "n": "Ann", "id": "a1"}, "type": "msg", "msg": command, "time": _iso(now + 2)},
    ]
    start = {"text": extra, "type": "msg", "sender": {"type": "visitor"}}
    about = {"chatId": talk, "visitor": visitor, "property": place}
    chat = {"id": talk, "visitor": visitor, "messages": words}
    return [
        {"event": "chat:start", "time": _iso(now), "message": start, **about},
        {"event": "chat:end", "time": _iso(now + 3), **about},
        {"event": "chat:transcript_created", "time": _iso(now + 4), "property": place, "chat": chat},
    ]


def _intercom(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    def event(topic: str, at: float, **more: Any) -> dict[str, Any]:
        contact = {"type": "contact", "id": "c1", "custom_attributes": {"clew_ref": token}}
        item = {
            "type": "conversation",
            "id": "215469",
            "created_at": int(now),
            "updated_at": int(at),
            "contacts": {"contacts": [contact]},
            **more,
        }
        data = {"type": "notification_event_data", "item": item}
        return {"type": "notification_event", "topic": topic, "data": data, "created_at": int(at)}

    def part(kind: str, author: dict[str, Any], text: str, at: float) -> dict[str, Any]:
        one = {"id": f"p{at}", "part_type": kind, "body": text, "created_at": int(at), "author": author}
        return {"conversation_parts": {"conversation_parts": [one]}}

    source = {"id": "s1", "body": f"<p>{extra}</p>", "author": {"type": "lead", "id": "c1"}}
    note = part("note", {"type": "admin", "id": "9", "name": "Ann"}, f"<p>{command}</p>", now + 2)
    return [
        event("conversation.user.created", now + 1, source=source),
        event("conversation.admin.noted", now + 2, **note),
        event("conversation.admin.closed", now + 3),
    ]


def _freshchat(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    def message(name: str, who: str, text: str, at: float) -> dict[str, Any]:
        one = {
            "message_parts": [{"text": {"content": text}}],
            "actor_id": f"{who}-1",
            "id": name,
            "conversation_id": talk,
            "actor_type": who,
            "created_time": _iso(at),
        }
        return {"action": "message_create", "action_time": _iso(at), "data": {"message": one}}

    about = {"conversation_id": talk, "status": "resolved", "properties": {"cf_clew_ref": token}}
    return [
        message("m1", "user", extra, now + 1),
        message("m2", "agent", command, now + 2),
        {
            "action": "conversation_resolution",
            "action_time": _iso(now + 3),
            "data": {"resolve": {"conversation": about}},
        },
    ]


def _smartsupp(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    conversation = {"id": talk, "status": "open", "variables": {"clew_ref": token}}

    def reply(kind: str, who: str, text: str, at: float) -> dict[str, Any]:
        message = {"id": f"m{at}", "sub_type": who, "content": {"text": text}, "created_at": _iso(at)}
        message |= {"agent_id": "ann"} if who == "agent" else {}
        data = {"conversation": conversation, "message": message}
        return {"event": f"conversation.{kind}", "timestamp": _iso(at), "data": data}

    return [
        {"event": "conversation.opened", "timestamp": _iso(now), "data": conversation},
        reply("contact_replied", "contact", extra, now + 1),
        reply("agent_replied", "agent", command, now + 2),
        {"event": "conversation.closed", "timestamp": _iso(now + 3), "data": {"id": talk}},
    ]


def _trengo(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    return [
        {
            "message_id": "1",
            "ticket_id": "77",
            "contact_id": "5",
            "message": extra,
            "custom_fields": json.dumps([{"title": "clew", "value": token}]),
            "created_at": _iso(now + 1),
        },
        {
            "message_id": "2",
            "ticket_id": "77",
            "contact_id": "5",
            "user_id": "9",
            "user_name": "Ann",
            "message": command,
            "created_at": _iso(now + 2),
        },
        {"ticket_id": "77", "status": "CLOSED"},
    ]


def _own(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    about = {"conversation": talk, "ref": token}
    return [
        {"event": "message", "author": "visitor", "text": extra, "status": "open", **about},
        {"event": "message", "author": "agent", "agent": "Ann", "text": command, "status": "open", **about},
        {"event": "message", "author": "agent", "agent": "Ann", "text": "Bye", "status": "solved", **about},
    ]


def _livechat(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    def event(action: str, payload: dict[str, Any]) -> dict[str, Any]:
        return {"webhook_id": "w", "secret_key": _SECRET, "action": action, "payload": payload}

    customer = {"id": "b5", "type": "customer", "session_fields": [{"clew_ref": token}]}
    first = {"id": "E1", "type": "message", "text": extra, "author_id": "b5", "created_at": _iso(now)}
    second = {"id": "E2", "type": "message", "text": command, "author_id": "ann@shop.example"}
    chat = {"id": "PJ0", "users": [customer], "thread": {"id": "T", "events": [first]}}
    return [
        event("incoming_chat", {"chat": chat}),
        event("incoming_event", {"chat_id": "PJ0", "event": second | {"created_at": _iso(now + 2)}}),
        event("chat_deactivated", {"chat_id": "PJ0"}),
    ]


def _jivochat(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    words = [
        {"message": extra, "timestamp": int(now), "type": "visitor"},
        {"message": command, "timestamp": int(now) + 1, "type": "agent", "agent_id": 1},
    ]
    about = {"chat_id": 7607, "widget_id": "3948", "user_token": token}
    return [
        {"event_name": "chat_accepted", **about, "agent": {"id": "1", "name": "Ann"}},
        {
            "event_name": "chat_finished",
            **about,
            "agents": [{"id": "1", "name": "Ann"}],
            "chat": {"messages": words, "blacklisted": False, "rate": None},
        },
    ]


def _rocketchat(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    about = {"_id": talk, "visitor": {"token": token}, "agent": {"username": "ann"}}
    first = {"_id": "m1", "username": "guest-1", "msg": extra, "ts": _iso(now)}
    second = {"_id": "m2", "username": "ann", "msg": command, "ts": _iso(now + 1), "agentId": "a"}
    return [
        {**about, "type": "LivechatSessionStart", "createdAt": _iso(now)},
        {**about, "type": "Message", "messages": [first]},
        {**about, "type": "Message", "messages": [second]},
        {**about, "type": "LivechatSession", "messages": [first, second]},
    ]


def _papercups(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    customer = {"external_id": token, "metadata": {}}
    about = {"conversation_id": talk, "customer": customer}
    first = {**about, "id": "m1", "body": extra, "sent_at": _iso(now), "user_id": None}
    second = {**about, "id": "m2", "body": command, "sent_at": _iso(now + 1), "user_id": 4}
    return [
        {"event": "message:created", "payload": first},
        {"event": "message:created", "payload": second},
        {"event": "conversation:updated", "payload": {"id": talk, "status": "closed"}},
    ]


def _tiledesk(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    request = {"participants": ["a1"], "attributes": {"clew_ref": token}}

    def message(name: str, who: str, text: str, at: float) -> dict[str, Any]:
        payload = {"_id": name, "sender": who, "senderFullname": "Ann", "recipient": talk, "text": text}
        payload |= {"createdAt": _iso(at), "request": request}
        return {"event": "message.create", "payload": payload}

    return [
        message("m1", "v1", extra, now),
        message("m2", "a1", command, now + 1),
        {"event": "request.close", "payload": {"request_id": talk, "closed_at": _iso(now + 2)}},
    ]


def _iadvize(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    about = {"conversationId": talk, "channel": "CHAT", "createdAt": _iso(now)}
    return [
        {"eventType": "v2.conversation.pushed", "operatorId": 15253, **about},
        {"eventType": "v2.conversation.closed", "operatorIds": [15253], **about},
    ]


def _hubspot(token: str, command: str, now: float, extra: str, talk: str) -> list[Any]:
    about = {"portalId": 1, "objectId": 3005, "occurredAt": int(now * 1000)}
    closed = {"propertyName": "status", "propertyValue": "CLOSED"}
    return [
        [{"subscriptionType": "conversation.creation", **about}],
        [{"subscriptionType": "conversation.propertyChange", **about, **closed}],
    ]


_TALKS: dict[str, Any] = {
    "crisp": _crisp,
    "chatwoot": _chatwoot,
    "tawk": _tawk,
    "intercom": _intercom,
    "freshchat": _freshchat,
    "smartsupp": _smartsupp,
    "trengo": _trengo,
    "zendesk_messaging": _own,
    "gorgias": _own,
    "livechat": _livechat,
    "jivochat": _jivochat,
    "rocketchat": _rocketchat,
    "papercups": _papercups,
    "tiledesk": _tiledesk,
    "iadvize": _iadvize,
    "hubspot": _hubspot,
}
