"""Replays resource usage, recorded or made up, into the tests and the demo: as history and live.

A scenario is a tuple of ``WorkloadUsage``; from it follow the blocks that Prometheus loads, the page that it scrapes and
the CSV file that the command line reads, all three the same function of absolute time.
"""

from tests.usage.shape import UsageShape, constant, ramp, recorded, steps
from tests.usage.workload import ContainerUsage, Resources, Restarts, WorkloadUsage, restarts_above, restarts_each_loop

__all__ = [
    "ContainerUsage",
    "Resources",
    "Restarts",
    "UsageShape",
    "WorkloadUsage",
    "constant",
    "ramp",
    "recorded",
    "restarts_above",
    "restarts_each_loop",
    "steps",
]
