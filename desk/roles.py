"""Who may do what at the desk: one table, by path and method. A page that is missing here is not served."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..stores.ledger.roles import ROLES, Role

Who = Literal["anyone", "partner", "agent", "lead", "owner"]
"""`anyone` needs no login; `partner` is the login of a partner, which opens nothing else; each of the three
roles includes the ones before it."""

DESK: Final = "/desk"
_SCOPE: Final = "clew.rule"
PRESENCE: Final = "clew.presence"
"""Where a request's scope has its agent's presence at the site that was chosen."""
PREFS: Final = "clew.prefs"
"""Where it has how the agent's desk tells it of messages: `Prefs`."""
MAY: Final = "clew.may"
"""Where a request's scope has what its agent may do here: a function of a key of RULES."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a page needs. `what` says in a few words what one does there. A `personal` page is one's own: it
    is there also before a site is chosen, and `unlocked` ones before a second factor is set up that the
    settings ask for.

    `audit` is the action that the audit trail has of it when it was done, with the form's fields `kept`; none
    of them may be a secret.
    """

    who: Who
    what: str
    personal: bool = False
    unlocked: bool = False
    audit: str = ""
    kept: tuple[str, ...] = ()

    @property
    def role(self) -> Role:
        """The role that the page needs; there is none for pages that are not for agents."""
        return next(role for role in ROLES if role == self.who)


def _own(what: str, audit: str = "", *kept: str) -> Rule:
    return Rule("agent", what, personal=True, unlocked=True, audit=audit, kept=kept)


