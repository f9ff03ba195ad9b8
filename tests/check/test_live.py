"""The check of a live system: one that is well, and each fault, named with its cause."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from temporal_slo.generate.cause_alerts import CAUSES
from temporal_slo.servers.process import LOOPBACK, until
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.servers.tools import own_command

from .system import DEADLINE, FORMER, NAMESPACE, QUEUE, SPEC, Stub, System, configure, job, prometheus, rule_files

ALONE = ("prometheus",)
HELD = "exported_temporal_namespace holds what"


@pytest.fixture
async def faulty(system: System, tmp_path: Path) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes nothing yet, has no rules, and keeps samples for less than the period."""
    running = await prometheus(system, tmp_path / "faulty", [], options=["--storage.tsdb.retention.time=20d"])
    try:
        yield running
    finally:
        running.child.stop()
        await running.close()


async def command_line(*arguments: str) -> tuple[int, str, str]:
    """Run `temporal-slo check` as its users do; return exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *own_command("check", *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 100)
    return process.returncode or 0, out.decode(), err.decode()


def other(tmp_path: Path, was: str, now: str) -> Path:
    """A spec that is the system's but for some words."""
    assert was in SPEC
    path = tmp_path / "other.yaml"
    path.write_text(SPEC.replace(was, now))
    return path


async def scraped(system: System, running: Prometheus) -> None:
    """Wait until all of the system has been scraped."""
    wanted = {job["job_name"] for job in system.jobs}

    async def all_scraped() -> bool:
        return {dict(labels)["job"] for labels in await running.query("up == 1")} == wanted

    await until(all_scraped, deadline=DEADLINE, what="scrapes")


async def test_well(system: System, healthy: Prometheus) -> None:
    """Where all is there nothing is dead; the table tells of each SLO; what trouble brings is not called dead."""
    text = await system.says(healthy.url, "all is well", well=True)
    assert "dead:" not in text
    assert "fault:" not in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("shop/")}
    assert set(rows) == {"shop/ride-success", "shop/ride-latency", "shop/ride-stuck", "shop/ride-activities"}
    alive, _, total = rows["shop/ride-success"][2:5]
    assert alive == total
    assert float(rows["shop/ride-success"][-1]) >= 3
    assert "temporal_slo_workflows_with_task_problems" in text
    assert f"task queue {QUEUE} 1 pollers" in text
    assert "3 targets of ours scraped every 1s, samples kept for 40d" in text
    options = ("--prometheus", healthy.url, "--temporal-address", system.temporal.address)
    code, out, err = await command_line(str(system.spec), *options)
    assert (code, err) == (0, "")
    assert out.endswith("all is well: no selector is dead\n")
    left_out = ("--ignore", "TemporalSloServerErrors", "--only", "prometheus", "--temporal-namespace", NAMESPACE)
    code, out, err = await command_line(str(system.spec), "--prometheus", healthy.url, *left_out)
    assert (code, err) == (0, "")
    assert out.endswith("all is well: no selector is dead, 1 rules left out\n")
    assert "service_errors" not in out
    fine, text = await system.check("http://nobody.invalid", only=("temporal",))
    assert fine
    assert text.startswith(f"Temporal namespace {NAMESPACE}: CheckRide ")
    assert text.endswith("no fault was found")


