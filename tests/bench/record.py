"""One line of the result: what one arm cost in one phase on one size. Plain numbers; made by the arms, read by table, goals and plot."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from tests.bench.meter import Spent

Arm = Literal["rightsizer", "per-container", "cluster-wide"]
Phase = Literal["backfill", "cycle"]
ARMS: tuple[Arm, ...] = ("rightsizer", "per-container", "cluster-wide")
PHASES: tuple[Phase, ...] = ("backfill", "cycle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What an arm cost. `_s`: seconds, `_mb`: 10^6 bytes; None where a figure does not apply or was not reached.

    `containers` run at any time; `sized_containers` is how many the workloads declare. `asked_containers`: those that were asked for,
    the figures then being scaled up from them to `sized_containers`. `samples`: read by the server's queries; `refused`: queries that
    the server refused or gave up. `api_s`: time spent in requests to the Kubernetes API. `quiet_api_writes`: those of one more cycle, in
    which no usage is new. `trouble`: why figures are missing or wrong.
    """

    arm: Arm
    phase: Phase
    containers: int
    wall_s: float | None
    prometheus_cpu_s: float | None
    prometheus_peak_mb: float | None
    requests: float | None
    bytes: float | None
    operator_cpu_s: float | None = None
    operator_rss_mb: float | None = None
    api_requests: float | None = None
    api_writes: float | None = None
    days: int = 14
    sized_containers: int = 0
    asked_containers: int | None = None
    samples: float | None = None
    refused: float | None = None
    api_s: float | None = None
    quiet_api_writes: float | None = None
    trouble: str = ""


# Costs of the whole grow with the number of containers asked for; a peak does not.
_SCALED = ("wall_s", "prometheus_cpu_s", "requests", "bytes", "samples")


def record_of(spent: Spent, *, arm: Arm, phase: Phase, containers: int, days: int, sized_containers: int) -> Record:
    return Record(
        arm=arm,
        phase=phase,
        containers=containers,
        wall_s=spent.wall_s,
        prometheus_cpu_s=spent.cpu_s,
        prometheus_peak_mb=spent.peak_mb,
        requests=spent.answered.requests,
        bytes=spent.answered.bytes,
        days=days,
        sized_containers=sized_containers,
        samples=spent.answered.samples,
        refused=spent.answered.refused,
    )


def scaled_up(record: Record, *, asked_containers: int) -> Record:
    """As if all `sized_containers` had been asked for, not only a sample of them."""
    factor = record.sized_containers / asked_containers
    values: dict[str, Any] = {name: None if getattr(record, name) is None else getattr(record, name) * factor for name in _SCALED}
    return replace(record, **values, asked_containers=asked_containers)


def for_each_phase(record: Record) -> list[Record]:
    """An arm that keeps nothing from one time to the next pays the same each time."""
    return [replace(record, phase=phase) for phase in PHASES]


def find(records: Iterable[Record], *, arm: Arm, phase: Phase, containers: int) -> Record | None:
    return next((one for one in records if (one.arm, one.phase, one.containers) == (arm, phase, containers)), None)


def sizes_of(records: Iterable[Record]) -> list[int]:
    return sorted({record.containers for record in records})


def write_records(records: Sequence[Record], file: Path) -> None:
    """JSON: a list of objects, numbers rounded to what was measured."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([_rounded(asdict(record)) for record in records], indent=1) + "\n")


def read_records(file: Path) -> list[Record]:
    known = {field.name for field in fields(Record)}
    return [Record(**{name: value for name, value in one.items() if name in known}) for one in json.loads(file.read_bytes())]


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}
