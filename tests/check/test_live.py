"""The check of a live system: a healthy one, and one with each error, whose cause is named."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from temporal_slo.generate.cause_alerts import CAUSES
from temporal_slo.servers.process import LOOPBACK, until
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.servers.tools import cli_command

from .system import (
    CLOSED_BEFORE,
    DEADLINE,
    NAMESPACE,
    QUEUE,
    SPEC,
    StubTarget,
    System,
    configure,
    job,
    prometheus,
    rule_files,
)

PROMETHEUS_ONLY = ("prometheus",)
EXPORTED_LABEL = "label exported_temporal_namespace has the value of"
OK = "ok: every expected series has data"


@pytest.fixture
async def faulty(system: System, tmp_path: Path) -> AsyncIterator[Prometheus]:
    """A Prometheus without scrape jobs and rules, whose retention is shorter than the period."""
    running = await prometheus(system, tmp_path / "faulty", [], options=["--storage.tsdb.retention.time=20d"])
    try:
        yield running
    finally:
        running.child.stop()
        await running.close()


async def command_line(*arguments: str) -> tuple[int, str, str]:
    """Run `temporal-slo check` as a process; return exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *cli_command("check", *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 100)
    return process.returncode or 0, out.decode(), err.decode()


def changed_spec(tmp_path: Path, old: str, new: str) -> Path:
    """Return a copy of the spec in which *old* is replaced."""
    assert old in SPEC
    path = tmp_path / "changed.yaml"
    path.write_text(SPEC.replace(old, new))
    return path


async def scraped(system: System, running: Prometheus) -> None:
    """Wait until all parts of the system are scraped."""
    wanted = {job["job_name"] for job in system.jobs}

    async def all_scraped() -> bool:
        return {dict(labels)["job"] for labels in await running.query("up == 1")} == wanted

    await until(all_scraped, deadline=DEADLINE, what="scrapes")


async def test_healthy(system: System, healthy: Prometheus) -> None:
    """On a healthy system the check succeeds, with a row per SLO; series that appear with errors may be absent."""
    text = await system.check_until(healthy.url, OK, ok=True)
    assert "\nno data:" not in text
    assert "\nerror:" not in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("shop/")}
    assert set(rows) == {"shop/ride-success", "shop/ride-latency", "shop/ride-stuck", "shop/ride-activities"}
    with_data, _, total = rows["shop/ride-success"][2:5]
    assert with_data == total
    assert float(rows["shop/ride-success"][-1]) >= 3
    assert "temporal_slo_workflows_with_task_problems" in text
    assert f"task queue {QUEUE}: 1 pollers" in text
    assert "3 temporal-slo targets scraped every 1s, retention 40d" in text
    options = ("--prometheus", healthy.url, "--temporal-address", system.temporal.address)
    code, out, err = await command_line(str(system.spec), *options)
    assert (code, err) == (0, "")
    assert out.endswith(f"{OK}\n")
    ignored = ("--ignore", "TemporalSloServerErrors", "--only", "prometheus", "--temporal-namespace", NAMESPACE)
    code, out, err = await command_line(str(system.spec), "--prometheus", healthy.url, *ignored)
    assert (code, err) == (0, "")
    assert out.endswith(f"{OK}, 1 rules ignored\n")
    assert "service_errors" not in out
    succeeded, text = await system.check("http://nobody.invalid", only=("temporal",))
    assert succeeded
    assert text.startswith(f"Temporal namespace {NAMESPACE}: workflow type CheckRide: ")
    assert text.endswith("ok: no errors")


