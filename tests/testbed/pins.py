"""Which binaries the testbed consists of, from which pinned Go modules and with which flags.

The versions themselves stand in the go.mod files; this module only reads them. It must not build anything.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent / "go"


@dataclass(frozen=True, slots=True)
class Binary:
    """One program to build: its file name, the folder of its Go module below `go/`, and its Go package."""

    name: str
    module: str
    package: str


# etcd and kwok share the Kubernetes module: the same client-go and gRPC are then compiled once, not three times.
BINARIES = (
    Binary("etcd", "kubernetes", "go.etcd.io/etcd/server/v3"),
    Binary("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    Binary("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    Binary("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    Binary("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
    Binary("kwok", "kubernetes", "sigs.k8s.io/kwok/cmd/kwok"),
    Binary("promtool", "prometheus", "github.com/prometheus/prometheus/cmd/promtool"),
    Binary("prometheus", "prometheus", "github.com/prometheus/prometheus/cmd/prometheus"),
)

# Apart from the others, with a cache of its own: few tests need them, and a new pin of theirs must not build the others again.
VICTORIA_METRICS = Binary("victoria-metrics", "victoriametrics", "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics")
USAGE_SERVERS = (VICTORIA_METRICS,)

# Of the same module, and in a folder of its own: it is built only where it can run, and must not make the others be built again.
KUBELET = Binary("kubelet", "kubernetes", "k8s.io/kubernetes/cmd/kubelet")
NODE_PROGRAMS = (KUBELET,)

# The oldest Prometheus that is promised to work, of a module and a cache of its own too: it is built only where it is asked for.
PROMETHEUS_2 = (
    Binary("promtool", "prometheus2", "github.com/prometheus/prometheus/cmd/promtool"),
    Binary("prometheus", "prometheus2", "github.com/prometheus/prometheus/cmd/prometheus"),
)

# Service discovery of the clouds is left out of Prometheus: it would be a third of its code, and targets are static here.
BUILD_TAGS = "netgo,osusergo,remove_all_sd"

PROMETHEUS_VERSION = "github.com/prometheus/common/version.Version"


def module_file(module: str) -> Path:
    return MODULES / module / "go.mod"


def required_version(go_mod: str, module_path: str) -> str:
    """The version that the text of a go.mod requires of `module_path`; ValueError when it does not mention it."""
    found = re.search(rf"^(?:require)?\s*{re.escape(module_path)} (v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise ValueError(f"go.mod does not require {module_path}")
    return found.group(1)


def needed_go_version() -> tuple[int, int, int]:
    """The newest Go version that one of the go.mod files asks for."""
    wanted = [re.search(r"^go (\d+)\.(\d+)(?:\.(\d+))?$", text, re.MULTILINE) for text in _go_mod_texts()]
    return max((int(found[1]), int(found[2]), int(found[3] or 0)) for found in wanted if found)


def linker_flags(binaries: tuple[Binary, ...] = BINARIES) -> str:
    """Strips symbols and writes the versions that the programs report; both come from the go.mod files."""
    if binaries == USAGE_SERVERS:
        return f"-s -w -X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=victoria-metrics-{victoria_metrics_version()}"
    if binaries == PROMETHEUS_2:
        return f"-s -w -X {PROMETHEUS_VERSION}={prometheus_version('prometheus2')}"
    kubernetes = required_version(module_file("kubernetes").read_text(), "k8s.io/kubernetes")
    major, minor, _ = kubernetes.removeprefix("v").split(".")
    written = {
        "k8s.io/component-base/version.gitVersion": kubernetes,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        PROMETHEUS_VERSION: prometheus_version(),
    }
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in written.items())])


def victoria_metrics_version() -> str:
    return required_version(module_file(VICTORIA_METRICS.module).read_text(), "github.com/VictoriaMetrics/VictoriaMetrics")


def prometheus_version(module: str = "prometheus") -> str:
    return prometheus_release(required_version(module_file(module).read_text(), "github.com/prometheus/prometheus"))


def prometheus_release(module_version: str) -> str:
    """Prometheus numbers its Go module v0.3XX.Y for release 3.XX.Y, v0.XX.Y for 2.XX.Y: v0.315.0 -> 3.15.0, v0.45.6 -> 2.45.6."""
    found = re.fullmatch(r"v0\.(\d?)(\d{2})\.(\d+)", module_version)
    if found is None:
        raise ValueError(f"not a version of the Prometheus module: {module_version}")
    return f"{found[1] or 2}.{int(found[2])}.{found[3]}"


def cache_key(binaries: tuple[Binary, ...] = BINARIES) -> str:
    """Changes when a pin, a flag or the platform changes; 16 hexadecimal digits."""
    digest = hashlib.sha256(f"{sys.platform} {platform.machine()} {binaries} {BUILD_TAGS} {linker_flags(binaries)}".encode())
    for module in sorted({binary.module for binary in binaries}):
        digest.update(module_file(module).read_bytes())
        digest.update(module_file(module).with_name("go.sum").read_bytes())
    return digest.hexdigest()[:16]


def _go_mod_texts() -> list[str]:
    return [module_file(module).read_text() for module in sorted({binary.module for binary in (*BINARIES, *USAGE_SERVERS, *PROMETHEUS_2)})]
