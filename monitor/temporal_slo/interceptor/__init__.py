"""Worker library: SLO metrics of workflows and activities, exposed through the SDK's own metrics.

One line counts everything: `Client.connect(…, plugins=[SLOPlugin()])`.
"""

from temporal_slo.interceptor._outcomes import OutcomeExpression, OutcomeFunction
from temporal_slo.interceptor._plugin import SLOInterceptor, SLOPlugin
from temporal_slo.interceptor._rules import Objective
from temporal_slo.interceptor._runtime import prometheus_runtime

__all__ = [
    "Objective",
    "OutcomeExpression",
    "OutcomeFunction",
    "SLOInterceptor",
    "SLOPlugin",
    "prometheus_runtime",
]
