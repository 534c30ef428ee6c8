"""Escapes text from foreign pages, so that it cannot control a terminal or a file."""

LONGEST = 120


def shown(text: str, longest: int = LONGEST) -> str:
    """The text on one line, what cannot be printed as an escape, shortened to `longest` characters.

    Control characters move a terminal's cursor or its title, and those that turn the direction of writing
    (Unicode category Cf) make an address look like another one.
    """
    flat = " ".join(text[: longest * 4].split())
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in flat)
    return safe if len(safe) <= longest else f"{safe[: longest - 1]}…"
