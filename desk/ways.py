"""The desk's own host: an origin that no shop's page, script or service worker has a part in.

| path | |
|---|---|
| `/` | leads to the desk |
| `/-/clew/desk/…` | the desk of the only site; with several: login, and the choice of a site |
| `/-/clew/site/NAME/desk/…` | the desk of one of several sites |
"""

from dataclasses import dataclass

from ..service.site import SiteRuntime
from ..service.sites import Sites

ROOT = "/-/clew"
HOME = f"{ROOT}/desk/"
# What is there before a site is chosen.
UNCHOSEN = frozenset(
    {
        *("/desk", "/desk/", "/desk/login", "/desk/login/code", "/desk/logout", "/desk/join", "/desk/reset"),
        *("/desk/account", "/desk/account/name", "/desk/account/password", "/desk/account/sessions"),
        *("/desk/account/factor", "/desk/account/factor/confirm", "/desk/account/factor/codes"),
        *("/desk/account/factor/remove", "/desk/desk.css", "/desk/desk.js"),
    }
)


@dataclass(frozen=True, slots=True)
class Way:
    """A request on the desk's host. `root` is what stands before `path` in the address. Without a `chosen`
    site `site` only stands in for it, and nothing of it may be shown."""

    site: SiteRuntime
    root: str
    path: bytes
    chosen: bool


def way(sites: Sites, path: bytes) -> Way | None:
    """Where a raw path on the desk's host leads; None for nowhere."""
    below = path.removeprefix(ROOT.encode())
    if below == path:
        return None
    if below == b"/desk" or below.startswith(b"/desk/"):
        chosen = len(sites) == 1
        if not chosen and below.decode("latin-1") not in UNCHOSEN:
            return None
        return Way(sites.at_once(next(iter(sites))), ROOT, below, chosen)
    first, _, rest = below.removeprefix(b"/site/").partition(b"/")
    name = first.decode("latin-1") if below.startswith(b"/site/") else ""
    if name not in sites or not (rest == b"desk" or rest.startswith(b"desk/")):
        return None
    site = sites.at_once(name)
    return Way(site, f"{ROOT}/site/{site.name}", b"/" + rest, True)
