"""The three ways to change a workload, side by side, and one change that is taken back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demo.cast import EXAMPLE_SIZES
from demo.cluster import OPERATOR
from demo.clusterless import run_rightsizer
from demo.places import LIVE_PROFILES, ROOT, from_root
from demo.results import Finding
from demo.screen import DemoFailed, Screen
from demo.showing import kubectl
from tests.testbed import Testbed
from tests.testbed.bed import OOM_ANNOTATION
from tests.usage.demo_scenario import LIVE

IN_PLACE, ON_CREATE, ROLLED = "gateway", "mailer", "cart"
SECONDS = 180.0

Manifest = Mapping[str, Any]

_POD_COLUMNS = (
    "NAME:.metadata.name",
    "CREATED:.metadata.creationTimestamp",
    "RESTARTS:.status.containerStatuses[0].restartCount",
    "CPU:.spec.containers[0].resources.requests.cpu",
    "MEMORY:.spec.containers[0].resources.requests.memory",
    "MEMORY-LIMIT:.spec.containers[0].resources.limits.memory",
)


@dataclass(frozen=True, slots=True)
class Changed:
    """The workloads of `live` and their pods before the profiles, after them, and after one change was taken back."""

    pods_before: Sequence[Manifest]
    pods: Sequence[Manifest]
    templates: Mapping[str, Manifest]
    cart_after: Manifest
    history: Mapping[str, Manifest]


def show(bed: Testbed, screen: Screen) -> Changed:
    """Applies the profiles, replaces a pod, kills a container, and shows what the operator did each time."""
    screen.heading("Three ways to change a workload, and one change that is taken back")
    before = _pods(bed)
    screen.say("Pods are sized at their creation by admission policies of the API server, and resized in place by the kubelet.")
    for folder in ("on-create", "in-place"):
        bed.kubectl("apply", "-k", str(ROOT / "manifests" / folder))
    screen.shown("kubectl apply -k manifests/on-create/ && kubectl apply -k manifests/in-place/", "the policies, and the rights for both")
    screen.shown(f"cat {from_root(LIVE_PROFILES)}", LIVE_PROFILES.read_text(encoding="utf-8"))
    screen.shown(f"kubectl apply -f {from_root(LIVE_PROFILES)}", bed.kubectl("apply", "-f", str(LIVE_PROFILES)))
    with screen.step("waiting until each of the three is watched"):
        _wait(bed, lambda: all(_change(bed, name).get("outcome") == "Verifying" for name in (IN_PLACE, ON_CREATE, ROLLED)), "the changes")
    _replace_a_pod(bed, screen)
    pods, templates = _pods(bed), {name: _deployment(bed, name) for name in (IN_PLACE, ON_CREATE, ROLLED)}
    screen.say(
        f"{IN_PLACE}: its pods are the same as before, with other sizes, and never restarted. {ON_CREATE}: the pod that was deleted",
        f"came back with the new sizes, the other one keeps its own. {ROLLED}: all pods are new. Only its template was changed:",
    )
    kubectl(bed, screen, "get", "pods", "-n", LIVE, "-o", f"custom-columns={','.join(_POD_COLUMNS)}")
    _take_back(bed, screen)
    _rightsizer(bed, screen, "history", "-n", LIVE)
    return Changed(before, pods, templates, _deployment(bed, ROLLED), {name: _status(bed, name) for name in (IN_PLACE, ON_CREATE, ROLLED)})


def findings(changed: Changed) -> Iterator[Finding]:
    """What is promised of it."""
    before = {_name(pod) for pod in _of(changed.pods_before, IN_PLACE)}
    resized = _of(changed.pods, IN_PLACE)
    same = {_name(pod) for pod in resized} == before and all(_resources(pod) == EXAMPLE_SIZES for pod in resized)
    yield Finding(f"{IN_PLACE}: its pods were resized in place, none was replaced or restarted", same and not any(map(_restarts, resized)))
    old = {_name(pod) for pod in _of(changed.pods_before, ON_CREATE)}
    new = [pod for pod in _of(changed.pods, ON_CREATE) if _name(pod) not in old]
    kept = [pod for pod in _of(changed.pods, ON_CREATE) if _name(pod) in old]
    sized = bool(new) and all(_resources(pod) == EXAMPLE_SIZES for pod in new) and all(_resources(pod) != EXAMPLE_SIZES for pod in kept)
    yield Finding(f"{ON_CREATE}: the pod that was created since has the new sizes, the one before keeps its own", sized)
    untouched = [name for name in (IN_PLACE, ON_CREATE) if changed.templates[name]["metadata"]["generation"] == 1]
    yield Finding("the templates of both were not touched", untouched == [IN_PLACE, ON_CREATE])
    yield Finding(f"{ROLLED}: rolled out", _template(changed.templates[ROLLED]) == EXAMPLE_SIZES)
    back = _template(changed.cart_after)["requests"] == {"cpu": "500m", "memory": "1Gi"}
    yield Finding(f"{ROLLED}: after an OOM kill the former values are back", back)
    record = changed.history[ROLLED]
    told = "killed for memory" in record["lastChange"].get("reverts", "") and len(record.get("history", [])) == 1
    yield Finding(f"{ROLLED}: the record tells both changes, and why the second was made", told)


def _replace_a_pod(bed: Testbed, screen: Screen) -> None:
    name = _name(_of(_pods(bed), ON_CREATE)[0])
    with screen.step(f"deleting a pod of {ON_CREATE}: {name}"):
        bed.kubectl("delete", "pod", name, "-n", LIVE)
        _wait(bed, lambda: _all_ready(_of(_pods(bed), ON_CREATE), 2), "the pod that takes its place")


def _take_back(bed: Testbed, screen: Screen) -> None:
    pod = _name(_of(_pods(bed), ROLLED)[0])
    with screen.step(f"a container of {ROLLED} is killed for memory: {pod}"):
        # Nobody waits for it to run again: the pod may be replaced by then.
        bed.kubectl("annotate", "pod", pod, "-n", LIVE, f"{OOM_ANNOTATION}=app")
        _wait(bed, lambda: bool(_change(bed, ROLLED).get("reverts")) and _change(bed, ROLLED).get("outcome") == "Succeeded", "the reversal")
    screen.say(
        f"The memory of {ROLLED} had been lowered, so the kill is held against that. Its pods are looked at when they are not all there,",
        "and at the end of the watch, a minute here; then the values of before are put back:",
    )


def _wait(bed: Testbed, done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        bed.processes.check_alive(OPERATOR)
        if time.monotonic() > deadline:
            raise DemoFailed(f"{what}: not within {SECONDS:g} s")
        time.sleep(1.0)


def _status(bed: Testbed, name: str) -> Manifest:
    found = bed.get("resourcerecommendation", f"deployment-{name}", namespace=LIVE)
    return {} if found is None else dict(found.get("status", {}))


def _change(bed: Testbed, name: str) -> Manifest:
    return dict(_status(bed, name).get("lastChange", {}))


def _deployment(bed: Testbed, name: str) -> Manifest:
    return bed.get("deployment", name, namespace=LIVE) or {}


def _pods(bed: Testbed) -> list[Manifest]:
    return [pod for pod in bed.kubectl.items("pods", namespace=LIVE) if "deletionTimestamp" not in pod["metadata"]]


def _of(pods: Sequence[Manifest], workload: str) -> list[Manifest]:
    return [pod for pod in pods if pod["metadata"]["labels"]["app"] == workload]


def _all_ready(pods: Sequence[Manifest], count: int) -> bool:
    ready = [pod for pod in pods if any(status.get("ready") for status in pod.get("status", {}).get("containerStatuses", []))]
    return len(pods) == len(ready) == count


def _name(pod: Manifest) -> str:
    return str(pod["metadata"]["name"])


def _resources(pod: Manifest) -> Manifest:
    return dict(pod["spec"]["containers"][0]["resources"])


def _restarts(pod: Manifest) -> int:
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def _template(deployment: Manifest) -> Manifest:
    return dict(deployment["spec"]["template"]["spec"]["containers"][0]["resources"])


def _rightsizer(bed: Testbed, screen: Screen, *arguments: str) -> None:
    screen.shown(f"rightsizer {' '.join(arguments)}", run_rightsizer(arguments, kubeconfig=bed.kubeconfig))
