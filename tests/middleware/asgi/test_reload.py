"""The middleware, given other settings while the app runs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from clew.middleware.asgi.mount import ClewMiddleware
from clew.settings.changes import Changes
from clew.settings.load import SettingsErrors
from clew.settings.model import Settings
from raw_http import Client, get, serving

SECRET = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
pytestmark = pytest.mark.timeout(300)
NAVIGATION = (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document")


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{step}"
            await send({"type": f"lifespan.{step}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"<html><head></head></html>"})


def write(folder: Path, *names: str, top: str = "", more: str = "") -> Path:
    file = folder / "clew.toml"
    sites = "".join(f'[[sites]]\nname = "{n}"\nhosts = ["{n}.example"]\n{more}' for n in names)
    file.write_text(f'secret = "{SECRET}"\ndesk_host = "desk.example"\n{top}\n{sites}')
    return file


async def health(port: int, name: str) -> int:
    """404 is the app's page, had it one; below the prefix of a host without a site clew says 421."""
    async with Client(port) as client:
        request = get(b"/-/clew/health", b"Connection: close")
        return (await client.ask(request.replace(b"shop.example", f"{name}.example".encode()))).status


async def test_the_file_is_read_again(tmp_path: Path) -> None:
    clew = ClewMiddleware(app, write(tmp_path, "a", "b"))
    async with serving(clew, lifespan="on") as port:
        write(tmp_path, "a", "c", more="debug = true\n")
        assert await clew.reload() == Changes(("c",), ("a",), ("b",))
        assert [await health(port, name) for name in "abc"] == [200, 421, 200]
        assert await clew.reload() == Changes()


async def test_invalid_settings_raise_and_change_nothing(tmp_path: Path) -> None:
    clew = ClewMiddleware(app, write(tmp_path, "a"))
    async with serving(clew, lifespan="on") as port:
        write(tmp_path, "a", "b", more="never = ['x']\n")
        with pytest.raises(SettingsErrors, match=r"clew\.toml:7 sites\[0\]\.never\[0\]"):
            await clew.reload()
        write(tmp_path, "a", "b", top='ledger = "sqlite:other.db"')
        with pytest.raises(SettingsErrors, match="ledger: cannot be changed by a reload: it is open"):
            await clew.reload()
        assert [await health(port, name) for name in "ab"] == [200, 421]


async def test_ready_settings_are_replaced_by_ready_ones(tmp_path: Path) -> None:
    def settings(*sites: dict[str, Any], **more: Any) -> Settings:
        top = {"secret": SECRET, "desk_host": "desk.example", "ledger": f"sqlite:{tmp_path / 'clew.db'}"}
        return Settings.model_validate({**top, "store": top["ledger"], **more, "sites": list(sites)})

    a, b = ({"name": name, "hosts": [f"{name}.example"]} for name in "ab")
    clew = ClewMiddleware(app, settings(a))
    async with serving(clew, lifespan="on") as port:
        assert await clew.reload(settings(a, b)) == Changes(added=("b",))
        assert await health(port, "b") == 200
        wrong = b | {"rules": [{"name": "r", "action": "hide", "when": ["visit.page > 1"]}]}
        with pytest.raises(ValueError, match=r"visit\.page"):
            await clew.reload(settings(a, wrong))
        with pytest.raises(SettingsErrors, match="secret"):
            await clew.reload(settings(a, secret="u" * 40))
        with pytest.raises(ValueError, match="did not come from a file"):
            await clew.reload()
        assert await health(port, "b") == 200


async def test_the_file_counts_again_after_ready_settings(tmp_path: Path) -> None:
    clew = ClewMiddleware(app, write(tmp_path, "a"))
    async with serving(clew, lifespan="on") as port:
        assert await clew.reload() == Changes()
        of_file = clew.service.settings
        other = of_file.model_copy(
            update={"sites": [of_file.sites[0].model_copy(update={"name": "b", "hosts": ["b.example"]})]}
        )
        assert await clew.reload(other) == Changes(("b",), (), ("a",))
        assert await clew.reload() == Changes(("a",), (), ("b",))
        assert [await health(port, name) for name in "ab"] == [200, 421]


async def test_a_reload_that_is_given_up_leaves_the_next_one_possible(tmp_path: Path) -> None:
    clew = ClewMiddleware(app, write(tmp_path, "a"))
    async with serving(clew, lifespan="on"):
        given_up = asyncio.create_task(clew.reload())
        await asyncio.sleep(0)
        given_up.cancel()
        write(tmp_path, "a", "b")
        async with asyncio.timeout(20):
            await clew.reload()
        assert len(clew.service.sites) == 2


async def test_wrong_settings_of_the_start_are_mended_by_a_reload(tmp_path: Path) -> None:
    clew = ClewMiddleware(app, write(tmp_path, "a", more="prefix = 7\n"))
    async with serving(clew, lifespan="on") as port:
        assert (await health(port, "a")) == 200  # of the stand-in
        with pytest.raises(SettingsErrors):
            await clew.reload()
        write(tmp_path, "a", "b")
        assert await clew.reload() == Changes(added=("a", "b"))
        assert [await health(port, name) for name in "abc"] == [200, 200, 421]


async def test_two_reloads_at_once_build_one_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clew = ClewMiddleware(app, write(tmp_path, "a", more="prefix = 7\n"))
    built: list[object] = []
    build = clew._build

    def noted(given: Any) -> None:
        built.append(given)
        build(given)

    monkeypatch.setattr(clew, "_build", noted)
    async with serving(clew, lifespan="on"):
        write(tmp_path, "a")
        assert await asyncio.gather(clew.reload(), clew.reload()) == [Changes(added=("a",)), Changes()]
    assert len(built) == 1


async def test_watched_files_are_reloaded_in_an_app_too(tmp_path: Path) -> None:
    clew = ClewMiddleware(app, write(tmp_path, "a", top="watch = true"))
    async with serving(clew, lifespan="on") as port:
        write(tmp_path, "b", top="watch = true")
        async with asyncio.timeout(20):
            while await health(port, "b") != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await health(port, "a") == 421


async def test_the_app_has_begun_with_one_set_and_ends_with_it(tmp_path: Path) -> None:
    """A page requested before the reload is edited with the settings of that time."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            begun.set()
            await go_on.wait()
        await app(scope, receive, send)

    clew = ClewMiddleware(slow, write(tmp_path, "a"))
    async with serving(clew, lifespan="on") as port, Client(port) as client:
        request = get(b"/", *NAVIGATION, b"Connection: close").replace(b"shop.example", b"a.example")
        asked = asyncio.create_task(client.ask(request))
        await begun.wait()
        write(tmp_path, "a", more='inject = false\nprefix = "/other/"\n')
        await clew.reload()
        go_on.set()
        assert b'src="/-/clew/l.js"' in (await asked).body
        async with Client(port) as again:
            assert (await again.ask(request)).body == b"<html><head></head></html>"
