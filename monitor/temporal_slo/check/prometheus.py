"""A live Prometheus, asked over its HTTP API."""

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

from temporal_slo.check.text import plain
from temporal_slo.durations import parse_duration
from temporal_slo.errors import TemporalSloError, UsageError
from temporal_slo.promql import Matcher, selector

OPTION: Final = "--prometheus"
TOKEN_OPTION: Final = "--prometheus-token-file"  # noqa: S105 an option's name
ANSWER_MAX: Final = 16 * 2**20
"""Bytes of an answer that are read: the rules of some thousand SLOs."""

AT_ONCE: Final = 4
"""Queries at once: a fifth of what a Prometheus takes before others wait."""

LATELY: Final = "5m"
NOT_FOUND: Final = frozenset({404, 405, 501})
"""What stores say that have no such page: Mimir, Thanos and others keep no targets and no retention."""

Labels = Mapping[str, str]


class PrometheusError(TemporalSloError):
    """A request to Prometheus that brought no answer.

    Args:
        message: What was seen, without secrets.
    """

    def __init__(self, message: str) -> None:
        super().__init__(plain(" ".join(f"Prometheus: {message}".split())))


class Row(NamedTuple):
    """A series and its value now."""

    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Target:
    """What is scraped.

    Attributes:
        job: As series have it.
        instance: As series have it.
        well: Whether its last scrape was.
        error: Why not.
        interval: Time between two scrapes; None if that is not known.
    """

    job: str
    instance: str
    well: bool = True
    error: str = ""
    interval: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A rule that Prometheus has.

    Attributes:
        group: Name of its group.
        interval: Seconds between two evaluations.
        name: Of the series or the alert.
        labels: That it adds.
        expression: As Prometheus writes it.
        hold: Seconds that an alert's condition must hold.
        error: Why its last evaluation failed; empty if it did not.
    """

    group: str
    interval: float
    name: str
    labels: tuple[tuple[str, str], ...]
    expression: str
    hold: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """How to reach a Prometheus; has no repr, because it may hold a secret.

    Attributes:
        url: Without a slash at its end.
        authorization: The header of that name, or None.
        timeout: For each request.
    """

    url: str
    authorization: str | None = None
    timeout: timedelta = timedelta(seconds=10)

    @classmethod
    def of(cls, url: str, token_file: str | None, timeout: timedelta) -> Self:
        """Return how to reach *url* with the secret in *token_file*.

        The file holds a bearer token, or a whole `Basic …` or `Bearer …`.

        Raises:
            UsageError: The URL is none, or holds a secret, or the file cannot be used.
        """
        # What has one of these may hold a secret wherever it stands, so it is not quoted, however it would be read.
        if "@" in url:
            raise UsageError(OPTION, "holds a user or a password", f"put it into a file: see {TOKEN_OPTION}")
        if "?" in url or "#" in url:
            remedy = f"write for example http://localhost:9090, and a secret into a file: see {TOKEN_OPTION}"
            raise UsageError(OPTION, "holds a query or a fragment", remedy)
        try:
            parts = urlsplit(url)
            # Reading the port may fail.
            fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            fits = None
        if not fits or any(character.isspace() or not character.isprintable() for character in url):
            raise UsageError(OPTION, f"{url!r} is not a URL", "write for example http://localhost:9090")
        return cls(url.rstrip("/"), _authorization(token_file) if token_file else None, timeout)


def _authorization(file: str) -> str:
    try:
        text = Path(file).read_text(encoding="ascii").strip()
    except OSError as error:
        raise UsageError(TOKEN_OPTION, f"{file!r} cannot be read: {error.strerror}", "correct the path") from error
    except UnicodeDecodeError:
        raise UsageError(TOKEN_OPTION, f"{file!r} holds more than plain letters", "write the token alone") from None
    if not text or "\n" in text or not text.isprintable():
        raise UsageError(TOKEN_OPTION, f"{file!r} does not hold one line", "write the token alone")
    return text if re.match(r"(Basic|Bearer) ", text) else f"Bearer {text}"


@dataclass(slots=True)
class Prometheus:
    """Asks a Prometheus, each question once.

    Args:
        access: How to reach it.

    Attributes:
        requests: How many were made.
    """

    access: Access
    _http: httpx.AsyncClient = field(init=False, repr=False)
    _known: dict[str, asyncio.Task[list[Row]]] = field(init=False, default_factory=dict)
    _turns: asyncio.Semaphore = field(init=False)
    requests: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Make the client; it connects at the first request."""
        header = {"Authorization": self.access.authorization} if self.access.authorization else {}
        # No redirect is followed: the secret is for this address alone.
        self._http = httpx.AsyncClient(headers=header, timeout=self.access.timeout.total_seconds())
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def query(self, promql: str) -> list[Row]:
        """Evaluate *promql* now; what was asked before is not asked again.

        Raises:
            PrometheusError: There is no answer, or it is none that can be read.
        """
        if promql not in self._known:
            self._known[promql] = asyncio.ensure_future(self._query(promql))
        return await self._known[promql]

    def forget(self, promql: str) -> None:
        """Have *promql* evaluated anew when it is asked again."""
        self._known.pop(promql, None)

    async def _query(self, promql: str) -> list[Row]:
        data = await self._ask("POST", "query", {"query": promql})
        try:
            return [Row(dict(row["metric"]), float(row["value"][1])) for row in data["result"]]
        except (TypeError, KeyError, ValueError, IndexError) as error:
            raise _strange("query") from error

    async def value(self, promql: str) -> float | None:
        """Return the only value of *promql*; None if it has none."""
        return next((row.value for row in await self.query(promql)), None)

    async def names(self, pattern: str, *about: Matcher) -> tuple[str, ...]:
        """Return the metrics with series of late whose whole name matches the regular expression *pattern*.

        Args:
            pattern: Of the whole name.
            about: Conditions on the labels of those series.
        """
        chosen = selector("", Matcher("__name__", "=~", pattern), *about)
        rows = await self.query(f"topk(200, count by (__name__) ({chosen}))")
        return tuple(sorted(row.labels.get("__name__", "") for row in rows))

    async def targets(self) -> tuple[Target, ...] | None:
        """Return what is scraped; None if this store does not know."""
        data = await self._ask("GET", "targets", {"state": "active"}, may_lack=True)
        return None if data is None else tuple(map(_target, _listed(data, "activeTargets")))

    async def rules(self) -> tuple[Loaded, ...] | None:
        """Return the rules that are loaded; None if this store does not know."""
        data = await self._ask("GET", "rules", {}, may_lack=True)
        if data is None:
            return None
        try:
            return tuple(_loaded(group, rule) for group in data["groups"] for rule in group["rules"])
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise _strange("rules") from error

    async def retention(self) -> str | None:
        """Return how long samples are kept, as Prometheus puts it; None if this store does not tell."""
        data = await self._ask("GET", "status/runtimeinfo", {}, may_lack=True)
        told = data.get("storageRetention") if isinstance(data, dict) else None
        return told if isinstance(told, str) else None

    async def close(self) -> None:
        """Close the connection."""
        for task in self._known.values():
            task.cancel()
        await asyncio.gather(*self._known.values(), return_exceptions=True)
        await self._http.aclose()

    async def _ask(self, method: str, page: str, given: Mapping[str, str], *, may_lack: bool = False) -> Any:  # noqa: ANN401 JSON
        self.requests += 1
        async with self._turns:
            try:
                status, text = await self._read(method, f"{self.access.url}/api/v1/{page}", given)
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                raise PrometheusError(f"no answer from {self.access.url}: {_reason(error)}") from error
        if may_lack and status in NOT_FOUND:
            return None
        try:
            answer = json.loads(text)
            if answer["status"] == "success":
                return answer["data"]
            said = str(answer.get("error", ""))
        except (ValueError, TypeError, KeyError, AttributeError):
            said = "" if status >= httpx.codes.BAD_REQUEST else "no API of a Prometheus is there"
        raise PrometheusError(f"{self.access.url} answered {status} to {page}{': ' * bool(said)}{self._hiding(said)}")

    def _hiding(self, said: str) -> str:
        # What refuses a secret may quote it.
        header = self.access.authorization
        return said.replace(header.split(" ", 1)[1], "[hidden]") if header else said

    async def _read(self, method: str, url: str, given: Mapping[str, str]) -> tuple[int, bytes]:
        told = {"data": given} if method == "POST" else {"params": given}
        body = bytearray()
        async with (
            asyncio.timeout(self.access.timeout.total_seconds()),
            self._http.stream(method, url, **told) as answer,  # type: ignore[arg-type] # either is a mapping
        ):
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > ANSWER_MAX:
                    raise PrometheusError(f"{url} answered more than {ANSWER_MAX // 2**20} MB")
        return answer.status_code, bytes(body)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _strange(page: str) -> PrometheusError:
    return PrometheusError(f"its answer to {page} cannot be read")


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


def _loaded(group: Mapping[str, Any], rule: Mapping[str, Any]) -> Loaded:
    return Loaded(
        group=group["name"],
        interval=float(group["interval"]),
        name=rule["name"],
        labels=tuple(sorted((rule.get("labels") or {}).items())),
        expression=rule["query"],
        hold=float(rule.get("duration", 0)),
        error=str(rule.get("lastError") or "") if rule.get("health") == "err" else "",
    )
