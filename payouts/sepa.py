"""A payment as SEPA credit transfer: ISO 20022, pain.001.001.09."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from ..settings.model import BankAccount

SCHEMA = "pain.001.001.09"


class PayoutError(ValueError):
    """A payout cannot be made; the text says why, and what to do."""


def document(
    name: str, debtor: BankAccount, creditor: Mapping[str, Any], cents: int, now: float, text: str
) -> str:
    """The payment of a payout as XML, valid by the official schema. `name` is the payout's, `creditor` has
    name, iban and bic, `text` is what the creditor reads. Raises PayoutError."""
    try:
        # Imported here: it takes long, and only payouts need it.
        from sepaxml import SepaTransfer
        from sepaxml.validation import ValidationError
    except ImportError:
        raise PayoutError("SEPA files need a library: pip install 'clew[payout]'") from None
    # At most 35 characters (ISO 20022, Max35Text); the payout's own name may be longer.
    reference = blake2b(name.encode("utf-8"), digest_size=15).hexdigest()
    config = {"name": debtor.name, "IBAN": debtor.iban, "currency": "EUR", "batch": True}
    if debtor.bic is not None:
        config["BIC"] = debtor.bic
    payment = {
        "name": creditor["name"],
        "IBAN": creditor["iban"],
        "amount": cents,
        "execution_date": datetime.fromtimestamp(now, UTC).date(),
        "description": text,
        "endtoend_id": reference,
    }
    if creditor.get("bic"):
        payment["BIC"] = creditor["bic"]
    transfer = SepaTransfer(config, schema=SCHEMA, clean=True)
    transfer.add_payment(payment)
    try:
        found: bytes = transfer.export(validate=True, pretty_print=True)
    except ValidationError as error:
        raise PayoutError(f"{name}: the payment is not valid by {SCHEMA}: {error.__cause__}") from error
    return found.decode("utf-8")
