"""The command line of the check, and stores that report less than Prometheus."""

import io
from datetime import timedelta
from pathlib import Path

import pytest

from temporal_slo import names
from temporal_slo.check import command
from temporal_slo.check.diagnosis import Diagnoser
from temporal_slo.check.loaded_rules import RuleState
from temporal_slo.check.no_data_causes import DEPENDS_ON
from temporal_slo.check.prometheus import PrometheusAccess, PrometheusClient, Row, Target
from temporal_slo.check.selectors import generated_rules, used_selectors
from temporal_slo.cli.main import main
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.spec.bound import LoadedSpecs
from temporal_slo.spec.load import load

from .system import NAMESPACE, SPEC, System


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """The spec of the checked system, in a file."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path / "spec.yaml"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--prometheus", "localhost"), "--prometheus: 'localhost' is not a URL; write for example"),
        (("--prometheus-token-file", "/none/there"), "--prometheus-token-file: '/none/there' cannot be read"),
        (("--timeout", "soon"), "--timeout: 'soon' is not a duration"),
        (("--ignore", "NoSuchAlert"), "--ignore: no rule of these specs is named 'NoSuchAlert'; give"),
        (("--temporal-namespace", "other"), "--temporal-namespace: no spec has the Temporal namespace 'other'"),
        (("--only", "grafana"), "check: argument --only: invalid choice"),
        (("--temporal-address", "nowhere"), "--temporal-address: 'nowhere' is not an address"),
    ],
)
def test_usage_errors(spec: Path, options: tuple[str, ...], message: str) -> None:
    """A usage error is one line, with exit code 2."""
    out, err = io.StringIO(), io.StringIO()
    assert main(["check", str(spec), *options], {}, out, err) == 2
    assert err.getvalue().startswith(f"temporal-slo: {message}")
    assert err.getvalue().count("\n") == 1
    assert out.getvalue() == ""


def test_invalid_spec(tmp_path: Path) -> None:
    """An invalid spec is reported as by `validate`, before any request."""
    (tmp_path / "spec.yaml").write_text("version: 7")
    err = io.StringIO()
    assert main(["check", str(tmp_path)], {}, io.StringIO(), err) == 2
    assert "spec.yaml:1" in err.getvalue()


async def test_rule_that_fails(system: System, healthy: Prometheus) -> None:
    """A series whose rule fails has no data for that reason, and so have series that depend on it; others have data."""
    prometheus = PrometheusClient(PrometheusAccess(healthy.url, None, timedelta(seconds=30)))
    other = LoadedSpecs([load([system.spec])[0].model_copy(update={"service": "shop2"})])
    rules = generated_rules(other)
    failing = next(rule for rule in rules if rule.name == "slo:events:rate5m")
    states = {failing: (RuleState.FAILS, "boom")}
    used = used_selectors(rules, other.slos)
    try:
        diagnoses = await Diagnoser(prometheus, other.slos, used, states, None, {}).diagnose()
    finally:
        await prometheus.close()
    kinds = {
        diagnosis.cause.kind
        for diagnosis in diagnoses
        if diagnosis.cause and dict(diagnosis.used.rules[0].labels).get("slo") == dict(failing.labels)["slo"]
    }
    assert {"rule fails", DEPENDS_ON} <= kinds
    assert any(
        diagnosis.cause and diagnosis.cause.what == "evaluation of its recording rule fails: boom"
        for diagnosis in diagnoses
    )
    assert any(
        diagnosis.has_data and diagnosis.used.selector.metric == "temporal_slo_exporter_up" for diagnosis in diagnoses
    )


async def test_store_without_targets(system: System, healthy: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a store does not report targets, rules and retention, the check continues and warns."""

    async def nothing(_: PrometheusClient) -> None:
        return None

    for method in ("targets", "rules", "retention"):
        monkeypatch.setattr(PrometheusClient, method, nothing)
    warnings = (
        "warning: this store does not report loaded rules",
        "warning: retention of Prometheus is unknown; the rules need 30d",
        # Computed from samples of five minutes, which do not exist yet.
        "warning: scrape interval of the temporal-slo targets is unknown; ensure that it is 30s or less",
    )
    # Until it succeeds: without rule states a rule before its first evaluation counts as not recorded.
    await system.check_until(healthy.url, *warnings, f"({NAMESPACE})", only=("prometheus",), ok=True)


@pytest.mark.parametrize("targets", [None, [], [Target("node", "n:1", interval=timedelta(seconds=9))]])
async def test_remote_write(targets: list[Target] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no listed target is ours, scrape intervals are computed from samples."""

    async def answer(_: PrometheusClient, promql: str) -> list[Row]:
        labels = {"job": "slo", "instance": "a:1"}
        return [Row(labels, 5.0)] if names.EXPORTER_UP.sample in promql or "count by" in promql else []

    monkeypatch.setattr(PrometheusClient, "query", answer)
    prometheus = PrometheusClient(PrometheusAccess("http://nobody.invalid"))
    found = await command._own_targets(prometheus, [], targets)  # noqa: SLF001 the input of the findings
    await prometheus.close()
    assert found == [Target("slo", "a:1", interval=timedelta(minutes=1))]
