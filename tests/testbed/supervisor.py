"""The program that the testbed's servers are children of, so that none outlives the tests, however these end.

It serves one JSON request per line on its standard input. When that input ends or the parent is gone, it kills every child and
deletes the given folder. Runs as a file of its own with nothing but the standard library; knows nothing of Kubernetes.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

PR_SET_PDEATHSIG = 1

# A forked copy of the parent may hold the pipe open after the parent is dead, so its process id is looked at as well.
SECONDS_BETWEEN_LOOKS_AT_PARENT = 1.0

Request = dict[str, Any]


class Supervisor:
    """Starts, signals and watches named child processes."""

    def __init__(self, die_with_supervisor: Callable[[], None]) -> None:
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._die_with_supervisor = die_with_supervisor

    def answer(self, request: Request) -> Request:
        """The reply to one request: `{"error": ...}` when it cannot be done."""
        try:
            match request["do"]:
                case "start":
                    return self._start(request)
                case "stop":
                    return self._stop(self._children[request["name"]], request)
                case "poll":
                    return {"exit_code": self._children[request["name"]].poll()}
        except (OSError, KeyError) as error:
            return {"error": repr(error)}
        return {"error": f"unknown request {request['do']}"}

    def _start(self, request: Request) -> Request:
        former = self._children.get(request["name"])
        if former is not None and former.poll() is None:
            return {"error": "is running already"}
        with open(request["log"], "ab") as log:
            child = subprocess.Popen(
                request["command"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=request["environment"],
                cwd=request["directory"],
                preexec_fn=self._die_with_supervisor,  # safe here: this program has one thread
            )
        self._children[request["name"]] = child
        return {"pid": child.pid}

    def _stop(self, child: subprocess.Popen[bytes], request: Request) -> Request:
        if child.poll() is None:
            child.send_signal(request["signal"])
        try:
            return {"exit_code": child.wait(timeout=request["seconds"])}
        except subprocess.TimeoutExpired:
            child.kill()
            return {"exit_code": child.wait()}

    def kill_all(self) -> None:
        for child in self._children.values():
            child.kill()
        for child in self._children.values():
            child.wait()


def prepare_death_signal() -> Callable[[], None]:
    """What a child calls before exec so that the kernel kills it when the supervisor dies (Linux; elsewhere nothing)."""
    if sys.platform != "linux":
        return lambda: None
    libc = ctypes.CDLL(None, use_errno=True)
    supervisor = os.getpid()

    def die_with_supervisor() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:  # it died between fork and prctl
            os._exit(1)

    return die_with_supervisor


def serve(supervisor: Supervisor, *, parent: int) -> None:
    """Answers requests until the input ends or `parent` is no longer the parent process."""
    unread = b""
    while os.getppid() == parent:
        if not select.select([0], [], [], SECONDS_BETWEEN_LOOKS_AT_PARENT)[0]:
            continue
        received = os.read(0, 65536)
        if not received:
            return
        *lines, unread = (unread + received).split(b"\n")
        for line in lines:
            reply = json.dumps(supervisor.answer(json.loads(line))) + "\n"
            os.write(1, reply.encode())


def main() -> None:
    parent, folder = int(sys.argv[1]), sys.argv[2]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which then closes the input
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    supervisor = Supervisor(prepare_death_signal())
    try:
        serve(supervisor, parent=parent)
    except BrokenPipeError:
        pass  # the parent died while a reply was under way
    finally:
        supervisor.kill_all()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
