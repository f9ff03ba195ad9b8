"""Lint rules for dashboards: those of Grafana's dashboard-linter that apply, and our own.

Each rule yields pairs of a place and a problem.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, Final

from temporal_slo import names
from temporal_slo.names import sdk, server
from temporal_slo.names.sdk import PLAIN, WHOLE

from . import grafana_ids
from .promql import COUNTER_FUNCTIONS, RANGE, RATE_INTERVAL, function, is_matrix, labels, matchers, parsed, selectors

Json = dict[str, Any]
Problems = Iterator[tuple[str, str]]

UID: Final = re.compile(r"[a-zA-Z0-9_-]{1,40}")
VARIABLE: Final = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
BUILT_IN_VARIABLES: Final = {"__rate_interval", "__range", "__interval", "__url_time_range", "__all"}
LEGEND: Final = re.compile(r"\{\{(\w+)\}\}")
WITHOUT_QUERIES: Final = {"text": "no data", "alertlist": "reads Grafana's alerting", "row": "a heading"}
LEGACY_KEYS: Final = {
    *("maxDataPoints", "thresholdsStyle", "intervalFactor", "step", "metric", "target", "cacheTimeout", "rows"),
    *("__inputs", "style", "sharedCrosshair", "hideControls", "gnetId", "displayMode", "repeat", "span", "colorMode"),
}
"""Top-level keys of dashboards, panels or targets in earlier schemas."""

RECORDED: Final = re.compile(r"slo:[a-z_]+:[a-z_]+((\d+[smhdw])+|_month)?")
PROMETHEUS_SERIES: Final = {"ALERTS", "scrape_duration_seconds", "scrape_samples_scraped"}
WITHOUT_JOB: Final = {
    "ALERTS": "recorded by rules, which drop the job label",
    names.SLO_INFO: "recorded by rules, which drop the job label",
    **dict.fromkeys(
        (
            *(names.TASK_QUEUE_BACKLOG.sample, names.TASK_QUEUE_BACKLOG_AGE.sample, names.TASK_QUEUE_POLLERS.sample),
            *(names.TASK_QUEUE_LAST_POLL.sample, names.TASK_QUEUE_ADDED.sample, names.TASK_QUEUE_DISPATCHED.sample),
        ),
        "of the exporter, on a dashboard whose job variable selects workers",
    ),
    names.WORKER_INFO.sample: "of workers, on a dashboard whose job variable selects exporters",
    WHOLE.sample(sdk.SDK_WORKER_STARTS): "of workers, on a dashboard whose job variable selects exporters",
    PLAIN.sample(sdk.SDK_WORKER_STARTS): "of workers, on a dashboard whose job variable selects exporters",
}
"""Series selected without a matcher on `job`, with the reason; recorded series (`slo:…`) have no job."""

RAW_COUNTERS: Final = {
    profile.sample(sdk.SDK_WORKER_STARTS): "1 for each worker: the sum changes when a worker starts or stops"
    for profile in (WHOLE, PLAIN)
}
"""Counters shown without rate() or increase(), with the reason."""


def panels(dashboard: Json) -> Iterator[Json]:
    """Yield the panels that are not rows."""
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def targets(dashboard: Json) -> Iterator[tuple[str, Json, Json]]:
    """Yield each query with its panel, preceded by a name for both."""
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield f"{panel['title']} {target['refId']}", panel, target


def expressions(dashboard: Json) -> Iterator[tuple[str, str]]:
    """Yield every PromQL expression of panels and annotations, with its place."""
    yield from ((where, target["expr"]) for where, _, target in targets(dashboard))
    yield from ((f"annotation {one['name']}", one["expr"]) for one in dashboard["annotations"]["list"])


def strings(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for child in value.values():
            yield from strings(child)
    elif isinstance(value, list):
        for child in value:
            yield from strings(child)


def variables(dashboard: Json) -> dict[str, Json]:
    """Return the variables of a dashboard by name."""
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def template_datasource(dashboard: Json) -> Problems:
    """There is a data source variable."""
    found = variables(dashboard).get("datasource", {})
    if (found.get("type"), found.get("query"), found.get("label")) != ("datasource", "prometheus", "Data source"):
        yield "datasource", "is not a Prometheus data source variable labeled Data source"


def template_job(dashboard: Json) -> Problems:
    """There is a variable of the scrape jobs."""
    found = variables(dashboard).get("job", {})
    wanted = {"type": "query", "multi": True, "includeAll": True, "allValue": ".+", "label": "job"}
    if {key: found.get(key) for key in wanted} != wanted:
        yield "job", "is not a multi-value query variable"


def template_query(dashboard: Json) -> Problems:
    """Query variables list the label values of a declared metric and refresh on time range changes."""
    for name, variable in variables(dashboard).items():
        if variable["type"] != "query":
            continue
        query = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        if not query:
            yield name, "is not label_values(metric, label)"
            continue
        try:
            unknown = [one.name for one, _ in selectors(parsed(query[1])) if not known(one.name)]
        except ValueError as error:
            yield name, f"does not parse: {error}"
            continue
        if unknown:
            yield name, f"uses unknown metrics: {unknown}"
        if variable["refresh"] != 2:
            yield name, "does not refresh on time range changes"


def datasource(dashboard: Json) -> Problems:
    """Every panel, query, variable and annotation uses the selected data source."""
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    users = [(where, target) for where, _, target in targets(dashboard)]
    users += [(panel["title"], panel) for panel in panels(dashboard) if panel["type"] not in WITHOUT_QUERIES]
    users += [(name, one) for name, one in variables(dashboard).items() if one["type"] == "query"]
    users += [(one["name"], one) for one in dashboard["annotations"]["list"]]
    yield from ((where, "uses another data source") for where, one in users if one.get("datasource") != wanted)


def title_and_description(dashboard: Json) -> Problems:
    """Every row and panel has a title, and every panel a description."""
    for panel in dashboard["panels"]:
        if not panel.get("title"):
            yield str(panel.get("id")), "has no title"
        if panel["type"] != "row" and not panel.get("description"):
            yield panel["title"], "has no description"


def units(dashboard: Json) -> Problems:
    """Every panel with values has a unit known to Grafana."""
    for panel in panels(dashboard):
        config = panel.get("fieldConfig")
        if config is None:
            continue
        overridden = [one["value"] for rule in config["overrides"] for one in rule["properties"] if one["id"] == "unit"]
        for unit in (config["defaults"].get("unit"), *overridden):
            if unit not in grafana_ids.UNITS and not grafana_ids.CUSTOM_UNIT.fullmatch(unit or ""):
                yield panel["title"], f"has the unit {unit!r}"


def known_ids(dashboard: Json) -> Problems:
    """Types of panels, transformations, reducers and matchers are known to Grafana."""
    for panel in dashboard["panels"]:
        title, options = panel.get("title", ""), panel.get("options", {})
        used = {
            "panel": ({panel["type"]}, grafana_ids.PANELS),
            "transformation": ({one["id"] for one in panel.get("transformations", [])}, grafana_ids.TRANSFORMATIONS),
            "reducer": (
                {*options.get("reduceOptions", {}).get("calcs", []), *_legend_calcs(options)},
                grafana_ids.REDUCERS,
            ),
            "matcher": ({one["matcher"]["id"] for one in _overrides(panel)}, grafana_ids.MATCHERS),
        }
        for kind, (ours, known_to_grafana) in used.items():
            yield from ((title, f"has an unknown {kind}: {one}") for one in sorted(ours - known_to_grafana))


def _legend_calcs(options: Json) -> list[str]:
    legend = options.get("legend", {})
    return list(legend.get("calcs", []))


def _overrides(panel: Json) -> list[Json]:
    return list(panel.get("fieldConfig", {}).get("overrides", []))


def has_queries(dashboard: Json) -> Problems:
    """Every panel has queries, except the types that need none."""
    for panel in panels(dashboard):
        exprs = [target.get("expr") for target in panel.get("targets", [])]
        if panel["type"] not in WITHOUT_QUERIES and (not exprs or not all(exprs)):
            yield panel["title"], "has no query"


def parses(dashboard: Json) -> Problems:
    """Every expression is valid PromQL."""
    for where, expr in expressions(dashboard):
        try:
            parsed(expr)
        except ValueError as error:
            yield where, str(error)


def _trees(dashboard: Json) -> Iterator[tuple[str, Any]]:
    for where, expr in expressions(dashboard):
        try:
            yield where, parsed(expr)
        except ValueError:
            continue


def rate_interval(dashboard: Json) -> Problems:
    """Rates use $__rate_interval, and totals the time range: fixed ranges miss samples or miscount at other zooms."""
    for where, tree in _trees(dashboard):
        for _, ancestors in selectors(tree):
            matrix = next((node for node in ancestors if is_matrix(node)), None)
            name = function(ancestors[-2]) if matrix else ""
            allowed = {"rate": {RATE_INTERVAL}, "irate": {RATE_INTERVAL}, "increase": {RATE_INTERVAL, RANGE}}
            if matrix and matrix.range not in allowed.get(name, {matrix.range}):
                yield where, f"{name} over a fixed range"


def job(dashboard: Json) -> Problems:
    """Every selector matches the selected jobs."""
    for where, tree in _trees(dashboard):
        for selector, _ in selectors(tree):
            exempt = selector.name in WITHOUT_JOB or RECORDED.fullmatch(selector.name or "")
            if not exempt and matchers(selector).get("job") != "$job":
                yield where, f"{selector.name} is not filtered by job"


def counters(dashboard: Json) -> Problems:
    """Counters are shown through rate() or increase(), except those in RAW_COUNTERS."""
    for where, tree in _trees(dashboard):
        for selector, ancestors in selectors(tree):
            is_counter = str(selector.name).endswith(("_total", "_bucket", "_count", "_sum"))
            if (
                is_counter
                and selector.name not in RAW_COUNTERS
                and not any(function(node) in COUNTER_FUNCTIONS for node in ancestors)
            ):
                yield where, f"{selector.name} is a raw counter"


def uneditable(dashboard: Json) -> Problems:
    """The generated dashboards are not editable."""
    if dashboard["editable"] is not False:
        yield dashboard["uid"], "is editable"


def used_variables(dashboard: Json) -> Problems:
    """Used variables are defined, and defined variables are used."""
    defined = set(variables(dashboard))
    parts = [dashboard["panels"], dashboard["annotations"], dashboard["templating"]]
    used = {one or other for text in strings(parts) for one, other in VARIABLE.findall(text)}
    data = {name for name in used if name.startswith("__")}
    yield from ((name, "is not defined") for name in sorted(used - defined - data))
    yield from ((name, "is not used") for name in sorted(defined - used))
    yield from (
        (name, "is not a built-in variable") for name in sorted(data - BUILT_IN_VARIABLES - {"__data", "__value"})
    )


def known(metric: str) -> bool:
    """Whether *metric* is declared in `names`, recorded by rules, or of Prometheus itself."""
    return metric in METRICS or metric in PROMETHEUS_SERIES or RECORDED.fullmatch(metric) is not None


def _metrics() -> set[str]:
    families = [
        (family.name, family.sample, family.type) for family in (*names.EXPORTER_FAMILIES, *names.INTERCEPTOR_FAMILIES)
    ]
    families += [(one.name, one.name, one.type) for one in server.SERVER_METRICS]
    families += [(profile.sample(one),) * 2 + (one.type,) for profile in (WHOLE, PLAIN) for one in sdk.SDK_METRICS]
    suffixed = {
        f"{name}{end}" for name, _, kind in families if kind == "histogram" for end in ("_bucket", "_sum", "_count")
    }
    return {sample for _, sample, kind in families if kind != "histogram"} | suffixed | {names.SLO_INFO}


METRICS: Final = _metrics()


def metrics(dashboard: Json) -> Problems:
    """Every metric is declared."""
    for where, tree in _trees(dashboard):
        unknown = {one.name for one, _ in selectors(tree) if not known(str(one.name))}
        yield from ((where, f"{name} is an unknown metric") for name in sorted(map(str, unknown)))


def grid(dashboard: Json) -> Problems:
    """Panels do not overlap and fit the grid."""
    grids = [(panel["title"], *(panel["gridPos"][key] for key in "xywh")) for panel in dashboard["panels"]]
    yield from ((title, "is too wide") for title, x, _, w, _ in grids if not isinstance(x, int) or x + w > 24)
    for (one, x, y, w, h), (other, x2, y2, w2, h2) in combinations(grids, 2):
        if isinstance(x, int) and isinstance(x2, int) and x < x2 + w2 and x2 < x + w and y < y2 + h2 and y2 < y + h:
            yield one, f"overlaps {other}"


def unique_ids(dashboard: Json) -> Problems:
    """Panel ids are unique, and the uid is valid."""
    counted = Counter(panel.get("id") for panel in dashboard["panels"])
    yield from ((str(one), "is the id of several panels") for one, count in counted.items() if count > 1)
    if not UID.fullmatch(dashboard["uid"]):
        yield dashboard["uid"], "is not a valid uid"


def nulls(dashboard: Json) -> Problems:
    """Only the lowest threshold is null, and nothing is the string `null`."""
    yield from _nulls(dashboard, "")


def _nulls(value: Any, where: str) -> Problems:
    if value == "null" or (value is None and not re.search(r"/(steps)\[\d+\]/value$", where)):
        yield where, f"is {value!r}"
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _nulls(child, f"{where}/{key}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _nulls(child, f"{where}[{index}]")


def steps(dashboard: Json) -> Problems:
    """Thresholds start at minus infinity, ascend, and have known colors."""
    for panel in panels(dashboard):
        config = panel.get("fieldConfig", {})
        found = [config.get("defaults", {}).get("thresholds")]
        found += [one["value"] for rule in _overrides(panel) for one in rule["properties"] if one["id"] == "thresholds"]
        for thresholds in filter(None, found):
            if not _ascending(thresholds["steps"]):
                yield panel["title"], f"has the thresholds {thresholds['steps']!r}"
            elif not {step["color"] for step in thresholds["steps"]} <= grafana_ids.COLORS:
                yield panel["title"], "has a color outside of COLORS"


def _ascending(found: Any) -> bool:
    if not isinstance(found, list) or not found or found[0]["value"] is not None:
        return False
    values: list[Any] = [step["value"] for step in found[1:]]
    return all(isinstance(value, int | float) for value in values) and values == sorted(values)


def no_data_color(dashboard: Json) -> Problems:
    """Missing data has a neutral color, and states are named by value mappings, not by thresholds."""
    for panel in panels(dashboard):
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        steps = (defaults.get("thresholds") or {}).get("steps", [])
        if panel["type"] == "stat" and len(steps) > 1 and steps[0]["color"] != "#808080":
            yield panel["title"], f"is {steps[0]['color']} without data"
        if panel["type"] == "stat" and len(steps) > 1 and float(steps[1]["value"]) > -1e9:
            yield panel["title"], f"shows values below {steps[1]['value']} like no data"
        if panel["type"] == "state-timeline" and defaults["color"]["mode"] == "thresholds":
            yield panel["title"], "names its states by thresholds"


def legacy(dashboard: Json) -> Problems:
    """The schema is current, without keys of earlier ones."""
    if dashboard["schemaVersion"] != 42:
        yield dashboard["uid"], f"has schema {dashboard['schemaVersion']}"
    parts = [("dashboard", dashboard), *((panel["title"], panel) for panel in dashboard["panels"])]
    parts += [(where, target) for where, _, target in targets(dashboard)]
    for where, part in parts:
        yield from ((where, f"has {key}, a key of earlier schemas") for key in sorted(part.keys() & LEGACY_KEYS))


def legends(dashboard: Json) -> Problems:
    """Labels in legends exist in the query's result."""
    for where, _, target in targets(dashboard):
        try:
            kept = labels(parsed(target["expr"]))
        except ValueError:
            continue
        missing = set(LEGEND.findall(target.get("legendFormat", ""))) - kept if kept is not None else set()
        if missing:
            yield where, f"has the legend labels {sorted(missing)}, which the query drops"


