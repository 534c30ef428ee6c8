"""What a visitor was looking for when it came: the word of a paid campaign, or of the page that referred it.

Most search engines have sent their host alone since about 2013: then there is no word, and none is guessed.
"""

from urllib.parse import parse_qsl, quote, urlsplit

from .masking import masked_text
from .touches import Touch

# Query parameters that hold the word: q with most engines, p with Yahoo, text with Yandex, wd and word with
# Baidu; query, search and keyword on price comparisons.
WORD_PARAMS = ("q", "query", "p", "text", "wd", "word", "search", "keyword")
LENGTH = 100  # characters of a word
FIELDS = 100  # parameters of a referrer that are looked at


def search_word(touch: Touch) -> str | None:
    """The campaign's `utm_term`, else the referrer's search word, up to 100 characters; or None."""
    try:
        query = urlsplit(touch.referrer).query
    except ValueError:
        query = ""
    for word in (touch.campaign.get("utm_term", "").strip(), _found(query)[1]):
        # {keyword} and {{term}} are an ad platform's placeholders that were not filled in.
        if word and not word.startswith("{"):
            return word[:LENGTH]
    return None


def word_query(query: str) -> str:
    """What is worth keeping of a referrer's query: the parameter with the search word, or an empty text."""
    name, word = _found(query)
    return f"{name}={quote(masked_text(word)[:LENGTH], errors='replace')}" if word else ""


def _found(query: str) -> tuple[str, str]:
    try:
        given = dict(parse_qsl(query, max_num_fields=FIELDS))
    except ValueError:
        return "", ""
    words = ((name, given.get(name, "").strip()) for name in WORD_PARAMS)
    # p=123 is the number of a blog's post: a word has a letter in it.
    return next(((name, word) for name, word in words if any(c.isalpha() for c in word)), ("", ""))
