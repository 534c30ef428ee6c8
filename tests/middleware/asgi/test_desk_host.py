"""The desk's own host: an origin apart from the shops', through the proxy and the ASGI mount."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from apart import COFFEE, TEA, Apart, settings
from clew.middleware.proxy.mount import ReverseProxy
from clew.service.partner_links import PartnerLink, PartnerLinks
from desks import PASSWORD, hidden
from raw_http import OK, Client, Shop, answering, serving
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus


@pytest_asyncio.fixture
async def apart(tmp_path: Path) -> AsyncIterator[Apart]:
    built = Apart(tmp_path, "tea", "coffee")
    await built.mount.startup.start(5)
    yield built
    await built.service.stop()


@pytest.mark.parametrize(
    "path", ["desk", "desk/", "desk/login", "desk/desk.js", "desk/stream", "desk/conversations/x", "desk/x"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_the_shops_hosts_do_not_serve_the_desk(apart: Apart, path: str, method: str) -> None:
    """field E2"""
    for base in (TEA, COFFEE):
        assert (await apart.client(base).request(method, f"/-/clew/{path}")).status_code == 404
        assert (await apart.client(base).get("/-/clew/health")).status_code == 200
    assert apart.forwarded == []


async def test_the_desks_host_serves_only_the_desk(apart: Apart) -> None:
    """field E2: and nothing of it reaches a shop"""
    client = apart.client("http://DESK.test:80")
    assert (await client.get("/")).headers["location"] == "/-/clew/desk/"
    paths = [
        "/-/clew/",
        "/-/clew/l.js",
        "/-/clew/decide",
        "/-/clew/metrics",
        "/page",
        "/-/clew/site/tea/l.js",
    ]
    paths += [
        "/-/clew/site/none/desk/",
        "/-/clew/desk/conversations/x",
        "/-/clew/site/",
        "/-/clew/desk/stream",
    ]
    for path in paths:
        for method in ("GET", "POST"):
            assert (await client.request(method, path)).status_code == 404, path
    assert apart.forwarded == []


async def test_an_agent_of_all_sites_logs_in_once_and_chooses(apart: Apart) -> None:
    """field E1, E2: one session for all sites, on the desk's own host alone"""
    client = await apart.agent("bo", None)
    page = (await client.get("/-/clew/desk/")).text
    links = re.findall(r'href="(/-/clew/site/[^"]*)"', page)
    assert links == ["/-/clew/site/tea/desk/", "/-/clew/site/coffee/desk/"]
    for link, name in zip(links, ("tea", "coffee"), strict=True):
        inbox = await client.get(link)
        assert inbox.status_code == 200
        assert f"Inbox, {name}" in inbox.text
        assert 'href="/-/clew/desk/">Sites' in inbox.text
        assert f"http://desk.test/-/clew/site/{name}/desk/" in inbox.headers["content-security-policy"]
    assert client.cookies["clew_desk"]
    token = {"cookie": f"clew_desk={client.cookies['clew_desk']}"}
    for base in (TEA, COFFEE):
        assert (await apart.client(base).get("/-/clew/desk/", headers=token)).status_code == 404
    out = await client.post("/-/clew/desk/logout", data={"csrf": hidden(page)})
    assert out.headers["location"] == "/-/clew/desk/login"
    assert (await client.get(links[0])).status_code == 303


async def test_an_agent_of_one_site_sees_that_site_alone(apart: Apart) -> None:
    """field E1, E2"""
    client = await apart.agent("cem", "coffee")
    assert (await client.get("/-/clew/desk/")).headers["location"] == "/-/clew/site/coffee/desk/"
    assert (await client.get("/-/clew/site/coffee/desk/")).status_code == 200
    refused = await client.get("/-/clew/site/tea/desk/")
    assert refused.headers["location"] == "/-/clew/site/tea/desk/login"
    form = await client.get("/-/clew/site/tea/desk/login")
    fields = {"csrf": hidden(form.text), "name": "cem", "password": PASSWORD}
    assert (await client.post("/-/clew/site/tea/desk/login", data=fields)).status_code == 403


