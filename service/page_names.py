"""How a page is called where people read it: by its title without the shop's name, else by its path."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from ..referral.masking import one_line

_SEPARATOR = re.compile(r"\s+[|–—·•»:-]\s+|\s*[|·•»]\s*")
_ENDING = re.compile(r"\.(?:html?|php|aspx?|jsp)$", re.IGNORECASE)


def short_titles(titles: Iterable[str]) -> Mapping[str, str]:
    """Each title without what most of them end in, which is the shop's name."""
    distinct = list(dict.fromkeys(one_line(title) for title in titles))
    endings = Counter(ending for title in distinct if (ending := _ending(title)))
    shop, count = next(iter(endings.most_common(1)), ("", 0))
    if count < 2 or count * 2 < len(distinct):
        return {title: title for title in distinct}
    return {title: title.removesuffix(shop) or title for title in distinct}


def path_name(path: str) -> str:
    """A path in words: `/shoes/red-boots.html` is `red boots`."""
    parts = [part for part in path.split("/") if part]
    if not parts:
        return "Home page"
    words = re.sub(r"[-_+\s]+", " ", _ENDING.sub("", unquote(parts[-1]))).strip()
    return one_line(words) or one_line(path)


def _ending(title: str) -> str:
    """What comes behind the last separator of a title, with it."""
    found = list(_SEPARATOR.finditer(title))
    return title[found[-1].start() :] if found and found[-1].start() else ""
