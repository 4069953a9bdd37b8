"""Counts what the operator writes, while it does."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.scenario import WRITING_VERBS
from tests.testbed import Testbed


class WritesSeen:
    """Counts what a user writes from now on, by reading on in the audit log: a kill has to hit a moment, not a second."""

    def __init__(self, bed: Testbed, user: str, *, resources: Sequence[str] = ()) -> None:
        """`resources`: only writes to these count; none: all."""
        self._log = (bed.directory / "audit.log").open("rb")
        self._log.seek(0, 2)
        self._user = f'"username":"{user}"'.encode()
        self._verbs = [f'"verb":"{verb}"'.encode() for verb in WRITING_VERBS]
        self._resources = [f'"resource":"{resource}"'.encode() for resource in resources]
        self._half = b""
        self.count = 0

    def close(self) -> None:
        self._log.close()

    def look(self) -> int:
        *lines, self._half = (self._half + self._log.read()).split(b"\n")
        self.count += sum(self._counts(line) for line in lines)
        return self.count

    def _counts(self, line: bytes) -> bool:
        ours = self._user in line and any(verb in line for verb in self._verbs)
        return ours and (not self._resources or any(resource in line for resource in self._resources))

    def wait(self, count: int, *, longest_seconds: float = 4.0) -> None:
        """Until so many were seen, or for the longest wait."""
        end = time.monotonic() + longest_seconds
        while self.look() < count and time.monotonic() < end:
            time.sleep(0.002)
