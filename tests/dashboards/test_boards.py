"""Every dashboard is what Grafana of today takes, by its own types and by the rules of its linter."""

import json
import re
import time
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.generate.dashboard_files import files
from temporal_slo.generate.kit import Board, Query, Row, Variable, identity, render, stat, text
from temporal_slo.generate.links import Links
from temporal_slo.names.sdk import PLAIN, WHOLE, Profile
from temporal_slo.spec.load import load

from . import lint, typed
from .made import ROOT, boards, loaded
from .promql import matchers, parsed, selectors

SCRAPED = Profile(namespace="exported_namespace")
PROFILES = pytest.mark.parametrize("profile", [WHOLE, PLAIN, SCRAPED], ids=["whole", "plain", "scraped"])
UIDS = pytest.mark.parametrize("uid", boards())


@UIDS
@PROFILES
def test_types(uid: str, profile: Profile) -> None:
    """Grafana's own types take it, lose nothing of it, and find each value to be of its type."""
    assert typed.problems(loaded(uid, profile)) == []


@UIDS
@PROFILES
def test_rules(uid: str, profile: Profile) -> None:
    """It keeps the rules."""
    assert lint.lint(loaded(uid, profile)) == []


def test_uids() -> None:
    """The dashboards that alerts lead to are there, and no other."""
    assert set(boards()) == {value for name, value in vars(names).items() if name.startswith("BOARD_")}


def test_links() -> None:
    """Links between dashboards lead to one that is there, with variables that it has; so do those of alerts."""
    assert lint.links([loaded(uid) for uid in boards()]) == []
    alerts = [path.read_text() for path in (ROOT / "alerts").glob("*.yaml")]
    led = {match for path in alerts for match in re.findall(r"/d/([\w-]+)(?:\?(\S*))?", path)}
    assert {uid for uid, _ in led} > {names.DASHBOARD_DETAIL, names.DASHBOARD_EXPORTER}
    for uid, query in led:
        assert set(re.findall(r"var-(\w+)=", query)) <= set(lint.variables(loaded(uid)))


def test_every_exception_is_needed() -> None:
    """No rule has an exception that nothing needs any more."""
    used = {
        str(selector.name)
        for profile in (WHOLE, PLAIN)
        for uid in boards(profile)
        for _, expr in lint.expressions(loaded(uid, profile))
        for selector, _ in selectors(parsed(expr))
        if matchers(selector).get("job") != "$job"
    }
    assert set(lint.WITHOUT_JOB) <= used
    kinds = {panel["type"] for uid in boards() for panel in loaded(uid)["panels"]}
    assert set(lint.WITHOUT_QUERIES) <= kinds


def test_profile() -> None:
    """How workers name their metrics, and what a scrape calls the namespace, is chosen in one place."""
    whole, plain, scraped = (boards(profile)[names.DASHBOARD_WORKERS] for profile in (WHOLE, PLAIN, SCRAPED))
    assert "temporal_request_total{" in whole
    assert "temporal_workflow_task_replay_latency_seconds_bucket" in whole
    assert "temporal_request{" in plain
    assert "temporal_workflow_task_replay_latency_bucket" in plain
    assert '"unit": "ms"' in plain
    assert '"unit": "ms"' not in whole
    assert ", namespace=~" in whole
    assert ", namespace=~" not in scraped
    assert "exported_namespace=~" in scraped


def test_same_each_time_and_soon() -> None:
    """They are a function of the specs, and made within two seconds."""
    first = boards()
    boards.cache_clear()
    began = time.process_time()
    assert boards() == first
    took = time.process_time() - began
    print(f"{len(first)} dashboards, {sum(map(len, first.values())):,} bytes, in {took:.2f} s")
    assert took <= 2


def test_identity_stays() -> None:
    """A panel keeps its id, and with it links to it, wherever it is moved."""
    one, other = (text(title, "About it.", "words") for title in ("one", "other"))

    def ids(*panels: object) -> dict[str, int]:
        made = json.loads(render(board(Row("row", panels))))  # type: ignore[arg-type]
        return {panel["title"]: panel["id"] for panel in made["panels"]}

    assert ids(one, other) == ids(other, one)
    assert ids(one)["one"] == identity("row", "one") != identity("another row", "one")


def test_same_title_twice() -> None:
    """Two panels of a row with the same title would have the same id."""
    panel = stat("one", "About it.", Query("up"), unit="none")
    with pytest.raises(ValueError, match="the same title"):
        render(board(Row("row", (panel, panel))))
    with pytest.raises(ValueError, match="wider than 24"):
        render(board(Row("row", (stat("one", "About it.", Query("up"), unit="none", size=(25, 1)),))))


def board(*rows: Row) -> Board:
    """A dashboard of these rows."""
    return Board(
        "uid", "title", "About it.", rows, (Variable("datasource", "Data source", "prometheus", "datasource"),)
    )


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "specs" / "good").glob("*.yaml")), ids=lambda path: path.stem)
def test_other_specs(path: Path) -> None:
    """Whatever periods, tiers and SLIs the specs have, the dashboards are good."""
    links = Links("http://books", "http://grafana", "http://web", "http://status")
    made = {name: content for name, content in files(load([path]).slos, links).items() if name.endswith(".json")}
    assert len(made) == len(boards())
    for content in made.values():
        board = json.loads(content)
        assert typed.problems(board) == []
        assert lint.lint(board) == []
    assert "http://status/slos/$temporal_namespace/$slo" in made[f"{names.DASHBOARD_DETAIL}.json"]
