"""What measuring cost, as the operator and Prometheus count it themselves, and how much of its window each workload's numbers cover.

Knows the names of their metrics and the fields of a recommendation, nothing of how the two are run.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from demo.cast import YOUNG
from demo.results import Finding, Key, Manifest
from demo.screen import DemoFailed
from tests.testbed.addresses import opener

MOST_CYCLES = 6
SECONDS_FOR_A_CYCLE = 60.0
SECONDS_BETWEEN_LOOKS = 0.2

_READING = ("get", "list", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was counted up to a moment, or between two. `writes` are among the `api_requests`; bytes are those of Prometheus' answers."""

    cycles: float = 0.0
    questions: float = 0.0
    bytes: float = 0.0
    waiting_seconds: float = 0.0
    operator_cpu_seconds: float = 0.0
    prometheus_cpu_seconds: float = 0.0
    api_requests: float = 0.0
    writes: float = 0.0

    def since(self, earlier: Spent) -> Spent:
        return Spent(**{name: getattr(self, name) - getattr(earlier, name) for name in self.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class Reading:
    """Both programs' counters at one moment, and what the operator's history holds: containers, and the share of the window read."""

    spent: Spent
    containers: int
    share_read: float

    @property
    def whole(self) -> bool:
        """Whether the operator has measured anything, and all of the window."""
        return self.containers > 0 and self.share_read >= 1


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the first reading of the whole window, and of the cycles that were watched after it, the last of which had nothing to ask."""

    backfill: Reading
    cycles: tuple[Spent, ...]


def reading_of(operator: str, prometheus: str) -> Reading:
    """From the texts of both `/metrics`."""
    ours, theirs = _samples(operator), _samples(prometheus)
    api = [(labels["verb"], value) for labels, value in ours["rightsizer_api_requests_total"]]
    spent = Spent(
        cycles=_sum(ours, "rightsizer_cycles_total"),
        questions=_sum(ours, "rightsizer_usage_source_requests_total"),
        bytes=_sum(ours, "rightsizer_usage_source_bytes_total"),
        waiting_seconds=_sum(ours, "rightsizer_usage_source_seconds_total"),
        operator_cpu_seconds=_sum(ours, "process_cpu_seconds_total"),
        prometheus_cpu_seconds=_sum(theirs, "process_cpu_seconds_total"),
        api_requests=sum(value for _, value in api),
        writes=sum(value for verb, value in api if verb not in _READING),
    )
    return Reading(spent, int(_sum(ours, "rightsizer_history_containers")), _sum(ours, "rightsizer_history_read_share"))


Samples = Mapping[str, list[tuple[Mapping[str, str], float]]]


def _samples(text: str) -> Samples:
    found: defaultdict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name].append((sample.labels, sample.value))
    return found


def _sum(samples: Samples, name: str) -> float:
    return sum(value for _, value in samples[name])


class Meter:
    """Reads both programs. Make it when Prometheus runs and the operator has not begun to measure: from then on the CPU is counted."""

    def __init__(self, *, operator_url: str, prometheus_url: str) -> None:
        self._operator_url, self._prometheus_url = f"{operator_url}/metrics", f"{prometheus_url}/metrics"
        self._before = Spent(prometheus_cpu_seconds=reading_of("", _text(self._prometheus_url)).spent.prometheus_cpu_seconds)

    def read(self) -> Reading | None:
        """None while the operator does not serve yet."""
        try:
            operator = _text(self._operator_url)
        except OSError:
            return None
        reading = reading_of(operator, _text(self._prometheus_url))
        return Reading(reading.spent.since(self._before), reading.containers, reading.share_read)

    def cycles_until_quiet(self) -> tuple[Spent, ...]:
        """Whole cycles, one after the other, up to one in which there was nothing to ask. Raises DemoFailed without such a one."""
        cycles: list[Spent] = []
        before = self._end_of_cycle(after=self.cycles())
        while len(cycles) < MOST_CYCLES:
            after = self._end_of_cycle(after=before.cycles)
            cycles.append(after.since(before))
            if cycles[-1].cycles == 1 and not cycles[-1].questions:
                return tuple(cycles)
            before = after
        raise DemoFailed(f"each of {MOST_CYCLES} cycles in a row had something to ask, though a slot ends every 5 minutes")

    def cycles(self) -> float:
        """How many have ended so far. Prometheus is not looked at: that would count as its work."""
        return _sum(_samples(_text(self._operator_url)), "rightsizer_cycles_total")

    def _end_of_cycle(self, *, after: float) -> Spent:
        """Right after the cycle with a higher number ended: while the operator rests, its counters stand still."""
        deadline = time.monotonic() + SECONDS_FOR_A_CYCLE
        while time.monotonic() < deadline:
            if self.cycles() > after and (reading := self.read()) is not None:
                return reading.spent
            time.sleep(SECONDS_BETWEEN_LOOKS)
        raise DemoFailed(f"no cycle of the operator ended within {SECONDS_FOR_A_CYCLE:g} s")


def _text(url: str) -> str:
    with opener().open(url, timeout=10.0) as response:
        return str(response.read().decode())


def table(cost: Cost) -> str:
    """A line for each time that was measured."""
    rows: list[tuple[str, ...]] = [
        ("", "CYCLES", "QUESTIONS", "ANSWERS", "WAITED", "CPU PROMETHEUS", "CPU OPERATOR", "API REQUESTS", "WRITES"),
        (f"{cost.backfill.containers} containers, the whole window", *_figures(cost.backfill.spent)),
        *((_name(cycle), *_figures(cycle)) for cycle in cost.cycles),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)


def _name(cycle: Spent) -> str:
    return "then, a 5-minute slot ended" if cycle.questions else "then, nothing new"


def _figures(spent: Spent) -> tuple[str, ...]:
    seconds = (spent.waiting_seconds, spent.prometheus_cpu_seconds, spent.operator_cpu_seconds)
    return (
        f"{spent.cycles:.0f}",
        f"{spent.questions:.0f}",
        f"{spent.bytes / 1e6:.2f} MB",
        *(f"{value:.2f} s" for value in seconds),
        f"{spent.api_requests:.0f}",
        f"{spent.writes:.0f}",
    )


def coverage(recommendations: Mapping[Key, Manifest]) -> dict[str, float | None]:
    """Per cent of the window with values, by workload: of the container and resource that has least. None where nothing is explained."""
    return {name: min(_coverages(item), default=None) for (_, name), item in sorted(recommendations.items())}


def _coverages(recommendation: Manifest) -> Iterator[float]:
    for container in recommendation.get("status", {}).get("containers", []):
        for explanation in container.get("explanation", {}).values():
            yield float(explanation["coverage"].removesuffix("%"))


def coverage_lines(recommendations: Mapping[Key, Manifest]) -> Iterator[str]:
    """Workloads with the same coverage on one line, the highest first."""
    together: defaultdict[float, list[str]] = defaultdict(list)
    for name, share in coverage(recommendations).items():
        together[-1 if share is None else share].append(name)
    for share, names in sorted(together.items(), reverse=True):
        yield f"{'none' if share < 0 else f'{share:g} %':>6}  {', '.join(names)}"


def findings(cost: Cost, recommendations: Mapping[Key, Manifest]) -> Iterator[Finding]:
    """What must hold of cost and coverage."""
    read = cost.backfill.share_read
    yield Finding(f"{read * 100:.0f} % of the window was read, in {cost.backfill.spent.questions:.0f} questions", cost.backfill.whole)
    short = [name for name, share in coverage(recommendations).items() if (share or 0) < 99 and name != YOUNG]
    yield Finding(f"every workload but the new one has values for its whole window{_listed(short)}", not short)
    quiet = cost.cycles[-1]
    told = f"{quiet.questions:.0f} questions, {quiet.api_requests:.0f} API requests, {quiet.writes:.0f} writes"
    yield Finding(f"a cycle with nothing new: {told}", not quiet.questions and not quiet.writes)


def _listed(names: list[str]) -> str:
    return f"; not so: {', '.join(names)}" if names else ""
