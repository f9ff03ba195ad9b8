"""Alertmanager's configuration, as the real amtool reads it: routes, receivers, inhibitions."""

import re
import subprocess
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml

from temporal_slo.check.no_data_causes import matches
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
    """The configuration generated for those receivers."""
    (tmp_path / "receivers.yaml").write_text(RECEIVERS)
    path = tmp_path / "alertmanager.yaml"
    (tmp_path / "spec.yaml").write_text(SPEC)
    path.write_text(render(load(tmp_path / "receivers.yaml"), specs.load([tmp_path / "spec.yaml"]).slos))
    return path


def amtool(programs: dict[str, Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run amtool."""
    return subprocess.run([programs["amtool"], *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_valid(config: Path, programs: dict[str, Path]) -> None:
    """Alertmanager accepts it, with all inhibition rules and receivers."""
    done = amtool(programs, "check-config", str(config))
    assert (done.returncode, " - 4 inhibit rules" in done.stdout, " - 2 receivers" in done.stdout) == (0, True, True)


@pytest.mark.parametrize(("severity", "receiver"), [("page", "page"), ("ticket", "ticket"), ("other", "ticket")])
def test_routes(severity: str, receiver: str, config: Path, programs: dict[str, Path]) -> None:
    """Pages go to the receiver `page`, all other alerts to `ticket`."""
    labels = ("alertname=TemporalSloErrorBudgetBurn", f"severity={severity}")
    done = amtool(programs, "config", "routes", "test", f"--config.file={config}", *labels)
    assert done.stdout.strip() == receiver


WINDOWS = """\
windows:
- {name: page-slow, severity: page, long: 30m, short: 3m, budget: 1}
- {name: page-quick, severity: page, long: 2d, short: 4h, budget: 30}
- {name: ticket-slow, severity: ticket, long: 1h, short: 5m, budget: 4}
slos:
"""


def inhibits(rule: dict[str, Any], source: dict[str, str], target: dict[str, str]) -> bool:
    """Return whether *source* inhibits *target* by *rule*."""
    sides = ((rule["source_matchers"], source), (rule["target_matchers"], target))
    found = [(re.fullmatch(r'(\w+)(=~|!~|=)"(.*)"', matcher), labels) for side, labels in sides for matcher in side]
    assert all(match for match, _ in found)
    source_matches = all(
        matches(Matcher(*match.groups()), labels.get(match[1], "")) for match, labels in found if match
    )
    return source_matches and all(source.get(label) == target.get(label) for label in rule["equal"])


def burn_alerts(folder: Path) -> list[dict[str, str]]:
    """The labels of the error budget alerts of two specs, one of them with its own windows."""
    (folder / "a.yaml").write_text(SPEC)
    other = SPEC.replace("shop", "fleet").replace("name: rides", "name: trips").replace("slos:\n", WINDOWS)
    (folder / "b.yaml").write_text(other.replace("temporal_namespace: fleet-prod", "temporal_namespace: shop-prod"))
    files = artefacts.render(specs.load([folder / "a.yaml", folder / "b.yaml"]), LINKS)
    texts = [text for name, text in files.items() if name.endswith(SUFFIX)]
    groups = [group for text in texts for group in yaml.safe_load(text)["groups"]]
    rules = [rule for group in groups for rule in group["rules"]]
    return [
        {"alertname": rule["alert"], **rule["labels"]}
        for rule in rules
        if "slo" in rule.get("labels", {}) and "alert" in rule
    ]


def test_tiers_inhibit(config: Path, tmp_path: Path) -> None:
    """Whatever tiers are named, a faster one inhibits slower ones of its severity, and no ticket inhibits a page."""
    alerts = burn_alerts(tmp_path)
    both = specs.load([tmp_path / "a.yaml", tmp_path / "b.yaml"]).slos
    rules = yaml.safe_load(render(load(config.parent / "receivers.yaml"), both))["inhibit_rules"]
    pairs = {
        (one["slo"], one.get("tier"), other.get("tier"))
        for one, other in permutations(alerts, 2)
        if any(inhibits(rule, one, other) for rule in rules)
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
    "secret in the URL": (
        "https://hooks.example.com/alerts",
        "https://hooks.example.com/?token=x",
        "contains a secret",
    ),
    "user in the URL": ("https://hooks.example.com/alerts", "https://a:b@hooks.example.com", "contains a secret"),
    "no URL": ("https://hooks.example.com/alerts", "hooks", "is not a valid URL"),
    "secret itself": ("/run/secrets/pagerduty", "R0123456789", "is not an absolute path"),
    "unknown key": ("channel:", "chanel:", "yaml:6: ticket.0..slack.chanel: is not a known key"),
    "two integrations in one": ("- webhook:", "  webhook:", "has 2 integrations"),
    "no receiver": ("ticket:\n", "ticket: []\nx:\n", "ticket"),
    "other version": ("receivers/v1", "receivers/v9", "version"),
    "a date for a version": ("temporal-slo/receivers/v1", "2001-99-99", "version"),
    "secret in a fragment": (
        "https://hooks.example.com/alerts",
        "https://hooks.example.com/#token=x",
        "contains a secret",
    ),
    "secret in the path": (
        "https://hooks.example.com/alerts",
        "https://hooks.slack.com/services/token=x",
        "in its path",
    ),
    "secret behind a dot": ("example.com/alerts", "slack.com./services/token=x", "in its path"),
    "host": ("https://hooks.example.com/alerts", "https://hooks^example.com/", "is not a valid URL"),
    "port": ("https://hooks.example.com/alerts", "https://hooks.example.com:token=x/", "is not a valid URL"),
    "blank": ("https://hooks.example.com/alerts", "https://hooks example.com/", "is not a valid URL"),
    "escape": ("https://hooks.example.com/alerts", "https://hooks.example.com/%zz", "is not a valid URL"),
    "no port": ("mail.example.com:587", "mail.example.com", "yaml:7: .*smarthost: has no port"),
    "no address": ("to: shop@example.com", "to: ''", "is empty"),
    "no channel": ('"#slo"', '""', "is empty"),
    "a list twice": (
        "ticket:\n",
        "page:\n- opsgenie: {api_key_file: /a}\nticket:\n",
        "yaml:5: page: is a duplicate key",
    ),
    "null": (
        '- slack: {api_url_file: /run/secrets/slack, channel: "#slo"}',
        "- slack: null",
        "is empty; set it or remove it",
    ),
    "no mapping": (RECEIVERS, "afile\n", "is not a mapping"),
    "empty": (RECEIVERS, "", "is empty; write receivers"),
    "deep": (RECEIVERS, "[" * 5000, "nested deeper"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake: str, tmp_path: Path) -> None:
    """It is refused with its line, without quoting the input."""
    before, after, message = MISTAKES[mistake]
    path = tmp_path / "receivers.yaml"
    path.write_text(RECEIVERS.replace(before, after))
    with pytest.raises(UsageError, match=message) as raised:
        load(path)
    assert all(line.startswith(f"{path}:") for line in str(raised.value).splitlines())
    assert ("token=x" in str(raised.value), "R0123" in str(raised.value)) == (False, False)


@pytest.mark.parametrize(
    ("labels", "inhibited"),
    [
        ({"alertname": "TemporalSloErrorBudgetBurn", "sli": "success"}, True),
        ({"alertname": "TemporalSloErrorBudgetBurn", "sli": "activity_success"}, False),
        ({"alertname": "TemporalSloErrorBudgetBurn", "sli": "schedule_to_start"}, False),
        ({"alertname": "TemporalSloNoPollers"}, True),
        ({"alertname": "TemporalSloExporterDown"}, False),
    ],
)
def test_exporter_failure(labels: dict[str, str], config: Path, *, inhibited: bool) -> None:
    """An exporter that is down inhibits the alerts that depend on it, not those of SLIs that workers expose."""
    last = yaml.safe_load(config.read_text())["inhibit_rules"][-1]
    assert inhibits(last, {"alertname": "TemporalSloExporterDown"}, labels) == inhibited


def test_invalid_only_item(tmp_path: Path) -> None:
    """A list whose only item is invalid is not reported as empty, too."""
    path = tmp_path / "receivers.yaml"
    path.write_text(
        RECEIVERS.replace("- pagerduty: {routing_key_file: /run/secrets/pagerduty}\n", "").replace("url:", "uri:")
    )
    with pytest.raises(UsageError) as raised:
        load(path)
    assert sorted(line.partition("webhook.")[2] for line in str(raised.value).splitlines()) == [
        "uri: is not a known key; correct or remove it",
        "url: is missing; add it",
    ]


@pytest.mark.parametrize("host", ["[::1]:8080", "127.0.0.1", "ü.example", "a-b_c.example:9000"])
def test_hosts(host: str, tmp_path: Path) -> None:
    """IP addresses and international names are valid hosts."""
    path = tmp_path / "receivers.yaml"
    path.write_text(RECEIVERS.replace("hooks.example.com", host))
    assert load(path).page[1].webhook


def test_binary(tmp_path: Path) -> None:
    """A binary file is refused in one line."""
    (tmp_path / "receivers.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        load(tmp_path / "receivers.yaml")
