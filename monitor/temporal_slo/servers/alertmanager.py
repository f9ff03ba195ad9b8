"""An Alertmanager as a child process, and a webhook that takes what it tells."""

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
"""Where Debian's Alertmanager looks for its templates, and will not start without them."""


class Alertmanager:
    """An Alertmanager on loopback, alone: it looks for no others.

    Args:
        program: The `alertmanager` program.
        folder: Gets its log and data, and what it needs of its templates.
        config: Its configuration.
        port: Wanted port; another is taken if it is in use.
    """

    def __init__(self, program: Path, folder: Path, config: Path, port: int = 0) -> None:
        self.target = f"{LOOPBACK}:{free_port(port)}"
        self.url = f"http://{self.target}"
        home = folder.absolute() / "alertmanager"
        home.mkdir(exist_ok=True)
        command = [
            *("env", f"--chdir={home}"),
            str(_at_home(program.absolute(), home)),
            f"--config.file={config.absolute()}",
            f"--storage.path={home}",
            f"--web.listen-address={self.target}",
            "--cluster.listen-address=",
        ]
        self.child = Child("Alertmanager", command, folder / "alertmanager.log")

    async def ready(self) -> None:
        """Wait until it answers.

        Raises:
            PartError: It ended instead.
            TimeoutError: It did not answer in time.
        """
        async with httpx.AsyncClient(base_url=self.url) as http:

            async def answers() -> bool:
                self.child.check()
                try:
                    return (await http.get("/-/ready")).is_success
                except httpx.TransportError:
                    return False

            await until(answers, deadline=START_DEADLINE, what=f"Alertmanager on {self.url}")


def _at_home(program: Path, home: Path) -> Path:
    """Return *program*, or a copy that finds its templates in its working directory *home*.

    Debian's has a fixed system folder for them, no option and no variable for another. Where it was fetched without
    being installed, the folder's name in the copy is written over by one of the same length that means `.`.
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
        path: Which path of the webhook got it.
        resolved: Whether it tells that the alert is over.
        labels: Of the alert.
        annotations: Of the alert.
        starts_at: Since when it fires, Unix time in seconds.
        received: When it came, Unix time in seconds.
    """

    path: str
    resolved: bool
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: float
    received: float


class Webhook:
    """An HTTP service on loopback that keeps the alerts of all notifications; it listens while its context lasts.

    Attributes:
        notices: What came, oldest first.
    """

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self._server = ThreadingHTTPServer((LOOPBACK, 0), _handler(self.notices))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
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
            """Stay silent."""

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
