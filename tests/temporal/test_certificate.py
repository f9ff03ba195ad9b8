import datetime as dt

import pytest
import trustme
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from temporal_slo.temporal.certificate import expiry

ONE = trustme.CA().issue_cert("a.example").cert_chain_pems[0].bytes()


@pytest.mark.parametrize("year", [1999, 2030, 2049, 2050, 2500])
def test_end(year: int) -> None:
    """The end is the one that the certificate was made with, in this century's form of a date and in the next one's."""
    end = dt.datetime(year, 2, 28, 23, 59, 58, tzinfo=dt.UTC)
    start = dt.datetime(1990, 1, 1, tzinfo=dt.UTC)
    leaf = trustme.CA().issue_cert("a.example", not_before=start, not_after=end)
    pem = leaf.cert_chain_pems[0].bytes()
    assert x509.load_pem_x509_certificate(pem).not_valid_after_utc == end
    assert expiry(b"a remark\n" + pem + ONE) == end.timestamp()


@given(st.integers(0, len(ONE) - 1), st.binary(max_size=3))
def test_broken(place: int, instead: bytes) -> None:
    """Whatever stands there, it has an end or none, and no error."""
    expiry(ONE[:place] + instead + ONE[place + 1 :])
    assert expiry(ONE[:place]) is None or place > len(ONE) - 5
