"""The tests' side of the supervisor: named server processes that end with this object or with this Python process.

Knows how to start, stop and find them dead, not what they are.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.testbed.errors import TestbedError

SUPERVISOR = Path(__file__).with_name("supervisor.py")
LINES_OF_LOG_IN_ERRORS = 15


class Processes:
    """Server processes, each with a log `<name>.log` in the given folder. Safe to use from several threads."""

    def __init__(self, directory: Path, *, delete_directory: bool) -> None:
        self._directory = directory
        self._delete_directory = delete_directory
        self._lock = threading.Lock()
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", SUPERVISOR, str(os.getpid()), str(directory) if delete_directory else ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> int:
        """Starts a process and returns its id. The name is free again after the process has ended."""
        reply = self._ask(
            do="start",
            name=name,
            command=[str(argument) for argument in command],
            environment={**os.environ, **(environment or {})},
            log=str(self.log(name)),
            directory=str(self._directory),
        )
        return int(reply["pid"])

    def stop(self, name: str, *, signal_number: int = signal.SIGTERM, seconds: float = 10.0) -> int:
        """Sends a signal, waits until the process has ended (SIGKILL after `seconds`), returns its exit code."""
        return int(self._ask(do="stop", name=name, signal=int(signal_number), seconds=seconds)["exit_code"])

    def check_alive(self, name: str) -> None:
        """Raises TestbedError with the end of its log when the process has ended."""
        exit_code = self._ask(do="poll", name=name)["exit_code"]
        if exit_code is not None:
            lines = self.log(name).read_text(errors="replace").splitlines()[-LINES_OF_LOG_IN_ERRORS:]
            raise TestbedError(f"{name} ended with {exit_code}:\n" + "\n".join(lines))

    def log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def close(self) -> None:
        """Kills every process and waits for it; again is harmless."""
        with self._lock:
            for pipe in (self._supervisor.stdin, self._supervisor.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
            self._supervisor.wait()
        if self._delete_directory:  # the supervisor has done so already, unless it was killed
            shutil.rmtree(self._directory, ignore_errors=True)

    def _ask(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            reply = self._exchange(json.dumps(request).encode() + b"\n")
        if "error" in reply:
            raise TestbedError(f"{request['do']} {request['name']}: {reply['error']}")
        return reply

    def _exchange(self, line: bytes) -> dict[str, Any]:
        requests, replies = self._supervisor.stdin, self._supervisor.stdout
        if requests is None or replies is None or requests.closed:
            raise TestbedError("the testbed is closed")
        try:
            requests.write(line)
            requests.flush()
            return dict(json.loads(replies.readline()))
        except (BrokenPipeError, json.JSONDecodeError) as error:
            raise TestbedError("the testbed's supervisor is gone") from error
