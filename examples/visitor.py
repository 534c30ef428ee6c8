"""A visitor and an agent without a browser: they send the HTTP requests that browsers would."""

import re
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2
from selectolax.lexbor import LexborHTMLParser

PREFIX = "/-/clew"
NAVIGATION = {
    "accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "accept-language": "en-GB,en;q=0.9",
    "sec-fetch-dest": "document",
    "sec-fetch-mode": "navigate",
    "sec-fetch-site": "none",
    "upgrade-insecure-requests": "1",
}


class CheckFailedError(AssertionError):
    """A check of the demo failed. The message says which."""


def expect(holds: object, text: str) -> None:
    """Raise CheckFailedError unless `holds` is true."""
    if not holds:
        raise CheckFailedError(text)


@dataclass(frozen=True, slots=True)
class Ordered:
    """The order on the confirmation page."""

    page: str
    number: str
    total: str
    currency: str


class Visitor:
    """Keeps cookies and follows redirects like a browser, and requests decisions like the loader."""

    def __init__(self, address: str) -> None:
        self._http = httpx2.Client(base_url=address, follow_redirects=True, timeout=10)
        self._url = address
        self._title = ""
        self._view = ""
        self._since = time.monotonic()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def open(self, path: str) -> httpx2.Response:
        """Open a page. `path` is sent unchanged."""
        return self._shown(self._http.get(path, headers=NAVIGATION))

    def submit(self, path: str, form: dict[str, str]) -> httpx2.Response:
        """Submit one of the shop's forms."""
        return self._shown(self._http.post(path, data=form, headers=NAVIGATION))

    def _shown(self, response: httpx2.Response) -> httpx2.Response:
        expect(response.status_code == 200, f"{response.url} answered {response.status_code}")
        expect(b'data-clew="1"' in response.content, f"{response.url} came without clew's tag")
        self._url = str(response.url)
        title = LexborHTMLParser(response.content).css_first("title")
        self._title = title.text() if title else ""
        self._view = secrets.token_urlsafe(12)
        self._since = time.monotonic()
        return response

    def decide(self) -> dict[str, Any]:
        """Request a decision for the page."""
        return self._api(
            "decide",
            {
                "view": self._view,
                "url": self._url,
                "title": self._title,
                "referrer": "",
                "language": "en-GB",
                "seconds": int(time.monotonic() - self._since),
            },
        )

    def wait_for_invite(self, seconds: float = 60) -> dict[str, Any]:
        """Request decisions, each after the `retry_after` of the one before, until one is an invite."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self.decide()
            if answer["action"] == "invite":
                invite = answer["invite"]
                self._api("events", {"kind": "seen", "rule": invite["rule"]})
                return dict(invite)
            wait = float(answer.get("retry_after") or 0)
            expect(wait, f"no invite, and no retry_after: {answer}")
            expect(time.monotonic() + wait < deadline, f"no invite within {seconds} s: {answer}")
            time.sleep(wait)

    def ask(self, text: str, rule: str) -> None:
        """Accept the invite and send a question."""
        self._api("events", {"kind": "accepted", "rule": rule})
        message = {"text": text, "client_id": secrets.token_urlsafe(12), "language": "en", "rule": rule}
        self._api("messages", message)

    def answers(self) -> list[str]:
        """The agent's messages."""
        response = self._http.get(f"{PREFIX}/messages", params={"after": 0})
        return [m["text"] for m in response.raise_for_status().json()["messages"] if m["author"] == "agent"]

    def buy(self, product: str) -> Ordered:
        """Put a product into the basket and check out."""
        self.submit("/basket/add", {"product": product})
        self.open("/checkout")
        address = {
            "name": "Ada Visitor",
            "street": "Seilerstr. 1",
            "city": "20359 Hamburg",
            "email": "ada@example.com",
        }
        page = self.submit("/checkout", address)
        document = LexborHTMLParser(page.content)

        def text(selector: str) -> str:
            node = document.css_first(selector)
            expect(node, f"no {selector} on {page.url}")
            return node.text().strip() if node else ""

        number, total = text("#order-number"), re.sub(r"[^0-9.]", "", text("#order-total"))
        return Ordered(page.url.path, number, total, text("#order-currency"))

    def _api(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        response = self._http.post(
            f"{PREFIX}/{name}", json=body, headers={"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
        )
        expect(response.is_success, f"{name} answered {response.status_code}: {response.text}")
        return dict(response.json()) if response.content else {}


class Agent:
    """Logs in at the desk and answers with its forms."""

    def __init__(self, address: str) -> None:
        self._http = httpx2.Client(base_url=address, follow_redirects=True, timeout=10)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def log_in(self, name: str, password: str) -> None:
        """Log in with the login form."""
        page = self._page("/")
        fields = {**_hidden(page, "login"), "name": name, "password": password}
        response = self._send("/login", fields)
        expect(response.url.path.endswith("/desk/"), f"the desk did not let {name} in: {response.url}")

    def answer(self, text: str) -> str:
        """Answer the first conversation of the inbox. Returns the text of the conversation's page."""
        inbox = self._page("/")
        found = re.search(rb"/desk/conversations/([A-Za-z0-9_-]+)", inbox)
        expect(found, "the inbox shows no conversation")
        path = f"/conversations/{found[1].decode()}" if found else ""
        conversation = self._page(path)
        fields = {**_hidden(conversation, f"{path}/messages"), "text": text}
        self._send(f"{path}/messages", fields)
        body = LexborHTMLParser(conversation).body
        return body.text() if body else ""

    def _page(self, path: str) -> bytes:
        response = self._http.get(f"{PREFIX}/desk{path}", headers=NAVIGATION)
        expect(response.status_code == 200, f"the desk's {path} answered {response.status_code}")
        return response.content

    def _send(self, path: str, fields: dict[str, str]) -> httpx2.Response:
        response = self._http.post(
            f"{PREFIX}/desk{path}", data=fields, headers={**NAVIGATION, "sec-fetch-site": "same-origin"}
        )
        expect(response.status_code == 200, f"the desk's {path} answered {response.status_code}")
        return response


def _hidden(page: bytes, action: str) -> dict[str, str]:
    """The hidden fields of the form whose action ends with `action`."""
    for form in LexborHTMLParser(page).css("form"):
        if (form.attributes.get("action") or "").endswith(action):
            fields = form.css("input[type=hidden]")
            return {f.attributes["name"] or "": f.attributes.get("value") or "" for f in fields}
    raise CheckFailedError(f"no form for {action}")


def quoted(click_id: str) -> str:
    """A click id, percent-encoded for a link."""
    return quote(click_id, safe="")
