"""The rules of Grafana's dashboard-linter that we keep, and our own; each tells what is wrong, and where."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, Final

from temporal_slo import names
from temporal_slo.names import sdk, server
from temporal_slo.names.sdk import PLAIN, WHOLE

from . import ids
from .promql import COUNTING, RANGE, RATE_INTERVAL, function, is_matrix, labels, matchers, parsed, selectors

Json = dict[str, Any]
Found = Iterator[tuple[str, str]]

UID: Final = re.compile(r"[a-zA-Z0-9_-]{1,40}")
VARIABLE: Final = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
OF_GRAFANA: Final = {"__rate_interval", "__range", "__interval", "__url_time_range", "__all"}
LEGEND: Final = re.compile(r"\{\{(\w+)\}\}")
WITHOUT_QUERIES: Final = {"text": "shows no data", "alertlist": "asks Grafana's alerting", "row": "is a heading"}
LEGACY: Final = {
    *("maxDataPoints", "thresholdsStyle", "intervalFactor", "step", "metric", "target", "cacheTimeout", "rows"),
    *("__inputs", "style", "sharedCrosshair", "hideControls", "gnetId", "displayMode", "repeat", "span", "colorMode"),
}
"""Keys of panels, targets or dashboards of the past, at the top of these."""

RECORDED: Final = re.compile(r"slo:[a-z_]+:[a-z_]+((\d+[smhdw])+|_month)?")
OF_PROMETHEUS: Final = {"ALERTS", "scrape_duration_seconds", "scrape_samples_scraped"}
WITHOUT_JOB: Final = {
    "ALERTS": "made by rules, which drop the job",
    names.SLO_INFO: "made by rules, which drop the job",
    **dict.fromkeys(
        (
            *(names.TASK_QUEUE_BACKLOG.sample, names.TASK_QUEUE_BACKLOG_AGE.sample, names.TASK_QUEUE_POLLERS.sample),
            *(names.TASK_QUEUE_LAST_POLL.sample, names.TASK_QUEUE_ADDED.sample, names.TASK_QUEUE_DISPATCHED.sample),
        ),
        "of the exporter, on a dashboard whose jobs are the workers'",
    ),
    names.WORKER_INFO.sample: "of workers, on a dashboard whose jobs are the exporter's",
    WHOLE.sample(sdk.SDK_WORKER_STARTS): "of workers, on a dashboard whose jobs are the exporter's",
    PLAIN.sample(sdk.SDK_WORKER_STARTS): "of workers, on a dashboard whose jobs are the exporter's",
}
"""Series that are chosen without their job, each with the reason; recorded ones (`slo:…`) have none."""

RAW: Final = {
    profile.sample(sdk.SDK_WORKER_STARTS): "each worker has 1: their sum steps where one comes or goes"
    for profile in (WHOLE, PLAIN)
}
"""Counters that are shown as they are, each with the reason."""


def panels(board: Json) -> Iterator[Json]:
    """Yield the panels that are no headings."""
    yield from (panel for panel in board["panels"] if panel["type"] != "row")


def targets(board: Json) -> Iterator[tuple[str, Json, Json]]:
    """Yield each query with its panel and a name for both."""
    for panel in panels(board):
        for target in panel.get("targets", []):
            yield f"{panel['title']} {target['refId']}", panel, target


def expressions(board: Json) -> Iterator[tuple[str, str]]:
    """Yield every expression of *board*: of panels and annotations."""
    yield from ((where, target["expr"]) for where, _, target in targets(board))
    yield from ((f"annotation {one['name']}", one["expr"]) for one in board["annotations"]["list"])


def strings(made: Any) -> Iterator[str]:
    """Yield every text in *made*."""
    if isinstance(made, str):
        yield made
    elif isinstance(made, dict):
        for value in made.values():
            yield from strings(value)
    elif isinstance(made, list):
        for value in made:
            yield from strings(value)


def variables(board: Json) -> dict[str, Json]:
    """Return the variables of *board* by name."""
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def template_datasource(board: Json) -> Found:
    """There is a choice of the data source."""
    found = variables(board).get("datasource", {})
    if (found.get("type"), found.get("query"), found.get("label")) != ("datasource", "prometheus", "Data source"):
        yield "datasource", "is no choice of a Prometheus with the label Data source"


def template_job(board: Json) -> Found:
    """There is a choice of the scrape job."""
    found = variables(board).get("job", {})
    wanted = {"type": "query", "multi": True, "includeAll": True, "allValue": ".+", "label": "job"}
    if {key: found.get(key) for key in wanted} != wanted:
        yield "job", "is no choice of several jobs"


def template_query(board: Json) -> Found:
    """A variable takes the values of a label on a metric that we know, anew when the time range changes."""
    for name, variable in variables(board).items():
        if variable["type"] != "query":
            continue
        query = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        if not query:
            yield name, "is no label_values of a metric"
            continue
        try:
            unknown = [one.name for one, _ in selectors(parsed(query[1])) if not known(one.name)]
        except ValueError as error:
            yield name, f"does not parse: {error}"
            continue
        if unknown:
            yield name, f"is of no metric that we know: {unknown}"
        if variable["refresh"] != 2:
            yield name, "does not follow the time range"


def datasource(board: Json) -> Found:
    """Every panel, query, variable and annotation asks the data source that was chosen."""
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    asking = [(where, target) for where, _, target in targets(board)]
    asking += [(panel["title"], panel) for panel in panels(board) if panel["type"] not in WITHOUT_QUERIES]
    asking += [(name, one) for name, one in variables(board).items() if one["type"] == "query"]
    asking += [(one["name"], one) for one in board["annotations"]["list"]]
    yield from ((where, "asks another data source") for where, one in asking if one.get("datasource") != wanted)


def title_and_description(board: Json) -> Found:
    """Everything is called something, and every panel says what it shows."""
    for panel in board["panels"]:
        if not panel.get("title"):
            yield str(panel.get("id")), "has no title"
        if panel["type"] != "row" and not panel.get("description"):
            yield panel["title"], "has no description"


def units(board: Json) -> Found:
    """Every panel with numbers says of what, in a unit that Grafana knows."""
    for panel in panels(board):
        config = panel.get("fieldConfig")
        if config is None:
            continue
        overridden = [one["value"] for rule in config["overrides"] for one in rule["properties"] if one["id"] == "unit"]
        for unit in (config["defaults"].get("unit"), *overridden):
            if unit not in ids.UNITS and not ids.OWN_UNIT.fullmatch(unit or ""):
                yield panel["title"], f"has the unit {unit!r}"


def known_ids(board: Json) -> Found:
    """Panels, transformations, reducers and matchers are some that Grafana knows."""
    for panel in board["panels"]:
        title, options = panel.get("title", ""), panel.get("options", {})
        used = {
            "panel": ({panel["type"]}, ids.PANELS),
            "transformation": ({one["id"] for one in panel.get("transformations", [])}, ids.TRANSFORMATIONS),
            "reducer": ({*options.get("reduceOptions", {}).get("calcs", []), *_legend_calcs(options)}, ids.REDUCERS),
            "matcher": ({one["matcher"]["id"] for one in _overrides(panel)}, ids.MATCHERS),
        }
        for kind, (ours, theirs) in used.items():
            yield from ((title, f"has an unknown {kind}: {one}") for one in sorted(ours - theirs))


def _legend_calcs(options: Json) -> list[str]:
    legend = options.get("legend", {})
    return list(legend.get("calcs", []))


def _overrides(panel: Json) -> list[Json]:
    return list(panel.get("fieldConfig", {}).get("overrides", []))


def has_queries(board: Json) -> Found:
    """Every panel asks something, but for those that show no data."""
    for panel in panels(board):
        asked = [target.get("expr") for target in panel.get("targets", [])]
        if panel["type"] not in WITHOUT_QUERIES and (not asked or not all(asked)):
            yield panel["title"], "asks nothing"


def parses(board: Json) -> Found:
    """Every expression is PromQL."""
    for where, expr in expressions(board):
        try:
            parsed(expr)
        except ValueError as error:
            yield where, str(error)


def _trees(board: Json) -> Iterator[tuple[str, Any]]:
    for where, expr in expressions(board):
        try:
            yield where, parsed(expr)
        except ValueError:
            continue


def rate_interval(board: Json) -> Found:
    """Rates are over what Grafana reckons from scrape interval and zoom, totals over the time range, else they lie."""
    for where, tree in _trees(board):
        for _, above in selectors(tree):
            matrix = next((node for node in above if is_matrix(node)), None)
            name = function(above[-2]) if matrix else ""
            allowed = {"rate": {RATE_INTERVAL}, "irate": {RATE_INTERVAL}, "increase": {RATE_INTERVAL, RANGE}}
            if matrix and matrix.range not in allowed.get(name, {matrix.range}):
                yield where, f"{name} over a span of its own"


def job(board: Json) -> Found:
    """Every series is chosen by its job."""
    for where, tree in _trees(board):
        for selector, _ in selectors(tree):
            exempt = selector.name in WITHOUT_JOB or RECORDED.fullmatch(selector.name or "")
            if not exempt and matchers(selector).get("job") != "$job":
                yield where, f"{selector.name} is of any job"


def counters(board: Json) -> Found:
    """Counters are never shown as they are, but where it is their steps that matter."""
    for where, tree in _trees(board):
        for selector, above in selectors(tree):
            counted = str(selector.name).endswith(("_total", "_bucket", "_count", "_sum"))
            if counted and selector.name not in RAW and not any(function(node) in COUNTING for node in above):
                yield where, f"{selector.name} is a counter"


def uneditable(board: Json) -> Found:
    """Nobody edits what is made anew."""
    if board["editable"] is not False:
        yield board["uid"], "is editable"


def used_variables(board: Json) -> Found:
    """Variables are defined that are used, and used that are defined."""
    defined = set(variables(board))
    parts = [board["panels"], board["annotations"], board["templating"]]
    used = {one or other for text in strings(parts) for one, other in VARIABLE.findall(text)}
    data = {name for name in used if name.startswith("__")}
    yield from ((name, "is not defined") for name in sorted(used - defined - data))
    yield from ((name, "is not used") for name in sorted(defined - used))
    yield from ((name, "is none of Grafana's") for name in sorted(data - OF_GRAFANA - {"__data", "__value"}))


def known(metric: str) -> bool:
    """Whether *metric* is declared, recorded, or Prometheus' own."""
    return metric in METRICS or metric in OF_PROMETHEUS or RECORDED.fullmatch(metric) is not None


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


