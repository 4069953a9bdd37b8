"""Rightsizer's arm: one backfill and twelve further cycles of the real code, against a real API server and a real Prometheus.

Starts the driver, tells it the times of its cycles and measures it and the server from outside.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from types import TracebackType
from typing import IO, Self

from tests.bench.api_content import fill
from tests.bench.generated import GeneratedCluster
from tests.bench.meter import Answered, ProcessMeter, ServerMeter, Spent
from tests.bench.record import Phase, Record, record_of
from tests.bench.usage_server import UsageServer
from tests.testbed import Testbed

ROOT = Path(__file__).parents[2]
CYCLES = 12
CYCLE_SECONDS = 300
# The first cycle is as long before the end of the history as the others need, and each a minute after its slot has ended.
BEFORE_END_SECONDS = CYCLES * CYCLE_SECONDS
AFTER_SLOT_SECONDS = 60
QUIET_SECONDS = 60
"""Too short for a slot to end: as most cycles of an operator are, it has nothing new to tell."""

LONGEST_CYCLE_SECONDS = 3_600.0
SECONDS_BETWEEN_SIGNS_OF_LIFE = 15.0

Tell = Callable[[str], None]
Answer = dict[str, float]
"""What the driver says of a cycle."""


class DriverEnded(Exception):
    """The operator ended or hung; the text tells where to look."""


@dataclass(frozen=True, slots=True)
class CycleCost:
    """What one cycle cost, on both sides."""

    wall_s: float
    server: Spent
    operator_cpu_s: float
    operator_peak_mb: float
    api_requests: float
    api_writes: float
    api_s: float
    trouble: str


class DrivenOperator:
    """The driver as a child process, ended with the `with` block."""

    def __init__(self, *, kubeconfig: Path, server: UsageServer, log: Path, containers: int) -> None:
        self._server = server
        self._log = log
        self._containers = containers
        self._history = tempfile.TemporaryDirectory(prefix="rightsizer-bench-history-")
        self._command = [
            *(sys.executable, "-m", "tests.bench.driver", f"--kubeconfig={kubeconfig}", f"--prometheus-url={server.url}"),
            f"--history-folder={self._history.name}",
        ]

    def __enter__(self) -> Self:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._output: IO[bytes] = self._log.open("wb")
        environment = {**os.environ, "no_proxy": "127.0.0.1", "PYTHONPATH": os.pathsep.join([str(ROOT / "operator"), str(ROOT)])}
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._output, cwd=ROOT, env=environment
        )
        self._meter = ProcessMeter(self._process.pid)
        self._answer(tell=lambda: None)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._output.close()
        self._history.cleanup()

    def backfill(self, *, at: float, tell: Tell) -> CycleCost:
        """Cycles one after the other, all as if it were `at` (unix seconds), until the whole window has been read. Raises DriverEnded."""
        return self._run(at, tell, _reading)

    def prove(self, *, at: float, tell: Tell) -> CycleCost:
        """The same until every container has its evidence: of each cycle's time a second goes into it. Raises DriverEnded."""
        return self._run(at, tell, _proving)

    def cycle(self, *, at: float, tell: Tell) -> CycleCost:
        """One cycle. Raises DriverEnded."""
        return self._run(at, tell, lambda answers: False)

    def _run(self, at: float, tell: Tell, going_on: Callable[[Sequence[Answer]], bool]) -> CycleCost:
        meter = ServerMeter(self._server)
        self._meter.reset_peak()
        cpu = self._meter.cpu_seconds()
        answers = [self._one_cycle(at, meter, tell)]
        while going_on(answers):
            tell(
                f"  {answers[-1]['share_read']:.0%} of the window read, {answers[-1]['proved']:.0f} with evidence, {meter.seconds():.0f} s"
            )
            answers.append(self._one_cycle(at, meter, tell))
        return CycleCost(
            wall_s=_sum(answers, "seconds"),
            server=meter.read(),
            operator_cpu_s=self._meter.cpu_seconds() - cpu,
            operator_peak_mb=self._meter.peak_mb(),
            api_requests=_sum(answers, "api_requests"),
            api_writes=_sum(answers, "api_writes"),
            api_s=_sum(answers, "api_s"),
            trouble=self._trouble(answers[-1]),
        )

    def _one_cycle(self, at: float, meter: ServerMeter, tell: Tell) -> Answer:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{at}\n".encode())
        self._process.stdin.flush()
        return self._answer(tell=lambda: tell(f"  {meter.seconds():.0f} s, Prometheus CPU {meter.cpu_seconds():.0f} s"))

    def _trouble(self, answer: Answer) -> str:
        if answer["containers"] != self._containers:
            return f"{answer['containers']:.0f} of {self._containers} containers were looked at"
        if answer["share_read"] < 1:
            return f"{answer['share_read']:.1%} of the window were read"
        found = {"workloads failed": answer["failed"], "namespaces were not measured": answer["troubled_namespaces"]}
        return ", ".join(f"{count:.0f} {text}" for text, count in found.items() if count)

    def _answer(self, *, tell: Callable[[], None]) -> Answer:
        assert self._process.stdout is not None
        deadline = time.monotonic() + LONGEST_CYCLE_SECONDS
        while not select.select([self._process.stdout], [], [], SECONDS_BETWEEN_SIGNS_OF_LIFE)[0]:
            tell()
            if time.monotonic() > deadline:
                raise DriverEnded(f"no cycle within {LONGEST_CYCLE_SECONDS:.0f} s: see {self._log}")
        line = self._process.stdout.readline()
        if not line:
            raise DriverEnded(f"the operator ended:\n{self._log.read_text(errors='replace')[-2000:]}")
        return dict(json.loads(line))


