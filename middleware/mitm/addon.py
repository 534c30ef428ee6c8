"""The mitmproxy mount: an addon that drives the exchange, for trying a shop out and looking at its flows.

`clew mitm` starts mitmdump with it; `script.py` is what mitmproxy's option `scripts` names. In reverse mode
`keep_host_header` has to be on: the addon sets Host itself. In regular mode, where the browser is set to use
the proxy, the shop keeps its own address.
"""

import asyncio
import logging
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.proxy.mode_specs import ProxyMode, ReverseMode

from ...events.logs import configure_logs
from ...service.check import checked
from ...service.service import Service
from ...settings.load import SettingsErrors
from ...settings.model import Settings
from .flows import Flows
from .pages import OwnPages
from .request import Requests
from .response import Responses
from .stream import Relays, take_over
from .view import View

_LOG = logging.getLogger("clew.mitm")


class Clew:
    """The addon. Its options are `clew_config`, `clew_rewrite` and `clew_open`."""

    _service: Service
    _requests: Requests
    _responses: Responses

    def __init__(self) -> None:
        # Once it is set, clew runs, and the hooks have what `_start` makes.
        self._ready = asyncio.Event()
        self._to_stop = AsyncExitStack()
        self._flows = Flows()
        self._relays = Relays()

    # -- the life of mitmproxy

    def load(self, loader: Any) -> None:
        """Name the options."""
        loader.add_option("clew_config", str, "", "clew's settings file.")
        loader.add_option(
            "clew_rewrite",
            bool,
            False,
            "In reverse mode: ask the shop under its own name, and keep the browser on the local address.",
        )
        loader.add_option("clew_open", str, "", "The address that is printed when everything is ready.")

    async def running(self) -> None:
        """Start. An error here ends mitmproxy (its addon `errorcheck`)."""
        try:
            view = await self._start(_settings())
        except SettingsErrors as error:
            _LOG.error("%s", error)
            return
        except Exception as error:
            _LOG.error("clew cannot start: %s", error)
            return
        self._ready.set()
        if view is not None:
            view.ready(ctx.options.clew_open)

    async def _start(self, settings: Settings) -> View | None:
        view = None
        if settings.log == "console":
            view = View()
        else:
            configure_logs(settings.log)
        service = Service(settings)
        self._to_stop.push_async_callback(service.stop)
        _check_modes(service)
        await service.start()
        pages = OwnPages()
        self._to_stop.push_async_callback(pages.stop)
        self._to_stop.callback(service.hub.close)
        await pages.start()
        self._service = service
        self._requests = Requests(service, pages, self._flows)
        self._responses = Responses(service, pages, self._flows, self._relays, view, self._fault)
        return view

    async def done(self) -> None:
        """Stop."""
        await self._to_stop.aclose()

    def next_layer(self, nextlayer: Any) -> None:
        """Let mitmproxy choose a connection's layers, then have the HTTP layer make streams of ours."""
        ctx.master.addons.get("nextlayer").next_layer(nextlayer)
        take_over(nextlayer.context.layers, self._relays)

    # -- the life of a flow

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Send the request on its way: to the shop, or to our own pages."""
        flow.request.stream = True
        if flow.error is not None:
            return
        await self._ready.wait()
        try:
            await self._requests.send(flow)
        except Exception as error:
            self._fault(error)
            self._requests.send_unchanged(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Take the shop's head."""
        flow.response.stream = True
        if self._ready.is_set():
            self._responses.head(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        """All bytes of the response have been sent."""
        if self._ready.is_set():
            self._responses.close(flow, "")

    def error(self, flow: http.HTTPFlow) -> None:
        """The flow has ended before it was complete."""
        if self._ready.is_set():
            self._responses.close(flow, "" if flow.error is None else flow.error.msg)

    def _fault(self, error: Exception) -> None:
        self._service.events.emit("fault", site="", where="mitmproxy", error=repr(error))


def _settings() -> Settings:
    path = Path(ctx.options.clew_config)
    if not ctx.options.clew_config:
        raise ValueError("the option clew_config names no settings file: --set clew_config=clew.toml")
    return checked(path, os.environ)


def _check_modes(service: Service) -> None:
    for mode in map(ProxyMode.parse, ctx.options.mode):
        if not isinstance(mode, ReverseMode):
            continue
        if not ctx.options.keep_host_header:
            raise ValueError("in reverse mode clew sets the Host header: --set keep_host_header=true")
        host, port = mode.address
        if ctx.options.clew_rewrite and service.sites.at(f"{host}:{port}") is None:
            file = ctx.options.clew_config
            raise ValueError(f"{file} has no site for {host}: add it to `hosts`, or leave `hosts` out")
