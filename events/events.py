"""Events: each is a line in the log and is counted in the metrics; some are also notices for people."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from ..referral.masking import Masking
from ..referral.touches import Touch
from ..stores.ledger.notices import Noted
from .logs import escaped_fields
from .metrics import Metrics, Timed

EVENTS: Mapping[str, str] = {
    "touch": "a landing with attribution was stored, before the shop responded",
    "click_dropped": "a partner's parameter had no click id: empty, too long, or an unfilled macro",
    "click_suspicious": "a partner's click did not come from outside the shop, and earns nothing",
    "clicks_unusual": "clicks of a partner look made up: loaded in secret, seen by nobody, too many",
    "fraud_suspected": "an order is held, because its partner may not have earned it by honest means",
    "consent_unreadable": "a consent tool's cookie or string could not be read, or must not be relied on",
    "consent_silent": "the site asks for consent, but no source of it was seen: no visitor is recognised",
    "handover": "a visitor came from another host of the shop, and was recognised by a token",
    "handover_refused": "a token from another host of the shop did not count, and why",
    "consent_withdrawn": "a visitor refused what it had consented to, and was forgotten",
    "decision": "the rules were evaluated for a page view; the result is show, invite or hide",
    "invite": "an invite was seen, dismissed or accepted",
    "held_out": "a visitor whom a rule would have invited is in the hold-out, to compare with",
    "invites_throttled": "rules would invite more visitors than the agents have places for",
    "rules_changed": "a revision of a site's rules is in force in this process, and who has set it",
    "rules_refused": "a revision of a site's rules does not compile, so that an earlier one stays in force",
    "rules_doubtful": "rules in force name what new settings do not have; those lines are never true",
    "rules_overridden": "rules in the settings changed, but a revision that people have set is in force",
    "rules_stale": "nobody has looked at rules for `review_days`",
    "rule_judged": "a rule, a text or the hold-out has its verdict",
    "rule_ended": "a rule has ended by itself, at the time that its settings name",
    "exposures_dropped": "visitors of experiments are missing in figures: the ledger was too slow",
    "traffic_dropped": "page views are missing in the sample for trying rules: too many, or a slow ledger",
    "conversation": "a visitor opened a conversation or had it deleted, or an agent closed it",
    "conversation_rated": "a visitor rated its conversation",
    "assigned": "a conversation was given to an agent, handed on, or taken from one who has gone",
    "talk_waits": "a conversation waits for minutes, because nobody who could take it has a place free",
    "load_gate": "the agents of a site have no time for more conversations, or have time again",
    "presence": "an agent is available, away or at the end of a shift",
    "blocked": "a visitor may not write for a time, or may again, and by whom",
    "message": "a message was written in a conversation",
    "file": "a visitor or an agent sent a file",
    "cobrowsing": "an agent asked to see the visitor's page; the visitor agreed, refused, or ended it",
    "cobrowsing_failed": "the page that a visitor shows could not be made harmless, and is not shown",
    "file_refused": "a file was refused: its type, its name, its size, a scan that found something",
    "file_unscanned": "the command that looks for viruses failed or was too slow, so that files are refused",
    "callbacks_full": "as many visitors of a site wait for a call as its settings allow",
    "files_full": "a site keeps as many bytes of files as its settings allow, so that no more are taken",
    "form": "a question or a mail address came by the form, or was dropped because a program filled it in",
    "callback": "a visitor asked to be called, or an agent noted what became of the call",
    "mail": "an answer was sent by mail to a visitor who asked for that",
    "mail_waiting": "an answer could not be sent by mail yet, and why; it is tried again",
    "mail_failed": "an answer could not be sent by mail: it was refused, or tried too often",
    "provider": "a page reported something of its provider's chat",
    "provider_forbidden": "a page's policy forbids hosts that its provider's chat needs",
    "provider_failed": "a provider's chat could not be loaded; the visitor got clew's own",
    "talk_unknown": "a conversation in a provider's chat ended, and it is not known which visitor had it",
    "talk_unsure": "several visitors' pages claim a conversation in a provider's chat: it is nobody's then",
    "chat_order_unread": "an order told in a provider's chat is not readable, or has another amount by now",
    "order": "an order was recorded",
    "credit": "an order was credited to a partner, or to nobody, with the reason",
    "postback": "a call to a partner was attempted, with its outcome",
    "event_sent": "an endpoint for events was told of something",
    "event_refused": "an endpoint refused the same event again and again, so that it was left out",
    "endpoint_failing": "an endpoint for events does not take them; they wait in the ledger",
    "endpoint_disabled": "an endpoint for events failed for days, or wants no more; nothing is sent to it",
    "policy": "a page's own policy blocks the tag, or will report it; once an hour for each reason",
    "order_unreadable": "a confirmation page was shown, but no order could be read on it",
    "code_leaked": "a partner's coupon is used by many who never came by that partner; its orders are held",
    "commission": "a partner's commission was approved, declined, settled or paid, and by whom",
    "commission_waiting": "a commission would be approved or settled, but something stands against it",
    "payout_impossible": "a partner cannot be paid, because an account is missing in the settings",
    "order_held": "an order was recorded and credited, but it is in doubt, so its partner is not notified",
    "order_conflict": "reports of an order disagree: amount, state or visitor, or refunds over the total",
    "order_crowded": "the shop's server reports one order again and again, so that no more of it is kept",
    "order_repeated": "a known order was reported again, unchanged",
    "order_corrected": "a known order changed: its amount, a refund, its state",
    "order_undone": "an agent's order was undone before a partner heard of it",
    "offer": "an agent's link was sent, or its visitor followed it",
    "presence_failed": "a provider's API did not say which agents are there",
    "coupons_out": "a pool of single-use codes is empty, so that agents and invites have none to give",
    "report_waiting": "a report without an order number was kept; no order is a certain match yet",
    "report_placed": "a report without a number was joined to an order, or a person moved a report",
    "report_given_up": "reports without an order number no longer wait for their order: too many, or too old",
    "page_unread": "a page was not read for its order and cart: too large, deep or slow, or too many waiting",
    "currency_unknown": "a cart on a page does not tell its currency, as with $, so it is not compared",
    "webhook": "a shop system's or a provider's webhook was understood: an order, a talk, a repeat, nothing",
    "webhook_refused": "a webhook was refused: its signature or its time is wrong, or no secret is set",
    "webhook_unread": "a signed webhook could not be read; it is kept as it came in, and no order changed",
    "webhook_state": "a shop system's word for an order's state is not known, so the state was not changed",
    "carrier_unknown": "an order brought a token that is not of this site, so it does not name the visitor",
    "journal_replayed": "orders that waited in the journal of this machine are recorded at the start",
    "order_journalled": "the ledger did not take an order, which waits in the journal of this machine",
    "order_waiting": "an order waits in the journal of this machine, because its site is not in the settings",
    "order_unrecorded": "an order could not be written to the ledger; the line contains all of it",
    "host_unknown": "a request came for a host of no site; once an hour for each host",
    "selector_unmatched": "a selector of the settings has matched nothing for a day on its pages",
    "limited": "a request was over one of the limits",
    "proxy_untrusted": "a client that is not a trusted proxy sent a proxy's headers; they are ignored",
    "token_refused": "a request had a wrong API or metrics token",
    "partner_token": "a network gives no OAuth token, so that its postbacks wait",
    "partner_slow": "a partner's server responds slowly, so that it gets fewer calls at once",
    "postback_failed": "a call to a partner was given up, or it is not known whether it arrived",
    "postback_settled": "a postback in doubt was released, corrected or refused, and by whom",
    "postback_retried": "an agent made a failed or unknown postback due again",
    "notice_done": "an agent marked a line of “Needs attention” as done",
    "login": "an agent or a partner logged in, or a login failed",
    "second_factor_wrong": "the code after an agent's right password was wrong",
    "partner_link": "links to a partner's pages were made or revoked, and by whom",
    "postback_resent": "a partner had a call sent to its server again, with its outcome",
    "partner_entered": "a link to a partner's pages was opened, or a link was refused",
    "ledger_down": "the ledger's server does not answer; orders wait in the journal",
    "ledger_up": "the ledger's server answers again, after so many seconds; how many orders came meanwhile",
    "visits_down": "the visit store does not answer; pages go on without it, and credit by the cookie alone",
    "visits_up": "the visit store answers again, after so many seconds",
    "fault": "something in clew failed; the shop's response was passed on unchanged",
    "unusable": "the settings or the ledger cannot be used: the shop is served without clew",
    "pruned": "rows older than `[retention]` allows were deleted from the ledger; how many of each kind",
    "rules_slow": "the rules of a site took so long that some lines were not asked for a visitor",
    "fact_failed": "the shop's API did not tell a fact that a rule asks for",
    "text_failed": "the service that writes a rule's text did not answer in time, or not as it should",
    "clock_jump": "the clock that clew goes by was set back or forward",
    "clock_off": "this machine's clock differs from that of the ledger's server, which clew goes by",
    "started": "clew is ready",
    "reloaded": "new settings are in use: which sites were added, changed or removed",
    "reload_socket_taken": "another user of this machine has bound the socket's name for `clew reload`",
    "reload_refused": "new settings were rejected; the current ones stay in use",
    "stopped": "clew has stopped",
}
WARNINGS = frozenset(
    {
        *(
            "consent_silent",
            "consent_unreadable",
            "click_dropped",
            "click_suspicious",
            "clicks_unusual",
            "fraud_suspected",
            "code_leaked",
            "commission_waiting",
            "payout_impossible",
            "clock_jump",
            "clock_off",
            "fact_failed",
            "rules_slow",
            "text_failed",
            "limited",
            "order_conflict",
            "order_crowded",
            "order_held",
        ),
        "second_factor_wrong",
        *(
            "order_unreadable",
            "page_unread",
            "currency_unknown",
            "policy",
            "proxy_untrusted",
            "token_refused",
        ),
        "talk_waits",
        *("file_unscanned", "files_full", "callbacks_full"),
        *("mail_waiting", "mail_failed"),
        *("talk_unknown", "talk_unsure", "chat_order_unread"),
        *("host_unknown", "selector_unmatched", "partner_slow", "partner_token", "reload_refused"),
        *("reload_socket_taken", "order_journalled", "order_waiting", "postback_failed"),
        *("report_given_up", "visits_down", "ledger_down"),
        *("webhook_refused", "webhook_unread", "webhook_state", "carrier_unknown"),
        *("coupons_out", "invites_throttled", "exposures_dropped", "rule_ended", "rule_judged"),
        "rules_stale",
        *("rules_refused", "rules_doubtful", "rules_overridden"),
        "traffic_dropped",
        "presence_failed",
        *("event_refused", "endpoint_failing", "endpoint_disabled"),
    }
)
ERRORS = frozenset({"order_unrecorded", "fault", "unusable"})

NOTICE_SECONDS = 3600.0
# Of one event at one site; further ones are reported together under the key `MORE`.
NOTICE_KEYS = 50
MORE = "more"
PENDING = 2000  # maximum number of notices that wait while the ledger cannot be used
DETAIL_LENGTH = 300
KNOWN_HOSTS = 20  # maximum number of hosts listed in an event


class Events:
    """Writes events to the log and counts them. `clock` gives seconds that never go back."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # For each event and site: when each key may be logged again.
        self._notices: defaultdict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        # For each site, event and key: how often it happened since `take_noted`, and its last details.
        self._noted: dict[tuple[str, str, str], tuple[int, Mapping[str, Any]]] = {}
        self._away: dict[str, float] = {}  # since when each store is away, by its event
        self._log = structlog.get_logger("clew")
        self.metrics = Metrics(registry)

    def emit(self, name: str, *, site: str, **fields: Any) -> None:
        """Log and count the event `name`, one of EVENTS. `fields` are written to the log line unchanged.

        One of ERRORS also becomes a notice for people. If the log cannot be written (its reader is gone, the
        disk is full), nothing is raised.
        """
        if name in ERRORS:
            key = str(fields.get("where") or fields.get("order") or "")
            now = self._clock()
            key = self._bounded(name, site, key, now)
            self._notices[name, site].setdefault(key, now + NOTICE_SECONDS)
            self._note(site, name, key, fields)
        self._write(name, site, fields)

    def _write(self, name: str, site: str, fields: dict[str, Any]) -> None:
        self._count(name, site)
        level = "error" if name in ERRORS else "warning" if name in WARNINGS else "info"
        try:
            getattr(self._log, level)(name, site=site, **escaped_fields(fields))
        except OSError:
            return  # see `emit`

    def _count(self, name: str, site: str) -> None:
        if name not in EVENTS:
            raise KeyError(f"no such event: {name}")
        self.metrics.happened(site, name)

    def took(self, what: Timed, site: str, outcome: str, seconds: float) -> None:
        """Record a duration. `outcome` is one of a few words."""
        self.metrics.took(what, site, outcome, seconds)

    def notice(self, name: str, *, site: str, key: str, **fields: Any) -> bool:
        """Report something that needs a person's attention: something expected that did not happen.

        `key` is its subject (a reason, a selector, a host) and may be untrusted: it is truncated to 200
        characters. Each notice is counted and shown at the desk. The line is logged once an hour for each
        site, event and key, for at most 50 keys. Returns whether it was logged now.
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

    def failed(self, error: BaseException, *, site: str, where: str) -> None:
        """Report that something of clew's own failed. However much fails because a store is away, it is one
        notice: that the store is away. Such an error has its event in `away`."""
        away: str | None = getattr(error, "away", None)
        if away is None:
            self.notice("fault", site=site, key=where, where=where, error=repr(error))
        else:
            self._away.setdefault(away, self._clock())
            self.notice(away, site="", key=away.removesuffix("_down"), why=str(error))

    def is_back(self, away: str, **fields: Any) -> None:
        """Report, after a failure with this event in `away`, that the store answers again: `…_up` for
        `…_down`, with the seconds since the first failure. Nothing if none was reported."""
        if (since := self._away.pop(away, None)) is not None:
            seconds = round(self._clock() - since, 1)
            self.emit(f"{away.removesuffix('_down')}_up", site="", seconds=seconds, **fields)

    def unlimit(self, name: str, *, site: str, key: str) -> None:
        """Make the next such notice be logged even within the hour, because a person waits for it."""
        self._notices[name, site].pop(self._bounded(name, site, key, self._clock()), None)

    def limited(self, site: str, limit: str, scope: str, client: str) -> None:
        """Count a request over a limit, and report the limit and the network that was refused last."""
        self.metrics.limited(site, limit, scope)
        self.notice("limited", site=site, key=f"{limit} by {scope}", limit=limit, scope=scope, client=client)

    def host_unknown(self, host: str, known: Sequence[str]) -> None:
        """Report that a request's host belongs to no site, with the known hosts: it may be missing from the
        settings."""
        shown = ", ".join(known[:KNOWN_HOSTS]) + (", …" if len(known) > KNOWN_HOSTS else "")
        self.notice("host_unknown", site="", key=host.lower() or "(none)", known=shown)

    def proxy_untrusted(self, site: str, network: str, header: str, *, by: str = "") -> None:
        """Report an untrusted peer that appears to be a proxy, with the setting to write. `header` is the one
        that is ignored or missing; `by` is the header that shows this, if it is another one."""
        self.notice(
            "proxy_untrusted",
            site=site,
            key=f"{by or header} from {network}",
            header=header,
            peer=network,
            setting=f'trusted_proxies = ["{network}"]',
        )

    def _bounded(self, name: str, site: str, key: str, now: float) -> str:
        """The key, or `MORE` for those after the first 50 of an hour."""
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

    def forget(self, gone: Callable[[str], bool]) -> None:
        """Drop the metrics of sites that are `gone`, and when their notices were logged. Pending notices are
        still written."""
        for place in [place for place in self._notices if gone(place[1])]:
            del self._notices[place]
        self.metrics.forget(gone)

    def take_noted(self) -> list[Noted]:
        """The notices since the last call, to be written to the ledger."""
        taken, self._noted = self._noted, {}
        return [Noted(*names, count, details) for names, (count, details) in taken.items()]

    def put_back(self, noted: Iterable[Noted]) -> None:
        """Keep notices that could not be written for the next `take_noted`."""
        for one in noted:
            names = (one.site, one.event, one.key)
            count, details = self._noted.get(names, (0, one.details))
            if count or len(self._noted) < PENDING:
                self._noted[names] = count + one.count, details

    def touch(self, site: str, visitor: str, touch: Touch, masking: Masking) -> None:
        """Report a touch that was stored."""
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
    """The fields of an event that people are shown: plain values of limited length."""
    plain = {k: v for k, v in fields.items() if v is None or isinstance(v, str | int | float)}
    return {k: v[:DETAIL_LENGTH] if isinstance(v, str) else v for k, v in plain.items()}
