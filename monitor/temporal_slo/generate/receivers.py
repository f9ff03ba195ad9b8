"""The receivers file: where Alertmanager sends pages and tickets, and which files hold the secrets."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from temporal_slo.spec.load import SpecError, format_finding, read_yaml
from temporal_slo.spec.tree import Finding, Tree

BAD_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")
HOST: Final = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+")
"""Host names, IPv4 and IPv6 addresses: Alertmanager rejects hosts with other characters."""
HOST_PORT: Final = re.compile(r"([^\s:\[\]]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
SECRET_PATH_HOSTS: Final = (
    *("hooks.slack.com", "discord.com", "discordapp.com", "webhook.office.com", "outlook.office.com"),
    *("chat.googleapis.com", "logic.azure.com", "powerplatform.com", "api.telegram.org"),
    *("hooks.slack-gov.com", "hooks.zapier.com", "maker.ifttt.com"),
)
"""Hosts whose webhook URLs contain the secret in the path."""

MESSAGES: Final = {
    "missing": "is missing; add it",
    "extra_forbidden": "is not a known key; correct or remove it",
    "model_type": "is not a mapping; write key: value pairs",
    "tuple_type": "is not a list; start each item with a dash",
    "too_short": "is empty; add at least one receiver",
    "string_too_short": "is empty; set it",
    "string_type": "is not a string; write a string",
    "literal_error": "is not a supported version; write version: temporal-slo/receivers/v1",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _no_secret(url: str) -> str:
    try:
        parts = urlsplit(url)
        # The port property raises ValueError.
        valid = parts.scheme in {"http", "https"} and HOST.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        valid = False
    if not valid or BAD_ESCAPE.search(url) or not url.isprintable() or " " in url:
        raise ValueError("is not a valid URL; write for example https://hooks.example.com/alerts")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("contains a secret; remove it from the URL and use credentials_file")
    hostname = (parts.hostname or "").rstrip(".")
    if any(f".{hostname}".endswith(f".{host}") for host in SECRET_PATH_HOSTS):
        raise ValueError("contains a secret in its path; use slack: {api_url_file: ...}, or the URL of a relay")
    return url


def _with_port(text: str) -> str:
    if not HOST_PORT.fullmatch(text):
        raise ValueError("has no port; write for example mail.example.com:587")
    return text


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("is not an absolute path; write the path on the host where Alertmanager runs")
    return path


SecretFile = Annotated[str, AfterValidator(_absolute)]
PlainUrl = Annotated[str, AfterValidator(_no_secret)]
HostPort = Annotated[str, AfterValidator(_with_port)]
NonEmpty = Annotated[str, Field(min_length=1)]


class PagerDuty(_Part):
    """A PagerDuty service, by its Events API v2 routing key."""

    routing_key_file: SecretFile


class Opsgenie(_Part):
    """Opsgenie, by an API key."""

    api_key_file: SecretFile


class Slack(_Part):
    """A Slack channel, by an incoming webhook, whose URL is the secret."""

    api_url_file: SecretFile
    channel: NonEmpty


class Email(_Part):
    """An e-mail address."""

    to: NonEmpty
    from_: NonEmpty = Field(alias="from")
    smarthost: HostPort
    auth_username: str | None = None
    auth_password_file: SecretFile | None = None


class Webhook(_Part):
    """An HTTP endpoint that accepts Alertmanager's webhook payload."""

    url: PlainUrl
    credentials_file: SecretFile | None = None


class Receiver(_Part):
    """One receiver: exactly one of these integrations."""

    pagerduty: PagerDuty | None = None
    opsgenie: Opsgenie | None = None
    slack: Slack | None = None
    email: Email | None = None
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"has {len(self.model_fields_set)} integrations; write exactly one per list item")
        return self


class Receivers(_Part):
    """Receivers of pages and of tickets."""

    version: Literal["temporal-slo/receivers/v1"]
    page: tuple[Receiver, ...] = Field(min_length=1)
    ticket: tuple[Receiver, ...] = Field(min_length=1)


def load(path: Path) -> Receivers:
    """Read a receivers file.

    Raises:
        SpecError: The file cannot be read or is invalid; lists every mistake with its line.
    """
    tree = read_yaml(path, "receivers: version: temporal-slo/receivers/v1, page: and ticket:")
    findings = list(tree.findings)
    try:
        receivers = Receivers.model_validate(tree.data)
    except ValidationError as error:
        findings += _findings(error, tree)
    if findings:
        raise SpecError([format_finding(path, one) for one in sorted(findings, key=lambda one: one.line or 0)])
    return receivers


def _findings(error: ValidationError, tree: Tree) -> Iterator[Finding]:
    # Without the input, which may be a secret.
    details = error.errors(include_input=False, include_url=False)
    for detail in details:
        place = detail["loc"]
        # pydantic reports a list as empty, too, if all its items are invalid.
        invalid_items = any(other["loc"][: len(place)] == place != other["loc"] for other in details)
        if not invalid_items and not any(place[:depth] in tree.rejected for depth in range(len(place) + 1)):
            text = MESSAGES.get(detail["type"], detail["msg"].removeprefix("Value error, "))
            parent = place
            while parent not in tree.lines:
                parent = parent[:-1]
            yield Finding(tree.lines[parent], place, text)
