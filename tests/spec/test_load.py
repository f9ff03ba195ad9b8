import random
import re
import time
from pathlib import Path

import pytest

from temporal_slo.errors import UsageError
from temporal_slo.spec import load as loading
from temporal_slo.spec.load import SpecError, load
from temporal_slo.spec.problems import MODELS

SPECS = Path(__file__).parents[1] / "specs"
GOOD = SPECS / "good" / "volteryde.yaml"
BAD = sorted(path for path in (SPECS / "bad").iterdir() if path.suffix != ".txt")


def problems(*paths: Path) -> tuple[str, ...]:
    """Problems in *paths*."""
    with pytest.raises(SpecError) as caught:
        load(paths)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that messages contain file names without a folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_mistake(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bad spec has exactly the expected problems."""
    monkeypatch.chdir(SPECS / "bad")
    assert list(problems(Path(path.name))) == path.with_suffix(".txt").read_text().splitlines()


def test_mistakes_are_complete() -> None:
    """Each bad spec has expected problems, no two the same, none without a remedy or with pydantic's wording."""
    expected = {path.stem: path.read_text() for path in (SPECS / "bad").glob("*.txt")}
    assert set(expected) == {path.stem for path in BAD}
    assert len(expected) >= 100
    assert len({text.replace(stem, "") for stem, text in expected.items()}) == len(expected)
    for line in "".join(expected.values()).splitlines():
        assert not {"Input", "Value error", "Field required", "pydantic"} & {line, *line.split(": ")}
        assert "; " in line, "no remedy"


def test_every_model_is_covered() -> None:
    """Each model of the spec has a bad spec of its own."""
    lines = "".join(path.read_text() for path in (SPECS / "bad").glob("*.txt"))
    assert [key for key in MODELS if key and not re.search(rf"\b{key}(\[\d+\])?\.\w", lines)] == []


def test_good() -> None:
    """A good file is one spec, also if it is given twice or through its folder."""
    assert len(load([GOOD])) == 1
    assert set(load([GOOD, GOOD.parent, GOOD])) == set(load([GOOD.parent]))
    assert len(load([GOOD, GOOD.parent, GOOD])) == len(list(GOOD.parent.iterdir()))
    assert load([]) == ()


def test_folder(here: Path) -> None:
    """The visible YAML files of a folder are read in alphabetical order."""
    text = GOOD.read_text()
    for number, name in enumerate(["b.yaml", "a.yml", "c.yaml"]):
        (here / name).write_text(text.replace("volteryde-dev", f"space-{number}"))
    for name in [".hidden.yaml", "notes.txt", "backup.yaml~"]:
        (here / name).write_text("not a spec")
    (here / "folder.yaml").mkdir()
    assert [spec.temporal_namespace for spec in load([Path()])] == ["space-1", "space-0", "space-2"]


def test_namespaces_are_apart(here: Path) -> None:
    """A name may be used again in another namespace, and so may a workflow type with another outcome."""
    text = GOOD.read_text().replace("volteryde-dev", "other").replace("from: status", "from: state")
    (here / "other.yaml").write_text(text)
    assert len(load([GOOD, Path("other.yaml")])) == 2


def test_one_line(here: Path) -> None:
    """A duplicate name on the same line is reported."""
    slo = "{name: ride, workflow: Ride, objective: 99, sli: {latency: {threshold: 3s}}}"
    (here / "x.yaml").write_text(f"{GOOD.read_text().partition('slos:')[0]}slos: [{slo}, {slo}]\n")
    (found,) = problems(Path("x.yaml"))
    assert found.startswith("x.yaml:6: slos[1].name: 'ride' is already the name of another SLO in this namespace, at x")


def test_no_namespace(here: Path) -> None:
    """Files without a namespace are not compared with one another."""
    text = GOOD.read_text().replace("temporal_namespace: volteryde-dev\n", "")
    for name in ("a.yaml", "b.yaml"):
        (here / name).write_text(text)
    missing = ":1: temporal_namespace: is missing; write for example temporal_namespace: volteryde-dev"
    assert problems(Path("a.yaml"), Path("b.yaml")) == (f"a.yaml{missing}", f"b.yaml{missing}")


def test_same_outcome_in_another_order(here: Path) -> None:
    """Two outcomes are equal whatever the order of their values."""
    text = GOOD.read_text().replace("good: [CONFIRMED]", "good: [PAID, CONFIRMED]")
    other = "{excluded: [CANCELLED], bad: [FAILED], good: [CONFIRMED, PAID], from: status}"
    (here / "same.yaml").write_text(text.replace("objective: 99\n", f"objective: 99\n    outcome: {other}\n"))
    assert [slo.outcome is not None for slo in load([Path("same.yaml")])[0].slos] == [True, True, False]


def test_unreadable(here: Path) -> None:
    """Unreadable files are reported without a line, together with the problems of the others."""
    (here / "folder").mkdir()
    (here / "dangling.yaml").symlink_to("nowhere")
    (here / "large.yaml").write_text("#" * (loading.SIZE_MAX + 1))
    (here / "list.yaml").write_text("\n- a\n")
    long = "x" * 300 + ".yaml"
    assert problems(
        *map(Path, ["none.yaml", "folder", "list.yaml", "dangling.yaml", "large.yaml", long, "/dev/null"])
    ) == (
        "none.yaml: does not exist; correct the path",
        "folder: contains no *.yaml or *.yml file; add one, or give another folder",
        "list.yaml:2: is a list, not a mapping; write for example version: temporal-slo/v1 on its first line",
        "dangling.yaml: does not exist; correct the path",
        "large.yaml: is larger than 1000000 bytes; split it into several files",
        f"{long}: cannot be read: File name too long; correct the path or its permissions",
        "/dev/null: is neither a file nor a folder; give a YAML file",
    )


def test_usage() -> None:
    """A SpecError is a usage error."""
    assert issubclass(SpecError, UsageError)
    assert problems(Path("none.yaml"))


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines(here: Path, ending: str) -> None:
    """Lines are counted as an editor counts them, after a byte order mark, long texts and Windows line ends too."""
    text = GOOD.read_text().replace("description: A", "description: |\n      A\n\n      A")
    text = text.replace("objective: 99.9", "objective: high")
    line = next(n for n, written in enumerate(text.splitlines(), 1) if "high" in written)
    (here / "x.yaml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", ending).encode())
    (found,) = problems(Path("x.yaml"))
    assert found.startswith(f"x.yaml:{line}: slos[2].objective: 'high' is not a decimal number;")


