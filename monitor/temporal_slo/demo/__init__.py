"""Everything together on one machine: Temporal, worker, load, exporter, Prometheus; started, watched, stopped."""

import asyncio
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path

import httpx
from temporalio.service import RPCError

from temporal_slo.demo.parts import DemoSettings, Say, start
from temporal_slo.demo.watch import prove, watch
from temporal_slo.errors import PartError
from temporal_slo.servers import tools
from temporal_slo.servers.alertmanager import Webhook
from temporal_slo.servers.stage import Stage

__all__ = ["DemoSettings", "run"]


async def run(settings: DemoSettings, say: Say) -> None:
    """Run the demo until its time is over or a signal comes (INT, TERM, HUP); then stop all that it started.

    Args:
        settings: What to run.
        say: Prints a line.

    Raises:
        PartError: A part is not healthy; names it.
        UsageError: A program is missing.
    """
    main = asyncio.ensure_future(_run(settings, say))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, main.cancel)
    await asyncio.wait([main])
    if not main.cancelled():
        main.result()


async def _run(settings: DemoSettings, say: Say) -> None:
    programs = await asyncio.to_thread(tools.ensure, settings.tools, say)
    with ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="temporal-slo-demo-"))
        webhook = opened.enter_context(Webhook()) if settings.chaos else None
        stage = opened.enter_context(Stage(Path(folder)))
        try:
            parts = await start(settings, stage, programs, webhook, say)
            await watch(parts, stage, settings.duration, say)
            await prove(parts, stage, say)
        except RPCError as error:
            stage.check()
            raise PartError("Temporal", f"did not answer: {error.status.name}: {error}") from error
        except httpx.HTTPError as error:
            stage.check()
            raise PartError("Prometheus", f"did not answer: {error}") from error
        except TimeoutError as error:
            raise PartError("demo", str(error)) from error
        finally:
            say("stopping …")
