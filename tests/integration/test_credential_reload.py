"""Credentials that change while the exporter runs, on a real server behind TLS."""

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

from .tls_proxy import HOST, Pki, TlsProxy

FIRST, SECOND = "first-key-of-the-test", "second-key-of-the-test"
LOGGER = "temporal_slo.temporal.connection"


class Mounted:
    """Certificates mounted like a Kubernetes secret: behind symbolic links that are replaced atomically.

    Args:
        folder: Folder of the links.
        pki: The first certificates.
    """

    def __init__(self, folder: Path, pki: Pki) -> None:
        self.data = folder / "..data"
        self.ca, self.certificate, self.key = (self._link(folder, path) for path in (pki.ca, pki.certificate, pki.key))
        self.replace(pki.ca.parent)

    def replace(self, folder: Path) -> None:
        """Replace the certificates with the files of the same names in another folder."""
        fresh = self.data.with_name("..fresh")
        fresh.symlink_to(folder)
        fresh.rename(self.data)

    def _link(self, folder: Path, path: Path) -> Path:
        link = folder / path.name
        link.symlink_to(Path(self.data.name) / path.name)
        return link


@pytest.fixture
async def proxy(temporal: Temporal) -> AsyncIterator[TlsProxy]:
    """A TLS proxy for the session's server; it listens once it is opened."""
    proxy = TlsProxy(temporal.server.port)
    yield proxy
    await proxy.close()


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """The first certificates."""
    return Pki(tmp_path / "first")


@pytest.fixture
def mounted(tmp_path: Path, pki: Pki) -> Mounted:
    """The mounted certificate files."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    return Mounted(folder, pki)


@asynccontextmanager
async def monitoring(folder: Path, environ: dict[str, str]) -> AsyncIterator[tuple[Connection, NamespaceMonitor]]:
    """A connection with credential reload, configured only by the environment, and a monitor that uses it."""
    load = partial(settings.connection, None, None, None, environ)
    config = load()
    url = f"sqlite:///{folder / 'ledger.db'}"
    exporter_settings = ExporterSettings(
        config, url, ("127.0.0.1", 0), timedelta(seconds=1), visibility_rate=1000, reload_connection=load
    )
    ledger = Ledger(url)
    try:
        common = await SharedParts.of(exporter_settings, ledger)
        yield common.connection, await monitor(common, exporter_settings.namespaces[0], ())
    finally:
        ledger.close()


def mutual(proxy: TlsProxy, mounted: Mounted) -> dict[str, str]:
    """The environment of an exporter with a client certificate."""
    return {
        "TEMPORAL_ADDRESS": proxy.address,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(mounted.ca),
        "TEMPORAL_TLS_SERVER_NAME": HOST,
        "TEMPORAL_TLS_CLIENT_CERT_PATH": str(mounted.certificate),
        "TEMPORAL_TLS_CLIENT_KEY_PATH": str(mounted.key),
    }


def metrics(connection: Connection) -> dict[str, float]:
    """Return the metrics of the connection by name."""
    return {sample.family.name: float(str(sample.value)) for sample in connection.samples()}


async def test_rotated_authority(proxy: TlsProxy, pki: Pki, mounted: Mounted, tmp_path: Path) -> None:
    """When the server and the mounted files change to another authority, polling continues without a restart."""
    await proxy.open(pki.server_context())
    async with monitoring(tmp_path, mutual(proxy, mounted)) as (connection, parts):
        reloading = asyncio.create_task(connection.reload_periodically())
        assert await parts.poller.poll()
        before = metrics(connection)
        other = Pki(tmp_path / "other")
        await proxy.open(other.server_context())
        assert not await parts.poller.poll()
        mounted.replace(other.ca.parent)
        await until(parts.poller.poll, deadline=60, what="a poll with the new certificates")
        reloading.cancel()
        after = metrics(connection)
        assert after[names.EXPORTER_CREDENTIALS_SUCCESSFUL.name] == 1
        assert after[names.EXPORTER_CREDENTIALS_TIMESTAMP.name] > before[names.EXPORTER_CREDENTIALS_TIMESTAMP.name]
        assert after[names.EXPORTER_CERTIFICATE_EXPIRY.name] == expiry(other.certificate.read_bytes())


@pytest.mark.parametrize("wrong", ["no PEM", "of another authority", "key of another", "empty", "missing"])
async def test_bad_certificate(  # noqa: PLR0917 fixtures
    proxy: TlsProxy, pki: Pki, mounted: Mounted, tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A new certificate that is invalid, or that the server rejects, is logged once; the old one stays in use."""
    await proxy.open(pki.server_context())
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
    async with monitoring(tmp_path, mutual(proxy, mounted)) as (connection, parts):
        before = connection.current
        mounted.replace(bad.ca.parent)
        with caplog.at_level(logging.INFO, LOGGER):
            assert not await connection.reload()
            assert not await connection.reload()
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert metrics(connection)[names.EXPORTER_CREDENTIALS_SUCCESSFUL.name] == 0
        assert connection.current is before
        assert await parts.poller.poll()
        mounted.replace(Pki(tmp_path / "good", pki.authority).ca.parent)
        assert await connection.reload()
        assert connection.current is not before
        assert metrics(connection)[names.EXPORTER_CREDENTIALS_SUCCESSFUL.name] == 1
        assert await parts.poller.poll()


