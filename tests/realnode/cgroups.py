"""The control groups below one name, in version 1 (a tree for each controller) or 2 (one tree): made, read, removed.

Runs also inside the keeper: no import from the rest of the tests.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_UNLIMITED_BYTES = 1 << 60
_CPU_PERIOD_MICROSECONDS = 100_000


@dataclass(frozen=True, slots=True)
class ContainerCgroup:
    """What the kernel holds a container to: limits in millicores and bytes, None without one."""

    cpu_limit: int | None
    memory_limit: int | None


def is_unified(root: Path = ROOT) -> bool:
    return (root / "cgroup.controllers").is_file()


def trees(name: str, root: Path = ROOT) -> list[Path]:
    """The folder of this name in every tree, whether it is there or not; links (`cpu` for `cpu,cpuacct`) count once."""
    if is_unified(root):
        return [root / name]
    return [entry / name for entry in sorted(root.iterdir()) if (entry / "cgroup.procs").is_file() and not entry.is_symlink()]


def make(name: str, root: Path = ROOT) -> None:
    """Empty groups; a kubelet wants to find its own in every tree."""
    for folder in trees(name, root):
        folder.mkdir(exist_ok=True)
        if (folder / "cpuset.cpus").is_file() and not is_unified(root):
            for file in ("cpuset.cpus", "cpuset.mems"):
                (folder / file).write_text((folder.parent / file).read_text())


def remove(name: str, *, seconds: float = 10.0, root: Path = ROOT) -> bool:
    """Removes the groups and all below them; whether all are gone. A group goes when its last process has been reaped, not earlier."""
    end = time.monotonic() + seconds
    while True:
        remaining = [folder for folder in trees(name, root) if not _removed(folder)]
        if not remaining or time.monotonic() > end:
            return not remaining
        time.sleep(0.1)


def _removed(top: Path) -> bool:
    for folder, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):
            os.rmdir(folder)
    return not top.exists()


def of_container(name: str, container_id: str, root: Path = ROOT) -> ContainerCgroup:
    """What holds for a container below `name`; FileNotFoundError when it has no group."""
    if is_unified(root):
        folder = _folder_of(root / name, container_id)
        return _unified(folder)
    cpu, memory = (_folder_of(root / controller / name, container_id) for controller in ("cpu", "memory"))
    quota, limit = _number(cpu / "cpu.cfs_quota_us"), _number(memory / "memory.limit_in_bytes")
    return ContainerCgroup(
        cpu_limit=None if quota < 0 else quota * 1000 // _number(cpu / "cpu.cfs_period_us"),
        memory_limit=None if limit > _UNLIMITED_BYTES else limit,
    )


def cpu_seconds(name: str, container_id: str, root: Path = ROOT) -> float:
    """The processor time of a container below `name` so far; FileNotFoundError when it has no group."""
    if is_unified(root):
        fields = (_folder_of(root / name, container_id) / "cpu.stat").read_text().split()
        return int(fields[fields.index("usage_usec") + 1]) / 1e6
    return _number(_folder_of(root / "cpuacct" / name, container_id) / "cpuacct.usage") / 1e9


def _unified(folder: Path) -> ContainerCgroup:
    quota, _, period = (folder / "cpu.max").read_text().strip().partition(" ")
    limit = (folder / "memory.max").read_text().strip()
    return ContainerCgroup(
        cpu_limit=None if quota == "max" else int(quota) * 1000 // int(period or _CPU_PERIOD_MICROSECONDS),
        memory_limit=None if limit == "max" else int(limit),
    )


def _folder_of(top: Path, container_id: str) -> Path:
    for folder, names, _ in os.walk(top):
        if container_id in names:
            return Path(folder) / container_id
    raise FileNotFoundError(f"no control group of container {container_id} below {top}")


def _number(file: Path) -> int:
    return int(file.read_text())
