"""The scripts as they are served, made from their sources in `templates/`: `make scripts` writes them."""

import json
from collections.abc import Iterator
from pathlib import Path

import minify

TEMPLATES = Path(__file__).parents[2] / "templates"
BUILT = TEMPLATES / "built"
# In dependency order; the last has the function that the loader calls.
PARTS = ("dom", "theme", "place", "talk", "log", "panel", "invite", "provider")
WIDGET = (*(f"widget/{name}.js" for name in PARTS), "w.js")
EXPORTED = ("TEXTS", "update")
STYLE_MARK = '"clew:style"'


def sources() -> dict[str, tuple[str, ...]]:
    """The files of which each script is made, by its name."""
    alone = {path.name: (path.name,) for path in sorted(TEMPLATES.glob("*.js"))}
    return alone | {"w.js": WIDGET}


def built() -> Iterator[tuple[str, str]]:
    """Each script's name and its text."""
    for name, parts in sources().items():
        code = "\n".join(map(_read, parts))
        if name == "w.js":
            # In a function all names are local, and get short ones.
            exported = ", ".join(EXPORTED)
            code = f"const {{{exported}}} = (() => {{{code}\nreturn {{{exported}}};}})();"
            code += f"export {{{exported}}};"
        code = minify.string("application/javascript", code)
        style = TEMPLATES / "widget" / name.replace(".js", ".css")
        assert code.count(STYLE_MARK) == style.exists(), f"{name}: {STYLE_MARK} must be there exactly once"
        if style.exists():
            text = minify.string("text/css", style.read_text(encoding="utf-8"))
            code = code.replace(STYLE_MARK, json.dumps(text, ensure_ascii=False))
        yield name, code + "\n"


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    BUILT.mkdir(exist_ok=True)
    for name, code in built():
        (BUILT / name).write_text(code, encoding="utf-8")
