"""What the demo prints: headings, steps with their time, and tables of other programs; plain text is kept in a transcript.

Knows nothing of clusters. Colours only on a terminal, and never in the transcript.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

BOLD, GREEN, RED, DIM, PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"
_INDENT = "  "


class DemoFailed(Exception):
    """The demo cannot go on, or its result is not what it should be; the text says why."""


class Screen:
    """Writes to a stream and to a transcript. Not for several threads."""

    def __init__(self, transcript: Path, *, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._coloured = self._stream.isatty()
        self._started = time.monotonic()
        transcript.parent.mkdir(parents=True, exist_ok=True)
        self._transcript = transcript
        transcript.write_text("", encoding="utf-8")

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._started

    def heading(self, text: str) -> None:
        self.line()
        self.line(f"== {text}", style=BOLD)

    def say(self, *paragraph: str) -> None:
        """Lines of explanation."""
        for text in paragraph:
            self.line(f"{_INDENT}{text}".rstrip())

    def shown(self, command: str, output: str) -> None:
        """A command, as a person would type it, and what it printed."""
        self.line()
        self.line(f"{_INDENT}$ {command}", style=BOLD)
        for text in output.rstrip().splitlines():
            self.line(f"{_INDENT}{text}".rstrip())

    def verdict(self, text: str, *, good: bool) -> None:
        self.line(f"{_INDENT}{'ok  ' if good else 'FAIL'}  {text}", style=GREEN if good else RED)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Names what is being done, and then how long it took."""
        if self._coloured:
            self._stream.write(f"{_INDENT}{DIM}...{PLAIN} {what}\r")
            self._stream.flush()
        begun = time.monotonic()
        yield
        self.line(f"{_INDENT}{what:<92} {time.monotonic() - begun:5.1f} s")

    def line(self, text: str = "", *, style: str = "") -> None:
        with self._transcript.open("a", encoding="utf-8") as transcript:
            transcript.write(f"{text}\n")
        print(f"{style}{text}{PLAIN}" if style and self._coloured else text, file=self._stream, flush=True)
