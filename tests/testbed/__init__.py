"""The real parts that the system tests and the demo run against: control plane, kwok, Prometheus.

Standard library only, so that it can be built and started before anything is installed.
"""

from __future__ import annotations

from tests.testbed.bed import Testbed
from tests.testbed.errors import BuildError, KubectlError, TestbedError, TestbedTimeout
from tests.testbed.prometheus_server import PrometheusConfig, PrometheusServer

__all__ = [
    "BuildError",
    "KubectlError",
    "PrometheusConfig",
    "PrometheusServer",
    "Testbed",
    "TestbedError",
    "TestbedTimeout",
]
