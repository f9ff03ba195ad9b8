from collections.abc import Sequence
from typing import Any, cast

import pytest

from temporal_slo.exporter import supervisor as module
from temporal_slo.exporter.namespace import NamespaceMonitor, SharedParts
from temporal_slo.exporter.spec_reload import SpecFiles
from temporal_slo.exporter.supervisor import Supervisor
from temporal_slo.settings import ExporterSettings
from temporal_slo.spec.bound import BoundSlo, LoadedSpecs


class FakeSpecs:
    """Spec files, as far as a supervisor reads them."""

    def __init__(self) -> None:
        self.current = LoadedSpecs()


class FakeMonitor:
    """A monitor that records what it is given."""

    def __init__(self) -> None:
        self.applied: list[tuple[BoundSlo, ...]] = []
        self.closed = 0

    def apply_slos(self, slos: Sequence[BoundSlo]) -> None:
        """Record SLOs."""
        self.applied.append(tuple(slos))

    async def run(self) -> None:
        """Never return by itself."""
        raise AssertionError

    async def close(self) -> None:
        """Record it."""
        self.closed += 1


class Shared:
    """What a supervisor uses of the shared parts."""

    settings = ExporterSettings({"target_host": "localhost:1", "namespace": "shop"}, "", ("", 0), cast("Any", None))


@pytest.mark.parametrize("reloaded", [False, True])
async def test_reload_while_a_monitor_is_built(monkeypatch: pytest.MonkeyPatch, *, reloaded: bool) -> None:
    """A monitor that is built during a reload gets the new SLOs; one that is not gets them once."""
    specs, built = FakeSpecs(), FakeMonitor()

    async def build(*_: object) -> NamespaceMonitor:
        if reloaded:
            specs.current = LoadedSpecs()
        return cast("NamespaceMonitor", built)

    monkeypatch.setattr(module, "monitor", build)
    supervisor = Supervisor(cast("SharedParts", Shared()), cast("SpecFiles", specs))
    await supervisor.prepare()
    assert built.applied == [()] * reloaded
