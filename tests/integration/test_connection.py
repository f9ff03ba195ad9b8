"""Certificates and keys that change while the exporter runs, on a real server behind TLS."""

import asyncio
import logging
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import HistoryEventFilterType
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.service import RPCError

from temporal_slo import names, settings
from temporal_slo.exporter.namespace import NamespaceMonitor, SharedParts, monitor
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.servers.process import until
from temporal_slo.settings import ExporterSettings
from temporal_slo.temporal.certificate import expiry
from temporal_slo.temporal.connection import Connection
from tests.conftest import Temporal

from .front import HOST, Front, Pki

FIRST, SECOND = "first-key-of-the-test", "second-key-of-the-test"
LOGGER = "temporal_slo.temporal.connection"


class Mounted:
    """Certificates as Kubernetes mounts a secret: behind links, all turned at once.

    Args:
        folder: Gets them.
        pki: What they are at first.
    """

    def __init__(self, folder: Path, pki: Pki) -> None:
        self.data = folder / "..data"
        self.ca, self.certificate, self.key = (self._link(folder, path) for path in (pki.ca, pki.certificate, pki.key))
        self.turn(pki.ca.parent)

    def turn(self, folder: Path) -> None:
        """Turn all links to the files of the same names in another folder."""
        fresh = self.data.with_name("..fresh")
        fresh.symlink_to(folder)
        fresh.rename(self.data)

    def _link(self, folder: Path, path: Path) -> Path:
        link = folder / path.name
        link.symlink_to(Path(self.data.name) / path.name)
        return link


@pytest.fixture
async def front(temporal: Temporal) -> AsyncIterator[Front]:
    """Where TLS is taken off in front of the session's server, once it is opened."""
    front = Front(temporal.server.port)
    yield front
    await front.close()


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """The first certificates."""
    return Pki(tmp_path / "first")


@pytest.fixture
def mounted(tmp_path: Path, pki: Pki) -> Mounted:
    """Files that the exporter is told of."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    return Mounted(folder, pki)


@asynccontextmanager
async def watching(folder: Path, environ: dict[str, str]) -> AsyncIterator[tuple[Connection, NamespaceMonitor]]:
    """An exporter's parts on a connection that may change, by the environment alone."""
    load = partial(settings.connection, None, None, None, environ)
    config = load()
    url = f"sqlite:///{folder / 'ledger.db'}"
    made = ExporterSettings(
        config, url, ("127.0.0.1", 0), timedelta(seconds=1), visibility_rate=1000, reload_connection=load
    )
    ledger = Ledger(url)
    try:
        common = await SharedParts.of(made, ledger)
        yield common.connection, await monitor(common, made.namespaces[0], ())
    finally:
        ledger.close()


def mutual(front: Front, mounted: Mounted) -> dict[str, str]:
    """The environment of an exporter that shows a certificate."""
    return {
        "TEMPORAL_ADDRESS": front.address,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(mounted.ca),
        "TEMPORAL_TLS_SERVER_NAME": HOST,
        "TEMPORAL_TLS_CLIENT_CERT_PATH": str(mounted.certificate),
        "TEMPORAL_TLS_CLIENT_KEY_PATH": str(mounted.key),
    }


def told(connection: Connection) -> dict[str, float]:
    """What the connection tells of itself, by the name of the metric."""
    return {sample.family.name: float(str(sample.value)) for sample in connection.samples()}


async def test_rotated_authority(front: Front, pki: Pki, mounted: Mounted, tmp_path: Path) -> None:
    """When the server and the mounted files go over to another authority, polling goes on without a restart."""
    await front.open(pki.server_context())
    async with watching(tmp_path, mutual(front, mounted)) as (connection, parts):
        following = asyncio.create_task(connection.reload_periodically())
        assert await parts.poller.poll()
        before = told(connection)
        other = Pki(tmp_path / "other")
        await front.open(other.server_context())
        assert not await parts.poller.poll()
        mounted.turn(other.ca.parent)
        await until(parts.poller.poll, deadline=60, what="a poll with the new certificates")
        following.cancel()
        after = told(connection)
        assert after[names.EXPORTER_CREDENTIALS_SUCCESSFUL.name] == 1
        assert after[names.EXPORTER_CREDENTIALS_TIMESTAMP.name] > before[names.EXPORTER_CREDENTIALS_TIMESTAMP.name]
        assert after[names.EXPORTER_CERTIFICATE_EXPIRY.name] == expiry(other.certificate.read_bytes())


