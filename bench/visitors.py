"""Cookies of visitors that clew knows, encrypted as clew would have set them."""

import time

from clew.referral.cookie import Known, VisitorCookie, new_visitor_id
from clew.referral.domains import CookieDomains
from clew.referral.touches import Click, Touch

SECRET = "for the bench alone, and thirty-two characters at least"
SITE = "bench"
# So many that a cache of decrypted cookies has no more hits than in a shop's traffic.
VISITORS = 512


def visitor_cookie() -> VisitorCookie:
    """Encrypts and decrypts the cookies of the site under test."""
    return VisitorCookie(SECRET, [], SITE, CookieDomains())


def cookies(count: int = VISITORS) -> list[str]:
    """Cookie headers of `count` visitors, each with a click of its own."""
    cookie, now = visitor_cookie(), int(time.time())
    headers = []
    for number in range(count):
        at = now - 3600 - number
        click = Click("awin", "awc", f"1001_{at}_{number:016x}", "awin")
        touch = Touch(at, (click,), {"utm_source": "blog"}, "", "/page.html")
        known = Known(new_visitor_id(), (touch,), at)
        headers.append(cookie.set_cookie(known, False).decode("ascii").partition(";")[0])
    return headers
