"""`make bench-measure`: what measuring costs, by Rightsizer and by the other ways, side by side on the same history.

SIZES="1000 3000 10000" chooses the clusters, DAYS the history, SAMPLE how many containers the per-container arm asks for, ARMS which
arms run. Records go to `build/bench/measure.json` as soon as a size is done; after a whole run `--docs` writes
`docs/benchmarks.md` too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.generated import GeneratedCluster
from tests.bench.goals import judged
from tests.bench.operator_arm import run_operator
from tests.bench.other_arms import ask_cluster_wide, ask_per_container
from tests.bench.record import ARMS, Record, for_each_phase, write_records
from tests.bench.report import MACHINE_FILE, RECORDS_FILE, RESULT_FOLDER, machine, table, write_docs
from tests.bench.usage_blocks import Size, generated_cluster
from tests.bench.usage_server import usage_server
from tests.testbed import Testbed


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured. `sample`: containers that the per-container arm asks for."""

    sizes: tuple[int, ...] = (1_000, 3_000, 10_000)
    days: int = 14
    sample: int = 50
    arms: tuple[str, ...] = ARMS

    @property
    def whole(self) -> bool:
        """Whether every goal is judged by it."""
        return self == Plan(sample=self.sample)


def plan_from(environment: Mapping[str, str]) -> Plan:
    """Raises ValueError that names the variable."""
    default = Plan()
    arms = tuple(environment.get("ARMS", "").split()) or default.arms
    if not set(arms) <= set(ARMS):
        raise ValueError(f"ARMS: of {', '.join(ARMS)}, not {' '.join(arms)}")
    numbers = {name: environment[name].split() for name in ("SIZES", "DAYS", "SAMPLE") if environment.get(name)}
    for name, texts in numbers.items():
        if not all(text.isdecimal() and int(text) > 0 for text in texts) or (len(texts) != 1 and name != "SIZES"):
            raise ValueError(f"{name}: a number above 0 is needed, not {environment[name]!r}")
    return Plan(
        sizes=tuple(sorted({int(text) for text in numbers["SIZES"]})) if "SIZES" in numbers else default.sizes,
        days=int(numbers["DAYS"][0]) if "DAYS" in numbers else default.days,
        sample=int(numbers["SAMPLE"][0]) if "SAMPLE" in numbers else default.sample,
        arms=arms,
    )


def measure(plan: Plan, *, records_file: Path, log_folder: Path) -> list[Record]:
    """Every arm on every size; the file is written anew after each size."""
    records: list[Record] = []
    for containers in plan.sizes:
        cluster = generated_cluster(Size(containers=containers, days=plan.days), tell=tell)
        tell(f"{containers:,} containers: {cluster.samples / 1e6:,.0f} million samples in {len(cluster.namespaces)} namespaces")
        records += _measure_size(plan, cluster, log_folder)
        write_records(records, records_file)
    return records


def _measure_size(plan: Plan, cluster: GeneratedCluster, log_folder: Path) -> list[Record]:
    records: list[Record] = []
    if "rightsizer" in plan.arms:
        tell("rightsizer")
        with Testbed.start() as bed, usage_server(cluster) as server:
            log = log_folder / f"operator-{cluster.containers}.log"
            records += run_operator(bed, server, cluster, log=log, tell=tell)
    if "per-container" in plan.arms:
        tell("per-container")
        with usage_server(cluster) as server:
            records += for_each_phase(ask_per_container(server, cluster, asked=plan.sample, tell=tell))
    if "cluster-wide" in plan.arms:
        tell("cluster-wide")
        with usage_server(cluster) as server:
            records += for_each_phase(ask_cluster_wide(server, cluster, tell=tell))
    return records


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _print(records: Sequence[Record]) -> None:
    print(table(records))
    print()
    for goal in judged(records):
        if goal.measured:
            print(f"{goal.title}: {goal.measured} ({goal.bound}): {goal.verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks.md")
    given = parser.parse_args()
    try:
        plan = plan_from(os.environ)
    except ValueError as error:
        parser.error(str(error))
    measured_on = machine()
    RESULT_FOLDER.mkdir(parents=True, exist_ok=True)
    MACHINE_FILE.write_text(json.dumps(measured_on, indent=1) + "\n")
    records = measure(plan, records_file=RECORDS_FILE, log_folder=RESULT_FOLDER)
    _print(records)
    if given.docs and plan.whole:
        write_docs(records, measured_on)
    elif given.docs:
        tell("docs/benchmarks.md is left as it is: it is about the whole run, without SIZES, DAYS and ARMS")


if __name__ == "__main__":
    main()
