"""Several namespaces in one process, each watched by itself: one that fails, hangs or is deleted touches no other."""

import asyncio
import logging
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, Final

from temporal_slo import names
from temporal_slo.errors import LedgerError, TemporalRequestError, UsageError
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.namespace import Common, Parts, wire
from temporal_slo.exporter.spec_reload import Specs
from temporal_slo.names.samples import Sample
from temporal_slo.spec.model import Spec
from temporal_slo.temporal.namespaces import ListNamespaces
from temporal_slo.temporal.rate_limit import backoff

NAMESPACES_MAX: Final = 200
"""Namespaces that are watched when all are: those of the specs first, then by name."""

DISCOVER_INTERVAL: Final = 60.0
RETRY_INTERVAL: Final = 5.0
HEALTHY: Final = 60.0
"""Seconds after which a namespace whose watching crashed has recovered."""

SYSTEM: Final = "temporal-system"

log = logging.getLogger(__name__)


class Fleet:
    """Watches namespaces.

    Args:
        common: What they share.
        specs: What the exporter goes by.
        listing: Lists all namespaces, if those are to be watched; raises TemporalRequestError.

    Attributes:
        parts: What watches each namespace now.
        trouble: Why namespaces could not be listed the last time; None if they could, or need not be.
    """

    def __init__(self, common: Common, specs: Specs, listing: ListNamespaces | None = None) -> None:
        self.parts: dict[str, Parts] = {}
        self._common = common
        self._specs = specs
        self._listing = listing
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._left_out = 0
        self.trouble: str | None = None

    def samples(self) -> Iterator[Sample]:
        """Yield how many namespaces there are, and whether they could be listed."""
        yield Sample(names.EXPORTER_NAMESPACES, {}, len(self._tasks))
        yield Sample(names.EXPORTER_NAMESPACES_OVER_LIMIT, {}, self._left_out)
        if self._listing:
            yield Sample(names.EXPORTER_DISCOVERY_UP, {}, int(self.trouble is None))

    async def prepare(self) -> None:
        """Wire the namespaces that the exporter was told to watch, or those that there are.

        Raises:
            UsageError: A data converter or the codec endpoint is wrong, or the ledger cannot be read.
        """
        namespaces = await self._listed(self._listing) if self._listing else self._common.settings.namespaces
        for namespace in namespaces or ():
            try:
                self.parts[namespace] = await wire(self._common, namespace, self._specs.current)
            except LedgerError as error:
                raise UsageError("--ledger", f"cannot be read: {error}", "restore a copy, or give another") from error

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            self._spread([namespace for namespace in self.parts if namespace not in self._tasks])
            while True:
                await self._pass(RETRY_INTERVAL if self.trouble else DISCOVER_INTERVAL)
                if self._listing:
                    await self._discover(self._listing)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _pass(self, seconds: float) -> None:
        """Let time pass; end with the error of a namespace that ends, for none does but by what a restart may mend."""
        if not self._tasks:
            await asyncio.sleep(seconds)
            return
        done, _ = await asyncio.wait(self._tasks.values(), timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    def adopt(self, specs: tuple[Spec, ...]) -> None:
        """Have every namespace go by *specs* from now on."""
        for parts in self.parts.values():
            parts.adopt(specs)

    def told(self) -> dict[str, Any]:
        """Return what each namespace's last poll did, as JSON has it."""
        return {namespace: parts.told() for namespace, parts in sorted(self.parts.items())}

    async def _discover(self, listing: ListNamespaces) -> None:
        """Begin to watch namespaces that are new, and end with those that are no more."""
        chosen = await self._listed(listing)
        if chosen is None:
            return
        for namespace in self._tasks.keys() - set(chosen):
            log.info("%s: is no more, and is watched no longer", namespace)
            await self._end(namespace)
        self._spread([namespace for namespace in chosen if namespace not in self._tasks])

    async def _listed(self, listing: ListNamespaces) -> list[str] | None:
        """Return the namespaces to watch; None if they cannot be listed."""
        before = self.trouble
        try:
            found = await listing()
        except TemporalRequestError as error:
            self.trouble = str(error)
            if before is None:
                log.warning("namespaces cannot be listed, those that are known stay: %s", error)
            return None
        self.trouble = None
        return self._choose(found)

    def _choose(self, found: list[str]) -> list[str]:
        pattern = self._common.settings.namespace_filter
        fitting = {name for name in found if name != SYSTEM and fnmatchcase(name, pattern)}
        first = {spec.temporal_namespace for spec in self._specs.current}
        ordered = sorted(fitting, key=lambda name: (name not in first, name))
        self._left_out = len(ordered[NAMESPACES_MAX:])
        return ordered[:NAMESPACES_MAX]

    def _spread(self, namespaces: list[str]) -> None:
        # Their polls do not begin together, so that the server gets an even load.
        step = self._common.settings.poll_interval.total_seconds() / max(len(namespaces), 1)
        for index, namespace in enumerate(namespaces):
            self._tasks[namespace] = asyncio.create_task(self._keep(namespace, index * step))

    async def _end(self, namespace: str) -> None:
        task = self._tasks.pop(namespace)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.parts.pop(namespace, None)
        await self._common.board.leave(namespace)

    async def _keep(self, namespace: str, wait: float) -> None:
        """Watch *namespace* after *wait* seconds, and begin again from the ledger if that crashes."""
        failures = 0
        await asyncio.sleep(wait)
        while True:
            began = time.monotonic()
            trouble = await self._watch(namespace)
            failures = 1 if time.monotonic() - began > HEALTHY else failures + 1
            self.parts.pop(namespace, None)
            board = self._common.board
            last = board.snapshots.get(namespace, Snapshot(namespace))
            await board.put(replace(last, trouble=trouble))
            await asyncio.sleep(backoff(failures, random.random()))  # noqa: S311 no secret

    async def _watch(self, namespace: str) -> str:
        """Watch *namespace* until that ends; return why.

        Raises:
            UsageError: The ledger is no longer the one that was opened.
        """
        try:
            if namespace not in self.parts:
                self.parts[namespace] = await wire(self._common, namespace, self._specs.current)
        except LedgerError as error:
            log.warning("%s: cannot be watched: %s", namespace, error)
            return str(error)
        try:
            await self.parts[namespace].run()
        except* UsageError as errors:
            # Another exporter has counted into the ledger meanwhile: what is known is to be read again.
            reason = str(next(_leaves(errors)))
            log.warning("%s: begins again: %s", namespace, reason)
        except* Exception:
            # A bug, whatever it is: the others are to go on, and this one from what the ledger has.
            log.exception("%s: watching it crashed, and begins again", namespace)
            reason = "watching it crashed; the log has more"
        return reason


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
