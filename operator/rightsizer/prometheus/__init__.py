"""The usage source: anything that speaks the Prometheus API. The only place that may import a client of it."""

from rightsizer.prometheus.connecting import connect
from rightsizer.prometheus.connection import Connection, Line, RequestObserver
from rightsizer.prometheus.endpoint import Endpoint
from rightsizer.prometheus.source import Prometheus

__all__ = ["Connection", "Endpoint", "Line", "Prometheus", "RequestObserver", "connect"]
