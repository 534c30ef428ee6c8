"""Makes the copy of a page harmless, in a process of its own: `python -I page_copy.py OPTIONS`, from
standard input to standard output. OPTIONS is JSON with `base`, the page's address, `mask`, selectors of what
nobody may read, and `most`, bytes of the result.

What is typed into fields is masked, and so is what `data-clew-mask` and the selectors name. Then everything
is taken out that could run, send, load a page or lead to one; ammonia decides, which keeps only what is
listed. The result is shown without scripts, at an origin of its own and under a policy, so that nothing
depends on this alone. It runs apart, with limits of its own, because strangers write what it parses. Imports
nothing of clew.

Exit codes: 0, 3 for what cannot be read or gets too long.
"""

import json
import resource
import sys
from html import escape

UNREADABLE = 3
SECONDS = 4
MEMORY = 1024 * 2**20
MASK = "•••"
BLANK = "***"

# Beside what ammonia removes with all that is in it.
REMOVED = (
    "script,noscript,template,iframe,frame,frameset,object,embed,applet,portal,audio,video,canvas,svg,math,base,"
    "meta,title,dialog:not([open]),[hidden],link:not([rel=stylesheet]),clew-chat"
)
FIELDS = "input,textarea,select,[contenteditable]"
BUTTONS = ("submit", "button", "reset", "checkbox", "radio", "image", "hidden")
_TAGS = """
a abbr address article aside b bdi bdo blockquote br button caption center cite code col colgroup data dd
del details dfn div dl dt em fieldset figcaption figure footer h1 h2 h3 h4 h5 h6 header hgroup hr i img
input ins kbd label legend li link main mark nav ol option p picture pre q s samp section select small
source span strong style sub summary sup table tbody td textarea tfoot th thead time tr u ul var wbr
"""
TAGS = frozenset(_TAGS.split())
ATTRIBUTES = {
    "*": {
        "class",
        "id",
        "style",
        "dir",
        "lang",
        "role",
        "title",
        "width",
        "height",
        "align",
        "hidden",
        "open",
    },
    "img": {"src", "srcset", "sizes", "alt"},
    "source": {"srcset", "sizes", "media", "type"},
    "link": {"href", "media"},
    "style": {"media"},
    "input": {"value", "checked", "disabled"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
    "ol": {"start", "reversed"},
    "li": {"value"},
}


def copy(html: str, base: str, mask: list[str]) -> str:
    """The page as it may be shown."""
    import nh3
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(html)
    for node in tree.css(REMOVED):
        node.decompose()
    for selector in ("[data-clew-mask]", *mask):
        for node in tree.css(selector):
            node.inner_html = MASK
    for node in tree.css(FIELDS):
        _blank(node)
    frames = [_attributes(node) for node in (tree.root, tree.body)]
    clean = nh3.clean(
        tree.html or "",
        tags=set(TAGS),
        clean_content_tags={"script", "noscript", "template", "iframe", "object"},
        attributes=ATTRIBUTES,
        tag_attribute_values={
            "link": {"rel": {"stylesheet"}},
            "input": {"type": {"text", "checkbox", "radio", "submit", "button", "reset", "search"}},
        },
        url_schemes={"http", "https"},
        link_rel=None,
        strip_comments=True,
    )
    return (
        f'<!doctype html><html{frames[0]}><head><meta charset=utf-8><base href="{escape(base)}"></head>'
        f"<body{frames[1]}>{clean}</body></html>"
    )


def _blank(node) -> None:  # type: ignore[no-untyped-def] # selectolax is imported late
    """Mask what a field holds."""
    attributes = node.attributes
    if node.tag == "input":
        kind = (attributes.get("type") or "text").lower()
        if kind not in BUTTONS:
            node.attrs["type"] = "text"
            if attributes.get("value"):
                node.attrs["value"] = BLANK
        elif kind in ("hidden", "image", "checkbox", "radio"):
            if "value" in attributes:
                del node.attrs["value"]
            if "checked" in attributes:
                del node.attrs["checked"]
    elif node.tag == "select":
        node.inner_html = f"<option>{BLANK}</option>"
    elif node.text().strip():
        node.inner_html = BLANK


def _attributes(node) -> str:  # type: ignore[no-untyped-def]
    """What style sheets ask of the elements that ammonia has no place for."""
    if node is None:
        return ""
    names = ("class", "id", "lang", "dir", "style")
    found = [(name, node.attributes.get(name)) for name in names]
    return "".join(f' {name}="{escape(value)}"' for name, value in found if value)


def main(options: str) -> int:
    """Read, make harmless, write."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    given = json.loads(options)
    try:
        html = sys.stdin.buffer.read().decode("utf-8", "replace").replace("\0", "")
        made = copy(html, given["base"], given["mask"]).encode("utf-8", "replace")
    except (ValueError, RecursionError, MemoryError):
        return UNREADABLE
    if len(made) > given["most"]:
        return UNREADABLE
    sys.stdout.buffer.write(made)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
