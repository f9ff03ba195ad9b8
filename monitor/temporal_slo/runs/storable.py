"""Text that every ledger can store: names and ids of Temporal may contain what PostgreSQL refuses."""

import re
from hashlib import blake2b
from typing import Final

NUL_SIGN: Final = "\u2400"
"""Replaces the NUL character, which Temporal accepts in every name and PostgreSQL in none."""

NAME_BYTES: Final = 1000
"""Longest name. The keys of the ledger contain up to two, and an index of PostgreSQL takes 2,704 bytes a row.

Temporal accepts no longer ones, unless it is configured to.
"""

WORKFLOW_ID_BYTES: Final = 1600
"""Longest workflow id, which an index contains together with the name of the namespace.

The close event of a run with a longer one cannot be requested; Temporal accepts none of more than 1,000 bytes, unless
it is configured to.
"""

_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def storable(text: str) -> str:
    """Return *text* as every ledger can store it, and as it is used everywhere else."""
    return _SURROGATES.sub("\ufffd", text.replace("\0", NUL_SIGN))


def storable_name(name: str, limit: int = NAME_BYTES) -> str:
    """Return *name* as every ledger can store it in a key: if longer than *limit* bytes, it ends in a hash of all."""
    stored = storable(name)
    encoded = stored.encode()
    if len(encoded) <= limit:
        return stored
    ending = f"~{blake2b(encoded, digest_size=8).hexdigest()}"
    return encoded[: limit - len(ending)].decode(errors="ignore") + ending
