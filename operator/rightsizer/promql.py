"""The questions that Rightsizer asks about usage, as PromQL texts: one text for many containers, never one per container.

It knows the metrics of the kubelet (cAdvisor) and of kube-state-metrics and their labels; it does not know how a text is sent or what
comes back. Equal questions give equal texts, so that a caching front end can answer a repeated one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from rightsizer.history import SLOT_SECONDS, UsageKind
from rightsizer.workload import ResourceName

CPU_METRIC = "container_cpu_usage_seconds_total"
MEMORY_METRIC = "container_memory_working_set_bytes"
POD_OWNER_METRIC = "kube_pod_owner"
REPLICA_SET_OWNER_METRIC = "kube_replicaset_owner"
JOB_OWNER_METRIC = "kube_job_owner"
# kube-state-metrics keeps init containers, and so native sidecars, in families of their own.
# The pod of a Job that failed is not started again, and the end that it came to is not its last but its present state.
OOM_METRICS = (
    "kube_pod_container_status_last_terminated_reason",
    "kube_pod_init_container_status_last_terminated_reason",
    "kube_pod_container_status_terminated_reason",
    "kube_pod_init_container_status_terminated_reason",
)
MEMORY_LIMIT_METRICS = ("kube_pod_container_resource_limits", "kube_pod_init_container_resource_limits")

# The kubelet has them only of containers with a CPU limit: a period (100 ms) counts as throttled where the limit was used up in it.
CFS_PERIODS_METRIC = "container_cpu_cfs_periods_total"
CFS_THROTTLED_METRIC = "container_cpu_cfs_throttled_periods_total"

# What the optional rules of manifests/prometheus-rules record, the last as the sign that the others are complete for a namespace.
RECORDED_METRICS: dict[UsageKind, str] = {
    "cpu": "rightsizer:container_cpu_usage_cores",
    "memory": "rightsizer:container_memory_working_set_bytes",
    "throttled": "rightsizer:container_cpu_throttled_share",
}
RECORDED_CONTAINERS_METRIC = "rightsizer:recorded_containers"
RECORDED_LATER_SECONDS = 60
"""The rules record a slot in the five minutes that begin so long after its end, when late samples have come."""

USAGE_METRICS: dict[ResourceName, str] = {"cpu": CPU_METRIC, "memory": MEMORY_METRIC}
METRICS: dict[UsageKind, str] = {"cpu": CPU_METRIC, "memory": MEMORY_METRIC, "throttled": CFS_THROTTLED_METRIC}

SCRAPE_INTERVAL_WINDOW_SECONDS = 900
_USUAL_INTERVALS_SECONDS = (1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 900)

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TEXT = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)"""
_MATCHER = re.compile(rf"\s*(?:{_LABEL_NAME.pattern}|{_TEXT})\s*(?P<operator>=~|!~|!=|=)\s*(?P<text>{_TEXT})\s*")
# What neither the regular expressions of Python nor those of the servers take; in the rest they differ.
_UNCLOSED = ("missing )", "unbalanced parenthesis", "unterminated character set")
_REGEX_METACHARACTERS = str.maketrans({character: f"\\{character}" for character in "\\.+*?()|[]{}^$"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelNames:
    """What the labels are called that say whose a series is, in an installation that relabels them."""

    namespace: str = "namespace"
    pod: str = "pod"
    container: str = "container"

    @property
    def of_container(self) -> tuple[str, str, str]:
        return self.namespace, self.pod, self.container

    @property
    def of_pod_owner(self) -> tuple[str, str, str, str]:
        return self.namespace, self.pod, "owner_kind", "owner_name"

    @property
    def of_replica_set_owner(self) -> tuple[str, str, str, str]:
        return self.namespace, "replicaset", "owner_kind", "owner_name"

    @property
    def of_job(self) -> tuple[str, str]:
        return self.namespace, "job_name"


USUAL_LABELS = LabelNames()


def parse_label_names(text: str) -> LabelNames:
    """Names written as `namespace=kubernetes_namespace,pod=pod_name`; what is left out is called as usual. Raises ValueError."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    given = {label.strip(): name.strip() for label, _, name in pairs}
    known = [each.name for each in fields(LabelNames)]
    if len(given) < len(pairs) or not given.keys() <= set(known):
        raise ValueError(f"write {'=NAME,'.join(known)}=NAME, or some of these, each once")
    for label, name in given.items():
        if not _LABEL_NAME.fullmatch(name):
            raise ValueError(f"{label}={name}: the name of a label has letters, digits and underscores, and no digit first")
    names = LabelNames(**given)
    if len(set(names.of_container)) < len(known):
        raise ValueError(f"{', '.join(known)} need three names, not {', '.join(names.of_container)}")
    return names


def checked_matchers(text: str) -> str:
    """Label matchers (`cluster="east",zone=~"a|b"`) as they stand between the braces of a selector; may be empty. Raises ValueError."""
    matchers = text.strip().removesuffix(",")
    place = 0
    while place < len(matchers):
        found = _MATCHER.match(matchers, place)
        if found is None or matchers[found.end() :][:1] not in ("", ","):
            raise ValueError(f"""{matchers[place:]!r} is no matcher: write cluster="east", several with commas between them""")
        if found["operator"] in ("=~", "!~"):
            _check_closed(found["text"])
        place = found.end() + 1
    return matchers


def _check_closed(literal: str) -> None:
    pattern = literal[1:-1] if literal.startswith("`") else re.sub(r"\\(.)", r"\1", literal[1:-1])
    try:
        re.compile(pattern)
    except re.error as error:
        if error.msg.startswith(_UNCLOSED):
            raise ValueError(f"{literal} is no regular expression: {error.msg}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which part of the usage source is meant: these namespaces, and only series that `extra_matchers` (`cluster="x"`) match too.

    `labels` are those of the kubelet's metrics, `state_labels` those of kube-state-metrics.
    """

    namespaces: Sequence[str]
    extra_matchers: str = ""
    labels: LabelNames = USUAL_LABELS
    state_labels: LabelNames = USUAL_LABELS


def quoted(text: str) -> str:
    """A PromQL string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def matcher(label: str, values: Sequence[str]) -> str:
    """A label matcher for exactly these values, whatever characters they hold; in the order of the alphabet, each once."""
    wanted = sorted(set(values))
    if len(wanted) == 1:
        return f"{label}={quoted(wanted[0])}"
    return f"{label}=~{quoted('|'.join(value.translate(_REGEX_METACHARACTERS) for value in wanted))}"


def cpu_range_seconds(scrape_interval_seconds: int) -> int:
    """The range of `rate` for one slot: max(slot + scrape interval, 4 x scrape interval).

    The first term: a rate is taken between the first and the last sample of its range, so with the slot alone the increase between
    the last sample of one slot and the first of the next would belong to neither. The second: at least two samples, which a rate
    needs, also when a scrape is missed. The formula is ours.

        interval   15   30   60  100  120  300
        range     315  330  360  400  480 1200
    """
    return max(SLOT_SECONDS + scrape_interval_seconds, 4 * scrape_interval_seconds)


def memory_range_seconds(scrape_interval_seconds: int) -> int:
    """The range of the peak for one slot: the slot, or two scrape intervals where that is longer, so that a sample is in it."""
    return max(SLOT_SECONDS, 2 * scrape_interval_seconds)


def usage(kind: UsageKind, scope: Scope, *, scrape_interval_seconds: int) -> str:
    """Usage per container, to be evaluated at the end of each slot: CPU in cores (mean rate), memory in bytes (peak).

    `throttled` is the share of the CFS periods in which the container was throttled, and no value where it was not at all.
    `max by` merges what shows one container several times: several scrape jobs, or the cgroups of a container before and after its restart.
    """
    if kind == "throttled":
        return _throttled(scope, range_seconds=cpu_range_seconds(scrape_interval_seconds))
    function = "rate" if kind == "cpu" else "max_over_time"
    range_seconds = usage_range_seconds(kind, scrape_interval_seconds)
    return _max_by(scope.labels.of_container, f"{function}({usage_selector(kind, scope)}[{range_seconds}s])")


def usage_selector(resource: ResourceName, scope: Scope) -> str:
    """The series behind `usage`."""
    return _of_containers(METRICS[resource], scope)


def usage_range_seconds(resource: ResourceName, scrape_interval_seconds: int) -> int:
    """The range behind `usage`."""
    return cpu_range_seconds(scrape_interval_seconds) if resource == "cpu" else memory_range_seconds(scrape_interval_seconds)


def recorded_usage(kind: UsageKind, scope: Scope, *, scrape_interval_seconds: int) -> str:
    """The same values as `usage` gives, to be evaluated at the same times, as the rules recorded them."""
    selector = _recorded(RECORDED_METRICS[kind], scope, scrape_interval_seconds)
    return _max_by(scope.labels.of_container, f"last_over_time({selector}[{SLOT_SECONDS}s] {_RECORDED_OFFSET})")


def recorded_slots(scope: Scope, *, slots: int, scrape_interval_seconds: int) -> str:
    """By namespace, of how many of the last slots the usage was recorded, to be evaluated at the end of the newest one."""
    selector = _recorded(RECORDED_CONTAINERS_METRIC, scope, scrape_interval_seconds)
    return f"max by ({scope.labels.namespace}) (count_over_time({selector}[{slots * SLOT_SECONDS}s] {_RECORDED_OFFSET}))"


# A range of five minutes, open on the left, that holds exactly what was recorded of one slot, whenever in these minutes the rules ran.
_RECORDED_OFFSET = f"offset -{(SLOT_SECONDS + RECORDED_LATER_SECONDS) * 1000 - 1}ms"


def _recorded(metric: str, scope: Scope, scrape_interval_seconds: int) -> str:
    # The ranges of the rules fit one scrape interval, which they say: for a namespace with another one they would be other values.
    return _selector(metric, f'scrape_interval="{scrape_interval_seconds}"', scope, namespace=scope.labels.namespace)


def throttling_selector(scope: Scope) -> str:
    """The series behind the throttled share: of the periods that were throttled, and of all."""
    return _of_containers("", scope, matcher("__name__", (CFS_THROTTLED_METRIC, CFS_PERIODS_METRIC)))


def _throttled(scope: Scope, *, range_seconds: int) -> str:
    # Most containers are not throttled most of the time: `> 0` first, so that these are neither divided nor sent.
    throttled, periods = (
        f"rate({_of_containers(metric, scope)}[{range_seconds}s])" for metric in (CFS_THROTTLED_METRIC, CFS_PERIODS_METRIC)
    )
    return _max_by(scope.labels.of_container, f"({throttled} > 0) / {periods}")


def series_by_samples(scope: Scope) -> str:
    """By namespace, how many containers have how many CPU samples (label `samples`) within the last 15 minutes; younger ones have fewer."""
    samples = f"count_over_time({_of_containers(CPU_METRIC, scope)}[{SCRAPE_INTERVAL_WINDOW_SECONDS}s])"
    return f'count_values by ({scope.labels.namespace}) ("samples", {samples})'


def limited_now(scope: Scope) -> str:
    """By namespace, how many containers have CFS periods now: those with a CPU limit."""
    return f"count by ({scope.labels.namespace}) ({_of_containers(CFS_PERIODS_METRIC, scope)})"


def recorded_now(scope: Scope) -> str:
    """By namespace, whether its usage is recorded now."""
    selector = _selector(RECORDED_CONTAINERS_METRIC, "", scope, namespace=scope.labels.namespace)
    return f"count by ({scope.labels.namespace}) ({selector})"


def loads(scope: Scope) -> str:
    """All of the above in one question, told apart by the label `figure` (`series`, `limited`, `recorded`)."""
    figures = {
        "series": series_by_samples(scope),
        "limited": limited_now(scope),
        "recorded": recorded_now(scope),
    }
    return " or ".join(f'label_replace({query}, "figure", "{name}", "", "")' for name, query in figures.items())


def scrape_interval_seconds(samples: float) -> int | None:
    """The interval behind the most samples in the answer to `series_by_samples`, in seconds; None where the answer is no number of samples.

    The nearest of the usual ones, so that a scrape that was missed changes neither the questions nor which namespaces share them.

    samples   90  60  30  15  14  3    1
    interval  10  15  30  60  60  300  900
    """
    if not math.isfinite(samples) or samples <= 0:
        return None
    found = SCRAPE_INTERVAL_WINDOW_SECONDS / samples
    return min(_USUAL_INTERVALS_SECONDS, key=lambda usual: abs(math.log(usual / found)))


def pod_owners(scope: Scope, *, range_seconds: int) -> str:
    """Which controller each pod had that there was within the range; asked once, as a controller is for life."""
    labels = ", ".join(scope.state_labels.of_pod_owner)
    return f"count by ({labels}) (present_over_time({pod_owner_selector(scope)}[{range_seconds}s]))"


def pod_owner_selector(scope: Scope) -> str:
    """The series behind `pod_owners`: their labels alone say it all."""
    return _of_state(POD_OWNER_METRIC, 'owner_is_controller="true"', scope)


def replica_set_owners(scope: Scope, *, range_seconds: int) -> str:
    """Which controller each ReplicaSet had; see `pod_owners`."""
    labels = ", ".join(scope.state_labels.of_replica_set_owner)
    return f"count by ({labels}) (present_over_time({replica_set_owner_selector(scope)}[{range_seconds}s]))"


def replica_set_owner_selector(scope: Scope) -> str:
    """The series behind `replica_set_owners`."""
    return _of_state(REPLICA_SET_OWNER_METRIC, 'owner_is_controller="true"', scope)


def job_owners(scope: Scope, *, range_seconds: int) -> str:
    """Which controller each Job had, also that it had none; see `pod_owners`."""
    labels = ", ".join((*scope.state_labels.of_job, "owner_kind", "owner_name"))
    return f"count by ({labels}) (present_over_time({job_owner_selector(scope)}[{range_seconds}s]))"


def job_owner_selector(scope: Scope) -> str:
    """The series behind `job_owners`."""
    return _selector(JOB_OWNER_METRIC, "", scope, namespace=scope.state_labels.namespace)


def oom_kills(scope: Scope) -> str:
    """Containers whose last end was an OOM kill. By uid too, as a StatefulSet gives the name of a pod to the next one.

    `> 0`: old versions of kube-state-metrics show every reason, with 0 for those that do not hold.
    """
    selector = _of_state("", f'{matcher("__name__", OOM_METRICS)},reason="OOMKilled"', scope)
    labels = (*scope.state_labels.of_container, "uid")
    return f"{_max_by(labels, f'max_over_time({selector}[{SLOT_SECONDS}s])')} > 0"


def memory_limits(scope: Scope, *, pods: Sequence[str]) -> str:
    """Memory limits in bytes of the containers of these pods."""
    of_pods = matcher(scope.state_labels.pod, pods)
    selector = _of_state("", f'{matcher("__name__", MEMORY_LIMIT_METRICS)},resource="memory",{of_pods}', scope)
    return _max_by(scope.state_labels.of_container, f"max_over_time({selector}[{SLOT_SECONDS}s])")


def _of_containers(metric: str, scope: Scope, *further: str) -> str:
    # Besides the containers, cAdvisor exposes the cgroup of each pod (no container name) and its pause container (POD).
    container = scope.labels.container
    matchers = (f'{container}!=""', f'{container}!="POD"', *further)
    return _selector(metric, ",".join(matchers), scope, namespace=scope.labels.namespace)


def _of_state(metric: str, matchers: str, scope: Scope) -> str:
    return _selector(metric, matchers, scope, namespace=scope.state_labels.namespace)


def _selector(metric: str, matchers: str, scope: Scope, *, namespace: str) -> str:
    parts = (matchers, matcher(namespace, scope.namespaces), scope.extra_matchers)
    return f"{metric}{{{','.join(part for part in parts if part)}}}"


def _max_by(labels: Sequence[str], expression: str) -> str:
    return f"max by ({', '.join(labels)}) ({expression})"
