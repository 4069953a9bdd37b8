"""What sizing pods at their creation costs: pods created per second, without the admission policies and with them, by number of entries.

`make bench-create` prints it; with `--docs` it also writes its part of `docs/benchmarks.md`. The pods name a scheduler that is not
there, so that nothing but the API server and etcd works on them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rightsizer.cluster.connection import ApiConnection, configuration
from rightsizer.cluster.transport import Request
from tests import made_page
from tests.bench.meter import ProcessMeter
from tests.made_page import Marks, machine_line
from tests.testbed import Testbed
from tests.testbed.pins import module_file, required_version

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
MARKS = Marks("<!-- bench-create begins: made by `make bench-create` -->", "<!-- bench-create ends -->")
POLICIES = ROOT / "manifests" / "on-create"

WITHOUT = "without the policies"
ENTRIES: Mapping[str, int] = {"no PodSizes": 0, "10 entries": 10, "3,000 entries": 3_000}
SIZED_BY = "rightsizer.dev/sized-by"

_SIZES = {"requests": {"cpu": "216m", "memory": "384Mi"}, "limits": {"cpu": "432m", "memory": "576Mi"}}
_GENEROUS = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}


@dataclass(frozen=True, slots=True)
class Round:
    """Pods that were created by several at once; each took so many seconds. `cpu_seconds`: of the API server, for all of them."""

    arm: str
    wall_seconds: float
    cpu_seconds: float
    seconds: Sequence[float]


class Creator:
    """Creates pods over several connections, and takes them away."""

    def __init__(self, bed: Testbed, *, at_once: int) -> None:
        self._bed = bed
        self._at_once = at_once
        self._wire = ApiConnection(configuration(str(bed.kubeconfig), None))
        self._api_server = ProcessMeter(_pid(bed.directory, "kube-apiserver"))

    def run(self, arm: str, namespace: str, *, pods: int) -> Round:
        began, cpu = time.perf_counter(), self._api_server.cpu_seconds()
        with ThreadPoolExecutor(self._at_once) as pool:
            seconds = list(pool.map(lambda number: self._create(namespace, number), range(pods)))
        wall, cpu = time.perf_counter() - began, self._api_server.cpu_seconds() - cpu
        self._bed.kubectl("delete", "pods", "--all", "--namespace", namespace, "--grace-period=0", "--force", "--wait=true")
        return Round(arm, wall, cpu, seconds)

    def sized(self, namespace: str) -> bool:
        """Whether a new pod there would be sized."""
        answer = self._post(namespace, 0, dry_run=True)
        return SIZED_BY in (answer["metadata"].get("annotations") or {})

    def _create(self, namespace: str, number: int) -> float:
        began = time.perf_counter()
        self._post(namespace, number, dry_run=False)
        return time.perf_counter() - began

    def _post(self, namespace: str, number: int, *, dry_run: bool) -> dict[str, Any]:
        path = f"/api/v1/namespaces/{namespace}/pods"
        query = {"dryRun": "All"} if dry_run else {}
        answer = self._wire.send(
            Request("POST", "create", "pods", path, query=query, body=_pod(number)), connect_seconds=5.0, read_seconds=30.0
        )
        if answer.status != 201:
            raise SystemExit(f"a pod was refused: HTTP {answer.status} {answer.content[:500]!r}")
        return dict(json.loads(answer.content))


def _pid(folder: Path, program: str) -> int:
    """The process of a testbed's program: the one whose command line names both."""
    for found in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = found.read_bytes().decode(errors="replace").split("\0")
            if Path(command[0]).name == program and any(str(folder) in one for one in command):
                return int(found.parent.name)
    raise SystemExit(f"no {program} of the testbed runs")


def _pod(number: int) -> dict[str, Any]:
    # Without a uid that exists, the garbage collector would take it; a blocked owner is looked for only once in a while.
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-0-5d9c7b", "uid": f"u{number}", "controller": True}
    metadata = {"name": f"web-0-5d9c7b-{number:05}", "labels": {"pod-template-hash": "5d9c7b"}, "ownerReferences": [owner]}
    containers = [{"name": name, "image": "registry.example/app:1", "resources": _GENEROUS} for name in ("app", "proxy")]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"schedulerName": "nobody", "containers": containers}}


