"""The response of a decision, made of parts that are rendered once for each rule and language."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ..settings.model import Rule, Site
from ..templates import language as language_of
from ..templates import text

_json = msgspec.json.Encoder().encode


class Answers:
    """The answers of one site. A part that does not depend on the visitor is rendered when first needed."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._parts: dict[tuple[str | None, str], bytes] = {}

    def language(self, tag: str, accepted: str = "") -> str:
        """The language of the answer for a page in a language (a BCP 47 tag) and a browser that accepts some
        (the Accept-Language header)."""
        return language_of(tag, accepted, self._site.language)

    def body(
        self,
        rule: Rule | None,
        language: str,
        *,
        retry_after: float | None,
        conversation: bool,
        unread: int,
        online: bool,
        back: float | None = None,
        order: list[str] | None = None,
        consent: Mapping[str, object] | None = None,
        carry: Mapping[str, str] | None = None,
        checkout: list[str] | None = None,
        chat: Mapping[str, object] | None = None,
    ) -> bytes:
        """A whole answer as JSON. `retry_after` is in seconds. `order` are the selectors of an order that the
        browser should read, None for none. `consent` is the visitor's consent for the loader, None if the
        site does not ask for it. `carry` is the visitor's token and the cart that gets it, `checkout` are the
        hosts to which links get one. `chat` is what the provider's chat gets, None at a site that uses clew's
        own. `back` is when the office hours begin, in unix seconds, None if somebody is there."""
        part = self._parts.get((rule.name if rule is not None else None, language))
        if part is None:
            part = self._part(rule, language)
        optional = b"" if order is None else b',"order":' + _json(order)
        if back is not None:
            optional += b',"back":' + _json(back)
        if consent is not None:
            optional += b',"consent":' + _json(consent)
        if carry is not None:
            optional += b',"carry":' + _json(carry)
        if checkout is not None:
            optional += b',"checkout":' + _json(checkout)
        if chat is not None:
            optional += b',"chat":' + _json(chat)
        return b'%b,"retry_after":%b,"conversation":%b,"unread":%d,"online":%b%b}' % (
            part,
            b"null" if retry_after is None else _json(retry_after),
            b"true" if conversation else b"false",
            unread,
            b"true" if online else b"false",
            optional,
        )

    def _part(self, rule: Rule | None, language: str) -> bytes:
        widget = self._site.widget
        name = rule.name if rule is not None else None
        data: dict[str, object] = {
            "action": self.action(rule),
            "rule": name,
            "language": language,
            "invite": _invite(rule, language),
            "widget": {
                "color": widget.color,
                "side": widget.side,
                "title": localised(widget.title, language),
            },
        }
        if self._site.chat.typing_preview:
            data["typing_preview"] = True
        part = self._parts[name, language] = _json(data)[:-1]
        return part

    def action(self, rule: Rule | None) -> str:
        """The action of a rule; for None the action if no rule applies."""
        return rule.action if rule is not None else self._site.widget.default


def _invite(rule: Rule | None, language: str) -> dict[str, Any] | None:
    if rule is None or rule.action != "invite":
        return None
    words = localised(rule.text, language) or text(language, "invite")
    return {"rule": rule.name, "text": words, "question": rule.question}


def localised(texts: str | dict[Any, str] | None, language: str) -> str | None:
    """A text of the settings in the language, else in English, else in the first language."""
    if texts is None or isinstance(texts, str):
        return texts
    return texts.get(language) or texts.get("en") or next(iter(texts.values()), None)
