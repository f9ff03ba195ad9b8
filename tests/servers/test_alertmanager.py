from pathlib import Path

import httpx
import yaml

from temporal_slo.servers.alertmanager import Alertmanager, Webhook
from temporal_slo.servers.process import until


async def test_notifies(programs: dict[str, Path], tmp_path: Path) -> None:
    """It starts without being installed, listens on loopback only, and notifies the webhook of a firing alert."""
    with Webhook() as webhook:
        config = {
            "route": {"receiver": "all", "group_wait": "0s"},
            "receivers": [{"name": "all", "webhook_configs": [{"url": f"{webhook.url}/here"}]}],
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        server = Alertmanager(programs["alertmanager"], tmp_path, tmp_path / "config.yaml")
        try:
            await server.ready()
            alert = {"labels": {"alertname": "Odd"}, "annotations": {"summary": "odd"}}
            httpx.post(f"{server.url}/api/v2/alerts", json=[alert], timeout=30).raise_for_status()

            async def received() -> bool:
                return bool(webhook.notices)

            await until(received, deadline=30, what="the alert")
            assert httpx.get(f"{server.url}/api/v2/status", timeout=30).json()["cluster"]["status"] == "disabled"
        finally:
            server.child.stop()
        (notice,) = webhook.notices
        assert (notice.path, notice.resolved, notice.labels) == ("/here", False, {"alertname": "Odd"})
        assert notice.annotations == {"summary": "odd"}
        assert 0 <= notice.received - notice.starts_at < 60
