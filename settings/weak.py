"""Secrets that somebody could guess: samples, placeholders, patterns typed by hand."""

import re
from itertools import pairwise

# What samples and manuals write in the place of a secret. Of random secrets of 43 characters (base64) about
# one in 400,000 holds one of these by chance: five letters in either case, at some forty places.
_SAMPLES = re.compile(
    r"change[-_ ]?(?:me|this|it)|replace[-_ ]?(?:me|this)|example|placeholder|insert[-_ ]|your[-_ ]|dummy"
    r"|secret|passw(?:or)?d|passwort|default|qwert|asdfgh|letmein|correct.?horse|<[a-z_ -]+>",
    re.IGNORECASE,
)
_LOOKED_AT = 48  # characters; what is good so far is good


def weakness(secret: str, least: int) -> str | None:
    """Why a secret of at least `least` characters is none, as the end of a sentence that begins with its key;
    None for one that may be random. Nothing of the secret itself is in the text."""
    if len(secret) < least:
        return f"is too short to be safe: at least {least} characters"
    if _SAMPLES.search(secret):
        return 'holds words of a sample ("change-me", "example", "secret"): everybody could guess it'
    start = secret[:_LOOKED_AT]
    pairs = list(pairwise(start))
    kinds = len(set(start))
    if kinds < (8 if least >= 32 else 6):
        return f"has only {kinds} different character{'' if kinds == 1 else 's'}: it is not random"
    # Of 48 random digits, the smallest alphabet in use, four pairs of five differ.
    if len(set(pairs)) < 0.6 * len(pairs):
        return "repeats itself: it is not random"
    # Of 16 random hexadecimal digits so many neighbour each other three times in a million.
    if sum(abs(ord(a) - ord(b)) <= 1 for a, b in pairs) > 0.7 * len(pairs):
        return "is a row of neighbouring characters: it is not random"
    return None
