"""Tells running pods without usage: the usage source does not scrape them, or under other names. An answer without them is no error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rightsizer.cycle.asking import Answered
from rightsizer.cycle.loads import Loads
from rightsizer.errors import UsageSourceError
from rightsizer.promql import USAGE_METRICS
from rightsizer.status.conditions import Trouble
from rightsizer.workload import RESOURCES, Workload


class Silence:
    """Of which namespaces the newest answers had no usage. `narrowed_by`: what may be the reason, in words."""

    def __init__(self, loads: Loads, *, narrowed_by: str) -> None:
        self._loads = loads
        self._asked = f" (asked with {narrowed_by})" if narrowed_by else ""
        self._silent: dict[str, Trouble] = {}

    def trouble(self, namespace: str) -> Trouble | None:
        return self._silent.get(namespace)

    def listen(self, answered: Answered, workloads: Mapping[str, Sequence[Workload]], *, now: float) -> Mapping[str, UsageSourceError]:
        """Look into an answer with the newest usage. Answers of which namespaces it could not be found out, and why."""
        for namespace in answered.question.namespaces:
            self._silent.pop(namespace, None)
        heard = {(batch.resource, series.namespace) for batch in answered.batches for series in batch.series}
        # Where no pod is wanted, none has to be seen.
        expected = [name for name in answered.question.namespaces if any(_runs(workload) for workload in workloads[name])]
        silent = {name: [resource for resource in RESOURCES if (resource, name) not in heard] for name in expected}
        failed: Mapping[str, UsageSourceError] = {}
        try:
            failed = self._loads.learn_anew([name for name in expected if "cpu" in silent[name]], now=now)
        except UsageSourceError as error:
            failed = dict.fromkeys([name for name in expected if silent[name]], error)
        for namespace, resources in silent.items():
            # The first pod may have started after the end of the slot.
            if resources and not ("cpu" in resources and self._loads.present(namespace)):
                names = " and ".join(USAGE_METRICS[resource] for resource in resources)
                message = f"the usage source has no series of {names} in namespace {namespace}{self._asked}"
                self._silent[namespace] = Trouble("MetricsMissing", message)
        return failed


def _runs(workload: Workload) -> bool:
    """Whether a pod of it has to be there now."""
    return workload.ref.steady and workload.replicas > 0
