"""Who is told of what, as the real Alertmanager's tool reads it."""

import re
import subprocess
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml

from temporal_slo.check.diagnosis import fulfils
from temporal_slo.errors import UsageError
from temporal_slo.generate import artefacts
from temporal_slo.generate.alertmanager import render
from temporal_slo.generate.files import SUFFIX
from temporal_slo.generate.receivers import load
from temporal_slo.promql import Matcher
from temporal_slo.spec import load as specs

from .promtool import LINKS
from .test_burn import SPEC

RECEIVERS = """\
version: temporal-slo/receivers/v1
page:
- pagerduty: {routing_key_file: /run/secrets/pagerduty}
- webhook: {url: "https://hooks.example.com/alerts", credentials_file: /run/secrets/hook}
ticket:
- slack: {api_url_file: /run/secrets/slack, channel: "#slo"}
- email: {to: shop@example.com, from: slo@example.com, smarthost: "mail.example.com:587"}
- opsgenie: {api_key_file: /run/secrets/opsgenie}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration made of those receivers."""
    (tmp_path / "receivers.yaml").write_text(RECEIVERS)
    path = tmp_path / "alertmanager.yaml"
    (tmp_path / "spec.yaml").write_text(SPEC)
    path.write_text(render(load(tmp_path / "receivers.yaml"), specs.load([tmp_path / "spec.yaml"]).slos))
    return path