def _pod_sizes(namespace: str, entries: int) -> dict[str, Any]:
    sized_by = "deployment-web@2026-01-31T08:00:00Z"
    workloads = {f"Deployment/web-{n}": {"sizedBy": sized_by, "containers": {"app": _SIZES, "proxy": _SIZES}} for n in range(entries)}
    metadata = {"name": "rightsizer", "namespace": namespace}
    return {"apiVersion": "rightsizer.dev/v1alpha1", "kind": "PodSizes", "metadata": metadata, "spec": {"workloads": workloads}}


def measure(*, rounds: int, pods: int, at_once: int) -> list[Round]:
    """Every arm in every round, so that what else the machine does meets all of them."""
    with Testbed.start() as bed:
        bed.kubectl("apply", "--server-side", "-k", str(ROOT / "crds"))
        bed.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/podsizes.rightsizer.dev")
        namespaces = {arm: f"bench-{entries}" for arm, entries in ENTRIES.items()}
        for arm, namespace in namespaces.items():
            bed.create_namespace(namespace)
            if ENTRIES[arm]:
                bed.apply(_pod_sizes(namespace, ENTRIES[arm]))
        creator, full = Creator(bed, at_once=at_once), namespaces["3,000 entries"]
        creator.run("warming up", "default", pods=pods)
        found: list[Round] = []
        for _ in range(rounds):
            bed.kubectl("apply", "-k", str(POLICIES))
            bed.wait_for(lambda: creator.sized(full), what="the policies in force")
            found += [creator.run(arm, namespace, pods=pods) for arm, namespace in namespaces.items()]
            bed.kubectl("delete", "-k", str(POLICIES))
            bed.wait_for(lambda: not creator.sized(full), what="the policies gone")
            found.append(creator.run(WITHOUT, full, pods=pods))
        return found


def table(rounds: Sequence[Round]) -> str:
    lines = [
        "| | CPU of the API server per pod, ms | pods created per second | median ms | 99th percentile ms |",
        "| --- | --- | --- | --- | --- |",
    ]
    for arm in (WITHOUT, *ENTRIES):
        of_arm = [one for one in rounds if one.arm == arm]
        seconds = sorted(second for one in of_arm for second in one.seconds)
        rate = len(seconds) / sum(one.wall_seconds for one in of_arm)
        middle, high = seconds[len(seconds) // 2], seconds[len(seconds) * 99 // 100]
        cpu = sum(one.cpu_seconds for one in of_arm) / len(seconds)
        lines.append(f"| {arm} | {cpu * 1000:.1f} | {rate:.0f} | {middle * 1000:.1f} | {high * 1000:.1f} |")
    return "\n".join(lines)


def section(rounds: Sequence[Round], measured_on: Mapping[str, str], *, at_once: int) -> str:
    pods = sum(len(one.seconds) for one in rounds if one.arm == WITHOUT)
    return f"""## Pods sized at their creation

{pods:,} pods of two containers in each row, {at_once} requests at a time, against a real API server with etcd on the same
machine; the rows take turns. The policies are those of `manifests/on-create/`; with entries, each pod is sized. The CPU of the
API server is the figure to go by where other things run on the machine. Repeat it with `make bench-create`.

{machine_line(measured_on)}

{table(rounds)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--pods", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks.md")
    arguments = parser.parse_args()
    rounds = measure(rounds=arguments.rounds, pods=arguments.pods, at_once=arguments.at_once)
    kubernetes = required_version(module_file("kubernetes").read_text(), "k8s.io/kubernetes").removeprefix("v")
    made = section(rounds, made_page.machine(f"Kubernetes {kubernetes}"), at_once=arguments.at_once)
    print(made)
    if arguments.docs:
        MARKS.write(PAGE, made, new_page=f"# Benchmarks\n\n{MARKS.begin}\n{MARKS.end}\n")


if __name__ == "__main__":
    main()
