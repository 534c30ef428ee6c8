"""Crema & Co., a small shop without any code for clew: `python examples/shop/app.py --port 8000`."""

import argparse
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import uvicorn
from catalogue import CATEGORIES, CURRENCY, PRODUCTS, find, of_category
from sessions import Session, Sessions
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

HERE = Path(__file__).parent
MOST_OF_ONE = 20

# A strict policy, as careful shops send it: no inline scripts, nothing from other origins.
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "cache-control": "private, no-cache",
}

sessions = Sessions()
templates = Jinja2Templates(HERE / "templates")


def money(amount: Decimal) -> str:
    """An amount in euros: €1,290.00."""
    return f"€{amount:,.2f}"


templates.env.filters["money"] = money
templates.env.globals |= {"categories": CATEGORIES, "currency": CURRENCY}


def page(request: Request, name: str, status: int = 200, **values: Any) -> Response:
    """Render a template of a page."""
    session = values.pop("session", None) or sessions.of(request)
    return templates.TemplateResponse(
        request, name, {"session": session, **values}, status_code=status, headers=SECURITY_HEADERS
    )


async def home(request: Request) -> Response:
    """The first page."""
    return page(request, "home.html", products=list(PRODUCTS.values()))


async def category(request: Request) -> Response:
    """All products of a category."""
    slug = request.path_params["slug"]
    if slug not in CATEGORIES:
        raise HTTPException(404)
    return page(request, "category.html", title=CATEGORIES[slug], products=of_category(slug))


async def product(request: Request) -> Response:
    """One product."""
    return page(request, "product.html", product=_product(request.path_params["slug"]))


async def picture(request: Request) -> Response:
    """A product's drawing."""
    product = _product(request.path_params["slug"])
    return templates.TemplateResponse(
        request,
        "picture.svg",
        {"product": product},
        media_type="image/svg+xml",
        headers={"cache-control": "public, max-age=86400"},
    )


async def search(request: Request) -> Response:
    """Products by words."""
    words = request.query_params.get("q", "")[:100]
    return page(request, "category.html", title=f"Search: {words}", products=find(words))


async def go(request: Request) -> Response:
    """The target of advertisements: redirects to the product without the query, as many shops do."""
    return RedirectResponse(f"/products/{_product(request.path_params['slug']).slug}", 302)


async def basket(request: Request) -> Response:
    """The basket."""
    return page(request, "basket.html")


async def add(request: Request) -> Response:
    """Add a product to the basket."""
    form = await request.form()
    product = _product(str(form.get("product", "")))
    session = sessions.of(request)
    session.basket[product.slug] = min(session.basket.get(product.slug, 0) + 1, MOST_OF_ONE)
    return _see(session, "/basket")


async def remove(request: Request) -> Response:
    """Remove a product from the basket."""
    form = await request.form()
    session = sessions.of(request)
    session.basket.pop(str(form.get("product", "")), None)
    return _see(session, "/basket")


async def checkout(request: Request) -> Response:
    """The checkout form, and the order that it places."""
    session = sessions.of(request)
    if not session.basket:
        return RedirectResponse("/basket", 303)
    if request.method != "POST":
        return page(request, "checkout.html", session=session, form={}, missing=())
    form = {name: str(value).strip()[:200] for name, value in (await request.form()).items()}
    missing = [name for name in ("name", "street", "city", "email") if not form.get(name)]
    if missing:
        return page(request, "checkout.html", 422, session=session, form=form, missing=missing)
    order = sessions.order(session, form["name"])
    return _see(session, f"/checkout/confirmation/{order.number}")


async def confirmation(request: Request) -> Response:
    """The confirmation page of an order, only for the browser that ordered."""
    order = sessions.of(request).orders.get(request.path_params["number"])
    if order is None:
        raise HTTPException(404)
    return page(request, "confirmation.html", order=order)


async def failed(request: Request, error: Exception) -> Response:
    """The error page."""
    assert isinstance(error, HTTPException)
    return page(request, "failed.html", error.status_code, status_code=error.status_code)


def _product(slug: str) -> Any:
    if slug not in PRODUCTS:
        raise HTTPException(404)
    return PRODUCTS[slug]


def _see(session: Session, path: str) -> Response:
    response = RedirectResponse(path, 303)
    sessions.save(session, response)
    return response


Page = Callable[[Request], Awaitable[Response]]
PAGES: tuple[tuple[str, Page, list[str]], ...] = (
    ("/", home, ["GET"]),
    ("/go/{slug}", go, ["GET"]),
    ("/category/{slug}", category, ["GET"]),
    ("/products/{slug}", product, ["GET"]),
    ("/pictures/{slug}.svg", picture, ["GET"]),
    ("/search", search, ["GET"]),
    ("/basket", basket, ["GET"]),
    ("/basket/add", add, ["POST"]),
    ("/basket/remove", remove, ["POST"]),
    ("/checkout", checkout, ["GET", "POST"]),
    ("/checkout/confirmation/{number}", confirmation, ["GET"]),
)

app = Starlette(
    routes=[
        *(Route(path, serve, methods=methods) for path, serve, methods in PAGES),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ],
    middleware=[Middleware(GZipMiddleware, minimum_size=1000)],
    exception_handlers={404: failed, 405: failed},
)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=8000)
    uvicorn.run(app, port=options.parse_args().port, log_level="warning")
