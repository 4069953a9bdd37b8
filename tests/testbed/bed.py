"""A whole cluster for one test: real control plane, nodes and kubelets played by kwok, a real Prometheus when asked for.

Everything lives in one folder and on 127.0.0.1 and is gone when the `with` block, or the Python process, has ended.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.testbed import addresses
from tests.testbed.binaries import built_binaries
from tests.testbed.control_plane import ENVIRONMENT, ControlPlane
from tests.testbed.credentials import User, kubeconfig
from tests.testbed.errors import TestbedError
from tests.testbed.kubectl import Kubectl, Manifest
from tests.testbed.node import node_manifest
from tests.testbed.processes import Processes
from tests.testbed.prometheus_server import PrometheusConfig, PrometheusServer

KEEP_VARIABLE = "RIGHTSIZER_TESTBED_KEEP"
START_SECONDS = 60.0
OOM_ANNOTATION = "testbed.rightsizer.dev/oom"
COMPONENT_USERS = ("system:kube-controller-manager", "system:kube-scheduler", "testbed:kwok")


class Testbed:
    """A running cluster; make one with `Testbed.start`."""

    __test__ = False

    def __init__(self, control_plane: ControlPlane, processes: Processes) -> None:
        self.directory = control_plane.directory
        self.kubeconfig = control_plane.kubeconfig(control_plane.admin.name)
        self.api_url = control_plane.api_url
        self.ca_file = control_plane.ca_file
        self.kubectl = Kubectl(control_plane.binaries / "kubectl", self.kubeconfig, self.directory / "kubectl-cache")
        self.processes = processes
        self._control_plane = control_plane
        self._prometheus: PrometheusServer | None = None

    @classmethod
    def start(cls, *, prometheus: bool = False, prometheus_config: PrometheusConfig | None = None) -> Self:
        """Starts everything and returns when two nodes are ready and pods can be created.

        `prometheus_config` implies `prometheus`. Set RIGHTSIZER_TESTBED_KEEP=1 to keep the folder with logs and audit log.
        Raises BuildError when the binaries are not built, TestbedError when a server ends at once, TestbedTimeout when one is not
        ready after a minute.
        """
        binaries = built_binaries()
        directory = Path(tempfile.mkdtemp(prefix="rightsizer-testbed-"))
        processes = Processes(directory, delete_directory=not os.environ.get(KEEP_VARIABLE))
        try:
            bed = cls(_new_control_plane(directory, binaries), processes)
            bed._start_servers(PrometheusConfig() if prometheus and prometheus_config is None else prometheus_config)
        except BaseException:
            processes.close()
            raise
        return bed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kills all servers and deletes the folder; again is harmless."""
        self.processes.close()

    # Objects

    def apply(self, *manifests: Manifest | str) -> None:
        """Server-side apply of all manifests in one call, in their order, as the field manager `kubectl`."""
        self.kubectl.apply(*manifests)

    def create_namespace(self, name: str) -> None:
        """Creates a namespace and waits until bare pods can be created in it (its default ServiceAccount is there)."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.wait_for(
            lambda: self.get("serviceaccount", "default", namespace=name),
            timeout_seconds=30.0,
            what=f"default ServiceAccount of {name}",
        )

    def get(self, kind: str, name: str, *, namespace: str | None = None) -> Manifest | None:
        """One object, None when it is absent."""
        return self.kubectl.get(kind, name, namespace=namespace)

    def wait_for(self, predicate: Callable[[], object], timeout_seconds: float = 30.0, what: str = "condition") -> None:
        """Asks twice a second until the answer is true; raises TestbedTimeout that names `what`."""
        addresses.wait_until(lambda: bool(predicate()), what=what, timeout_seconds=timeout_seconds, pause_seconds=0.5)

    def add_node(self, name: str, *, cpu: str = "16", memory: str = "64Gi", pods: int = 500) -> None:
        """Adds a node that is ready at once."""
        self.apply(node_manifest(name, cpu=cpu, memory=memory, pods=pods))

    def oom_kill(self, namespace: str, pod: str, container: str, times: int = 1) -> None:
        """Kills a container (137, OOMKilled) and returns when it runs again with `lastState` and restartCount + `times`."""
        for _ in range(times):
            before = self._restart_count(namespace, pod, container)
            self.kubectl("annotate", "pod", pod, "-n", namespace, f"{OOM_ANNOTATION}={container}", "--overwrite")
            self._wait_restarted(namespace, pod, container, before=before)

    def _wait_restarted(self, namespace: str, pod: str, container: str, *, before: int) -> None:
        self.wait_for(
            lambda: self._restart_count(namespace, pod, container) > before,
            timeout_seconds=20.0,
            what=f"restart of {namespace}/{pod}/{container} after the OOM kill",
        )

    def _restart_count(self, namespace: str, pod: str, container: str) -> int:
        status = (self.get("pod", pod, namespace=namespace) or {}).get("status", {})
        for one in [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]:
            if one["name"] == container:
                return int(one["restartCount"])
        raise TestbedError(f"no container {container} has started in pod {namespace}/{pod}")

    # Access

    def kubeconfig_for(self, *, namespace: str, service_account: str) -> Path:
        """A kubeconfig with a real token of that ServiceAccount, good for a day."""
        token = self.kubectl("create", "token", service_account, "-n", namespace, "--duration=24h").strip()
        path = self.directory / f"{namespace}.{service_account}.kubeconfig"
        path.write_text(kubeconfig(api_url=self.api_url, ca_file=self.ca_file, user=service_account, token=token, namespace=namespace))
        return path

    def audit_events(self, user: str | None = None) -> list[dict[str, Any]]:
        """What was asked of the API server (level Metadata), oldest first; of one user when named.

        One event per request, the latest stage of it: ResponseComplete, or ResponseStarted of a watch that still runs.
        A ServiceAccount's user is `system:serviceaccount:NAMESPACE:NAME`.
        """
        lines = self._control_plane.audit_log.read_bytes().split(b"\n")[:-1]  # the last one may be half written
        events = {event["auditID"]: event for event in map(json.loads, lines)}
        return [event for event in events.values() if user is None or event["user"]["username"] == user]

    # Servers

    @property
    def prometheus(self) -> PrometheusServer:
        """The Prometheus of this testbed; TestbedError when it was started without one."""
        if self._prometheus is None:
            raise TestbedError("this testbed has no Prometheus: use start(prometheus=True) or start_prometheus()")
        return self._prometheus

    @property
    def prometheus_url(self) -> str:
        return self.prometheus.url

    def start_prometheus(
        self,
        *,
        blocks: Sequence[Path] = (),
        scrape_targets: Sequence[str] = (),
        scrape_interval: str = "5s",
        extra: Mapping[str, Any] | None = None,
    ) -> PrometheusServer:
        """Starts Prometheus beside the cluster and waits until it answers; see PrometheusConfig for the arguments."""
        config = PrometheusConfig(blocks, scrape_targets, scrape_interval, extra or {})
        server = self._new_prometheus(config)
        server.start()
        return server

    def kill_api_server(self) -> None:
        """kill -9; everything else goes on."""
        self.processes.stop("kube-apiserver", signal_number=signal.SIGKILL)

    def start_api_server(self) -> None:
        """Starts it again with the same data, port and keys, and waits until it is ready."""
        self._launch("kube-apiserver", self._control_plane.api_server())
        self._wait_api_server()

    def _start_servers(self, prometheus_config: PrometheusConfig | None) -> None:
        """The slow ones side by side; controllers only when the API server has written its certificate."""
        plane = self._control_plane
        plane.write_files()
        self._launch("etcd", plane.etcd())
        self._launch("kube-apiserver", plane.api_server())
        server = self._new_prometheus(prometheus_config) if prometheus_config is not None else None
        if server is not None:
            server.launch()
        self._wait_api_server()
        self._launch("kube-controller-manager", plane.controller_manager())
        self._launch("kube-scheduler", plane.scheduler())
        self._launch("kwok", plane.kwok())
        self.apply(*(node_manifest(name) for name in ("node-1", "node-2")))
        if server is not None:
            server.wait_ready()
        self._wait_pods_possible()

    def _launch(self, name: str, command: list[str | Path]) -> None:
        self.processes.start(name, command, ENVIRONMENT)

    def _wait_api_server(self) -> None:
        def ready() -> bool:
            self.processes.check_alive("etcd")
            self.processes.check_alive("kube-apiserver")
            token = self._control_plane.admin.token
            return addresses.answers(f"{self.api_url}/readyz", ca_file=self.ca_file, token=token)

        addresses.wait_until(ready, what="API server ready", timeout_seconds=START_SECONDS)

    def _wait_pods_possible(self) -> None:
        def possible() -> bool:
            for name in ("kube-controller-manager", "kube-scheduler", "kwok"):
                self.processes.check_alive(name)
            return self.get("serviceaccount", "default", namespace="default") is not None

        addresses.wait_until(possible, what="controllers at work", timeout_seconds=START_SECONDS)

    def _new_prometheus(self, config: PrometheusConfig) -> PrometheusServer:
        if self._prometheus is not None:
            raise TestbedError("this testbed has a Prometheus already")
        self._prometheus = PrometheusServer(
            processes=self.processes,
            binary=self._control_plane.binaries / "prometheus",
            directory=self.directory / "prometheus",
            port=addresses.free_ports(1)[0],
            config=config,
        )
        return self._prometheus


def _new_control_plane(directory: Path, binaries: Path) -> ControlPlane:
    api_port, etcd_port, etcd_peer_port = addresses.free_ports(3)
    admin = User.with_new_token("admin")
    others = [User.with_new_token(name) for name in COMPONENT_USERS]
    return ControlPlane(
        directory=directory,
        binaries=binaries,
        api_port=api_port,
        etcd_port=etcd_port,
        etcd_peer_port=etcd_peer_port,
        admin=admin,
        users=(admin, *others),
    )