def metrics(board: Json) -> Found:
    """Every metric is one that we declare."""
    for where, tree in _trees(board):
        unknown = {one.name for one, _ in selectors(tree) if not known(str(one.name))}
        yield from ((where, f"{name} is no metric that we know") for name in sorted(map(str, unknown)))


def places(board: Json) -> Found:
    """No panel stands in another, or off the board."""
    grids = [(panel["title"], *(panel["gridPos"][key] for key in "xywh")) for panel in board["panels"]]
    yield from ((title, "is too wide") for title, x, _, w, _ in grids if not isinstance(x, int) or x + w > 24)
    for (one, x, y, w, h), (other, x2, y2, w2, h2) in combinations(grids, 2):
        if isinstance(x, int) and isinstance(x2, int) and x < x2 + w2 and x2 < x + w and y < y2 + h2 and y2 < y + h:
            yield one, f"stands in {other}"


def identities(board: Json) -> Found:
    """Ids are unique, and uids fit."""
    counted = Counter(panel.get("id") for panel in board["panels"])
    yield from ((str(one), "is the id of several panels") for one, count in counted.items() if count > 1)
    if not UID.fullmatch(board["uid"]):
        yield board["uid"], "is no uid"


def nulls(board: Json) -> Found:
    """Nothing is null but the lowest step of thresholds, and nothing is a null in a text."""
    yield from _nulls(board, "")


