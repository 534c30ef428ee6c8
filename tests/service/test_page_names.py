"""Pages have the names that people read."""

import pytest
from clew.service.page_names import path_name, short_titles


def test_titles_lose_the_name_of_the_shop() -> None:
    titles = ["Red boots – Demo Shop", "Cart – Demo Shop", "Demo Shop", "Blue - green scarf – Demo Shop"]
    assert list(short_titles(titles).values()) == ["Red boots", "Cart", "Demo Shop", "Blue - green scarf"]


def test_titles_that_end_differently_are_kept() -> None:
    titles = ["Boots | Women", "Boots | Men", "Hats", "Coats", "Gloves"]
    assert list(short_titles(titles).values()) == titles
    assert short_titles(["Boots | Shop"]) == {"Boots | Shop": "Boots | Shop"}
    assert short_titles([]) == {}
    assert short_titles(["| Shop", "a | Shop", "b | Shop"])["| Shop"] == "| Shop"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "Home page"),
        ("", "Home page"),
        ("/shoes/red-boots.html", "red boots"),
        ("/shoes/gr%C3%BCne_stiefel/", "grüne stiefel"),
        ("/%2E%2E/--", "/%2E%2E/--"),
        ("/a.php", "a"),
    ],
)
def test_a_path_is_read_as_words(path: str, name: str) -> None:
    assert path_name(path) == name
