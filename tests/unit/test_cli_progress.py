"""The progress bar: on a terminal only, after two seconds only, and away at the end."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rightsizer.cli.progress import ProgressBar


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def shown(*, terminal: bool, after_seconds: float) -> str:
    output, clock = io.StringIO(), Clock()
    console = Console(file=output, force_terminal=terminal, width=80, color_system=None)
    with ProgressBar(console=console, clock=clock) as bar:
        bar.report("usage of namespace shop", 1, 4)
        clock.time = after_seconds
        bar.report("usage of namespace shop", 2, 4)
        bar.report("usage of namespace bank", 1, 4)
    return output.getvalue()


@pytest.mark.parametrize(
    ("terminal", "after_seconds", "expected"), [(True, 2.5, True), (True, 1.5, False), (False, 60, False)], ids=["long", "short", "piped"]
)
def test_it_shows_where_somebody_waits(terminal: bool, after_seconds: float, expected: bool) -> None:
    assert ("usage of namespace" in shown(terminal=terminal, after_seconds=after_seconds)) is expected


def test_it_tells_what_goes_on_and_how_far_it_is() -> None:
    text = shown(terminal=True, after_seconds=3)
    assert "usage of namespace bank" in text
    assert "25%" in text
    # The last thing written clears its line.
    assert text.endswith("\x1b[2K")
