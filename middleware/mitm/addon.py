"""The mitmproxy mount: an addon that drives the exchange, to try clew with a shop and look at its flows.

`clew mitm` starts mitmdump with it; mitmproxy's option `scripts` names `script.py`. Reverse mode requires
`keep_host_header`, because the addon sets Host itself. In regular mode the browser is configured to use the
proxy, and the shop keeps its own address.
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
        # Set once clew has started: the attributes that `_start` sets then exist.
        self._ready = asyncio.Event()
        self._to_stop = AsyncExitStack()
        self._flows = Flows()
        self._relays = Relays()

    # -- start and stop

    def load(self, loader: Any) -> None:
        """Add the options."""
        loader.add_option("clew_config", str, "", "clew's settings file.")
        loader.add_option(
            "clew_rewrite",
            bool,
            False,
            "In reverse mode: send the shop its own Host, and keep the browser on the local address.",
        )
        loader.add_option("clew_open", str, "", "The address to print when clew is ready.")

    async def running(self) -> None:
        """Start. mitmproxy's addon `errorcheck` exits if an error is logged here."""
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
        """Let mitmproxy choose a connection's layers, then make its HTTP layers create our streams."""
        ctx.master.addons.get("nextlayer").next_layer(nextlayer)
        take_over(nextlayer.context.layers, self._relays)

    # -- flows

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Forward the request to the shop, or to clew's own pages."""
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
        """The shop's response head has arrived."""
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
        raise ValueError("the option clew_config is not set: add --set clew_config=clew.toml")
    return checked(path, os.environ)


def _check_modes(service: Service) -> None:
    for mode in map(ProxyMode.parse, ctx.options.mode):
        if not isinstance(mode, ReverseMode):
            continue
        if not ctx.options.keep_host_header:
            raise ValueError("clew sets the Host header in reverse mode: add --set keep_host_header=true")
        host, port = mode.address
        if ctx.options.clew_rewrite and service.sites.at(f"{host}:{port}") is None:
            file = ctx.options.clew_config
            raise ValueError(f"{file} has no site for {host}: add it to a site's `hosts`, or omit `hosts`")
