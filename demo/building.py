"""Builds the testbed's programs in the background of the first act; on a machine that has them there is nothing to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from demo.places import ROOT
from demo.screen import DemoFailed, Screen
from tests.testbed.binaries import binaries_folder, missing_binaries

Build = subprocess.Popen[str]


@contextmanager
def building() -> Iterator[Build | None]:
    """The running build, None where everything is built already. It ends with the block, finished or not."""
    if not missing_binaries(binaries_folder()):
        yield None
        return
    command = [sys.executable, "-m", "tests.testbed.build"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as build:
        try:
            yield build
        finally:
            build.terminate()


def wait_for(build: Build | None, screen: Screen) -> None:
    """Shows what the build says until it has ended. Raises DemoFailed when it failed."""
    if build is None or build.stderr is None:
        return
    screen.heading("The cluster's real parts are being built from source, once (about 15 minutes on two cores)")
    screen.say("etcd, Kubernetes, Prometheus and kwok; the next `make demo` finds them in the cache and takes less than a minute.")
    last = ""
    for text in build.stderr:
        last = text.strip()
        screen.say(last)
    if build.wait() != 0:
        raise DemoFailed(f"the testbed could not be built: {last}")
