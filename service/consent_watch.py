"""Tells a person where consent is asked for and cannot be found: then no visitor is ever recognised."""

from collections import Counter

from ..events.events import Events
from ..referral.consent.decision import ConsentState

# Calls of `decide` in a row at one site in which no source said anything. A visitor who has not chosen yet
# shows nothing either, so a few mean nothing.
SILENT = 200


class ConsentWatch:
    """Counts, for each site, how long no source of consent was seen."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._silent: Counter[str] = Counter()

    def saw(self, site: str, state: ConsentState) -> None:
        """Note the state of one call at a site that asks."""
        for signal in state.evidence:
            if signal.unread:
                self._events.notice(
                    "consent_unreadable",
                    site=site,
                    key=f"{signal.source} {signal.why}",
                    source=signal.source,
                    why=signal.why,
                )
        if state.evidence:
            self._silent.pop(site, None)
            return
        self._silent[site] += 1
        if self._silent[site] >= SILENT:
            self._silent.pop(site)
            self._events.notice("consent_silent", site=site, key="", calls=SILENT)
