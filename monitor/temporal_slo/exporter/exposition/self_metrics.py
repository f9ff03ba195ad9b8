"""The exporter's metrics about itself, for one namespace."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from temporal_slo import names
from temporal_slo.exporter.classify.classifier import Classifier
from temporal_slo.exporter.sources.source import SourceResult, SourceRunner
from temporal_slo.names.samples import Sample
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.rpc import (
    DESCRIBE_SCHEDULE,
    DESCRIBE_TASK_QUEUE,
    DESCRIBE_WORKFLOW,
    GET_HISTORY,
    LIST_WORKERS,
)

REQUEST_FAMILIES = {
    GET_HISTORY.name: names.EXPORTER_HISTORY_REQUESTS,
    DESCRIBE_TASK_QUEUE.name: names.EXPORTER_TASK_QUEUE_REQUESTS,
    LIST_WORKERS.name: names.EXPORTER_TASK_QUEUE_REQUESTS,
    DESCRIBE_SCHEDULE.name: names.EXPORTER_DESCRIBE_REQUESTS,
    DESCRIBE_WORKFLOW.name: names.EXPORTER_DESCRIBE_REQUESTS,
}
"""Metric of the requests by API. All other APIs are visibility requests."""


@dataclass(frozen=True, slots=True)
class SelfMetrics:
    """Yields what the exporter did so far: requests, rate limits, decoding, data sources.

    Attributes:
        gateway: Sends the requests.
        limiters: Rate limiters by name.
        runners: Read the data sources.
        classifier: Stops to read outcomes that it cannot decode.
    """

    gateway: Gateway
    limiters: Mapping[str, RateLimiter]
    runners: tuple[SourceRunner, ...]
    classifier: Classifier

    def __call__(self) -> Iterator[Sample]:
        """Yield the samples, those of the data sources among them."""
        for (api, code), count in self.gateway.requests.items():
            family = REQUEST_FAMILIES.get(api, names.EXPORTER_VISIBILITY_REQUESTS)
            labels = {names.API: api, names.CODE: code}
            yield Sample(family, {name: labels[name] for name in family.labels if name in labels}, count)
        for api, size in self.gateway.page_sizes.items():
            yield Sample(names.EXPORTER_PAGE_SIZE, {names.API: api}, size.limit)
        for reason, count in self.gateway.unreadable_rows.counts.items():
            yield Sample(names.EXPORTER_ROWS_SET_ASIDE, {names.REASON: reason}, count)
        for name, limiter in self.limiters.items():
            yield Sample(names.EXPORTER_RATE_LIMIT, {names.LIMITER: name}, limiter.rate)
            yield Sample(names.EXPORTER_CURRENT_RATE_LIMIT, {names.LIMITER: name}, limiter.current_rate)
            yield Sample(names.EXPORTER_RATE_LIMIT_WAIT, {names.LIMITER: name}, limiter.waited_seconds)
        if self.classifier.outcomes_stopped is not None:
            yield Sample(names.EXPORTER_OUTCOMES_STOPPED, {}, int(self.classifier.outcomes_stopped))
        for runner in self.runners:
            if runner.result:
                yield from source_samples(runner.name, runner.result)


def source_samples(name: str, result: SourceResult) -> Iterator[Sample]:
    """Yield the samples of a data source, and whether and when it was read."""
    labels = {names.SOURCE: name}
    yield from result.samples
    yield Sample(names.EXPORTER_SOURCE_UP, labels, int(result.error is None))
    yield Sample(names.EXPORTER_SOURCE_DURATION, labels, result.duration)
    if result.last_success is not None:
        yield Sample(names.EXPORTER_SOURCE_LAST_SUCCESS, labels, result.last_success)
