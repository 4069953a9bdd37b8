"""The testbed keeps its promises: it behaves like a cluster where the tests need it to, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.testbed import KubectlError, PrometheusConfig, Testbed, TestbedError, TestbedTimeout
from tests.testbed.addresses import opener, wait_until
from tests.testbed.binaries import built_binaries

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    blocks = thirty_hours_of_history(tmp_path_factory.mktemp("history"))
    with Testbed.start(prometheus_config=PrometheusConfig(blocks=[blocks])) as running:
        running.create_namespace("shop")
        yield running


def pod_template(name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "app", "image": "app:1", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers, **spec}}


def deployment(name: str, **spec: Any) -> dict[str, Any]:
    selector = {"matchLabels": {"app": name}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": 1, "selector": selector, "template": pod_template(name, **spec)},
    }


def pod_of(bed: Testbed, name: str) -> dict[str, Any]:
    """The ready pod of a Deployment that is applied here."""

    def ready() -> bool:
        found = bed.get("deployment", name, namespace="shop")
        return found is not None and found.get("status", {}).get("readyReplicas") == 1

    bed.wait_for(ready, timeout_seconds=20.0, what=f"{name} ready")
    return bed.kubectl.items("pods", namespace="shop", selector=f"app={name}")[0]


def pod_named(bed: Testbed, name: str) -> dict[str, Any]:
    found = bed.get("pod", name, namespace="shop")
    assert found is not None
    return found


def test_deployment_and_its_native_sidecar_become_ready(bed: Testbed) -> None:
    sidecar = {"name": "proxy", "image": "p:1", "restartPolicy": "Always", "resources": {"requests": {"cpu": "10m"}}}
    bed.apply(deployment("web", initContainers=[{"name": "setup", "image": "s:1"}, sidecar]))
    status = pod_of(bed, "web")["status"]
    app = status["containerStatuses"][0]
    assert (app["ready"], app["started"], app["restartCount"]) == (True, True, 0)
    assert app["resources"] == {"requests": {"cpu": "100m", "memory": "64Mi"}}
    assert app["allocatedResources"] == {"cpu": "100m", "memory": "64Mi"}
    setup, proxy = status["initContainerStatuses"]
    assert setup["state"]["terminated"]["reason"] == "Completed"
    assert (proxy["ready"], proxy["started"], proxy["allocatedResources"]) == (True, True, {"cpu": "10m"})
    assert "running" in proxy["state"]


def test_job_finishes_after_the_time_it_is_given(bed: Testbed) -> None:
    template = pod_template("once", restartPolicy="Never")
    template["metadata"]["annotations"] = {"testbed.rightsizer.dev/runs-for": "2s"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": "shop"}}
    started = time.monotonic()
    bed.apply({**job, "spec": {"template": template}})

    def finished() -> bool:
        found = bed.get("job", "once", namespace="shop")
        return found is not None and found.get("status", {}).get("succeeded") == 1

    bed.wait_for(finished, timeout_seconds=20.0, what="Job finished")
    assert time.monotonic() - started >= 2.0


def test_deleted_pod_is_replaced(bed: Testbed) -> None:
    bed.apply(deployment("short"))
    first = pod_of(bed, "short")["metadata"]["name"]
    bed.kubectl("delete", "pod", first, "-n", "shop", "--wait")
    assert bed.get("pod", first, namespace="shop") is None
    assert pod_of(bed, "short")["metadata"]["name"] != first


@pytest.mark.parametrize("container", ["app", "proxy"])
def test_oom_kill_on_demand_shows_in_the_status(bed: Testbed, container: str) -> None:
    name = f"leaking-{container}"
    bed.apply(deployment(name, initContainers=[{"name": "proxy", "image": "p:1", "restartPolicy": "Always"}]))
    pod = pod_of(bed, name)["metadata"]["name"]
    bed.oom_kill("shop", pod, container, times=2)
    status = pod_named(bed, pod)["status"]
    killed = {one["name"]: one for one in [*status["containerStatuses"], *status["initContainerStatuses"]]}
    last = killed[container].pop("lastState")["terminated"]
    assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)
    assert {name: (one["restartCount"], one["ready"]) for name, one in killed.items()} == {
        container: (2, True),
        "app" if container == "proxy" else "proxy": (0, True),
    }
    with pytest.raises(TestbedError, match="no container absent"):
        bed.oom_kill("shop", pod, "absent")


def resize(bed: Testbed, pod: str, cpu: str) -> None:
    body = {"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": cpu}}}]}}
    bed.kubectl("patch", "pod", pod, "-n", "shop", "--subresource=resize", "-p", json.dumps(body))


def cpu_in_status(bed: Testbed, pod: str) -> str:
    return str(pod_named(bed, pod)["status"]["containerStatuses"][0]["resources"]["requests"]["cpu"])


def test_resize_is_carried_out_unless_it_is_held_back(bed: Testbed) -> None:
    annotation = "testbed.rightsizer.dev/resize"
    bed.apply(deployment("resized"))
    pod = pod_of(bed, "resized")["metadata"]["name"]
    resize(bed, pod, "150m")
    bed.wait_for(lambda: cpu_in_status(bed, pod) == "150m", 10.0, "resize carried out")

    bed.kubectl("annotate", "pod", pod, "-n", "shop", f"{annotation}=Deferred")
    resize(bed, pod, "200m")

    def pending() -> list[str]:
        conditions = pod_named(bed, pod)["status"]["conditions"]
        return [one["reason"] for one in conditions if one["type"] == "PodResizePending"]

    bed.wait_for(lambda: pending() == ["Deferred"], 10.0, "resize deferred")
    assert cpu_in_status(bed, pod) == "150m"

    bed.kubectl("annotate", "pod", pod, "-n", "shop", f"{annotation}-")
    bed.wait_for(lambda: cpu_in_status(bed, pod) == "200m", 10.0, "deferred resize carried out")
    assert pending() == []


def test_service_account_gets_what_rbac_grants_and_the_audit_log_tells(bed: Testbed) -> None:
    bed.kubectl("create", "serviceaccount", "reader", "-n", "shop")
    bed.kubectl("create", "role", "reader", "-n", "shop", "--verb=list", "--resource=pods")
    bed.kubectl("create", "rolebinding", "reader", "-n", "shop", "--role=reader", "--serviceaccount=shop:reader")
    own = f"--kubeconfig={bed.kubeconfig_for(namespace='shop', service_account='reader')}"

    bed.wait_for(lambda: bed.kubectl("auth", "can-i", "list", "pods", own).strip() == "yes", 10.0, "role in force")
    bed.kubectl("get", "pods", own)
    with pytest.raises(KubectlError, match="forbidden") as refused:
        bed.kubectl("get", "secrets", own)
    assert "cannot list resource" in refused.value.stderr

    asked = {
        (event["verb"], event["objectRef"]["resource"]): event["responseStatus"]["code"]
        for event in bed.audit_events(user="system:serviceaccount:shop:reader")
        if "resource" in event.get("objectRef", {}) and event["objectRef"].get("apiGroup") is None
    }
    assert asked == {("list", "pods"): 200, ("list", "secrets"): 403}


def test_wait_that_fails_names_what_it_waited_for(bed: Testbed) -> None:
    with pytest.raises(TestbedTimeout, match=r"the moon: not within 0\.1 s"):
        bed.wait_for(lambda: False, timeout_seconds=0.1, what="the moon")


def test_added_node_is_ready_with_its_capacity(bed: Testbed) -> None:
    bed.add_node("small", cpu="2", memory="4Gi", pods=7)
    node = bed.get("node", "small")
    assert node is not None
    assert {name: node["status"]["allocatable"][name] for name in ("cpu", "memory", "pods")} == {
        "cpu": "2",
        "memory": "4Gi",
        "pods": "7",
    }
    bed.kubectl("wait", "node/small", "--for=condition=Ready", "--timeout=10s")


# Trouble


def test_second_testbed_beside_the_first_survives_the_death_of_its_api_server(bed: Testbed) -> None:
    with Testbed.start() as second:
        assert second.api_url != bed.api_url
        second.create_namespace("shop")
        second.apply(deployment("only-here"))
        pod_of(second, "only-here")
        assert bed.get("deployment", "only-here", namespace="shop") is None
        with pytest.raises(TestbedError, match="has no Prometheus"):
            _ = second.prometheus_url
        second.start_prometheus(scrape_targets=[bed.prometheus_url.removeprefix("http://")], scrape_interval="1s")

        second.kill_api_server()
        with pytest.raises(KubectlError, match="refused"):
            second.get("deployment", "only-here", namespace="shop")
        second.start_api_server()
        second.apply(deployment("afterwards"))
        pod_of(second, "afterwards")
        second.wait_for(lambda: query(second.prometheus_url, 'up{job="usage"} == 1'), 20.0, "target scraped")
        folder = second.directory
    assert processes_of(folder) == []
    assert not folder.exists()
    assert bed.get("node", "node-1") is not None


def thirty_hours_of_history(folder: Path) -> Path:
    """A folder of TSDB blocks with 30 samples of `old_metric`, an hour apart, up to now."""
    now = int(time.time())
    samples = "".join(f"old_metric {hour} {now - 3600 * hour}\n" for hour in range(30, 0, -1))
    (folder / "history.txt").write_text(f"# TYPE old_metric gauge\n{samples}# EOF\n")
    promtool: list[str | Path] = [built_binaries() / "promtool", "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run([*promtool, folder / "history.txt", folder / "blocks"], check=True, capture_output=True)
    return folder / "blocks"


def query(url: str, promql: str) -> list[dict[str, Any]]:
    with opener().open(f"{url}/api/v1/query?query={urllib.parse.quote(promql)}", timeout=10.0) as response:
        return list(json.load(response)["data"]["result"])


def test_prometheus_serves_given_blocks_and_keeps_them_over_a_restart(bed: Testbed) -> None:
    count_old = "count_over_time(old_metric[2d])"
    assert query(bed.prometheus_url, count_old)[0]["value"][1] == "30"
    bed.prometheus.reload()
    bed.prometheus.stop()
    with pytest.raises(OSError, match="refused"):
        query(bed.prometheus_url, "up")
    bed.prometheus.start()
    assert query(bed.prometheus_url, count_old)[0]["value"][1] == "30"
    bed.wait_for(lambda: query(bed.prometheus_url, 'up{job="prometheus"}'), 20.0, "Prometheus scrapes itself")


# Nothing stays behind


def end_by_ctrl_c(parent: subprocess.Popen[str], supervisor: int) -> None:
    parent.send_signal(signal.SIGINT)


def end_by_killing_the_parent(parent: subprocess.Popen[str], supervisor: int) -> None:
    parent.kill()


def end_by_killing_the_supervisor(parent: subprocess.Popen[str], supervisor: int) -> None:
    os.kill(supervisor, signal.SIGKILL)
    parent.send_signal(signal.SIGINT)


@pytest.mark.parametrize("end", [end_by_ctrl_c, end_by_killing_the_parent, end_by_killing_the_supervisor])
def test_no_process_and_no_file_outlives_the_testbed(end: Callable[[subprocess.Popen[str], int], None]) -> None:
    command = [sys.executable, "-m", "tests.testbed"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        try:
            said = parent.stdout
            assert said is not None
            folder = Path(said.readline().strip().rpartition(" ")[2])
            servers = processes_of(folder)
            assert len(servers) == 7, "etcd, API server, controllers, scheduler, kwok, Prometheus and the supervisor"
            end(parent, min(servers))
            wait_until(lambda: not processes_of(folder), what="all processes ended", timeout_seconds=10.0)
            wait_until(lambda: not folder.exists(), what="folder deleted", timeout_seconds=10.0)
        finally:
            parent.kill()


def processes_of(folder: Path) -> list[int]:
    """Processes with the folder on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found
