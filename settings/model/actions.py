"""What a rule does: its action, what an invite says, and who says it: see docs/rules.md."""

import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from .base import Language, Model

Action = Literal["show", "invite", "open", "callback", "number", "hide", "nothing"]
INVITING: Final = frozenset({"invite", "open", "callback", "number"})
"""Actions that invite: limits, the hold-out and experiments are for them."""

PICTURE: Final = r"""^(https://|/[^/])[^\s"'<>\\]*$"""
Texts = str | dict[Language, str]
"""A text, or one for each language."""


def _phone(value: str) -> str:
    digits = re.sub(r"[ ()/.\u00a0-]", "", value)
    if not re.fullmatch(r"\+[1-9][0-9]{5,14}", digits):
        raise ValueError('not a phone number with its country code; write for example "+49 30 1234567"')
    return digits


PhoneNumber = Annotated[str, Field(max_length=40), AfterValidator(_phone)]
"""A phone number as E.164, however it is written."""


def _source(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise ValueError('not a URL to call; write for example "https://texts.example/invite"')
    return value


class TextSource(Model):
    """A service that writes the text of an invite. It is told the facts that `facts` names, and no others."""

    url: Annotated[str, Field(max_length=500), AfterValidator(_source)] = Field(
        description="The URL that gets a POST with the rule, the language and the facts, as JSON."
    )
    facts: list[Annotated[str, Field(pattern=r"^[a-z]+\.[a-z][a-z0-9_]{0,40}$")]] = Field(
        [], max_length=20, description="The facts that the service is told, such as product.name."
    )
    secret: SecretStr | None = Field(
        None, description="The secret by which calls are signed, as Standard Webhooks do: whsec_ and base64."
    )
    timeout_ms: int = Field(
        300, ge=50, le=2000, description="Milliseconds that an answer to the page waits for the text."
    )
    cache_seconds: int = Field(
        300, ge=1, le=86400, description="For how long a text is used for the same facts and language."
    )
    allow_private: bool = Field(
        False, description="Whether the host may resolve to an address of a private network."
    )


def _short(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


TextFrom = Annotated[TextSource, BeforeValidator(_short)]
"""A URL, or a table with one."""


class Persona(Model):
    """Who invites: a name and a picture, until an agent answers."""

    name: Texts = Field(description="The name that visitors read, or one for each language.")
    picture: str | None = Field(
        None,
        max_length=500,
        pattern=PICTURE,
        description="A square picture: a path of the shop or an https URL.",
    )


class Phone(Model):
    """The phone number that rules show."""

    number: PhoneNumber | None = Field(None, description="The shop's number, with its country code.")


class ActionTerms(Model):
    """What an invite says, and what it offers besides a talk."""

    action: Action = Field(description="What the rule does.")
    text: Texts | None = Field(
        None, description="What the invite says, or a text for each language; may have {placeholders}."
    )
    text_plain: Texts | None = Field(
        None, description="What it says where a placeholder of `text` has no value: a text without gaps."
    )
    text_from: TextFrom | None = Field(
        None, description="A service that writes the text; `text` is said where it does not answer in time."
    )
    keywords: list[Annotated[str, Field(min_length=1, max_length=60)]] = Field(
        [], max_length=200, description="The search words that {keyword} and {search} may say, no others."
    )
    question: bool = Field(True, description="Whether the invite has a field for a question.")
    department: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="The department that conversations from this invite belong to.",
    )
    persona: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Who invites, one of the site's personas."
    )
    offer: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="The coupon whose code visitors get who ask for it in the invite.",
    )
    offer_out: Literal["nothing", "invite"] = Field(
        "nothing", description="What happens when no code is left: no invite, or one without the offer."
    )
    number: PhoneNumber | None = Field(
        None, description="The number that action = number shows, if not that of the site."
    )
    closed: Literal["callback", "nothing"] | None = Field(
        None, description="What action = number does outside of the office hours."
    )

    @property
    def invites(self) -> bool:
        """Whether the action is an invite."""
        return self.action in INVITING

    def all_texts(self) -> list[Any]:
        """All texts that it can say, but those of variants."""
        return [text for text in (self.text, self.text_plain) if text is not None]


def spoken(texts: Texts) -> list[str]:
    """The texts in all languages."""
    return [texts] if isinstance(texts, str) else list(texts.values())
