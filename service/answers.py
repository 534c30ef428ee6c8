"""The response of a decision, made of parts that are rendered once for each rule and language."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..settings.model import PageType, Rule, Site
from ..settings.model.chat import Widget
from ..templates import language as language_of
from ..templates import text

_json = msgspec.json.Encoder().encode


class Answers:
    """The answers of one site. `mails` is whether a mail server takes agents' answers. A part that does not
    depend on the visitor is rendered when first needed."""

    def __init__(self, site: Site, mails: bool = False) -> None:
        self._mails = mails
        self._site = site
        self._parts: dict[tuple[str | None, str, PageType | None, str | None], bytes] = {}

    def language(self, tag: str, accepted: str = "") -> str:
        """The language of the answer for a page in a language (a BCP 47 tag) and a browser that accepts some
        (the Accept-Language header)."""
        return language_of(tag, accepted, self._site.language)

    def body(
        self,
        rule: Rule | None,
        language: str,
        page: PageType | None,
        *,
        variant: str | None = None,
        retry_after: float | None,
        watch: Sequence[str] = (),
        withdrawn: Sequence[str] = (),
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
        """A whole answer as JSON, for a `page` of a type. `variant` names one of the rule's texts.
        `retry_after` is in seconds. `watch` are the signals that the browser should tell, `withdrawn` the
        events that have ended invites in the visit. `order` are the
        selectors of an order that the browser should read, None for none. `consent` is the visitor's consent
        for the loader, None if the site does not ask for it. `carry` is the visitor's token and the cart that
        gets it, `checkout` are the hosts to which links get one. `chat` is what the provider's chat gets,
        None at a site that uses clew's own. `back` is when the office hours begin, in unix seconds, None if
        somebody is there."""
        # Only pages on which the chat is elsewhere have an answer of their own.
        page = page if page in self._site.widget.pages else None
        part = self._parts.get((rule.name if rule is not None else None, language, page, variant))
        if part is None:
            part = self._part(rule, language, page, variant)
        optional = b"" if order is None else b',"order":' + _json(order)
        if withdrawn:
            optional += b',"withdrawn":' + _json(withdrawn)
        if watch:
            optional += b',"watch":' + _json(watch)
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

    def _part(self, rule: Rule | None, language: str, page: PageType | None, variant: str | None) -> bytes:
        widget = self._site.widget
        name = rule.name if rule is not None else None
        data: dict[str, object] = {
            "action": self.action(rule),
            "rule": name,
            "language": language,
            "invite": _invite(rule, language, variant),
            "widget": {**_look(widget, language, page), "mails": self._mails},
        }
        if self._site.chat.typing_preview:
            data["typing_preview"] = True
        part = self._parts[name, language, page, variant] = _json(data)[:-1]
        return part

    def action(self, rule: Rule | None) -> str:
        """The action of a rule; for None the action if no rule applies."""
        return rule.action if rule is not None else self._site.widget.default


def _look(widget: Widget, language: str, page: PageType | None) -> dict[str, Any]:
    """What the widget gets of its settings. Texts that are not set are in the widget."""
    place = None if page is None else widget.pages.get(page)
    look: dict[str, Any] = {
        "color": widget.color,
        "scheme": widget.scheme,
        "side": (place and place.side) or widget.side,
        "offset": widget.offset if place is None or place.offset is None else place.offset,
        "title": localised(widget.title, language),
        "avatar": widget.avatar,
        "sound": widget.sound,
    }
    if widget.texts:
        look["texts"] = {key: localised(text, language) for key, text in widget.texts.items()}
    return look


def _invite(rule: Rule | None, language: str, variant: str | None) -> dict[str, Any] | None:
    if rule is None or rule.action != "invite":
        return None
    return {"rule": rule.name, "text": invite_text(rule, variant, language), "question": rule.question}


def invite_text(rule: Rule, variant: str | None, language: str) -> str:
    """The text of an invite: that of a variant, else of the first one, else the rule's, else clew's own."""
    first = rule.variants[0] if rule.variants else None
    chosen = next((one for one in rule.variants if one.name == variant), first)
    return localised(chosen.text if chosen else rule.text, language) or text(language, "invite")


def localised(texts: str | dict[Any, str] | None, language: str) -> str | None:
    """A text of the settings in the language, else in English, else in the first language."""
    if texts is None or isinstance(texts, str):
        return texts
    return texts.get(language) or texts.get("en") or next(iter(texts.values()), None)