def _nulls(made: Any, where: str) -> Found:
    if made == "null" or (made is None and not re.search(r"/(steps)\[\d+\]/value$", where)):
        yield where, f"is {made!r}"
    elif isinstance(made, dict):
        for key, value in made.items():
            yield from _nulls(value, f"{where}/{key}")
    elif isinstance(made, list):
        for index, value in enumerate(made):
            yield from _nulls(value, f"{where}[{index}]")


def steps(board: Json) -> Found:
    """Thresholds begin at the lowest value, go up, and have colours."""
    for panel in panels(board):
        config = panel.get("fieldConfig", {})
        found = [config.get("defaults", {}).get("thresholds")]
        found += [one["value"] for rule in _overrides(panel) for one in rule["properties"] if one["id"] == "thresholds"]
        for thresholds in filter(None, found):
            made = thresholds["steps"]
            if not _ascending(made):
                yield panel["title"], f"has the thresholds {made!r}"
            elif not {one["color"] for one in made} <= ids.COLORS:
                yield panel["title"], "has a colour that we do not use"


def _ascending(made: Any) -> bool:
    if not isinstance(made, list) or not made or made[0]["value"] is not None:
        return False
    values: list[Any] = [one["value"] for one in made[1:]]
    return all(isinstance(value, int | float) for value in values) and values == sorted(values)


