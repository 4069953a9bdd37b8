"""What the kubelet and containerd of a real node are told; texts only.

Everything that they would share with the machine is given a place of its own, and what they would set on it is left alone.
"""

from __future__ import annotations

import json
from pathlib import Path

SOCKET = "/run/containerd/containerd.sock"
"""cAdvisor looks for it there and nowhere else; the node's own `/run` makes it private."""

# Where kubelet, containerd and runc leave things of the machine, some of it at paths that cannot be changed.
HIDDEN = ("/run", "/var/lib", "/var/log")

# What a kubelet writes into every machine it runs on; where it reads the value already, it writes nothing.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}

# Pods here need no network. A real plug-in would make links and switch on forwarding on the machine; this one only says an address.
NETWORK_PLUGIN = """#!/bin/sh
cat >/dev/null
case "$CNI_COMMAND" in
VERSION) echo '{"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0"]}' ;;
ADD) echo '{"cniVersion":"0.4.0","interfaces":[{"name":"'"$CNI_IFNAME"'","sandbox":"'"$CNI_NETNS"'"}],\
"ips":[{"version":"4","interface":0,"address":"10.254.0.2/24"}]}' ;;
esac
"""
NETWORK_PLUGINS = ("loopback", "nothing")
NETWORK = {"cniVersion": "0.4.0", "name": "nothing", "plugins": [{"type": "nothing"}]}


def containerd(folder: Path, *, image: str) -> str:
    """config.toml. The rest of the machine may lack CAP_SYS_RESOURCE, without which no OOM score can be lowered."""
    return f"""version = 2
root = "{folder / "containerd"}"
state = "/run/containerd/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{folder / "cni"}"
  conf_dir = "{folder / "cni"}"
"""


def kubelet(folder: Path, *, port: int, cgroup: str) -> str:
    """A KubeletConfiguration (JSON, which is YAML too)."""
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": "127.0.0.1",
            "port": port,
            "healthzPort": 0,
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "makeIPTablesUtilChains": False,
            "resolvConf": "",
            "podLogsDir": str(folder / "pod-logs"),
            "volumePluginDir": str(folder / "volume-plugins"),
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "nodeStatusUpdateFrequency": "5s",
            "crashLoopBackOff": {"maxContainerRestartPeriod": "5s"},
        },
        indent=2,
    )
