"""The connection to Temporal, made anew when its certificates or keys change, under a client that stays the same."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Self, TypedDict, cast

from temporalio.client import Client
from temporalio.envconfig import ClientConnectConfig
from temporalio.service import RPCError, RPCStatusCode, ServiceClient, TLSConfig, WorkflowService

from temporal_slo import names
from temporal_slo.errors import UsageError
from temporal_slo.names.samples import Sample
from temporal_slo.temporal.certificate import expiry

LOOK_INTERVAL: Final = 10.0
"""Seconds between two looks at what the connection is made of."""

SOON: Final = 1.0
"""Seconds between two looks at least, however many requests fail."""

CONNECT_TIMEOUT: Final = 10.0
"""Seconds in which a server must answer new credentials."""

DOUBTFUL: Final = frozenset({RPCStatusCode.UNAVAILABLE, RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED})
"""Answers that may mean that the credentials are no longer good."""

OPEN_METADATA: Final = frozenset({"temporal-namespace"})
HIDDEN: Final = "[hidden]"
SECRET_LENGTH: Final = 6
"""Words up to this length, `Bearer` among them, are no secrets, and would be found in the middle of others."""

log = logging.getLogger(__name__)

Load = Callable[[], ClientConnectConfig]


class Credentials(TypedDict, total=False):
    """What may change while the exporter runs; the arguments of `Client.connect` have these names."""

    api_key: str
    tls: bool | TLSConfig
    rpc_metadata: Mapping[str, str]


def credentials(config: ClientConnectConfig) -> Credentials:
    """Return that part of *config* that may change; an exporter stays with its server and its Temporal namespace."""
    return cast("Credentials", {name: value for name, value in config.items() if name in Credentials.__annotations__})


class Connection:
    """Keeps a connection to Temporal whose credentials are read again when they change.

    New credentials are taken once a server has answered to them. Until then those of before stay, whatever is wrong
    with the new ones; what is under way is never cut off.

    Args:
        first: The connection there is, lazy or not.
        config: What it was made of.
        load: Reads that again, from files; raises UsageError. None if it is never to be read again.
        clock: Unix time in seconds.

    Attributes:
        client: Makes its requests by whatever connection there is. It stays the same one, and so does its
            `workflow_service`; its `service_client` is that of the moment.
    """

    def __init__(
        self, first: Client, config: ClientConnectConfig, load: Load | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._current = first
        self._config = config
        self._used = credentials(config)
        self._load = load
        self._clock = clock
        self._since = clock()
        self._trouble: str | None = None
        self._refused: Credentials | None = None
        self._doubt = asyncio.Event()
        self.client: Client = _Live(self)

    @classmethod
    async def to(cls, config: ClientConnectConfig, load: Load | None = None) -> Self:
        """Return one that connects at its first request."""
        return cls(await Client.connect(**config, lazy=True), config, load)

    @property
    def current(self) -> Client:
        """The client of the connection that there is now."""
        return self._current

    def samples(self) -> Iterator[Sample]:
        """Yield whether the credentials are those that were read last, since when, and when the certificate ends."""
        if self._load:
            yield Sample(names.EXPORTER_CREDENTIALS_SUCCESSFUL, {}, int(self._trouble is None))
            yield Sample(names.EXPORTER_CREDENTIALS_TIMESTAMP, {}, self._since)
        tls = self._used.get("tls")
        ends = expiry(tls.client_cert) if isinstance(tls, TLSConfig) and tls.client_cert else None
        if ends is not None:
            yield Sample(names.EXPORTER_CERTIFICATE_EXPIRY, {}, ends)

    async def follow(self) -> None:
        """Read the credentials again every ten seconds, and soon after a request failed, until cancelled."""
        while True:
            await asyncio.sleep(SOON)
            try:
                async with asyncio.timeout(LOOK_INTERVAL - SOON):
                    await self._doubt.wait()
            except TimeoutError:
                pass
            self._doubt.clear()
            await self.look()

    async def look(self) -> bool:
        """Read the credentials again and use them if they are new and good; return whether all is well."""
        before = self._trouble
        self._trouble = await self._renew() if self._load else None
        if self._trouble and self._trouble != before:
            log.warning("new credentials for Temporal are not used, those of before are: %s", self._trouble)
        elif before and not self._trouble:
            log.info("the credentials for Temporal are in order")
        return self._trouble is None

    async def call(self, name: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 of any request
        """Make the request *name* by the connection that there is.

        Raises:
            RPCError: As the SDK has it, but without what is secret.
            RuntimeError: No connection could be made.
        """
        used = self._used
        try:
            return await getattr(self._current.workflow_service, name)(*arguments, **options)
        except RPCError as error:
            if error.status in DOUBTFUL:
                self._doubt.set()
            if (told := redacted(error.message, used)) == error.message:
                raise
            # A server may quote the key that it refuses, also in the details and so in the cause: both are left out.
            raise RPCError(told, error.status, b"") from None
        except RuntimeError as error:
            self._doubt.set()
            raise RuntimeError(redacted(str(error), used)) from None

    async def _renew(self) -> str | None:
        """Return what is wrong with the credentials that are there; None if they are used from now on."""
        try:
            fresh = credentials(await asyncio.to_thread(cast("Load", self._load)))
        except UsageError as error:
            self._refused = None
            return redacted(str(error), self._used)
        refused, self._refused = self._refused, None
        try:
            if fresh != self._used:
                await self._change(fresh)
        except (RuntimeError, TimeoutError) as error:
            # The SDK's word for a connection that could not be made. A server may put the same refusal in other words
            # each time; the first ones stand.
            self._refused = fresh
            told = str(error) or "Temporal does not answer to them"
            return self._trouble if fresh == refused else redacted(redacted(told, fresh), self._used)
        return None

    async def _change(self, fresh: Credentials) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            # Not lazy: a server is to answer before anything depends on it.
            self._current = await Client.connect(
                self._config["target_host"], namespace=self._config["namespace"], **fresh
            )
        self._used, self._since = fresh, self._clock()
        log.info("new credentials for Temporal are used from now on")


def redacted(text: str, used: Credentials) -> str:
    """Return *text* without the secrets among *used*."""
    for secret in sorted(_secrets(used), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _secrets(used: Credentials) -> Iterator[str]:
    values = [value for name, value in used.get("rpc_metadata", {}).items() if name.lower() not in OPEN_METADATA]
    for value in (used.get("api_key", ""), *values):
        # A scheme such as Bearer is no secret, but what follows it is one by itself, too.
        yield from (secret for secret in {value, value.strip(), *value.split()} if len(secret) > SECRET_LENGTH)


class _Live(Client):
    """A client that asks its connection for the services of the moment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # A stand-in for a WorkflowService: whoever holds it goes on through a change of the connection.
        self._live_service = cast("WorkflowService", _Service(connection))
        super().__init__(connection.current.service_client, namespace=connection.current.namespace)

    @property
    def service_client(self) -> ServiceClient:
        """Raw client of the connection that there is now."""
        return self._connection.current.service_client

    @property
    def workflow_service(self) -> WorkflowService:
        """Makes each request by the connection that there is then."""
        return self._live_service


class _Service:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not hasattr(WorkflowService, name):
            raise AttributeError(f"Temporal has no request {name}")

        async def call(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 of any request
            return await self._connection.call(name, *arguments, **options)

        return call
