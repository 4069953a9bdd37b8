"""The first process of a real node's own namespaces: hides the machine's places, then starts containerd and the kubelet.

It ends when one of the two does; the kernel then ends everything else. Runs as a file of its own with nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

MS_BIND = 0x1000
START_SECONDS = 30.0


def main() -> int:
    plan = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(plan["folder"])
    hide(plan["hidden"], kernel_settings=plan["kernel_settings"], pretended=folder / "kernel-settings")
    containerd = start(folder, "containerd", plan["containerd"])
    if not wait_for_socket(plan["socket"], containerd):
        return 1
    for command in plan["imports"]:
        subprocess.run(command, check=True, stdout=sys.stdout, stderr=sys.stderr)
    kubelet = start(folder, "kubelet", plan["kubelet"])
    return wait({containerd.pid: "containerd", kubelet.pid: "kubelet"})


def hide(places: list[str], *, kernel_settings: dict[str, int], pretended: Path) -> None:
    """Own `/proc` for the own process ids, empty places instead of the machine's, and kernel settings as a kubelet would make them."""
    mount("proc", "/proc", "proc")
    for place in places:
        mount("tmpfs", place, "tmpfs")
    for name, value in kernel_settings.items():
        file = pretended / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
        mount(str(file), f"/proc/sys/{name}", None, MS_BIND)


def mount(source: str, target: str, kind: str | None, flags: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {source}: {os.strerror(number)}", target)


def start(folder: Path, name: str, command: list[str]) -> subprocess.Popen[bytes]:
    with open(folder / f"{name}.log", "ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)


def wait_for_socket(path: str, containerd: subprocess.Popen[bytes]) -> bool:
    """Until somebody answers there; False when containerd ended or time ran out."""
    end = time.monotonic() + START_SECONDS
    while containerd.poll() is None and time.monotonic() < end:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except OSError:
                time.sleep(0.05)
                continue
            return True
    print("containerd does not answer", flush=True)
    return False


def wait(needed: dict[int, str]) -> int:
    """Reaps what ends, as a first process has to, until one of the needed processes does."""
    while True:
        pid, status = os.wait()
        if pid in needed:
            print(f"{needed[pid]} ended with {os.waitstatus_to_exitcode(status)}", flush=True)
            return 1


if __name__ == "__main__":
    sys.exit(main())
