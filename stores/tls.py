"""What to do about a server whose certificate is not accepted, in words for operators."""

import ssl
from typing import Final

# X509_V_ERR_… of OpenSSL's x509_vfy.h.
_EXPIRED: Final = 10
_OTHER_NAME: Final = (62, 63, 64)


def untrusted(error: BaseException, option: str) -> str | None:
    """Why a server's certificate was not accepted, and what to do; None if an error is about something else.
    `option` is that of the address which names the file with an authority's certificate."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, ssl.SSLCertVerificationError):
        found = found.__cause__ or found.__context__
    if found is None:
        return None
    if found.verify_code in _OTHER_NAME:
        why = found.verify_message.rstrip(".")
        return f"its certificate is for another name ({why}): write a name that is in it as the host"
    if found.verify_code == _EXPIRED:
        return "its certificate has expired: renew it on the server"
    return (
        f"its certificate is not signed by an authority that clew trusts ({found.verify_message}): name the "
        f"file with the certificate of its authority in the address, ?{option}=/etc/clew/ca.pem"
    )
