"""The command `temporal-slo generate`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from temporal_slo.generate import alertmanager
from temporal_slo.generate.artefacts import ALERTMANAGER, MARK, Drift, Files, drift, render, write
from temporal_slo.generate.links import Links
from temporal_slo.spec.load import load

RUNBOOKS: Final = "alerts/README.md"
GRAFANA: Final = "http://localhost:3000"
WEB: Final = "http://localhost:8233"

Print = Callable[[str], None]


def links(runbooks: str | None, grafana: str | None, web: str | None, status: str | None = None) -> Links:
    """Return the links of alerts; what is not given is on this machine, but for the status page."""
    here = (url.rstrip("/") for url in (runbooks or RUNBOOKS, grafana or GRAFANA, web or WEB))
    return Links(*here, *((status.rstrip("/"),) if status else ()))


def generate(
    paths: Sequence[str],
    out: Path,
    links: Links,
    show: Print,
    *,
    check: bool,
    operator: bool,
    receivers: str | None = None,
) -> bool:
    """Make the files of the specs in *paths*, or compare them; return whether all is as it should be.

    With *receivers*, a file that says who is told, Alertmanager's configuration is among them.

    Raises:
        UsageError: A spec is bad, there is none, or *out* cannot be written.
    """
    specs = load([Path(path) for path in paths])
    files = dict(render(specs, links, operator=operator))
    if receivers:
        files[ALERTMANAGER] = MARK + alertmanager.render(alertmanager.load(Path(receivers)), specs)
    if check:
        found = drift(out, files)
        _tell(found, show, ("is missing", "is stale", "is made by no spec any more"))
        return not any(found)
    found = write(out, files)
    _tell(found, show, ("written", "written anew", "removed"))
    show(_summary(out, files))
    return True


def _tell(found: Drift, show: Print, words: tuple[str, str, str]) -> None:
    for names, word in zip(found, words, strict=True):
        for name in names:
            show(f"{name}: {word}")


def _summary(out: Path, files: Files) -> str:
    return f"{len(files)} files in {out} are as the specs have them"