_TALK = "/conversations/{id}"
_SALE = ("order_id", "total", "currency")
# Not why something was done: that stands in the order's history, where `forget` finds it.
_LOST = ("order", "partner")
_MOVE = ("number",)
_VERDICT = ("verdict", "partner")
_RULES = ("revision", "rule", "note")
_CORRECTION = ("state", "amount", "partner")
RULES: Final[Mapping[str, Rule]] = {
    "GET /login": Rule("anyone", "the login form"),
    "POST /login": Rule("anyone", "log in"),
    "GET /login/code": Rule("anyone", "the form for a code"),
    "POST /login/code": Rule("anyone", "give the code"),
    "GET /join": Rule("anyone", "open an invitation"),
    "POST /join": Rule("anyone", "accept an invitation"),
    "GET /reset": Rule("anyone", "open a link for a new password"),
    "POST /reset": Rule("anyone", "set a new password"),
    "GET /desk.css": Rule("anyone", "the style sheet"),
    "GET /desk.js": Rule("anyone", "the script"),
    "GET ": Rule("agent", "the inbox", personal=True),
    "GET /": Rule("agent", "the inbox", personal=True),
    "POST /logout": Rule("agent", "log out", personal=True, unlocked=True),
    "GET /account": _own("one's own account"),
    "POST /account/name": _own("set the name that visitors see", "account.name", "shown"),
    "POST /account/password": _own("set one's password", "account.password"),
    "POST /account/sessions": _own("end one's sessions", "account.sessions", "session"),
    "GET /account/factor": _own("one's second factor"),
    "POST /account/factor": _own("show the secret for an authenticator"),
    "POST /account/factor/confirm": _own("turn the second factor on", "account.factor.on"),
    "POST /account/factor/codes": _own("make new recovery codes", "account.factor.codes"),
    "POST /account/factor/remove": _own("turn the second factor off", "account.factor.off"),
    "GET /stream": Rule("agent", "hear of changes"),
    "GET /lines": Rule("agent", "the inbox, for a page that shows it"),
    "POST /close": Rule("agent", "close several conversations"),
    f"GET {_TALK}": Rule("agent", "read a conversation"),
    f"POST {_TALK}/messages": Rule("agent", "answer"),
    f"POST {_TALK}/typing": Rule("agent", "tell the visitor that one is writing"),
    f"POST {_TALK}/seen": Rule("agent", "tell the visitor that its messages were read"),
    f"POST {_TALK}/files": Rule("agent", "send a file"),
    f"POST {_TALK}/cobrowsing": Rule("agent", "ask to see the visitor's page"),
    f"POST {_TALK}/open": Rule("agent", "propose a page of the shop"),
    f"GET {_TALK}/cobrowsing/page": Rule("agent", "the page that the visitor shows"),
    "GET /files/{id}": Rule("agent", "a file of a conversation"),
    f"POST {_TALK}/take": Rule("agent", "take a conversation"),
    f"POST {_TALK}/close": Rule("agent", "close a conversation"),
    f"POST {_TALK}/transfer": Rule("agent", "give a conversation to others"),
    f"POST {_TALK}/notes": Rule("agent", "add a note that visitors do not see"),
    f"POST {_TALK}/block": Rule(
        "agent", "block a visitor", audit="visitor.blocked", kept=("hours", "network")
    ),
    "POST /presence": Rule("agent", "say whether one takes conversations"),
    "GET /blocks": Rule("lead", "blocked visitors"),
    "POST /blocks/{id}/lift": Rule("lead", "end a block", audit="visitor.unblocked"),
    f"POST {_TALK}/order": Rule("agent", "record an order", audit="order.recorded", kept=_SALE),
    f"POST {_TALK}/undo": Rule(
        "agent", "undo an order just recorded", audit="order.undone", kept=("order_id",)
    ),
    "GET /talks": Rule("agent", "one's own conversations side by side"),
    "GET /search": Rule("agent", "search conversations"),
    f"POST {_TALK}/tags": Rule("agent", "tag a conversation"),
    "POST /account/alerts": _own("set sound, notifications and keys", "account.alerts", "notify"),
    "GET /canned": Rule("agent", "the canned answers"),
    "POST /canned": Rule("agent", "write a canned answer of one's own"),
    "POST /canned/remove": Rule("agent", "remove a canned answer of one's own"),
    "POST /canned/site": Rule(
        "lead", "write a canned answer of the site", audit="canned.saved", kept=("shortcut", "language")
    ),
    "POST /canned/site/remove": Rule(
        "lead", "remove a canned answer of the site", audit="canned.removed", kept=("row", "language")
    ),
    f"GET {_TALK}/offers": Rule("agent", "the form for a link or an offer"),
    f"POST {_TALK}/offers": Rule(
        "agent", "send a link or an offer", audit="offer.sent", kept=("page", "coupon", "cart")
    ),
    f"POST {_TALK}/offers/withdraw": Rule("agent", "end a link", audit="offer.withdrawn", kept=("offer",)),
    "GET /callbacks": Rule("agent", "the callbacks"),
    "POST /callbacks/{id}": Rule(
        "agent", "note what became of a call", audit="callback.settled", kept=("state",)
    ),
    "POST /callbacks/{id}/take": Rule(
        "agent", "say that one calls", audit="callback.taken", kept=("over", "do")
    ),
    "POST /callbacks/{id}/order": Rule(
        "agent", "record an order closed in a call", audit="order.recorded", kept=_SALE
    ),
    "GET /orders": Rule("agent", "look for an order"),
    "GET /orders/{id}": Rule("agent", "the history of an order"),
    "POST /orders/{id}/correct": Rule(
        "lead", "correct an order or its credit", audit="credit.corrected", kept=_CORRECTION
    ),
    "POST /needs": Rule(
        "lead", "mark a line of “Needs attention” as done", audit="notice.done", kept=("notice",)
    ),
    "GET /waiting": Rule("lead", "what waits for a person"),
    "POST /waiting/lost": Rule(
        "lead", "give an order that nobody earns to a partner", audit="credit.assigned", kept=_LOST
    ),
    "GET /coupons": Rule("lead", "coupons, and what offers came to"),
    "POST /coupons": Rule("lead", "add single-use codes", audit="coupons.added", kept=("coupon",)),
    "GET /rules": Rule("lead", "the rules that are in force"),
    "POST /rules": Rule(
        "lead", "turn a rule on or off, or change its priority", audit="rules.set", kept=_RULES
    ),
    "GET /rules/edit": Rule("lead", "a rule in a form"),
    "POST /rules/edit": Rule("lead", "save or remove a rule", audit="rules.set", kept=_RULES),
    "GET /rules/text": Rule("lead", "all rules as a text"),
    "POST /rules/text": Rule("lead", "set all rules", audit="rules.set", kept=_RULES),
    "GET /rules/preview": Rule("lead", "what rules decide on a page"),
    "POST /rules/preview": Rule("lead", "try rules that are not in force"),
    "GET /rules/try": Rule("lead", "rules on recorded visits, and what these suggest"),
    "POST /rules/try": Rule("lead", "try rules that are not in force on recorded visits"),
    "GET /rules/history": Rule("lead", "who set which rules"),
    "GET /rules/history/{number}": Rule("lead", "a revision of the rules"),
    "POST /rules/rollback": Rule(
        "lead", "set the rules of an earlier revision", audit="rules.rolled_back", kept=(*_RULES, "to")
    ),
    "GET /rules/review": Rule("lead", "what there is to do about rules"),
    "POST /rules/review": Rule(
        "lead", "note that a rule was reviewed", audit="rules.reviewed", kept=("rule",)
    ),
    "GET /rules/rule": Rule("lead", "what a rule says and brought, and its conversations"),
    "POST /rules/mark": Rule(
        "lead",
        "say whether a rule's conversation made sense",
        audit="rules.marked",
        kept=("rule", "conversation", "sensible"),
    ),
    "GET /team": Rule("lead", "who is there, and figures of conversations"),
    "GET /team.csv": Rule("lead", "figures of conversations as a file", audit="export.team"),
    "GET /results": Rule("lead", "what rules bring"),
    "GET /results/{sheet}.csv": Rule("lead", "a table of what rules bring as a file", audit="export.results"),
    "GET /reports": Rule("lead", "reports without an order"),
    "POST /reports/{id}": Rule(
        "lead", "say to which order a report belongs", audit="report.moved", kept=_MOVE
    ),
    "GET /postbacks": Rule("lead", "calls to partners"),
    "POST /postbacks/{id}": Rule(
        "lead", "settle a call to a partner", audit="postback.settled", kept=("do", "amount")
    ),
    "POST /orders/{id}/commission": Rule(
        "owner", "approve or decline a commission", audit="commission.decided", kept=_VERDICT
    ),
    "GET /orders.csv": Rule("owner", "orders as a file", audit="export.orders"),
    "GET /revenue": Rule("owner", "revenue and commission"),
    "GET /revenue.csv": Rule("owner", "revenue as a file", audit="export.revenue"),
    "GET /partners": Rule("owner", "partners' figures"),
    "GET /partners.csv": Rule("owner", "partners' figures as a file", audit="export.partners"),
    "GET /networks": Rule("owner", "the networks side by side"),
    "GET /access": Rule("owner", "partners' access"),
    "POST /access/link": Rule(
        "owner", "make a link to a partner's pages", audit="partner.link", kept=("partner", "days")
    ),
    "POST /access/revoke": Rule(
        "owner", "revoke links to a partner's pages", audit="partner.revoked", kept=("partner",)
    ),
    "GET /people": Rule("owner", "the people of the desk"),
    "POST /people/invite": Rule(
        "owner", "invite somebody", audit="invitation.made", kept=("role", "sites", "note")
    ),
    "POST /people/invitations/{id}/revoke": Rule("owner", "revoke a link", audit="invitation.revoked"),
    "GET /people/{name}": Rule("owner", "a person of the desk"),
    "POST /people/{name}/role": Rule("owner", "change a role", audit="person.role", kept=("role", "where")),
    "POST /people/{name}/work": Rule(
        "owner", "set what a person takes", audit="person.work", kept=("capacity", "languages", "departments")
    ),
    "POST /people/{name}/remove": Rule("owner", "remove a person", audit="person.removed"),
    "POST /people/{name}/password": Rule(
        "owner", "make a link for a new password", audit="person.password_link"
    ),
    "POST /people/{name}/factor": Rule("owner", "take a second factor away", audit="person.factor_reset"),
    "POST /people/{name}/sessions": Rule(
        "owner", "end a person's sessions", audit="person.sessions", kept=("session",)
    ),
    "GET /audit": Rule("owner", "the audit trail"),
    "GET /audit.csv": Rule("owner", "the audit trail as CSV", audit="export.audit"),
    "GET /audit.ndjson": Rule("owner", "the audit trail as ndjson", audit="export.audit"),
    "GET /chat-order": Rule("anyone", "the form of a link for agents of another company's chat"),
    "POST /chat-order": Rule("anyone", "record an order by such a link"),
    "GET /partner/enter": Rule("anyone", "open a partner's link"),
    "GET /partner/login": Rule("anyone", "the login form of partners"),
    "POST /partner/login": Rule("anyone", "log in as a partner"),
    "POST /partner/logout": Rule("partner", "log out"),
    "GET /partner/": Rule("partner", "a partner's overview"),
    "GET /partner/orders": Rule("partner", "a partner's orders"),
    "GET /partner/orders.csv": Rule("partner", "a partner's orders as a file"),
    "GET /partner/calls": Rule("partner", "the calls to a partner's server"),
    "POST /partner/calls/{id}/again": Rule("partner", "have a call sent again"),
}
"""By method and path below the desk's. The table in docs/operations.md is made from it."""


