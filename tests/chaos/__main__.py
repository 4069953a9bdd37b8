"""`make chaos`: kills the operator again and again while it changes 200 of 2,000 workloads, and counts what was lost or done twice.

Writes build/chaos.json and answers with 1 where anything was. The kills hit moments, not seconds: each comes a few changes after a start.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.chaos import judging
from tests.chaos.cluster import ChaosCluster, chaos_cluster
from tests.operator_process import ROOT, OperatorProcess, install_in_place, install_on_create, running
from tests.scenario import Stage, staged
from tests.system.writes_seen import WritesSeen

REPORT = ROOT / "build" / "chaos.json"

MOST_WRITES = 3
CHANGED = ("deployments", "podsizes", "pods")
"""Writes to these are changes; those of recommendations tell of them, and of much else after a start."""

LONGEST_LIFE_SECONDS = 30.0
END_SECONDS = 900.0
APPLIED_AT_ONCE = 200
CALM_NAMESPACES = 2
"""In so many of the namespaces the changes are made undisturbed first, to count what they cost."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--workloads", type=int, default=2_000)
    parser.add_argument("--of-each", type=int, default=100, help="workloads of a namespace, at least 13")
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args()
    cluster = chaos_cluster(options.workloads, of_each=options.of_each)
    tell("a cluster, and a week of usage in its Prometheus")
    with tempfile.TemporaryDirectory() as folder, staged(Path(folder), cluster.usages, *cluster.extra) as stage:
        report = run(stage, cluster, kills=options.kills, chance=random.Random(options.seed))
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    return 0 if not any(report[name] for name in ("lost", "doubled", "forbidden")) else 1


def run(stage: Stage, cluster: ChaosCluster, *, kills: int, chance: random.Random) -> dict[str, Any]:
    prepare(stage, cluster)
    operator = stage.operator(CYCLE_SECONDS="2", ROLLOUTS_PER_NAMESPACE="2", HISTORY_FOLDER=str(stage.folder / "history"))
    due = [name for references in cluster.due.values() for name in references]
    count = len(cluster.usages) + len(cluster.others)
    tell(f"{count:,} workloads, {len(due)} to be changed; first all are only recommended for")
    stage.bed.apply(*cluster.profiles("Recommend", cluster.namespaces))
    with running(operator):
        wait(lambda: len(judging.recommendations(stage, cluster)) == count, "a recommendation for each workload")
    calm = set(cluster.namespaces[:CALM_NAMESPACES])
    cost = undisturbed(stage, cluster, operator, calm)
    stage.bed.apply(*cluster.profiles("Apply", [place for place in cluster.namespaces if place not in calm]))
    with watched_rollouts(stage, cluster) as most:
        tell(f"{kills} kills")
        lives = [life(stage, operator, chance) for _ in range(kills)]
        tell("undisturbed to the end")
        with running(operator):
            wait(lambda: ended(stage, cluster, due), "the end of every change")
            operator.wait_for_cycles(3)
    findings = {
        "lost": judging.lost(stage, cluster),
        "doubled": judging.doubled(stage, cluster),
        "forbidden": judging.forbidden(stage, cluster, most),
    }
    for name, found in findings.items():
        for one in found:
            tell(f"{name}: {one}")
    return {
        "kills": kills,
        "kills_in_mid_work": sum(written > 0 for written in lives),
        "workloads": count,
        "changes": len(due),
        **{name: len(found) for name, found in findings.items()},
        "requests_per_change": cost,
        "most_rollouts_at_a_time": max(most.values(), default=0),
    }


def prepare(stage: Stage, cluster: ChaosCluster) -> None:
    for start in range(0, len(cluster.others), APPLIED_AT_ONCE):
        stage.bed.apply(*cluster.others[start : start + APPLIED_AT_ONCE])
    install_on_create(stage.bed)
    install_in_place(stage.bed)
    # A rollout that takes some seconds can be seen.
    for name in (name for references in cluster.due.values() for name in references):
        place, kind, workload = name.split("/")
        stage.bed.kubectl("patch", kind, workload, "--namespace", place, "--patch", '{"spec":{"minReadySeconds":3}}')
    for name in cluster.forbidden:
        place, kind, workload = name.split("/")
        if workload == "paused":
            stage.bed.kubectl("annotate", kind, workload, "--namespace", place, "rightsizer.dev/paused=true")
        elif workload == "owned":
            body = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": workload, "namespace": place}}
            resources = stage.resources(name)
            body["spec"] = {"template": {"spec": {"containers": [{"name": "app", "resources": resources}]}}}
            stage.bed.kubectl(
                "apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", "-", stdin=json.dumps(body)
            )


def undisturbed(stage: Stage, cluster: ChaosCluster, operator: OperatorProcess, calm: set[str]) -> dict[str, Any]:
    """The changes of some namespaces without a kill, and what one costs in requests."""
    references = [name for all_of in cluster.due.values() for name in all_of if name.split("/")[0] in calm]
    before = len(stage.bed.audit_events(operator.user))
    stage.bed.apply(*cluster.profiles("Apply", sorted(calm)))
    with running(operator):
        wait(lambda: ended(stage, cluster, references), "the end of the undisturbed changes")
    counted = judging.requests_for_changes(stage.bed.audit_events(operator.user)[before:], references)
    share = {name: round(count / len(references), 2) for name, count in sorted(counted.items())}
    return {"all": round(sum(counted.values()) / len(references), 2), "changes": len(references), **share}


def life(stage: Stage, operator: OperatorProcess, chance: random.Random) -> int:
    """From a start to a kill; how much was changed."""
    seen = WritesSeen(stage.bed, operator.user, resources=CHANGED)
    operator.start()
    try:
        seen.wait(chance.randint(1, MOST_WRITES), longest_seconds=LONGEST_LIFE_SECONDS)
        # Some at once, some later, among the records of what became of the changes.
        time.sleep(chance.uniform(0.0, 0.03) if chance.random() < 0.5 else chance.uniform(0.0, 1.0))
    finally:
        operator.kill()
        written = seen.look()
        seen.close()
    return written


@contextlib.contextmanager
def watched_rollouts(stage: Stage, cluster: ChaosCluster) -> Iterator[Counter[str]]:
    """The most rollouts that were seen at a time, by namespace."""
    most: Counter[str] = Counter()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.3):
            for place, count in judging.rolling(stage, cluster).items():
                most[place] = max(most[place], count)

    thread = threading.Thread(target=look, name="rollouts", daemon=True)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def ended(stage: Stage, cluster: ChaosCluster, references: list[str]) -> bool:
    records = judging.recommendations(stage, cluster)
    return all(records.get(name, {}).get("lastChange", {}).get("outcome") == "Succeeded" for name in references)


def wait(predicate: Any, what: str) -> None:
    end = time.monotonic() + END_SECONDS
    while not predicate():
        if time.monotonic() > end:
            tell(f"{what}: not within {END_SECONDS:.0f} s")
            return
        time.sleep(2.0)


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
