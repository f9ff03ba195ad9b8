"""Client of the HTTP API of a live Prometheus."""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

import httpx

from temporal_slo.check.printable import printable
from temporal_slo.durations import parse_duration
from temporal_slo.errors import TemporalSloError, UsageError
from temporal_slo.promql import Matcher, selector

OPTION: Final = "--prometheus"
TOKEN_OPTION: Final = "--prometheus-token-file"  # noqa: S105 an option's name
RESPONSE_MAX: Final = 16 * 2**20
"""Maximum size of a response in bytes: enough for the rules of some thousand SLOs."""

CONCURRENCY: Final = 4
"""Concurrent queries: a fifth of Prometheus' default limit, so that other users do not wait."""

RECENT: Final = "5m"
"""Window in which samples are counted."""

UNSUPPORTED: Final = frozenset({404, 405, 501})
"""HTTP statuses of stores without an endpoint: Mimir, Thanos and others report no targets and no retention."""

Labels = Mapping[str, str]


class PrometheusError(TemporalSloError):
    """A request to Prometheus that failed.

    Args:
        message: What happened, without secrets.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(f"Prometheus: {message}".split())))


class Row(NamedTuple):
    """A series with its current value."""

    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Target:
    """A scrape target.

    Attributes:
        job: Its label `job`.
        instance: Its label `instance`.
        up: Whether its last scrape succeeded.
        error: Error of its last scrape; empty if it succeeded.
        interval: Scrape interval; None if unknown.
    """

    job: str
    instance: str
    up: bool = True
    error: str = ""
    interval: timedelta | None = None


@dataclass(frozen=True, slots=True)
class LoadedRule:
    """A rule loaded by Prometheus.

    Attributes:
        group: Name of its rule group.
        interval: Evaluation interval in seconds.
        name: Name of the recorded series or of the alert.
        labels: Labels that the rule adds.
        expression: As Prometheus formats it.
        hold: Value of `for` in seconds; 0 for recording rules.
        error: Error of its last evaluation; empty if it succeeded.
    """

    group: str
    interval: float
    name: str
    labels: tuple[tuple[str, str], ...]
    expression: str
    hold: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class PrometheusAccess:
    """Address and credentials of a Prometheus; without a repr, because it may hold a secret.

    Attributes:
        url: Base URL without a trailing slash.
        authorization: Value of the header `Authorization`; None for no authentication.
        timeout: Timeout of each request.
    """

    url: str
    authorization: str | None = None
    timeout: timedelta = timedelta(seconds=10)

    @classmethod
    def of(cls, url: str, token_file: str | None, timeout: timedelta) -> Self:
        """Return the access to *url* with the credential in *token_file*.

        The file contains a bearer token, or a complete `Basic …` or `Bearer …` credential.

        Raises:
            UsageError: The URL is invalid or may contain a secret, or the file is unusable.
        """
        # A URL with one of these characters may contain a secret: its errors do not quote it.
        if "@" in url:
            raise UsageError(OPTION, "contains a user or a password", f"put it into a file: see {TOKEN_OPTION}")
        if "?" in url or "#" in url:
            remedy = f"write for example http://localhost:9090, and put a secret into a file: see {TOKEN_OPTION}"
            raise UsageError(OPTION, "contains a query or a fragment", remedy)
        try:
            parts = urlsplit(url)
            # Access to an invalid port raises ValueError.
            valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            valid = None
        if not valid or any(character.isspace() or not character.isprintable() for character in url):
            raise UsageError(OPTION, f"{url!r} is not a URL", "write for example http://localhost:9090")
        return cls(url.rstrip("/"), _authorization(token_file) if token_file else None, timeout)


def _authorization(file: str) -> str:
    try:
        text = Path(file).read_text(encoding="ascii").strip()
    except OSError as error:
        raise UsageError(TOKEN_OPTION, f"{file!r} cannot be read: {error.strerror}", "correct the path") from error
    except UnicodeDecodeError:
        raise UsageError(TOKEN_OPTION, f"{file!r} contains non-ASCII characters", "write only the token") from None
    if not text or "\n" in text or not text.isprintable():
        raise UsageError(TOKEN_OPTION, f"{file!r} does not contain exactly one line", "write only the token")
    return text if re.match(r"(Basic|Bearer) ", text) else f"Bearer {text}"


@dataclass(slots=True)
class PrometheusClient:
    """Queries a Prometheus; caches the result of each query.

    Args:
        access: Address and credentials.

    Attributes:
        requests: Number of requests made.
    """

    access: PrometheusAccess
    _http: httpx.AsyncClient = field(init=False, repr=False)
    _cached: dict[str, asyncio.Task[list[Row]]] = field(init=False, default_factory=dict)
    _concurrency: asyncio.Semaphore = field(init=False)
    requests: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Create the HTTP client; it connects on the first request."""
        header = {"Authorization": self.access.authorization} if self.access.authorization else {}
        # Redirects are not followed: the credential is only for this address.
        self._http = httpx.AsyncClient(headers=header, timeout=self.access.timeout.total_seconds())
        self._concurrency = asyncio.Semaphore(CONCURRENCY)

    async def query(self, promql: str) -> list[Row]:
        """Return the result of *promql* at the current time, or the cached result.

        Raises:
            PrometheusError: The request failed, or the response is malformed.
        """
        if promql not in self._cached:
            self._cached[promql] = asyncio.ensure_future(self._query(promql))
        return await self._cached[promql]

    def forget(self, promql: str) -> None:
        """Remove the result of *promql* from the cache."""
        self._cached.pop(promql, None)

    async def _query(self, promql: str) -> list[Row]:
        data = await self._request("POST", "query", {"query": promql})
        try:
            return [Row(dict(row["metric"]), float(row["value"][1])) for row in data["result"]]
        except (TypeError, KeyError, ValueError, IndexError) as error:
            raise _malformed("query") from error

    async def value(self, promql: str) -> float | None:
        """Return the value of *promql*, which selects at most one series; None without a series."""
        return next((row.value for row in await self.query(promql)), None)

    async def names(self, pattern: str, *matchers: Matcher) -> tuple[str, ...]:
        """Return the names of metrics with series now.

        Args:
            pattern: Regular expression for the whole name.
            matchers: Matchers for further labels.
        """
        chosen = selector("", Matcher("__name__", "=~", pattern), *matchers)
        rows = await self.query(f"topk(200, count by (__name__) ({chosen}))")
        return tuple(sorted(row.labels.get("__name__", "") for row in rows))

    async def targets(self) -> tuple[Target, ...] | None:
        """Return the scrape targets; None if this store does not report them."""
        data = await self._request("GET", "targets", {"state": "active"}, optional=True)
        return None if data is None else tuple(map(_target, _listed(data, "activeTargets")))

    async def rules(self) -> tuple[LoadedRule, ...] | None:
        """Return the loaded rules; None if this store does not report them."""
        data = await self._request("GET", "rules", {}, optional=True)
        if data is None:
            return None
        try:
            return tuple(_loaded(group, rule) for group in data["groups"] for rule in group["rules"])
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise _malformed("rules") from error

    async def retention(self) -> str | None:
        """Return the retention as Prometheus writes it; None if this store does not report it."""
        data = await self._request("GET", "status/runtimeinfo", {}, optional=True)
        retention = data.get("storageRetention") if isinstance(data, dict) else None
        return retention if isinstance(retention, str) else None

    async def close(self) -> None:
        """Close the connection."""
        for task in self._cached.values():
            task.cancel()
        await asyncio.gather(*self._cached.values(), return_exceptions=True)
        await self._http.aclose()

    async def _request(
        self, method: str, endpoint: str, parameters: Mapping[str, str], *, optional: bool = False
    ) -> Any:  # noqa: ANN401 JSON
        self.requests += 1
        async with self._concurrency:
            try:
                status, text = await self._read(method, f"{self.access.url}/api/v1/{endpoint}", parameters)
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                raise PrometheusError(f"no answer from {self.access.url}: {_reason(error)}") from error
        if optional and status in UNSUPPORTED:
            return None
        try:
            response = json.loads(text)
            if response["status"] == "success":
                return response["data"]
            message = str(response.get("error", ""))
        except (ValueError, TypeError, KeyError, AttributeError):
            message = "" if status >= httpx.codes.BAD_REQUEST else "this is not the API of a Prometheus"
        detail = f": {self._redacted(message)}" if message else ""
        raise PrometheusError(f"{self.access.url} answered {status} to {endpoint}{detail}")

    def _redacted(self, message: str) -> str:
        # A server that rejects a credential may quote it.
        header = self.access.authorization
        return message.replace(header.split(" ", 1)[1], "[hidden]") if header else message

    async def _read(self, method: str, url: str, parameters: Mapping[str, str]) -> tuple[int, bytes]:
        arguments = {"data": parameters} if method == "POST" else {"params": parameters}
        body = bytearray()
        async with (
            asyncio.timeout(self.access.timeout.total_seconds()),
            self._http.stream(method, url, **arguments) as response,  # type: ignore[arg-type] # both are mappings
        ):
            async for part in response.aiter_bytes():
                body += part
                if len(body) > RESPONSE_MAX:
                    raise PrometheusError(f"{url} answered with more than {RESPONSE_MAX // 2**20} MiB")
        return response.status_code, bytes(body)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _malformed(endpoint: str) -> PrometheusError:
    return PrometheusError(f"malformed response to {endpoint}")


def _listed(data: Any, key: str) -> Iterable[Mapping[str, Any]]:  # noqa: ANN401 JSON
    rows = data.get(key) if isinstance(data, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _target(row: Mapping[str, Any]) -> Target:
    labels = row.get("labels") or {}
    try:
        interval = parse_duration(str(row.get("scrapeInterval", "")))
    except ValueError:
        interval = None
    return Target(
        str(labels.get("job", "")),
        str(labels.get("instance", "")),
        row.get("health") != "down",
        str(row.get("lastError", "")),
        interval,
    )


def _loaded(group: Mapping[str, Any], rule: Mapping[str, Any]) -> LoadedRule:
    return LoadedRule(
        group=group["name"],
        interval=float(group["interval"]),
        name=rule["name"],
        labels=tuple(sorted((rule.get("labels") or {}).items())),
        expression=rule["query"],
        hold=float(rule.get("duration", 0)),
        error=str(rule.get("lastError") or "") if rule.get("health") == "err" else "",
    )
