"""A browser and its system in a few words, so that people know their sessions apart."""

from typing import Final

# The first word that stands in a User-Agent decides: most browsers name the ones before them, too.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
_READ = 512


def device_of(agent: str) -> str:
    """Such as “Firefox on Windows”, from a User-Agent header; never a part of the header itself."""
    text = agent[:_READ]
    browser = next((name for mark, name in _BROWSERS if mark in text), "Another browser")
    system = next((name for mark, name in _SYSTEMS if mark in text), "")
    return f"{browser} on {system}" if system else browser
