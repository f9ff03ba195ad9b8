"""The processes of the reference application in the demo: services, API and workers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from temporal_slo.reference.web.paystack import SECRET_KEY
from temporal_slo.servers.process import LOOPBACK, free_port
from temporal_slo.servers.process_group import ProcessGroup

Print = Callable[[str], None]

SERVICES_PORT: Final = 8010
API_PORT: Final = 8000
WORKER_PORTS: Final = {"booking": 9465, "payment": 9466, "fleet": 9467}
START_DEADLINE: Final = 60.0
DEMO_KEY: Final = "sk_test_demo"
"""Secret key of Paystack's webhooks unless the user sets one; published, so that users can sign webhooks with curl."""


@dataclass(frozen=True, slots=True)
class Application:
    """The running processes.

    Attributes:
        services: Base URL of the services.
        api: Base URL of the API.
        workers: Scrape targets of the workers, by job name.
    """

    services: str
    api: str
    workers: Mapping[str, str]


async def start_application(
    processes: ProcessGroup, temporal: tuple[str, ...], spec: tuple[str, ...], paystack_key: str, output: Print
) -> Application:
    """Start the application, and return once services and API respond.

    Args:
        processes: Owns the processes.
        temporal: Options for the connection to Temporal.
        spec: Options for the SLO specs of the workers.
        paystack_key: Secret key of Paystack's webhooks.
        output: Prints a line for each part.

    Raises:
        PartError: A part is not healthy.
    """
    # Both sides of the webhook need it.
    key = {SECRET_KEY: paystack_key}
    services, api = (f"{LOOPBACK}:{free_port(port)}" for port in (SERVICES_PORT, API_PORT))
    webhook = ("--webhook-url", f"http://{api}/api/v1/webhooks/paystack")
    books = ("--books", str(processes.folder / "services.db"))
    processes.start_command("services", "services", "--listen", services, *books, *webhook, secrets=key)
    await _healthy(processes, "services", services)
    output(f"  services    http://{services}/api/v1/books")
    processes.start_command("api", "api", *temporal, "--listen", api, "--services", f"http://{services}", secrets=key)
    await _healthy(processes, "api", api)
    output(f"  API         http://{api}/openapi.json")
    workers = {name: f"{LOOPBACK}:{free_port(port)}" for name, port in WORKER_PORTS.items()}
    for name, listen in workers.items():
        options = ("--services", f"http://{services}", "--metrics-listen", listen)
        processes.start_command(f"{name}-worker", "worker", name, *temporal, *options, *spec)
        output(f"  worker      http://{listen}/metrics ({name})")
    return Application(
        f"http://{services}", f"http://{api}", {f"{name}-worker": listen for name, listen in workers.items()}
    )


async def _healthy(processes: ProcessGroup, part: str, listen: str) -> None:
    async def healthy() -> bool:
        async with httpx.AsyncClient() as http:
            try:
                return (await http.get(f"http://{listen}/healthz")).is_success
            except httpx.TransportError:
                return False

    await processes.wait_until(healthy, deadline=START_DEADLINE, part=part, what="healthy")