def run_operator(bed: Testbed, server: UsageServer, cluster: GeneratedCluster, *, log: Path, tell: Tell) -> list[Record]:
    """The records of both phases."""
    began = time.monotonic()
    kubeconfig = fill(bed, cluster)
    tell(f"  {len(cluster.workloads):,} workloads put into the API server in {time.monotonic() - began:.0f} s")
    containers = len(cluster.sized_containers)
    first = float(cluster.end - BEFORE_END_SECONDS + AFTER_SLOT_SECONDS)
    with DrivenOperator(kubeconfig=kubeconfig, server=server, log=log, containers=containers) as operator:
        backfill = operator.backfill(at=first, tell=tell)
        tell(f"  backfill: {backfill.wall_s:.1f} s, Prometheus CPU {backfill.server.cpu_s:.1f} s {backfill.trouble}".rstrip())
        evidence = operator.prove(at=first, tell=tell)
        tell(f"  evidence: {evidence.wall_s:.1f} s, operator CPU {evidence.operator_cpu_s:.1f} s, {evidence.api_writes:.0f} writes")
        # The memory that the backfill took would else be counted as the cycles'.
        server.restart()
        cycles = [operator.cycle(at=first + number * CYCLE_SECONDS, tell=tell) for number in range(1, CYCLES + 1)]
        quiet = operator.cycle(at=first + CYCLES * CYCLE_SECONDS + QUIET_SECONDS, tell=tell)
    steady = replace(_record(cluster, "cycle", cycles), quiet_api_writes=quiet.api_writes)
    return [_record(cluster, "backfill", [backfill]), steady]


def _reading(answers: Sequence[Answer]) -> bool:
    """Whether something of the window is missing, and the last cycle read more of it."""
    before = answers[-2]["share_read"] if len(answers) > 1 else 0.0
    return before < answers[-1]["share_read"] < 1


def _proving(answers: Sequence[Answer]) -> bool:
    """Whether evidence of a container is missing, and the last cycle made more of it."""
    before = answers[-2]["proved"] if len(answers) > 1 else -1.0
    return before < answers[-1]["proved"] < answers[-1]["containers"]


def _sum(answers: Sequence[Answer], name: str) -> float:
    return sum(answer[name] for answer in answers)


def _record(cluster: GeneratedCluster, phase: Phase, costs: Sequence[CycleCost]) -> Record:
    """Of several cycles: the median of times and counts, and the mean of the server's work, which it partly does after its answers."""
    record = record_of(
        _mean([cost.server for cost in costs]),
        arm="rightsizer",
        phase=phase,
        containers=cluster.containers,
        days=cluster.days,
        sized_containers=len(cluster.sized_containers),
    )
    return replace(
        record,
        wall_s=median(cost.wall_s for cost in costs),
        operator_cpu_s=median(cost.operator_cpu_s for cost in costs),
        operator_rss_mb=max(cost.operator_peak_mb for cost in costs),
        api_requests=median(cost.api_requests for cost in costs),
        api_writes=median(cost.api_writes for cost in costs),
        api_s=median(cost.api_s for cost in costs),
        trouble=next((cost.trouble for cost in costs if cost.trouble), ""),
    )


def _mean(spent: Sequence[Spent]) -> Spent:
    return Spent(
        wall_s=fmean(one.wall_s for one in spent),
        cpu_s=fmean(one.cpu_s for one in spent),
        peak_mb=max(one.peak_mb for one in spent),
        answered=Answered(
            requests=fmean(one.answered.requests for one in spent),
            bytes=fmean(one.answered.bytes for one in spent),
            samples=fmean(one.answered.samples for one in spent),
            refused=sum(one.answered.refused for one in spent),
        ),
    )
