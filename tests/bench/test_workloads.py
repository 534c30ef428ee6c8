"""clew has its whole work to do while it is measured."""

from pathlib import Path

from clew.referral.networks_file import load as load_catalogue
from clew.referral.touches import earning_click
from clew.service.check import checked
from clew.service.site import SiteRuntime
from peers import clew_settings
from visitors import VISITORS, cookies
from workloads import HOST, TAG, WORKLOADS, files, page, tagged


def test_the_files_are_as_large_as_their_names_say() -> None:
    found = files(1)
    sizes = {name: len(found[workload.path]) for name, workload in WORKLOADS.items()}
    assert sizes == {"html100k": 102_400, "gzip100k": 102_400, "json2k": 2048, "bin1m": 1_048_576}
    assert len(found["/download.bin"]) == 10 * 1_048_576


def test_the_page_has_one_place_for_the_tag() -> None:
    html = page(1)
    assert html.count(b"<head>") == 1
    assert html.count(b"</body>") == 1
    assert tagged(html).replace(TAG, b"") == html


def test_another_seed_gives_another_page() -> None:
    assert page(1) == page(1)
    assert page(1) != page(2)


def test_the_settings_have_a_partner_and_a_rule_at_work(tmp_path: Path) -> None:
    site = checked(clew_settings(tmp_path, upstream=8000), {}).sites[0]
    assert [partner.id for partner in site.partners] == ["awin"]
    assert [rule.name for rule in site.rules] == ["wait"]
    assert site.hosts == [HOST]
    assert site.compress


def test_every_visitor_is_known_to_clew_and_came_by_a_click(tmp_path: Path) -> None:
    settings = checked(clew_settings(tmp_path, upstream=8000), {})
    opened_by = SiteRuntime(settings, settings.sites[0], load_catalogue()).cookie
    known = [opened_by.read([header.encode("ascii")]) for header in cookies()]
    assert len({one.visitor for one in known if one is not None}) == VISITORS
    assert all(one is not None and earning_click(one.touches[0]) is not None for one in known)
