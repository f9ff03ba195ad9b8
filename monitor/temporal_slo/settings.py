"""Settings: read once, from options, environment and Temporal's own configuration, and passed down."""

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import TLSConfig

from temporal_slo.durations import parse_duration
from temporal_slo.errors import UsageError

PREFIX: Final = "TEMPORAL_SLO_"
DEFAULT_ADDRESS: Final = "localhost:7233"
DEFAULT_NAMESPACE: Final = "default"
DEFAULT_CONVERTER: Final = "temporalio.converter:default"
DEFAULT_VISIBILITY_RATE: Final = 4.0
DEFAULT_HISTORY_RATE: Final = 50.0
DEFAULT_LEDGER: Final = "sqlite:///temporal-slo.db"
DEFAULT_NAMESPACE_FILTER: Final = "*"
RETENTION: Final = timedelta.max
"""As far back as the server remembers."""

DEFAULT_SOURCES: Final = "task_queues=30s,task_problems=1m,schedules=1m,retry_storms=2m,calendar=1m"
DEFAULT_LISTEN: Final = "127.0.0.1:9464"
DEFAULT_POLL_INTERVAL: Final = "15s"
_SCHEMELESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
PORT_MAX: Final = 65535
DIGITS_MAX: Final = 18
"""Of a whole number: more than anybody counts to, and Python reads no more than some thousand."""


@dataclass(frozen=True, slots=True, repr=False)
class ExporterSettings:
    """What `temporal-slo exporter` runs with.

    Attributes:
        connection: Keyword arguments of `temporalio.client.Client.connect`; may hold an API key, so it has no repr.
        ledger: URL of the ledger's database; may hold a password.
        listen: Host and port of the HTTP service.
        poll_interval: Time between two polls.
        fail_fast: End at once if the first poll fails.
        specs: Files and folders of SLO specs.
        data_converter: `module:attribute` of the converter that the workers use.
        codec_endpoint: URL of a remote codec.
        codec_authorization: Secret that it asks for.
        visibility_rate: Visibility requests a second at most.
        history_rate: Requests for close events a second at most.
        namespaces: Temporal namespaces to watch; the connection's if none is given.
        all_namespaces: Watch those that there are.
        namespace_filter: Pattern, as of file names, that they must fit.
        debug_anywhere: Answer `/debug/poll` to whoever asks.
        reconnect: Reads the connection's settings again, for certificates and keys that change.
        redact_ids: Let no id of a run leave the exporter.
        backfill: How long before the first start a run may have closed to be ingested too; None disables backfill.
        sources: Time between two readings of each source beside visibility that is read.
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
    reconnect: Callable[[], ClientConnectConfig] | None = None
    redact_ids: bool = False
    backfill: timedelta | None = None
    sources: Mapping[str, timedelta] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Watch the namespace of the connection unless told otherwise."""
        if not self.namespaces:
            object.__setattr__(self, "namespaces", (self.connection["namespace"],))


def connection(
    address: str | None, namespace: str | None, profile: str | None, environ: Mapping[str, str]
) -> ClientConnectConfig:
    """Return how to connect to Temporal: options over `TEMPORAL_*` variables over the profile in `temporal.toml`.

    Args:
        address: `host:port`, or None to take it from the environment or the profile.
        namespace: Temporal namespace, or None likewise.
        profile: Name of the profile; the one in `TEMPORAL_PROFILE`, else `default`, if None.
        environ: The process's environment.

    Raises:
        UsageError: The address is malformed, or a file is missing or can't be read.
    """
    file = environ.get("TEMPORAL_CONFIG_FILE")
    if file and not Path(file).is_file():
        # The SDK passes over a file that is not there.
        raise UsageError("TEMPORAL_CONFIG_FILE", f"{file!r} is not a file", "correct the path or unset the variable")
    try:
        config = ClientConfig.load_client_connect_config(profile, override_env_vars=dict(environ))
    except OSError as error:
        raise UsageError(
            f"TLS file {error.filename}", f"cannot be read: {error.strerror}", "correct the path or its permissions"
        ) from error
    except RuntimeError as error:
        # What is wrong in a file is told with the line that it stands in, which may be the one with the API key.
        what, _, _ = str(error).partition("\n")
        raise UsageError(
            "Temporal configuration", what, "correct temporal.toml, TEMPORAL_PROFILE or the TEMPORAL_* variable"
        ) from None
    _check_tls(config)
    # An empty option is a mistake, an unset variable most of the time, and not the same as none.
    config["target_host"] = config.get("target_host") or DEFAULT_ADDRESS if address is None else address
    config["namespace"] = config.get("namespace") or DEFAULT_NAMESPACE if namespace is None else namespace
    host_and_port(config["target_host"], "TEMPORAL_ADDRESS" if address is None else "--temporal-address")
    if not config["namespace"]:
        raise UsageError("--temporal-namespace", "is empty", "name a Temporal namespace, or leave the option out")
    return config


