"""The command line of the check, and stores that tell less than a Prometheus."""

import io
from datetime import timedelta
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.check import command
from temporal_slo.check.judge import Judge
from temporal_slo.check.loaded_rules import State
from temporal_slo.check.prometheus import Access, Prometheus, Row, Target
from temporal_slo.check.selectors import rules_of, uses_of
from temporal_slo.cli.main import main
from temporal_slo.servers.prometheus import Prometheus as Server
from temporal_slo.spec.bound import LoadedSpecs
from temporal_slo.spec.load import load

from .system import NAMESPACE, SPEC, System


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """The spec of the system, in a file."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path / "spec.yaml"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--prometheus", "localhost"), "--prometheus: 'localhost' is not a URL; write for example"),
        (("--prometheus-token-file", "/none/there"), "--prometheus-token-file: '/none/there' cannot be read"),
        (("--timeout", "soon"), "--timeout: 'soon' is not a duration"),
        (("--ignore", "NoSuchAlert"), "--ignore: no rule of these specs is named 'NoSuchAlert'; give"),
        (("--temporal-namespace", "other"), "--temporal-namespace: no spec is of the Temporal namespace 'other'"),
        (("--only", "grafana"), "check: argument --only: invalid choice"),
        (("--temporal-address", "nowhere"), "--temporal-address: 'nowhere' is not an address"),
    ],
)
def test_mistakes(spec: Path, options: tuple[str, ...], said: str) -> None:
    """A mistake of the user is one line, and exit code 2."""
    out, err = io.StringIO(), io.StringIO()
    assert main(["check", str(spec), *options], {}, out, err) == 2
    assert err.getvalue().startswith(f"temporal-slo: {said}")
    assert err.getvalue().count("\n") == 1
    assert out.getvalue() == ""


def test_bad_spec(tmp_path: Path) -> None:
    """A spec that is bad is told as by validate, before anybody is asked."""
    (tmp_path / "spec.yaml").write_text("version: 7")
    err = io.StringIO()
    assert main(["check", str(tmp_path)], {}, io.StringIO(), err) == 2
    assert "spec.yaml:1" in err.getvalue()


async def test_rule_that_fails(system: System, healthy: Server) -> None:
    """What a failing rule records is dead with its reason, and so is what follows from it; what is there is alive."""
    prometheus = Prometheus(Access(healthy.url, None, timedelta(seconds=30)))
    other = LoadedSpecs([load([system.spec])[0].model_copy(update={"service": "shop2"})])
    rules = rules_of(other)
    failing = next(rule for rule in rules if rule.name == "slo:events:rate5m")
    judge = Judge(prometheus, other.slos, uses_of(rules, other.slos), {failing: (State.FAILS, "boom")}, None, {})
    try:
        verdicts = await judge.verdicts()
    finally:
        await prometheus.close()
    kinds = {
        verdict.cause.kind
        for verdict in verdicts
        if verdict.cause and dict(verdict.uses.rules[0].labels).get("slo") == dict(failing.labels)["slo"]
    }
    assert {"rule fails", "follows"} <= kinds
    assert any(verdict.cause and verdict.cause.what == "its rule fails: boom" for verdict in verdicts)
    assert any(verdict.alive and verdict.uses.selector.metric == "temporal_slo_exporter_up" for verdict in verdicts)


async def test_store_without_targets(system: System, healthy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where targets, rules and retention are not told the check goes on, and says so."""

    async def nothing(_: Prometheus) -> None:
        return None

    for page in ("targets", "rules", "retention"):
        monkeypatch.setattr(Prometheus, page, nothing)
    warnings = (
        "warning: this store does not tell which rules are loaded",
        "warning: how long samples are kept is not told; the rules look back for 30d",
        # Counted over some minutes, of which there are not enough yet.
        "warning: how often our metrics are scraped is not known; see to it that they are every 30s or more often",
    )
    # Again and again: where no rules are told, one whose first evaluation is still to come is taken for a dead one.
    await system.says(healthy.url, *warnings, f"({NAMESPACE})", only=("prometheus",), well=True)


@pytest.mark.parametrize("targets", [None, [], [Target("node", "n:1", interval=timedelta(seconds=9))]])
async def test_store_that_is_written_to(targets: list[Target] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others scrape, and no target in the list is ours, intervals are reckoned from samples."""

    async def answer(_: Prometheus, promql: str) -> list[Row]:
        labels = {"job": "slo", "instance": "a:1"}
        return [Row(labels, 5.0)] if names.EXPORTER_UP.sample in promql or "count by" in promql else []

    monkeypatch.setattr(Prometheus, "query", answer)
    prometheus = Prometheus(Access("http://nobody.invalid"))
    found = await command._ours(prometheus, [], targets)  # noqa: SLF001 - what the findings are made of
    await prometheus.close()
    assert found == [Target("slo", "a:1", interval=timedelta(minutes=1))]
