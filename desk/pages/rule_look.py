"""What an invite of a rule looks like to visitors: the site's colours, and what stands in its bubble."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from starlette.responses import Response

from ...service.answers import localised, persona_of
from ...service.phone_numbers import shown_number
from ...settings.model import Rule, Site
from ...settings.model.chat import Widget
from ...templates import text

Scheme = Literal["light", "dark"]


@dataclass(frozen=True, slots=True)
class Look:
    """A bubble: what its text is called, the text and its language, who invites, and how it is answered: by
    a field with these words in it, or else by a button with these."""

    name: str
    language: str
    text: str
    persona: str
    field: str
    button: str


def looks_of(site: Site, rule: Rule, language: str) -> Sequence[Look]:
    """The texts of an invite as they are written, each as it is shown."""
    own = text(language, "invite")
    if rule.variants:
        texts = [(one.name, language, localised(one.text, language) or own) for one in rule.variants]
    elif isinstance(rule.text, dict):
        texts = [(code, code, written) for code, written in rule.text.items()]
    else:
        texts = [("", language, rule.text or own)]
    return [_look(site, rule, *one) for one in texts]


def _look(site: Site, rule: Rule, name: str, language: str, written: str) -> Look:
    persona, field, button = persona_of(site, rule), "", ""
    number = rule.number or site.phone.number
    if rule.action == "number" and number is not None:
        button = shown_number(number)
    elif rule.action in ("callback", "number"):
        field = text(language, "phone")
    elif rule.question:
        field = text(language, "question")
    else:
        button = text(language, "start")
    who = "" if persona is None else localised(persona.name, language) or ""
    return Look(name, language, written, who, field, button)


def schemes_of(widget: Widget) -> Sequence[Scheme]:
    """In which of its two looks the widget is on pages of the shop: in both if it is as the page is."""
    return ("light", "dark") if widget.scheme == "page" else (widget.scheme,)


def colours_of(widget: Widget) -> str:
    """The style sheet with the site's colour, and black or white on it, whichever has more contrast: as
    `templates/widget/theme.js` has it (WCAG 2.2, contrast ratio)."""
    parts = [int(widget.color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    ink = "#ffffff" if 1.05 / (light + 0.05) >= 4.5 else "#000000"
    return f".bubble {{ --fill: {widget.color}; --on-fill: {ink}; }}"


def allow_style(page: Response, style: str) -> None:
    """Let the page have this style sheet (CSP3 §2.3.1: a hash of what the element has in it)."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = page.headers["Content-Security-Policy"]
    page.headers["Content-Security-Policy"] = policy.replace("style-src ", f"style-src 'sha256-{digest}' ")
