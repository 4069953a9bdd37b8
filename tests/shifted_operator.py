"""The real operator with a clock that a test puts back and forward, so that a slot ends when the test says so and not in five minutes.

Only the clock of the cycle is another one: `python -m tests.shifted_operator FILE run ...` is `rightsizer run ...` that many seconds, as
the file says at each look, away from now.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ShiftedClock:
    """Implements `ports.Clock`: the time of this machine plus the seconds in a file."""

    file: Path

    def now(self) -> float:
        return time.time() + self.shift_seconds

    @property
    def shift_seconds(self) -> float:
        return float(self.file.read_text())

    def put(self, shift_seconds: float) -> None:
        """From now on, so many seconds after now (below 0: before)."""
        written = self.file.with_suffix(".new")
        written.write_text(str(shift_seconds))
        written.rename(self.file)

    def advance(self, seconds: float) -> None:
        self.put(self.shift_seconds + seconds)


def main() -> None:
    # Late, because the tests import the clock of this module and not the whole operator.
    from rightsizer import cli, handlers

    clock = ShiftedClock(Path(sys.argv.pop(1)))
    setattr(handlers, "SystemClock", lambda: clock)  # noqa: B010  # a class in the eyes of the type checker
    cli.main()


if __name__ == "__main__":
    main()