async def test_label_collision(system: System, faulty: Prometheus, tmp_path: Path) -> None:
    """A label that the scrape overrides, missing and outdated rules, and a short retention are reported."""
    old = rule_files(tmp_path / "old", SPEC.replace("99.5", "98"))
    jobs = [
        job(one["job_name"], one["static_configs"][0]["targets"][0], temporal_namespace="eu") for one in system.jobs
    ]
    configure(faulty, tmp_path / "faulty", jobs, [old / "shop.rules.yaml"])
    await scraped(system, faulty)
    text = await system.check_until(
        faulty.url,
        EXPORTED_LABEL,
        f"causes-{NAMESPACE}.rules.yaml: {len(CAUSES)} of {len(CAUSES)} rules are not loaded",
        only=PROMETHEUS_ONLY,
    )
    assert "no data: exported label:" in text
    assert "set honor_labels: true" in text
    assert "alerts/temporal-server.rules.yaml: 3 of 3 rules are not loaded: TemporalSloServerErrors" in text
    assert "rules are loaded in another version: slo:objective:ratio (different expression)" in text
    assert "no data: depends on temporal_slo_" in text
    assert "error: retention of Prometheus is 20d, but rules of shop need 30d" in text
    # No selector of the server's metrics has that label.
    assert "persistence_latency" not in text
    options = ("--prometheus", faulty.url, "--temporal-address", system.temporal.address)
    code, out, _ = await command_line(str(system.spec), *options)
    assert code == 1
    assert EXPORTED_LABEL in out


async def test_rules_not_loaded(system: System, faulty: Prometheus, tmp_path: Path) -> None:
    """If no rules are loaded, only recorded series have no data, for that reason."""
    configure(faulty, tmp_path / "faulty", system.jobs, [])
    await scraped(system, faulty)
    outputs = [""]

    async def only_rules() -> bool:
        outputs.append((await system.check(faulty.url, only=PROMETHEUS_ONLY))[1])
        kinds = {line.split(": ")[1] for line in outputs[-1].splitlines() if line.startswith("no data: ")}
        return kinds == {"rules not loaded"}

    await until(only_rules, deadline=DEADLINE, what="one cause")
    assert "shop.rules.yaml: 154 of 154 rules are not loaded" in outputs[-1]
    assert "no data: rules not loaded: no rule records this series: alerts/shop.rules.yaml is not loaded" in outputs[-1]


async def test_wrong_names(system: System, faulty: Prometheus, tmp_path: Path) -> None:
    """Names without suffixes, sanitised values, other bucket bounds and a target that is down are reported."""
    labels = 'workflow_type="CheckRide",task_queue="check-rides",status="completed",outcome="good"'
    metrics = [
        f'temporal_slo_exporter_up{{temporal_namespace="{NAMESPACE}"}} 1',
        f'temporal_slo_workflows_closed{{temporal_namespace="{NAMESPACE}",{labels}}} 1',
        *(
            f'temporal_slo_workflow_duration_seconds_bucket{{temporal_namespace="{NAMESPACE}",workflow_type="CheckRide",'
            f'status="completed",outcome="good",le="{bound}"}} 1'
            for bound in ("60.0", "120.0", "+Inf")
        ),
        'temporal_slo_overdue_minutes_total{temporal_namespace="check_shop",slo="ride-stuck"} 1',
        f'temporal_slo_observed_minutes_total{{temporal_namespace="{NAMESPACE}",slo="ride-stuck"}} 1',
    ]
    target = await StubTarget("\n".join(metrics) + "\n").start()
    configure(faulty, tmp_path / "faulty", [job("stub", target.target)], [])
    text = await system.check_until(faulty.url, "'temporal_slo_workflows_closed'", "'check_shop'", only=PROMETHEUS_ONLY)
    assert "temporal_slo_workflows_closed_total does not exist, found 'temporal_slo_workflows_closed'; remove" in text
    assert "no data: sanitised value: temporal_namespace is 'check_shop' instead of 'check-shop'" in text
    assert "no data: bucket bound missing: no bucket bound at 90 s, nearest: 60 and 120;" in text
    assert "no data: metric missing: temporal_slo_activity_ends_total does not exist: a worker is not scraped" in text
    assert (
        "no data: metric missing: persistence_latency_bucket does not exist: the Temporal server is not scraped" in text
    )
    await target.stop()
    down = f"series seen within the last 1h: job 'stub', instance '{target.target}' is down ("
    text = await system.check_until(faulty.url, "no data: stale: " + down, only=PROMETHEUS_ONLY)
    configure(faulty, tmp_path / "faulty", [], [])
    await system.check_until(
        faulty.url, f"instance '{target.target}' is down (no longer scraped)", only=PROMETHEUS_ONLY
    )


