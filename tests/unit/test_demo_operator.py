"""The operator of the demo: its settings are those of the installation but for what belongs to this run; when it ends, that is told."""

from __future__ import annotations

import io
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from demo import cluster, ending
from demo.screen import Screen
from tests.testbed import Testbed
from tests.testbed.processes import Processes


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


@pytest.fixture
def screen(tmp_path: Path) -> Screen:
    return Screen(tmp_path / "transcript", stream=io.StringIO())


def interrupt() -> None:
    raise KeyboardInterrupt


def around(processes: Any) -> Testbed:
    kubectl = SimpleNamespace(binary="kubectl")
    return cast(Testbed, SimpleNamespace(kubeconfig="kubeconfig", kubectl=kubectl, prometheus_url="", processes=processes))


def test_an_operator_that_ends_while_the_demo_stays_up_is_told(tmp_path: Path, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "pause", interrupt)
    monkeypatch.setattr(ending, "SECONDS_BETWEEN_LOOKS", 0.05)
    processes = Processes(tmp_path, delete_directory=False)
    try:
        processes.start(cluster.OPERATOR, ["sh", "-c", "echo its last words; sleep 0.2; exit 3"])
        assert ending.look_around(around(processes), screen) == 1
    finally:
        processes.close()
    told = (tmp_path / "transcript").read_text()
    assert "FAIL  The operator ended with 3\n" in told
    assert "its last words" in told
    assert told.rstrip().endswith("Everything is stopped and gone.")


def test_while_the_operator_lives_the_demo_waits_for_ctrl_c(screen: Screen, tmp_path: Path) -> None:
    looks = iter([None, KeyboardInterrupt()])

    def check_alive(name: str) -> None:
        if (error := next(looks)) is not None:
            raise error

    assert ending.look_around(around(SimpleNamespace(check_alive=check_alive)), screen) == 0
    assert "FAIL" not in (tmp_path / "transcript").read_text()
