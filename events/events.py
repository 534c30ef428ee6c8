"""What happens, told once: each station a visitor passes is a line in the log and a figure in the metrics."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from ..referral.masking import Masking
from ..referral.touches import Touch
from ..stores.ledger.notices import Noted
from .logs import escaped_fields
from .metrics import Metrics, Timed

EVENTS: Mapping[str, str] = {
    "touch": "a landing with attribution was written down, before the shop answered",
    "click_dropped": "a partner's parameter held no click id: empty, too long, or an unfilled macro",
    "click_suspicious": "a partner's click did not come from outside the shop, and earns nothing",
    "consent_unreadable": "a consent tool's cookie or string could not be read, or may not be relied on",
    "consent_silent": "consent is asked for, but no source of it was seen: no visitor is recognised",
    "consent_withdrawn": "a visitor refused what it had consented to, and was forgotten",
    "decision": "the rules were asked for a page view, and said show, invite or hide",
    "invite": "an invite was seen, dismissed or accepted",
    "conversation": "a visitor opened a conversation, or an agent closed it",
    "message": "a message was written in a conversation",
    "order": "an order was recorded",
    "credit": "an order was credited to a partner, or to nobody, with the reason",
    "postback": "a call to a partner was tried, with its outcome",
    "policy": "a page's own policy keeps the tag out of it, or will report it; once an hour for each reason",
    "order_unreadable": "a confirmation page was shown, but no order could be read on it",
    "order_held": "an order was recorded and credited, but it is in doubt, so its partner is not notified",
    "order_conflict": "a known order was reported with another amount, state or visitor; that does not count",
    "order_repeated": "a known order was reported again, unchanged",
    "order_corrected": "a known order changed: its amount, a refund, its state",
    "report_waiting": "a report without an order number was kept; no order fits for sure yet",
    "report_placed": "a report without a number was joined to an order, or a person moved a report",
    "report_given_up": "reports without an order number are not looked at any more: too many, or too old",
    "page_unread": "a page was not read for its order and cart: too large, too deep, too slow, too many wait",
    "journal_replayed": "orders that waited in the journal of this machine are recorded at the start",
    "order_waiting": "an order waits in the journal of this machine, because its site is not in the settings",
    "order_unrecorded": "an order could not be written into the ledger; the line holds all of it",
    "host_unknown": "a request came for a host that fits no site; once an hour for each host",
    "selector_unmatched": "a selector of the settings has found nothing for a day on pages that it is for",
    "limited": "a request was over one of the limits against abuse",
    "proxy_untrusted": "a client that is not a trusted proxy sent a proxy's headers; they are ignored",
    "token_refused": "a request brought a wrong API or metrics token",
    "partner_slow": "a partner's server takes long to answer, so that it gets fewer calls at once",
    "postback_failed": "a call to a partner was given up, or nobody knows whether it arrived",
    "postback_settled": "a postback in doubt was released, corrected or refused, and by whom",
    "postback_retried": "an agent made a postback due again that had failed or got no answer",
    "notice_done": "somebody marked a line of “Needs attention” as done",
    "login": "somebody logged in to the desk, or tried to",
    "fault": "something of clew's own failed, and the shop's bytes went through unchanged",
    "unusable": "the settings or the ledger cannot be used: the shop is served without clew",
    "pruned": "what was older than `[retention]` says was deleted from the ledger, with the number of rows",
    "clock_jump": "the server's clock was set back or forward",
    "started": "clew is ready",
    "reloaded": "other settings are in use: which sites are new, changed or gone",
    "reload_socket_taken": "another user of this machine has bound a name of the socket for `clew reload`",
    "reload_refused": "other settings were not taken, and clew goes on with those it has",
    "stopped": "clew has stopped",
}
WARNINGS = frozenset(
    {
        *(
            "consent_silent",
            "consent_unreadable",
            "click_dropped",
            "click_suspicious",
            "clock_jump",
            "limited",
            "order_conflict",
            "order_held",
        ),
        *("order_unreadable", "page_unread", "policy", "proxy_untrusted", "token_refused"),
        *("host_unknown", "selector_unmatched", "partner_slow", "reload_refused", "reload_socket_taken"),
        *("order_waiting", "postback_failed", "report_given_up"),
    }
)
ERRORS = frozenset({"order_unrecorded", "fault", "unusable"})

NOTICE_SECONDS = 3600.0
# Of one event at one site; what comes beyond is told once under the key `MORE`.
NOTICE_KEYS = 50
MORE = "more"
PENDING = 2000  # notices that wait to be written into the ledger, while it cannot be used
DETAIL_LENGTH = 300
KNOWN_HOSTS = 20  # that are listed where a host fits none


class Events:
    """Writes events to the log and counts them. `clock` gives seconds that never go back."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # For each event and site: when each key may be told of again.
        self._notices: defaultdict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        # For each site, event and key: how often it happened since `take_noted`, and its last details.
        self._noted: dict[tuple[str, str, str], tuple[int, Mapping[str, Any]]] = {}
        self._log = structlog.get_logger("clew")
        self.metrics = Metrics(registry)

    def emit(self, name: str, *, site: str, **fields: Any) -> None:
        """Tell that `name` (one of EVENTS) happened. `fields` go into the log line as they are.

        One of ERRORS is a notice for people, too. A log that cannot be written (its reader has gone, the disk
        is full) stops nothing.
        """
        if name in ERRORS:
            key = str(fields.get("where") or fields.get("order") or "")
            now = self._clock()
            key = self._bounded(name, site, key, now)
            self._notices[name, site].setdefault(key, now + NOTICE_SECONDS)
            self._note(site, name, key, fields)
        self._write(name, site, fields)

    def _write(self, name: str, site: str, fields: Mapping[str, Any]) -> None:
        self._count(name, site)
        level = "error" if name in ERRORS else "warning" if name in WARNINGS else "info"
        with suppress(OSError):
            getattr(self._log, level)(name, site=site, **escaped_fields(fields))

    def _count(self, name: str, site: str) -> None:
        if name not in EVENTS:
            raise KeyError(f"no such event: {name}")
        self.metrics.happened(site, name)

    def took(self, what: Timed, site: str, outcome: str, seconds: float) -> None:
        """Note how long something took, by what it came to (one of a few words)."""
        self.metrics.took(what, site, outcome, seconds)

    def notice(self, name: str, *, site: str, key: str, **fields: Any) -> bool:
        """Tell of something that needs a person: what was expected and did not happen.

        `key` says what it is about (a reason, a selector, a host) and may come from strangers: it is cut at
        200 characters. Each is counted, and shown at the desk; the line is written once an hour for each
        site, event and key, for at most 50 keys. Returns whether it was written now.
        """
        now = self._clock()
        key = self._bounded(name, site, key, now)
        self._note(site, name, key, fields)
        known = self._notices[name, site]
        if now < known.get(key, now):
            self._count(name, site)
            return False
        known[key] = now + NOTICE_SECONDS
        self._write(name, site, {"key": key, **fields})
        return True

    def unlimit(self, name: str, *, site: str, key: str) -> None:
        """Have the next such notice written, though one was within the hour: a person waits for it."""
        self._notices[name, site].pop(self._bounded(name, site, key, self._clock()), None)

    def limited(self, site: str, limit: str, scope: str, client: str) -> None:
        """Count a request over a limit, and tell of the limit and of the network that was refused last."""
        self.metrics.limited.labels(site, limit, scope).inc()
        self.notice("limited", site=site, key=f"{limit} by {scope}", limit=limit, scope=scope, client=client)

    def host_unknown(self, host: str, known: Sequence[str]) -> None:
        """Tell that a request's host fits no site, with the hosts that do: a name that was forgotten in the
        settings would otherwise pass silently."""
        shown = ", ".join(known[:KNOWN_HOSTS]) + (", …" if len(known) > KNOWN_HOSTS else "")
        self.notice("host_unknown", site="", key=host.lower() or "(none)", known=shown)

    def proxy_untrusted(self, site: str, network: str, header: str, *, by: str = "") -> None:
        """Tell that a peer is a proxy and not believed, with the setting to write. `header` is the one that
        is not believed, or missing; `by` is the header that shows it, if it is another."""
        self.notice(
            "proxy_untrusted",
            site=site,
            key=f"{by or header} from {network}",
            header=header,
            peer=network,
            setting=f'trusted_proxies = ["{network}"]',
        )

    def _bounded(self, name: str, site: str, key: str, now: float) -> str:
        """The key, or `MORE` for what comes beyond the first 50 of an hour."""
        known = self._notices[name, site]
        key = key[:200].encode("utf-8", "replace").decode("utf-8")
        if key not in known and len(known) >= NOTICE_KEYS:
            for old in [k for k, until in known.items() if until <= now]:
                del known[old]
            if len(known) >= NOTICE_KEYS:
                return MORE
        return key

    def _note(self, site: str, name: str, key: str, fields: Mapping[str, Any]) -> None:
        count, _ = self._noted.get((site, name, key), (0, {}))
        if count or len(self._noted) < PENDING:
            self._noted[site, name, key] = count + 1, _details(fields)

    def forget(self, site: str) -> None:
        """A site is gone: nothing more will be told of it. What was noted is still written."""
        for place in [place for place in self._notices if place[1] == site]:
            del self._notices[place]

    def take_noted(self) -> list[Noted]:
        """What happened since the last call, to be written into the ledger."""
        taken, self._noted = self._noted, {}
        return [Noted(*names, count, details) for names, (count, details) in taken.items()]

    def put_back(self, noted: Iterable[Noted]) -> None:
        """Keep for the next `take_noted` what could not be written."""
        for one in noted:
            names = (one.site, one.event, one.key)
            count, details = self._noted.get(names, (0, one.details))
            if count or len(self._noted) < PENDING:
                self._noted[names] = count + one.count, details

    def touch(self, site: str, visitor: str, touch: Touch, masking: Masking) -> None:
        """Tell of a touch that was written down."""
        self.emit(
            "touch",
            site=site,
            visitor=visitor,
            partners=[c.partner for c in touch.clicks if c.partner],
            networks=[c.network for c in touch.clicks],
            campaign=dict(touch.campaign),
            landing=masking.logged(touch.landing),
            referrer=touch.referrer,
            doubt=touch.doubt or None,
        )


def _details(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What of an event's fields people are shown: plain values, bounded."""
    plain = {k: v for k, v in fields.items() if v is None or isinstance(v, str | int | float)}
    return {k: v[:DETAIL_LENGTH] if isinstance(v, str) else v for k, v in plain.items()}
