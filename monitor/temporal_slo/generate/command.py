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

FORBIDDEN: Final = re.compile(r"""[\s{}'"`<>\\]""")
"""Characters that are invalid in URLs and special in templates, rule files or shells."""

ORPHANED: Final = "is orphaned: none of these specs generates it"

Print = Callable[[str], None]


def links(runbooks: str | None, grafana: str | None, web: str | None, status: str | None = None) -> Links:
    """Return the base URLs for links in alerts.

    Defaults: Grafana and Web UI on localhost, runbooks by relative path, no status page.

    Raises:
        UsageError: A URL is invalid, or contains credentials, which alerts would disclose.
    """
    for option, url in {"--runbooks": runbooks, "--grafana": grafana, "--web": web, "--status": status}.items():
        if url:
            _check_url(option, url)
    base_urls = (url.rstrip("/") for url in (runbooks or RUNBOOKS, grafana or GRAFANA, web or WEB))
    return Links(*base_urls, *((status.rstrip("/"),) if status else ()))


def _check_url(option: str, url: str) -> None:
    example = f"write for example {'https://wiki.example.com/slo' if option == '--runbooks' else 'https://example.com'}"
    # Errors never quote the URL: any part of it may be a password.
    if not url.isprintable() or FORBIDDEN.search(url):
        raise UsageError(option, "contains a space, quote, brace, backslash or unprintable character", example)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UsageError(option, "is not a URL", example) from None
    if "@" in parts.netloc:
        raise UsageError(option, "contains a user or password, which alerts would disclose", example)
    if option == "--runbooks" and not parts.scheme and not parts.netloc:
        # A path: the runbooks may be in the same repository as the rules.
        return
    if parts.scheme not in {"http", "https"} or not host:
        raise UsageError(option, "is not an http:// or https:// URL with a host", example)


def profile(names: str, namespace_label: str) -> Profile:
    """Return the SDK metric names for the options `--sdk-names` and `--namespace-label`."""
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
    """Write the files generated from the specs in *paths*, or compare them; return whether they are up to date.

    Args:
        paths: Files or folders of specs.
        out: Output folder of rules and alerts.
        links: Base URLs for links in alerts and dashboards.
        show: Prints a line.
        check: Compare only, write nothing.
        operator: Generate Kubernetes objects.
        prune: Remove orphaned files instead of only reporting them.
        receivers: Receivers file; also generates Alertmanager's configuration.
        dashboards: Output folder of dashboards; None generates none.
        profile: Names of the SDK metrics that workers expose.

    Raises:
        UsageError: A spec is invalid or missing, or a folder is not writable or contains files not generated.
    """
    specs = _specs(paths)
    rules = dict(render(specs, links, operator=operator))
    if receivers:
        rules[ALERTMANAGER] = MARK + alertmanager.render(receivers_file.load(Path(receivers)), specs.slos)
    folders: dict[Path, Files] = {out: rules}
    if dashboards:
        if dashboards.resolve() == out.resolve():
            raise UsageError("--dashboards", "is the same folder as --out", "choose another folder")
        folders[dashboards] = dashboard_files.files(specs.slos, links, profile, operator=operator)
    for option, folder in {"--out": out, "--dashboards": dashboards}.items():
        _refuse_spec_folder(option, folder, paths)
    # Everything is rendered: an error above leaves the folders unchanged.
    if check:
        # A list, not a generator: report every folder, even if the first differs.
        up_to_date = [_compare(folder, files, show) for folder, files in folders.items()]
        return all(up_to_date)
    for folder, files in folders.items():
        _refuse_foreign(folder, files)
    for (folder, files), before in zip(folders.items(), write_all(folders, prune=prune), strict=True):
        _report(before, show, ("created", "updated", "removed" if prune else f"{ORPHANED}; --prune removes it"))
        show(f"{folder}: {len(files)} files up to date")
    return True


def _specs(paths: Sequence[str]) -> LoadedSpecs:
    result = read([Path(path) for path in paths])
    if result.problems:
        raise SpecError(result.problems)
    for line in result.warnings:
        # Standard output lists the generated files only.
        sys.stderr.write(f"{line}\n")
    return result.specs


def _refuse_spec_folder(option: str, folder: Path | None, paths: Sequence[str]) -> None:
    """Refuse an output folder that contains specs: exporters would read the generated files as specs."""
    for path in map(Path, paths):
        specs = path if path.is_dir() else path.parent
        if folder and folder.resolve() == specs.resolve():
            what = "is a folder of specs, whose readers would read the generated files as specs"
            raise UsageError(option, what, "choose another folder")


def _refuse_foreign(folder: Path, files: Files) -> None:
    first, *more = foreign(folder, files) or [""]
    if first:
        others = f" (and {len(more)} more)" if more else ""
        what = f"was not generated by temporal-slo{others} and would be overwritten"
        raise UsageError(f"{folder / first}", what, "move it away, or choose another folder with --out or --dashboards")


def _compare(folder: Path, files: Files, show: Print) -> bool:
    differences = drift(folder, files)
    _report(differences, show, ("is missing", "is stale", ORPHANED))
    return not any(differences)


def _report(differences: Drift, show: Print, messages: tuple[str, str, str]) -> None:
    for names, message in zip(differences, messages, strict=True):
        for name in names:
            show(f"{name}: {message}")
