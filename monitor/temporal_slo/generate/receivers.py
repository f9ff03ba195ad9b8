"""The receivers file: who is told of what, and where the secrets stand that this takes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from temporal_slo.spec.load import SpecError, finding_line, tree_of
from temporal_slo.spec.tree import Finding, Tree

BAD_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")
HOST: Final = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+")
"""Names, and addresses of either kind: Alertmanager reads no host with other characters."""
HOST_PORT: Final = re.compile(r"([^\s:\[\]]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
TELLING: Final = (
    *("hooks.slack.com", "discord.com", "discordapp.com", "webhook.office.com", "outlook.office.com"),
    *("chat.googleapis.com", "logic.azure.com", "powerplatform.com", "api.telegram.org"),
    *("hooks.slack-gov.com", "hooks.zapier.com", "maker.ifttt.com"),
)
"""Hosts whose webhooks have their secret in the path."""

WORDS: Final = {
    "missing": "is missing; add it",
    "extra_forbidden": "is not known here; correct or remove it",
    "model_type": "is not a mapping; write keys and values",
    "tuple_type": "is not a list; begin each item with a dash",
    "too_short": "is empty; name at least one receiver",
    "string_too_short": "is empty; write it",
    "string_type": "is not text; write a word",
    "literal_error": "is of no version that is known; write version: temporal-slo/receivers/v1",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _no_secret(url: str) -> str:
    try:
        parts = urlsplit(url)
        # Reading the port may fail.
        fits = parts.scheme in {"http", "https"} and HOST.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        fits = None
    if not fits or BAD_ESCAPE.search(url) or not url.isprintable() or " " in url:
        raise ValueError("is no URL; write for example https://hooks.example.com/alerts")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("bears a secret; leave it out of the URL, and give it as credentials_file")
    named = (parts.hostname or "").rstrip(".")
    if any(f".{named}".endswith(f".{host}") for host in TELLING):
        raise ValueError("bears a secret in its path; write slack: {api_url_file: ...}, or a relay's URL")
    return url


def _with_port(text: str) -> str:
    if not HOST_PORT.fullmatch(text):
        raise ValueError("has no port; write for example mail.example.com:587")
    return text


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("is no absolute path; Alertmanager reads it where it runs")
    return path


SecretFile = Annotated[str, AfterValidator(_absolute)]
PlainUrl = Annotated[str, AfterValidator(_no_secret)]
HostPort = Annotated[str, AfterValidator(_with_port)]
Word = Annotated[str, Field(min_length=1)]


class PagerDuty(_Part):
    """A service of PagerDuty, by its Events API v2 key."""

    routing_key_file: SecretFile


class Opsgenie(_Part):
    """Opsgenie, by an API key."""

    api_key_file: SecretFile


class Slack(_Part):
    """A channel of Slack, by an incoming webhook, whose URL is the secret."""

    api_url_file: SecretFile
    channel: Word


class Email(_Part):
    """An address."""

    to: Word
    from_: Word = Field(alias="from")
    smarthost: HostPort
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
        SpecError: It cannot be read, or is wrong: every mistake, by line.
    """
    tree = tree_of(path, "receivers: version: temporal-slo/receivers/v1, page: and ticket:")
    found = list(tree.findings)
    try:
        receivers = Receivers.model_validate(tree.data)
    except ValidationError as error:
        found += _told(error, tree)
    if found:
        raise SpecError([finding_line(path, one) for one in sorted(found, key=lambda one: one.line or 0)])
    return receivers


def _told(error: ValidationError, tree: Tree) -> Iterator[Finding]:
    # Not what was written, which may be a secret.
    details = error.errors(include_input=False, include_url=False)
    for detail in details:
        place = detail["loc"]
        # A list whose items are wrong passes for empty.
        wrong_inside = any(other["loc"][: len(place)] == place != other["loc"] for other in details)
        if not wrong_inside and not any(place[:depth] in tree.refused for depth in range(len(place) + 1)):
            text = WORDS.get(detail["type"], detail["msg"].removeprefix("Value error, "))
            there = place
            while there not in tree.lines:
                there = there[:-1]
            yield Finding(tree.lines[there], place, text)
