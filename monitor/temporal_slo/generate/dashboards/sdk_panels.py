"""What the SDK of workers says of itself, under the names that it has here."""

from temporal_slo import names
from temporal_slo.generate.dashboards.common import (
    A_SECOND,
    INTERVAL,
    OF_JOB,
    OF_NAMESPACE,
    OF_QUEUE,
    Setting,
    by_legend,
)
from temporal_slo.generate.kit import Query, timeseries
from temporal_slo.generate.kit.parts import Panel
from temporal_slo.names import Family, sdk
from temporal_slo.names.sdk import SdkMetric
from temporal_slo.promql import Matcher, selector


def work(family: Family, *by: str, window: str = INTERVAL, matchers: tuple[Matcher, ...] = ()) -> str:
    """Return the increase of a counter of the worker library: each worker tells its own share."""
    chosen = selector(family.sample, OF_JOB, OF_NAMESPACE, OF_QUEUE, *matchers)
    grown = f"increase({chosen}[{window}])"
    return f"sum by ({', '.join(by)}) ({grown})" if by else f"sum({grown})"


class Sdk:
    """Queries of the SDK's own metrics, under the names that they have here."""

    def __init__(self, setting: Setting) -> None:
        self._profile = setting.profile
        self._namespace = Matcher(setting.profile.namespace, "=~", f"${names.NAMESPACE}")
        self.unit = setting.profile.unit

    def of(self, metric: SdkMetric, *matchers: Matcher, suffix: str = "") -> str:
        """Return the selector of *metric*, as far as the reader has chosen."""
        queue = (OF_QUEUE,) if names.TASK_QUEUE in metric.labels else ()
        return selector(f"{self._profile.sample(metric)}{suffix}", OF_JOB, self._namespace, *queue, *matchers)

    def rate(self, metric: SdkMetric, *by: str) -> str:
        """Return the rate of a counter by labels."""
        return f"sum by ({', '.join(by)}) (rate({self.of(metric)}[{INTERVAL}]))"

    def within(self, metric: SdkMetric, part: str, *by: str) -> str:
        """Return the quantile *part* of a histogram by labels."""
        buckets = f"rate({self.of(metric, suffix='_bucket')}[{INTERVAL}])"
        return f"histogram_quantile({part}, sum by ({', '.join(('le', *by))}) ({buckets}))"


def task_failures(sdks: Sdk) -> Panel:
    """Return what failed by a bug."""
    own = work(names.WORKFLOW_TASK_FAILURES, names.WORKFLOW_TYPE, names.FAILURE_TYPE)
    by_sdk = f"sum by ({sdk.FAILURE_REASON}) (increase({sdks.of(sdk.SDK_TASK_FAILURES)}[{INTERVAL}]))"
    return timeseries(
        "Failed workflow tasks over time",
        "Bugs, non-determinism and deadlocks: the run stands still until the code is mended. By type and reason.",
        Query(own, by_legend(names.WORKFLOW_TYPE, names.FAILURE_TYPE)),
        Query(by_sdk, f"SDK: {by_legend(sdk.FAILURE_REASON)}"),
        unit="short",
        bars=True,
        size=(12, 7),
    )


def task_waits(sdks: Sdk) -> Panel:
    """Return how long workflow tasks wait."""
    queries = (
        Query(
            sdks.within(sdk.SDK_TASK_SCHEDULE_TO_START, part, names.TASK_QUEUE), f"{by_legend(names.TASK_QUEUE)} {word}"
        )
        for part, word in (("0.5", "half"), ("0.95", "95 %"))
    )
    return timeseries(
        "Workflow tasks wait to start",
        "Within what time half, and 95 %, of workflow tasks were taken by a worker.",
        *queries,
        unit=sdks.unit,
        size=(12, 7),
    )


def execution(sdks: Sdk) -> Panel:
    """Return how long workflow tasks take."""
    return timeseries(
        "Workflow tasks take",
        "Within what time 95 % of workflow tasks were done, by type.",
        Query(sdks.within(sdk.SDK_TASK_EXECUTION, "0.95", names.WORKFLOW_TYPE), by_legend(names.WORKFLOW_TYPE)),
        unit=sdks.unit,
        size=(12, 7),
    )


def replay(sdks: Sdk) -> Panel:
    """Return how long replays take."""
    return timeseries(
        "Replays take",
        "Within what time 95 % of replays were done: what a miss of the cache costs.",
        Query(sdks.within(sdk.SDK_TASK_REPLAY, "0.95", names.WORKFLOW_TYPE), by_legend(names.WORKFLOW_TYPE)),
        unit=sdks.unit,
        size=(12, 7),
    )


def slots(sdks: Sdk) -> Panel:
    """Return how many slots are free."""
    by = names.TASK_QUEUE, sdk.WORKER_TYPE
    queries = (
        Query(f"sum by ({', '.join(by)}) ({sdks.of(metric)})", f"{by_legend(*by)} {word}")
        for metric, word in ((sdk.SDK_SLOTS_USED, "used"), (sdk.SDK_SLOTS_FREE, "free"))
    )
    return timeseries(
        "Slots",
        "Slots of all workers that are used, and free. With none free, work waits though workers are there.",
        *queries,
        unit="short",
        size=(8, 7),
    )


def pollers(sdks: Sdk) -> Panel:
    """Return how many ask for work."""
    by = names.TASK_QUEUE, sdk.POLLER_TYPE
    return timeseries(
        "Pollers",
        "Requests for work that workers have open.",
        Query(f"sum by ({', '.join(by)}) ({sdks.of(sdk.SDK_POLLERS)})", by_legend(*by)),
        unit="short",
        size=(8, 7),
    )


def cache(sdks: Sdk) -> Panel:
    """Return how many runs are kept."""
    return timeseries(
        "Sticky cache",
        "Workflow runs that workers keep in memory.",
        Query(f"sum by ({names.TASK_QUEUE}) ({sdks.of(sdk.SDK_CACHE_SIZE)})", by_legend(names.TASK_QUEUE)),
        unit="short",
        size=(8, 7),
    )


def misses(sdks: Sdk) -> Panel:
    """Return how often a run was not in the cache."""
    kinds = ((sdk.SDK_CACHE_HITS, "hits"), (sdk.SDK_CACHE_MISSES, "misses"), (sdk.SDK_EVICTIONS, "forced evictions"))
    queries = (
        Query(sdks.rate(metric, names.TASK_QUEUE), f"{by_legend(names.TASK_QUEUE)} {word}") for metric, word in kinds
    )
    return timeseries(
        "Cache hits and misses",
        "A miss makes the worker replay the run; forced evictions say that the cache is too small.",
        *queries,
        unit=A_SECOND,
        size=(8, 7),
    )


def requests(sdks: Sdk) -> Panel:
    """Return what workers ask of Temporal."""
    kinds = (
        (sdk.SDK_REQUESTS, "asked"),
        (sdk.SDK_REQUEST_FAILURES, "failed"),
        (sdk.SDK_LONG_REQUEST_FAILURES, "polls failed"),
    )
    queries = (Query(sdks.rate(metric, sdk.OPERATION), f"{by_legend(sdk.OPERATION)} {word}") for metric, word in kinds)
    return timeseries(
        "Requests to Temporal",
        "Requests of workers by operation, and those that failed.",
        *queries,
        unit="reqps",
        size=(8, 7),
    )
