"""Recommendations as a table like that of `kubectl get`: plain columns, one line for each container, a total at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rightsizer.checks.differences import effective
from rightsizer.checks.facts import Objection
from rightsizer.cli.assessing import Assessed
from rightsizer.methods.recommendation import ContainerRecommendation
from rightsizer.quantities import format_memory_short
from rightsizer.status.evidence import of_container
from rightsizer.status.sizes import quantity
from rightsizer.status.standing import METHOD_FAILED, NOT_VALID, UP_TO_DATE, Standing
from rightsizer.workload import RESOURCES, Container, ResourceName, SizeField

HEADER = ("NAMESPACE", "WORKLOAD", "CONTAINER", "CPU", "CPU LIMIT", "MEMORY", "MEMORY LIMIT", "EVIDENCE", "NOTE")
NO_USAGE = "NoUsage"
IGNORED = "ModeIgnore"
NOTHING_AGAINST_IT = "-"
NO_EVIDENCE = "-"


def render(assessed: Sequence[Assessed]) -> str:
    """The whole table with its total line."""
    rows = [HEADER, *(row for one in assessed for row in _rows(one))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", total(assessed)])


def total(assessed: Sequence[Assessed]) -> str:
    """What all pods together request now and would request: `13 workloads, 20 pods: requests of CPU 13.2 -> 8.88 cores (33% less), ...`."""
    pods = sum(one.workload.replicas for one in assessed)
    figures = ", ".join(_total_of(assessed, resource) for resource in RESOURCES)
    return f"{_counted(len(assessed), 'workload')}, {_counted(pods, 'pod')}: requests of {figures}"


def note(standing: Standing, container: Container) -> str:
    """What would hold an automatic change of this container back, by the words of the checks; `-` where nothing would."""
    found = standing.recommendations.get(container.name)
    if found is None:
        return IGNORED
    if standing.trouble is not None:
        return standing.trouble.reason
    if found.cpu is None and found.memory is None:
        return METHOD_FAILED if found.trouble else NO_USAGE
    changed = {change.path.resource for change in standing.changes if change.path.container == container.name}
    if not changed:
        return UP_TO_DATE
    words = [word for objection in standing.verdict.objections if (word := _word(objection, container.name, changed))]
    if words:
        return ",".join(words)
    return NOTHING_AGAINST_IT if any(change.path.container == container.name for change in standing.verdict.allowed) else NOT_VALID


def _rows(one: Assessed) -> Iterable[tuple[str, ...]]:
    for container in one.workload.sizable:
        found = one.standing.recommendations.get(container.name)
        yield (
            one.workload.ref.namespace,
            str(one.workload.ref),
            container.name,
            _cell(container, found, "cpu", "request"),
            _cell(container, found, "cpu", "limit"),
            _cell(container, found, "memory", "request"),
            _cell(container, found, "memory", "limit"),
            _evidence(one.standing, container),
            note(one.standing, container),
        )


def _evidence(standing: Standing, container: Container) -> str:
    found = standing.evidence.get(container.name)
    return NO_EVIDENCE if found is None or not found.proves_anything else of_container(container, found)


def _cell(container: Container, found: ContainerRecommendation | None, resource: ResourceName, field: SizeField) -> str:
    """`500m -> 216m`, `216m` where nothing would change, `500m -> ?` where nothing is known."""
    now = _text(resource, effective(container.sizes, resource, field))
    if found is None:
        return now
    if found.explanation(resource) is None:
        return f"{now} -> ?"
    wanted = _text(resource, effective(found.wanted, resource, field))
    return now if now == wanted else f"{now} -> {wanted}"


def _text(resource: ResourceName, value: int | None) -> str:
    return "unset" if value is None else quantity(resource, value)


def _word(objection: Objection, container: str, changed: set[ResourceName]) -> str:
    """The reason; with the resources where it holds back only some of the changes; nothing where it leaves the container alone."""
    if objection.paths is None:
        return str(objection.reason)
    held = {path.resource for path in objection.paths if path.container == container}
    if not held:
        return ""
    return str(objection.reason) if held == changed else f"{objection.reason}({'+'.join(sorted(held))})"


def requested(assessed: Iterable[Assessed], resource: ResourceName) -> tuple[int, int]:
    """What all pods request now, and what they would request; millicores or bytes."""
    now = wanted = 0
    for one in assessed:
        for container in one.workload.sizable:
            found = one.standing.recommendations.get(container.name)
            before = effective(container.sizes, resource, "request") or 0
            after = before if found is None else effective(found.wanted, resource, "request") or 0
            now += before * one.workload.replicas
            wanted += after * one.workload.replicas
    return now, wanted


def _total_of(assessed: Iterable[Assessed], resource: ResourceName) -> str:
    now, wanted = requested(assessed, resource)
    share = _share(now, wanted)
    if resource == "cpu":
        return f"CPU {_cores(now)} -> {_cores(wanted)} cores{share}"
    return f"memory {format_memory_short(now)} -> {format_memory_short(wanted)}{share}"


def _cores(millicores: int) -> str:
    """216 -> 0.22, 13150 -> 13.2, 1000000 -> 1,000.0"""
    return f"{millicores / 1000:,.{2 if millicores < 10_000 else 1}f}"


def _share(now: int, wanted: int) -> str:
    if not now or now == wanted:
        return ""
    return f" ({abs(now - wanted) / now:.0%} {'less' if wanted < now else 'more'})"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
