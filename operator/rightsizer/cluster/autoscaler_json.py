"""A HorizontalPodAutoscaler of the API as an Autoscaler: what it scales, and by which usage of CPU or memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rightsizer.cluster.metadata import Item, group_of
from rightsizer.workload import Autoscaler, ScalingMetric, WorkloadRef

_METRIC_FIELDS = {"Resource": "resource", "ContainerResource": "containerResource"}


def parse_autoscaler(item: Item) -> Autoscaler:
    """The autoscaler behind an item of a list. Metrics that do not depend on requests (Pods, Object, External) are left out."""
    metadata, spec = item["metadata"], item["spec"]
    target = spec["scaleTargetRef"]
    return Autoscaler(
        namespace=metadata["namespace"],
        name=metadata["name"],
        target=WorkloadRef(namespace=metadata["namespace"], kind=target["kind"], name=target["name"]),
        group=group_of(target),
        metrics=tuple(_metrics(spec.get("metrics") or [])),
    )


def _metrics(metrics: list[Mapping[str, Any]]) -> Iterator[ScalingMetric]:
    for metric in metrics:
        source = metric.get(_METRIC_FIELDS.get(metric["type"], ""))
        if source:
            yield ScalingMetric(
                resource=source["name"],
                target_type=source["target"]["type"],
                container=source.get("container"),
            )
