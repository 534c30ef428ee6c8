"""The response of a decision, made of parts that are rendered once for each rule and language."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from ..rules.placeholders import filled
from ..settings.model import PageType, Persona, Rule, Site
from ..settings.model.chat import Widget
from ..templates import language as language_of
from ..templates import text
from .phone_numbers import shown_number

# Rendered parts that are kept for a site: 10,000 rules in 30 languages would take 150 MB.
PARTS = 4096
NO_VALUES: Final[Mapping[str, str]] = {}
_json = msgspec.json.Encoder().encode


class Said(Struct, frozen=True):
    """What of an invite depends on the visitor or the time: its text, whether the chat opens by itself,
    whether a number is answered now, and whether there is a code for its offer. `own`: the text is not the
    same for everybody."""

    text: str
    own: bool = False
    opens: bool = False
    answered: bool = True
    offered: bool = True


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
        said: Said | None = None,
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
        """A whole answer as JSON, for a `page` of a type. `variant` names one of the rule's texts,
        `said` is what of its invite is the visitor's own.
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
            part = self._part(rule, language, page, variant, own=said is not None)
        optional = b"" if order is None else b',"order":' + _json(order)
        if said is not None:
            optional += b',"invite":' + _json(_invite(self._site, rule, language, variant, said))
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

    def _part(
        self, rule: Rule | None, language: str, page: PageType | None, variant: str | None, *, own: bool
    ) -> bytes:
        """What is the same for all; `own`: the invite is not, and is left out."""
        widget = self._site.widget
        name = rule.name if rule is not None else None
        data: dict[str, object] = {
            "action": self.action(rule),
            "rule": name,
            "language": language,
            "widget": {**_look(widget, language, page), "mails": self._mails},
        }
        if not own:
            data["invite"] = _invite(self._site, rule, language, variant, None)
        if self._site.chat.typing_preview:
            data["typing_preview"] = True
        if len(self._parts) >= PARTS:
            self._parts.clear()
        part = self._parts[name, language, page, variant] = _json(data)[:-1]
        return part

    def action(self, rule: Rule | None) -> str:
        """What the widget does: show, hide or invite. Where no rule acts, or one that does nothing, it is the
        site's default."""
        if rule is None or rule.action == "nothing":
            return self._site.widget.default
        return "invite" if rule.invites else rule.action


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


def _invite(site: Site, rule: Rule | None, language: str, variant: str | None, said: Said | None) -> Any:
    if rule is None or not rule.invites:
        return None
    said = said or Said(invite_text(rule, variant, language) or text(language, "invite"))
    more = dict(_more(site, rule, language, said))
    # The field is for questions: the other kinds have one of their own, or none.
    question = rule.question and rule.action in ("invite", "open")
    invite = {"rule": rule.name, "text": said.text, "question": question}
    return {**invite, "more": more} if more else invite


def _more(site: Site, rule: Rule, language: str, said: Said) -> Iterator[tuple[str, Any]]:
    """What few invites have. The widget loads what it needs for it."""
    if (persona := persona_of(site, rule)) is not None:
        yield "persona", shown_persona(persona, language)
    if said.opens:
        yield "open", True
    if rule.action == "callback" or (rule.action == "number" and not said.answered):
        yield "callback", True
    elif rule.action == "number" and (number := rule.number or site.phone.number) is not None:
        yield "number", {"tel": number, "shown": shown_number(number)}
    if rule.offer is not None and said.offered:
        label = next((c.label for c in site.offers.coupons if c.name == rule.offer), "")
        yield "offer", label


def persona_of(site: Site, rule: Rule) -> Persona | None:
    """Who invites: the rule's persona, else the site's."""
    name = rule.persona or site.invites.persona
    return None if name is None else site.personas.get(name)


def shown_persona(persona: Persona, language: str) -> dict[str, str | None]:
    """A persona for the widget."""
    return {"name": localised(persona.name, language) or "", "picture": persona.picture}


def invite_text(
    rule: Rule, variant: str | None, language: str, values: Mapping[str, str] = NO_VALUES
) -> str | None:
    """The text of an invite: that of a variant, else of the first one, else the rule's, else `text_plain`
    where a placeholder has no value. None: clew's own is to be said."""
    first = rule.variants[0] if rule.variants else None
    chosen = next((one for one in rule.variants if one.name == variant), first)
    for texts in (chosen.text if chosen else rule.text, rule.text_plain):
        written = localised(texts, language)
        if written and (said := filled(written, values)):
            return said
    return None


def localised(texts: str | dict[Any, str] | None, language: str) -> str | None:
    """A text of the settings in the language, else in English, else in the first language."""
    if texts is None or isinstance(texts, str):
        return texts
    return texts.get(language) or texts.get("en") or next(iter(texts.values()), None)
