"""Settings, read once from options, environment variables and `temporal.toml`, and passed down."""

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import TLSConfig

from temporal_slo.durations import parse_duration
from temporal_slo.errors import UsageError

PREFIX: Final = "TEMPORAL_SLO_"
"""Prefix of the exporter's environment variables."""

DEFAULT_ADDRESS: Final = "localhost:7233"
DEFAULT_NAMESPACE: Final = "default"
DEFAULT_CONVERTER: Final = "temporalio.converter:default"
DEFAULT_VISIBILITY_RATE: Final = 4.0
DEFAULT_HISTORY_RATE: Final = 200.0
DEFAULT_WORKFLOW_TYPES_MAX: Final = 80
DEFAULT_TASK_QUEUES_MAX: Final = 100
DEFAULT_LEDGER: Final = "sqlite:///temporal-slo.db"
DEFAULT_NAMESPACE_FILTER: Final = "*"
DEFAULT_SOURCES: Final = "task_queues=30s,task_problems=1m,schedules=1m,retry_storms=2m,calendar=1m"

EXPORTER_DEFAULTS: Final[Mapping[str, str]] = {
    "ledger": DEFAULT_LEDGER,
    "listen": "127.0.0.1:9464",
    "namespace-filter": DEFAULT_NAMESPACE_FILTER,
    "poll-interval": "15s",
    "spec": "",
    "backfill": "",
    "sources": DEFAULT_SOURCES,
    "workflow-types-max": str(DEFAULT_WORKFLOW_TYPES_MAX),
    "task-queues-max": str(DEFAULT_TASK_QUEUES_MAX),
    "data-converter": DEFAULT_CONVERTER,
    "codec-endpoint": "",
    "visibility-rate": f"{DEFAULT_VISIBILITY_RATE:g}",
    "history-rate": f"{DEFAULT_HISTORY_RATE:g}",
}
"""Exporter options that take a value, with their defaults; an empty default means not set."""

RETENTION: Final = timedelta.max
"""Backfill duration that stands for every run the server still retains."""

PORT_MAX: Final = 65535
DIGITS_MAX: Final = 18
"""Maximum length of a whole number; Python refuses to parse strings of more than 4300 digits."""

_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True, repr=False)
class ExporterSettings:
    """Settings of `temporal-slo exporter`. There is no repr, because some hold secrets.

    Attributes:
        connection: Keyword arguments of `temporalio.client.Client.connect`; may hold an API key.
        ledger: URL of the ledger's database; may hold a password.
        listen: Host and port of the HTTP server.
        poll_interval: Interval between visibility polls.
        fail_fast: Exit if the first poll fails.
        specs: SLO spec files and folders.
        data_converter: `module:attribute` of the data converter that the workers use.
        codec_endpoint: URL of a remote codec.
        codec_authorization: `Authorization` header for the remote codec.
        visibility_rate: Rate limit of visibility requests, per second.
        history_rate: Maximum requests for close events per second; the rate adapts to the server up to it.
        namespaces: Temporal namespaces to export; defaults to the namespace of the connection.
        all_namespaces: Export every registered Temporal namespace.
        namespace_filter: Glob that the namespaces of `all_namespaces` must match.
        debug_anywhere: Serve `/debug/poll` to any client, not only localhost.
        reload_connection: Reads the connection settings again, to pick up rotated certificates and keys.
        redact_ids: Do not expose workflow or run IDs as exemplars.
        backfill: How long before the first start a run may have closed to be ingested too; None disables backfill.
        sources: Poll interval of each enabled additional data source.
        workflow_types_max: Workflow types per namespace with series of their own, besides those of the specs.
        task_queues_max: The same for task queues.
    """

    connection: ClientConnectConfig
    ledger: str
    listen: tuple[str, int]
    poll_interval: timedelta
    fail_fast: bool = False
    specs: tuple[str, ...] = ()
    data_converter: str = DEFAULT_CONVERTER
    codec_endpoint: str | None = None
    codec_authorization: str | None = None
    visibility_rate: float = DEFAULT_VISIBILITY_RATE
    history_rate: float = DEFAULT_HISTORY_RATE
    namespaces: tuple[str, ...] = ()
    all_namespaces: bool = False
    namespace_filter: str = DEFAULT_NAMESPACE_FILTER
    debug_anywhere: bool = False
    reload_connection: Callable[[], ClientConnectConfig] | None = None
    redact_ids: bool = False
    backfill: timedelta | None = None
    sources: Mapping[str, timedelta] = field(default_factory=dict)
    workflow_types_max: int = DEFAULT_WORKFLOW_TYPES_MAX
    task_queues_max: int = DEFAULT_TASK_QUEUES_MAX

    def __post_init__(self) -> None:
        """Default to the namespace of the connection."""
        if not self.namespaces:
            object.__setattr__(self, "namespaces", (self.connection["namespace"],))


