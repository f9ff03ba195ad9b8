"""The list of registered namespaces."""

from collections.abc import Awaitable, Callable
from typing import Final

from temporalio.api.enums.v1 import NamespaceState
from temporalio.api.workflowservice.v1 import ListNamespacesRequest, ListNamespacesResponse
from temporalio.client import Client

from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.rpc import LIST_NAMESPACES

PAGE_SIZE: Final = 100

ListNamespaces = Callable[[], Awaitable[list[str]]]


def namespace_lister(client: Client) -> ListNamespaces:
    """Return a function that lists the registered namespaces; it raises TemporalRequestError."""
    gateway = Gateway(client, client.namespace)

    async def list_namespaces() -> list[str]:
        found, token = list[str](), b""
        while True:
            page = await _page(gateway, token)
            registered = NamespaceState.NAMESPACE_STATE_REGISTERED
            found += [row.namespace_info.name for row in page.namespaces if row.namespace_info.state == registered]
            if not (token := page.next_page_token):
                return found

    return list_namespaces


async def _page(gateway: Gateway, token: bytes) -> ListNamespacesResponse:
    return await gateway.page(
        LIST_NAMESPACES,
        PAGE_SIZE,
        lambda send, rows: send(ListNamespacesRequest(page_size=rows, next_page_token=token)),
        limiter=None,
    )
