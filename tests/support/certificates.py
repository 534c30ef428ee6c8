"""Certificates: self-signed ones, and those of an authority."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey


def certificate(folder: Path, *names: x509.GeneralName) -> Path:
    """A self-signed certificate and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = _builder("shop", "shop", key).add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _written(folder / "shop.pem", named.sign(key, hashes.SHA256()), key)


class Authority:
    """An authority of one's own. `file` has its certificate, without its key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        own = _builder("authority", "authority", self._key)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.file = folder / "ca.pem"
        signed = own.sign(self._key, hashes.SHA256())
        self.file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def certificate(self, *names: x509.GeneralName) -> Path:
        """A server's certificate and its key in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        named = _builder("server", "authority", key)
        named = named.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return _written(self._folder / "server.pem", named.sign(self._key, hashes.SHA256()), key)


def _builder(subject: str, issuer: str, key: Key) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


def _written(path: Path, signed: x509.Certificate, key: Key) -> Path:
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path
