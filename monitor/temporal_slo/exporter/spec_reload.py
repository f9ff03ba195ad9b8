"""Loads the SLO specs again when their files change; after a failure the last good specs stay in use."""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from temporal_slo import names
from temporal_slo.names.samples import Sample
from temporal_slo.spec.bound import BoundSlo, LoadedSpecs
from temporal_slo.spec.load import SUFFIXES, SpecError, load

CHECK_INTERVAL: Final = 5.0
"""Seconds between two checks of the files."""

log = logging.getLogger(__name__)

Signature = tuple[tuple[str, int, int, int], ...]


class AppliesSlos(Protocol):
    """Something that the SLOs of one namespace configure."""

    def apply_slos(self, slos: Sequence[BoundSlo]) -> None:
        """Use *slos* from now on, in place of all before."""
        ...


class SpecFiles:
    """The spec files of an exporter.

    Args:
        paths: Files and folders; none for an exporter without SLOs.
        clock: Unix time in seconds.

    Attributes:
        current: The last good specs.

    Raises:
        SpecError: The specs are invalid at the start.
    """

    def __init__(self, paths: Sequence[str], clock: Callable[[], float] = time.time) -> None:
        self._paths = [Path(path) for path in paths]
        self._clock = clock
        self._signature = self._sign()
        self.current = load(self._paths) if paths else LoadedSpecs()
        self._successful, self._loaded = True, clock()

    def samples(self) -> Iterator[Sample]:
        """Yield whether the last load was successful, and when the last successful one was."""
        yield Sample(names.EXPORTER_RELOAD_SUCCESSFUL, {}, int(self._successful))
        yield Sample(names.EXPORTER_RELOAD_TIMESTAMP, {}, self._loaded)

    def reload(self) -> bool:
        """Load the files again; return whether that was successful."""
        signature = self._sign()
        try:
            self.current = load(self._paths) if self._paths else LoadedSpecs()
        except SpecError as error:
            self._successful = False
            for problem in error.problems:
                log.error(  # noqa: TRY400 the problem is the user's, and no trace leads to it
                    "spec reload failed, keeping the last good specs: %s", problem
                )
        else:
            self._successful, self._loaded = True, self._clock()
            log.info("specs reloaded: %d of them", len(self.current))
        self._signature = signature
        return self._successful

    def changed(self) -> bool:
        """Return whether the files differ from those that were loaded last."""
        return self._sign() != self._signature

    def _sign(self) -> Signature:
        """Return what differs if any file does, a link that points elsewhere included: a mounted ConfigMap is one."""
        return tuple(_signature(file) for path in self._paths for file in _files(path))


def _files(path: Path) -> list[Path]:
    try:
        return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    except OSError:
        return [path]


def _signature(file: Path) -> tuple[str, int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return str(file), 0, 0, 0
    return str(file), found.st_mtime_ns, found.st_size, found.st_ino


async def follow(
    files: SpecFiles, apply_specs: Callable[[LoadedSpecs], None], renew: Callable[[], Awaitable[None]]
) -> None:
    """Reload the specs at each SIGHUP and whenever their files change, until cancelled.

    Args:
        files: Are reloaded.
        apply_specs: Gets the specs after a successful reload.
        renew: Called after each reload.
    """
    hangup = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    try:
        while True:
            await _wait(hangup, CHECK_INTERVAL)
            if hangup.is_set() or files.changed():
                hangup.clear()
                if files.reload():
                    apply_specs(files.current)
                await renew()
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