async def test_namespace_collides(system: System, faulty: Prometheus, tmp_path: Path) -> None:
    """A target's own label that wins, rules that are missing or old, and a short retention are each named."""
    old = rule_files(tmp_path / "old", SPEC.replace("99.5", "98"))
    jobs = [
        job(one["job_name"], one["static_configs"][0]["targets"][0], temporal_namespace="eu") for one in system.jobs
    ]
    configure(faulty, tmp_path / "faulty", jobs, [old / "shop.rules.yaml"])
    await scraped(system, faulty)
    text = await system.says(
        faulty.url,
        HELD,
        f"causes-{NAMESPACE}.rules.yaml: {len(CAUSES)} of {len(CAUSES)} rules are not loaded",
        only=ALONE,
    )
    assert "dead: exported label:" in text
    assert "set honor_labels: true" in text
    assert "alerts/temporal-server.rules.yaml: 3 of 3 rules are not loaded: TemporalSloServerErrors" in text
    assert "rules are loaded in another version: slo:objective:ratio (another expression)" in text
    assert "dead: follows: its rule sees nothing, because temporal_slo_" in text
    assert "fault: samples are kept for 20d, but rules of shop look back for 30d" in text
    # Of the server's metrics none is chosen by that label.
    assert "persistence_latency" not in text
    options = ("--prometheus", faulty.url, "--temporal-address", system.temporal.address)
    code, out, _ = await command_line(str(system.spec), *options)
    assert code == 1
    assert HELD in out


async def test_rules_not_loaded(system: System, faulty: Prometheus, tmp_path: Path) -> None:
    """Where no rules are loaded recorded series are dead for that reason, and what is scraped is not."""
    configure(faulty, tmp_path / "faulty", system.jobs, [])
    await scraped(system, faulty)
    said = [""]

    async def only_rules() -> bool:
        said.append((await system.check(faulty.url, only=ALONE))[1])
        kinds = {line.split(": ")[1] for line in said[-1].splitlines() if line.startswith("dead: ")}
        return kinds == {"rules not loaded"}

    await until(only_rules, deadline=DEADLINE, what="no other cause")
    assert "shop.rules.yaml: 136 of 136 rules are not loaded" in said[-1]
    assert "dead: rules not loaded: no rule records it: alerts/shop.rules.yaml is not loaded" in said[-1]


async def test_wrong_names(system: System, faulty: Prometheus, tmp_path: Path) -> None:
    """Names without suffixes, sanitised values, other edges and a target that is away are each named."""
    labels = 'workflow_type="CheckRide",task_queue="check-rides",status="completed",outcome="good"'
    page = [
        f'temporal_slo_exporter_up{{temporal_namespace="{NAMESPACE}"}} 1',
        f'temporal_slo_workflows_closed{{temporal_namespace="{NAMESPACE}",{labels}}} 1',
        *(
            f'temporal_slo_workflow_duration_seconds_bucket{{temporal_namespace="{NAMESPACE}",workflow_type="CheckRide",'
            f'status="completed",outcome="good",le="{edge}"}} 1'
            for edge in ("60.0", "120.0", "+Inf")
        ),
        'temporal_slo_overdue_minutes_total{temporal_namespace="check_shop",slo="ride-stuck"} 1',
        f'temporal_slo_observed_minutes_total{{temporal_namespace="{NAMESPACE}",slo="ride-stuck"}} 1',
    ]
    server = await Stub("\n".join(page) + "\n").start()
    configure(faulty, tmp_path / "faulty", [job("stub", server.target)], [])
    text = await system.says(faulty.url, "'temporal_slo_workflows_closed'", "'check_shop'", only=ALONE)
    assert "temporal_slo_workflows_closed_total is not there, but 'temporal_slo_workflows_closed'; remove" in text
    assert "dead: sanitised value: temporal_namespace is 'check_shop' there, not 'check-shop'" in text
    assert "dead: bucket edge: there is no bucket edge at 90 s; the nearest are 60 and 120;" in text
    assert "dead: no metric: temporal_slo_activity_ends_total is not there: a worker is not scraped" in text
    assert "dead: no metric: persistence_latency_bucket is not there: the Temporal server is not scraped" in text
    await server.stop()
    gone = f"it was there within the last 1h: job 'stub', instance '{server.target}' is down ("
    text = await system.says(faulty.url, "dead: stale: " + gone, only=ALONE)
    configure(faulty, tmp_path / "faulty", [], [])
    await system.says(faulty.url, f"instance '{server.target}' is down (it is scraped no longer)", only=ALONE)


