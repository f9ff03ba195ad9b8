from pathlib import Path

from tests.conftest import Databases

from .bench_ledger import measure


async def test_ledger_smoke(tmp_path: Path, databases: Databases) -> None:
    """Both databases count every row, and the table has a line for each measurement."""
    result = await measure(tmp_path, databases.schema(), rows=6500, polls=2)
    assert [side.count for side in result.sides] == [result.total] * 2
    assert result.rows > 0
    assert len(str(result).splitlines()) == 4
