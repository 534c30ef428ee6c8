"""Strict validation of the CSS selectors in the settings.

Lexbor, which evaluates the selectors, is lenient: it closes open brackets and treats any word as an element
name, as the CSS syntax allows. It therefore accepts `#order[number` and `order number`, but neither matches
what was intended.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from selectolax.lexbor import LexborHTMLParser, SelectolaxError

SELECTOR: Final = 1_000
"""Maximum length of a selector, in characters."""

# HTML §4, the obsolete elements of §16.2, and the common elements of SVG 2 and MathML.
_NAMES: Final = """
    a abbr acronym address applet area article aside audio b base basefont bdi bdo bgsound big blink
    blockquote body br button canvas caption center cite code col colgroup data datalist dd del details
    dfn dialog dir div dl dt em embed fieldset figcaption figure font footer form frame frameset h1 h2
    h3 h4 h5 h6 head header hgroup hr html i iframe image img input ins kbd label legend li link listing
    main map mark marquee math menu meta meter nav nobr noembed noframes noscript object ol optgroup
    option output p param picture plaintext pre progress q rb rp rt rtc ruby s samp script search
    section select slot small source span strike strong style sub summary sup svg table tbody td
    template textarea tfoot th thead time title tr track tt u ul var video wbr xmp circle defs desc
    ellipse g line lineargradient path polygon polyline rect stop symbol text textpath tspan use mi mn
    mo mrow msub msup mtext
"""
_ELEMENTS: Final = frozenset(_NAMES.split())
_UNSUPPORTED: Final = "::pseudo-elements and :contains() are not supported"


def selector_error(selector: str) -> str | None:
    """What is wrong with a CSS selector from the settings, and where; None if it is valid."""
    if not selector.strip():
        return "the selector is empty"
    if len(selector) > SELECTOR:
        return f"the selector has {len(selector)} characters, at most {SELECTOR} are allowed"
    if not selector.isprintable():  # includes NUL and lone surrogates
        return "the selector contains a character that cannot be printed"
    if (error := _syntax_error(selector)) is not None:
        return error
    try:
        LexborHTMLParser("<p></p>").css(selector)
    except SelectolaxError:
        return f"{selector!r} cannot be used as a selector: {_UNSUPPORTED}"
    return None


def _syntax_error(selector: str) -> str | None:
    # Imported here: it loads BeautifulSoup, which no request needs.
    from soupsieve.css_parser import CSSParser
    from soupsieve.util import SelectorSyntaxError

    if re.search(r":(?:-soup-)?contains(?:-own)?\(", selector):
        return f"{selector!r} cannot be used as a selector: {_UNSUPPORTED}"
    try:
        parsed = CSSParser(selector).process_selectors()
    except SelectorSyntaxError as error:
        message = str(error).partition("\n")[0].partition(" at position")[0].partition(". If the")[0]
        column = f"column {error.col}: " if error.col else ""
        return f"{selector!r} is not a CSS selector: {column}{message[:1].lower()}{message[1:]}"
    except NotImplementedError:
        return f"{selector!r} cannot be used as a selector: {_UNSUPPORTED}"
    except RecursionError:
        return "the selector is nested too deeply"
    unknown = {name for name in _names(parsed) if name.lower() not in _ELEMENTS and "-" not in name}
    if not unknown:
        return None
    at, name = min(_located(selector, name) for name in unknown)
    hint = f"a class is written .{name}, an id #{name}"
    return f"{selector!r}: column {at + 1}: there is no element <{name}>; {hint}"


def _located(selector: str, name: str) -> tuple[int, str]:
    found = re.search(rf"(?<![\w#.:-]){re.escape(name)}", selector)
    return (found.start() if found else 0), name


def _names(selectors: Any) -> Iterator[str]:
    """The names of all elements in a parsed selector."""
    waiting = [selectors]
    while waiting:
        item = waiting.pop()
        for one in item:
            if (tag := getattr(one, "tag", None)) is not None and tag.name not in ("*", ""):
                yield tag.name
            waiting += [one.relation, *one.selectors] if hasattr(one, "relation") else []
