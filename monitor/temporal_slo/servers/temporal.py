"""The Temporal development server as a child process."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.servers import tools
from temporal_slo.servers.process import LOOPBACK, Child, free_port, until

START_DEADLINE = 60.0
PORT_IN_USE = "address already in use"
STARTED = "Temporal Server:"
RETENTION = timedelta(days=1)


class TemporalServer:
    """A Temporal server on loopback, with the Web UI at `ui` and Prometheus metrics at `metrics`.

    Args:
        folder: Directory for its log and its database.
        port: Preferred port; another one is used if it is taken. The Web UI prefers that port + 1000.
        durable: Stores its state in a file, so that it survives a restart.
        options: Additional options of `temporal server start-dev`.
    """

    def __init__(self, folder: Path, port: int = 0, *, durable: bool = False, options: Sequence[str] = ()) -> None:
        self._choose_ports(port)
        self._log = folder / "temporal.log"
        database = ("--db-filename", str(folder / "temporal.db")) if durable else ()
        self._options = (*database, *options)
        self.child = self._start()

    def _choose_ports(self, wanted: int) -> None:
        self.port = free_port(wanted)
        self.ui_port = free_port(self.port + 1000)
        self.address = f"{LOOPBACK}:{self.port}"
        self.metrics = f"{LOOPBACK}:{free_port()}"
        self.ui = f"http://{LOOPBACK}:{self.ui_port}"

    def _start(self) -> Child:
        ports = {"--port": self.port, "--ui-port": self.ui_port, "--metrics-port": self.metrics.rpartition(":")[2]}
        listen = ["--ip", LOOPBACK, *(str(word) for option in ports.items() for word in option)]
        command = [str(tools.temporal()), "server", "start-dev", "--log-level", "error", *listen, *self._options]
        return Child("Temporal server", command, self._log)

    def restart(self) -> None:
        """Restart it after it exited, on the same ports; state is kept only with `durable`."""
        self.child = self._start()

    async def ready(self) -> Client:
        """Wait until it is ready and return a client.

        Raises:
            PartError: It exited.
            TimeoutError: It was not ready in time.
        """

        async def connected() -> Client | None:
            if self.child.exit_code and PORT_IN_USE in self.child.tail():
                # Another process took that port, or one of the ports that the server picks itself.
                self._log.unlink()
                self._choose_ports(0)
                self.restart()
            self.child.check()
            # Until our server logs that it started, another server may be listening on that port.
            return await try_connect(self.address) if STARTED in self.child.tail() else None

        return await until(connected, deadline=START_DEADLINE, what=f"Temporal server on {self.address}")


async def try_connect(address: str) -> Client | None:
    """Return a client, or None if *address* is not reachable yet."""
    try:
        return await Client.connect(address)
    except (RPCError, RuntimeError):
        return None


async def ensure_namespace(client: Client, namespace: str) -> None:
    """Register *namespace* unless it exists, and wait until its visibility can be queried."""
    service = client.workflow_service

    async def usable() -> bool:
        try:
            await service.describe_namespace(DescribeNamespaceRequest(namespace=namespace))
            await client.count_workflows()
        except RPCError as error:
            # A connection that the server closes fails one request, see the gateway of the exporter.
            if error.status not in {RPCStatusCode.NOT_FOUND, RPCStatusCode.CANCELLED}:
                raise
            return False
        return True

    client = Client(client.service_client, namespace=namespace)
    if not await usable():
        request = RegisterNamespaceRequest(namespace=namespace)
        request.workflow_execution_retention_period.FromTimedelta(RETENTION)
        await service.register_namespace(request)
        # The frontend caches namespaces, and refreshes the cache every few seconds.
        await until(usable, deadline=START_DEADLINE, what=f"Temporal namespace {namespace}")