def variable(option: str) -> str:
    """Return the environment variable of an exporter option, for example `TEMPORAL_SLO_POLL_INTERVAL`."""
    return PREFIX + option.upper().replace("-", "_")


def connection(
    address: str | None, namespace: str | None, profile: str | None, environ: Mapping[str, str]
) -> ClientConnectConfig:
    """Return the connection settings: options override `TEMPORAL_*` variables, which override `temporal.toml`.

    Args:
        address: `host:port`, or None to use the environment or the profile.
        namespace: Temporal namespace, or None to use the environment or the profile.
        profile: Profile in `temporal.toml`; None uses `TEMPORAL_PROFILE`, or else `default`.
        environ: Environment variables.

    Raises:
        UsageError: The address is malformed, or a file is missing or cannot be read.
    """
    file = environ.get("TEMPORAL_CONFIG_FILE")
    if file and not Path(file).is_file():
        # The SDK ignores a missing file.
        raise UsageError("TEMPORAL_CONFIG_FILE", f"{file!r} is not a file", "correct the path or unset the variable")
    try:
        config = ClientConfig.load_client_connect_config(profile, override_env_vars=dict(environ))
    except OSError as error:
        raise UsageError(
            f"TLS file {error.filename}", f"cannot be read: {error.strerror}", "correct the path or its permissions"
        ) from error
    except RuntimeError as error:
        # Further lines of the message quote the faulty line of the file, which may hold the API key.
        what, _, _ = str(error).partition("\n")
        raise UsageError(
            "Temporal configuration", what, "correct temporal.toml, TEMPORAL_PROFILE or the TEMPORAL_* variable"
        ) from None
    _check_tls(config)
    # An empty variable means unset; an empty option is a mistake and is refused below.
    config["target_host"] = config.get("target_host") or DEFAULT_ADDRESS if address is None else address
    config["namespace"] = config.get("namespace") or DEFAULT_NAMESPACE if namespace is None else namespace
    host_and_port(config["target_host"], "TEMPORAL_ADDRESS" if address is None else "--temporal-address")
    if not config["namespace"]:
        raise UsageError("--temporal-namespace", "is empty", "set a Temporal namespace, or omit the option")
    return config


def _check_tls(config: ClientConnectConfig) -> None:
    # The SDK detects these only when it connects, and reports them as an unreachable server.
    tls = config.get("tls")
    if not isinstance(tls, TLSConfig):
        return
    for name, data in (("CA certificate", tls.server_root_ca_cert), ("client certificate", tls.client_cert)):
        if data and b"-----BEGIN CERTIFICATE-----" not in data:
            raise UsageError("Temporal TLS", f"the {name} is not in PEM format", "use a PEM file")
    if tls.client_private_key and b"PRIVATE KEY-----" not in tls.client_private_key:
        raise UsageError("Temporal TLS", "the client key is not in PEM format", "use a PEM file")
    if bool(tls.client_cert) != bool(tls.client_private_key):
        missing = "client key" if tls.client_cert else "client certificate"
        raise UsageError("Temporal TLS", f"the {missing} is missing", "set both certificate and key, or neither")


def host_and_port(text: str, where: str) -> tuple[str, int]:
    """Split `host:port`.

    Args:
        text: For example `127.0.0.1:9464` or `[::1]:9464`.
        where: The option or variable that holds it.

    Raises:
        UsageError: *text* is malformed.
    """
    match = _HOST_PORT.fullmatch(text)
    if not match or int(match["port"]) > PORT_MAX:
        raise UsageError(where, f"{text!r} is not an address", "write host:port, for example 127.0.0.1:7233")
    return match["host"].strip("[]"), int(match["port"])


def http_url(text: str, where: str) -> str:
    """Return a base URL without its trailing slash.

    Raises:
        UsageError: *text* is not an HTTP URL, or holds more than address and path.
    """
    try:
        url = urlsplit(text)
        valid = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        valid = False
    # Not quoted: it may hold a password.
    if not valid or url.username or url.query or url.fragment:
        raise UsageError(where, "is not a base URL", "write for example http://127.0.0.1:8081")
    return text.rstrip("/")


