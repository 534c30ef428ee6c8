"""The chat of another company that a shop has already: clew's entry for it, its ids as far as the pages show
them, and what the pages' policies forbid of it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import re2  # type: ignore[import-untyped]

from ..chat.providers import Provider, providers
from ..injector.csp_hosts import Needed, forbidden, forbidden_by
from .look import Look

TEXT_READ = 500_000
"""Characters of the scripts and addresses of all pages in which ids are looked for."""

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class ChatFound:
    """A chat on the pages: its name in the settings, its title, the ids that were found, and what policies
    forbid of it by directive."""

    provider: str
    title: str
    ids: Mapping[str, str]
    missing: tuple[str, ...]
    forbidden: Needed

    @property
    def settings(self) -> str:
        """The lines for the settings, in one line."""
        ids = [f'{name} = "{value}"' for name, value in self.ids.items()]
        ids += [f'{name} = "…"' for name in self.missing]
        return f'[sites.chat] provider = "{self.provider}", ids = {{ {", ".join(ids)} }}'


def chat_of(names: Sequence[str], looks: Sequence[Look]) -> ChatFound | None:
    """The first of the chats whose loaders are on the pages (`signs.chats_on`) that clew knows."""
    for name in names:
        known = sorted(key for key, one in providers().items() if _is_called(key, one, name))
        if known:
            # Of Zendesk's two the newer one, which new accounts get.
            return _found(known[-1], looks)
    return None


def _is_called(key: str, provider: Provider, name: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    titles = (re.sub(r"[^a-z0-9]", "", text.lower()) for text in (key, provider.title))
    return any(title.startswith(plain) for title in titles)


def _found(key: str, looks: Sequence[Look]) -> ChatFound:
    provider = providers()[key]
    texts = [text for look in looks for text in (*look.assets, look.scripts)]
    ids = dict(_ids(provider, "\n".join(texts)[:TEXT_READ]))
    needed = _needed(provider, ids)
    against: dict[str, tuple[str, ...]] = {}
    for look in looks:
        for found in (forbidden(look.answer.headers, needed), *_in_page(look, needed)):
            for directive, hosts in found.items():
                against[directive] = tuple(dict.fromkeys((*against.get(directive, ()), *hosts)))
    missing = tuple(name for name, one in provider.ids.items() if name not in ids and one.default is None)
    return ChatFound(key, provider.title, ids, missing, against)


def _ids(provider: Provider, text: str) -> Iterator[tuple[str, str]]:
    """The ids in the address of the loader, or beside their names in a script."""
    address = re2.escape(provider.script)
    for name, one in provider.ids.items():
        inside = address.replace(re2.escape(f"{{{name}}}"), f"(?P<id>{one.pattern})")
        inside = re.sub(r"\\\{\w+\\\}", "[^/?]*", inside)
        spelled = name.replace("_", "[_-]?")
        beside = rf"""(?i:\b\w*{spelled})["']?\s*[:=]\s*["']?(?P<id>{one.pattern})(?:["'\s,;}})]|$)"""
        for pattern in (inside, beside) if "(?P<id>" in inside else (beside,):
            match = re2.search(pattern, text)
            if match is not None and match["id"] != one.default:
                yield name, match["id"]
                break


def _needed(provider: Provider, ids: Mapping[str, str]) -> Needed:
    """What the chat needs of a policy, as far as its ids are known."""
    values = {name: one.default for name, one in provider.ids.items() if one.default is not None} | dict(ids)
    if "base_url" in values:
        values["host"] = values["base_url"].partition("://")[2]
    found = {}
    for directive, hosts in provider.policy.items():
        filled = (_PLACEHOLDER.sub(lambda m: values.get(m[1], m[0]), host) for host in hosts)
        found[directive] = tuple(host for host in filled if "{" not in host)
    return found


def _in_page(look: Look, needed: Needed) -> Iterator[Mapping[str, tuple[str, ...]]]:
    named = re.compile("^content-security-policy$", re.IGNORECASE)
    for tag in look.soup.find_all("meta", attrs={"http-equiv": named, "content": True}):
        yield forbidden_by(str(tag["content"]), needed)
