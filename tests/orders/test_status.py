from datetime import UTC, datetime

import pytest
from clew.orders.status import latest_moment, order_state


@pytest.mark.parametrize(
    ("written", "state"),
    [
        ("https://schema.org/OrderCancelled", "cancelled"),  # field A7
        ("http://schema.org/OrderReturned", "refunded"),
        ("OrderProblem", "held"),
        ("schema:OrderPaymentDue", "seen"),
        ("https://schema.org/OrderStatus#OrderCancelled", "cancelled"),
        ("https://schema.org/OrderPaymentDue/", "seen"),
        ("Canceled", "cancelled"),
        ("Payment due", "seen"),
        ("https://schema.org/OrderProcessing", "placed"),
        ("OrderDelivered", "placed"),
        ("", "placed"),
        (None, "placed"),
        ("x" * 10**6, "placed"),
    ],
)
def test_a_status_is_read_in_every_spelling(written: str | None, state: str) -> None:
    assert order_state(written) == state


@pytest.mark.parametrize(
    ("written", "latest"),
    [
        ("2024-05-01T10:00:00Z", "2024-05-01T10:00"),  # field A8
        ("2024-05-01T10:00:00+02:00", "2024-05-01T08:00"),
        ("2024-05-01T10:00:00", "2024-05-01T22:00"),
        ("2024-05-01", "2024-05-02T12:00"),
        ("2024-05-01T00:00:00+00:00", "2024-05-02T00:00"),
        ("1714557600", "2024-05-01T10:00"),
        ("1714557600000", "2024-05-01T10:00"),
        ("Wed, 01 May 2024 10:00:00 GMT", "2024-05-01T10:00"),
        ("03.04.2024", "2024-04-04T12:00"),
        ("31/12/2024", "2025-01-01T12:00"),
    ],
)
def test_a_date_is_read_as_the_latest_time_it_can_mean(written: str, latest: str) -> None:
    assert latest_moment(written) == datetime.fromisoformat(latest).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "written",
    [
        *(None, "", "today", "2024-13-45", "0000-00-00", "99/99/2024", "9" * 13, "9999-12-31", "1" * 100),
        *("0001-01-01T00:00:01+14:00", "0001-01-01", "9999-12-31T23:00:00-14:00", "2200-01-01"),
        "1 Jan 99999999999 00:00:00",
    ],
)
def test_an_invalid_date_is_none(written: str | None) -> None:
    """Nor is one that no order can have: what cannot be written as a date would stop the order's record."""
    assert latest_moment(written) is None


def test_a_long_text_is_not_a_date() -> None:
    assert latest_moment("2024-05-01" * 10**5) is None