def duration(text: str, where: str) -> timedelta:
    """Parse a duration.

    Raises:
        UsageError: *text* is malformed.
    """
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(where, str(error), "write for example 15s") from error


def rate(text: str, where: str) -> float:
    """Parse a rate per second, above 0.

    Raises:
        UsageError: *text* is malformed.
    """
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not float(text):
        raise UsageError(where, f"{text!r} is not a positive number", "write for example 4 or 0.5")
    return float(text)


def whole_number(text: str, where: str) -> int:
    """Parse a whole number, 0 or more.

    Raises:
        UsageError: *text* is malformed.
    """
    if not re.fullmatch(r"\d+", text):
        raise UsageError(where, f"{text!r} is not a whole number", "write for example 100")
    if len(text) > DIGITS_MAX:
        raise UsageError(where, f"has more than {DIGITS_MAX} digits", "write for example 100")
    return int(text)


def exporter(
    connect: ClientConnectConfig,
    given: Mapping[str, str | None],
    environ: Mapping[str, str],
    switches: Collection[str] = (),
    reload_connection: Callable[[], ClientConnectConfig] | None = None,
) -> ExporterSettings:
    """Return the exporter's settings: options override `TEMPORAL_SLO_*` variables, which override defaults.

    Args:
        connect: Connection settings.
        given: Values of the options in `EXPORTER_DEFAULTS`; None or missing if an option is not given.
        environ: Environment variables.
        switches: Options without a value that are given, for example `fail-fast`.
        reload_connection: Reads *connect* again.

    Raises:
        UsageError: A value is malformed, or two options conflict.
    """

    def pick(option: str) -> tuple[str, str]:
        return _pick(option, given.get(option), environ)

    namespaces = _namespaces(connect["namespace"])
    all_namespaces, (namespace_filter, origin) = "all-namespaces" in switches, pick("namespace-filter")
    if namespace_filter != DEFAULT_NAMESPACE_FILTER and not all_namespaces:
        raise UsageError(origin, "requires --all-namespaces", "add that option, or remove the filter")
    return ExporterSettings(
        connection={**connect, "namespace": namespaces[0]},
        ledger=pick("ledger")[0],
        listen=host_and_port(*pick("listen")),
        poll_interval=duration(*pick("poll-interval")),
        fail_fast="fail-fast" in switches,
        specs=tuple(filter(None, pick("spec")[0].split(os.pathsep))),
        data_converter=pick("data-converter")[0],
        codec_endpoint=pick("codec-endpoint")[0] or None,
        codec_authorization=environ.get(variable("codec-authorization")),
        visibility_rate=rate(*pick("visibility-rate")),
        history_rate=rate(*pick("history-rate")),
        namespaces=namespaces,
        all_namespaces=all_namespaces,
        namespace_filter=namespace_filter,
        debug_anywhere="debug-anywhere" in switches,
        reload_connection=reload_connection,
        redact_ids="redact-ids" in switches,
        backfill=_backfill(*pick("backfill")),
        sources=_sources(*pick("sources")),
        workflow_types_max=whole_number(*pick("workflow-types-max")),
        task_queues_max=whole_number(*pick("task-queues-max")),
    )


def _pick(option: str, given: str | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the value of an exporter option, and the option or variable that it comes from."""
    if given is None and variable(option) in environ:
        return environ[variable(option)], variable(option)
    return EXPORTER_DEFAULTS[option] if given is None else given, f"--{option}"


def _backfill(text: str, where: str) -> timedelta | None:
    if not text:
        return None
    return RETENTION if text == "retention" else duration(text, where)


def _sources(text: str, where: str) -> dict[str, timedelta]:
    """Return the interval of each enabled source; *text* overrides the defaults of the sources that it names."""
    intervals = dict(item.split("=") for item in DEFAULT_SOURCES.split(","))
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        if name not in intervals:
            raise UsageError(where, f"unknown source {name!r}", f"use {', '.join(intervals)}")
        intervals[name] = value
    enabled = {name: value for name, value in intervals.items() if value != "off"}
    return {name: duration(value, f"{where}: {name}") for name, value in enabled.items()}


def _namespaces(text: str) -> tuple[str, ...]:
    """Return the namespaces of a comma-separated list, without duplicates."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise UsageError("--temporal-namespace", f"{text!r} has an empty name", "separate names with single commas")
    return names
