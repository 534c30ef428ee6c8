"""The sites of a running clew: compiled when first requested, swapped in one step."""

from pathlib import Path
from typing import Any

import pytest
from clew.referral.networks_file import load
from clew.service import sites as sites_module
from clew.service.limits import LimitedError
from clew.service.service import Service
from clew.service.site import SiteRuntime
from clew.service.sites import Sites
from clew.settings.changes import Changes
from clew.settings.model import Settings


def site(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "hosts": [f"{name}.example"], **more}


def settings(*sites: dict[str, Any], **more: Any) -> Settings:
    top = {"secret": "s" * 40, "desk_host": "desk.example"}
    return Settings.model_validate({**top, **more, "sites": list(sites)})


def partner(name: str) -> dict[str, Any]:
    return {"id": name, "param": "ref", "postback": f"https://{name}.example/?c={{click_id}}"}


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the sites that were compiled, in order."""
    names: list[str] = []

    class Noting(SiteRuntime):
        def __init__(self, *given: Any) -> None:
            names.append(given[1].name)
            super().__init__(*given)

    monkeypatch.setattr(sites_module, "SiteRuntime", Noting)
    monkeypatch.setattr(sites_module, "AT_ONCE", 0)
    return names


def test_a_site_is_compiled_when_requested_and_dropped_after_many_others(compiled: list[str]) -> None:
    found = Sites(settings(*map(site, "abcd")), load(), kept=2)
    assert compiled == []
    for name in "abac":
        assert (served := found.at(f"{name}.example")) is not None
        assert served.name == name
    assert compiled == ["a", "b", "c"]
    found["a"]
    found["b"]
    assert compiled == ["a", "b", "c", "b"]


def test_checking_for_a_site_compiles_none(compiled: list[str]) -> None:
    found = Sites(settings(*map(site, "abc")), load())
    assert "b" in found
    assert "x" not in found
    assert list(found) == ["a", "b", "c"]
    assert found.own(b"/-/clew/decide")
    assert found.own(b"/-/clew")
    assert not found.own(b"/-/clewer")
    assert found.partner("a", "none") is None
    assert compiled == []


def test_unchanged_sites_stay_compiled(compiled: list[str]) -> None:
    found = Sites(settings(*map(site, "abc")), load())
    before = {name: found[name] for name in "abc"}
    changes = found.swap(settings(site("a"), site("b", debug=True), site("d")))
    assert changes == Changes(("d",), ("b",), ("c",))
    assert found["a"] is before["a"]
    assert found["b"] is not before["b"]
    assert found["b"].settings.debug
    assert found.at("c.example") is None
    assert found.at("d.example") is found["d"]
    assert compiled == ["a", "b", "c", "b", "d"]


def test_hosts_move_from_one_site_to_another() -> None:
    found = Sites(settings(site("a"), site("b")), load())
    assert found.at("b.example") is found["b"]
    found.swap(settings(site("a", hosts=["a.example", "b.example"]), site("b", hosts=["c.example"])))
    assert found.at("b.example") is found["a"]
    assert found.at("c.example") is found["b"]
    assert found.hosts == ["a.example", "b.example", "c.example"]


def test_a_partner_that_was_taken_out_is_known_until_the_process_ends() -> None:
    found = Sites(
        settings(site("a", partners=[partner("p"), partner("q") | {"param": "r"}]), site("b")), load()
    )
    found.swap(settings(site("a", partners=[partner("q") | {"param": "r"}]), site("b")))
    assert (gone := found.partner("a", "p")) is not None
    assert gone.postback == "https://p.example/?c={click_id}"
    found.swap(settings(site("b")))
    assert found.partner("a", "p") is gone
    assert found.partner("a", "q") is not None
    found.swap(settings(site("a", partners=[partner("p") | {"postback": "https://new.example/"}]), site("b")))
    assert (back := found.partner("a", "p")) is not None
    assert back.postback == "https://new.example/"


def test_a_site_that_is_compiled_later_knows_how_the_clock_jumped() -> None:
    found = Sites(settings(site("a"), site("b")), load(), kept=1)
    found.clock_set_back(5000.0, 100.0)
    found.clock_set_back(6000.0, 10.0)
    assert found["a"].terms.set_back == found["b"].terms.set_back == ((5000.0, 110.0), (6000.0, 10.0))
    found.swap(settings(site("a", debug=True)))
    assert found["a"].terms.set_back == ((5000.0, 110.0), (6000.0, 10.0))


class TestSwap:
    @pytest.fixture
    def service(self, tmp_path: Path) -> Service:
        self.stores = dict.fromkeys(("store", "ledger"), f"sqlite:{tmp_path / 'clew.db'}")
        return Service(self.settings(site("a"), site("b")))

    def settings(self, *sites: dict[str, Any], **more: Any) -> Settings:
        return settings(*sites, **self.stores, **more)

    async def test_streams_of_a_removed_site_end_and_others_continue(self, service: Service) -> None:
        with (
            service.hub.listen("desk/a", None, "visit/a/1") as gone,
            service.hub.listen("visitor/a/2") as too,
            service.hub.listen("desk/b") as stays,
        ):
            service.swap(self.settings(site("b", debug=True)))
            assert (gone.stopped, gone.closing, too.stopped) == (True, True, True)
            assert not stays.stopped

    def test_limits_are_the_new_ones_and_what_was_counted_stays(self, service: Service) -> None:
        limits = {"logins": {"client": 2, "site": 2, "all": 2}}
        service.limits.take("logins", "a", "192.0.2.1")
        service.swap(self.settings(site("a"), limits=limits))
        service.limits.take("logins", "a", "192.0.2.1")
        with pytest.raises(LimitedError):
            service.limits.take("logins", "a", "192.0.2.1")

    def test_counts_of_old_selectors_do_not_apply_to_new_ones(self, service: Service) -> None:
        cart = {"value": "#old"}
        service.swap(self.settings(site("a", cart=cart), site("b", cart=cart)))
        for name in "ab":
            service.selector_watch.record(service.sites[name].settings, "cart", {"cart.value": "#old"}, ())
        service.swap(self.settings(site("a", cart={"value": "#new"}), site("b", cart=cart, debug=True)))
        asked = {
            name: service.selector_watch.selectors_for(service.sites[name].settings, "home") for name in "ab"
        }
        assert asked == {"a": {}, "b": {"cart.value": "#old"}}
