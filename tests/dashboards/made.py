"""The dashboards of the reference specs."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from temporal_slo.generate.command import links
from temporal_slo.generate.dashboards import BOARDS
from temporal_slo.generate.dashboards.common import Setting
from temporal_slo.generate.kit import render
from temporal_slo.names.sdk import WHOLE, Profile
from temporal_slo.spec.load import load

ROOT: Final = Path(__file__).parents[2]


def setting(profile: Profile = WHOLE) -> Setting:
    """Return what dashboards are made for."""
    return Setting.of(load([ROOT / "deploy" / "slos"]).slos, links(None, None, None), profile)


@cache
def boards(profile: Profile = WHOLE) -> dict[str, str]:
    """Return each dashboard as text by its uid."""
    return {board.uid: render(board) for board in (make(setting(profile)) for make in BOARDS)}


def loaded(uid: str, profile: Profile = WHOLE) -> dict[str, Any]:
    """Return one dashboard as data of the caller's own."""
    made: dict[str, Any] = json.loads(boards(profile)[uid])
    return made
