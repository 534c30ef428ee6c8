"""Whether a day is a holiday at a site: of its country, by the package `holidays`, or one of its own."""

from datetime import date
from functools import lru_cache

from ..settings.model import Calendar


class Holidays:
    """The holidays of one site; none without a calendar."""

    def __init__(self, calendar: Calendar | None) -> None:
        self._country = None if calendar is None else calendar.country
        self._subdivision = None if calendar is None else calendar.subdivision
        self._days = frozenset(calendar.days) if calendar is not None else frozenset[str]()

    def warm(self, year: int) -> None:
        """Work out this year and the next now, so that no decision waits for it."""
        if self._country is not None:
            for one in (year, year + 1):
                _of_country(self._country, self._subdivision, one)

    def has(self, day: date) -> bool:
        """Whether a day is a holiday."""
        text = day.isoformat()
        if text in self._days or text[5:] in self._days:
            return True
        return self._country is not None and day in _of_country(self._country, self._subdivision, day.year)


@lru_cache(maxsize=512)
def _of_country(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    # Imported here: it takes a second, and few sites ask for holidays.
    from holidays import country_holidays

    return frozenset(country_holidays(country, subdiv=subdivision, years=year))
