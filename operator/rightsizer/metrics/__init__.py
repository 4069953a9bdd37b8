"""What the operator tells of itself: counters for Prometheus, and whether it is alive. Knows no Kubernetes and asks nothing."""

from rightsizer.metrics.counters import CycleFigures, OperatorMetrics
from rightsizer.metrics.health import Health
from rightsizer.metrics.server import HealthServer

__all__ = ["CycleFigures", "Health", "HealthServer", "OperatorMetrics"]
