"""The copy of a visitor's page: nothing in it can run, send or lead anywhere, and what is typed is masked."""

import json
import re
import subprocess
import sys
from pathlib import Path

import html5lib
import pytest
from clew.chat import page_copy
from hypothesis import given
from hypothesis import strategies as st

BASE = "https://shop.test/pots/"
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
    '<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">',
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    '<math><annotation-xml encoding="text/html"><style><img title="</style><img src onerror=alert(1)>">',
    "<template><img src=x onerror=alert(1)></template>",
    "<select><template><style></select><img src=x onerror=alert(1)></style></template></select>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe><object data=x></object><embed src=x>",
    "<base href=//evil.test><meta http-equiv=refresh content='0;url=//evil.test'>",
    "<a href=javascript:alert(1)>x</a><a href=https://evil.test>y</a><area href=x>",
    "<form action=//evil.test><button formaction=//evil.test>go</button></form>",
    "<link rel=import href=//evil.test><link rel=preload as=script href=//evil.test>",
    "<xmp><img src=x onerror=alert(1)></xmp><plaintext><img src=x onerror=alert(1)>",
    "<style></style><script>alert(1)</script></style>",
    "<details open ontoggle=alert(1)>",
    "<html onload=alert(1)><body onpageshow=alert(1) background=javascript:alert(1)>",
    "<html class='\"><script>alert(1)</script>'><body id='\"onload=\"alert(1)'>",
    "<div data-clew-mask><img src=x onerror=alert(1)></div>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[><img src=x onerror=alert(1)>]]>",
    "\x00<scr\x00ipt>alert(1)</scr\x00ipt>",
)
HARMFUL_TAGS = re.compile(
    "script|iframe|frame|object|embed|applet|form|base|meta|svg|math|template|noscript|audio|video|portal"
)


def harm(made: str) -> list[str]:
    """What a browser would make of it that could do something."""
    found = []
    tree = html5lib.parse(made, namespaceHTMLElements=False)
    for node in tree.iter():
        tag = node.tag if isinstance(node.tag, str) else "comment"
        if HARMFUL_TAGS.fullmatch(tag) and not (
            tag in ("meta", "base") and node in list(tree.find("head"))[:2]
        ):
            found.append(tag)
        for name, value in node.attrib.items():
            named = name if isinstance(name, str) else name[1]
            scripted = value.strip().lower().startswith(("javascript:", "data:", "vbscript:"))
            leads = named == "href" and tag not in ("link", "base")
            if (
                named.startswith("on")
                or scripted
                or leads
                or named in ("action", "formaction", "srcdoc", "ping")
            ):
                found.append(f"{tag} {named}={value}")
        if tag == "link" and node.attrib.get("rel") != "stylesheet":
            found.append(f"link {node.attrib}")
    return found


@pytest.mark.parametrize("page", HOSTILE)
def test_nothing_is_left_that_could_do_something(page: str) -> None:
    assert harm(page_copy.copy(f"<p>before</p>{page}<p>after</p>".replace("\0", ""), BASE, [])) == []


@given(
    st.lists(
        st.sampled_from(
            [*HOSTILE, "<p>", "</p>", "<table>", "<td>", "</table>", "<style>", "</style>", "'\">"]
        )
    )
)
def test_nothing_is_left_of_their_mixtures(parts: list[str]) -> None:
    assert harm(page_copy.copy("".join(parts).replace("\0", ""), BASE, [])) == []


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_is_a_page(text: str) -> None:
    assert harm(page_copy.copy(text, BASE, [])) == []


def test_what_is_typed_and_what_is_named_is_masked() -> None:
    made = page_copy.copy(
        "<input name=card value=4111111111111111><input type=hidden value=token-77>"
        "<input type=password value=pw-1>"
        "<input type=checkbox value=yes-9 checked><textarea>my secret note</textarea>"
        "<select><option selected>Elm Street 5</select><div contenteditable>draft letter</div>"
        "<p data-clew-mask>Anna <b>Smith</b></p><p class=balance>1,234 EUR</p>"
        "<input type=submit value='Buy now'>",
        BASE,
        [".balance"],
    )
    for secret in (
        "4111",
        "token-77",
        "pw-1",
        "yes-9",
        "checked",
        "secret",
        "Elm",
        "draft",
        "Anna",
        "Smith",
        "1,234",
    ):
        assert secret not in made, secret
    assert "Buy now" in made
    assert made.count("•••") == 2


def test_the_look_of_the_page_stays() -> None:
    made = page_copy.copy(
        "<html lang=de class='wide dark'><head><link rel=stylesheet href=/shop.css>"
        "<style>p{color:red}</style></head>"
        "<body id=home><p class=lead style='margin:0'>Hello</p>"
        "<img src=/pot.png srcset='/pot2.png 2x' alt=Pot>",
        BASE,
        [],
    )
    for kept in (
        '<html class="wide dark" lang="de">',
        '<base href="https://shop.test/pots/">',
        'href="/shop.css"',
        "p{color:red}",
        '<body id="home">',
        'class="lead"',
        'src="/pot.png"',
    ):
        assert kept in made, kept


def ran(page: bytes, **options: object) -> subprocess.CompletedProcess[bytes]:
    given = json.dumps({"base": BASE, "mask": [], "most": 2_000_000, **options})
    maker = str(Path(page_copy.__file__))
    return subprocess.run([sys.executable, "-I", maker, given], input=page, capture_output=True, check=False)


@pytest.mark.parametrize(
    "page",
    [
        b"\xff\xfe<\x00s\x00c\x00r\x00i\x00p\x00t\x00>\x00",
        b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
        b"\x1b$B<script>alert(1)</script>",
        b"<meta charset=utf-7>+ADw-script+AD4-",
        b"\xc0\xbcscript\xc0\xbe\xed\xa0\x80",
    ],
)
def test_it_is_utf_8_whatever_it_pretends_to_be(page: bytes) -> None:
    made = ran(page)
    assert made.returncode == 0
    text = made.stdout.decode("utf-8")
    assert harm(text) == []
    assert text.startswith("<!doctype html><html><head><meta charset=utf-8>")


def test_what_gets_too_long_or_takes_too_long_ends() -> None:
    assert ran(b"<p>hello</p>" * 10_000, most=1000).returncode == page_copy.UNREADABLE
    assert ran(b"<div>" * 1_000_000).returncode != 0


def test_a_page_of_five_megabytes_is_read_or_refused_without_harm() -> None:
    made = ran(b"<div class=a><p>hello <b>x</b></p></div>" * 130_000, most=8_000_000)
    assert made.returncode in (0, page_copy.UNREADABLE, -24, -9)