async def test_another_reason_is_not_logged_again(
    proxy: TlsProxy, pki: Pki, mounted: Mounted, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Credentials that fail each time for another reason are logged once."""
    await proxy.open(pki.server_context())
    async with monitoring(tmp_path, mutual(proxy, mounted)) as (connection, _):
        mounted.replace(Pki(tmp_path / "other").ca.parent)
        with caplog.at_level(logging.INFO, LOGGER):
            assert not await connection.reload()
            await proxy.close()
            assert not await connection.reload()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_files_rotated_before_the_server(proxy: TlsProxy, pki: Pki, mounted: Mounted, tmp_path: Path) -> None:
    """Files that rotate before the server fail no poll, and are used once the server accepts them."""
    await proxy.open(pki.server_context())
    async with monitoring(tmp_path, mutual(proxy, mounted)) as (connection, parts):
        other = Pki(tmp_path / "other")
        mounted.replace(other.ca.parent)
        assert not await connection.reload()
        assert await parts.poller.poll()
        await proxy.open(other.server_context())
        assert await connection.reload()
        assert await parts.poller.poll()


async def test_unchanged_files(proxy: TlsProxy, pki: Pki, mounted: Mounted, tmp_path: Path) -> None:
    """Files that are rewritten with the same content change nothing."""
    await proxy.open(pki.server_context())
    async with monitoring(tmp_path, mutual(proxy, mounted)) as (connection, _):
        before, since = connection.current, metrics(connection)
        mounted.replace(pki.ca.parent)
        pki.ca.write_bytes(pki.ca.read_bytes())
        os.utime(pki.certificate)
        assert await connection.reload()
        assert (connection.current, metrics(connection)) == (before, since)


async def test_request_in_flight(
    proxy: TlsProxy, pki: Pki, mounted: Mounted, tmp_path: Path, temporal: Temporal
) -> None:
    """A request in flight while the connection is replaced gets its response."""
    await proxy.open(pki.server_context())
    async with monitoring(tmp_path, mutual(proxy, mounted)) as (connection, _):
        workflow_id = f"connection-{uuid.uuid4().hex}"
        handle = await temporal.client.start_workflow("Unserved", id=workflow_id, task_queue="connection-no-workers")
        request = GetWorkflowExecutionHistoryRequest(
            namespace=temporal.client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=handle.first_execution_run_id or ""),
            wait_new_event=True,
            history_event_filter_type=HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
        )
        seen = len(proxy.authorizations)
        service = connection.client.workflow_service
        request_task = asyncio.create_task(
            service.get_workflow_execution_history(request, timeout=timedelta(seconds=60))
        )

        async def received() -> bool:
            # Connecting itself makes one request.
            return len(proxy.authorizations) >= seen + 2

        await until(received, deadline=30, what="the request at the server")
        before = connection.current
        mounted.replace(Pki(tmp_path / "good", pki.authority).ca.parent)
        assert await connection.reload()
        assert connection.current is not before
        assert not request_task.done()
        await handle.terminate()
        response = await request_task
        assert response.history.events[-1].HasField("workflow_execution_terminated_event_attributes")


async def test_rotated_key(proxy: TlsProxy, pki: Pki, tmp_path: Path) -> None:
    """A new API key in the profile's file is used as soon as the old one is rejected."""
    proxy.key = FIRST
    await proxy.open(pki.server_context(mutual=False))
    file = tmp_path / "temporal.toml"
    profile = f'[profile.default]\naddress = "{proxy.address}"\napi_key = "{{}}"\n'
    profile += f'[profile.default.tls]\nserver_name = "{HOST}"\nserver_ca_cert_path = "{pki.ca}"\n'
    file.write_text(profile.format(FIRST))
    async with monitoring(tmp_path, {"TEMPORAL_CONFIG_FILE": str(file)}) as (connection, parts):
        reloading = asyncio.create_task(connection.reload_periodically())
        assert await parts.poller.poll()
        proxy.key = SECOND
        await parts.poller.poll()
        file.write_text(profile.format(SECOND))
        await until(parts.poller.poll, deadline=60, what="a poll with the new key")
        reloading.cancel()
        assert proxy.authorizations[-1] == f"Bearer {SECOND}"
        # The address cannot change: a ledger belongs to one server.
        file.write_text(profile.format(SECOND).replace(proxy.address, "127.0.0.1:1"))
        assert await connection.reload()
        assert await parts.poller.poll()


async def test_key_is_not_exposed(proxy: TlsProxy, pki: Pki, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A server that quotes rejected API keys puts none of them into errors, debug output, logs or reprs."""
    proxy.key = FIRST
    await proxy.open(pki.server_context(mutual=False))
    environ = {
        "TEMPORAL_ADDRESS": proxy.address,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(pki.ca),
        "TEMPORAL_TLS_SERVER_NAME": HOST,
        "TEMPORAL_API_KEY": FIRST,
    }
    with caplog.at_level(logging.DEBUG):
        async with monitoring(tmp_path, environ) as (connection, parts):
            assert await parts.poller.poll()
            proxy.key = "another"
            with pytest.raises(RPCError) as rejected:
                await until_rejected(connection)
            environ["TEMPORAL_API_KEY"] = SECOND
            assert not await connection.reload()
            assert not await parts.poller.poll()
            texts = [
                str(rejected.value),
                str(parts.debug_info()),
                repr(parts),
                repr(connection),
                repr(vars(rejected.value)),
            ]
    # The HTTP/2 library of the proxy, which stands for a server, logs all headers.
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("hpack")]
    assert "[hidden]" in str(rejected.value)
    assert not [text for text in (*texts, *logged) if FIRST in text or SECOND in text]


async def until_rejected(connection: Connection) -> None:
    """Repeat a request until the server rejects it with a status instead of closing the connection."""

    async def succeeded() -> bool:
        try:
            await connection.client.count_workflows("ExecutionStatus = 'Running'")
        except RPCError as error:
            if "token" in error.message:
                raise
        except RuntimeError:
            pass
        return False

    await until(succeeded, deadline=30, what="a rejection")
