"""How money is paid: from whom, and to whom."""

from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from .base import Currency, Model

_NO_LIBRARY: Final = "payouts need libraries that are not installed: pip install 'clew[payout]'"


def _iban(value: str) -> str:
    try:
        from schwifty import IBAN
        from schwifty.exceptions import SchwiftyException
    except ImportError:
        raise ValueError(_NO_LIBRARY) from None
    try:
        return IBAN(value).compact
    except SchwiftyException as error:
        raise ValueError(f"not an IBAN: {error}") from None


def _bic(value: str) -> str:
    try:
        from schwifty import BIC
        from schwifty.exceptions import SchwiftyException
    except ImportError:
        raise ValueError(_NO_LIBRARY) from None
    try:
        return BIC(value).compact
    except SchwiftyException as error:
        raise ValueError(f"not a BIC: {error}") from None


Minimum = dict[Currency, Annotated[Decimal, Field(ge=0, le=1_000_000)]]


class BankAccount(Model):
    """Whose account money goes to, or comes from."""

    name: str = Field(min_length=1, max_length=70)
    iban: Annotated[str, AfterValidator(_iban)] | None = None
    bic: Annotated[str, AfterValidator(_bic)] | None = None
    minimum: Minimum = {}


class Creditor(BankAccount):
    """How a partner is paid: see docs/payouts.md."""

    method: Literal["sepa", "csv"] = "sepa"
