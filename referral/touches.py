"""What a visitor brought with him: clicks, touches, and their compact form for the cookie and the store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SAME_ARRIVAL = 30 * 60


@dataclass(frozen=True, slots=True)
class Click:
    """One click id as it stood in the landing address.

    `value` holds the id after percent-decoding, bytes outside UTF-8 as surrogate escapes, so that
    `value.encode("utf-8", "surrogateescape")` is byte for byte what the network sent. `partner` is the id
    of the settings' partner who earns by it, or None where the network is not enabled for the site.
    """

    network: str
    param: str
    value: str
    partner: str | None = None


@dataclass(frozen=True, slots=True)
class Touch:
    """One arrival that carries attribution. `at` is the landing time in unix seconds."""

    at: int
    clicks: tuple[Click, ...] = ()
    campaign: Mapping[str, str] = field(default_factory=dict)
    referrer: str = ""
    landing: str = ""

    def to_json(self) -> dict[str, Any]:
        """The compact form: short keys, absent where empty."""
        data: dict[str, Any] = {"t": self.at}
        if self.clicks:
            data["c"] = [[c.network, c.param, c.value, c.partner] for c in self.clicks]
        if self.campaign:
            data["u"] = dict(self.campaign)
        if self.referrer:
            data["r"] = self.referrer
        if self.landing:
            data["l"] = self.landing
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Touch":
        """The reverse of `to_json`; raises KeyError, TypeError or ValueError on anything else."""
        return cls(
            at=int(data["t"]),
            clicks=tuple(Click(n, p, v, partner) for n, p, v, partner in data.get("c", ())),
            campaign={str(k): str(v) for k, v in data.get("u", {}).items()},
            referrer=str(data.get("r", "")),
            landing=str(data.get("l", "")),
        )


def merge(*groups: tuple[Touch, ...]) -> tuple[Touch, ...]:
    """Touches of several sources (store, cookie), each once, oldest first.

    The same click seen again (a reload, a restored tab) is the first click, not a new one. An arrival without
    a click id is the same when campaign and landing repeat within 30 minutes of the last time.
    """
    last: dict[object, int] = {}
    out: list[Touch] = []
    for touch in sorted((t for group in groups for t in group), key=lambda t: t.at):
        key: object
        if touch.clicks:
            key = frozenset((c.network, c.param, c.value) for c in touch.clicks)
            known = key in last
        else:
            source = tuple(sorted(touch.campaign.items())) or touch.referrer
            key = (touch.landing, source)
            known = key in last and touch.at - last[key] <= SAME_ARRIVAL
        last[key] = touch.at
        if not known:
            out.append(touch)
    return tuple(out)
