"""A Temporal server as users deploy it: `temporal-server` with its four services on PostgreSQL, as a child process."""

import os
import random
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from temporalio.api.workflowservice.v1 import ListNamespacesRequest
from temporalio.client import Client
from temporalio.service import RPCError

from temporal_slo.errors import PartError, UsageError
from temporal_slo.servers.postgres import USER, Postgres
from temporal_slo.servers.process import LOOPBACK, Child, free_port, until
from temporal_slo.servers.temporal import try_connect

SERVER_VARIABLE: Final = "TEMPORAL_SERVER_BIN"
SQL_TOOL_VARIABLE: Final = "TEMPORAL_SQL_TOOL"

START_DEADLINE: Final = 120.0
SCHEMAS: Final = {"temporal": "postgresql/v12/temporal", "temporal_visibility": "postgresql/v12/visibility"}
"""Schemas embedded in the SQL tool, by database."""

VISIBILITY: Final = "temporal_visibility"

SERVICES: Final = ("FRONTEND", "HISTORY", "MATCHING", "WORKER")
PORTS: Final = range(20_000, 32_768)
"""Ports of the services: Temporal stores those of the membership in a column of 16 bits with a sign."""


@dataclass(frozen=True)
class ClusterPrograms:
    """The programs of Temporal's releases for clusters.

    Attributes:
        server: `temporal-server`.
        sql_tool: `temporal-sql-tool`.
    """

    server: Path
    sql_tool: Path

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "ClusterPrograms":
        """Return the programs that the environment variables name.

        Raises:
            UsageError: A variable is not set, or its file does not exist.
        """
        return cls(_program(SERVER_VARIABLE, environment), _program(SQL_TOOL_VARIABLE, environment))


def _program(variable: str, environment: Mapping[str, str]) -> Path:
    path = environment.get(variable, "")
    if not path:
        raise UsageError(variable, "is not set", "give the path of the program, see CONTRIBUTING.md")
    if not Path(path).is_file():
        raise UsageError(variable, "names no file", "give the path of the program, see CONTRIBUTING.md")
    return Path(path)


class TemporalCluster:
    """A Temporal server with all services in one process, whose stores are databases of *store*.

    Args:
        folder: Directory for its log.
        programs: Its programs.
        store: A running PostgreSQL server.
        options: Dynamic configuration: a value by key.
    """

    def __init__(
        self, folder: Path, programs: ClusterPrograms, store: Postgres, options: Mapping[str, int] | None = None
    ) -> None:
        self._folder = folder
        self._programs = programs
        self._store = store
        self._ports = _free_ports(2 * len(SERVICES) + 1)
        self.address = f"{LOOPBACK}:{self._ports['FRONTEND_GRPC_PORT']}"
        # The server refuses to start without the file.
        settings = [f"{key}:\n- value: {value}\n" for key, value in (options or {}).items()]
        (folder / "dynamic.yaml").write_text("".join(settings))
        self._set_up_databases()
        self.child = self._start()

    def restart(self) -> None:
        """Restart it after it exited, on the same ports."""
        self.child = self._start()

    async def ready(self) -> Client:
        """Wait until it is ready and return a client.

        Raises:
            PartError: It exited.
            TimeoutError: It was not ready in time.
        """

        async def serves() -> Client | None:
            self.child.check()
            client = await try_connect(self.address)
            try:
                # The frontend accepts connections before it can read from its stores.
                if client:
                    await client.workflow_service.list_namespaces(ListNamespacesRequest())
            except RPCError:
                return None
            return client

        return await until(serves, deadline=START_DEADLINE, what=f"Temporal cluster on {self.address}")

    def _start(self) -> Child:
        environment = {
            **_inherited(),
            **{name: str(port) for name, port in self._ports.items()},
            "DB": "postgres12",
            "DB_PORT": str(self._store.port),
            "POSTGRES_SEEDS": LOOPBACK,
            "POSTGRES_USER": USER,
            "POSTGRES_PWD": self._store.password,
            "BIND_ON_IP": LOOPBACK,
            "NUM_HISTORY_SHARDS": "4",
            "LOG_LEVEL": "error",
            "DYNAMIC_CONFIG_FILE_PATH": str(self._folder / "dynamic.yaml"),
        }
        command = [str(self._programs.server), "start"]
        return Child("Temporal cluster", command, self._folder / "temporal-server.log", environment)

    def _set_up_databases(self) -> None:
        for database, schema in SCHEMAS.items():
            self._run_sql_tool(database, "create-database")
            self._run_sql_tool(database, "setup-schema", "-v", "0.0")
            self._run_sql_tool(database, "update-schema", "--schema-name", schema)

    def _run_sql_tool(self, database: str, *arguments: str) -> None:
        environment = {
            **_inherited(),
            "SQL_PLUGIN": "postgres12",
            "SQL_HOST": LOOPBACK,
            "SQL_PORT": str(self._store.port),
            "SQL_USER": USER,
            "SQL_PASSWORD": self._store.password,
            "SQL_DATABASE": database,
        }
        command = [str(self._programs.sql_tool), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise PartError("temporal-sql-tool", f"{arguments[0]} of {database} failed\n{done.stdout}{done.stderr}")


def _inherited() -> dict[str, str]:
    """Return the environment without what would configure the server otherwise."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "SQL_"))}


def _free_ports(count: int) -> dict[str, int]:
    """Return a free port for each variable of the server that names one."""
    found: set[int] = set()
    while len(found) < count:
        candidate = random.choice(PORTS)  # noqa: S311 no secret
        if free_port(candidate) == candidate:
            found.add(candidate)
    kinds = [f"{service}_{kind}_PORT" for kind in ("GRPC", "MEMBERSHIP") for service in SERVICES]
    return dict(zip([*kinds, "FRONTEND_HTTP_PORT"], found, strict=True))