@pytest.mark.parametrize("wrong", ["no PEM", "of another authority", "key of another", "empty", "missing"])
async def test_bad_certificate(  # noqa: PLR0917 fixtures
    front: Front, pki: Pki, mounted: Mounted, tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A new certificate that is bad, or that the server does not take, leaves the old one in use, and says so once."""
    await front.open(pki.server_context())
    bad, other = Pki(tmp_path / "bad", pki.authority), Pki(tmp_path / "other")
    if wrong == "no PEM":
        bad.certificate.write_text("no certificate")
    elif wrong == "of another authority":
        bad.certificate.write_bytes(other.certificate.read_bytes())
        bad.key.write_bytes(other.key.read_bytes())
    elif wrong == "key of another":
        bad.key.write_bytes(other.key.read_bytes())
    elif wrong == "empty":
        bad.certificate.write_text("")
    else:
        bad.certificate.unlink()
    async with watching(tmp_path, mutual(front, mounted)) as (connection, parts):
        before = connection.current
        mounted.turn(bad.ca.parent)
        with caplog.at_level(logging.INFO, LOGGER):
            assert not await connection.reload()
            assert not await connection.reload()
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert told(connection)[names.EXPORTER_CREDENTIALS_SUCCESSFUL.name] == 0
        assert connection.current is before
        assert await parts.poller.poll()
        mounted.turn(Pki(tmp_path / "good", pki.authority).ca.parent)
        assert await connection.reload()
        assert connection.current is not before
        assert told(connection)[names.EXPORTER_CREDENTIALS_SUCCESSFUL.name] == 1
        assert await parts.poller.poll()


async def test_refused_in_other_words(
    front: Front, pki: Pki, mounted: Mounted, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Credentials that are refused each time for another reason are told of once."""
    await front.open(pki.server_context())
    async with watching(tmp_path, mutual(front, mounted)) as (connection, _):
        mounted.turn(Pki(tmp_path / "other").ca.parent)
        with caplog.at_level(logging.INFO, LOGGER):
            assert not await connection.reload()
            await front.close()
            assert not await connection.reload()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_ahead_of_the_server(front: Front, pki: Pki, mounted: Mounted, tmp_path: Path) -> None:
    """New files that come before the server goes over to them cost no poll, and are taken once it has."""
    await front.open(pki.server_context())
    async with watching(tmp_path, mutual(front, mounted)) as (connection, parts):
        other = Pki(tmp_path / "other")
        mounted.turn(other.ca.parent)
        assert not await connection.reload()
        assert await parts.poller.poll()
        await front.open(other.server_context())
        assert await connection.reload()
        assert await parts.poller.poll()


async def test_nothing_new(front: Front, pki: Pki, mounted: Mounted, tmp_path: Path) -> None:
    """Files that were written again with the same in them change nothing."""
    await front.open(pki.server_context())
    async with watching(tmp_path, mutual(front, mounted)) as (connection, _):
        before, since = connection.current, told(connection)
        mounted.turn(pki.ca.parent)
        pki.ca.write_bytes(pki.ca.read_bytes())
        os.utime(pki.certificate)
        assert await connection.reload()
        assert (connection.current, told(connection)) == (before, since)


async def test_under_way(front: Front, pki: Pki, mounted: Mounted, tmp_path: Path, temporal: Temporal) -> None:
    """A request that is under way while the connection changes is answered."""
    await front.open(pki.server_context())
    async with watching(tmp_path, mutual(front, mounted)) as (connection, _):
        workflow_id = f"connection-{uuid.uuid4().hex}"
        handle = await temporal.client.start_workflow("Nobody", id=workflow_id, task_queue="connection-nobody")
        request = GetWorkflowExecutionHistoryRequest(
            namespace=temporal.client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=handle.first_execution_run_id or ""),
            wait_new_event=True,
            history_event_filter_type=HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
        )
        seen = len(front.authorizations)
        service = connection.client.workflow_service
        asked = asyncio.create_task(service.get_workflow_execution_history(request, timeout=timedelta(seconds=60)))

        async def arrived() -> bool:
            # The connection is made with a request of its own.
            return len(front.authorizations) >= seen + 2

        await until(arrived, deadline=30, what="the request at the server")
        before = connection.current
        mounted.turn(Pki(tmp_path / "good", pki.authority).ca.parent)
        assert await connection.reload()
        assert connection.current is not before
        assert not asked.done()
        await handle.terminate()
        answer = await asked
        assert answer.history.events[-1].HasField("workflow_execution_terminated_event_attributes")


