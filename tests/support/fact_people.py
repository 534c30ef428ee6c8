"""Cases for invites, talks, also in another company's chat, and agents."""

import re
import time

from clews import AGENT, PASSWORD
from fact_cases import Case, Does, ways
from provider_hooks import SECRETS, Sent, sent, talk
from shoppers import Shopper
from vendors import VENDORS

INVITE = """
[sites.invites]
holdout = 0
pages = 1

[[sites.rules]]
name = "asks"
when = ["page.path == '/asks'"]
action = "invite"
text = "A question?"
"""


def ignores(visitor: Shopper) -> None:
    visitor.see("/")
    assert visitor.see("/asks") == "invite"
    visitor.tell("seen", "asks")
    visitor.see("/mills")


def dismisses(visitor: Shopper) -> None:
    visitor.see("/")
    visitor.see("/asks")
    visitor.tell("seen", "asks")
    visitor.tell("dismissed", "asks")
    visitor.see("/mills")


def token_of(visitor: Shopper) -> str:
    """What a provider's chat, and so the shop, knows the visitor by."""
    return str(visitor.answer["chat"]["attributes"]["clew_ref"])


def chat_of(provider: str) -> str:
    """The settings of a site with this provider's chat."""
    ids = "".join(f"ids.{name} = '{value}'\n" for name, value in VENDORS[provider].ids.items())
    return f"[sites.chat]\nprovider = '{provider}'\n{ids}secret = '{SECRETS[provider]}'\n"


def hook(visitor: Shopper, *hooks: Sent) -> None:
    """The provider's server tells of its chat."""
    for one in hooks:
        headers = {**one.headers, "Host": visitor.host}
        url = f"{visitor.address}/-/clew/hooks/{one.path}"
        answer = visitor.client.post(url, content=one.body, headers=headers)
        assert answer.status_code == 200, answer.text


def elsewhere(provider: str, parts: slice) -> Does:
    """Talks in a provider's chat, of which so many parts are told."""

    def does(visitor: Shopper) -> None:
        visitor.see("/")
        visitor.see("/mills")
        hooks = talk(provider, token_of(visitor), "just a note", time.time() - 5)
        hook(visitor, *hooks[parts])
        visitor.see("/")

    return does


def hears(*events: str) -> Does:
    """The page hears this from the provider's chat."""

    def does(visitor: Shopper) -> None:
        visitor.see("/")
        visitor.see("/mills")
        for event in events:
            visitor.hear(event)
        visitor.see("/")

    return does


def connected(visitor: Shopper) -> None:
    """The provider's server says that two agents are there, and one of three has left."""
    for name in (1, 2, 3):
        hook(visitor, sent("iadvize", "user.connected", {"userId": name}, time.time() - 60))
    hook(visitor, sent("iadvize", "user.disconnected", {"userId": 3}, time.time() - 30))
    visitor.see("/")


PROVIDERS = [
    *(
        Case(
            f"chat-{provider}",
            ("chat.open", "chat.talked", "chat.count == 1", "chat.seconds < 600", "!chat.failed"),
            elsewhere(provider, slice(None, -1)),
            tables=chat_of(provider),
        )
        for provider in ("crisp", "intercom")
    ),
    *(
        Case(
            f"chat-{provider}-over",
            ("!chat.open", "chat.talked", "chat.count == 1"),
            elsewhere(provider, slice(None)),
            tables=chat_of(provider),
        )
        for provider in ("crisp", "intercom")
    ),
    Case(
        "chat-heard",
        ("chat.open", "chat.talked", "chat.count == 1"),
        hears("loaded", "opened", "started", "sent", "sent"),
        tables=chat_of("crisp"),
    ),
    Case(
        "chat-heard-over",
        ("!chat.open", "chat.talked", "chat.count == 1"),
        hears("started", "sent", "ended"),
        tables=chat_of("crisp"),
    ),
    Case("chat-failed", ("chat.failed",), hears("failed"), tables=chat_of("crisp")),
    Case(
        "agents-unknown",
        ("!has(agents.online)", "!has(agents.busy)", "agents.open"),
        ways("/"),
        tables=chat_of("crisp"),
        counters=("agents.online == 0", "!agents.busy"),
    ),
    Case(
        "agents-heard",
        ("agents.online == 1", "!agents.busy"),
        hears("online"),
        tables=chat_of("crisp"),
        counters=("agents.online > 1",),
    ),
    Case(
        "agents-gone",
        ("agents.online == 0", "agents.busy", "!has(agents.load)"),
        hears("online", "offline"),
        tables=chat_of("crisp"),
        counters=("agents.online > 0",),
    ),
    Case(
        "agents-connected",
        ("agents.online == 2", "agents.free == 6", "agents.load == 0.0"),
        connected,
        tables=chat_of("iadvize"),
        counters=("agents.online == 3",),
    ),
]

