"""Click ids that are none: a tracker's macro that nobody filled in, or a program's word for nothing.

Only what no network gives as an id is refused. Ids in braces that are GUIDs stay, and so do ids that hold a
bracket, a percent sign or an underscore somewhere.
"""

import re
from urllib.parse import unquote

_WORD = r"[A-Za-z_$][A-Za-z0-9_$ .:|-]{0,63}"
# Anywhere in the value: `{clickid}`, `${click_id}`, `{{click.id}}`, `%%CLICK%%`, `<clickid>`, `[[id]]`.
_MACRO = re.compile(
    rf"\{{[!%:@#*]?\s?{_WORD}\}}|%%{_WORD}%%|<{_WORD}>|<[%?]=?\s?{_WORD}[%?]>|\[\[{_WORD}\]\]"
)
# As the whole value, since ids may hold such a thing: a name within marks (`[CLICK_ID]`, `%CLICK_ID%`,
# `~clickid~`, `##clickid##`), one of which half was lost (`:clickid`, `{click_id`, `clickid}`), and words in
# its place. A name has no digit but its last (`aff_sub2`), an id seldom none. Marks of base64 do not
# count; `@joe` and `#joe`, as partners may call themselves, only with a mark behind.
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
