"""Limits on what strangers can make a server do."""

from pydantic import Field, ValidationInfo, field_validator

from .base import Model


class Bound(Model):
    """One limit: for each client network, for each site, and in total."""

    client: int = Field(ge=1)
    site: int = Field(ge=1)
    all: int = Field(ge=1)


class Limits(Model):
    """Limits on what anonymous clients can make clew store, compute or hold open.

    For the periods see `service/limits.py`.

    The defaults suffice for an office or a mobile network behind one IPv4 address, and for a sale.
    """

    visitors: Bound = Bound(client=120, site=3000, all=10000)
    decides: Bound = Bound(client=1200, site=30000, all=60000)
    events: Bound = Bound(client=300, site=6000, all=20000)
    browser_orders: Bound = Bound(client=30, site=600, all=3000)
    reads: Bound = Bound(client=600, site=12000, all=30000)
    messages: Bound = Bound(client=120, site=1200, all=6000)
    typing: Bound = Bound(client=600, site=12000, all=30000)
    conversations: Bound = Bound(client=20, site=600, all=3000)
    coupons: Bound = Bound(client=20, site=3000, all=30_000)
    forms: Bound = Bound(client=10, site=200, all=1000)
    text: Bound = Bound(client=400_000, site=10_000_000, all=50_000_000)
    files: Bound = Bound(client=60, site=2000, all=10_000)
    cobrowsing: Bound = Bound(client=60, site=600, all=1200)
    logins: Bound = Bound(client=20, site=300, all=600)
    tokens: Bound = Bound(client=20, site=300, all=600)
    exports: Bound = Bound(client=60, site=120, all=600)
    webhooks: Bound = Bound(client=60, site=600, all=3000)
    partner_pages: Bound = Bound(client=120, site=600, all=3000)
    partner_links: Bound = Bound(client=20, site=300, all=600)
    resends: Bound = Bound(client=20, site=200, all=1000)
    streams: Bound = Bound(client=100, site=2000, all=5000)
    desk_streams: Bound = Bound(client=200, site=500, all=2000)
    uploads: Bound = Bound(client=50, site=500, all=2000)
    file_uploads: Bound = Bound(client=6, site=30, all=60)
    websockets: Bound = Bound(client=100, site=500, all=5000)
    connections: Bound = Bound(client=512, site=20_000, all=20_000)

    @field_validator("*", mode="before")
    @classmethod
    def _partly(cls, value: object, info: ValidationInfo) -> object:
        """Keys that a table leaves out keep their defaults."""
        if not isinstance(value, dict) or info.field_name is None:
            return value
        default = cls.model_fields[info.field_name].default
        assert isinstance(default, Bound)
        return {**default.model_dump(), **value}
