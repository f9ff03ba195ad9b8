"""The command `temporal-slo generate`: rules, alerts, Alertmanager's configuration, and dashboards."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from temporal_slo.errors import UsageError
from temporal_slo.generate import alertmanager, provisioning
from temporal_slo.generate.artefacts import ALERTMANAGER, MARK, Drift, Files, drift, render, write
from temporal_slo.generate.links import Links
from temporal_slo.names.sdk import PLAIN, WHOLE, Profile
from temporal_slo.spec.load import load

RUNBOOKS: Final = "alerts/README.md"
GRAFANA: Final = "http://localhost:3000"
WEB: Final = "http://localhost:8233"

PROFILES: Final = {"whole": WHOLE, "plain": PLAIN}

UNKNOWN: Final = "is made by none of these specs"

Print = Callable[[str], None]


def links(runbooks: str | None, grafana: str | None, web: str | None, status: str | None = None) -> Links:
    """Return the links of alerts; what is not given is on this machine, but for the status page."""
    here = (url.rstrip("/") for url in (runbooks or RUNBOOKS, grafana or GRAFANA, web or WEB))
    return Links(*here, *((status.rstrip("/"),) if status else ()))


def profile(names: str, namespace_label: str) -> Profile:
    """Return how workers name their metrics, from the words of the command line."""
    return replace(PROFILES[names], namespace=namespace_label)


def generate(
    paths: Sequence[str],
    out: Path,
    links: Links,
    show: Print,
    *,
    check: bool,
    operator: bool,
    prune: bool = False,
    receivers: str | None = None,
    dashboards: Path | None = None,
    profile: Profile = WHOLE,
) -> bool:
    """Make the files of the specs in *paths*, or compare them; return whether all is as it should be.

    Args:
        paths: Files or folders.
        out: Where rules and alerts belong.
        links: Where alerts and dashboards lead.
        show: Prints a line.
        check: Change nothing.
        operator: Make objects of Kubernetes.
        prune: Remove files that specs made once and make no more; they are only told of otherwise.
        receivers: A file that says who is told: then Alertmanager's configuration is among the files.
        dashboards: Where dashboards belong; none are made without it.
        profile: How workers' own metrics are named.

    Raises:
        UsageError: A spec is bad, there is none, or a folder cannot be written.
    """
    specs = load([Path(path) for path in paths])
    files = dict(render(specs, links, operator=operator))
    if receivers:
        files[ALERTMANAGER] = MARK + alertmanager.render(alertmanager.load(Path(receivers)), specs)
    folders: dict[Path, Files] = {out: files}
    if dashboards:
        if dashboards.resolve() == out.resolve():
            raise UsageError("--dashboards", "is the folder of the alerts", "give it a folder of its own")
        folders[dashboards] = provisioning.files(specs, links, profile, operator=operator)
    # All is made by now: a fault leaves what was there. And each folder gets its turn, whatever is wrong in the first.
    well = [_put(folder, made, show, check=check, prune=prune) for folder, made in folders.items()]
    return all(well)


def _put(folder: Path, files: Files, show: Print, *, check: bool, prune: bool) -> bool:
    if check:
        found = drift(folder, files)
        _tell(found, show, ("is missing", "is stale", UNKNOWN))
        return not any(found)
    found = write(folder, files, prune=prune)
    _tell(found, show, ("written", "written anew", "removed" if prune else f"{UNKNOWN}; --prune removes it"))
    show(_summary(folder, files))
    return True


def _tell(found: Drift, show: Print, words: tuple[str, str, str]) -> None:
    for names, word in zip(found, words, strict=True):
        for name in names:
            show(f"{name}: {word}")


def _summary(out: Path, files: Files) -> str:
    return f"{len(files)} files in {out} are as the specs have them"
