"""The command lines of etcd, the API server, the controllers, the scheduler and kwok, and the files that they read.

Says how each one is run for tests on a small machine; starting them in the right order is the testbed's part.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.credentials import User, kubeconfig, signing_key, token_file

STAGES = Path(__file__).with_name("stages.yaml")

REAL_NODE_LABEL = "testbed.rightsizer.dev/real"
"""A node that has a kubelet of its own: kwok leaves it and its pods alone."""

# Fewer collections of garbage for more memory: the machine has more of that than of processor.
ENVIRONMENT = {"GOGC": "200"}

# What only this control plane reads of itself would drown what a test looks for; its writes stay in.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "None",
            "users": ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "testbed:kwok"],
            "verbs": ["get", "list", "watch"],
        },
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where one control plane lives: its folder, its binaries, its ports on 127.0.0.1 and the users it knows."""

    directory: Path
    binaries: Path
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    admin: User
    users: tuple[User, ...]

    @property
    def api_url(self) -> str:
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def ca_file(self) -> Path:
        """Written by the API server at its first start: its own certificate and the authority that signed it."""
        return self.directory / "certificates" / "apiserver.crt"

    @property
    def audit_log(self) -> Path:
        return self.directory / "audit.log"

    def kubeconfig(self, user: str) -> Path:
        return self.directory / f"{user.rpartition(':')[2]}.kubeconfig"

    def write_files(self) -> None:
        for name, text in {
            "tokens.csv": token_file(list(self.users)),
            "service-account.key": signing_key(),
            "audit-policy.json": json.dumps(AUDIT_POLICY),
        }.items():
            (self.directory / name).write_text(text)
        for user in self.users:
            text = kubeconfig(api_url=self.api_url, ca_file=self.ca_file, user=user.name, token=user.token)
            self.kubeconfig(user.name).write_text(text)

    def etcd(self) -> list[str | Path]:
        client, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self.etcd_peer_port}"
        return [
            self.binaries / "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def api_server(self) -> list[str | Path]:
        key = self.directory / "service-account.key"
        return [
            self.binaries / "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.api_port}",
            f"--cert-dir={self.directory / 'certificates'}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",  # refuses a loopback address
            "--allow-privileged=true",
            f"--audit-policy-file={self.directory / 'audit-policy.json'}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=2000",  # MB: one file, never rotated
            "--profiling=false",
        ]

    def controller_manager(self) -> list[str | Path]:
        return [
            self.binaries / "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig('system:kube-controller-manager')}",
            f"--root-ca-file={self.ca_file}",
            "--leader-elect=false",
            "--secure-port=0",
            "--profiling=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--node-monitor-grace-period=24h",  # nodes here send no heartbeats
        ]

    def scheduler(self) -> list[str | Path]:
        return [
            self.binaries / "kube-scheduler",
            f"--kubeconfig={self.kubeconfig('system:kube-scheduler')}",
            "--leader-elect=false",
            "--secure-port=0",
            "--profiling=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def kwok(self) -> list[str | Path]:
        return [
            self.binaries / "kwok",
            f"--kubeconfig={self.kubeconfig('testbed:kwok')}",
            f"--config={STAGES}",
            "--manage-all-nodes=false",
            f"--manage-nodes-with-label-selector=!{REAL_NODE_LABEL}",
            "--node-lease-duration-seconds=0",
            "--cidr=10.128.0.1/16",
        ]
