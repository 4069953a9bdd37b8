"""Ctrl-C while a server keeps a command waiting. Without this, the threads that wait would be waited for first."""

from __future__ import annotations

import signal
from types import FrameType

import click

from rightsizer.stopping import Stopping


def stopped_by_interrupt() -> Stopping:
    """Until the command ends, Ctrl-C sets and cuts it, and raises KeyboardInterrupt as ever."""
    stopping = Stopping()
    before = signal.getsignal(signal.SIGINT)

    def interrupted(number: int, frame: FrameType | None) -> None:
        stopping.set()
        stopping.cut()
        raise KeyboardInterrupt

    # Where it is ignored, as in the background of a shell, it stays so.
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupted)
        click.get_current_context().call_on_close(lambda: signal.signal(signal.SIGINT, before))
    return stopping
