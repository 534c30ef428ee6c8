"""What the API for programs offers: each operation with all that its documentation says."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...service.limits import network_of
from ...settings.model import ApiScope
from ...stores.ledger.audit import Act
from ..context import RequestContext
from ..guard import Refused, api, require_scope

Method = Literal["GET", "POST"]
AUDITED: Final[Mapping[str | None, str]] = {
    "export": "export.api",
    "forget": "person.forgotten",
    "commissions:write": "commission.api",
    "rules:write": "rules.api",
}
"""What the audit trail has of calls, by the scope that they need."""
Handler = Callable[[Request, RequestContext], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an operation, in the query or in the path. `schema` is its JSON Schema."""

    name: str
    about: str
    schema: Mapping[str, Any]
    place: Literal["query", "path"] = "query"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    `path` is relative to the site's prefix. `scope` is what the token must be allowed to do; None: no token
    is needed. `answers` has the model of the body of each response that is no error; a text is the media
    type of a body that is not JSON. `errors` are the statuses that may come besides those that every
    operation has.
    """

    method: Method
    path: str
    name: str
    about: str
    handler: Handler
    answers: Mapping[int, type[BaseModel] | str]
    scope: ApiScope | None = None
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()

    async def serve(self, request: Request, at: RequestContext) -> Response:
        """The answer, after the token and the names of the parameters were checked. Raises Refused."""
        name = "" if self.scope is None else require_scope(request, at, self.scope)
        known = [p.name for p in self.parameters if p.place == "query"]
        given = [name for name, _ in request.query_params.multi_items()]
        for one in given:
            if one not in known:
                may = f"known are {', '.join(known)}" if known else "this call has none"
                raise Refused(400, f"unknown parameter {one[:40]!r}: {may}")
            if given.count(one) > 1:
                raise Refused(400, f"{one} is there {given.count(one)} times: send it once")
        answer = await self.handler(request, at)
        if self.scope in AUDITED:
            await self._audit(request, at, name)
        return answer

    async def _audit(self, request: Request, at: RequestContext, token: str) -> None:
        """No line has whom `forget` deletes: that must not stay here."""
        assert self.scope is not None
        subject = "/".join(str(request.path_params[p.name]) for p in self.parameters if p.place == "path")
        network = network_of(at.origin.client) or ""
        act = Act(at.site.name, f"token {token}", AUDITED[self.scope], subject or self.name, network)
        # A program reads page after page, day and night.
        await (at.service.auditing.repeated(act) if self.method == "GET" else at.service.auditing.note(act))


def routes_of(operations: Iterable[Operation]) -> list[Route]:
    """A route for each path, with all its methods."""
    paths: dict[str, dict[str, Operation]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method] = one
    return [Route(path, _endpoint(methods), methods=list(methods)) for path, methods in paths.items()]


def _endpoint(methods: Mapping[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request, at: RequestContext) -> Response:
        # Starlette adds HEAD to GET.
        method = "GET" if request.method == "HEAD" else request.method
        return await methods[method].serve(request, at)

    return api(endpoint)
