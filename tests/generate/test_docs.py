"""docs/alerts.md states the defaults of the code, and its examples are valid."""

import re
from decimal import Decimal
from pathlib import Path

import yaml

from temporal_slo.durations import format_duration
from temporal_slo.generate.cause_alerts import CAUSES
from temporal_slo.generate.receivers import Receivers
from temporal_slo.generate.runbooks import RUNBOOKS
from temporal_slo.generate.server_alerts import SERVER_CAUSES
from temporal_slo.spec.burn import DEFAULT_TIERS, burn_rate_threshold
from temporal_slo.spec.formatting import duration_text
from temporal_slo.spec.load import load
from temporal_slo.spec.model import Causes, ServerCauses

DOCS = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()


def table(columns: int) -> list[list[str]]:
    """The rows of the table with this number of columns, without its header."""
    rows = [line.strip("| ").split(" | ") for line in DOCS.splitlines() if line.startswith("| ")]
    return [row for row in rows if len(row) == columns][1:]


def test_tiers(tmp_path: Path) -> None:
    """The tiers are the defaults, with their burn rates for the example's period."""
    (spec,) = load([example(tmp_path)])
    assert table(5) == [
        [
            tier.name,
            duration_text(tier.long),
            duration_text(tier.short),
            f"{tier.budget} %",
            f"{burn_rate_threshold(tier, spec.period)}",
        ]
        for tier in DEFAULT_TIERS
    ]


def test_causes() -> None:
    """Each threshold has its default, and alerts that exist."""
    defaults = {key: getattr(Causes(), key) for key in Causes.model_fields if key != "server"}
    defaults |= {f"server.{key}": getattr(ServerCauses(), key) for key in ServerCauses.model_fields}
    documented = {key.strip("`"): default for key, default, _ in table(3)}
    assert documented == {
        key: str(value) if isinstance(value, int | Decimal) else format_duration(value)
        for key, value in defaults.items()
    }
    alerts = {cause.name for cause in (*CAUSES, *SERVER_CAUSES)}
    assert {name for row in table(3) for name in re.findall(r"`(\w+)`", row[2])} <= alerts


def test_every_alert() -> None:
    """Each alert is named, in the table or below it."""
    assert set(RUNBOOKS) <= set(re.findall(r"`(TemporalSlo\w+)`", DOCS))


def test_receivers() -> None:
    """The receivers example is valid, and has every integration."""
    (text,) = (block for block in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL) if "receivers/v1" in block)
    receivers = Receivers.model_validate(yaml.safe_load(text))
    kinds = {kind for one in (*receivers.page, *receivers.ticket) for kind in one.model_fields_set}
    assert kinds == {"pagerduty", "webhook", "slack", "email", "opsgenie"}


def example(folder: Path) -> Path:
    """The example spec, in a file."""
    path = folder / "spec.yaml"
    path.write_text(re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)[0])
    return path
