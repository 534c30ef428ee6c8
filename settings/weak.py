"""Secrets that somebody could guess: samples, placeholders, patterns typed by hand."""

import re
from itertools import pairwise

# Words that samples and manuals have in the place of a secret. About one in 400,000 random secrets of 43
# characters (base64) contains one by chance: five letters in either case, at some forty positions.
_SAMPLES = re.compile(
    r"change[-_ ]?(?:me|this|it)|replace[-_ ]?(?:me|this)|example|placeholder|insert[-_ ]|your[-_ ]|dummy"
    r"|secret|passw(?:or)?d|passwort|default|qwert|asdfgh|letmein|correct.?horse|<[a-z_ -]+>",
    re.IGNORECASE,
)
_CHECKED = 48  # characters that are checked; the start of a secret suffices


def weakness(secret: str, least: int) -> str | None:
    """Why a secret is weak, as the end of a sentence that begins with its key; None if it may be random.

    A secret must have at least `least` characters. The text contains no part of the secret.
    """
    if len(secret) < least:
        return f"is too short: use at least {least} characters"
    if _SAMPLES.search(secret):
        return 'contains words of a sample ("change-me", "example", "secret"), so it can be guessed'
    start = secret[:_CHECKED]
    pairs = list(pairwise(start))
    kinds = len(set(start))
    if kinds < (8 if least >= 32 else 6):
        return f"has only {kinds} different character{'' if kinds == 1 else 's'}, so it is not random"
    # Of 48 random digits, the smallest alphabet in use, four pairs of five differ.
    if len(set(pairs)) < 0.6 * len(pairs):
        return "repeats itself, so it is not random"
    # Of 16 random hexadecimal digits so many pairs are neighbours three times in a million.
    if sum(abs(ord(a) - ord(b)) <= 1 for a, b in pairs) > 0.7 * len(pairs):
        return "is a sequence of neighbouring characters, so it is not random"
    return None
