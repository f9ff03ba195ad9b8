"""Records the histories of the reference workflows anew: `python -m tests.reference.record [PYTEST-ARGUMENTS]`.

Every test that takes the fixture `recorded` runs, and the history of its run replaces the recorded one. `git diff` then
shows how the histories have changed.

A history that no longer replays is a finding: the change would also break the runs that are open when it is deployed.
Guard it with `workflow.patched`, and record the new histories under names of their own; the old ones stay as long as
such runs may be open. Record anew only if no run can have taken the old path, or after a change that all survive.
"""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(["tests/reference", "--record-histories", *sys.argv[1:]]))
