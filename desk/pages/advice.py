"""The text of a notice: what happened, and what to do.

`{key}` is the notice's key, every other name one of its details.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ...events.events import EVENTS, MORE
from ...stores.ledger.notices import Notice

ADVICE: Mapping[str, tuple[str, str]] = {
    "mail_waiting": (
        "An answer could not be sent by mail yet: {why}.",
        "It is tried again. If the server or the login is at fault, look at [smtp] in the settings.",
    ),
    "mail_failed": (
        "An answer could not be sent by mail: {why}.",
        "Look at conversation {conversation}: the address may be wrong. Write from your own mail program.",
    ),
    "talk_waits": (
        "{waiting} conversations wait for more than two minutes: nobody who could take them has a place.",
        "Answer one of them yourself, or set yourself to available. If it happens often: `per_agent`, "
        "`departments` and the people's languages, see docs/desk.md.",
    ),
    "click_dropped": (
        "Visitors from {partner} came with a parameter {param} that holds no click id ({why}).",
        "Tell the partner: a macro in the links was not filled in, so clew cannot report these orders.",
    ),
    "click_suspicious": (
        "A click of {partner} did not come from outside the shop: {why}. It earns nothing.",
        "If the partner's terms allow it (cashback, voucher extensions), set `inside_clicks = true` for it.",
    ),
    "clicks_unusual": (
        "Clicks of {partner} look made up: {why}.",
        "Look at the partner's pages, and ask it how it links to the shop. Nothing was taken from it.",
    ),
    "fraud_suspected": (
        "Orders of {partner} are held, because it may not have earned them. Last: order {order}: {why}.",
        "Release or refuse each under “held” above. The partner is told “in review” only. What is looked at "
        "is in `[sites.fraud]`.",
    ),
    "code_leaked": (
        "A partner's coupon may have leaked. Last: order {order}: {why}.",
        "Ask the partner where the code was published. Release or refuse the held orders. If that is how the "
        "code is used, set `leak_orders = 0` for the partner.",
    ),
    "presence_failed": (
        "The API of {provider} did not say which agents are there: {why}.",
        "Check `presence_token`, and what the token may read. After ten minutes nobody counts as there.",
    ),
    "coupons_out": (
        "No single-use code of the coupon {coupon} is left for agents and invites.",
        "Load more under “Coupons”, or with `clew coupons add {coupon}`.",
    ),
    "commission_waiting": (
        "Commissions of {partner} are not approved, though their hold period is over. Last: order {order}: "
        "{why}.",
        "Settle the doubt on the order's page, or approve or decline its commission there.",
    ),
    "payout_impossible": (
        "{partner} cannot be paid: {why}. {amount} {currency} are due.",
        "Add the account to the settings, see docs/payouts.md. It is then paid with the next payout.",
    ),
    "consent_unreadable": (
        "The choice of a consent tool was not counted: {source}: {why}.",
        "If most visitors are concerned, look into the tool's settings; else it was a broken cookie.",
    ),
    "consent_silent": (
        "Consent is asked for, but {calls} calls in a row showed no consent tool. No visitor is recognised.",
        "See “Where consent is read” in the privacy guide: use a tool that clew reads, call "
        "`clew.consent()` on the pages, or set `mode` in `[sites.consent]`.",
    ),
    "reload_refused": (
        "Changed settings were not accepted, with {errors} errors. The first: {why}",
        "Correct it, then `clew reload`; `clew check` shows all errors. The running settings stay in use.",
    ),
    "reload_socket_taken": (
        "The socket by which `clew reload` reaches clew is taken by {by}: {why}.",
        "Find out why that process runs on this machine, and end it; then restart clew. SIGHUP reloads "
        "the settings in any case.",
    ),
    "clock_jump": (
        "The server's clock jumped by {seconds} seconds.",
        "Use a time service such as chrony. Clicks from before a step back still count.",
    ),
    "fact_failed": (
        "The shop's API does not tell {fact}: {why}.",
        "Rules that ask for it do not act meanwhile. Look at `url` in [sites.facts]; an address in a private "
        "network needs `allow_private`.",
    ),
    "rules_slow": (
        "The site's rules take more than {most} seconds for one visitor.",
        "Lines with patterns were left out, and rules with them did not act. Make the patterns shorter, or "
        "put a line before them that is false for most visitors.",
    ),
    "text_failed": (
        "The service that writes the text of the rule {rule} gave none: {why}.",
        "The rule's own `text` is said meanwhile. Look at `text_from` of the rule; an address in a private "
        "network needs `allow_private`.",
    ),
    "clock_off": (
        "The clock of a machine differs by {seconds} seconds from that of the ledger's server.",
        "Nothing is wrong in clew, which goes by the server's clock. But log lines have the machine's time, "
        "and certificates are checked by it: use a time service such as chrony.",
    ),
    "policy": (
        "A page's Content-Security-Policy restricts clew: {reason}. Last seen on {path}.",
        "See “Pages without the tag” in the operations guide for what to change in the shop's policy.",
    ),
    "order_unreadable": (
        "A page of the type {type} was shown, but no order was read on it: {why}. Last seen on {page}.",
        "If it showed an order, correct `[sites.order]` (`clew inspect` proposes selectors), and report the "
        "missed order by `POST orders`. If it did not, make `order.page` narrower. If a script draws the "
        "page, the browser tells of its orders: see `order.browser`.",
    ),
    "event_refused": (
        "The endpoint {endpoint} refused the event {id} ({type}, order {order}) again and again: {why}.",
        "It was left out. Correct the receiver, then send it again with `clew webhooks resend`.",
    ),
    "endpoint_failing": (
        "The endpoint {endpoint} does not take its events: {why}.",
        "See that its server answers with a status of 200 to 299. Its events wait in the ledger, and it is "
        "disabled after five days of failures.",
    ),
    "endpoint_disabled": (
        "The endpoint {endpoint} was disabled: {why}.",
        "Correct it, then write `clew webhooks resend {endpoint}`: it gets all that it has missed.",
    ),
    "webhook_refused": (
        "A webhook of {source} was refused: {why}.",
        "Compare the secret in `[sites.webhooks]`, or `[sites.chat]`, with the one that the system shows. "
        "If nobody has set the webhook up, a stranger tries the address.",
    ),
    "webhook_unread": (
        "A webhook of {source} could not be read, so no order was changed: {why}.",
        "Report the order by `POST orders`, or correct the shop system's settings. The body is kept in the "
        "ledger's table `deliveries`.",
    ),
    "talk_unknown": (
        "A conversation in the chat of {provider} ended, and it is not known which visitor had it.",
        "An order in it earns nobody anything. See “Whose conversation it is” in the guide to chats: does "
        "the provider send the attribute `clew_ref`? Else the agent types the visitor's code.",
    ),
    "talk_unsure": (
        "Pages of several visitors claim the same conversation in the chat of {provider}: it is nobody's.",
        "If it happens often, somebody guesses the ids of conversations. Have the provider send the "
        "attribute `clew_ref`, which decides.",
    ),
    "chat_order_unread": (
        "An order that {by} told in a chat was not recorded as it says: {why}.",
        "Record or correct it at the desk. Agents write `/order`, the number and the total, as in "
        "/order 1001 59.90.",
    ),
    "webhook_state": (
        "The shop system has a state that clew does not know; the order {order} kept its own. Key: {key}.",
        "Say what it means in the settings: {setting}",
    ),
    "carrier_unknown": (
        "The order {order} of {key} brought a token that names no visitor: {why}.",
        "The shop has to keep the whole token, as it got it, and each site has its own.",
    ),
    "order_held": (
        "Orders are held, and their partners were not notified. Last: order {order} for {partner}: {why}.",
        "Release, correct or refuse each under “held” above. If many correct orders are held, see "
        "`[sites.hold]` and `order.confirm` in the settings.",
    ),
    "order_conflict": (
        "Reports of the order {order} disagree: {why}.",
        "Check which report is right, and correct the order. If the partner was notified already, inform it "
        "of the difference.",
    ),
    "order_crowded": (
        "Your shop reports the order {order} again and again, each time in another way.",
        "Find out why the shop's reports run in a loop. Then look at the order's state, and release it.",
    ),
    "report_given_up": (
        "{reports} reports without an order number fitted no order. They are not looked at any more.",
        "Have the shop's server send the order's number as `id`, or place such reports sooner.",
    ),
    "page_unread": (
        "A page was not read for its order and cart: {why}. Last seen on {page}.",
        "If that page is your shop's own, report its orders by `POST orders`; "
        "otherwise it was made to overload clew, and there is nothing to do.",
    ),
    "currency_unknown": (
        "Carts on the shop's pages do not tell their currency, such as $, which is that of several. "
        "Last seen on {page}.",
        "Set `currency` in `[sites.cart]`. Until then these carts are compared with no order.",
    ),
    "ledger_down": (
        "The ledger does not answer: {why}. Pages are sent, and orders wait in the journal of each machine.",
        "Look at that server and at the way to it. Clew tries it again by itself.",
    ),
    "order_journalled": (
        "The {key} did not take orders, for example order {order}: they were written to the journal "
        "of this machine, and are recorded by themselves.",
        "See why the ledger did not answer: `ready` says whether it does now.",
    ),
    "order_waiting": (
        "Orders of a site {key}, which is not in the settings, wait in the journal of this machine.",
        "Put the site back into the settings, and restart clew: they are recorded then.",
    ),
    "order_unrecorded": (
        "The order {order} over {total} {currency} could not be written into the ledger.",
        "Look at the disk and the ledger's file. The log line `order_unrecorded` holds the whole order: "
        "report it by `POST orders`.",
    ),
    "host_unknown": (
        "Requests came for the host {key}, which belongs to no site. Known hosts: {known}.",
        "Add it to `hosts` of its site if it is a shop's name. Requests of a load balancer by "
        "address, or of a scanner, need nothing.",
    ),
    "selector_unmatched": (
        "The selector `{key}` ({selector}) has found nothing on {pages} {kind} pages for a day or longer.",
        "Look at such a page of your shop, and set the selector in the settings. `clew inspect` proposes "
        "those of the cart. A fact that no page shows is missing: its rules do not act.",
    ),
    "file_unscanned": (
        "Files are refused, because they cannot be checked for viruses: {why}.",
        "Look at the scanner, or at `scan` in `[sites.files]`. No file was lost: senders were asked to try "
        "again.",
    ),
    "invites_throttled": (
        "Rules would invite more visitors than your agents have places for.",
        "More agents, a smaller `share` of visitors, or fewer rules help. `throttle` in `[sites.invites]` is "
        "how many invites there are for each place.",
    ),
    "rules_refused": (
        "Revision {revision} of the rules does not compile, so that revision {in_force} is in force: {why}.",
        "Correct it, and set it again; or go back to an earlier one. 0 means the rules of the settings.",
    ),
    "rules_doubtful": (
        "Rules name what the settings do not have any more: {why}.",
        "Those lines are never true. Correct the rules, or the settings.",
    ),
    "rules_overridden": (
        "The rules in the settings changed, but revision {revision}, which was set by hand, is in force.",
        "To use those of the settings, go back to them in the history of the rules.",
    ),
    "rules_stale": (
        "Nobody has looked at these rules for {days} days: {rules}.",
        "See “Review” at the rules: keep what is good, and change or remove the rest.",
    ),
    "rule_judged": (
        "There is a verdict: {key}. {why}",
        "It stands. See “Results”: keep what is good, and replace what is bad.",
    ),
    "rule_ended": (
        "The rule {key} has ended by itself.",
        "Look at what it came to. Remove it, or set a later `ends`.",
    ),
    "exposures_dropped": (
        "The ledger was too slow or away, so that {rows} visitors are missing in the figures of rules.",
        "Those of all arms are missing alike. See why the ledger was slow: `ready`, and its own log.",
    ),
    "traffic_dropped": (
        "{rows} page views are missing in the sample with which rules are tried: too many came at once, or "
        "the ledger was slow.",
        "Figures of `clew rules try` are less sure for that time. See whether the visits were real.",
    ),
    "callbacks_full": (
        "The form for callbacks takes nobody more: {most} visitors wait for a call.",
        "Call them, or drop those that are none, under “Callbacks”. `waiting` in `[sites.callback]` says how "
        "many may wait.",
    ),
    "files_full": (
        "No more files are taken in the chat: {most} MB are kept.",
        "Set `total_megabytes` higher in `[sites.files]`, or keep files for a shorter time (`keep`).",
    ),
    "limited": (
        "Requests were over the limit `{limit}`, by {scope}. Refused last: {client}.",
        "If these were visitors, raise `[limits]`, or name the proxy in front of clew in `trusted_proxies`. "
        "If it was an attack, there is nothing to do.",
    ),
    "proxy_untrusted": (
        "{peer} sends a proxy's header ({header}) and is not trusted: behind https, cookies are then not "
        "Secure, and the shop gets http as the scheme.",
        "If it is your proxy, let it set X-Forwarded-Proto and X-Forwarded-For, and write {setting}. "
        "If you do not know the address, ignore this: any client can send such a header.",
    ),
    "second_factor_wrong": (
        "The password of {agent} was right, but the code after it was wrong.",
        "If that was not {agent}, somebody else knows the password: have it changed under People.",
    ),
    "token_refused": (
        "A request to {path} from {key} had a wrong token.",
        "If that was your shop's server, give it the token of the settings; otherwise somebody tries to "
        "guess it.",
    ),
    "postback_failed": (
        "{partner} may not know of its orders. Last: order {order} is {outcome}, status {status}, answer "
        "“{answer}”.",
        "Dead: fix the cause, and retry. Unknown: ask the partner first. Both are listed above.",
    ),
    "partner_token": (
        "{key} cannot be told of orders: {why}.",
        "Check the partner's credentials in the settings. Its postbacks are retried meanwhile.",
    ),
    "partner_slow": (
        "The server of {key} takes {seconds} seconds to answer.",
        "Postbacks to it are delivered a few at a time; others do not wait for them. Tell the partner.",
    ),
    "unusable": (
        "Clew cannot be used: {why}. The shop goes on without it.",
        "Correct the cause, then start clew again.",
    ),
    "visits_down": (
        "The visit store does not answer: {why}. Pages go on without it; orders are credited by the cookie.",
        "Look at that server and at the way to it. Clew tries it again every few seconds.",
    ),
    "fault": (
        "Something of clew's own failed in {where}: {error}. The shop's pages were passed on unchanged.",
        "Look at the log. If the ledger or the disk is the cause, fix that; otherwise report a bug.",
    ),
}


def advice(notice: Notice) -> tuple[str, str]:
    """What happened and what to do, in plain words."""
    if notice.key == MORE:
        return f"More of the same, beyond what is listed: {EVENTS.get(notice.event, notice.event)}.", ""
    known = ADVICE.get(notice.event)
    if known is None:
        return f"{EVENTS.get(notice.event, notice.event).capitalize()}: {notice.key}.", ""
    values: defaultdict[str, Any] = defaultdict(lambda: "?", notice.details, key=notice.key)
    return known[0].format_map(values), known[1].format_map(values)
