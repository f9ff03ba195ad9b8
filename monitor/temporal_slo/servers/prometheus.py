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
    """A Prometheus server on loopback.

    Args:
        program: Path of `prometheus`.
        folder: Directory for its configuration, log and data.
        targets: Scrape target as `host:port`, by job name.
        port: Preferred port; another one is used if it is taken.
        scrape_interval: Default scrape interval, as a Prometheus duration.
        intervals: Scrape interval of single jobs, by job name.
        rules: Paths or patterns of rule files.
        alertmanager: Alertmanager as `host:port`; None for no notifications.
        options: Additional options of `prometheus`.
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
        # JSON is valid YAML, and its encoder escapes.
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
        """Wait until it is ready.

        Raises:
            PartError: It exited.
            TimeoutError: It was not ready in time.
        """

        async def is_ready() -> bool:
            self.child.check()
            try:
                return (await self._http.get("/-/ready")).is_success
            except httpx.TransportError:
                return False

        await until(is_ready, deadline=START_DEADLINE, what=f"Prometheus on {self.url}")

    async def query(self, promql: str) -> dict[Labels, float]:
        """Evaluate *promql* now; return the value of each series by its labels."""
        return {labels: float(row["value"][1]) for labels, row in await self._rows(promql)}

    async def samples(self, promql: str) -> dict[Labels, list[float]]:
        """Evaluate *promql*, a range vector, now; return the samples of each series by its labels."""
        return {labels: [float(value) for _, value in row["values"]] for labels, row in await self._rows(promql)}

    async def _rows(self, promql: str) -> list[tuple[Labels, dict[str, Any]]]:
        response = await self._http.get("/api/v1/query", params={"query": promql})
        response.raise_for_status()
        return [(frozenset(row["metric"].items()), row) for row in response.json()["data"]["result"]]

    async def exemplars(self, promql: str, since: float) -> list[dict[str, Any]]:
        """Return the exemplars of the series that *promql* selects, from *since* (Unix time in seconds) until now.

        In the format of the Prometheus API: `labels`, `value` and `timestamp`. Needs the Prometheus feature
        `exemplar-storage`.
        """
        params = {"query": promql, "start": str(since), "end": str(time.time())}
        response = await self._http.get("/api/v1/query_exemplars", params=params)
        response.raise_for_status()
        return [exemplar for series in response.json()["data"] for exemplar in series["exemplars"]]

    async def value(self, promql: str) -> float | None:
        """Evaluate *promql* now and return its only value, or None if there is none."""
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