class NoRuleError(LookupError):
    """A page of the desk that RULES does not name; the text says which."""


def rule_for(method: str, path: str) -> Rule:
    """The rule of a method and a route's path. Raises NoRuleError."""
    name = f"{'GET' if method == 'HEAD' else method} {path.removeprefix(DESK)}"
    try:
        return RULES[name]
    except KeyError:
        raise NoRuleError(f"{name!r} has no role: add it to RULES in desk/roles.py") from None


def ruled(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """The routes, each of the desk's with its rule for its requests. Raises NoRuleError for one without."""
    return [_ruled(route) if _is_desks(route) else route for route in routes]


def _is_desks(route: BaseRoute) -> bool:
    path = getattr(route, "path", DESK)
    return path == DESK or path.startswith(f"{DESK}/")


def _ruled(route: BaseRoute) -> BaseRoute:
    if not isinstance(route, Route) or not route.methods:
        raise NoRuleError(f"{route!r}: a page of the desk is a Route that names its methods")
    found = copy.copy(route)
    found.app = _WithRule(route.app, {method: rule_for(method, route.path) for method in route.methods})
    return found


class _WithRule:
    def __init__(self, app: ASGIApp, rules: Mapping[str, Rule]) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A method that the route does not have is answered with 405 behind this.
        scope[_SCOPE] = self._rules.get(scope["method"])
        await self._app(scope, receive, send)


def rule_of(request: Request) -> Rule:
    """The rule of the page that a request asks for. Raises NoRuleError."""
    found = request.scope.get(_SCOPE)
    if not isinstance(found, Rule):
        raise NoRuleError(f"{request.method} {request.url.path} has no role")
    return found
