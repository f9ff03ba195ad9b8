import pytest
from temporalio import workflow

from .planted import Deaf, Forgetful, Hasty, Twice, Unannounced, Unforgiving, Untracked
from .recorded import recorded, replay

BRANCHES = list(recorded())


@pytest.mark.parametrize("branch", BRANCHES)
async def test_recorded_history(branch: str) -> None:
    """The history of every branch, recorded with earlier code, replays with the code of today in the sandbox."""
    await replay(branch)


@pytest.mark.parametrize(
    ("branch", "changed"),
    [
        ("booking/confirmed", Unannounced),
        ("booking/confirmed", Hasty),
        ("booking/declined", Unforgiving),
        ("wallet/expired", Twice),
        ("wallet/credited", Deaf),
        ("fleet/arrived", Untracked),
        ("fleet/with-carried-manifest", Forgetful),
    ],
)
async def test_breaking_change(branch: str, changed: type) -> None:
    """A change of a workflow that would break open runs fails the replay of their histories."""
    with pytest.raises(workflow.NondeterminismError):
        await replay(branch, changed)
