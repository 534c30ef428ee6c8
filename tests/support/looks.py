"""Pages to look at without a network."""

from clew.settings.model import PageType
from clew.survey.fetch import Answer
from clew.survey.look import Look


def look(
    body: str,
    url: str = "https://shop.example/",
    *headers: tuple[str, str],
    wanted: PageType = "home",
    status: int = 200,
    kind: str = "text/html; charset=utf-8",
) -> Look:
    """A page at an address, with further headers."""
    pairs = [(name.lower().encode(), value.encode()) for name, value in (("content-type", kind), *headers)]
    return Look(Answer(url, status, pairs, body.encode()), wanted)


def page(body: str = "", head: str = "") -> str:
    """A whole page."""
    return (
        f"<!doctype html><html lang='de-AT'><head><title>Shop</title>{head}</head><body>{body}</body></html>"
    )
