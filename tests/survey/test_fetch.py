import threading

import pytest
from clew.survey.fetch import Limits, Shop, Unreachable, address, same_shop
from small_shops import Page, SmallShop, html, redirect


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("shop.example", "https://shop.example/"),
        ("shop.example/de", "https://shop.example/de"),
        ("localhost:8000", "http://localhost:8000/"),
        ("127.0.0.1", "http://127.0.0.1/"),
        (" http://shop.example/#top ", "http://shop.example/"),
    ],
)
def test_an_address_may_be_typed_as_people_do(typed: str, asked: str) -> None:
    assert address(typed) == asked


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://shop.example/", "https://www.shop.example/x", True),
        ("http://shop.example:80/", "https://shop.example:443/", True),
        ("http://shop.example:8000/", "http://shop.example:8001/", False),
        ("https://shop.example/", "https://shop.example.evil.example/", False),
        ("https://shop.example/", "https://checkout.shop.example/", False),
        ("https://shop.example/", "javascript:alert(1)", False),
        ("https://shop.example/", "https://shop.example:x/", False),
    ],
)
def test_only_the_shops_own_addresses_are_of_one_shop(one: str, other: str, same: bool) -> None:
    assert same_shop(one, other) is same


async def test_a_shop_that_does_not_respond_is_a_timeout() -> None:
    done = threading.Event()
    with SmallShop({"/": Page(writes=lambda handler: bool(done.wait(20)) and None)}) as small:
        async with Shop(small.address, Limits(page=0.2)) as shop:
            with pytest.raises(Unreachable, match="did not respond within"):
                await shop.get(small.address)
        done.set()


async def test_all_pages_together_have_a_bound_too() -> None:
    with SmallShop({"/": html("x")}) as small:
        async with Shop(small.address, Limits(whole=0)) as shop:
            with pytest.raises(Unreachable, match="did not respond within 0 s"):
                await shop.get(small.address)
    assert small.asked == []


async def test_no_other_site_is_ever_requested() -> None:
    with SmallShop({"/": redirect("http://localhost:1/")}) as small:
        async with Shop(small.address) as shop:
            with pytest.raises(Unreachable, match="another site"):
                await shop.get("http://shop.example/")
            with pytest.raises(Unreachable, match="redirects to another site, http://localhost:1/"):
                await shop.get(small.address)


async def test_a_coding_that_is_not_known_gives_no_body() -> None:
    coded = Page(b"xxx", 200, (("Content-Type", "text/html"), ("Content-Encoding", "snappy")))
    with SmallShop({"/": coded}) as small:
        async with Shop(small.address) as shop:
            assert (await shop.get(small.address)).body == b""
