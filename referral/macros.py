"""Detects values that are not click ids: a tracker's macro that was not filled in, or a word such as `null`.

Only values that no network uses as an id are refused. GUIDs in braces are accepted, and so are ids that
contain a bracket, a percent sign or an underscore.
"""

import re
from urllib.parse import unquote

_WORD = r"[A-Za-z_$][A-Za-z0-9_$ .:|-]{0,63}"
# Anywhere in the value: `{clickid}`, `${click_id}`, `{{click.id}}`, `%%CLICK%%`, `<clickid>`, `[[id]]`.
_MACRO = re.compile(
    rf"\{{[!%:@#*]?\s?{_WORD}\}}|%%{_WORD}%%|<{_WORD}>|<[%?]=?\s?{_WORD}[%?]>|\[\[{_WORD}\]\]"
)
# Only as the whole value, since ids may contain it: a name between marks (`[CLICK_ID]`, `%CLICK_ID%`,
# `~clickid~`, `##clickid##`), one with a mark on one side (`:clickid`, `{click_id`, `clickid}`), and
# placeholder words. With a mark on one side only, a name has at most one digit, at its end (`aff_sub2`);
# most ids have more. Characters of base64 are not marks; `@joe` and `#joe`, possible names of partners,
# are refused only with a mark at the end.
_NAME = r"[A-Za-z_][A-Za-z_ .|-]{0,62}[0-9]?"
_WHOLE = re.compile(
    rf"[\[<({{~:%$#@!*|^?`'\"]{{1,4}}\s?{_WORD}\s?[\]>)}}~:%$#@!*|^?`'\"]{{1,4}}|"
    rf"[\[<({{:%$]{{1,4}}\s?{_NAME}|{_NAME}[\]>)}}%]{{1,4}}|__[A-Za-z]\w*__|%[sdi@]|\{{\d?\}}|"
    r"(?i:(?:your|the|my|enter|put|insert|replace|add|paste|some|sample|dummy|example)[-_ +]?(?:your[-_ +]?)?"
    r"(?:click|transaction|tracking|sub|aff|affiliate|partner|unique)?[-_ +]?id(?:[-_ +]?here)?|"
    r"(?:insert|replace)[-_ ]?\w*|\w*click[-_ ]?id[-_ +]?(?:here|value|goes[-_ +]?here|placeholder))|"
    r"(?i:x{3,12}|y{3,12}|z{3,12}|placeholder|changeme|change[-_]me|tbd|todo)"
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
        *("[object object]", "[object undefined]", "clickid", "click_id", "click-id", "click id", "-1"),
        *("subid", "sub_id", "transaction_id", "transactionid", "gclid", "fbclid", "msclkid", "ttclid"),
    )
)
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~…•–—\s]+|0|0{4,12}")
_NAME_LENGTH = (
    5  # minimum length of a parameter name that is refused as its own value; a partner may be named `ref`
)
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"  # often pasted with a link
LENGTH = 512


def unfilled(value: str, param: str = "") -> str:
    """Why a value is not a click id; an empty text if it may be one. `param` is the name of its parameter.

    `value` was percent-decoded once; a value that was encoded twice is decoded again.
    """
    text = unquote(value[:LENGTH]).strip().strip(_INVISIBLE).strip()
    if not text:
        return "empty"
    lower = text.lower()
    if _GUID.fullmatch(text):
        return "nothing" if not lower.strip("{}-0") else ""
    if (
        lower.replace("+", " ") in _NOTHING  # forms encode a blank as a plus
        or _PUNCTUATION.fullmatch(text)
        or (len(param) >= _NAME_LENGTH and lower == param.lower())
    ):
        return "nothing"
    return "unfilled" if _MACRO.search(text) or _WHOLE.fullmatch(text) else ""
