"""A real VictoriaMetrics (one node) with a history that is known beforehand, put in by its API, and no control plane beside it."""

from __future__ import annotations

import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.testbed.addresses import answers, free_ports, opener, wait_until
from tests.testbed.binaries import victoria_metrics
from tests.testbed.errors import NotProvided
from tests.testbed.processes import Processes

NAME = "victoria-metrics"
START_SECONDS = 30.0
IMPORT_SECONDS = 120.0


@contextmanager
def loaded_victoria_metrics(openmetrics: str, *, flags: Sequence[str] = ()) -> Iterator[str]:
    """The URL of a VictoriaMetrics that holds these samples; it ends with the context. `flags` are its own, such as `-search.maxSeries=1`.

    Skips the test where the folder of prebuilt binaries lacks the program.
    """
    try:
        binary = victoria_metrics()
    except NotProvided as error:
        pytest.skip(str(error))
    folder = Path(tempfile.mkdtemp(prefix="rightsizer-victoria-metrics-"))
    processes = Processes(folder, delete_directory=True)
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    own = [f"-httpListenAddr={url.removeprefix('http://')}", f"-storageDataPath={folder / 'data'}", "-retentionPeriod=90d"]
    try:
        processes.start(NAME, [binary, *own, "-memory.allowedBytes=256MiB", "-loggerLevel=WARN", *flags])
        wait_until(lambda: _ready(processes, url), what="VictoriaMetrics ready", timeout_seconds=START_SECONDS)
        load(url, openmetrics)
        yield url
    finally:
        processes.close()


def load(url: str, openmetrics: str) -> None:
    """Puts these samples in; they are seen by the next question."""
    import_request = urllib.request.Request(f"{url}/api/v1/import/prometheus", data=openmetrics.encode(), method="POST")
    for request in (import_request, f"{url}/internal/force_flush"):
        opener().open(request, timeout=IMPORT_SECONDS).close()


def _ready(processes: Processes, url: str) -> bool:
    processes.check_alive(NAME)
    return answers(f"{url}/health")
