"""The demo: Temporal, the reference application, load, the exporter, Prometheus and Alertmanager on this machine."""

import asyncio
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path

import httpx
from temporalio.service import RPCError

from temporal_slo.demo.parts import DemoSettings, Print, start
from temporal_slo.demo.report import compare_counts, report
from temporal_slo.errors import PartError
from temporal_slo.servers import tools
from temporal_slo.servers.alertmanager import Webhook
from temporal_slo.servers.process_group import ProcessGroup

__all__ = ["DemoSettings", "run"]


async def run(settings: DemoSettings, output: Print) -> None:
    """Run the demo until its duration is over or a signal arrives (INT, TERM, HUP), then stop everything it started.

    Args:
        settings: What to run.
        output: Prints a line.

    Raises:
        PartError: A part is not healthy.
        UsageError: A program is missing.
    """
    main = asyncio.ensure_future(_run(settings, output))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, main.cancel)
    await asyncio.wait([main])
    if not main.cancelled():
        main.result()


async def _run(settings: DemoSettings, output: Print) -> None:
    programs = await asyncio.to_thread(tools.ensure, settings.tools, output)
    with ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="temporal-slo-demo-"))
        webhook = opened.enter_context(Webhook()) if settings.chaos else None
        processes = opened.enter_context(ProcessGroup(Path(folder)))
        try:
            parts = await start(settings, processes, programs, webhook, output)
            await report(parts, processes, settings.duration, output)
            await compare_counts(parts, processes, output)
        except RPCError as error:
            processes.check()
            raise PartError("Temporal", f"no response: {error.status.name}: {error}") from error
        except httpx.HTTPError as error:
            processes.check()
            raise PartError("Prometheus", f"no response: {error}") from error
        except TimeoutError as error:
            raise PartError("demo", str(error)) from error
        finally:
            output("stopping …")
