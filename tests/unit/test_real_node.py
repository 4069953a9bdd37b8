"""What a real node is made of, without one: its image, its control groups in both versions, and why there is none."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.realnode import cgroups, configuration, possible, programs
from tests.realnode.cgroups import ContainerCgroup
from tests.realnode.image import write_image
from tests.testbed.binaries import build_node_programs, kubelet
from tests.testbed.errors import BuildError, NotProvided

MEBIBYTE = 1024 * 1024


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_limits_are_read_from_the_trees_of_version_1(tmp_path: Path) -> None:
    cpu, memory = "cpu/node/kubepods/pod1/abc", "memory/node/kubepods/pod1/abc"
    files = {f"{cpu}/cpu.cfs_quota_us": "20000\n", f"{cpu}/cpu.cfs_period_us": "100000\n", f"{memory}/memory.limit_in_bytes": "67108864\n"}
    root = tree(tmp_path, files)
    assert cgroups.of_container("node", "abc", root) == ContainerCgroup(cpu_limit=200, memory_limit=64 * MEBIBYTE)
    tree(root, {f"{cpu}/cpu.cfs_quota_us": "-1\n", f"{memory}/memory.limit_in_bytes": "9223372036854771712\n"})
    assert cgroups.of_container("node", "abc", root) == ContainerCgroup(cpu_limit=None, memory_limit=None)


def test_limits_are_read_from_the_one_tree_of_version_2(tmp_path: Path) -> None:
    folder = "node/kubepods/pod1/abc"
    root = tree(
        tmp_path, {"cgroup.controllers": "cpu memory\n", f"{folder}/cpu.max": "20000 100000\n", f"{folder}/memory.max": "67108864\n"}
    )
    assert cgroups.of_container("node", "abc", root) == ContainerCgroup(cpu_limit=200, memory_limit=64 * MEBIBYTE)
    tree(root, {f"{folder}/cpu.max": "max 100000\n", f"{folder}/memory.max": "max\n"})
    assert cgroups.of_container("node", "abc", root) == ContainerCgroup(cpu_limit=None, memory_limit=None)


def test_processor_time_is_read_in_both_versions(tmp_path: Path) -> None:
    one = tree(tmp_path / "1", {"cpuacct/node/pod1/abc/cpuacct.usage": "1500000000\n"})
    two = tree(tmp_path / "2", {"cgroup.controllers": "cpu\n", "node/pod1/abc/cpu.stat": "usage_usec 1500000\nuser_usec 1\n"})
    assert [cgroups.cpu_seconds("node", "abc", root) for root in (one, two)] == [1.5, 1.5]


def test_container_without_a_group_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path, {"cgroup.controllers": "cpu memory\n", "node/cpu.max": "max 100000\n"})
    with pytest.raises(FileNotFoundError, match="no control group of container abc"):
        cgroups.of_container("node", "abc", root)


def test_groups_are_made_and_removed_in_every_tree_and_others_stay(tmp_path: Path) -> None:
    controllers = ("cpu", "cpuset", "memory")
    root = tree(tmp_path, {f"{name}/cgroup.procs": "" for name in controllers})
    tree(root, {"cpuset/cpuset.cpus": "0-1\n", "cpuset/cpuset.mems": "0\n", "no-controller/file": ""})
    (root / "cpu,cpuacct").symlink_to("cpu")
    cgroups.make("node", root)
    assert [folder.parent.name for folder in cgroups.trees("node", root)] == list(controllers)
    for name in controllers:
        (root / name / "node" / "kubepods" / "pod1").mkdir(parents=True)
        (root / name / "other").mkdir()
    assert cgroups.remove("node", root=root)
    assert [(root / name / "node").exists() for name in controllers] == [False] * 3
    assert all((root / name / "other").is_dir() for name in controllers)


def test_group_that_is_still_in_use_is_reported(tmp_path: Path) -> None:
    root = tree(tmp_path, {"cpu/cgroup.procs": "", "cpu/node/busy": ""})
    assert not cgroups.remove("node", seconds=0.0, root=root)


def test_image_holds_what_its_digests_say(tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(b"program")
    write_image(tmp_path / "image.tar", name="here.invalid/busybox:1", busybox=tmp_path / "busybox")
    with tarfile.open(tmp_path / "image.tar") as tar:
        content = {member.name: stream.read() for member in tar if (stream := tar.extractfile(member)) is not None}
    blobs = {name.rpartition("/")[2]: blob for name, blob in content.items() if name.startswith("blobs/")}
    assert all(hashlib.sha256(blob).hexdigest() == name for name, blob in blobs.items())
    (entry,) = json.loads(content["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "here.invalid/busybox:1"
    manifest = json.loads(blobs[entry["digest"].removeprefix("sha256:")])
    config = json.loads(blobs[manifest["config"]["digest"].removeprefix("sha256:")])
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]


@pytest.mark.parametrize("command", ["ADD", "DEL", "VERSION"])
def test_network_plugin_answers_and_does_nothing(tmp_path: Path, command: str) -> None:
    plugin = tmp_path / "nothing"
    plugin.write_text(configuration.NETWORK_PLUGIN)
    environment = {"CNI_COMMAND": command, "CNI_IFNAME": "eth0", "CNI_NETNS": "/run/netns/1", "PATH": os.defpath}
    said = subprocess.run(["sh", plugin], input=b"{}", env=environment, capture_output=True, check=True).stdout
    if command == "DEL":
        assert said == b""
    else:
        assert json.loads(said)["cniVersion"] == "0.4.0"


def test_reason_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in str(possible.why_not.__wrapped__())


def test_reason_on_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert possible.why_not.__wrapped__() == "a kubelet needs Linux, this is darwin"


def test_packages_that_are_not_there_name_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets = tree(tmp_path / "assets", {"kubelet": ""})
    (assets / "kubelet").chmod(0o755)
    monkeypatch.setenv("RIGHTSIZER_TESTBED_ASSETS", str(assets))
    monkeypatch.setenv("RIGHTSIZER_CACHE", str(tmp_path))
    with pytest.raises(
        programs.NoPackages, match="containerd, containerd-shim-runc-v2, ctr, runc, busybox not unpacked: run `make testbed`"
    ):
        programs.built_programs()


def test_machine_without_debian_packages_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGHTSIZER_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(programs.NoPackages, match="no apt-get and dpkg-deb"):
        programs.build()


def test_refused_download_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("apt-get", "dpkg-deb"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2\nexit 100\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    monkeypatch.setenv("RIGHTSIZER_CACHE", str(tmp_path / "cache"))
    with pytest.raises(programs.NoPackages, match="failed: E: Unable to locate package"):
        programs.build()
    assert list((tmp_path / "cache" / "node").iterdir()) == []


def test_kubelet_is_looked_for_apart_from_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RIGHTSIZER_TESTBED_ASSETS", raising=False)
    monkeypatch.setenv("RIGHTSIZER_CACHE", str(tmp_path))
    with pytest.raises(BuildError, match=r"kubelet missing in .*: run `make testbed` first"):
        kubelet()
    monkeypatch.setenv("RIGHTSIZER_TESTBED_ASSETS", str(tmp_path))
    build_node_programs()
    with pytest.raises(NotProvided, match="has no kubelet"):
        kubelet()
