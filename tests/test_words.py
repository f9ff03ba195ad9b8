"""What users read is written in the terms of Prometheus and Temporal: words that were replaced do not come back."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from temporal_slo import names
from temporal_slo.cli import main

ROOT = Path(__file__).parents[1]


class Replaced(NamedTuple):
    """A pattern of old words, a text that has one, and what is written now."""

    pattern: str
    example: str
    now: str

    @property
    def expression(self) -> re.Pattern[str]:
        """Finds the words as whole words, but not in code, paths and compounds."""
        return re.compile(rf"(?<![\w`/.-])(?:{self.pattern})(?![\w`/-])", re.IGNORECASE)


REPLACED = (
    Replaced(r"promis(e|es|ed|ing)", "nobody would see a promise break", "SLO, objective"),
    Replaced(r"reckon(s|ed|ing)?", "Budgets are reckoned with too few events.", "compute"),
    Replaced(r"tells?|telling|told", "no exporter tells of the namespace", "report, expose, return, log"),
    Replaced(
        r"(is|are|was|were) (away|gone|no more)", "specs that are no more", "is unreachable, is down, was deleted"
    ),
    Replaced(r"exporter (that )?ends|ends before", "the exporter ends before it has", "exits, crashes, restarts"),
    Replaced(r"rests|lets? (\w+ )?rest|pac(es|ed|ing)", "it lets all rest after a refusal", "backs off, rate-limits"),
    Replaced(r"beside", "this source beside the mirror", "next to; additional data source"),
    Replaced(r"what is not known|nobody knows", "what is not known is absent", "unknown values are not exported"),
    Replaced(r"st(and|ands|ood) still", "its figures stand still", "is stale, does not change"),
    Replaced(r"mend(s|ed|ing)?", "Mend the connection.", "fix, restore"),
    Replaced(r"undo what", "Undo what changed.", "roll back"),
    Replaced(r"times too fast", "burns 14.4 times too fast or faster", "burn rate"),
    Replaced(r"half within|9+ of 10+ within", "99 of 100 within", "p50, p90, p99"),
    Replaced(r"a hundredth of", "a hundredth of requests take 2s or longer", "p99 latency"),
    Replaced(r"budget spent|overspent", "the error budget is overspent", "error budget consumed, exhausted"),
    Replaced(r"no alert is blind|blinds", "prove that no alert is blind", "every alert selector matches a series"),
    Replaced(r"divided by (commas|colons|')", "several are divided by commas", "comma-separated"),
    Replaced(r"(a|its|their|ledger's) past|the past(?! \d)", "write the ledger's past as a file", "history, backfill"),
    Replaced(r"lets? go|letting go", "until it is let go", "released after the initial zero was scraped"),
    Replaced(r"held at (0|zero)", "a series that is held at 0", "initialised at 0"),
    Replaced(r"dear(er|est)?", "the dearest request", "expensive, most expensive"),
    Replaced(r"gets? on|got on", "Their runs do not get on.", "make progress"),
    Replaced(r"go(es)? by|gone by|went by", "the exporter goes by an older spec", "use, apply"),
    Replaced(r"of late", "as SDKs of late do", "recently"),
    Replaced(r"judg(e|es|ed|ing|ement)|verdicts?", "Minutes that were judged", "classify, evaluate, diagnose"),
    Replaced(r"troubles?", "trouble with the ledger", "error, failure"),
    Replaced(r"figures?", "the last good figures", "values, metrics"),
    Replaced(r"edges?", "Close times below the edge.", "watermark; bucket bound"),
    Replaced(r"budgets? of (this kind|requests|history)", "the budget of this kind of requests", "rate limit, limiter"),
    Replaced(r"wait(ing)? for the budget", "Waiting for the budget", "rate-limiter wait"),
    Replaced(r"ask(s|ed|ing)?", "Workers that have asked for tasks", "request, query, poll"),
    Replaced(r"whom", "whom to query; default: both", "receivers; only one of them"),
    Replaced(r"noted|begun", "counting has begun", "stored; started"),
    Replaced(r"by the hand of", "closed by the hand of an operator", "by"),
    Replaced(r"as (\w+ ){1,3}ha(s|ve) (it|them)", "6 files are as the specs have them", "up to date"),
    Replaced(r"anew", "Read anew", "again, updated"),
    Replaced(r"(is|are|all|itself) well", "Is the monitor itself well?", "healthy, ok"),
    Replaced(r"last ago|(polls|scrapes|replays) take", "Polls take", "time since, duration"),
    Replaced(r"odd runs", "Odd runs", "anomalies"),
    Replaced(r"bring about", "Bring about what they wait for", "unblock"),
)

LEGITIMATE = (
    "REST API; the rest of the page; a recommended, amended commendation",
    "Time that requests spent waiting for the rate limiter.",
    "Troubleshooting: see the knowledge base, or ledger entries of the past 5 minutes.",
    "A task in the backlog; a mask; a basket; acknowledged edgewise; configured, prefigured",
    "The error budget of 30 days; dearth; a well-known name; no more than two failures",
    "stored in `edges`, in names/edge.py, or read by --ask",
    "Replays are counted at 0 events; a burn rate of 14.4x; a counter starts at 0",
)


def findings(where: str, text: str) -> Iterator[str]:
    """Yield a line for each old word of a text: where it is, the word in its context, and what to write."""
    text = " ".join(text.split())
    for replaced in REPLACED:
        for found in replaced.expression.finditer(text):
            context = text[max(found.start() - 30, 0) : found.end() + 30]
            yield f"{where}: {found[0]!r} in …{context}…; write: {replaced.now}"


def check(texts: dict[str, str], at_least: int) -> None:
    """Fail with every old word of the texts, or if there are fewer texts than there should be."""
    assert len(texts) >= at_least, f"only {len(texts)} texts were found: this test is blind"
    found = [line for where, text in texts.items() for line in findings(where, text)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("replaced", REPLACED, ids=lambda replaced: replaced.pattern)
def test_old_words_are_found(replaced: Replaced) -> None:
    """A text with an old word fails, whichever it is, and names the word and what to write."""
    with pytest.raises(AssertionError, match=re.escape(f"write: {replaced.now}")):
        check({"planted": replaced.example}, 1)


@pytest.mark.parametrize("text", LEGITIMATE)
def test_other_words_are_not(text: str) -> None:
    """A word that only contains an old one, is code, or has another meaning is accepted."""
    check({"legitimate": text}, 1)


def test_help_texts() -> None:
    """HELP texts have no old word, and each is a sentence that starts with a capital or a number."""
    families = (*names.EXPORTER_FAMILIES, *names.INTERCEPTOR_FAMILIES)
    check({family.name: family.help for family in families}, 60)
    assert all(re.fullmatch(r"[A-Z0-9].*\.", family.help) for family in families)


def annotations(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the texts of all alerts of a directory, each with its place."""
    for path in sorted(folder.glob("*.rules.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for number, rule in enumerate(group["rules"]):
                for key in {"summary", "description"} & rule.get("annotations", {}).keys():
                    place = f"{folder.name}/{path.name} {group['name']} {rule['alert']} {number} {key}"
                    yield place, rule["annotations"][key]


def test_annotations(tmp_path: Path) -> None:
    """Alert annotations have no old word, those of the demo's spec and those of a spec with every SLI."""
    made = tmp_path / "made"
    arguments = ["generate", str(ROOT / "tests" / "specs" / "good" / "everything.yaml"), "--out", str(made)]
    assert main.main(arguments, {}, io.StringIO(), io.StringIO()) == 0
    for folder, at_least in ((ROOT / "alerts", 50), (made, 50)):
        check(dict(annotations(folder)), at_least)


SHOWN = {"title", "description", "legendFormat", "displayName", "label", "content", "text"}
"""Keys of a dashboard whose texts Grafana shows."""


def shown(node: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 JSON
    """Yield every text of a dashboard that Grafana shows, with its place."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in SHOWN and isinstance(value, str):
                yield f"{path}.{key}", value
            else:
                yield from shown(value, f"{path}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from shown(value, f"{path}[{number}]")


def test_dashboards() -> None:
    """Titles, descriptions, legends and texts of dashboards have no old word."""
    files = sorted((ROOT / "dashboards").glob("*.json"))
    check(dict(text for path in files for text in shown(json.loads(path.read_text()), path.name)), 300)


def test_pages() -> None:
    """Pages for users and contributors have no old word outside code blocks."""
    pages = [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "METRICS.md")),
        *sorted((ROOT / "docs").glob("*.md")),
        ROOT / "monitor" / "temporal_slo" / "reference" / "README.md",
        ROOT / "alerts" / "README.md",
        ROOT / "dashboards" / "README.md",
    ]
    texts = {str(page.relative_to(ROOT)): re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL) for page in pages}
    assert all(len(text) > 500 for text in texts.values())
    check(texts, 9)


def test_command_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The `--help` of every command has no old word."""
    texts = {}
    for command in ("", *(command.name for command in main.COMMANDS)):
        assert main.main([*([command] if command else []), "--help"], {}, io.StringIO(), io.StringIO()) == 0
        texts[f"temporal-slo {command}".strip()] = capsys.readouterr().out
    assert all("usage: temporal-slo" in text for text in texts.values())
    check(texts, 10)
