"""Decodes TC strings of the IAB Europe Transparency and Consent Framework, versions 2.0 to 2.3.

Format: "Transparency and Consent String with Global Vendor & CMP List Formats", v2.3, April 2025
(github.com/InteractiveAdvertisingBureau/GDPR-Transparency-and-Consent-Framework, TCFv2).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from .bits import Bits, UnreadableError, Vendors

SEGMENTS = 4  # the core, and one of each kind
# Strings made after 30 September 2023 have policy version 4 or higher (TCF 2.2), and after 28 February 2026
# the segment of disclosed vendors (TCF 2.3).
POLICY_4_SINCE = 1_696_118_400  # 2023-10-01 UTC
DISCLOSED_SINCE = 1_772_323_200  # 2026-03-01 UTC

_DISCLOSED, _ALLOWED, _PUBLISHER = 1, 2, 3


class Restriction(IntEnum):
    """What a publisher says of a purpose, for some vendors."""

    NOT_ALLOWED = 0
    CONSENT = 1
    INTEREST = 2


@dataclass(frozen=True, slots=True)
class PublisherRestriction:
    """A publisher's restriction of one purpose for some vendors."""

    purpose: int
    kind: Restriction
    vendors: Vendors


@dataclass(frozen=True, slots=True)
class PublisherTC:
    """The publisher's own purposes, and its custom ones."""

    consents: frozenset[int]
    interests: frozenset[int]
    custom_consents: frozenset[int]
    custom_interests: frozenset[int]


@dataclass(frozen=True, slots=True)
class TCString:
    """A decoded TC string. Times in unix seconds; purposes and vendors by their numbers.

    `interests` are purposes whose legitimate interest was shown and not objected to. `disclosed` is None
    where the segment is missing.
    """

    created: float
    updated: float
    cmp: int
    cmp_version: int
    screen: int
    language: str
    list_version: int
    policy: int
    service_specific: bool
    nonstandard_texts: bool
    features: frozenset[int]
    consents: frozenset[int]
    interests: frozenset[int]
    purpose_one_treatment: bool
    country: str
    vendor_consents: Vendors
    vendor_interests: Vendors
    restrictions: tuple[PublisherRestriction, ...] = ()
    disclosed: Vendors | None = None
    allowed: Vendors | None = None
    publisher: PublisherTC | None = None

    @property
    def invalid(self) -> str:
        """Why the string must not be relied on, in words; empty where it may."""
        if self.updated >= POLICY_4_SINCE and self.policy < 4:
            return f"policy version {self.policy}: strings made after 30 September 2023 have 4 or higher"
        if self.updated >= DISCLOSED_SINCE and self.disclosed is None:
            return "no disclosed vendors: strings made after 28 February 2026 have them (TCF 2.3)"
        return ""

    def permits(self, vendor: "Vendor") -> str:
        """Why the string does not let a vendor report a sale; empty where it does.

        That takes purpose 1 (store and access) and, as far as the vendor declares it, measurement: purpose 7,
        else 9. Each on the legal basis that the vendor declares, or that the publisher restricts it to where
        the vendor is flexible.
        """
        if self.disclosed is not None and vendor.id not in self.disclosed:
            return f"vendor {vendor.id} was not disclosed to the visitor"
        declared = vendor.consent | vendor.interest
        measuring = next((purpose for purpose in (7, 9) if purpose in declared), None)
        for purpose in (1,) if measuring is None else (1, measuring):
            if why := self._forbids(vendor, purpose):
                return why
        return ""

    def _forbids(self, vendor: "Vendor", purpose: int) -> str:
        by_interest = purpose in vendor.interest
        for found in self.restrictions:
            if found.purpose != purpose or vendor.id not in found.vendors:
                continue
            if found.kind is Restriction.NOT_ALLOWED:
                return f"the publisher does not allow vendor {vendor.id} purpose {purpose}"
            if by_interest != (found.kind is Restriction.INTEREST):
                if purpose not in vendor.flexible:
                    return (
                        f"the publisher restricts purpose {purpose} to a basis that vendor {vendor.id} lacks"
                    )
                by_interest = not by_interest
        if by_interest:
            if purpose not in self.interests or vendor.id not in self.vendor_interests:
                return f"no legitimate interest of vendor {vendor.id} in purpose {purpose}, or objected to"
        elif purpose not in self.consents or vendor.id not in self.vendor_consents:
            return f"no consent to vendor {vendor.id} for purpose {purpose}"
        return ""


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor of the Global Vendor List: its number and the purposes that it declares, by legal basis.
    `flexible` are those for which it accepts the other basis."""

    id: int
    consent: frozenset[int]
    interest: frozenset[int] = frozenset()
    flexible: frozenset[int] = frozenset()


def decode(text: str) -> TCString:
    """A TC string. Raises UnreadableError. An invalid one is decoded: see `TCString.invalid`."""
    core, *rest = text.strip().split(".", SEGMENTS)
    if len(rest) >= SEGMENTS:
        raise UnreadableError("more segments than there are kinds")
    found = _core(Bits(core), dict(_segments(rest)))
    if found.updated < found.created:
        raise UnreadableError("updated before it was created")
    return found


def _segments(texts: list[str]) -> Iterator[tuple[int, Vendors | PublisherTC]]:
    for text in texts:
        bits = Bits(text)
        kind = bits.number(3)
        if kind == _PUBLISHER:
            yield kind, _publisher(bits)
        elif kind in (_DISCLOSED, _ALLOWED):
            yield kind, bits.vendors()
        else:
            raise UnreadableError(f"unknown segment {kind}")


def _core(bits: Bits, segments: dict[int, Vendors | PublisherTC]) -> TCString:
    version = bits.number(6)
    if version != 2:
        raise UnreadableError(f"version {version}, not 2")
    disclosed, allowed, publisher = (segments.get(kind) for kind in (_DISCLOSED, _ALLOWED, _PUBLISHER))
    return TCString(
        created=bits.number(36) / 10,
        updated=bits.number(36) / 10,
        cmp=bits.number(12),
        cmp_version=bits.number(12),
        screen=bits.number(6),
        language=bits.letters(),
        list_version=bits.number(12),
        policy=bits.number(6),
        service_specific=bits.flag(),
        nonstandard_texts=bits.flag(),
        features=bits.members(12),
        consents=bits.members(24),
        interests=bits.members(24),
        purpose_one_treatment=bits.flag(),
        country=bits.letters(),
        vendor_consents=bits.vendors(),
        vendor_interests=bits.vendors(),
        restrictions=tuple(_restrictions(bits)),
        disclosed=disclosed if isinstance(disclosed, Vendors) else None,
        allowed=allowed if isinstance(allowed, Vendors) else None,
        publisher=publisher if isinstance(publisher, PublisherTC) else None,
    )


def _restrictions(bits: Bits) -> Iterator[PublisherRestriction]:
    for _ in range(bits.number(12)):
        purpose, kind = bits.number(6), bits.number(2)
        if kind > Restriction.INTEREST:
            raise UnreadableError("unknown kind of restriction")
        yield PublisherRestriction(purpose, Restriction(kind), bits.ranges())


def _publisher(bits: Bits) -> PublisherTC:
    consents, interests = bits.members(24), bits.members(24)
    custom = bits.number(6)
    return PublisherTC(consents, interests, bits.members(custom), bits.members(custom))
