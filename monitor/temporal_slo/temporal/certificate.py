"""Expiry of a certificate, read from its bytes: the standard library parses only the certificate of a peer."""

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION: Final = 0xA0
_GENERALIZED_TIME: Final = 0x18
_LONG_FORM: Final = 0x80
_VALIDITY: Final = 3
"""Index of the validity, without the optional version: serial number, algorithm and issuer precede it."""


def expiry(pem: bytes) -> float | None:
    """Return the expiry of the first certificate in a PEM file, in seconds of Unix time; None if it cannot be read."""
    found = _CERTIFICATE.search(pem)
    if not found:
        return None
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0].decode())
        _, certificate = next(_elements(der))
        _, signed = next(_elements(certificate))
        fields = [content for tag, content in _elements(signed) if tag != _VERSION]
        _, not_after = list(_elements(fields[_VALIDITY]))
        return _unix_time(*not_after)
    except (ValueError, IndexError, StopIteration):
        return None


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tags and contents of the consecutive elements in *der*."""
    while der:
        tag, length, start = der[0], der[1], 2
        if length & _LONG_FORM:
            start += length & ~_LONG_FORM
            length = int.from_bytes(der[2:start])
        if len(der) < start + length:
            raise ValueError("the element is truncated")
        yield tag, der[start : start + length]
        der = der[start + length :]


def _unix_time(tag: int, content: bytes) -> float:
    text = content.decode("ascii")
    if tag != _GENERALIZED_TIME:
        # RFC 5280: a year of two digits is one from 1950 to 2049.
        text = ("20" if text < "50" else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
