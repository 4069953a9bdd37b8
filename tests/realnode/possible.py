"""Whether this machine can run a real node, and if not, the reason in one line; knows nothing of what would be run."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

CONTROLLERS = ("cpu", "memory")


@cache
def why_not() -> str | None:
    """Why no real node can run here; None where one can."""
    if sys.platform != "linux":
        return f"a kubelet needs Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return "a kubelet needs root, this is another user"
    return _no_namespaces() or _no_cgroups(Path("/sys/fs/cgroup"))


def _no_namespaces() -> str | None:
    try:
        done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"cannot try namespaces: {error}"
    return None if done.returncode == 0 else f"no mount and process namespaces of its own: {done.stderr.strip()}"


def _no_cgroups(root: Path) -> str | None:
    unified = root / "cgroup.controllers"
    if unified.is_file():
        absent = sorted(set(CONTROLLERS) - set((root / "cgroup.subtree_control").read_text().split()))
    else:
        absent = [name for name in CONTROLLERS if not (root / name / "cgroup.procs").is_file()]
    if absent:
        return f"no cgroup controllers {', '.join(absent)} in {root}"
    place = root if unified.is_file() else root / "memory"
    return None if os.access(place, os.W_OK) and not _read_only(place) else f"{place} cannot be written"


def _read_only(place: Path) -> bool:
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
