"""The method `Learned` on a real cluster: it is walked through, applied and told, and a restart takes nothing back."""

from __future__ import annotations

import pytest

from rightsizer.quantities import cpu_millicores, memory_bytes
from tests.operator_process import running
from tests.scenario import MEBIBYTE, Manifest, Stage, profile
from tests.system.test_cli import rightsizer

pytestmark = pytest.mark.system

WEB = "learned/Deployment/web"


def test_it_is_applied_told_and_kept_over_a_restart(stage: Stage) -> None:
    with stage.ruled_by(profile("learned", method="Learned")):
        with running(stage.operator()) as operator:
            stage.wait_changed(WEB)
            stage.wait_state(WEB, "Applied", "UpToDate")
            operator.wait_for_cycles(2)
        sizes, told = stage.resources(WEB), stage.recommendation(WEB)
        _check_sizes(sizes)
        _check_told(told)
        assert stage.condition("learned", "Ready")["status"] == "True"

        with running(stage.operator()) as operator:
            operator.wait_for_cycles(4)
        assert stage.resources(WEB) == sizes
        assert stage.generation(WEB) == 2
        assert stage.recommendation(WEB)["containers"][0]["recommended"] == told["containers"][0]["recommended"]

        explained = rightsizer(
            "explain", "deploy/web", "-n", "learned", "--prometheus-url", stage.bed.prometheus_url, kubeconfig=stage.bed.kubeconfig
        )
        assert explained.returncode == 0, explained.stderr
        assert "method Learned" in explained.stdout
        assert "choice   steady: the only form of this resource under this strategy" in explained.stdout


def _check_sizes(sizes: Manifest) -> None:
    """Tighter than Measured's 216m and 384Mi for usage that never moves, with limits as high as the rule allows."""
    cpu, memory = cpu_millicores(sizes["requests"]["cpu"]), memory_bytes(sizes["requests"]["memory"])
    assert 185 <= cpu <= 197
    assert 328 <= memory // MEBIBYTE <= 344
    assert cpu_millicores(sizes["limits"]["cpu"]) == 2 * cpu
    assert memory_bytes(sizes["limits"]["memory"]) == 2 * memory


def _check_told(status: Manifest) -> None:
    (app,) = status["containers"]
    assert app["explanation"]["cpu"]["statistic"] == "Learned steady"
    assert "in its replay, 0.15% are promised" in app["explanation"]["memory"]["choice"]