async def test_a_stranger_learns_no_sites_name(apart: Apart) -> None:
    for path in ("/-/clew/desk/", "/-/clew/desk/login"):
        answer = await apart.client().get(path)
        assert "coffee" not in answer.text
        assert "tea" not in answer.text.lower().replace("steady", "")


@pytest_asyncio.fixture
async def with_partners(tmp_path: Path) -> AsyncIterator[Apart]:
    anna = {"id": "anna", "param": "aff", "postback": "https://partner.test/?c={click_id}"}
    built = Apart(tmp_path, "tea", "coffee", partners=[anna])
    await built.mount.startup.start(5)
    yield built
    await built.service.stop()


async def test_a_partners_pages_are_those_of_one_site_alone(with_partners: Apart) -> None:
    """Both sites have a partner of this name: a link and a session of one open nothing of the other, nor of
    the desk."""
    apart = with_partners
    until = int(apart.service.clock.now()) + 999
    key = PartnerLinks(apart.service.settings, "tea").token(PartnerLink("anna", 0, until))
    client, pages = apart.client(), "/-/clew/site/{}/desk/partner/"
    answer = await client.get(pages.format("tea") + "enter", params={"key": key})
    assert answer.headers["location"] == pages.format("tea")
    assert f"Path={pages.format('tea')[:-1]};" in answer.headers["set-cookie"]
    assert (await client.get(pages.format("tea"))).status_code == 200
    refused = await client.get(pages.format("coffee") + "enter", params={"key": key})
    assert refused.status_code == 403
    stolen = {"cookie": f"clew_desk_partner={client.cookies['clew_desk_partner']}; clew_desk=x"}
    for path in (pages.format("coffee"), "/-/clew/desk/", "/-/clew/site/tea/desk/"):
        answer = await apart.client().get(path, headers=stolen)
        assert answer.status_code == 303, path
        assert "/login" in answer.headers["location"], path
    for path in ("", "enter", "login"):
        assert (await client.get(f"/-/clew/desk/partner/{path}")).status_code == 404
    assert (await apart.client(TEA).get(f"/-/clew/desk/partner/enter?key={key}")).status_code == 404


async def test_with_one_site_the_desk_is_where_it_was(tmp_path: Path) -> None:
    """field E2"""
    built = Apart(tmp_path, "tea")
    await built.mount.startup.start(5)
    try:
        client = await built.agent("bo", None)
        inbox = await client.get("/-/clew/desk/")
        assert "Inbox, tea" in inbox.text
        assert "Sites" not in inbox.text
        assert (await built.client(TEA).get("/-/clew/desk/")).status_code == 404
    finally:
        await built.service.stop()


async def test_the_proxy_keeps_the_desks_host_to_itself(tmp_path: Path) -> None:
    """field E1, E2: also where a site takes every host, and for a WebSocket"""
    async with Shop(answering(OK)) as shop:
        proxy = ReverseProxy(settings(tmp_path, "tea", hosts=[], upstream=shop.url))
        async with serving(proxy, lifespan="on") as port, Client(port) as client:
            for target, host, status in (
                (b"/-/clew/desk/login", b"desk.test", 200),
                (b"/-/clew/desk/login", b"tea.test", 404),
                (b"/page", b"desk.test", 404),
                (b"/page", b"tea.test", 200),
            ):
                answer = await client.ask(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host))
                assert answer.status == status, (target, host)
            for path in ("/-/clew/desk/x", "/socket"):
                with pytest.raises(InvalidStatus) as refused:
                    await connect(f"ws://desk.test{path}", proxy=None, host="127.0.0.1", port=port)
                assert refused.value.response.status_code == 404
        assert len(shop.requests) == 1
