"""The other ways to ask, as PromQL: container by container as the usual command-line tools do, or everything at once.

Texts only. They follow the public behaviour of such tools: the history at every 75 s, past pods found through their owners first.
"""

from __future__ import annotations

from collections.abc import Sequence

TOOL_STEP = "75s"
STEP = "5m"


def replica_sets(*, namespace: str, deployment: str, days: int) -> str:
    return f'kube_replicaset_owner{{owner_name="{deployment}",owner_kind="Deployment",namespace="{namespace}"}}[{days}d]'


def pods(*, namespace: str, owner_kind: str, owners: Sequence[str], days: int) -> str:
    return f'kube_pod_owner{{owner_name=~"{"|".join(owners)}",owner_kind="{owner_kind}",namespace="{namespace}"}}[{days}d]'


def running(*, namespace: str, pods: Sequence[str]) -> str:
    return f'kube_pod_status_phase{{phase="Running",pod=~"{"|".join(pods)}",namespace="{namespace}"}} == 1'


def of_container(*, namespace: str, pods: Sequence[str], container: str, days: int) -> list[str]:
    """CPU percentile, memory peak, and how many values each of the two rests on."""
    selector = f'{{namespace="{namespace}",pod=~"{"|".join(pods)}",container="{container}"}}'
    cpu = f"max(rate(container_cpu_usage_seconds_total{selector}[{TOOL_STEP}])) by (container,pod,job)"
    cpu_samples = f"max(container_cpu_usage_seconds_total{selector}) by (container,pod,job)"
    memory = f"max(container_memory_working_set_bytes{selector}) by (container,pod,job)"
    window = f"[{days}d:{TOOL_STEP}]"
    return [
        f"quantile_over_time(0.95,{cpu}{window})",
        f"max_over_time({memory}{window})",
        f"count_over_time({cpu_samples}{window})",
        f"count_over_time({memory}{window})",
    ]


def of_everything(*, days: int) -> list[str]:
    """CPU percentile and memory peak of every container of the cluster, one query each."""
    by = "max by (namespace,pod,container)"
    cpu = f'{by}(rate(container_cpu_usage_seconds_total{{container!=""}}[{STEP}]))'
    memory = f'{by}(container_memory_working_set_bytes{{container!=""}})'
    window = f"[{days}d:{STEP}]"
    return [f"quantile_over_time(0.95,{cpu}{window})", f"max_over_time({memory}{window})"]
