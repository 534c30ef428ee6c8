"""A guest's steps through django-oscar's pages, as a person takes them."""

from dataclasses import dataclass
from decimal import Decimal

from playwright.async_api import Page, expect

PRODUCT = "Conica 64 Burr Grinder"
PRODUCT_SLUG = "conica-64-burr-grinder"
PRICE = Decimal("289.90")
CURRENCY = "GBP"


@dataclass(frozen=True, slots=True)
class Bought:
    """What the confirmation page said."""

    number: str
    total: str


async def put_into_basket(page: Page) -> None:
    """On a product's page: press the button, and see that the basket holds it."""
    # The products that were seen before have such a button too.
    form = page.locator("#add_to_basket_form")
    await form.get_by_role("button", name="Add to basket", exact=True).click()
    await expect(page.locator("#messages")).to_contain_text("has been added to your basket")


async def check_out(page: Page, email: str = "guest@example.com") -> Bought:
    """From any page with a filled basket to the confirmation page."""
    await page.get_by_role("button", name="View basket").click()
    await page.get_by_role("link", name="Proceed to checkout").click()
    await page.get_by_label("My email address").fill(email)
    await page.locator("input[name=options][value=anonymous]").check()
    await page.get_by_role("button", name="Continue").click()
    await _address(page)
    await page.get_by_role("button", name="Continue").click()
    # Shipping is free and there is one way to ship; the payment page has nothing to ask without a provider.
    await page.get_by_role("link", name="Continue").click()
    await page.get_by_role("button", name="Place order").click()
    await page.wait_for_url("**/checkout/thank-you/")
    number = await page.locator("p.lead strong").inner_text()
    total = await page.locator("#basket_totals h3.price_color").inner_text()
    return Bought(number.strip(), total.strip())


async def _address(page: Page) -> None:
    for label, text in (
        ("First name", "Ada"),
        ("Last name", "Guest"),
        ("First line of address", "1 Analytical Row"),
        ("City", "London"),
        ("Post/Zip-code", "W1A 1AA"),
    ):
        await page.get_by_label(label).fill(text)
