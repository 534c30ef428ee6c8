from clew.survey.proposals import CartFound, cart
from looks import look, page


def found(*bodies: str) -> tuple[str | None, str | None]:
    """The selectors proposed for value and items."""
    proposed: CartFound = cart([look(page(body)) for body in bodies])
    return (proposed.value and proposed.value.selector, proposed.items and proposed.items.selector)


def test_value_and_items_of_a_cart_in_the_header_are_found() -> None:
    body = "<div class=mini-cart><b class=mini-cart__sum>1.234,56 €</b> <i class=mini-cart-count>3</i></div>"
    assert found(body) == (".mini-cart__sum", ".mini-cart-count")


def test_a_sign_of_several_currencies_is_money_too() -> None:
    assert found("<a href=/basket class=basket-link><span class=sum>$12.00</span></a>")[0] == ".sum"


def test_prices_of_products_and_buttons_that_add_are_no_cart() -> None:
    assert found("<p class=price>12,00 €</p><button class=add-to-cart>12,00 €</button>") == (None, None)
    assert found("<div class=cart-recommendations><b class=cart-sum>9,00 €</b></div>") == (None, None)


def test_a_selector_is_proposed_only_if_it_reads_the_cart_and_nothing_else() -> None:
    # The first .sum of the page is another's, so the selector names the cart around it.
    assert found("<p class=sum>99,00 €</p><div class=cart><b class=sum>12,00 €</b></div>")[0] == ".cart .sum"


def test_names_that_the_next_build_will_change_are_left_out() -> None:
    body = '<div id=cart>Cart <b class="css-1a2b3c4d5e" id="r-839201">12,00 €</b></div>'
    assert found(body)[0] == "#cart b"


def test_the_selector_that_reads_on_most_pages_is_chosen() -> None:
    header = "<div class=cart-box><b class=cart-sum>12,00 €</b></div>"
    once = "<div id=basket-total>12,00 €</div>"
    proposed = cart([look(page(header)), look(page(header + once))]).value
    assert proposed is not None
    assert (proposed.selector, proposed.pages) == (".cart-sum", 2)
