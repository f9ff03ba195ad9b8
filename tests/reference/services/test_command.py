"""The command `temporal-slo services`: mistakes in its options."""

import io
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from temporal_slo.cli.main import main
from temporal_slo.servers.process import LOOPBACK


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port that is taken."""
    with closing(socket.create_server((LOOPBACK, 0))) as server:
        yield server.getsockname()[1]


def run(*options: str) -> str:
    """Run the command with a mistake, and return the error line."""
    stderr = io.StringIO()
    assert main(["services", *options], {}, io.StringIO(), stderr) == 2
    (line,) = stderr.getvalue().splitlines()
    return line


def test_address() -> None:
    """The address must be host and port."""
    assert run("--listen", "8010") == (
        "temporal-slo: --listen: '8010' is not an address; write host:port, for example 127.0.0.1:7233"
    )


def test_webhook_url() -> None:
    """The webhook must be a URL."""
    assert run("--webhook-url", "localhost:1") == (
        "temporal-slo: --webhook-url: 'localhost:1' is not a URL; write http://host:port/path"
    )


def test_secret() -> None:
    """Events need a key to sign them."""
    assert run("--webhook-url", "http://localhost:1") == (
        "temporal-slo: PAYSTACK_SECRET_KEY: is not set; set the key that signs the events, or leave out --webhook-url"
    )


def test_port_taken(busy_port: int, tmp_path: Path) -> None:
    """A port that is taken is a mistake."""
    line = run("--listen", f"{LOOPBACK}:{busy_port}", "--books", str(tmp_path / "books.db"))
    assert line == (
        f"temporal-slo: --listen {LOOPBACK}:{busy_port}: cannot listen there: Address already in use; "
        "give a free port or another address"
    )


@pytest.mark.parametrize("name", ["missing/books.db", "books.txt"])
def test_books(tmp_path: Path, name: str) -> None:
    """The books must be in an existing directory, and a database."""
    (tmp_path / "books.txt").write_text("no database, but longer than a header of one" * 99)
    line = run("--listen", f"{LOOPBACK}:0", "--books", str(tmp_path / name))
    assert line.startswith(f"temporal-slo: --books {tmp_path / name}: cannot be opened: ")
    assert line.endswith("; name a file in a directory that can be written")
