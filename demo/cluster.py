"""Sets the stage: a real control plane, Prometheus with two weeks of history, the installation, the workloads, the running operator.

Everything that is started ends with the stack that it is put on.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from demo.cast import PAUSED
from demo.cost import Meter
from demo.places import OPERATOR_LOG, PROFILES, RIGHTSIZER, ROOT, from_root
from demo.screen import DemoFailed, Screen
from tests.testbed import Testbed
from tests.testbed.addresses import free_ports
from tests.testbed.binaries import built_binaries, cache_folder
from tests.usage import demo_scenario
from tests.usage.blocks import load_history
from tests.usage.exporter import LiveExporter

HISTORY_DAYS = 15
SCRAPE_SECONDS = 5
CYCLE_SECONDS = 2
ROLLOUTS_AT_ONCE = 3
POD_SECONDS = 60.0
OPERATOR = "operator"
NAMESPACE = "rightsizer"
OPERATOR_USER = f"system:serviceaccount:{NAMESPACE}:rightsizer"


def start(stack: ExitStack, screen: Screen) -> Testbed:
    """The cluster with the workloads of the demo, measured by a Prometheus that has their past."""
    screen.heading("A real cluster on this machine")
    with screen.step("etcd, API server, controllers, scheduler; kwok plays nodes and kubelets"):
        bed = stack.enter_context(Testbed.start())
    with screen.step("16 workloads in the namespaces shop, batch and live"):
        bed.apply(*demo_scenario.manifests())
        kind, name = "deployment", PAUSED[1]
        bed.kubectl("annotate", kind, name, "-n", PAUSED[0], "rightsizer.dev/paused=true")
        _wait_for_pods(bed)
    with screen.step(f"Prometheus with {HISTORY_DAYS} days of their usage, and what they use from now on"):
        _start_prometheus(stack, bed)
    return bed


def _wait_for_pods(bed: Testbed) -> None:
    expected = sum(workload.replicas for workload in demo_scenario.workloads())
    bed.wait_for(lambda: _ready_pods(bed) >= expected, timeout_seconds=POD_SECONDS, what=f"{expected} pods ready")


def _ready_pods(bed: Testbed) -> int:
    pods = [
        pod
        for namespace in (demo_scenario.SHOP, demo_scenario.BATCH, demo_scenario.LIVE)
        for pod in bed.kubectl.items("pods", namespace=namespace)
    ]
    return sum(pod.get("status", {}).get("phase") == "Running" for pod in pods)


def _start_prometheus(stack: ExitStack, bed: Testbed) -> None:
    blocks = load_history(
        demo_scenario.workloads(),
        days=HISTORY_DAYS,
        until=time.time(),
        cache_directory=cache_folder() / "demo-history",
        promtool=built_binaries() / "promtool",
    )
    exporter = stack.enter_context(LiveExporter(demo_scenario.workloads(), bed.kubeconfig))
    bed.start_prometheus(blocks=blocks, extra={"scrape_configs": [exporter.scrape_config(interval_seconds=SCRAPE_SECONDS)]})


def install(bed: Testbed, screen: Screen) -> None:
    """The product as `kubectl apply -k manifests/` installs it, but for the pod of the operator."""
    screen.heading("Rightsizer is installed")
    with screen.step("kubectl apply -k manifests/"):
        bed.kubectl("apply", "-k", str(ROOT / "manifests"))
        bed.kubectl("scale", "deployment/rightsizer", "-n", NAMESPACE, "--replicas=0")
        bed.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "-l", "app.kubernetes.io/part-of=rightsizer")


def start_operator(bed: Testbed, screen: Screen) -> Meter:
    """The operator with the settings of its ConfigMap and the rights of its ServiceAccount; what tells its cost from now on."""
    settings = _settings(bed)
    url = f"http://{settings['RIGHTSIZER_HTTP_ADDRESS']}:{settings['RIGHTSIZER_HTTP_PORT']}"
    meter = Meter(operator_url=url, prometheus_url=bed.prometheus_url)
    with screen.step(f"the operator: `rightsizer run`, log in {from_root(OPERATOR_LOG)}"):
        OPERATOR_LOG.write_bytes(b"")
        bed.processes.log(OPERATOR).symlink_to(OPERATOR_LOG)
        bed.processes.start(OPERATOR, [RIGHTSIZER, "run"], settings)
    screen.say(
        "kwok only pretends to run containers, so the operator runs as a process of this machine, under its own",
        "ServiceAccount, with the settings of its ConfigMap; other are the address of Prometheus, the folder of its usage",
        f"history, which is empty and goes with the demo, and the pace (a cycle every {CYCLE_SECONDS} s instead of 60 s, and up to",
        f"{ROLLOUTS_AT_ONCE} rollouts at a time in a namespace instead of one).",
    )
    return meter


def _settings(bed: Testbed) -> dict[str, str]:
    config = bed.get("configmap", "rightsizer", namespace=NAMESPACE)
    if config is None:
        raise DemoFailed("the installation has no ConfigMap rightsizer")
    return {
        **config["data"],
        "KUBECONFIG": str(bed.kubeconfig_for(namespace=NAMESPACE, service_account="rightsizer")),
        "PYTHONUNBUFFERED": "1",
        "RIGHTSIZER_PROMETHEUS_URL": bed.prometheus_url,
        # Of this run alone, and gone with it: what another one left would be joined, and nothing of the past be read.
        "RIGHTSIZER_HISTORY_FOLDER": str(bed.directory / "usage-history"),
        "RIGHTSIZER_CYCLE_SECONDS": str(CYCLE_SECONDS),
        "RIGHTSIZER_ROLLOUTS_PER_NAMESPACE": str(ROLLOUTS_AT_ONCE),
        "RIGHTSIZER_HTTP_ADDRESS": "127.0.0.1",
        "RIGHTSIZER_HTTP_PORT": str(free_ports(1)[0]),
    }


def apply_profiles(bed: Testbed, screen: Screen) -> None:
    """One profile that recommends, one that applies."""
    for profile in sorted(PROFILES.glob("*.yaml")):
        screen.shown(f"cat {from_root(profile)}", profile.read_text(encoding="utf-8"))
    screen.shown(f"kubectl apply -f {from_root(PROFILES)}", bed.kubectl("apply", "-f", str(PROFILES)))
