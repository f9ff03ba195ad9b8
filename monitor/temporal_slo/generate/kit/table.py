"""The constructor of table panels."""

from collections.abc import Sequence

from temporal_slo.generate.kit.model import (
    Column,
    Json,
    Panel,
    Query,
    mappings_json,
    override_by_name,
    thresholds_json,
)


def table(
    title: str,
    description: str,
    *queries: Query,
    columns: Sequence[Column],
    size: tuple[int, int] = (24, 9),
    sort_by: tuple[str, bool] | None = None,
) -> Panel:
    """Return a table panel with one row per label set.

    Args:
        title: Title of the panel.
        description: What the panel shows.
        queries: Instant queries in the format `table`; each becomes a column.
        columns: In their order; fields without a column are hidden.
        size: Width of 24 columns, and height.
        sort_by: Field of a column, and whether the order is descending.
    """
    order = {column.source_field: index for index, column in enumerate(columns)}
    transformations: list[Json] = [{"id": "merge", "options": {}}]
    if sort_by:
        field = next(column.source_field for column in columns if column.field == sort_by[0])
        transformations.append({"id": "sortBy", "options": {"sort": [{"field": field, "desc": sort_by[1]}]}})
    titles = {column.source_field: column.title for column in columns}
    # An include list, so that labels added by a later server do not become columns.
    transformations.append({"id": "filterFieldsByName", "options": {"include": {"names": list(order)}}})
    transformations.append(
        {"id": "organize", "options": {"excludeByName": {}, "indexByName": order, "renameByName": titles}}
    )
    options = {column.title: _column_options(column) for column in columns}
    return Panel(
        "table",
        title,
        description,
        queries,
        size,
        options={"showHeader": True, "cellHeight": "sm"},
        custom={"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": True},
        # The unit of columns without one of their own; "none" leaves text unchanged.
        defaults={"unit": "none", "noValue": "-"},
        overrides=[override_by_name(title, properties) for title, properties in options.items() if properties],
        transformations=transformations,
    )


def _column_options(column: Column) -> Json:
    options: Json = {
        "unit": column.unit,
        "decimals": column.decimals,
        "custom.width": column.width,
        "links": [link.json() for link in column.data_links] or None,
        "mappings": mappings_json(column.mappings) if column.mappings else None,
    }
    if column.thresholds:
        cell = {"type": "color-background", "mode": "basic"} if column.mappings else {"type": "color-text"}
        options["thresholds"] = thresholds_json(column.thresholds)
        options |= {"custom.cellOptions": cell, "color": {"mode": "thresholds"}}
    return {key: value for key, value in options.items() if value is not None}