def percents(dashboard: Json) -> Problems:
    """Ratios have the unit percentunit and are not multiplied by 100."""
    for where, panel, target in targets(dashboard):
        if panel["fieldConfig"]["defaults"].get("unit") == "percentunit" and re.search(r"\* *100\b", target["expr"]):
            yield where, "is multiplied by 100 and by the unit"


def columns(dashboard: Json) -> Problems:
    """Columns of tables are query values or labels of a query, and data links use existing columns."""
    for panel in panels(dashboard):
        if panel["type"] != "table":
            continue
        (organized,) = (one["options"] for one in panel["transformations"] if one["id"] == "organize")
        available = {f"Value #{target['refId']}" for target in panel["targets"]}
        for target in panel["targets"]:
            available |= labels(parsed(target["expr"])) or set()
        yield from (
            (panel["title"], f"has no field {one}") for one in sorted(set(organized["renameByName"]) - available)
        )
        titles = set(organized["renameByName"].values())
        linked = {
            name for text in strings(panel["fieldConfig"]) for name in re.findall(r'__data\.fields\["([^"]+)"\]', text)
        }
        used = linked | {rule["matcher"]["options"] for rule in _overrides(panel)}
        yield from ((panel["title"], f"refers to {one}, which is not a column") for one in sorted(used - titles))