def unknown(board: Json) -> Found:
    """What is not known has no colour that says how it is, and a state is called by its own name."""
    for panel in panels(board):
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        steps = (defaults.get("thresholds") or {}).get("steps", [])
        if panel["type"] == "stat" and len(steps) > 1 and steps[0]["color"] != "#808080":
            yield panel["title"], f"is {steps[0]['color']} where there is no data"
        if panel["type"] == "stat" and len(steps) > 1 and float(steps[1]["value"]) > -1e9:
            yield panel["title"], f"shows what is below {steps[1]['value']} like no data"
        if panel["type"] == "state-timeline" and defaults["color"]["mode"] == "thresholds":
            yield panel["title"], "names its states by thresholds"


def legacy(board: Json) -> Found:
    """Nothing of older Grafanas is left."""
    if board["schemaVersion"] != 42:
        yield board["uid"], f"is of schema {board['schemaVersion']}"
    parts = [("dashboard", board), *((panel["title"], panel) for panel in board["panels"])]
    parts += [(where, target) for where, _, target in targets(board)]
    for where, part in parts:
        yield from ((where, f"has {key}, which is of older Grafanas") for key in sorted(part.keys() & LEGACY))


def legends(board: Json) -> Found:
    """What a legend calls a series by is a label that it has."""
    for where, _, target in targets(board):
        try:
            kept = labels(parsed(target["expr"]))
        except ValueError:
            continue
        missing = set(LEGEND.findall(target.get("legendFormat", ""))) - kept if kept is not None else set()
        if missing:
            yield where, f"is called by {sorted(missing)}, which it does not have"


def percents(board: Json) -> Found:
    """A ratio is shown as one and never multiplied by 100."""
    for where, panel, target in targets(board):
        if panel["fieldConfig"]["defaults"].get("unit") == "percentunit" and re.search(r"\* *100\b", target["expr"]):
            yield where, "is a percentage of a percentage"


def columns(board: Json) -> Found:
    """A table's columns are values that it asks for, and labels that some query has."""
    for panel in panels(board):
        if panel["type"] != "table":
            continue
        (organized,) = (one["options"] for one in panel["transformations"] if one["id"] == "organize")
        there = {f"Value #{target['refId']}" for target in panel["targets"]}
        for target in panel["targets"]:
            there |= labels(parsed(target["expr"])) or set()
        yield from ((panel["title"], f"has no {one}") for one in sorted(set(organized["renameByName"]) - there))
        titles = set(organized["renameByName"].values())
        fields = {
            name for text in strings(panel["fieldConfig"]) for name in re.findall(r'__data\.fields\["([^"]+)"\]', text)
        }
        wanted = fields | {rule["matcher"]["options"] for rule in _overrides(panel)}
        yield from ((panel["title"], f"leads by {one}, which is no column") for one in sorted(wanted - titles))


RULES: Final[tuple[Callable[[Json], Found], ...]] = (
    *(template_datasource, template_job, template_query, datasource, title_and_description, units, known_ids),
    *(has_queries, parses, rate_interval, job, counters, uneditable, used_variables, metrics, places, identities),
    *(nulls, steps, unknown, legacy, legends, percents, columns),
)


def lint(board: Json) -> list[str]:
    """Return what all rules say of *board*."""
    return [f"{rule.__name__}: {where}: {what}" for rule in RULES for where, what in rule(board)]


def links(boards: list[Json]) -> list[str]:
    """Return the links between *boards* that lead nowhere, or pass a variable that is not there."""
    there = {board["uid"]: set(variables(board)) for board in boards}
    found: list[str] = []
    for board in boards:
        for text in strings(board):
            for uid, query in re.findall(r"/d/([\w-]+)(\S*)", text):
                passed = set(re.findall(r"var-(\w+)=", query))
                if uid not in there:
                    found.append(f"{board['uid']}: {uid} is none of ours")
                elif not passed <= there[uid]:
                    found.append(f"{board['uid']}: {uid} has no {sorted(passed - there[uid])}")
    return found
