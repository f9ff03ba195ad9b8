"""Signatures of Paystack's webhooks: the services sign, as Paystack does, and the API verifies."""

import hashlib
import hmac
from typing import Final

SECRET_KEY: Final = "PAYSTACK_SECRET_KEY"  # noqa: S105 the name of the variable
"""Environment variable with the secret key."""
SIGNATURE: Final = "x-paystack-signature"
"""Header with the signature."""


def sign(secret: str, body: bytes) -> str:
    """Return the signature of *body*: HMAC-SHA512 in hexadecimal."""
    return hmac.new(secret.encode(), body, hashlib.sha512).hexdigest()
