"""Names with characters that look like ASCII: nobody can see that an `а` is Cyrillic."""

import unicodedata

_SHOWN = 3


def not_ascii(name: str) -> str:
    """What to add to an error about a name that is not known: which of its characters are not ASCII, as in
    `: the character U+0430 (CYRILLIC SMALL LETTER A) is not ASCII`; empty if all are."""
    found = [
        f"U+{ord(character):04X} ({unicodedata.name(character, 'no name')})"
        for character in dict.fromkeys(name)
        if not character.isascii()
    ]
    if not found:
        return ""
    shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    return (
        f": the characters {shown} are not ASCII"
        if len(found) > 1
        else f": the character {shown} is not ASCII"
    )
