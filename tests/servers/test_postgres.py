import os
import stat
from pathlib import Path

import pytest

from temporal_slo.servers import postgres
from temporal_slo.servers.postgres import Postgres


async def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not installed is downloaded from Debian once, does not run as root, and leaves no file."""
    monkeypatch.setattr(postgres, "_installed", list)
    tmp_path.chmod(stat.S_IRWXU)
    steps: list[str] = []
    programs = postgres.programs(tmp_path, steps.append)
    assert programs.is_relative_to(tmp_path)
    assert postgres.programs(tmp_path, steps.append) == programs
    assert len(steps) == 2
    server = Postgres(programs)
    try:
        await server.ready()
        owner = Path(f"/proc/{server.child.pid}").stat().st_uid
        assert owner != 0 if os.geteuid() == 0 else owner == os.geteuid()
    finally:
        server.close()
    assert server.child.exit_code == 0
    assert not server.child.log.parent.exists()
