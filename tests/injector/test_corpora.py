"""Every page that the installed packages bring along: admin pages, mails, error pages, templates full of
braces. Templates of a part of a page are tried as they are, which is no page, and behind a head."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import lolhtml
import pytest
from clew.injector.codings import PREFERENCE, decoder, encoder
from clew.injector.edit import PageEdit
from clew.injector.tag import tag

TAG = tag("/-/clew/")
CHUNKS = (1, 2, 3, 7, 4096)
HEAD = b"\n<!-- page --><!DOCTYPE html>\n<html lang=en data-page='<head>'>\n<head>"
PACKAGES = ("django", "oscar", "django_tables2", "treebeard", "playwright")


@cache
def pages() -> dict[str, bytes]:
    """The pages by the path in their package, each content once."""
    found: dict[bytes, str] = {}
    for name in PACKAGES:
        spec = find_spec(name)
        assert spec is not None
        assert spec.submodule_search_locations
        root = Path(spec.submodule_search_locations[0])
        for path in sorted(root.rglob("*.htm*")):
            if path.suffix in (".html", ".htm"):
                part = path.read_bytes()
                found.setdefault(part, f"{name}/{path.relative_to(root)}")
                found.setdefault(HEAD + part, f"{name}/{path.relative_to(root)} behind a head")
    return {name: page for page, name in found.items()}


def sent(page: bytes, size: int, coding_in: str = "identity", coding_out: str = "identity") -> bytes:
    chunks = [page[at : at + size] for at in range(0, len(page), size)] or [b""]
    if coding_in != "identity":
        packer = encoder(coding_in)
        chunks = [*map(packer.encode, chunks), packer.finish()]
    edit = PageEdit(TAG, coding_in, coding_out)
    body = b"".join([*map(edit.feed, chunks), edit.end()])
    coding = coding_out if edit.verdict == "edit" else coding_in
    if coding == "identity":
        return body
    unpacker = decoder(coding)
    plain = b"".join(unpacker.decode(body))
    assert unpacker.complete
    return plain


def test_the_search_has_candidates() -> None:
    tagged = [page for page in pages().values() if TAG in sent(page, len(page) or 1)]
    assert len(pages()) > 500
    assert len(tagged) > 250


def test_each_page_is_its_own_bytes_and_at_most_one_tag_for_every_chunk_size() -> None:
    """injection 4.10, 10."""
    for name, page in pages().items():
        whole = sent(page, len(page) or 1)
        assert whole.count(TAG) <= 1, name
        assert whole.replace(TAG, b"") == page, name
        for size in CHUNKS:
            assert sent(page, size) == whole, f"{name}: chunks of {size} bytes change the page"


@pytest.mark.parametrize("coding", PREFERENCE)
def test_each_page_is_the_same_with_and_without_a_coding(coding: str) -> None:
    """injection 4.1, 4.10."""
    for name, page in pages().items():
        assert sent(page, 4096, coding, coding) == sent(page, 4096), name


class FirstHead:
    """A handler of lol-html that puts the tag into the first `head` element."""

    def __init__(self) -> None:
        self.seen = False

    def element(self, element: lolhtml.Element) -> None:
        if not self.seen:
            element.prepend(TAG.decode(), lolhtml.ContentType.HTML)
        self.seen = True


def test_the_tag_stands_where_lol_html_would_put_it() -> None:
    """injection 1.12, 1.13."""
    compared = 0
    for name, page in pages().items():
        ours = sent(page, len(page) or 1)
        place = ours.find(TAG)
        if place < 0 or not page[:place].rstrip().lower().endswith(b"<head>"):
            continue
        out: list[bytes] = []
        rewriter = lolhtml.HTMLRewriter(lambda chunk, out=out: out.append(bytes(chunk)))
        rewriter.on("head", FirstHead())
        rewriter.write(page)
        rewriter.end()
        assert b"".join(out) == ours, name
        compared += 1
    assert compared > 200
