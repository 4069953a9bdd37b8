"""A real Prometheus that only answers: it has the blocks of a generated cluster and scrapes nothing, not even itself.

So all its processor time is the questions'. It is started anew for each arm, so that none pays or profits for the one before.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.generated import GeneratedCluster
from tests.testbed.addresses import answers, free_ports, wait_until
from tests.testbed.binaries import built_binaries
from tests.testbed.processes import Processes

NAME = "prometheus"
START_SECONDS = 120.0
STOP_SECONDS = 30.0


class UsageServer:
    """One Prometheus, with its default limits (50 M samples and 2 minutes for a query)."""

    def __init__(self, processes: Processes, binary: Path, folder: Path, port: int) -> None:
        self._processes = processes
        self._address = f"127.0.0.1:{port}"
        self._command: list[str | Path] = [
            binary,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=10y",
            # Equal bounds switch compaction off: it would begin a minute after the start and be counted as the questions' cost.
            "--storage.tsdb.min-block-duration=2h",
            "--storage.tsdb.max-block-duration=2h",
            f"--web.listen-address={self._address}",
            "--log.level=warn",
        ]
        self.pid = 0

    @property
    def url(self) -> str:
        return f"http://{self._address}"

    def start(self) -> None:
        self.pid = self._processes.start(NAME, self._command)
        wait_until(self._ready, what="Prometheus ready", timeout_seconds=START_SECONDS)

    def restart(self) -> None:
        """The same server with none of the memory that it took before."""
        self._processes.stop(NAME, seconds=STOP_SECONDS)
        self.start()

    def check_alive(self) -> None:
        self._processes.check_alive(NAME)

    def _ready(self) -> bool:
        self.check_alive()
        return answers(f"{self.url}/-/ready")


@contextlib.contextmanager
def usage_server(cluster: GeneratedCluster) -> Iterator[UsageServer]:
    """Started, and gone with its folder afterwards. Raises BuildError where the testbed is not built."""
    binary = built_binaries() / "prometheus"
    folder = Path(tempfile.mkdtemp(prefix="rightsizer-bench-"))
    processes = Processes(folder, delete_directory=True)
    try:
        (folder / "prometheus.yml").write_text("scrape_configs: []\n")
        for meta in sorted(cluster.folder.glob("*/meta.json")):
            shutil.copytree(meta.parent, folder / "data" / meta.parent.name, copy_function=_link)
        server = UsageServer(processes, binary, folder, free_ports(1)[0])
        server.start()
        yield server
    finally:
        processes.close()


def _link(source: str, target: str) -> None:
    """Prometheus never changes a file of a block in place."""
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
