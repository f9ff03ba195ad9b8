"""The worker of the task queue `payment-tasks`: the wallet top-up and its activities."""

from collections.abc import Sequence

from temporalio.client import Client
from temporalio.worker import Worker, WorkerDeploymentConfig

from temporal_slo.interceptor import SLOPlugin
from temporal_slo.reference.activities.payment import PaymentActivities
from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.workers.limits import DRAIN, MAX_CONCURRENT_ACTIVITIES, MAX_CONCURRENT_WORKFLOW_TASKS
from temporal_slo.reference.workflows.wallet import WalletTopUpWorkflow
from temporal_slo.reference.workflows.wallet_messages import TASK_QUEUE


def payment_worker(
    client: Client,
    services: ServiceClient,
    *,
    task_queue: str = TASK_QUEUE,
    max_concurrent_activities: int = MAX_CONCURRENT_ACTIVITIES,
    max_concurrent_workflow_tasks: int = MAX_CONCURRENT_WORKFLOW_TASKS,
    spec: Sequence[str] | None = None,
    deployment: WorkerDeploymentConfig | None = None,
) -> Worker:
    """Return a worker; start it with `async with` or `run()`.

    Args:
        client: Client of the worker's namespace.
        services: Client of the services that the activities call.
        task_queue: Task queue to poll.
        max_concurrent_activities: Maximum of concurrent activities.
        max_concurrent_workflow_tasks: Maximum of concurrent workflow tasks.
        spec: SLO spec files or directories, for latency objectives and outcomes; None for none.
        deployment: Version of the code that this worker runs; None for none.
    """
    activities = PaymentActivities(services)
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[WalletTopUpWorkflow],
        activities=[
            activities.initiate_paystack_payment,
            activities.cancel_paystack_payment,
            activities.refund_paystack_payment,
            activities.credit_wallet,
            activities.generate_invoice,
            activities.send_receipt_email,
            activities.request_approval,
            activities.remind_approver,
            activities.close_approval,
        ],
        max_concurrent_activities=max_concurrent_activities,
        max_concurrent_workflow_tasks=max_concurrent_workflow_tasks,
        graceful_shutdown_timeout=DRAIN,
        deployment_config=deployment,
        plugins=[SLOPlugin(spec=spec)],
    )
