"""One real node of a testbed: a kubelet and a containerd that are started, joined to the cluster, and gone afterwards without a trace.

Knows how it is run; what runs on it is the tests' business.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.realnode import cgroups, configuration
from tests.realnode.cgroups import ContainerCgroup
from tests.realnode.image import write_image
from tests.realnode.programs import Programs, built_programs
from tests.testbed.addresses import free_ports
from tests.testbed.bed import KEEP_VARIABLE, Testbed
from tests.testbed.control_plane import REAL_NODE_LABEL
from tests.testbed.errors import TestbedError
from tests.testbed.kubectl import Manifest

ROOT = Path(__file__).parents[2]
IMAGE = "rightsizer.invalid/busybox:1"
START_SECONDS = 60.0
HOUSEKEEPING_SECONDS = 2
"""How often cAdvisor looks at a container."""
LINES_OF_LOG_IN_ERRORS = 12
_NAMESPACE = "kube-system"
_FIRST_PROCESS = Path(__file__).with_name("first_process.py")


class RealNode:
    """A running node; make one with `RealNode.start`. Several may run at once: they share nothing."""

    def __init__(self, bed: Testbed, programs: Programs) -> None:
        self._bed = bed
        self._programs = programs
        self.directory = Path(tempfile.mkdtemp(prefix="rightsizer-node-"))
        self.name = f"real-{secrets.token_hex(3)}"
        self._port = free_ports(1)[0]
        self._keeper: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, bed: Testbed) -> Self:
        """Starts it and returns when the cluster sees it ready.

        Raises TestbedError with the ends of its logs when it is not ready after a minute; what `built_programs` raises.
        """
        node = cls(bed, built_programs())
        try:
            node._register()
            node._launch()
            node._wait_ready()
        except BaseException:
            node.close()
            raise
        return node

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends all its processes and removes what they made; again is harmless."""
        if self._keeper is not None:
            for pipe in (self._keeper.stdin, self._keeper.stdout):
                if pipe is not None:
                    pipe.close()
            self._keeper.wait()
        # The keeper has done both already, unless it was killed.
        cgroups.remove(self.directory.name)
        if not os.environ.get(KEEP_VARIABLE):
            shutil.rmtree(self.directory, ignore_errors=True)

    # What runs on it

    def placed(self, pod_spec: Manifest) -> Manifest:
        """The pod spec, bound for this node. Pods of others do not come here."""
        toleration = {"key": REAL_NODE_LABEL, "operator": "Exists", "effect": "NoSchedule"}
        own = {"nodeSelector": {"kubernetes.io/hostname": self.name}, "tolerations": [toleration]}
        return {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1, **pod_spec, **own}

    def cgroup(self, pod: Manifest, container: str) -> ContainerCgroup:
        """What the kernel holds this container of a pod to now; TestbedError while it has no id, FileNotFoundError when it does not run."""
        return cgroups.of_container(self.directory.name, _container_id(pod, container))

    def cpu_seconds(self, pod: Manifest, container: str) -> float:
        """The processor time that the kernel counted for this container so far. Raises as `cgroup`."""
        return cgroups.cpu_seconds(self.directory.name, _container_id(pod, container))

    def scrape_config(self, *, interval_seconds: int = 5) -> dict[str, Any]:
        """The entry for `scrape_configs` of Prometheus: what the kubelet says of its containers, by its own cAdvisor."""
        return {
            "job_name": "kubelet",
            "scheme": "https",
            "metrics_path": "/metrics/cadvisor",
            "scrape_interval": f"{interval_seconds}s",
            "scrape_timeout": f"{interval_seconds}s",
            "tls_config": {"insecure_skip_verify": True},  # signed by itself
            "authorization": {"credentials": self._token()},
            "static_configs": [{"targets": [f"127.0.0.1:{self._port}"], "labels": {"node": self.name}}],
        }

    # How it is run

    def _register(self) -> None:
        """An account with the rights of a kubelet. (The API server reads its own users only when it starts.)"""
        account = {"kind": "ServiceAccount", "name": self.name, "namespace": _NAMESPACE}
        bound = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}
        self._bed.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": self.name, "namespace": _NAMESPACE}},
            *(
                {
                    **bound,
                    "metadata": {"name": f"{self.name}-{role.rpartition(':')[2]}"},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                    "subjects": [account],
                }
                # The second reads the metrics of nodes: Prometheus shows the same token.
                for role in ("system:node", "system:kubelet-api-admin")
            ),
        )

    def _token(self) -> str:
        return self._bed.kubectl("create", "token", self.name, "-n", _NAMESPACE, "--duration=24h").strip()

    def _check_visible(self) -> None:
        needed = (self.directory, self._programs.packages, self._programs.kubelet, self._bed.directory, Path(sys.executable))
        for path in needed:
            for hidden in configuration.HIDDEN:
                if path.resolve().is_relative_to(Path(hidden).resolve()):
                    raise TestbedError(f"{path} is below {hidden}, which a node hides: set TMPDIR or RIGHTSIZER_CACHE to another place")

    def _launch(self) -> None:
        self._check_visible()
        self._write_files()
        keep = "keep" if os.environ.get(KEEP_VARIABLE) else ""
        first = [sys.executable, "-I", "-S", str(_FIRST_PROCESS), str(self.directory / "plan.json")]
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.realnode.keeper", str(os.getpid()), str(self.directory), keep, *first],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PATH": self._programs.search_path, "GOGC": "200"},
            start_new_session=True,
        )

    def _write_files(self) -> None:
        folder = self.directory
        archive = folder / "image.tar"
        write_image(archive, name=IMAGE, busybox=self._programs.busybox)
        (folder / "containerd.toml").write_text(configuration.containerd(folder, image=IMAGE))
        (folder / "kubelet.json").write_text(configuration.kubelet(folder, port=self._port, cgroup=folder.name))
        plugins = folder / "cni"
        plugins.mkdir()
        (plugins / "10-nothing.conflist").write_text(json.dumps(configuration.NETWORK))
        for name in configuration.NETWORK_PLUGINS:
            (plugins / name).write_text(configuration.NETWORK_PLUGIN)
            (plugins / name).chmod(0o755)
        plan = {
            "folder": str(folder),
            "socket": configuration.SOCKET,
            "hidden": configuration.HIDDEN,
            "kernel_settings": configuration.KERNEL_SETTINGS,
            "containerd": ["containerd", "--config", str(folder / "containerd.toml")],
            "imports": [["ctr", "--address", configuration.SOCKET, "-n", "k8s.io", "images", "import", str(archive)]],
            "kubelet": self._kubelet(),
        }
        (folder / "plan.json").write_text(json.dumps(plan))

    def _kubelet(self) -> list[str]:
        folder = self.directory
        return [
            str(self._programs.kubelet),
            f"--config={folder / 'kubelet.json'}",
            f"--kubeconfig={self._bed.kubeconfig_for(namespace=_NAMESPACE, service_account=self.name)}",
            f"--hostname-override={self.name}",
            f"--root-dir={folder / 'kubelet'}",
            f"--cert-dir={folder / 'certificates'}",
            f"--node-labels={REAL_NODE_LABEL}=true",
            f"--housekeeping-interval={HOUSEKEEPING_SECONDS}s",
            f"--register-with-taints={REAL_NODE_LABEL}=true:NoSchedule",
        ]

    def _wait_ready(self) -> None:
        try:
            self._bed.wait_for(self._is_ready, START_SECONDS, f"node {self.name} ready")
        except TestbedError as error:
            raise TestbedError(f"{error}\n{self._ends_of_logs()}") from error

    def _is_ready(self) -> bool:
        if self._has_ended():
            raise TestbedError(f"node {self.name} ended while it was starting")
        conditions = (self._bed.get("node", self.name) or {}).get("status", {}).get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def _has_ended(self) -> bool:
        keeper = self._keeper
        assert keeper is not None
        assert keeper.stdout is not None
        return keeper.poll() is not None or bool(select.select([keeper.stdout], [], [], 0)[0])

    def _ends_of_logs(self) -> str:
        texts = []
        for log in (self.directory / f"{name}.log" for name in ("node", "containerd", "kubelet")):
            lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
            texts.append("\n".join([f"{log.name}:", *lines[-LINES_OF_LOG_IN_ERRORS:]]))
        return "\n".join(texts)


def _container_id(pod: Manifest, container: str) -> str:
    for status in pod.get("status", {}).get("containerStatuses", []):
        if status["name"] == container and status.get("containerID"):
            return str(status["containerID"]).rpartition("/")[2]
    raise TestbedError(f"container {container} of pod {pod['metadata']['name']} has not started")
