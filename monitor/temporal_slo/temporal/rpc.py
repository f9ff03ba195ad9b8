"""The calls of Temporal's workflow service that this package makes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    CountWorkflowExecutionsResponse,
    DescribeNamespaceRequest,
    DescribeNamespaceResponse,
    DescribeScheduleRequest,
    DescribeScheduleResponse,
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    GetClusterInfoRequest,
    GetClusterInfoResponse,
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryResponse,
    ListNamespacesRequest,
    ListNamespacesResponse,
    ListSchedulesRequest,
    ListSchedulesResponse,
    ListWorkersRequest,
    ListWorkersResponse,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
)

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

REQUEST_TIMEOUT: Final = timedelta(seconds=30)
"""Timeout of a request in the SDK, which starts once there is a connection."""


@dataclass(frozen=True, slots=True)
class Rpc(Generic[RequestT, ResponseT]):
    """A call of the workflow service.

    Attributes:
        name: Its name in Temporal's API, which is the value of the label `api`.
        request: Message that is sent.
        response: Message that is received.
        timeout: Timeout of a request in the SDK.
        metadata: gRPC metadata of a request.
        rows: Returns the number of rows in a response, for the request log; None for calls that are not logged.
    """

    name: str
    request: type[RequestT]
    response: type[ResponseT]
    timeout: timedelta = REQUEST_TIMEOUT
    metadata: Mapping[str, str] = field(default_factory=dict)
    rows: Callable[[ResponseT], int] | None = None

    @property
    def method(self) -> str:
        """Name of the SDK's method."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()


LIST_WORKFLOWS: Final = Rpc(
    "ListWorkflowExecutions",
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
    rows=lambda page: len(page.executions),
)
COUNT_WORKFLOWS: Final = Rpc(
    "CountWorkflowExecutions",
    CountWorkflowExecutionsRequest,
    CountWorkflowExecutionsResponse,
    rows=lambda answer: answer.count,
)
DESCRIBE_WORKFLOW: Final = Rpc(
    "DescribeWorkflowExecution", DescribeWorkflowExecutionRequest, DescribeWorkflowExecutionResponse
)
GET_HISTORY: Final = Rpc(
    "GetWorkflowExecutionHistory",
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryResponse,
    # Without it the server returns a synthetic continued-as-new event for every closed run that has a successor.
    metadata={"supported-features": "follows-next-run-id"},
)
LIST_SCHEDULES: Final = Rpc("ListSchedules", ListSchedulesRequest, ListSchedulesResponse)
DESCRIBE_SCHEDULE: Final = Rpc(
    "DescribeSchedule",
    DescribeScheduleRequest,
    DescribeScheduleResponse,
    # Short: the server does not answer for a schedule whose server-side worker is down.
    timeout=timedelta(seconds=10),
)
DESCRIBE_TASK_QUEUE: Final = Rpc("DescribeTaskQueue", DescribeTaskQueueRequest, DescribeTaskQueueResponse)
LIST_WORKERS: Final = Rpc("ListWorkers", ListWorkersRequest, ListWorkersResponse)
DESCRIBE_NAMESPACE: Final = Rpc("DescribeNamespace", DescribeNamespaceRequest, DescribeNamespaceResponse)
LIST_NAMESPACES: Final = Rpc("ListNamespaces", ListNamespacesRequest, ListNamespacesResponse)
GET_CLUSTER_INFO: Final = Rpc("GetClusterInfo", GetClusterInfoRequest, GetClusterInfoResponse)