async def test_worker_with_default_runtime(system: System, faulty: Prometheus, tmp_path: Path) -> None:
    """Workers without metric suffixes are reported before an activity ends, even if other workers have suffixes."""
    metrics = [
        f'temporal_slo_worker_info{{temporal_namespace="{NAMESPACE}"}} 1',
        f'temporal_slo_workflow_ends{{temporal_namespace="{NAMESPACE}",workflow_type="CheckRide"}} 1',
        'temporal_slo_activity_ends_total{temporal_namespace="other",activity_type="check_pay",outcome="good"} 1',
    ]
    target = await StubTarget("\n".join(metrics) + "\n").start()
    configure(faulty, tmp_path / "faulty", [job("stub", target.target)], [])
    text = await system.check_until(
        faulty.url, "does not exist, found 'temporal_slo_workflow_ends'; use", only=PROMETHEUS_ONLY
    )
    assert f'no data: renamed metric: temporal_slo_activity_ends_total{{temporal_namespace="{NAMESPACE}"' in text
    assert "use prometheus_runtime in workers, or set counters_total_suffix, unit_suffix and" in text
    await target.stop()


async def test_misspelt_type(system: System, healthy: Prometheus, tmp_path: Path) -> None:
    """A misspelt workflow type is reported with the similar one, and that Temporal has no run of it."""
    spec = changed_spec(tmp_path, "workflow: CheckRide\n", "workflow: [CheckRide, CheckRied]\n")
    text = await system.check_until(healthy.url, "no data: misspelt:", specs=[spec])
    assert """workflow_type="CheckRied", similar: 'CheckRide'; Temporal has no run of it either""" in text


async def test_types_without_series(system: System, healthy: Prometheus, tmp_path: Path) -> None:
    """A type without runs in Temporal is an error; one without runs since the exporter's start is expected."""
    spec = changed_spec(tmp_path, "workflow: CheckRide\n", f"workflow: [CheckRide, Xyz, {CLOSED_BEFORE}]\n")
    text = await system.check_until(healthy.url, "no data: no such type:", specs=[spec])
    assert 'no series has workflow_type="Xyz"; Temporal has no run of it either; existing values: ' in text
    assert (
        f"appears with the next run of '{CLOSED_BEFORE}': no run in Temporal is newer than the exporter's start" in text
    )
    assert CLOSED_BEFORE not in text.partition("\nno data: ")[2].partition("\nerror: ")[0]


async def test_queue_without_pollers(system: System, healthy: Prometheus, tmp_path: Path) -> None:
    """A task queue of a spec without pollers is an error."""
    spec = changed_spec(tmp_path, f"task_queue: {QUEUE}", "task_queue: check-no-pollers")
    text = await system.check_until(
        healthy.url, "error: task queue 'check-no-pollers' of Temporal namespace", specs=[spec]
    )
    assert "'check-shop' has no pollers; start its workers, or correct task_queue in the spec" in text
    assert 'task_queue="check-no-pollers"; existing values: ' in text


async def test_missing_namespace(system: System, healthy: Prometheus, tmp_path: Path) -> None:
    """A Temporal namespace that does not exist is an error, and no series has it."""
    spec = changed_spec(tmp_path, NAMESPACE, "check-shoe")
    text = await system.check_until(healthy.url, "error: Temporal namespace 'check-shoe' does not exist", specs=[spec])
    assert """no series has temporal_namespace="check-shoe"; existing values: 'check-shop'""" in text


async def test_unreachable(system: System, healthy: Prometheus) -> None:
    """If one system is unreachable, the other is checked; if both are, the error is one line."""
    succeeded, text = await system.check(f"http://{LOOPBACK}:1")
    assert not succeeded
    assert "CheckRide" in text
    assert f"error: Prometheus: no answer from http://{LOOPBACK}:1" in text
    unreachable = ("--temporal-address", f"{LOOPBACK}:1")
    code, out, _ = await command_line(str(system.spec), "--prometheus", healthy.url, *unreachable)
    assert code == 1
    assert "error: Temporal namespace 'check-shop': UNAVAILABLE" in out
    assert "shop/ride-success" in out
    code, out, err = await command_line(str(system.spec), "--prometheus", f"http://{LOOPBACK}:1", *unreachable)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("temporal-slo: Prometheus: no answer from")
