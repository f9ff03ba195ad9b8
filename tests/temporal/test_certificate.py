import datetime as dt

import pytest
import trustme
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from temporal_slo.temporal.certificate import expiry

ONE = trustme.CA().issue_cert("a.example").cert_chain_pems[0].bytes()


@pytest.mark.parametrize("year", [1999, 2030, 2049, 2050, 2500])
def test_expiry(year: int) -> None:
    """The expiry is that of the certificate, with a year of two digits and of four."""
    end = dt.datetime(year, 2, 28, 23, 59, 58, tzinfo=dt.UTC)
    start = dt.datetime(1990, 1, 1, tzinfo=dt.UTC)
    leaf = trustme.CA().issue_cert("a.example", not_before=start, not_after=end)
    pem = leaf.cert_chain_pems[0].bytes()
    assert x509.load_pem_x509_certificate(pem).not_valid_after_utc == end
    assert expiry(b"a comment\n" + pem + ONE) == end.timestamp()


@given(st.integers(0, len(ONE) - 1), st.binary(max_size=3))
def test_damaged(place: int, instead: bytes) -> None:
    """A damaged certificate has an expiry or none, and raises no error."""
    expiry(ONE[:place] + instead + ONE[place + 1 :])
    assert expiry(ONE[:place]) is None or place > len(ONE) - 5
