"""Requests for the registered namespaces."""

from collections.abc import Awaitable, Callable

from temporalio.api.enums.v1 import NamespaceState
from temporalio.api.workflowservice.v1 import ListNamespacesRequest
from temporalio.client import Client

from temporal_slo.temporal.rpc import REQUEST_TIMEOUT, answered

Listing = Callable[[], Awaitable[list[str]]]


def listing(client: Client) -> Listing:
    """Return what lists the namespaces that are registered."""

    async def listed() -> list[str]:
        found, token = list[str](), b""
        while True:
            request = ListNamespacesRequest(page_size=100, next_page_token=token)
            async with answered():
                page = await client.workflow_service.list_namespaces(request, timeout=REQUEST_TIMEOUT)
            registered = NamespaceState.NAMESPACE_STATE_REGISTERED
            found += [row.namespace_info.name for row in page.namespaces if row.namespace_info.state == registered]
            if not (token := page.next_page_token):
                return found

    return listed
