"""What operations ask for where there are very many sites."""

from pathlib import Path

from clew.desk.ops import readiness as module
from clew.desk.ops.exposition import exposition
from clew.desk.ops.readiness import readiness
from clew.service.service import Service
from clew.settings.model import Settings


def service(folder: Path, count: int) -> Service:
    return Service(
        Settings.model_validate(
            {
                "secret": "s" * 40,
                "ledger": f"sqlite:{folder / 'clew.db'}",
                "store": f"sqlite:{folder / 'clew.db'}",
                "sites": [{"name": f"s{n}", "hosts": [f"s{n}.example"]} for n in range(count)],
            }
        )
    )


async def test_ready_checks_some_shops_and_marks_the_others(tmp_path: Path) -> None:
    clew, asked = service(tmp_path, 250), []

    async def reachable(site: str) -> bool:
        asked.append(site)
        return site == "s99"

    clew.shop_reachable = reachable
    await clew.start()
    try:
        found = await readiness(clew, list(clew.sites))
    finally:
        await clew.stop()
    assert found.ready
    assert len(asked) == module.SHOPS
    assert (found.shops["s99"], found.shops["s0"], found.shops["s249"]) == (True, False, None)
    assert list(found.shops) == list(clew.sites)


async def test_agents_of_all_sites_are_counted_at_each(tmp_path: Path) -> None:
    clew = service(tmp_path, 3)
    await clew.start()
    try:
        for name, site in (("anna", None), ("bo", "s1"), ("cy", "s2")):
            await clew.ledger.agents.add(
                name, "correct horse battery staple", site=site, now=clew.clock.now()
            )
        for name in ("anna", "bo"):
            await clew.ledger.agents.seen(name, clew.clock.now())
        text = (await exposition(clew)).decode()
    finally:
        await clew.stop()
    found = [line for line in text.splitlines() if line.startswith("clew_agents_online{")]
    assert found == [f'clew_agents_online{{site="s{n}"}} {count}.0' for n, count in enumerate((1, 2, 1))]