MANNED = ("agents-there", "agents-waiting", "agents-busy")
"""Sites where AGENT works."""


def desk(visitor: Shopper) -> None:
    """AGENT looks at the desk of the site."""
    client, address = visitor.client, f"{visitor.address}/-/clew"
    cookies: dict[str, str] = {}

    def ask(method: str, path: str, **form: str) -> str:
        headers = {"Host": "desk.test", "Origin": "http://desk.test"}
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        what = {"data": form} if form else {}
        answer = client.request(method, f"{address}/{path}", headers=headers, **what)
        client.cookies.clear()
        for one in answer.headers.get_list("set-cookie"):
            name, _, value = one.partition(";")[0].partition("=")
            cookies[name] = value
        assert answer.status_code < 400, answer.text
        return answer.text

    def csrf(page: str) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', page)
        assert found is not None, page
        return found[1]

    form = ask("GET", "desk/login")
    ask("POST", "desk/login", csrf=csrf(form), name=AGENT, password=PASSWORD)
    site = f"site/{visitor.host.removesuffix('.test')}"
    page = ask("GET", f"{site}/desk/")
    ask("POST", f"{site}/desk/people/{AGENT}/work", csrf=csrf(page), capacity="", department="billing")


def writes(visitor: Shopper) -> None:
    """Waits for an answer, while an agent is there."""
    visitor.see("/")
    visitor.see("/mills")
    desk(visitor)
    visitor.say("Which one is quiet?")
    visitor.see("/")


AGENTS = [
    Case(
        "agents-there",
        (
            "agents.online == 1",
            "agents.free == 3",
            "agents.load == 0.0",
            "agents.queue == 0",
            "!agents.busy",
            'agents.departments == "billing"',
        ),
        lambda visitor: (desk(visitor), visitor.see("/")),
        keys="chat = { per_agent = 3, departments = ['sales', 'billing'] }",
        counters=("agents.busy", "agents.queue > 0", 'has_word(agents.departments, "sales")'),
    ),
    Case(
        "agents-waiting",
        ("agents.queue == 1", "agents.free == 2", "agents.load > 0.33", "agents.load < 0.34"),
        writes,
        keys="chat = { per_agent = 3, departments = ['billing'] }",
        counters=("agents.busy", "agents.queue > 1"),
    ),
    Case(
        "agents-busy",
        ("agents.busy", "agents.free == 0", "agents.load == 1.0", "agents.online == 1"),
        writes,
        keys="chat = { per_agent = 1, departments = ['billing'] }",
        counters=("agents.free > 0",),
    ),
    Case(
        "agents-none",
        ("agents.online == 0", "agents.free == 0", "agents.busy", 'agents.departments == ""'),
        ways("/"),
        counters=("has(agents.load)", "agents.online > 0"),
    ),
    Case("agents-open", ("agents.open",), ways("/"), counters=("!agents.open",)),
    Case(
        "agents-closed",
        ("!agents.open",),
        ways("/"),
        tables="[sites.hours]\nDAY = ['09:00-17:00']",
        counters=("agents.open",),
    ),
]


def talks(visitor: Shopper) -> None:
    visitor.see("/")
    visitor.see("/mills")
    visitor.say("Which one is quiet?")
    visitor.see("/")


PEOPLE = [
    Case("chat-count", ("chat.count == 1", "chat.seconds < 600", "chat.talked", "chat.open"), talks),
    Case(
        "invite-ignored",
        (
            "invite.seen == 1",
            "invite.ignored == 1",
            "invite.ignores == 1",
            "invite.dismissed == 0",
            "invite.seconds < 600",
            "!has(invite.dismissed_seconds)",
        ),
        ignores,
        tables=INVITE,
    ),
    Case(
        "invite-dismissed",
        (
            "invite.dismissed == 1",
            "invite.ignored == 0",
            "invite.dismissals == 1",
            "invite.dismissed_seconds < 600",
        ),
        dismisses,
        tables=INVITE,
    ),
]
