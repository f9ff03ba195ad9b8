"""A Prometheus server as a child process."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from temporal_slo.servers.process import LOOPBACK, Child, free_port, until

START_DEADLINE = 60.0

Labels = frozenset[tuple[str, str]]


class Prometheus:
    """A Prometheus server on loopback that scrapes what it is told.

    Args:
        program: The `prometheus` program.
        folder: Gets its configuration, log and data.
        targets: Job name to `host:port`.
        port: Wanted port; another is taken if it is in use.
        scrape_interval: Time between two scrapes of a target, as Prometheus writes durations.
        intervals: The same for some jobs of their own.
        rules: Rule files, by path or pattern.
        alertmanager: Where an Alertmanager is told what fires, as `host:port`; None for nobody.
        options: Further options of the program.
    """

    def __init__(
        self,
        program: Path,
        folder: Path,
        targets: Mapping[str, str],
        port: int = 0,
        *,
        scrape_interval: str = "1s",
        intervals: Mapping[str, str] | None = None,
        rules: Sequence[Path] = (),
        alertmanager: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.port = free_port(port)
        self.url = f"http://{LOOPBACK}:{self.port}"
        # JSON is YAML, and escapes for us.
        config = folder / "prometheus.yaml"
        alerting = _alerting(alertmanager) if alertmanager else {}
        config.write_text(json.dumps({**_config(targets, scrape_interval, rules, intervals or {}), **alerting}))
        command = [
            str(program),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
            *options,
        ]
        self.child = Child("Prometheus", command, folder / "prometheus.log")
        self._http = httpx.AsyncClient(base_url=self.url)

    async def ready(self) -> None:
        """Wait until it answers.

        Raises:
            PartError: It ended instead.
            TimeoutError: It did not answer in time.
        """

        async def answers() -> bool:
            self.child.check()
            try:
                return (await self._http.get("/-/ready")).is_success
            except httpx.TransportError:
                return False

        await until(answers, deadline=START_DEADLINE, what=f"Prometheus on {self.url}")

    async def query(self, promql: str) -> dict[Labels, float]:
        """Evaluate *promql* now and return the value of each series, by its labels."""
        return {labels: float(row["value"][1]) for labels, row in await self._rows(promql)}

    async def samples(self, promql: str) -> dict[Labels, list[float]]:
        """Evaluate *promql*, which selects a range, now and return the samples of each series, by its labels."""
        return {labels: [float(value) for _, value in row["values"]] for labels, row in await self._rows(promql)}

    async def _rows(self, promql: str) -> list[tuple[Labels, dict[str, Any]]]:
        answer = await self._http.get("/api/v1/query", params={"query": promql})
        answer.raise_for_status()
        return [(frozenset(row["metric"].items()), row) for row in answer.json()["data"]["result"]]

    async def exemplars(self, promql: str, since: float) -> list[dict[str, Any]]:
        """Return the exemplars from *since*, Unix time in seconds, until now of the series that *promql* selects.

        Each as Prometheus has it, with `labels`, `value` and `timestamp`; it keeps none without its feature
        `exemplar-storage`.
        """
        wanted = {"query": promql, "start": str(since), "end": str(time.time())}
        answer = await self._http.get("/api/v1/query_exemplars", params=wanted)
        answer.raise_for_status()
        return [exemplar for series in answer.json()["data"] for exemplar in series["exemplars"]]

    async def value(self, promql: str) -> float | None:
        """Evaluate *promql* now and return its only value, or None if it has none."""
        return next(iter((await self.query(promql)).values()), None)

    async def close(self) -> None:
        """Close the HTTP client; the process is stopped by its owner."""
        await self._http.aclose()


def _config(
    targets: Mapping[str, str], scrape_interval: str, rules: Sequence[Path], intervals: Mapping[str, str]
) -> dict[str, object]:
    jobs = [
        {
            "job_name": job,
            "static_configs": [{"targets": [target]}],
            **({"scrape_interval": intervals[job], "scrape_timeout": intervals[job]} if job in intervals else {}),
        }
        for job, target in targets.items()
    ]
    return {
        "global": {"scrape_interval": scrape_interval, "scrape_timeout": scrape_interval},
        "scrape_configs": jobs,
        "rule_files": [str(path.resolve()) for path in rules],
    }


def _alerting(alertmanager: str) -> dict[str, object]:
    return {"alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}}
