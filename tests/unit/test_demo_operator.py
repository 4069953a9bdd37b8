"""The operator of the demo: its settings are those of the installation but for what belongs to this run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from demo import cluster
from tests.testbed import Testbed


class Bed:
    """What the demo asks of a testbed."""

    prometheus_url = "http://127.0.0.1:9090"

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def get(self, kind: str, name: str, *, namespace: str) -> dict[str, Any]:
        assert (kind, name, namespace) == ("configmap", "rightsizer", "rightsizer")
        return {"data": {"RIGHTSIZER_HISTORY_FOLDER": "/var/lib/rightsizer", "RIGHTSIZER_LOG_LEVEL": "debug"}}

    def kubeconfig_for(self, **_: str) -> Path:
        return self.directory / "kubeconfig"


def bed(directory: Path) -> Testbed:
    return cast(Testbed, Bed(directory))


def test_each_run_has_a_history_of_its_own_that_goes_with_it(tmp_path: Path) -> None:
    folders = [Path(cluster._settings(bed(tmp_path / run))["RIGHTSIZER_HISTORY_FOLDER"]) for run in ("one", "other")]
    assert [folder.parent for folder in folders] == [tmp_path / "one", tmp_path / "other"]


def test_the_other_settings_are_those_of_the_installation(tmp_path: Path) -> None:
    assert cluster._settings(bed(tmp_path))["RIGHTSIZER_LOG_LEVEL"] == "debug"
