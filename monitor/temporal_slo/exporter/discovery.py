"""Which namespaces to monitor: those of the settings, or all that are registered."""

import logging
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Final

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.spec_reload import SpecFiles
from temporal_slo.names.samples import Sample
from temporal_slo.temporal.namespaces import ListNamespaces

NAMESPACES_MAX: Final = 200
"""Namespaces monitored when all are: those of the specs first, then by name."""

SYSTEM: Final = "temporal-system"

log = logging.getLogger(__name__)


class Discovery:
    """Lists the namespaces to monitor.

    Args:
        pattern: Glob pattern that names must match.
        specs: Their namespaces come first.
        listing: Lists all registered namespaces.

    Attributes:
        error: Why the last listing failed; None if it succeeded.
    """

    def __init__(self, pattern: str, specs: SpecFiles, listing: ListNamespaces) -> None:
        self._pattern = pattern
        self._specs = specs
        self._listing = listing
        self._over_limit = 0
        self.error: str | None = None

    async def namespaces(self) -> list[str] | None:
        """Return the namespaces to monitor; None if they cannot be listed."""
        before = self.error
        try:
            found = await self._listing()
        except TemporalRequestError as error:
            self.error = str(error)
            if before is None:
                log.warning("listing namespaces failed, keeping the known ones: %s", error)
            return None
        self.error = None
        return self._choose(found)

    def samples(self) -> Iterator[Sample]:
        """Yield whether the last listing succeeded, and how many namespaces are over the limit."""
        yield Sample(names.EXPORTER_NAMESPACES_OVER_LIMIT, {}, self._over_limit)
        yield Sample(names.EXPORTER_DISCOVERY_UP, {}, int(self.error is None))

    def _choose(self, found: list[str]) -> list[str]:
        matching = {name for name in found if name != SYSTEM and fnmatchcase(name, self._pattern)}
        first = {spec.temporal_namespace for spec in self._specs.current}
        ordered = sorted(matching, key=lambda name: (name not in first, name))
        self._over_limit = len(ordered[NAMESPACES_MAX:])
        return ordered[:NAMESPACES_MAX]