def _check_tls(config: ClientConnectConfig) -> None:
    # The SDK finds both only when it connects, where they would look like a server that is away.
    tls = config.get("tls")
    if not isinstance(tls, TLSConfig):
        return
    for name, data in (("CA certificate", tls.server_root_ca_cert), ("client certificate", tls.client_cert)):
        if data and b"-----BEGIN CERTIFICATE-----" not in data:
            raise UsageError("Temporal TLS", f"the {name} is not in PEM format", "give a PEM file")
    if tls.client_private_key and b"PRIVATE KEY-----" not in tls.client_private_key:
        raise UsageError("Temporal TLS", "the client key is not in PEM format", "give a PEM file")
    if bool(tls.client_cert) != bool(tls.client_private_key):
        missing = "client key" if tls.client_cert else "client certificate"
        raise UsageError("Temporal TLS", f"the {missing} is missing", "give both certificate and key, or neither")


def host_and_port(text: str, where: str) -> tuple[str, int]:
    """Split `host:port`.

    Args:
        text: For example `127.0.0.1:9464` or `[::1]:9464`.
        where: The option or variable that it came from.

    Raises:
        UsageError: *text* is not of that form.
    """
    match = _SCHEMELESS.fullmatch(text)
    if not match or int(match["port"]) > PORT_MAX:
        raise UsageError(where, f"{text!r} is not an address", "write host:port, for example 127.0.0.1:7233")
    return match["host"].strip("[]"), int(match["port"])


def duration(text: str, where: str) -> timedelta:
    """Read a duration.

    Raises:
        UsageError: It is none.
    """
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(where, str(error), "write for example 15s") from error


def rate(text: str, where: str) -> float:
    """Read a number of events a second, above 0.

    Raises:
        UsageError: It is none.
    """
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not float(text):
        raise UsageError(where, f"{text!r} is not a number above 0", "write for example 4 or 0.5")
    return float(text)


def whole(text: str, where: str) -> int:
    """Read a whole number, 0 or more.

    Raises:
        UsageError: It is none.
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
    flags: Collection[str] = (),
    reconnect: Callable[[], ClientConnectConfig] | None = None,
) -> ExporterSettings:
    """Return the exporter's settings: options over `TEMPORAL_SLO_*` variables over defaults.

    Args:
        connect: How to connect to Temporal.
        given: Options by name, `poll-interval` for one; None for those that were not given.
        environ: The process's environment.
        flags: Names of the switches that were given.
        reconnect: Reads *connect* again.

    Raises:
        UsageError: One of them is malformed, or two contradict one another.
    """

    def pick(option: str, default: str) -> tuple[str, str]:
        return _pick(option, given.get(option), default, environ)

    namespaces = _namespaces(connect["namespace"])
    every, pattern = "all-namespaces" in flags, pick("namespace-filter", DEFAULT_NAMESPACE_FILTER)
    if pattern[0] != DEFAULT_NAMESPACE_FILTER and not every:
        raise UsageError(pattern[1], "goes with --all-namespaces", "give that too, or leave this out")
    return ExporterSettings(
        connection={**connect, "namespace": namespaces[0]},
        ledger=pick("ledger", DEFAULT_LEDGER)[0],
        listen=host_and_port(*pick("listen", DEFAULT_LISTEN)),
        poll_interval=duration(*pick("poll-interval", DEFAULT_POLL_INTERVAL)),
        fail_fast="fail-fast" in flags,
        specs=tuple(filter(None, pick("spec", "")[0].split(os.pathsep))),
        data_converter=pick("data-converter", DEFAULT_CONVERTER)[0],
        codec_endpoint=pick("codec-endpoint", "")[0] or None,
        codec_authorization=environ.get(f"{PREFIX}CODEC_AUTHORIZATION"),
        visibility_rate=rate(*pick("visibility-rate", f"{DEFAULT_VISIBILITY_RATE:g}")),
        history_rate=rate(*pick("history-rate", f"{DEFAULT_HISTORY_RATE:g}")),
        namespaces=namespaces,
        all_namespaces=every,
        namespace_filter=pattern[0],
        debug_anywhere="debug-anywhere" in flags,
        reconnect=reconnect,
        redact_ids="redact-ids" in flags,
        backfill=_backfill(*pick("backfill", "")),
        sources=_sources(*pick("sources", "")),
    )


def _backfill(text: str, where: str) -> timedelta | None:
    if not text:
        return None
    return RETENTION if text == "retention" else duration(text, where)


def _sources(text: str, where: str) -> dict[str, timedelta]:
    """Return the intervals of the sources: the defaults, but for those that *text* names."""
    intervals = dict(item.split("=") for item in DEFAULT_SOURCES.split(","))
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        if name not in intervals:
            raise UsageError(where, f"there is no source {name!r}", f"use {', '.join(intervals)}")
        intervals[name] = value
    read = {name: value for name, value in intervals.items() if value != "off"}
    return {name: duration(value, f"{where}: {name}") for name, value in read.items()}


def _namespaces(text: str) -> tuple[str, ...]:
    """Return the namespaces of a list divided by commas, each once."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise UsageError("--temporal-namespace", f"{text!r} has an empty name", "divide names by single commas")
    return names


def _pick(option: str, given: str | None, default: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the value of an option and where it came from."""
    variable = PREFIX + option.upper().replace("-", "_")
    if given is None and variable in environ:
        return environ[variable], variable
    return default if given is None else given, f"--{option}"
