from pathlib import Path

from tests.conftest import Databases

from .bench_ledger import measure


async def test_ledger_smoke(tmp_path: Path, databases: Databases) -> None:
    """Both stores count every row that they are measured with, and the table has a line for each figure."""
    result = await measure(tmp_path, databases.schema(), rows=6500, polls=2)
    assert [side.count for side in result.sides] == [result.total] * 2
    assert result.rows > 0
    assert len(str(result).splitlines()) == 4
