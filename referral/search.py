"""The search term with which a visitor arrived: from the campaign, or from the referrer.

Since about 2013 most search engines send only their host as the referrer: then there is no search term.
"""

from urllib.parse import parse_qsl, quote, urlsplit

from .masking import masked_text
from .touches import Touch

# Query parameters with the search term: q with most engines, p with Yahoo, text with Yandex, wd and word with
# Baidu; query, search and keyword on price comparison sites.
WORD_PARAMS = ("q", "query", "p", "text", "wd", "word", "search", "keyword")
LENGTH = 100  # characters of a search term
FIELDS = 100  # parameters of a referrer that are read


def search_word(touch: Touch) -> str | None:
    """The campaign's `utm_term`, else the referrer's search word, up to 100 characters; or None."""
    try:
        query = urlsplit(touch.referrer).query
    except ValueError:
        query = ""
    for word in (touch.campaign.get("utm_term", "").strip(), _found(query)[1]):
        # {keyword} and {{term}} are placeholders that the ad platform did not fill in.
        if word and not word.startswith("{"):
            return word[:LENGTH]
    return None


def word_query(query: str) -> str:
    """The part of a referrer's query to store: the parameter with the search term, or an empty text."""
    name, word = _found(query)
    return f"{name}={quote(masked_text(word)[:LENGTH], errors='replace')}" if word else ""


def _found(query: str) -> tuple[str, str]:
    try:
        given = dict(parse_qsl(query, max_num_fields=FIELDS))
    except ValueError:
        return "", ""
    words = ((name, given.get(name, "").strip()) for name in WORD_PARAMS)
    # p=123 is the number of a blog post: a search term contains a letter.
    return next(((name, word) for name, word in words if any(c.isalpha() for c in word)), ("", ""))
