"""The command `temporal-slo generate`: rules, alerts, Alertmanager's configuration, and dashboards."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from temporal_slo.errors import UsageError
from temporal_slo.generate import alertmanager, dashboard_files
from temporal_slo.generate import receivers as receivers_file
from temporal_slo.generate.artefacts import render
from temporal_slo.generate.files import ALERTMANAGER, MARK, Drift, Files, drift, foreign, write_all
from temporal_slo.generate.links import Links
from temporal_slo.names.sdk import PLAIN, WHOLE, Profile
from temporal_slo.spec.bound import LoadedSpecs
from temporal_slo.spec.load import SpecError, read

RUNBOOKS: Final = "alerts/README.md"
GRAFANA: Final = "http://localhost:3000"
WEB: Final = "http://localhost:8233"

PROFILES: Final = {"whole": WHOLE, "plain": PLAIN}

UNFIT: Final = re.compile(r"""[\s{}'"`<>\\]""")
"""What stands in no URL, and may mean something else in a template, a file of rules or a shell."""

UNKNOWN: Final = "is made by none of these specs"

Print = Callable[[str], None]


def links(runbooks: str | None, grafana: str | None, web: str | None, status: str | None = None) -> Links:
    """Return the links of alerts; what is not given is on this machine, but for runbooks and the status page.

    Raises:
        UsageError: One of them leads nowhere, or holds a password, which everybody could read in the alerts.
    """
    for option, url in {"--runbooks": runbooks, "--grafana": grafana, "--web": web, "--status": status}.items():
        if url:
            _leads(option, url)
    here = (url.rstrip("/") for url in (runbooks or RUNBOOKS, grafana or GRAFANA, web or WEB))
    return Links(*here, *((status.rstrip("/"),) if status else ()))


def _leads(option: str, url: str) -> None:
    example = f"write for example {'https://wiki.example.com/slo' if option == '--runbooks' else 'https://example.com'}"
    # A wrong one is not quoted: what looks like no password may be one.
    if not url.isprintable() or UNFIT.search(url):
        raise UsageError(option, "holds a blank, quote, brace, backslash or what cannot be printed", example)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UsageError(option, "is not a URL", example) from None
    if "@" in parts.netloc:
        raise UsageError(option, "holds a user or a password, which alerts would show to everybody", example)
    if option == "--runbooks" and not parts.scheme and not parts.netloc:
        # The runbooks may stand beside the rules in a repository.
        return
    if parts.scheme not in {"http", "https"} or not host:
        raise UsageError(option, "is not a URL with http:// or https:// and a host", example)


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
        UsageError: A spec is bad, there is none, a folder cannot be written, or holds files of somebody else.
    """
    specs = _specs(paths)
    files = dict(render(specs, links, operator=operator))
    if receivers:
        files[ALERTMANAGER] = MARK + alertmanager.render(receivers_file.load(Path(receivers)), specs.slos)
    folders: dict[Path, Files] = {out: files}
    if dashboards:
        if dashboards.resolve() == out.resolve():
            raise UsageError("--dashboards", "is the folder of the alerts", "give it a folder of its own")
        folders[dashboards] = dashboard_files.files(specs.slos, links, profile, operator=operator)
    for option, folder in {"--out": out, "--dashboards": dashboards}.items():
        _is_apart(option, folder, paths)
    # All is made by now: a fault leaves what was there.
    if check:
        # Each folder gets its turn, whatever is wrong in the first.
        well = [_compare(folder, made, show) for folder, made in folders.items()]
        return all(well)
    for folder, made in folders.items():
        _is_free(folder, made)
    for (folder, made), found in zip(folders.items(), write_all(folders, prune=prune), strict=True):
        _tell(found, show, ("written", "written anew", "removed" if prune else f"{UNKNOWN}; --prune removes it"))
        show(_summary(folder, made))
    return True


def _specs(paths: Sequence[str]) -> LoadedSpecs:
    found = read([Path(path) for path in paths])
    if found.problems:
        raise SpecError(found.problems)
    for line in found.warnings:
        # Standard output is for what was made.
        sys.stderr.write(f"{line}\n")
    return found.specs


def _is_apart(option: str, folder: Path | None, paths: Sequence[str]) -> None:
    """Refuse a folder of specs: whoever reads them next, an exporter for one, would take what is made for specs."""
    for path in map(Path, paths):
        own = path if path.is_dir() else path.parent
        if folder and folder.resolve() == own.resolve():
            raise UsageError(option, "is a folder of specs, which would be read with what is made", "give it another")


def _is_free(folder: Path, files: Files) -> None:
    first, *more = foreign(folder, files) or [""]
    if first:
        others = f", and {len(more)} more" if more else ""
        what = f"was not made by temporal-slo generate{others}, and would be overwritten"
        raise UsageError(f"{folder / first}", what, "move it away, or give another folder by --out or --dashboards")


def _compare(folder: Path, files: Files, show: Print) -> bool:
    found = drift(folder, files)
    _tell(found, show, ("is missing", "is stale", UNKNOWN))
    return not any(found)


def _tell(found: Drift, show: Print, words: tuple[str, str, str]) -> None:
    for names, word in zip(found, words, strict=True):
        for name in names:
            show(f"{name}: {word}")


def _summary(out: Path, files: Files) -> str:
    return f"{len(files)} files in {out} are as the specs have them"
