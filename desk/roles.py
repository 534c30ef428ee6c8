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
MAY: Final = "clew.may"
"""Where a request's scope has what its agent may do here: a function of a key of RULES."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a page needs. `what` says in a few words what one does there. A `personal` page is one's own: it
    is there also before a site is chosen."""

    who: Who
    what: str
    personal: bool = False

    @property
    def role(self) -> Role:
        """The role that the page needs; there is none for pages that are not for agents."""
        return next(role for role in ROLES if role == self.who)


_TALK = "/conversations/{id}"
RULES: Final[Mapping[str, Rule]] = {
    "GET /login": Rule("anyone", "the login form"),
    "POST /login": Rule("anyone", "log in"),
    "GET /desk.css": Rule("anyone", "the style sheet"),
    "GET /desk.js": Rule("anyone", "the script"),
    "GET ": Rule("agent", "the inbox", personal=True),
    "GET /": Rule("agent", "the inbox", personal=True),
    "POST /logout": Rule("agent", "log out", personal=True),
    "GET /stream": Rule("agent", "hear of changes"),
    "POST /close": Rule("agent", "close several conversations"),
    f"GET {_TALK}": Rule("agent", "read a conversation"),
    f"POST {_TALK}/messages": Rule("agent", "answer"),
    f"POST {_TALK}/take": Rule("agent", "take a conversation"),
    f"POST {_TALK}/close": Rule("agent", "close a conversation"),
    f"POST {_TALK}/order": Rule("agent", "record an order"),
    "GET /orders": Rule("agent", "look for an order"),
    "GET /orders/{id}": Rule("agent", "the history of an order"),
    "POST /orders/{id}/correct": Rule("lead", "correct an order or its credit"),
    "POST /needs": Rule("lead", "mark a line of “Needs attention” as done"),
    "GET /waiting": Rule("lead", "what waits for a person"),
    "POST /waiting/lost": Rule("lead", "give an order that nobody earns to a partner"),
    "GET /reports": Rule("lead", "reports without an order"),
    "POST /reports/{id}": Rule("lead", "say to which order a report belongs"),
    "GET /postbacks": Rule("lead", "calls to partners"),
    "POST /postbacks/{id}": Rule("lead", "settle a call to a partner"),
    "POST /orders/{id}/commission": Rule("owner", "approve or decline a commission"),
    "GET /orders.csv": Rule("owner", "orders as a file"),
    "GET /revenue": Rule("owner", "revenue and commission"),
    "GET /revenue.csv": Rule("owner", "revenue as a file"),
    "GET /partners": Rule("owner", "partners' figures"),
    "GET /partners.csv": Rule("owner", "partners' figures as a file"),
    "GET /networks": Rule("owner", "the networks side by side"),
    "GET /access": Rule("owner", "partners' access"),
    "POST /access/link": Rule("owner", "make a link to a partner's pages"),
    "POST /access/revoke": Rule("owner", "revoke links to a partner's pages"),
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
