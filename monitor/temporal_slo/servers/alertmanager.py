"""An Alertmanager as a child process, and a webhook that receives its notifications."""

import json
import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self

import httpx

from temporal_slo.servers.process import LOOPBACK, Child, free_port, until

START_DEADLINE = 60.0
SYSTEM_FOLDER = Path("/usr/share/prometheus/alertmanager")
"""Template directory of Debian's Alertmanager, which does not start without it."""


class Alertmanager:
    """A single Alertmanager on loopback, with clustering disabled.

    Args:
        program: Path of `alertmanager`.
        folder: Directory for its log, data and templates.
        config: Configuration file.
        port: Preferred port; another one is used if it is taken.
    """

    def __init__(self, program: Path, folder: Path, config: Path, port: int = 0) -> None:
        self.target = f"{LOOPBACK}:{free_port(port)}"
        self.url = f"http://{self.target}"
        home = folder.absolute() / "alertmanager"
        home.mkdir(exist_ok=True)
        command = [
            *("env", f"--chdir={home}"),
            str(_with_templates(program.absolute(), home)),
            f"--config.file={config.absolute()}",
            f"--storage.path={home}",
            f"--web.listen-address={self.target}",
            "--cluster.listen-address=",
        ]
        self.child = Child("Alertmanager", command, folder / "alertmanager.log")

    async def ready(self) -> None:
        """Wait until it is ready.

        Raises:
            PartError: It exited.
            TimeoutError: It was not ready in time.
        """
        async with httpx.AsyncClient(base_url=self.url) as http:

            async def is_ready() -> bool:
                self.child.check()
                try:
                    return (await http.get("/-/ready")).is_success
                except httpx.TransportError:
                    return False

            await until(is_ready, deadline=START_DEADLINE, what=f"Alertmanager on {self.url}")


def _with_templates(program: Path, home: Path) -> Path:
    """Return *program*, or a copy that finds its templates in its working directory *home*.

    Debian's build has a fixed template directory that no option or variable changes. If it was downloaded without being
    installed, the path in the copy is overwritten with one of the same length that means `.`.
    """
    templates = program.resolve().parents[1] / "share" / SYSTEM_FOLDER.relative_to("/usr/share")
    fixed = str(SYSTEM_FOLDER).encode()
    if SYSTEM_FOLDER.is_dir() or not templates.is_dir() or fixed not in (content := program.read_bytes()):
        return program
    for template in templates.glob("*.tmpl"):
        shutil.copy(template, home)
    copy = home / program.name
    copy.write_bytes(content.replace(fixed, b"." + b"/" * (len(fixed) - 1)))
    copy.chmod(0o755)
    return copy


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert of a notification.

    Attributes:
        path: Request path at the webhook.
        resolved: Whether the alert is resolved.
        labels: Labels of the alert.
        annotations: Annotations of the alert.
        starts_at: Start of the alert, Unix time in seconds.
        received: Time of receipt, Unix time in seconds.
    """

    path: str
    resolved: bool
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: float
    received: float


class Webhook:
    """An HTTP server on loopback that stores the alerts of all notifications; listens inside its context.

    Attributes:
        notices: Received alerts, oldest first.
    """

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self._server = ThreadingHTTPServer((LOOPBACK, 0), _handler(self.notices))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{LOOPBACK}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(notices: list[Notice]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            notices.extend(_notice(self.path, alert) for alert in body["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    return Handler


def _notice(path: str, alert: dict[str, Any]) -> Notice:
    return Notice(
        path=path,
        resolved=alert["status"] == "resolved",
        labels=alert["labels"],
        annotations=alert["annotations"],
        starts_at=datetime.fromisoformat(alert["startsAt"]).timestamp(),
        received=time.time(),
    )
