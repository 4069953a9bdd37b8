"""A real Prometheus on a free port, with history put in before it starts and targets to scrape.

Knows Prometheus' flags and configuration, nothing of Kubernetes or of what the series mean.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.testbed.addresses import answers, opener, wait_until
from tests.testbed.processes import Processes

NAME = "prometheus"
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class PrometheusConfig:
    """What a Prometheus starts with.

    `blocks`: TSDB blocks, or folders of them, to have from the start. `scrape_targets`: `host:port` of exporters, whose own
    labels win over those of the scrape. `extra`: more top-level keys of prometheus.yml, as `rule_files`. `flags`: of the command line.
    """

    blocks: Sequence[Path] = ()
    scrape_targets: Sequence[str] = ()
    scrape_interval: str = "5s"
    extra: Mapping[str, Any] = field(default_factory=dict)
    flags: Sequence[str] = ()

    def text(self, *, own_address: str) -> str:
        """prometheus.yml (JSON, which is YAML too)."""
        jobs: list[dict[str, Any]] = [{"job_name": "prometheus", "static_configs": [{"targets": [own_address]}]}]
        if self.scrape_targets:
            targets = [{"targets": list(self.scrape_targets)}]
            jobs.append({"job_name": "usage", "honor_labels": True, "static_configs": targets})
        interval = {"scrape_interval": self.scrape_interval, "scrape_timeout": self.scrape_interval}
        storage = {"tsdb": {"out_of_order_time_window": "1h"}}
        return json.dumps({"global": interval, "storage": storage, "scrape_configs": jobs, **self.extra}, indent=2)


class PrometheusServer:
    """One Prometheus, which can be stopped and started again with its data and its port."""

    def __init__(self, *, processes: Processes, binary: Path, directory: Path, port: int, config: PrometheusConfig) -> None:
        self.data_directory = directory / "data"
        self.config_file = directory / "prometheus.yml"
        self._address = f"127.0.0.1:{port}"
        self._processes = processes
        self._binary = binary
        self._flags = config.flags
        self.data_directory.mkdir(parents=True)
        self.configure(config)
        for block in _blocks(config.blocks):
            _link_folder(block, self.data_directory / block.name)

    @property
    def url(self) -> str:
        return f"http://{self._address}"

    def configure(self, config: PrometheusConfig) -> None:
        """Writes the configuration file; a running server reads it at `reload`. Its blocks are not looked at."""
        self.config_file.write_text(config.text(own_address=self._address))

    def launch(self) -> None:
        """Starts the process without waiting for it."""
        self._processes.start(
            NAME,
            [
                self._binary,
                f"--config.file={self.config_file}",
                f"--storage.tsdb.path={self.data_directory}",
                "--storage.tsdb.retention.time=60d",
                f"--web.listen-address={self._address}",
                "--web.enable-lifecycle",
                "--log.level=warn",
                *self._flags,
            ],
        )

    def start(self) -> None:
        """Starts and waits until queries are answered."""
        self.launch()
        self.wait_ready()

    def wait_ready(self) -> None:
        def ready() -> bool:
            self._processes.check_alive(NAME)
            return answers(f"{self.url}/-/ready")

        wait_until(ready, what="Prometheus ready", timeout_seconds=START_SECONDS)

    def stop(self) -> None:
        """Stops in order (SIGTERM) and waits for the end."""
        self._processes.stop(NAME, seconds=30.0)

    def kill(self) -> None:
        """SIGKILL; what it has not written down yet is lost."""
        self._processes.stop(NAME, signal_number=signal.SIGKILL)

    def reload(self) -> None:
        """Lets the running server read its configuration file again; urllib.error.HTTPError when it is refused."""
        opener().open(urllib.request.Request(f"{self.url}/-/reload", method="POST"), timeout=30.0).close()


def _blocks(folders: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        inside = [folder] if (folder / "meta.json").is_file() else sorted(path.parent for path in folder.glob("*/meta.json"))
        found.extend(inside)
    return found


def _link_folder(source: Path, target: Path) -> None:
    """Hard links where possible: Prometheus never changes a file of a block in place, it writes new ones."""
    shutil.copytree(source, target, copy_function=_link_file)


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