def amtool(programs: dict[str, Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Alertmanager's tool."""
    return subprocess.run([programs["amtool"], *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_valid(config: Path, programs: dict[str, Path]) -> None:
    """Alertmanager takes it, with all inhibitions and receivers."""
    done = amtool(programs, "check-config", str(config))
    assert (done.returncode, " - 4 inhibit rules" in done.stdout, " - 2 receivers" in done.stdout) == (0, True, True)


@pytest.mark.parametrize(("severity", "receiver"), [("page", "page"), ("ticket", "ticket"), ("other", "ticket")])
def test_routes(severity: str, receiver: str, config: Path, programs: dict[str, Path]) -> None:
    """Pages go to those who are woken, all else to those who find tickets."""
    labels = ("alertname=TemporalSloBudgetBurns", f"severity={severity}")
    done = amtool(programs, "config", "routes", "test", f"--config.file={config}", *labels)
    assert done.stdout.strip() == receiver


WINDOWS = """\
windows:
- {name: page-slow, severity: page, long: 30m, short: 3m, budget: 1}
- {name: page-quick, severity: page, long: 2d, short: 4h, budget: 30}
- {name: ticket-slow, severity: ticket, long: 1h, short: 5m, budget: 4}
slos:
"""


def silenced(rule: dict[str, Any], source: dict[str, str], target: dict[str, str]) -> bool:
    """Whether *source* silences *target* by an inhibition."""
    sides = ((rule["source_matchers"], source), (rule["target_matchers"], target))
    found = [(re.fullmatch(r'(\w+)(=~|!~|=)"(.*)"', matcher), labels) for side, labels in sides for matcher in side]
    assert all(match for match, _ in found)
    fits = all(fulfils(Matcher(*match.groups()), labels.get(match[1], "")) for match, labels in found if match)
    return fits and all(source.get(label) == target.get(label) for label in rule["equal"])


def burning(folder: Path) -> list[dict[str, str]]:
    """The labels of all alerts on budgets that specs have, one with windows of its own among them."""
    (folder / "a.yaml").write_text(SPEC)
    own = SPEC.replace("shop", "fleet").replace("name: rides", "name: trips").replace("slos:\n", WINDOWS)
    (folder / "b.yaml").write_text(own.replace("temporal_namespace: fleet-prod", "temporal_namespace: shop-prod"))
    made = artefacts.render(specs.load([folder / "a.yaml", folder / "b.yaml"]), LINKS)
    texts = [text for name, text in made.items() if name.endswith(SUFFIX)]
    groups = [group for text in texts for group in yaml.safe_load(text)["groups"]]
    rules = [rule for group in groups for rule in group["rules"]]
    return [
        {"alertname": rule["alert"], **rule["labels"]}
        for rule in rules
        if "slo" in rule.get("labels", {}) and "alert" in rule
    ]


def test_none_silences_one_another(config: Path, tmp_path: Path) -> None:
    """Whatever tiers are called, a faster one silences the slower of its severity, and no ticket a page."""
    alerts = burning(tmp_path)
    both = specs.load([tmp_path / "a.yaml", tmp_path / "b.yaml"]).slos
    rules = yaml.safe_load(render(load(config.parent / "receivers.yaml"), both))["inhibit_rules"]
    pairs = {
        (one["slo"], one.get("tier"), other.get("tier"))
        for one, other in permutations(alerts, 2)
        if any(silenced(rule, one, other) for rule in rules)
    }
    pages = [(a, b) for a in ("page-quick", "page-slow") for b in ("ticket-quick", "ticket-slow", None)]
    assert pairs == {
        *(("rides", *pair) for pair in pages),
        *(("trips", page, "ticket-slow") for page in ("page-slow", "page-quick")),
        *(("trips", page, None) for page in ("page-slow", "page-quick")),
        ("rides", "page-quick", "page-slow"),
        ("rides", "ticket-quick", "ticket-slow"),
        ("trips", "page-slow", "page-quick"),
    }


MISTAKES = {
    "secret in the URL": ("https://hooks.example.com/alerts", "https://hooks.example.com/?token=x", "bears a secret"),
    "user in the URL": ("https://hooks.example.com/alerts", "https://a:b@hooks.example.com", "bears a secret"),
    "no URL": ("https://hooks.example.com/alerts", "hooks", "is no URL"),
    "secret itself": ("/run/secrets/pagerduty", "R0123456789", "is no absolute path"),
    "unknown key": ("channel:", "chanel:", "yaml:6: ticket.0..slack.chanel: is not known"),
    "two ways in one": ("- webhook:", "  webhook:", "names 2 ways"),
    "nobody": ("ticket:\n", "ticket: []\nx:\n", "ticket"),
    "other version": ("receivers/v1", "receivers/v9", "version"),
    "a date for a version": ("temporal-slo/receivers/v1", "2001-99-99", "version"),
    "secret in a fragment": (
        "https://hooks.example.com/alerts",
        "https://hooks.example.com/#token=x",
        "bears a secret",
    ),
    "secret in the path": (
        "https://hooks.example.com/alerts",
        "https://hooks.slack.com/services/token=x",
        "in its path",
    ),
    "secret behind a dot": ("example.com/alerts", "slack.com./services/token=x", "in its path"),
    "host": ("https://hooks.example.com/alerts", "https://hooks^example.com/", "is no URL"),
    "port": ("https://hooks.example.com/alerts", "https://hooks.example.com:token=x/", "is no URL"),
    "blank": ("https://hooks.example.com/alerts", "https://hooks example.com/", "is no URL"),
    "escape": ("https://hooks.example.com/alerts", "https://hooks.example.com/%zz", "is no URL"),
    "no port": ("mail.example.com:587", "mail.example.com", "yaml:7: .*smarthost: has no port"),
    "no address": ("to: shop@example.com", "to: ''", "is empty"),
    "no channel": ('"#slo"', '""', "is empty"),
    "a list twice": ("ticket:\n", "page:\n- opsgenie: {api_key_file: /a}\nticket:\n", "yaml:5: page: is written twice"),
    "null": ('- slack: {api_url_file: /run/secrets/slack, channel: "#slo"}', "- slack: null", "has no value"),
    "no mapping": (RECEIVERS, "afile\n", "is not a mapping"),
    "empty": (RECEIVERS, "", "is empty; write receivers"),
    "deep": (RECEIVERS, "[" * 5000, "nested deeper"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake: str, tmp_path: Path) -> None:
    """It is refused in a line that says where, and that quotes nothing of what was written."""
    before, after, message = MISTAKES[mistake]
    path = tmp_path / "receivers.yaml"
    path.write_text(RECEIVERS.replace(before, after))
    with pytest.raises(UsageError, match=message) as raised:
        load(path)
    assert all(line.startswith(f"{path}:") for line in str(raised.value).splitlines())
    assert ("token=x" in str(raised.value), "R0123" in str(raised.value)) == (False, False)


@pytest.mark.parametrize(
    ("labels", "silent"),
    [
        ({"alertname": "TemporalSloBudgetBurns", "sli": "success"}, True),
        ({"alertname": "TemporalSloBudgetBurns", "sli": "activity_success"}, False),
        ({"alertname": "TemporalSloBudgetBurns", "sli": "schedule_to_start"}, False),
        ({"alertname": "TemporalSloNoPollers"}, True),
        ({"alertname": "TemporalSloExporterDown"}, False),
    ],
)
def test_blind(labels: dict[str, str], config: Path, *, silent: bool) -> None:
    """Beside an exporter that is down what it tells of is silent, and what workers tell is not."""
    last = yaml.safe_load(config.read_text())["inhibit_rules"][-1]
    assert silenced(last, {"alertname": "TemporalSloExporterDown"}, labels) == silent


def test_the_mistake_alone(tmp_path: Path) -> None:
    """A list whose only item is wrong is not called empty, too."""
    path = tmp_path / "receivers.yaml"
    path.write_text(
        RECEIVERS.replace("- pagerduty: {routing_key_file: /run/secrets/pagerduty}\n", "").replace("url:", "uri:")
    )
    with pytest.raises(UsageError) as raised:
        load(path)
    assert sorted(line.partition("webhook.")[2] for line in str(raised.value).splitlines()) == [
        "uri: is not known here; correct or remove it",
        "url: is missing; add it",
    ]


@pytest.mark.parametrize("host", ["[::1]:8080", "127.0.0.1", "ü.example", "a-b_c.example:9000"])
def test_hosts(host: str, tmp_path: Path) -> None:
    """Addresses and names of any script are hosts."""
    path = tmp_path / "receivers.yaml"
    path.write_text(RECEIVERS.replace("hooks.example.com", host))
    assert load(path).page[1].webhook


def test_binary(tmp_path: Path) -> None:
    """A file that is no text is refused in one line."""
    (tmp_path / "receivers.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        load(tmp_path / "receivers.yaml")
