"""The callback form for visitors, which needs no JavaScript."""

from collections.abc import Sequence
from datetime import UTC, datetime

from babel.dates import format_date, format_time
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...service.callbacks import TOPIC, TYPED, PhoneError, Wish, slots
from ...service.phone_numbers import shown_number
from ...settings.model import Callback
from ...templates import phone_label
from ..context import RequestContext
from ..guard import Refused, form_body
from ..visitor import writer
from .ask import for_visitor, language_of, shown


def _terms(at: RequestContext) -> Callback:
    if (terms := at.site.settings.callback) is None:
        raise Refused(404, "this site calls nobody back")
    return terms


def _times(request: Request, at: RequestContext) -> Sequence[tuple[int, str]]:
    """The times to choose from, each with its text, in the time zone of the office hours."""
    language, zone = language_of(request, at), at.site.hours.zone
    found = []
    for begin, end in slots(at.site.hours, at.service.clock.now()):
        first, last = (datetime.fromtimestamp(one, UTC).astimezone(zone) for one in (begin, end))
        day = format_date(first, "EEE d MMM", locale=language)
        hours = [format_time(one, "short", locale=language) for one in (first, last)]
        found.append((begin, f"{day}, {hours[0]} – {hours[1]}"))
    return found


def _form(request: Request, at: RequestContext, status: int = 200, **given: object) -> Response:
    values: dict[str, object] = {
        "problem": "",
        "wrong": "",
        "done": "",
        "phone": "",
        "topic": "",
        "wished": "",
    }
    zone = at.site.hours.zone.key
    cookie = given.pop("headers", None)
    assert cookie is None or isinstance(cookie, dict)
    times = _times(request, at)
    label = phone_label(one_country=_terms(at).country is not None)
    shown_values = {**values, "times": times, "zone": zone, "most": TOPIC, "label": label, **given}
    return shown(request, at, "callback.html", status, cookie, **shown_values)


@for_visitor("problem.html")
async def form(request: Request, at: RequestContext) -> Response:
    """The form."""
    _terms(at)
    at.take("reads")
    return _form(request, at)


@for_visitor("problem.html")
async def ask(request: Request, at: RequestContext) -> Response:
    """A visitor wants to be called."""
    terms, fields = _terms(at), await form_body(request)
    typed, topic = fields.get("phone", "").strip(), fields.get("topic", "").strip()[:TOPIC]
    wished = fields.get("at", "")
    moment = int(wished) if wished.isascii() and wished.isdecimal() and len(wished) < 12 else None
    known, cookie, _ = await writer(request, at, by_form=True)
    trap = fields.get("website", "").strip()
    wish = Wish(typed, _one_line(topic), language_of(request, at), moment, trap)
    try:
        phone = await at.service.callbacks.ask(at.site, terms, known, wish, at.origin.client)
    except PhoneError:
        return _form(request, at, 422, wrong="phone", phone=typed[:TYPED], topic=topic, wished=wished)
    return _form(request, at, headers=cookie, done=shown_number(phone))


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


routes: list[BaseRoute] = [
    Route("/callback", form, methods=["GET"]),
    Route("/callback", ask, methods=["POST"]),
]
