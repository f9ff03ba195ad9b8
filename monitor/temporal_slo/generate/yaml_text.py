"""How generated YAML is written: the same for the same, and as people would."""

from typing import Any

import yaml


class _Dumper(yaml.CSafeDumper):
    """Writes lists as people do, and no references to what came before."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 as the library has it
        return True


def written(document: object) -> str:
    """Return *document* as YAML, keys in their order and lines unbroken."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
