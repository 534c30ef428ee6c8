"""Reports sites that ask for consent but have no source of it: no visitor would ever be recognised."""

from collections import Counter

from ..events.events import Events
from ..referral.consent.decision import ConsentState

# Number of consecutive calls of `decide` at one site without any source of consent. A visitor who has not
# chosen yet has none either, so a few such calls are normal.
SILENT = 200


class ConsentWatch:
    """Counts the consecutive calls without a source of consent, for each site."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._silent: Counter[str] = Counter()

    def saw(self, site: str, state: ConsentState) -> None:
        """Record the state of one call at a site that asks for consent."""
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
