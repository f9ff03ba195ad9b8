"""The specs that an exporter goes by, read again when they change; a bad one keeps the last good."""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from temporal_slo import names
from temporal_slo.names.samples import Sample
from temporal_slo.spec.load import SUFFIXES, SpecError, load
from temporal_slo.spec.model import Spec

LOOK_INTERVAL: Final = 5.0
"""Seconds between two looks at the files."""

log = logging.getLogger(__name__)

Adopt = Callable[[tuple[Spec, ...]], None]
Signature = tuple[tuple[str, int, int, int], ...]


class Specs:
    """Specs of an exporter.

    Args:
        paths: Files and folders; none if there are no specs.
        clock: Unix time in seconds.

    Attributes:
        current: The last good ones.

    Raises:
        SpecError: They are bad from the start.
    """

    def __init__(self, paths: Sequence[str], clock: Callable[[], float] = time.time) -> None:
        self._paths = [Path(path) for path in paths]
        self._clock = clock
        self._signature = self._sign()
        self.current: tuple[Spec, ...] = load(self._paths) if paths else ()
        self._good, self._since = True, clock()

    def samples(self) -> Iterator[Sample]:
        """Yield whether the last reading was good, and when the last good one was."""
        yield Sample(names.EXPORTER_RELOAD_SUCCESSFUL, {}, int(self._good))
        yield Sample(names.EXPORTER_RELOAD_TIMESTAMP, {}, self._since)

    def reload(self) -> bool:
        """Read again; return whether what was read is good, and so is what is gone by from now on."""
        signature = self._sign()
        try:
            self.current = load(self._paths) if self._paths else ()
        except SpecError as error:
            self._good = False
            for problem in error.problems:
                log.error(  # noqa: TRY400 the problem is the user's, and no trace leads to it
                    "the specs are not what is gone by, the last good ones are: %s", problem
                )
        else:
            self._good, self._since = True, self._clock()
            log.info("the specs were read again: %d of them", len(self.current))
        self._signature = signature
        return self._good

    def changed(self) -> bool:
        """Return whether the files are no longer those that were read last."""
        return self._sign() != self._signature

    def _sign(self) -> Signature:
        """Return what differs if any file does: also one that a link was turned to, as a mounted ConfigMap is."""
        return tuple(_signed(file) for path in self._paths for file in _files(path))


def _files(path: Path) -> list[Path]:
    try:
        return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    except OSError:
        return [path]


def _signed(file: Path) -> tuple[str, int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return str(file), 0, 0, 0
    return str(file), found.st_mtime_ns, found.st_size, found.st_ino


async def follow(specs: Specs, adopt: Adopt, renew: Callable[[], Awaitable[None]]) -> None:
    """Read *specs* again at each SIGHUP and whenever their files change, until cancelled.

    Args:
        specs: Are read again.
        adopt: Gets the new ones if they are good.
        renew: Is called after each reading, good or not.
    """
    hangup = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    try:
        while True:
            await _wait(hangup, LOOK_INTERVAL)
            if hangup.is_set() or specs.changed():
                hangup.clear()
                if specs.reload():
                    adopt(specs.current)
                await renew()
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
