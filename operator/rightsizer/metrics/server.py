"""The HTTP page of the operator: `/healthz` for probes, `/metrics` for Prometheus."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from rightsizer.errors import InvalidSettings
from rightsizer.metrics.health import Health

_TEXT = "text/plain; charset=utf-8"


class HealthServer:
    """Serves from a thread of its own, so that it answers while a cycle runs. Port 0 takes a free one."""

    def __init__(self, registry: CollectorRegistry, health: Health, *, address: str, port: int) -> None:
        def page(path: str) -> tuple[int, str, bytes]:
            if path == "/metrics":
                return 200, CONTENT_TYPE_LATEST, generate_latest(registry)
            if path == "/healthz":
                trouble = health.trouble()
                return (200, _TEXT, b"ok\n") if trouble is None else (503, _TEXT, f"{trouble}\n".encode())
            return 404, _TEXT, b"there is /healthz and /metrics\n"

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                status, content_type, body = page(self.path.partition("?")[0])
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Probes come every few seconds: not worth a line."""

        try:
            self._server = ThreadingHTTPServer((address, port), Handler)
        except OSError as error:
            raise InvalidSettings(f"RIGHTSIZER_HTTP_ADDRESS {address!r}, RIGHTSIZER_HTTP_PORT {port}: {error}") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
