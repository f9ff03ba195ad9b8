"""Dumping generated YAML: deterministic, without anchors, long lines unbroken."""

from typing import Any

import yaml


class _Dumper(yaml.CSafeDumper):
    """Dumps repeated values in full, without anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 signature of the base class
        return True


def dump(document: object) -> str:
    """Return *document* as YAML, keys in insertion order."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
