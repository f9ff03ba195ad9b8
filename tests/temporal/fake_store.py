"""A visibility store at the level of messages: filters, page tokens, and responses that are too large."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution, WorkflowType
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    CountWorkflowExecutionsResponse,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
)
from temporalio.service import RPCError, RPCStatusCode

from .fake_service import FakeService

TOO_LARGE = RPCError("grpc: received message larger than max (9 vs. 4)", RPCStatusCode.RESOURCE_EXHAUSTED, b"")
INVALID_TEXT = RPCError(
    "grpc: error while marshaling: string field contains invalid UTF-8", RPCStatusCode.INTERNAL, b""
)


@dataclass(frozen=True)
class StoredRow:
    """A row of a closed or an open run; times are in microseconds of Unix time.

    Attributes:
        time: Time by which lists are sorted: of the close, or of the start of an open run.
        size: Its part of a response.
        is_open: Whether the run is open.
        is_text: Whether its text can be encoded.
        execution: Ids of the run.
        workflow_type: Name of the workflow type.
        task_queue: Name of the task queue.
    """

    time: int
    size: int = 1
    is_open: bool = False
    is_text: bool = True
    run_id: str = "r"
    workflow_id: str = "w"
    workflow_type: str = "Ride"
    task_queue: str = "rides"

    def message(self) -> WorkflowExecutionInfo:
        """Return the row as a server sends it."""
        row = WorkflowExecutionInfo(
            execution=WorkflowExecution(workflow_id=self.workflow_id, run_id=self.run_id),
            type=WorkflowType(name=self.workflow_type),
            task_queue=self.task_queue,
            status=1 if self.is_open else 2,  # type: ignore[arg-type] # by number, as in the messages
            start_time=_timestamp(self.time if self.is_open else self.time - 1_000_000),
        )
        if not self.is_open:
            row.close_time.CopyFrom(_timestamp(self.time))
        return row


@dataclass
class FakeStore:
    """Visibility of a server that sends at most so much in a response.

    Attributes:
        rows: The rows, in any order.
        limit: Largest sum of sizes in a response.
        sizes: Page size of each list request so far.
        errors: Raised by the next list requests.
    """

    rows: Sequence[StoredRow]
    limit: int
    sizes: list[int] = field(default_factory=list)
    errors: list[RPCError] = field(default_factory=list)

    def service(self) -> FakeService:
        """Return a workflow service with this visibility."""
        return FakeService(list_workflow_executions=self.page, count_workflow_executions=self.count)

    def page(self, request: ListWorkflowExecutionsRequest) -> ListWorkflowExecutionsResponse | RPCError:
        """Return a page, or the error of a server that cannot send it."""
        self.sizes.append(request.page_size)
        if self.errors:
            return self.errors.pop(0)
        after = tuple(request.next_page_token.decode().split("/")) if request.next_page_token else None
        rows = [row for row in self._matching(request.query) if after is None or _key(row) < after]
        page = rows[: request.page_size]
        if not all(row.is_text for row in page):
            return INVALID_TEXT
        if sum(row.size for row in page) > self.limit:
            return TOO_LARGE
        token = "/".join(_key(page[-1])).encode() if len(page) == request.page_size and page else b""
        return ListWorkflowExecutionsResponse(executions=[row.message() for row in page], next_page_token=token)

    def count(self, request: CountWorkflowExecutionsRequest) -> CountWorkflowExecutionsResponse:
        """Return the number of rows."""
        return CountWorkflowExecutionsResponse(count=len(self._matching(request.query)))

    def _matching(self, query: str) -> list[StoredRow]:
        is_open = "Running" in query
        rows = [row for row in self.rows if row.is_open == is_open]
        for operator, text in re.findall(r"(?:Close|Start)Time (<=|>=|<|>) '([^']+)'", query):
            moment = Timestamp()
            moment.FromJsonString(text)
            bound = moment.ToMicroseconds()
            compare = {"<=": int.__le__, ">=": int.__ge__, "<": int.__lt__, ">": int.__gt__}[operator]
            rows = [row for row in rows if compare(row.time, bound)]
        return sorted(rows, key=_key, reverse=True)


def _key(row: StoredRow) -> tuple[str, ...]:
    return f"{row.time:020}", row.run_id


def _timestamp(microseconds: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(microseconds)
    return stamp