RULES: Final[tuple[Callable[[Json], Problems], ...]] = (
    *(template_datasource, template_job, template_query, datasource, title_and_description, units, known_ids),
    *(has_queries, parses, rate_interval, job, counters, uneditable, used_variables, metrics, grid, unique_ids),
    *(nulls, steps, no_data_color, legacy, legends, percents, columns),
)


def lint(dashboard: Json) -> list[str]:
    """Return the problems found by all rules."""
    return [f"{rule.__name__}: {where}: {what}" for rule in RULES for where, what in rule(dashboard)]


def links(dashboards: list[Json]) -> list[str]:
    """Return the links between *dashboards* to unknown dashboards or variables."""
    known_variables = {dashboard["uid"]: set(variables(dashboard)) for dashboard in dashboards}
    problems: list[str] = []
    for dashboard in dashboards:
        for text in strings(dashboard):
            for uid, query in re.findall(r"/d/([\w-]+)(\S*)", text):
                passed = set(re.findall(r"var-(\w+)=", query))
                if uid not in known_variables:
                    problems.append(f"{dashboard['uid']}: {uid} is an unknown dashboard")
                elif not passed <= known_variables[uid]:
                    problems.append(
                        f"{dashboard['uid']}: {uid} has no variables {sorted(passed - known_variables[uid])}"
                    )
    return problems
