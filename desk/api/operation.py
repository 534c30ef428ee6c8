"""What the API for programs offers: each operation with all that its documentation says."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...settings.model import ApiScope
from ..context import RequestContext
from ..guard import Refused, api, require_scope

Method = Literal["GET", "POST"]
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
        if self.scope is not None:
            require_scope(request, at, self.scope)
        known = [p.name for p in self.parameters if p.place == "query"]
        given = [name for name, _ in request.query_params.multi_items()]
        for name in given:
            if name not in known:
                may = f"known are {', '.join(known)}" if known else "this call has none"
                raise Refused(400, f"unknown parameter {name[:40]!r}: {may}")
            if given.count(name) > 1:
                raise Refused(400, f"{name} is there {given.count(name)} times: send it once")
        return await self.handler(request, at)


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
