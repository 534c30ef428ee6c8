"""A host of many shops, one of which changes each second."""

import asyncio
import random
import time
from pathlib import Path

from clew.middleware.serve.control_client import reload_all

# All are the soak's one shop, by several hosts.
_SITE = """
[[sites]]
name = "{name}"
hosts = ["{name}.example"]
{upstream}
debug = {debug}
time_zone = "{zone}"

[sites.order]
page = "/hostile/*"
id = "#order-number"
total = "#order-total"
currency = "EUR"

[[sites.partners]]
id = "blog"
param = "ref"
postback = "http://127.0.0.1:9/{{click_id}}?{version}"
"""
ZONES = ("UTC", "Europe/Berlin", "Asia/Tokyo")
# A change is in use on every worker within two seconds; more is allowed, since the soak takes both cores.
RELOAD_SECONDS = 5.0


class Host:
    """`count` sites beside `shop`, each in a file of its own below `folder`/sites.

    `port` is that of the shop, None where the sites are an app's. `problems` are reloads that did not end as
    they should.
    """

    def __init__(self, folder: Path, count: int, port: int | None, seed: int) -> None:
        self.hosts = ["shop.example", *(f"shop{number}.example" for number in range(count))]
        self.problems: list[str] = []
        self.took: list[float] = []
        self._settings = folder / "clew.toml"
        self._folder = folder / "sites"
        self._folder.mkdir(parents=True)
        self._port = port
        self._rng = random.Random(f"{seed} host")
        self._version = 0
        for name in ("shop", *(f"shop{number}" for number in range(count))):
            self._write(name)

    def _write(self, name: str) -> None:
        rng = self._rng
        # One shop at two addresses: its connections change with it.
        place = rng.choice(("127.0.0.1", "localhost"))
        upstream = "" if self._port is None else f'upstream = "http://{place}:{self._port}"'
        debug, zone = rng.choice(("true", "false")), rng.choice(ZONES)
        self._version += 1
        text = _SITE.format(name=name, upstream=upstream, debug=debug, zone=zone, version=self._version)
        file = self._folder / f"{name}.toml"
        # As an editor does: whoever watches sees the one or the other.
        draft = file.with_suffix(".new")
        draft.write_text(text)
        draft.replace(file)

    async def change(self, *, ask: bool) -> None:
        """Change a site each second until cancelled; every fourth time another one comes or goes as well, and
        every fifth a file is wrong first. `ask`: the server is asked to reload, else it watches."""
        while True:
            await asyncio.sleep(1)
            coming = self._folder / "coming.toml"
            if self._version % 4 == 0 and coming.exists():
                coming.unlink()
            elif self._version % 4 == 0:
                self._write("coming")
            if ask and self._version % 5 == 0:
                wrong = self._folder / "wrong.toml"
                wrong.write_text("[[sites]]\n")
                await self._reload(errors=True)
                wrong.unlink()
            self._write(self._rng.choice(self.hosts).partition(".")[0])
            if ask:
                await self._reload(errors=False)

    async def _reload(self, *, errors: bool) -> None:
        began = time.monotonic()
        answers = await asyncio.to_thread(reload_all, self._settings, 60)
        took = time.monotonic() - began
        result = answers[0].result if len(answers) == 1 else None
        if result is None or bool(result.errors) != errors:
            self.problems.append(f"a reload gave {answers!r}"[:500])
        elif not errors:
            self.took.append(took)
            if took > RELOAD_SECONDS:
                self.problems.append(f"a reload took {took:.1f} s")
