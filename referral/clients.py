"""Whether a click's client is a person's browser, as far as the request says so (`clients.toml`)."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

AGENT_LENGTH: Final = 512  # bytes of User-Agent that are read

# "Cubot" makes phones, whose browsers have its name in User-Agent.
_WORDS: Final = re.compile(r"(?<!cu)bot(?![a-z])|crawl|spider|scraper")
_PERSONS: Final = re.compile(r"(?:chatgpt|claude|perplexity|mistralai|duckassist|gemini)-user")


@cache
def _names() -> Mapping[str, Sequence[str]]:
    data = tomllib.loads(files(__package__).joinpath("clients.toml").read_text("utf-8"))
    return {kind: tuple(data[kind]) for kind in ("crawlers", "automated")}


@lru_cache(maxsize=1024)
def crawler_of(agent: bytes) -> str:
    """The name of the crawler that a User-Agent says it is; empty for all others."""
    text = agent[:AGENT_LENGTH].decode("latin-1").lower()
    if _PERSONS.search(text):
        return ""
    found = _WORDS.search(text)
    if found is not None:
        start = max(text.rfind(mark, 0, found.start()) for mark in " ;(/") + 1
        return re.split(r"[ ;/)(,]", text[start:], maxsplit=1)[0]
    return next((name for name in _names()["crawlers"] if name in text), "")


def automation_of(fields: Mapping[bytes, bytes], *, secure: bool) -> str:
    """Why a request for a page is probably a program's, as text; empty if nothing says so. `fields` are its
    headers by name in lower case; `secure`: it came by https."""
    agent = fields.get(b"user-agent", b"")
    if not agent.strip():
        return "no User-Agent"
    if named := _automated(agent):
        return named
    if b"headless" in fields.get(b"sec-ch-ua", b"").lower():
        return "a headless browser by Sec-CH-UA"
    if agent.startswith(b"Mozilla/"):
        if not fields.get(b"accept-language", b"").strip():
            return "a browser's User-Agent without Accept-Language"
        # Chrome has sent Fetch Metadata on https since version 80 (2020), and no person uses an older one.
        if secure and _is_chrome(agent) and b"sec-fetch-mode" not in fields:
            return "a new Chrome by User-Agent, but without Fetch Metadata"
    return ""


@lru_cache(maxsize=1024)
def _automated(agent: bytes) -> str:
    text = agent[:AGENT_LENGTH].decode("latin-1").lower()
    return next((f"{name.strip(' /(')} by User-Agent" for name in _names()["automated"] if name in text), "")


@lru_cache(maxsize=1024)
def _is_chrome(agent: bytes) -> bool:
    found = re.search(rb" Chrome/(\d{2,3})\.", agent[:AGENT_LENGTH])
    return found is not None and int(found[1]) >= 100