async def test_rotated_key(front: Front, pki: Pki, tmp_path: Path) -> None:
    """A new API key in the profile's file is used as soon as the old one is refused."""
    front.key = FIRST
    await front.open(pki.server_context(mutual=False))
    file = tmp_path / "temporal.toml"
    profile = f'[profile.default]\naddress = "{front.address}"\napi_key = "{{}}"\n'
    profile += f'[profile.default.tls]\nserver_name = "{HOST}"\nserver_ca_cert_path = "{pki.ca}"\n'
    file.write_text(profile.format(FIRST))
    async with watching(tmp_path, {"TEMPORAL_CONFIG_FILE": str(file)}) as (connection, parts):
        following = asyncio.create_task(connection.reload_periodically())
        assert await parts.poller.poll()
        front.key = SECOND
        await parts.poller.poll()
        file.write_text(profile.format(SECOND))
        await until(parts.poller.poll, deadline=60, what="a poll with the new key")
        following.cancel()
        assert front.authorizations[-1] == f"Bearer {SECOND}"
        # Where it listens is not what may change: the ledger is of one server.
        file.write_text(profile.format(SECOND).replace(front.address, "127.0.0.1:1"))
        assert await connection.reload()
        assert await parts.poller.poll()


async def test_key_is_not_told(front: Front, pki: Pki, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A server that quotes the keys it refuses brings none of them into troubles, errors, logs or reprs."""
    front.key = FIRST
    await front.open(pki.server_context(mutual=False))
    environ = {
        "TEMPORAL_ADDRESS": front.address,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(pki.ca),
        "TEMPORAL_TLS_SERVER_NAME": HOST,
        "TEMPORAL_API_KEY": FIRST,
    }
    with caplog.at_level(logging.DEBUG):
        async with watching(tmp_path, environ) as (connection, parts):
            assert await parts.poller.poll()
            front.key = "another"
            with pytest.raises(RPCError) as refused:
                await until_refused(connection)
            environ["TEMPORAL_API_KEY"] = SECOND
            assert not await connection.reload()
            assert not await parts.poller.poll()
            texts = [
                str(refused.value),
                str(parts.debug_info()),
                repr(parts),
                repr(connection),
                repr(vars(refused.value)),
            ]
    # What takes headers apart here, in the place of a server, notes each of them.
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("hpack")]
    assert "[hidden]" in str(refused.value)
    assert not [text for text in (*texts, *logged) if FIRST in text or SECOND in text]


async def until_refused(connection: Connection) -> None:
    """Ask until the server refuses by a status, and not by cutting the connection."""

    async def answered() -> bool:
        try:
            await connection.client.count_workflows("ExecutionStatus = 'Running'")
        except RPCError as error:
            if "token" in error.message:
                raise
        except RuntimeError:
            pass
        return False

    await until(answered, deadline=30, what="a refusal")