def test_text_as_written(here: Path) -> None:
    """Values that YAML 1.1 parses as numbers, dates or booleans stay text."""
    (here / "x.yaml").write_text(GOOD.read_text().replace("[CONFIRMED]", "[yes, 010, 1_0, 2024-01-01, 'null', 1.50]"))
    outcome = load([Path("x.yaml")])[0].slos[0].outcome
    assert outcome is not None
    assert outcome.good == ("yes", "010", "1_0", "2024-01-01", "null", "1.50")


def test_aliases_cost_nothing(here: Path) -> None:
    """Aliases that would grow to 10 to the 30th values are rejected as fast as other text."""
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 31))]
    (here / "x.yaml").write_text("\n".join(lines))
    began = time.monotonic()
    assert sum("alias" in problem for problem in problems(Path("x.yaml"))) == 300
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "text",
    [
        "[" * 9999,
        "{a: " * 9999,
        "- " * 9999,
        "? " * 9999,
        "&a [*a]",
        'a: "\\UFFFFFFFF"',
        "a: \x07",
        "!",
        "*a: b",
        "%YAML 3.0\n---\na",
        f"%YAML 1.{'9' * 5000}\n---\na",
    ],
)
def test_hostile(here: Path, text: str) -> None:
    """Text made to break a parser is rejected like any other."""
    (here / "x.yaml").write_text(text)
    assert all(problem.startswith("x.yaml:") for problem in problems(Path("x.yaml")))


def test_damage(here: Path) -> None:
    """A randomly damaged spec is loaded, or rejected with problems that have a line of the file."""
    chance = random.Random(20260901)  # noqa: S311 - a fixed seed: the same damage every time
    text, path = GOOD.read_text(), here / "x.yaml"
    rejected = []
    for _ in range(150):
        at = chance.randrange(len(text))
        junk = "".join(chance.choices("{}[]:,-#&*!|>'\"%@` \n\té\u2028a1", k=chance.randint(0, 3)))
        path.write_text(text[:at] + junk + text[at + chance.randint(0, 5) :])
        try:
            load([path])
        except SpecError as error:
            rejected.append(error.problems)
    assert 50 < len(rejected) < 150
    for problem in (problem for found in rejected for problem in found):
        assert problem.startswith(f"{path}:")
        assert problem.isprintable()


def test_many(here: Path) -> None:
    """500 SLOs are loaded within five seconds."""
    header, _, slo = GOOD.read_text().rpartition("  - name: wallet-not-stuck\n")
    slos = "".join(f"  - name: slo-{number}\n{slo}" for number in range(498))
    (here / "x.yaml").write_text(header + slos)
    began = time.monotonic()
    assert len(load([Path("x.yaml")])[0].slos) == 500
    assert time.monotonic() - began < 5
