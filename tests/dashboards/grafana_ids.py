"""Ids known to Grafana: units of its foundation SDK; others of `@grafana/data` 13.2.3, limited to useful ones."""

import re
from typing import Final

from grafana_foundation_sdk.models import units

UNITS: Final = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("__")}
CUSTOM_UNIT: Final = re.compile(r"(suffix|prefix):\S+")
"""Units that Grafana makes of any text."""
REDUCERS: Final = {"lastNotNull", "last", "max", "min", "mean", "sum", "first", "firstNotNull", "count", "range"}
TRANSFORMATIONS: Final = {"merge", "organize", "sortBy", "filterFieldsByName", "joinByField", "groupBy", "reduce"}
MATCHERS: Final = {"byName", "byRegexp", "byType", "byFrameRefID"}
PANELS: Final = {
    *("stat", "timeseries", "table", "bargauge", "gauge", "heatmap", "state-timeline", "text", "alertlist", "row"),
}
COLORS: Final = {"green", "yellow", "orange", "red", "blue", "purple", "text", "#808080"}
