"""What `temporal-slo generate` refuses: nothing of it is on disk then."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from temporal_slo.cli.main import main
from temporal_slo.errors import UsageError
from temporal_slo.generate.command import links
from temporal_slo.generate.files import MARK

from .test_burn import SPEC

RECEIVERS = "version: temporal-slo/receivers/v1\npage:\n- webhook: {url: https://a.example}\nticket:\n- webhook: {url: https://a.example}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a spec in `slos`, and `receivers.yaml`."""
    (tmp_path / "slos").mkdir()
    (tmp_path / "slos" / "shop.yaml").write_text(SPEC)
    (tmp_path / "receivers.yaml").write_text(RECEIVERS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*argv: str) -> tuple[int, str, str]:
    """Run the command; return exit code, standard output and standard error."""
    stdout, stderr = io.StringIO(), io.StringIO()
    code = main(["generate", *argv], {}, stdout, stderr)
    return code, stdout.getvalue(), stderr.getvalue()


def there(folder: Path) -> dict[str, str | None]:
    """Return everything below *folder*, with the text of files."""
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else None for path in folder.rglob("*")}


def refused(folder: Path, *argv: str) -> str:
    """Run the command, which must change nothing, and return its one line."""
    before = there(folder)
    code, out, err = run(*argv)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert there(folder) == before
    return err


@pytest.mark.parametrize(
    "name",
    [
        "out/README.md",
        "out/alertmanager.yaml",
        "out/shop.rules.yaml",
        "dashboards/README.md",
        "dashboards/temporal-slo-overview.json",
    ],
)
def test_foreign(folder: Path, name: str) -> None:
    """A file that somebody else wrote is not overwritten; one that is empty may be."""
    path = folder / name
    path.parent.mkdir()
    path.write_text("mine: {}\n")
    command = ("slos", "--out", "out", "--receivers", "receivers.yaml")
    assert f"{name}: was not made by temporal-slo generate, and would be overwritten; move it" in refused(
        folder, *command
    )
    path.write_text("\n")
    assert run(*command)[0] == 0
    path.write_text(path.read_text() + "\n# changed\n")
    assert f"{path.name}: written anew" in run(*command)[1]


def test_foreign_several(folder: Path) -> None:
    """All that stand in the way are counted."""
    (folder / "out").mkdir()
    for name in ("README.md", "shop.rules.yaml"):
        (folder / "out" / name).write_text("mine")
    assert "out/README.md: was not made by temporal-slo generate, and 1 more, and would" in refused(
        folder, "slos", "--out", "out"
    )


@pytest.mark.parametrize("option", ["--out", "--dashboards"])
@pytest.mark.parametrize("spec", ["slos", "slos/shop.yaml"])
def test_folder_of_specs(folder: Path, option: str, spec: str) -> None:
    """Nothing is made where specs are read."""
    (folder / "link").symlink_to("slos")
    for own in ("slos", "./slos/../slos", "link"):
        assert f"{option}: is a folder of specs" in refused(folder, spec, option, own)


def test_all_or_nothing(folder: Path) -> None:
    """A folder of dashboards that cannot be made leaves the alerts as they were, and no new folder."""
    (folder / "afile").write_text("")
    err = refused(folder, "slos", "--out", "new/out", "--dashboards", "afile/boards")
    assert "afile/boards: cannot be " in err
    assert "afile: cannot be read: Not a directory" in refused(
        folder, "slos", "--out", "new/out", "--dashboards", "afile"
    )


def test_check_of_the_unreadable(folder: Path) -> None:
    """What cannot be compared is told in one line, not as missing."""
    (folder / "afile").write_text("")
    assert "afile: cannot be read: Not a directory; " in refused(folder, "slos", "--check", "--out", "afile")
    assert "cannot be read: File name too long; " in refused(folder, "slos", "--check", "--out", "x" * 300)
    (folder / "alerts" / "foo.rules.yaml").mkdir(parents=True)
    assert "alerts/foo.rules.yaml: cannot be read: Is a directory; " in refused(folder, "slos", "--check")


SECRET = "hunter2"  # noqa: S105 no password of anything


@pytest.mark.parametrize("option", ["--runbooks", "--grafana", "--web", "--status"])
@pytest.mark.parametrize(
    ("url", "what"),
    [
        (f"https://u:{SECRET}@web", "holds a user or a password"),
        (f"//u:{SECRET}@web", "holds a user or a password"),
        ("https://web/{{ bad", "holds a blank, quote, brace"),
        ("https://web/a b", "holds a blank, quote, brace"),
        ('https://web/"', "holds a blank, quote, brace"),
        ("https://web/\x07", "holds a blank, quote, brace"),
        ("javascript:alert(1)", "is not a URL with http:// or https://"),
        ("https://", "is not a URL with http:// or https://"),
        ("https://[web", "is not a URL"),
        ("https://web:port", "is not a URL"),
    ],
)
def test_link(folder: Path, option: str, url: str, what: str) -> None:
    """A link that leads nowhere, or holds a password, is refused, and not shown."""
    err = refused(folder, "slos", option, url)
    assert f"{option}: {what}" in err
    assert SECRET not in err


def test_links() -> None:
    """URLs are taken as they are, of runbooks paths, too."""
    found = links("docs/runbooks.md", "https://g.example/grafana/", "http://[::1]:8233", "https://s.example/?a=b")
    assert (found.runbooks, found.grafana, found.web) == (
        "docs/runbooks.md",
        "https://g.example/grafana",
        "http://[::1]:8233",
    )
    with pytest.raises(UsageError, match="--web: is not a URL with"):
        links(None, None, "web/of/temporal")


def test_plain_locale(folder: Path) -> None:
    """Files are UTF-8 whatever the locale."""
    spec = folder / "slos" / "shop.yaml"
    spec.write_text(SPEC.replace("- name: rides", "- name: rides\n  description: Für alle → 乗客."), encoding="utf-8")
    environ = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    call = [sys.executable, "-c", "from temporal_slo.cli.main import entry; entry()", "generate", "slos"]
    for options in ([], ["--check"]):
        done = subprocess.run([*call, *options], capture_output=True, env=environ, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    made = (folder / "alerts" / "shop.rules.yaml").read_bytes().decode()
    assert made.startswith(MARK)
    assert "Für alle → 乗客." in made


def test_warnings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `validate` warns of is not kept from who generates."""
    spec = folder / "slos" / "shop.yaml"
    spec.write_text(SPEC.replace("slos:", "causes: {exporter_stale: 10s}\nslos:"))
    code, out, _ = run("slos")
    told = capsys.readouterr().err
    assert (code, "warning: causes.exporter_stale: of 10s" in told, "warning" in out) == (0, True, False)
