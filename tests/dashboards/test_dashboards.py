"""Every dashboard is valid for current Grafana: by its own types and by lint rules."""

import json
import re
import time
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.generate.dashboard_files import files
from temporal_slo.generate.kit import Dashboard, Query, Row, Variable, panel_id, render, stat, text
from temporal_slo.generate.links import Links
from temporal_slo.names.sdk import PLAIN, WHOLE, Profile
from temporal_slo.spec.load import load

from . import grafana_types, lint
from .promql import matchers, parsed, selectors
from .rendered import ROOT, loaded, rendered

SCRAPED = Profile(namespace="exported_namespace")
PROFILES = pytest.mark.parametrize("profile", [WHOLE, PLAIN, SCRAPED], ids=["whole", "plain", "scraped"])
UIDS = pytest.mark.parametrize("uid", rendered())


@UIDS
@PROFILES
def test_types(uid: str, profile: Profile) -> None:
    """Grafana's own types load the dashboard without losing keys, and every value has its declared type."""
    assert grafana_types.problems(loaded(uid, profile)) == []


@UIDS
@PROFILES
def test_rules(uid: str, profile: Profile) -> None:
    """The dashboard passes all lint rules."""
    assert lint.lint(loaded(uid, profile)) == []


def test_uids() -> None:
    """The rendered dashboards are exactly those whose uids are declared in `names`."""
    assert set(rendered()) == {value for name, value in vars(names).items() if name.startswith("DASHBOARD_")}


def test_links() -> None:
    """Links between dashboards and links of alerts lead to existing dashboards and use existing variables."""
    assert lint.links([loaded(uid) for uid in rendered()]) == []
    alerts = [path.read_text() for path in (ROOT / "alerts").glob("*.yaml")]
    linked = {match for path in alerts for match in re.findall(r"/d/([\w-]+)(?:\?(\S*))?", path)}
    assert {uid for uid, _ in linked} > {names.DASHBOARD_DETAIL, names.DASHBOARD_EXPORTER}
    for uid, query in linked:
        assert set(re.findall(r"var-(\w+)=", query)) <= set(lint.variables(loaded(uid)))


def test_every_exception_is_needed() -> None:
    """Every exception of the lint rules is used."""
    used = {
        str(selector.name)
        for profile in (WHOLE, PLAIN)
        for uid in rendered(profile)
        for _, expr in lint.expressions(loaded(uid, profile))
        for selector, _ in selectors(parsed(expr))
        if matchers(selector).get("job") != "$job"
    }
    assert set(lint.WITHOUT_JOB) <= used
    kinds = {panel["type"] for uid in rendered() for panel in loaded(uid)["panels"]}
    assert set(lint.WITHOUT_QUERIES) <= kinds


def test_profile() -> None:
    """The profile sets the names of SDK metrics, the unit of latencies and the namespace label."""
    whole, plain, scraped = (rendered(profile)[names.DASHBOARD_WORKERS] for profile in (WHOLE, PLAIN, SCRAPED))
    assert "temporal_request_total{" in whole
    assert "temporal_workflow_task_replay_latency_seconds_bucket" in whole
    assert "temporal_request{" in plain
    assert "temporal_workflow_task_replay_latency_bucket" in plain
    assert '"unit": "ms"' in plain
    assert '"unit": "ms"' not in whole
    assert ", namespace=~" in whole
    assert ", namespace=~" not in scraped
    assert "exported_namespace=~" in scraped


def test_rendering_is_deterministic_and_fast() -> None:
    """Rendering twice gives the same text, and takes less than two seconds."""
    first = rendered()
    rendered.cache_clear()
    start = time.process_time()
    assert rendered() == first
    duration = time.process_time() - start
    print(f"{len(first)} dashboards, {sum(map(len, first.values())):,} bytes, in {duration:.2f} s")
    assert duration <= 2


def test_panel_ids_are_stable() -> None:
    """A panel keeps its id, and with it links to it, when it is moved within its row."""
    one, other = (text(title, "A description.", "text") for title in ("one", "other"))

    def ids(*panels: object) -> dict[str, int]:
        loaded_json = json.loads(render(dashboard_of(Row("row", panels))))  # type: ignore[arg-type]
        return {panel["title"]: panel["id"] for panel in loaded_json["panels"]}

    assert ids(one, other) == ids(other, one)
    assert ids(one)["one"] == panel_id("row", "one") != panel_id("another row", "one")


def test_invalid_panels() -> None:
    """Two panels of a row with the same title, or a panel wider than the grid, are rejected."""
    panel = stat("one", "A description.", Query("up"), unit="none")
    with pytest.raises(ValueError, match="the same title"):
        render(dashboard_of(Row("row", (panel, panel))))
    with pytest.raises(ValueError, match="wider than 24 columns"):
        render(dashboard_of(Row("row", (stat("one", "A description.", Query("up"), unit="none", size=(25, 1)),))))


def dashboard_of(*rows: Row) -> Dashboard:
    """A dashboard with these rows."""
    return Dashboard(
        "uid", "title", "A description.", rows, (Variable("datasource", "Data source", "prometheus", "datasource"),)
    )


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "specs" / "good").glob("*.yaml")), ids=lambda path: path.stem)
def test_other_specs(path: Path) -> None:
    """The dashboards are valid whatever periods, tiers and SLIs the specs have."""
    links = Links("http://books", "http://grafana", "http://web", "http://status")
    dashboards = {name: content for name, content in files(load([path]).slos, links).items() if name.endswith(".json")}
    assert len(dashboards) == len(rendered())
    for content in dashboards.values():
        dashboard = json.loads(content)
        assert grafana_types.problems(dashboard) == []
        assert lint.lint(dashboard) == []
    assert "http://status/slos/$temporal_namespace/$slo" in dashboards[f"{names.DASHBOARD_DETAIL}.json"]
