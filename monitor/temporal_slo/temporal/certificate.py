"""When a certificate ends, read from its bytes: the standard library tells that only of a peer's."""

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
"""The place of the validity behind the version, which may be left out: serial number, algorithm and issuer precede."""


def expiry(pem: bytes) -> float | None:
    """Return when the first certificate of a PEM file ends, in seconds of Unix time; None if that cannot be read."""
    found = _CERTIFICATE.search(pem)
    if not found:
        return None
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0].decode())
        _, certificate = next(_elements(der))
        _, signed = next(_elements(certificate))
        fields = [content for tag, content in _elements(signed) if tag != _VERSION]
        _, end = list(_elements(fields[_VALIDITY]))
        return _moment(*end)
    except (ValueError, IndexError, StopIteration):
        return None


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tags and contents of the elements that stand one after the other in *der*."""
    while der:
        tag, length, begin = der[0], der[1], 2
        if length & _LONG_FORM:
            begin += length & ~_LONG_FORM
            length = int.from_bytes(der[2:begin])
        if len(der) < begin + length:
            raise ValueError("the element is cut off")
        yield tag, der[begin : begin + length]
        der = der[begin + length :]


def _moment(tag: int, written: bytes) -> float:
    text = written.decode("ascii")
    if tag != _GENERALIZED_TIME:
        # Two digits of a year are of 1950 to 2049, by RFC 5280.
        text = ("20" if text < "50" else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
