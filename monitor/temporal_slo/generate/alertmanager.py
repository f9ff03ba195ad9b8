"""Alertmanager's configuration, from a small file that says who is told; secrets stand in files of their own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from temporal_slo import names
from temporal_slo.errors import UsageError
from temporal_slo.generate.written import written
from temporal_slo.promql import quoted
from temporal_slo.spec.burn import DEFAULT_TIERS
from temporal_slo.spec.model import ActivitySuccess, ScheduleToStart, Spec, Tier

BLIND: Final = ("TemporalSloExporterDown", "TemporalSloNamespaceUnreachable", "TemporalSloExporterStale")
"""Alerts beside which all others of the namespace tell nothing."""

SEVERITIES: Final = ("page", "ticket")

WORKERS: Final = f"{ActivitySuccess.kind}|{ScheduleToStart.kind}"
"""SLIs that workers tell of themselves, and that are seen without an exporter."""

BURNS: Final = f'alertname="{names.ALERT_BURN}"'
SAME: Final = [names.SERVICE, names.SLO, names.NAMESPACE]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _no_secret(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is no URL; write for example https://hooks.example.com/alerts")
    if parts.username or parts.password or parts.query:
        raise ValueError("bears a secret; leave it out of the URL, and give it as credentials_file")
    return url


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("is no absolute path; Alertmanager reads it where it runs")
    return path


SecretFile = Annotated[str, AfterValidator(_absolute)]
PlainUrl = Annotated[str, AfterValidator(_no_secret)]


class PagerDuty(_Part):
    """A service of PagerDuty, by its Events API v2 key."""

    routing_key_file: SecretFile


class Opsgenie(_Part):
    """Opsgenie, by an API key."""

    api_key_file: SecretFile


class Slack(_Part):
    """A channel of Slack, by an incoming webhook, whose URL is the secret."""

    api_url_file: SecretFile
    channel: str


class Email(_Part):
    """An address."""

    to: str
    from_: str = Field(alias="from")
    smarthost: str
    auth_username: str | None = None
    auth_password_file: SecretFile | None = None


class Webhook(_Part):
    """Anything that takes Alertmanager's JSON."""

    url: PlainUrl
    credentials_file: SecretFile | None = None


class Receiver(_Part):
    """One way to tell somebody: exactly one of these."""

    pagerduty: PagerDuty | None = None
    opsgenie: Opsgenie | None = None
    slack: Slack | None = None
    email: Email | None = None
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"names {len(self.model_fields_set)} ways; write exactly one in each item of the list")
        return self


class Receivers(_Part):
    """Who is told of pages, and who of tickets."""

    version: Literal["temporal-slo/receivers/v1"]
    page: tuple[Receiver, ...] = Field(min_length=1)
    ticket: tuple[Receiver, ...] = Field(min_length=1)


def load(path: Path) -> Receivers:
    """Read a receivers file.

    Raises:
        UsageError: It cannot be read, or is wrong.
    """
    try:
        return Receivers.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise UsageError(str(path), f"cannot be read: {error.strerror}", "correct the path") from error
    except yaml.YAMLError as error:
        raise UsageError(str(path), "is not YAML", "see the example in the README") from error
    except ValidationError as error:
        # Not what was written, which may be a secret.
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        what = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{path}: {where}", what, "correct it") from None


def render(receivers: Receivers, specs: Sequence[Spec]) -> str:
    """Return the configuration; a function of its arguments."""
    grouped = [names.SERVICE, names.SLO, names.NAMESPACE, "alertname"]
    config = {
        "route": {
            "receiver": "ticket",
            "group_by": grouped,
            "group_wait": "10s",
            "group_interval": "1m",
            "repeat_interval": "12h",
            "routes": [{"matchers": ['severity="page"'], "receiver": "page", "repeat_interval": "1h"}],
        },
        "inhibit_rules": [*_inhibitions(specs)],
        "receivers": [{"name": name, **_configs(getattr(receivers, name))} for name in SEVERITIES],
    }
    return written(config)


def _inhibitions(specs: Sequence[Spec]) -> Iterator[dict[str, list[str]]]:
    """Yield what is silent beside what: tickets beside pages, slower tiers beside faster, all beside blindness."""
    yield {
        "source_matchers": [BURNS, 'severity="page"'],
        "target_matchers": [f'alertname=~"{names.ALERT_BURN}|{names.ALERT_EXHAUSTED}"', 'severity="ticket"'],
        "equal": SAME,
    }
    for where, tiers in _tables(specs):
        yield from _slower(where, tiers)
    blind = "|".join(BLIND)
    yield {
        "source_matchers": [f'alertname=~"{blind}"'],
        "target_matchers": ['alertname=~"TemporalSlo.*"', f'alertname!~"{blind}"', f'{names.SLI_LABEL}!~"{WORKERS}"'],
        "equal": [names.NAMESPACE],
    }


def _tables(specs: Sequence[Spec]) -> Iterator[tuple[list[str], tuple[Tier, ...]]]:
    """Yield the tables of tiers, each with what matches the alerts that it is of."""
    own = [spec for spec in specs if spec.windows]
    for spec in own:
        yield [f"{label}={quoted(value)}" for label, value in _place(spec).items()], spec.windows or ()
    if len(own) < len(specs):
        yield [], DEFAULT_TIERS


def _place(spec: Spec) -> dict[str, str]:
    return {names.SERVICE: spec.service, names.NAMESPACE: spec.temporal_namespace}


def _slower(where: list[str], tiers: tuple[Tier, ...]) -> Iterator[dict[str, list[str]]]:
    """Yield what silences, beside a tier, the slower ones of its severity."""
    for severity in SEVERITIES:
        ordered = sorted((tier for tier in tiers if tier.severity == severity), key=lambda tier: tier.long)
        for index, tier in enumerate(ordered[:-1]):
            slower = "|".join(other.name for other in ordered[index + 1 :])
            yield {
                "source_matchers": [BURNS, *where, f'tier="{tier.name}"'],
                "target_matchers": [BURNS, *where, f'tier=~"{slower}"'],
                "equal": SAME,
            }


def _configs(receivers: tuple[Receiver, ...]) -> dict[str, list[dict[str, Any]]]:
    configs: dict[str, list[dict[str, Any]]] = {}
    for receiver in receivers:
        for kind in receiver.model_fields_set:
            configs.setdefault(f"{kind}_configs", []).append(_config(getattr(receiver, kind)))
    return configs


def _config(way: PagerDuty | Opsgenie | Slack | Email | Webhook) -> dict[str, Any]:
    given = way.model_dump(by_alias=True, exclude_none=True)
    if isinstance(way, Webhook) and (file := given.pop("credentials_file", None)):
        # Alertmanager 0.25 reads no webhook URL from a file, but its credentials.
        given["http_config"] = {"authorization": {"type": "Bearer", "credentials_file": file}}
    return {**given, "send_resolved": True}
