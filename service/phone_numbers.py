"""Phone numbers as people read them."""

import phonenumbers


def shown_number(phone: str) -> str:
    """An E.164 number as people read it."""
    try:
        number = phonenumbers.parse(phone)
    except phonenumbers.NumberParseException:
        return phone
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
