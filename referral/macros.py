"""Click ids that are none: a tracker's macro that nobody filled in, or a program's word for nothing.

Only what no network gives as an id is refused. Ids in braces that are GUIDs stay, and so do ids that hold a
bracket, a percent sign or an underscore somewhere.
"""

import re
from urllib.parse import unquote

_WORD = r"[A-Za-z_$][A-Za-z0-9_$ .:|-]{0,63}"
# Anywhere in the value: `{clickid}`, `${click_id}`, `{{click.id}}`, `%%CLICK%%`, `<clickid>`, `[[id]]`.
_MACRO = re.compile(rf"\{{{_WORD}\}}|%%{_WORD}%%|<{_WORD}>|\[\[{_WORD}\]\]")
# As the whole value, since ids may hold such a thing: `[CLICK_ID]`, `%CLICK_ID%`, `__CLICKID__`,
# `$clickid`, `!!CLICK!!`.
_WHOLE = re.compile(
    rf"\[{_WORD}\]|%[A-Za-z_]+%|__[A-Za-z]\w*__|\$[A-Za-z_]+\$?|!!{_WORD}!!|"
    rf"\({_WORD}\)|\*\|{_WORD}\|\*|@@?{_WORD}@@?|"
    r"(?i:your[-_ ]?click[-_ ]?id|(?:insert|replace)[-_ ]?\w*)"
)
_GUID = re.compile(r"\{?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}?", re.IGNORECASE)
_NOTHING = frozenset(
    (
        *(
            "null",
            "undefined",
            "none",
            "nil",
            "nan",
            "n/a",
            "false",
            "(null)",
            "(none)",
            "not set",
            "(not set)",
        ),
        *("[object object]", "clickid", "click_id", "click-id", "0", "-1"),
    )
)
_PUNCTUATION = re.compile(r"[-_.,{}()<>\[\]'\"]+")
_NAME_LENGTH = 5  # letters of a parameter's name that is no id of its own; a partner may call itself `ref`
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"  # pasted along with a link
LENGTH = 512


def unfilled(value: str, param: str = "") -> str:
    """Why a value is no click id, or an empty text. `param` is the name of its parameter.

    `value` is percent-decoded once; one that was encoded twice is seen through.
    """
    text = unquote(value[:LENGTH]).strip().strip(_INVISIBLE).strip()
    if not text:
        return "empty"
    lower = text.lower()
    if _GUID.fullmatch(text):
        return "nothing" if not lower.strip("{}-0") else ""
    if (
        lower.replace("+", " ") in _NOTHING  # a form writes a blank as a plus
        or _PUNCTUATION.fullmatch(text)
        or (len(param) >= _NAME_LENGTH and lower == param.lower())
    ):
        return "nothing"
    return "unfilled" if _MACRO.search(text) or _WHOLE.fullmatch(text) else ""
