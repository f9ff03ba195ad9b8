"""Monitors several namespaces in one process: one that fails, hangs or is deleted does not affect the others."""

import asyncio
import logging
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from temporal_slo import names
from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.exporter.discovery import Discovery
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.namespace import NamespaceMonitor, SharedParts, monitor
from temporal_slo.exporter.spec_reload import SpecFiles
from temporal_slo.names.samples import Sample
from temporal_slo.spec.bound import LoadedSpecs
from temporal_slo.temporal.rate_limit import backoff

DISCOVERY_INTERVAL: Final = 60.0
RETRY_INTERVAL: Final = 5.0
HEALTHY_AFTER: Final = 60.0
"""Seconds after which a monitor that crashed before counts as recovered."""

log = logging.getLogger(__name__)


class Supervisor:
    """Starts, restarts and stops the monitors of namespaces.

    Args:
        shared: What all namespaces share.
        specs: The spec files.
        discovery: Finds namespaces; None to monitor those of the settings.

    Attributes:
        monitors: The monitor of each namespace.
    """

    def __init__(self, shared: SharedParts, specs: SpecFiles, discovery: Discovery | None = None) -> None:
        self.monitors: dict[str, NamespaceMonitor] = {}
        self._shared = shared
        self._specs = specs
        self._discovery = discovery
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def samples(self) -> Iterator[Sample]:
        """Yield how many namespaces are monitored, and how their discovery went."""
        yield Sample(names.EXPORTER_NAMESPACES, {}, len(self._tasks))
        if self._discovery:
            yield from self._discovery.samples()
        else:
            yield Sample(names.EXPORTER_NAMESPACES_OVER_LIMIT, {}, 0)

    @property
    def discovery_error(self) -> str | None:
        """Why namespaces could not be listed; None if they could, or need not be."""
        return self._discovery.error if self._discovery else None

    async def prepare(self) -> None:
        """Build the monitors of the namespaces of the settings, or of those that exist.

        Raises:
            UsageError: The ledger cannot be read.
        """
        settings = self._shared.settings
        namespaces = await self._discovery.namespaces() if self._discovery else settings.namespaces
        for namespace in namespaces or ():
            try:
                self.monitors[namespace] = await self._monitor(namespace)
            except LedgerError as error:
                raise UsageError("--ledger", f"cannot be read: {error}", "restore a copy, or give another") from error

    async def run(self) -> None:
        """Monitor until cancelled."""
        try:
            self._start([namespace for namespace in self.monitors if namespace not in self._tasks])
            while True:
                await self._wait(RETRY_INTERVAL if self.discovery_error else DISCOVERY_INTERVAL)
                if self._discovery:
                    await self._update(self._discovery)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            for monitored in self.monitors.values():
                await monitored.close()

    def apply_specs(self, specs: LoadedSpecs) -> None:
        """Let every namespace use *specs* from now on."""
        for namespace, running in self.monitors.items():
            running.apply_slos(specs.of_namespace(namespace))

    def debug_info(self) -> dict[str, Any]:
        """Return what the last poll of each namespace did, as JSON."""
        return {namespace: running.debug_info() for namespace, running in sorted(self.monitors.items())}

    async def _monitor(self, namespace: str) -> NamespaceMonitor:
        specs = self._specs.current
        built = await monitor(self._shared, namespace, specs.of_namespace(namespace))
        if self._specs.current is not specs:
            # A reload while the monitor was built went to all the others.
            built.apply_slos(self._specs.current.of_namespace(namespace))
        return built

    async def _wait(self, seconds: float) -> None:
        """Wait; raise the error of a namespace whose task ended: none does unless only a restart can help."""
        if not self._tasks:
            await asyncio.sleep(seconds)
            return
        done, _ = await asyncio.wait(self._tasks.values(), timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    async def _update(self, discovery: Discovery) -> None:
        """Start to monitor new namespaces, and stop to monitor deleted ones."""
        namespaces = await discovery.namespaces()
        if namespaces is None:
            return
        for namespace in self._tasks.keys() - set(namespaces):
            log.info("namespace %s was deleted; monitoring stopped", namespace)
            await self._stop(namespace)
        self._start([namespace for namespace in namespaces if namespace not in self._tasks])

    def _start(self, namespaces: list[str]) -> None:
        # Their polls start spread over the interval, so that the server gets an even load.
        step = self._shared.settings.poll_interval.total_seconds() / max(len(namespaces), 1)
        for index, namespace in enumerate(namespaces):
            self._tasks[namespace] = asyncio.create_task(self._keep_running(namespace, index * step))

    async def _stop(self, namespace: str) -> None:
        task = self._tasks.pop(namespace)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if stopped := self.monitors.pop(namespace, None):
            # It may not have run yet.
            await stopped.close()
        await self._shared.publisher.leave(namespace)

    async def _keep_running(self, namespace: str, delay: float) -> None:
        """Monitor *namespace* after *delay* seconds, and restart the monitor from the ledger when it crashes."""
        failures = 0
        await asyncio.sleep(delay)
        while True:
            began = time.monotonic()
            error = await self._run(namespace)
            failures = 1 if time.monotonic() - began > HEALTHY_AFTER else failures + 1
            self.monitors.pop(namespace, None)
            publisher = self._shared.publisher
            last = publisher.snapshots.get(namespace, Snapshot(namespace))
            await publisher.put(replace(last, error=error))
            await asyncio.sleep(backoff(failures, random.random()))  # noqa: S311 no secret

    async def _run(self, namespace: str) -> str:
        """Run the monitor of *namespace* until it ends; return why it ended.

        Raises:
            UsageError: The ledger is no longer the one that was opened.
        """
        try:
            if namespace not in self.monitors:
                self.monitors[namespace] = await self._monitor(namespace)
        except LedgerError as error:
            log.warning("%s: monitoring could not start: %s", namespace, error)
            return str(error)
        try:
            await self.monitors[namespace].run()
        except* UsageError as errors:
            # Another exporter has counted in the ledger meanwhile: its facts must be loaded again.
            reason = str(next(_leaves(errors)))
            log.warning("%s: monitoring restarts: %s", namespace, reason)
        except* Exception:
            # A bug of any kind: the other namespaces continue, and this one restarts from the ledger.
            log.exception("%s: monitoring crashed and restarts", namespace)
            reason = "monitoring crashed; see the log"
        return reason


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
