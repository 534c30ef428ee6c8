"""The table of providers in docs/chat.md is that of chat/providers.toml."""

import json
from pathlib import Path

from clew.chat.providers import Provider, providers

PAGE = Path(__file__).parents[2] / "docs" / "chat.md"
TIED = {
    "attr": "attribute",
    "convid": "the conversation's id",
    "token": "token",
    "code": "a code",
}


def row(name: str, provider: Provider) -> str:
    """The line of one provider."""
    ids = [f"`{one}`" + ("" if id_.default is None else "?") for one, id_ in provider.ids.items()]
    tied = [TIED[join] for join in provider.join]
    acts = {
        "opens": provider.open,
        "first message": provider.ask,
        "speaks first": provider.say,
        "hides": provider.hide,
    }
    can = [word for word, has in acts.items() if has]
    hook = provider.webhook
    how = "—" if hook is None else "a secret" if hook.signature.scheme == "secret" else "signed"
    how += ", likely" if hook is not None and hook.confidence == "likely" else ""
    steps = json.dumps([provider.before, provider.events])
    tells = {
        "webhook": hook is not None and any(read.presence is not None for read in hook.reads),
        "API": provider.presence is not None,
        "pages": '"event": "online"' in steps or '"event": "offline"' in steps,
    }
    there = ", ".join(word for word, has in tells.items() if has) or "—"
    sure = provider.confidence + ("; likely: " + ", ".join(provider.likely) if provider.likely else "")
    cells = (f"`{name}`", provider.title, ", ".join(ids), ", ".join(tied), ", ".join(can) or "—", how)
    cells = (*cells, there, sure)
    return f"| {' | '.join(cells)} |"


def test_the_page_lists_every_provider() -> None:
    table = PAGE.read_text("utf-8").partition("## Providers")[2]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert rows[1:] == [row(name, provider) for name, provider in sorted(providers().items())]