async def test_worker_with_a_runtime_of_its_own(system: System, faulty: Prometheus, tmp_path: Path) -> None:
    """Workers whose runtime gives no suffixes are named before any activity has ended, whatever others expose."""
    page = [
        f'temporal_slo_worker_info{{temporal_namespace="{NAMESPACE}"}} 1',
        f'temporal_slo_workflow_ends{{temporal_namespace="{NAMESPACE}",workflow_type="CheckRide"}} 1',
        'temporal_slo_activity_ends_total{temporal_namespace="other",activity_type="check_pay",outcome="good"} 1',
    ]
    server = await Stub("\n".join(page) + "\n").start()
    configure(faulty, tmp_path / "faulty", [job("stub", server.target)], [])
    text = await system.says(faulty.url, "is not there, but 'temporal_slo_workflow_ends'; have workers", only=ALONE)
    assert f'dead: other name: temporal_slo_activity_ends_total{{temporal_namespace="{NAMESPACE}"' in text
    assert "have workers use prometheus_runtime, or set its counters_total_suffix, unit_suffix and" in text
    await server.stop()


async def test_wrong_type(system: System, healthy: Prometheus, tmp_path: Path) -> None:
    """A workflow type that is misspelt is named, with the one that is there, and that Temporal has no run of it."""
    spec = other(tmp_path, "workflow: CheckRide\n", "workflow: [CheckRide, CheckRied]\n")
    text = await system.says(healthy.url, "dead: misspelt:", specs=[spec])
    assert """workflow_type="CheckRied", but 'CheckRide' is there; Temporal has no run of it either""" in text


async def test_types_without_series(system: System, healthy: Prometheus, tmp_path: Path) -> None:
    """A type of which Temporal has nothing either is dead; one that ran before counting began is only idle."""
    spec = other(tmp_path, "workflow: CheckRide\n", f"workflow: [CheckRide, Xyz, {FORMER}]\n")
    text = await system.says(healthy.url, "dead: no such type:", specs=[spec])
    assert 'no series has workflow_type="Xyz"; Temporal has no run of it either; there are ' in text
    assert f"appears with the next run of '{FORMER}': Temporal has runs, but none since the exporter began" in text
    assert FORMER not in text.partition("\ndead: ")[2].partition("\nfault: ")[0]


async def test_queue_without_pollers(system: System, healthy: Prometheus, tmp_path: Path) -> None:
    """A task queue that a spec names and nobody polls is a fault."""
    spec = other(tmp_path, f"task_queue: {QUEUE}", "task_queue: check-nobody-there")
    text = await system.says(healthy.url, "fault: task queue 'check-nobody-there' of Temporal namespace", specs=[spec])
    assert "'check-shop' has no pollers; start its workers, or correct task_queue of the spec" in text
    assert 'task_queue="check-nobody-there"; there is' in text


async def test_missing_namespace(system: System, healthy: Prometheus, tmp_path: Path) -> None:
    """A Temporal namespace that is not registered is a fault, and no series has it."""
    spec = other(tmp_path, NAMESPACE, "check-shoe")
    text = await system.says(healthy.url, "fault: Temporal has no namespace 'check-shoe'", specs=[spec])
    assert """no series has temporal_namespace="check-shoe"; there is 'check-shop'""" in text


async def test_one_is_away(system: System, healthy: Prometheus) -> None:
    """Where one of the two does not answer, what the other tells is printed; where neither does, one line says so."""
    fine, text = await system.check(f"http://{LOOPBACK}:1")
    assert not fine
    assert "CheckRide" in text
    assert f"fault: Prometheus: no answer from http://{LOOPBACK}:1" in text
    nobody = ("--temporal-address", f"{LOOPBACK}:1")
    code, out, _ = await command_line(str(system.spec), "--prometheus", healthy.url, *nobody)
    assert code == 1
    assert "fault: Temporal namespace 'check-shop': UNAVAILABLE" in out
    assert "shop/ride-success" in out
    code, out, err = await command_line(str(system.spec), "--prometheus", f"http://{LOOPBACK}:1", *nobody)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("temporal-slo: Prometheus: no answer from")
