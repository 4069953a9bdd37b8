"""On a real kubelet: control groups change, the kernel kills, and the numbers come from the kubelet's own cAdvisor.

Nothing stands in for anything here but what the containers do. kube-state-metrics is missing, so that the operator reads the pods.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.operator_process import install, install_in_place, install_on_create, running
from tests.realnode import IMAGE, ContainerCgroup, RealNode, why_not
from tests.realnode.cgroups import trees
from tests.realnode.programs import NoPackages, built_programs
from tests.scenario import MEBIBYTE, SLOT_SECONDS, Manifest, Stage, profile
from tests.testbed import BuildError, Testbed
from tests.testbed.addresses import opener, wait_until
from tests.testbed.errors import NotProvided

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.system, pytest.mark.realnode]

SMALL = {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}

# How far two looks at the same memory may be apart: what the shell and the kernel take themselves.
ROUGHLY = 6 * MEBIBYTE


def require_real_node() -> None:
    """Skips with the reason where there can be none; an error where it can be and was not built."""
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no real node: {reason}")
    try:
        built_programs()
    except (NoPackages, NotProvided) as error:
        pytest.skip(f"no real node: {error}")
    except BuildError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="module")
def bed(binaries: Path) -> Iterator[Testbed]:
    require_real_node()
    with Testbed.start() as bed:
        yield bed


@pytest.fixture(scope="module")
def node(bed: Testbed) -> Iterator[RealNode]:
    """With a Prometheus that scrapes it, and the product installed."""
    with RealNode.start(bed) as node:
        bed.start_prometheus(extra={"scrape_configs": [node.scrape_config(interval_seconds=2)]})
        install(bed)
        install_on_create(bed)
        install_in_place(bed)
        yield node


@pytest.fixture(scope="module")
def stage(bed: Testbed, node: RealNode, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(bed, tmp_path_factory.mktemp("stage"))


# What containers do


def holding(mebibytes: int, *, after_seconds: int = 0) -> str:
    """Needs so much memory from some time on, and nothing else: dd has read one block and nobody reads it from the pipe."""
    return (
        f"sleep {after_seconds}; rm -f /tmp/pipe; mkfifo /tmp/pipe; sleep 2147483647 < /tmp/pipe & "
        f"exec dd if=/dev/zero of=/tmp/pipe bs={mebibytes}M"
    )


SPINNING = "while true; do :; done"


def pod_spec(node: RealNode, script: str, resources: Manifest) -> Manifest:
    container = {"name": "app", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", script], "resources": resources}
    return node.placed({"containers": [container]})


def bare_pod(bed: Testbed, node: RealNode, place: str, script: str, resources: Manifest = SMALL) -> Callable[[], Manifest]:
    """Creates the pod `app` in a namespace of its own, waits until it runs; returns how to look at it."""
    bed.create_namespace(place)
    metadata = {"name": "app", "namespace": place}
    bed.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(node, script, resources)})

    def look() -> Manifest:
        found = bed.get("pod", "app", namespace=place)
        assert found is not None
        return found

    bed.wait_for(lambda: look()["status"]["phase"] == "Running", 30.0, f"pod of {place} running")
    return look


def deployment(stage: Stage, node: RealNode, place: str, script: str, resources: Manifest = SMALL) -> None:
    """Creates the Deployment `web` of one pod in a namespace of its own and waits until it is available."""
    stage.bed.create_namespace(place)
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(node, script, resources)}
    metadata = {"name": "web", "namespace": place}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    stage.bed.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    stage.bed.kubectl("rollout", "status", "deployment/web", "-n", place, "--timeout=30s")


def only_pod(stage: Stage, place: str) -> Manifest:
    """The pod of `web`, when the former ones are gone."""

    def pods() -> list[Manifest]:
        return stage.bed.kubectl.items("pods", namespace=place, selector="app=web")

    stage.bed.wait_for(lambda: len(pods()) == 1, 30.0, f"one pod in {place}")
    return pods()[0]


def status_of(pod: Manifest) -> Manifest:
    return dict(pod["status"]["containerStatuses"][0])


def value(bed: Testbed, query: str) -> float | None:
    """The one value that Prometheus has now; None without one."""
    url = f"{bed.prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with opener().open(url, timeout=10.0) as response:
        found = json.load(response)["data"]["result"]
    assert len(found) <= 1, found
    return float(found[0]["value"][1]) if found else None


def wait_seen(bed: Testbed, query: str, seen: Callable[[float], bool], *, timeout_seconds: float = 60.0) -> float:
    """Until Prometheus has a value that is as wanted."""

    def now() -> bool:
        found = value(bed, query)
        return found is not None and seen(found)

    bed.wait_for(now, timeout_seconds, query)
    found = value(bed, query)
    assert found is not None
    return found


def memory_of(place: str) -> str:
    """The most of its pods; for five minutes also of those that were."""
    return f'max(container_memory_working_set_bytes{{namespace="{place}",container="app"}})'


# The node


def test_resize_changes_the_control_group_and_restarts_nothing(bed: Testbed, node: RealNode) -> None:
    look = bare_pod(bed, node, "resized", "sleep 2147483647")
    assert node.cgroup(look(), "app") == ContainerCgroup(cpu_limit=200, memory_limit=64 * MEBIBYTE)
    wanted = {"requests": {"cpu": "150m", "memory": "48Mi"}, "limits": {"cpu": "300m", "memory": "96Mi"}}
    body = {"spec": {"containers": [{"name": "app", "resources": wanted}]}}
    bed.kubectl("patch", "pod", "app", "-n", "resized", "--subresource=resize", "-p", json.dumps(body))
    bed.wait_for(lambda: status_of(look())["resources"] == wanted, 20.0, "resize carried out")
    assert node.cgroup(look(), "app") == ContainerCgroup(cpu_limit=300, memory_limit=96 * MEBIBYTE)
    assert status_of(look())["restartCount"] == 0
    assert status_of(look())["allocatedResources"] == wanted["requests"]


def test_container_that_eats_more_than_its_limit_is_killed(bed: Testbed, node: RealNode) -> None:
    look = bare_pod(bed, node, "eating", holding(80, after_seconds=3))
    bed.wait_for(lambda: "terminated" in status_of(look())["lastState"], 40.0, "end of the container")
    ended = status_of(look())["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    assert status_of(look())["restartCount"] >= 1


def test_kill_of_one_process_shows_in_prometheus_and_not_in_the_pod(bed: Testbed, node: RealNode) -> None:
    """The other way round when the whole container ends: its counter has gone before it is scraped."""
    look = bare_pod(bed, node, "nibbling", "while true; do dd if=/dev/zero of=/dev/null bs=80M count=1; sleep 3; done")
    wait_seen(bed, 'container_oom_events_total{namespace="nibbling",container="app"}', lambda kills: kills >= 1)
    assert (status_of(look())["restartCount"], status_of(look())["lastState"]) == (0, {})


def test_prometheus_sees_what_the_kernel_counts(bed: Testbed, node: RealNode) -> None:
    tight = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "50m", "memory": "64Mi"}}
    look = bare_pod(bed, node, "spinning", SPINNING, tight)
    of_container = '{namespace="spinning",container="app"}'
    throttled, periods = (f"rate(container_cpu_cfs_{name}_total{of_container}[20s])" for name in ("throttled_periods", "periods"))
    wait_seen(bed, f"{throttled} / {periods}", lambda share: share > 0.5)
    before = node.cpu_seconds(look(), "app")
    found = wait_seen(bed, f"container_cpu_usage_seconds_total{of_container}", lambda seconds: seconds >= before)
    assert before <= found <= node.cpu_seconds(look(), "app")
    assert status_of(look())["restartCount"] == 0


# The operator on it

# The first samples are acted on; a slot that has not ended yet is asked for by a clock that is ahead.
AT_ONCE: Manifest = {"minimumHistory": {"raise": "0h", "lower": "0h"}}
LONG_ENOUGH_SECONDS = 60.0


@pytest.fixture
def slot() -> None:
    """Waits where the present slot would end within the test: what was seen before would be no part of the next one."""
    left = SLOT_SECONDS - time.time() % SLOT_SECONDS
    if left < LONG_ENOUGH_SECONDS:
        time.sleep(left)


def explained(stage: Stage, reference: str) -> Manifest:
    """The explanation of the recommendation for the container of a workload, by resource."""
    return dict(stage.recommendation(reference)["containers"][0]["explanation"])


@pytest.mark.usefixtures("slot")
def test_recommendation_follows_what_the_kubelet_measured(stage: Stage, node: RealNode) -> None:
    deployment(stage, node, "steady", f"{holding(40).replace('exec dd', 'dd')} & {SPINNING}")
    used = wait_seen(stage.bed, memory_of("steady"), lambda found: abs(found - 40 * MEBIBYTE) < ROUGHLY)
    wait_seen(stage.bed, 'container_cpu_usage_seconds_total{namespace="steady",container="app"}', lambda seconds: seconds > 6.0)
    clock = stage.clock(shift_seconds=SLOT_SECONDS)
    with stage.ruled_by(profile("steady", "Recommend", **AT_ONCE)), running(stage.operator(clock=clock)):
        stage.wait_state("steady/Deployment/web", "Recommended", "RecommendOnly")
        why = explained(stage, "steady/Deployment/web")
    assert float(why["memory"]["measured"].removesuffix("Mi")) == pytest.approx(used / MEBIBYTE, abs=1.0)
    assert 5 <= float(why["cpu"]["measured"].removesuffix("m")) <= 220, "of a slot that has only begun"
    assert (why["memory"]["pods"], why["memory"]["samples"]) == (1, 1)


@pytest.mark.usefixtures("slot")
@pytest.mark.parametrize(("strategy", "same_pod"), [("Rollout", False), ("InPlace", True)])
def test_killed_container_gets_more_memory_in_the_next_cycle_and_stays_up(
    stage: Stage, node: RealNode, strategy: str, same_pod: bool
) -> None:
    place = f"hungry-{strategy.lower()}"
    deployment(stage, node, place, holding(90, after_seconds=8))
    killed = only_pod(stage, place)
    stage.bed.wait_for(lambda: "terminated" in status_of(only_pod(stage, place))["lastState"], 30.0, "OOM kill of the first pod")
    clock = stage.clock(shift_seconds=SLOT_SECONDS)
    with stage.ruled_by(profile(place, apply={"strategy": strategy}, **AT_ONCE)), running(stage.operator(clock=clock)):
        stage.wait_changed(f"{place}/Deployment/web")
        assert explained(stage, f"{place}/Deployment/web")["memory"]["clamp"] == "OOMKill"
    pod = only_pod(stage, place)
    assert (pod["metadata"]["uid"] == killed["metadata"]["uid"]) == same_pod
    assert node.cgroup(pod, "app") == ContainerCgroup(cpu_limit=200, memory_limit=164 * MEBIBYTE)
    # More than the former limit, so it can only be what runs now.
    wait_seen(stage.bed, memory_of(place), lambda found: abs(found - 90 * MEBIBYTE) < ROUGHLY)
    assert status_of(only_pod(stage, place))["restartCount"] == status_of(pod)["restartCount"]


@pytest.mark.usefixtures("slot")
def test_container_whose_need_grows_is_resized_in_place(stage: Stage, node: RealNode) -> None:
    deployment(stage, node, "growing", holding(58, after_seconds=5))
    before = only_pod(stage, "growing")
    wait_seen(stage.bed, memory_of("growing"), lambda found: found > 56 * MEBIBYTE)
    clock = stage.clock(shift_seconds=SLOT_SECONDS)
    applied = {"strategy": "InPlace"}
    with stage.ruled_by(profile("growing", apply=applied, **AT_ONCE)), running(stage.operator(clock=clock)):
        stage.wait_changed("growing/Deployment/web")
    pod = only_pod(stage, "growing")
    assert pod["metadata"]["uid"] == before["metadata"]["uid"]
    assert status_of(pod)["restartCount"] == 0
    assert stage.resources("growing/Deployment/web") == SMALL
    limit = node.cgroup(pod, "app").memory_limit
    assert limit is not None
    assert limit >= 1.2 * 58 * MEBIBYTE
    assert status_of(pod)["resources"]["limits"]["memory"] == f"{limit // MEBIBYTE}Mi"


# Nothing stays behind


def end_by_ctrl_c(parent: subprocess.Popen[str], keeper: int) -> None:
    parent.send_signal(signal.SIGINT)


def end_by_killing_the_parent(parent: subprocess.Popen[str], keeper: int) -> None:
    parent.kill()


def end_by_killing_the_keeper(parent: subprocess.Popen[str], keeper: int) -> None:
    os.kill(keeper, signal.SIGKILL)
    parent.send_signal(signal.SIGINT)


@pytest.mark.parametrize("end", [end_by_ctrl_c, end_by_killing_the_parent, end_by_killing_the_keeper])
def test_no_process_no_control_group_and_no_file_outlives_the_node(
    node: RealNode, end: Callable[[subprocess.Popen[str], int], None]
) -> None:
    """Another node beside the first one, which does not notice."""
    command = [sys.executable, "-m", "tests.realnode"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        try:
            assert parent.stdout is not None
            folder = Path(parent.stdout.readline().strip().rpartition(" ")[2])
            names = processes_of(folder)
            assert len(names) >= 4, "containerd, kubelet, the first process and the keeper"
            assert any(tree.is_dir() for tree in trees(folder.name))
            end(parent, min(names))
            wait_until(lambda: not processes_of(folder), what="all processes ended", timeout_seconds=10.0)
            wait_until(lambda: not any(tree.exists() for tree in trees(folder.name)), what="control groups gone", timeout_seconds=10.0)
            wait_until(lambda: not folder.exists(), what="folder deleted", timeout_seconds=10.0)
        finally:
            parent.kill()
    assert all(tree.is_dir() for tree in trees(node.directory.name))


def processes_of(folder: Path) -> list[int]:
    """Processes with the folder on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it has ended
            continue
    return found
