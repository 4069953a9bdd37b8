"""Free ports and waiting for servers on 127.0.0.1; knows HTTP, nothing of who answers."""

from __future__ import annotations

import random
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.testbed.errors import TestbedError, TestbedTimeout

# Below the range from which Linux takes the ports of outgoing connections, so that nobody takes the port of a server that a
# test has killed and is about to start again.
PORTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listens on now; raises TestbedError when there are none."""
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, k=min(len(PORTS), 50 * count)):
        if len(found) == count:
            return found
        if _is_free(port):
            found.append(port)
    raise TestbedError(f"no {count} free ports between {PORTS.start} and {PORTS.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def opener(ca_file: Path | None = None) -> urllib.request.OpenerDirector:
    """Opens URLs of this machine, past any proxy that the environment names."""
    trust = ssl.create_default_context(cafile=ca_file) if ca_file else None
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))


def answers(url: str, *, ca_file: Path | None = None, token: str | None = None) -> bool:
    """Whether the URL answers with 200 now."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with opener(ca_file).open(request, timeout=5.0) as response:
            return bool(response.status == 200)
    except OSError:  # refused, reset, an error status, a certificate that is not written yet
        return False


def wait_until(predicate: Callable[[], bool], *, what: str, timeout_seconds: float, pause_seconds: float = 0.1) -> None:
    """Asks until it is true; raises TestbedTimeout that names `what`."""
    deadline = time.monotonic() + timeout_seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise TestbedTimeout(f"{what}: not within {timeout_seconds:g} s")
        time.sleep(pause_seconds)
