"""Connection to Temporal, as the processes of the reference application open it."""

from temporalio.client import Client, Plugin
from temporalio.envconfig import ClientConnectConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from temporal_slo.errors import UsageError


async def connect(connection: ClientConnectConfig, runtime: Runtime | None = None, *plugins: Plugin) -> Client:
    """Return a client of an existing namespace.

    Args:
        connection: Connection to Temporal.
        runtime: Runtime that exports the metrics; None for the default runtime.
        plugins: Plugins of the client.

    Raises:
        UsageError: Temporal is unreachable, or the namespace does not exist.
    """
    try:
        client = await Client.connect(**connection, plugins=plugins, runtime=runtime)
        await client.count_workflows()
    except (RuntimeError, RPCError) as error:
        raise UsageError(
            f"Temporal at {connection['target_host']}",
            str(error),
            "check address and namespace, or start the server first",
        ) from error
    return client
