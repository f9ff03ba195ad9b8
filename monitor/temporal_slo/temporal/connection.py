"""Connection to Temporal that reloads changed certificates and keys, behind one client."""

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

RELOAD_INTERVAL: Final = 10.0
"""Seconds between two reloads of the credentials."""

RELOAD_INTERVAL_MIN: Final = 1.0
"""Minimum seconds between two reloads, however many requests fail."""

CONNECT_TIMEOUT: Final = 10.0
"""Timeout of a connection with new credentials, in seconds."""

CREDENTIAL_ERRORS: Final = frozenset(
    {RPCStatusCode.UNAVAILABLE, RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED}
)
"""Codes of errors whose cause may be credentials that are no longer valid."""

PUBLIC_METADATA: Final = frozenset({"temporal-namespace"})
HIDDEN: Final = "[hidden]"
SHORT_WORD: Final = 6
"""Words up to this length, `Bearer` among them, are not secrets, and would match inside other words."""

log = logging.getLogger(__name__)

Load = Callable[[], ClientConnectConfig]


class Credentials(TypedDict, total=False):
    """The part of the configuration that may change while the exporter runs, as arguments of `Client.connect`."""

    api_key: str
    tls: bool | TLSConfig
    rpc_metadata: Mapping[str, str]


def credentials(config: ClientConnectConfig) -> Credentials:
    """Return the part of *config* that may change: address and Temporal namespace may not."""
    return cast("Credentials", {name: value for name, value in config.items() if name in Credentials.__annotations__})


class Connection:
    """A connection to Temporal that reloads its credentials when they change.

    New credentials are used once a server has accepted them. Until then the previous ones stay in use, whatever is
    wrong with the new ones. Requests in flight are never cut off.

    Args:
        first: The initial connection, lazy or not.
        config: Its configuration.
        load: Reads the configuration again, from files; raises UsageError. None to never reload it.
        clock: Unix time in seconds.

    Attributes:
        client: Sends each request over the connection of that moment. The client and its `workflow_service` never
            change; its `service_client` does.
    """

    def __init__(
        self, first: Client, config: ClientConnectConfig, load: Load | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._current = first
        self._config = config
        self._credentials = credentials(config)
        self._load = load
        self._clock = clock
        self._loaded_at = clock()
        self._error: str | None = None
        self._rejected: Credentials | None = None
        self._reload_requested = asyncio.Event()
        self.client: Client = _ReloadingClient(self)

    @classmethod
    async def lazy(cls, config: ClientConnectConfig, load: Load | None = None) -> Self:
        """Return a connection that is made by its first request."""
        return cls(await Client.connect(**config, lazy=True), config, load)

    @property
    def current(self) -> Client:
        """The client of the current connection."""
        return self._current

    def samples(self) -> Iterator[Sample]:
        """Yield the success and time of the last credential reload, and the expiry of the client certificate."""
        if self._load:
            yield Sample(names.EXPORTER_CREDENTIALS_SUCCESSFUL, {}, int(self._error is None))
            yield Sample(names.EXPORTER_CREDENTIALS_TIMESTAMP, {}, self._loaded_at)
        tls = self._credentials.get("tls")
        not_after = expiry(tls.client_cert) if isinstance(tls, TLSConfig) and tls.client_cert else None
        if not_after is not None:
            yield Sample(names.EXPORTER_CERTIFICATE_EXPIRY, {}, not_after)

    async def reload_periodically(self) -> None:
        """Reload the credentials every ten seconds, and soon after a request failed, until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_INTERVAL_MIN)
            try:
                async with asyncio.timeout(RELOAD_INTERVAL - RELOAD_INTERVAL_MIN):
                    await self._reload_requested.wait()
            except TimeoutError:
                pass
            self._reload_requested.clear()
            await self.reload()

    async def reload(self) -> bool:
        """Read the credentials again, use them if they are new and accepted, and return whether there was no error."""
        before = self._error
        self._error = await self._try_reload() if self._load else None
        if self._error and self._error != before:
            log.warning("reload of the Temporal credentials failed, keeping the previous ones: %s", self._error)
        elif before and not self._error:
            log.info("reload of the Temporal credentials succeeded")
        return self._error is None

    async def call(self, name: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 of any request
        """Send the request *name* over the current connection.

        Raises:
            RPCError: As the SDK raises it, without secrets.
            RuntimeError: The connection failed.
        """
        used = self._credentials
        try:
            return await getattr(self._current.workflow_service, name)(*arguments, **options)
        except RPCError as error:
            if error.status in CREDENTIAL_ERRORS:
                self._reload_requested.set()
            if (message := redacted(error.message, used)) == error.message:
                raise
            # A server may quote the key that it rejects, also in the details and so in the cause: both are left out.
            raise RPCError(message, error.status, b"") from None
        except RuntimeError as error:
            self._reload_requested.set()
            raise RuntimeError(redacted(str(error), used)) from None

    async def _try_reload(self) -> str | None:
        """Use the credentials as they are now; return an error, or None if they are in use."""
        try:
            fresh = credentials(await asyncio.to_thread(cast("Load", self._load)))
        except UsageError as error:
            self._rejected = None
            return redacted(str(error), self._credentials)
        rejected, self._rejected = self._rejected, None
        try:
            if fresh != self._credentials:
                await self._reconnect(fresh)
        except (RuntimeError, TimeoutError) as error:
            # The SDK raises RuntimeError when it cannot connect. A server may word the same rejection differently each
            # time: the first message stays, so that it is logged once.
            self._rejected = fresh
            message = str(error) or "Temporal does not respond to them"
            return self._error if fresh == rejected else redacted(redacted(message, fresh), self._credentials)
        return None

    async def _reconnect(self, fresh: Credentials) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            # Not lazy: a server must respond before requests use it.
            self._current = await Client.connect(
                self._config["target_host"], namespace=self._config["namespace"], **fresh
            )
        self._credentials, self._loaded_at = fresh, self._clock()
        log.info("new Temporal credentials are in use")


def redacted(text: str, used: Credentials) -> str:
    """Return *text* without the secrets in the credentials *used*."""
    for secret in sorted(_secrets(used), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _secrets(used: Credentials) -> Iterator[str]:
    values = [value for name, value in used.get("rpc_metadata", {}).items() if name.lower() not in PUBLIC_METADATA]
    for value in (used.get("api_key", ""), *values):
        # A scheme such as Bearer is not a secret, but the word after it is one by itself, too.
        yield from (secret for secret in {value, value.strip(), *value.split()} if len(secret) > SHORT_WORD)


class _ReloadingClient(Client):
    """A client that sends each request over the current connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Stands in for a WorkflowService, so that whoever holds it keeps working after a reconnect.
        self._reloading_service = cast("WorkflowService", _ReloadingService(connection))
        super().__init__(connection.current.service_client, namespace=connection.current.namespace)

    @property
    def service_client(self) -> ServiceClient:
        """Raw client of the current connection."""
        return self._connection.current.service_client

    @property
    def workflow_service(self) -> WorkflowService:
        """Sends each request over the connection of that moment."""
        return self._reloading_service


class _ReloadingService:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not hasattr(WorkflowService, name):
            raise AttributeError(f"Temporal has no request {name}")

        async def call(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 of any request
            return await self._connection.call(name, *arguments, **options)

        return call
