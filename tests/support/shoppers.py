"""A visitor as its browser behaves: cookies, navigations, forms, what the loader asks; and a shop for it."""

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx2

CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)
NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Upgrade-Insecure-Requests": "1",
}


@dataclass(frozen=True)
class Asked:
    """A request as the shop got it."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What the shop says."""

    body: str = "<!doctype html><html lang=en><head><title>A page</title></head><body>hello</body></html>"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/html; charset=utf-8"),)


class Shop:
    """Answers each request by `answer`."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                found = answer(Asked(self.command, parts.path, parts.query, headers, body))
                data = found.body.encode()
                self.send_response(found.status)
                for name, value in (*found.headers, ("Content-Length", str(len(data)))):
                    self.send_header(name, value)
                self.end_headers()
                with suppress(OSError):  # nobody may want it any more
                    self.wfile.write(data)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass
class Shopper:
    """One browser at one host behind clew. `headers` go with each of its requests."""

    address: str
    host: str
    client: httpx2.Client
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    path: str = "/"
    referrer: str = ""
    view: str = ""
    title: str = "A page"
    answer: dict[str, Any] = field(default_factory=dict)

    def open(self, path: str, referrer: str | None = None, **headers: str) -> httpx2.Response:
        """Follow a link to a page; from the page it is on, unless `referrer` says otherwise."""
        if referrer is None:
            referrer = f"http://{self.host}{self.path}" if self.view else ""
        fields = {**NAVIGATION, **({"Referer": referrer} if referrer else {}), **headers}
        response = self._send("GET", path.partition("#")[0], fields)
        self.path, self.referrer, self.view = path, referrer, secrets.token_hex(8)
        return response

    def see(self, path: str, referrer: str | None = None, **headers: str) -> str:
        """Open a page and ask what to show on it."""
        self.open(path, referrer, **headers)
        return self.decide()

    def post(self, path: str, **form: str) -> httpx2.Response:
        """Send a form, and follow where it leads."""
        fields = {**NAVIGATION, "Origin": f"http://{self.host}", "Referer": f"http://{self.host}{self.path}"}
        response = self._send("POST", path, fields, data=form)
        if response.is_redirect:
            self.see(response.headers["location"])
        else:
            self.path, self.view = path, secrets.token_hex(8)
            self.decide()
        return response

    def fetch(self, path: str, method: str = "POST", **form: str) -> httpx2.Response:
        """Send something by a script."""
        fields = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Origin": f"http://{self.host}"}
        return self._send(method, path, fields, **({"data": form} if form else {}))

    def decide(self, **changed: Any) -> str:
        """Ask what to show on the page; the action."""
        body = {
            "view": self.view,
            "url": f"http://{self.host}{self.path}",
            "title": self.title,
            "referrer": self.referrer,
            "language": "en",
            "seconds": 0,
            **changed,
        }
        fields = {"Content-Type": "application/json", "Origin": f"http://{self.host}"}
        response = self._send("POST", "/-/clew/decide", fields, content=json.dumps(body).encode())
        assert response.status_code == 200, response.text
        self.answer = response.json()
        return str(self.answer["action"])

    def tell(self, kind: str, rule: str) -> None:
        """Tell what became of an invite, as the widget does."""
        fields = {"Content-Type": "application/json", "Origin": f"http://{self.host}"}
        content = json.dumps({"kind": kind, "rule": rule}).encode()
        assert self._send("POST", "/-/clew/events", fields, content=content).status_code == 204

    def hear(self, event: str) -> None:
        """Tell what the page hears from a provider's chat, as the loader does."""
        fields = {"Content-Type": "application/json", "Origin": f"http://{self.host}"}
        content = json.dumps({"kind": "chat", "event": event}).encode()
        assert self._send("POST", "/-/clew/events", fields, content=content).status_code == 204

    def say(self, text: str) -> None:
        """Write to the shop's agents."""
        fields = {"Content-Type": "application/json", "Origin": f"http://{self.host}"}
        content = json.dumps({"text": text, "client_id": secrets.token_hex(8)}).encode()
        assert self._send("POST", "/-/clew/messages", fields, content=content).status_code < 300

    def _send(self, method: str, path: str, fields: Mapping[str, str], **what: Any) -> httpx2.Response:
        headers = {
            "Host": self.host,
            "User-Agent": CHROME,
            "Accept-Language": "en-GB,en;q=0.9",
            **fields,
            **self.headers,
        }
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = self.client.request(method, f"{self.address}{path}", headers=headers, **what)
        self.client.cookies.clear()  # each visitor has its own
        for one in response.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(one).items():
                self.cookies[name] = morsel.value
        return response
