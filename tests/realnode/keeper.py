"""The program that a real node is the child of, so that nothing of it outlives the tests, however these end.

It puts the node's first process into namespaces of its own. When its standard input ends or its parent is gone, it kills that process,
and with it the kernel kills all others of the node and undoes their mounts; it then removes the control groups and the folder.
Runs as `python -m tests.realnode.keeper` with nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.realnode import cgroups

PR_SET_PDEATHSIG = 1
CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18

# A forked copy of the parent may hold the pipe open after the parent is dead, so its process id is looked at as well.
SECONDS_BETWEEN_LOOKS = 0.5

ENDED = b"ended\n"


def enter_namespaces() -> Callable[[], None]:
    """The next child, and only that, is the first process of a new process namespace; it calls what is returned before exec."""
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(CLONE_NEWPID))

    def private_mounts() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _checked(libc.unshare(CLONE_NEWNS))
        _checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))

    return private_mounts


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def wait(node: subprocess.Popen[bytes], *, parent: int) -> None:
    """Until the input ends or the parent is gone; says so when the node ended before."""
    told = False
    while os.getppid() == parent:
        if select.select([0], [], [], SECONDS_BETWEEN_LOOKS)[0] and not os.read(0, 4096):
            return
        if node.poll() is not None and not told:
            os.write(1, ENDED)
            told = True


def main() -> None:
    parent, folder, keep, *command = sys.argv[1:]
    name = Path(folder).name
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which then closes the input
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    node: subprocess.Popen[bytes] | None = None
    try:
        cgroups.make(name)
        with open(f"{folder}/node.log", "ab") as log:
            node = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, preexec_fn=enter_namespaces())
        wait(node, parent=int(parent))
    except BrokenPipeError:
        pass  # the parent died while it was told
    finally:
        if node is not None:
            node.kill()
            node.wait()  # returns when all processes of the namespace are gone
        cgroups.remove(name)
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
