"""What a cycle did, counted for metrics and log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rightsizer.cycle.measuring import MeasuringReport
from rightsizer.cycle.proving import ProvingReport
from rightsizer.cycle.reading import Seen
from rightsizer.cycle.settling import Settled
from rightsizer.status.standing import State


@dataclass(frozen=True, slots=True)
class CycleReport:
    """What a cycle did, for metrics and log. `states`: workloads by (mode, state); `reasons`: by the reason told; `unfinished`: changes on
    their way; `read`: share of the window that has been read, over all namespaces; `unread`: time was up, and there is more to be read;
    `questions_answered`, `questions_halved`, `questions_failed`: those to the usage source; `proved_containers`: those with
    evidence; `proving_seconds`: what was spent on it."""

    profiles: int
    workloads: int
    containers: int
    states: Mapping[tuple[str, str], int]
    reasons: Mapping[str, int]
    changed: int
    reverted: int
    unfinished: int
    failed: int
    troubled_namespaces: int
    read: float
    unread: bool
    questions_answered: int
    questions_halved: int
    questions_failed: int
    proved_containers: int
    proving_seconds: float


def report_of(seen: Seen, measured: MeasuringReport, proved: ProvingReport, settled: Sequence[Settled]) -> CycleReport:
    states: defaultdict[tuple[str, str], int] = defaultdict(int)
    reasons: defaultdict[str, int] = defaultdict(int)
    for one in settled:
        states[str(one.mode), str(one.state)] += 1
        reasons[one.reason] += 1
    return CycleReport(
        profiles=len(seen.profiles),
        workloads=len(settled),
        containers=sum(len(one.container_names) for one in settled),
        states=states,
        reasons=reasons,
        changed=sum(one.changed_now and not one.reverting for one in settled),
        reverted=sum(one.changed_now and one.reverting for one in settled),
        unfinished=sum(one.state in (State.ROLLING_OUT, State.REVERTING) for one in settled),
        failed=sum(one.failed for one in settled),
        troubled_namespaces=len(set(measured.trouble) | set(seen.failed_namespaces)),
        read=sum(measured.read.values()) / len(measured.read) if measured.read else 1.0,
        unread=measured.unread,
        questions_answered=measured.answered,
        questions_halved=measured.halved,
        questions_failed=measured.failed,
        proved_containers=proved.containers,
        proving_seconds=proved.seconds,
    )
