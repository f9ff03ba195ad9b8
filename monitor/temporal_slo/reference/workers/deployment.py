"""The version of the code that a worker runs, from the environment."""

from collections.abc import Mapping
from typing import Final

from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

from temporal_slo.errors import UsageError

DEPLOYMENT_NAME: Final = "TEMPORAL_DEPLOYMENT_NAME"
BUILD_ID: Final = "TEMPORAL_WORKER_BUILD_ID"
DELIMITERS: Final = ".:"
"""Characters that separate name and build ID in the version strings of the server."""


def deployment_of(environ: Mapping[str, str]) -> WorkerDeploymentConfig | None:
    """Return the deployment version that the environment names; None if it names none.

    The version is reported, to be seen in task queues and histories, but does not route tasks. With
    `use_worker_versioning=True` the server would give tasks only to the version that someone has made current, and
    every workflow would need a versioning behavior.

    Raises:
        UsageError: Only one of the two variables is set, or the name is not valid.
    """
    name, build_id = environ.get(DEPLOYMENT_NAME, ""), environ.get(BUILD_ID, "")
    if not name and not build_id:
        return None
    if not name or not build_id:
        missing = BUILD_ID if name else DEPLOYMENT_NAME
        raise UsageError(missing, "is not set", f"set both {DEPLOYMENT_NAME} and {BUILD_ID}, or neither")
    if any(delimiter in name for delimiter in DELIMITERS):
        raise UsageError(DEPLOYMENT_NAME, f"{name!r} contains '.' or ':'", "write for example booking-workers")
    return WorkerDeploymentConfig(WorkerDeploymentVersion(name, build_id), use_worker_versioning=False)
