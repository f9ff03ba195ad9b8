"""Who is told of what, as the real Alertmanager's tool reads it."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from temporal_slo.check.causes import fulfils
from temporal_slo.errors import UsageError
from temporal_slo.generate.alertmanager import load, render
from temporal_slo.promql import Matcher
from temporal_slo.spec import load as specs

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
    path.write_text(render(load(tmp_path / "receivers.yaml"), specs.load([tmp_path / "spec.yaml"])))
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
- {name: last, severity: page, long: 2d, short: 4h, budget: 30}
- {name: first, severity: page, long: 30m, short: 3m, budget: 1}
- {name: middle, severity: page, long: 3h, short: 15m, budget: 4}
- {name: other, severity: ticket, long: 2d, short: 4h, budget: 9}
slos:
"""


def test_own_windows(config: Path, tmp_path: Path) -> None:
    """Tiers of a spec's own silence one another by how fast they are, in that service and namespace alone."""
    (tmp_path / "spec.yaml").write_text(SPEC.replace("slos:\n", WINDOWS))
    made = yaml.safe_load(render(load(config.parent / "receivers.yaml"), specs.load([tmp_path / "spec.yaml"])))
    there = ['service="shop"', 'temporal_namespace="shop-prod"']
    slower = {rule["source_matchers"][-1]: rule["target_matchers"][-1] for rule in made["inhibit_rules"][1:-1]}
    assert slower == {'tier="first"': 'tier=~"middle|last"', 'tier="middle"': 'tier=~"last"'}
    for rule in made["inhibit_rules"][1:-1]:
        assert (rule["source_matchers"][1:3], rule["target_matchers"][1:3]) == (there, there)


MISTAKES = {
    "secret in the URL": ("https://hooks.example.com/alerts", "https://hooks.example.com/?token=x", "bears a secret"),
    "user in the URL": ("https://hooks.example.com/alerts", "https://a:b@hooks.example.com", "bears a secret"),
    "no URL": ("https://hooks.example.com/alerts", "hooks", "is no URL"),
    "secret itself": ("/run/secrets/pagerduty", "R0123456789", "is no absolute path"),
    "unknown key": ("channel:", "chanel:", "ticket.0.slack.ch"),
    "two ways in one": ("- webhook:", "  webhook:", "names 2 ways"),
    "nobody": ("ticket:\n", "ticket: []\nx:\n", "ticket"),
    "other version": ("receivers/v1", "receivers/v9", "version"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake: str, tmp_path: Path) -> None:
    """It is refused in one line that says where, and that quotes nothing of what was written."""
    before, after, message = MISTAKES[mistake]
    path = tmp_path / "receivers.yaml"
    path.write_text(RECEIVERS.replace(before, after))
    with pytest.raises(UsageError, match=message) as raised:
        load(path)
    assert (str(raised.value).count("\n"), "token=x" in str(raised.value), "R0123" in str(raised.value)) == (0, 0, 0)


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
    found = [re.fullmatch(r'(\w+)(=~|!~|=)"(.*)"', matcher) for matcher in last["target_matchers"]]
    assert all(fulfils(Matcher(*match.groups()), labels.get(match[1], "")) for match in found if match) == silent
    assert all(found)
