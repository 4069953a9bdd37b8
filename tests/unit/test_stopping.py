"""The order to stop: no call begins after it, one that hangs can be cut, and the real program ends in time, whoever hangs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rightsizer.cluster import connect
from rightsizer.errors import ClusterUnreachable, RightsizerError, Stopped, UsageSourceUnreachable
from rightsizer.handlers import CALL_ENDS_SECONDS
from rightsizer.prometheus import Connection, Endpoint
from rightsizer.prometheus.connection import Reading
from rightsizer.stopping import Stopping
from tests.api_objects import deployment
from tests.api_server import ApiServer, paged
from tests.prometheus_server import Asked, PrometheusServer, Reply, vector
from tests.unit.cli_files import run
from tests.unit.test_handlers import KUBECONFIG, eventually
from tests.unit.test_prometheus_tls import new_certificate, server_context

KOPF_ENDS_SECONDS = 5.0
"""It gives its own requests so long, after the cycle has ended."""

PROGRAM = Path(sys.executable).with_name("rightsizer")


class Deaf:
    """A server that takes every connection and never answers."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                self.taken.append(self.socket.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        # A thread that waits in accept is not woken by close alone.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for one in self.taken:
            one.close()


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deaf]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Deaf()
    yield server
    server.close()


class Call:
    """A call in a thread of its own, and how it ended."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except RightsizerError as error:
            self.error = error

    def ends_within(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()


def asking(connection: Connection) -> Callable[[], object]:
    return lambda: connection.ask("/api/v1/query", {"query": "up"}, kind="test")


def streaming(connection: Connection) -> Callable[[], object]:
    reading = Reading(path="/api/v1/read", body=b"", headers={}, content_type="x", read=list)
    return lambda: connection.stream(reading, kind="test")


@pytest.mark.parametrize("way", [asking, streaming])
def test_a_question_that_hangs_is_cut_and_not_asked_again(deaf: Deaf, way: Callable[[Connection], Callable[[], object]]) -> None:
    stopping = Stopping()
    connection = Connection(Endpoint(url=deaf.url, timeout_seconds=30), stopping=stopping)
    call = Call(way(connection))
    eventually(lambda: len(deaf.taken) == 1)
    stopping.set()
    assert not call.ends_within(0.2), "what is under way may end by itself"
    stopping.cut()
    assert call.ends_within(2)
    assert isinstance(call.error, Stopped)
    assert len(deaf.taken) == 1
    connection.close()


def test_a_question_by_tls_that_hangs_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    new_certificate(tmp_path, "prometheus")
    taken: list[socket.socket] = []
    stopping = Stopping()
    with socket.create_server(("127.0.0.1", 0)) as plain:
        server = server_context(tmp_path).wrap_socket(plain, server_side=True)
        accepting = threading.Thread(target=lambda: taken.append(server.accept()[0]))
        accepting.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        connection = Connection(Endpoint(url=url, timeout_seconds=30, ca_file=tmp_path / "prometheus.crt"), stopping=stopping)
        call = Call(asking(connection))
        accepting.join(5)
        eventually(lambda: len(stopping._sockets) == 1)
        stopping.set()
        stopping.cut()
        assert call.ends_within(2)
        assert isinstance(call.error, Stopped)
        connection.close()
        server.close()
        taken[0].close()


def test_the_pause_before_another_try_ends_with_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    stopping = Stopping()
    connection = Connection(Endpoint(url="http://127.0.0.1:1", retries=5), stopping=stopping, jitter=lambda: 10.0)
    call = Call(asking(connection))
    assert not call.ends_within(0.3)
    stopping.set()
    assert call.ends_within(2)
    assert isinstance(call.error, Stopped)
    connection.close()


def test_after_the_order_no_question_is_sent(deaf: Deaf) -> None:
    stopping = Stopping()
    stopping.set()
    connection = Connection(Endpoint(url=deaf.url), stopping=stopping)
    with pytest.raises(Stopped):
        asking(connection)()
    connection.close()
    assert deaf.taken == []


def test_without_the_order_trouble_is_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    connection = Connection(Endpoint(url="http://127.0.0.1:1", retries=0), stopping=Stopping())
    with pytest.raises(UsageSourceUnreachable, match="refused"):
        asking(connection)()
    connection.close()


def kubeconfig(tmp_path: Path, server: Deaf) -> str:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG.replace("http://127.0.0.1:1", server.url))
    return str(path)


def test_a_request_to_the_api_server_that_hangs_is_cut_and_not_sent_again(deaf: Deaf, tmp_path: Path) -> None:
    stopping = Stopping()
    cluster = connect(kubeconfig(tmp_path, deaf), None, stopping=stopping)
    call = Call(cluster.profiles)
    eventually(lambda: len(deaf.taken) == 1)
    stopping.set()
    assert not call.ends_within(0.2)
    stopping.cut()
    assert call.ends_within(2)
    assert isinstance(call.error, Stopped)
    assert len(deaf.taken) == 1
    with pytest.raises(Stopped):
        cluster.namespaces()
    cluster.close()
    assert len(deaf.taken) == 1


def test_a_pause_before_asking_the_api_server_again_ends_with_the_order(tmp_path: Path, deaf: Deaf) -> None:
    path = tmp_path / "nobody"
    path.write_text(KUBECONFIG)
    stopping = Stopping()
    cluster = connect(str(path), None, stopping=stopping)
    call = Call(cluster.profiles)
    assert not call.ends_within(0.1)
    stopping.set()
    assert call.ends_within(2)
    assert isinstance(call.error, Stopped | ClusterUnreachable)
    cluster.close()


def test_who_connects_after_the_cut_is_cut_too() -> None:
    stopping = Stopping()
    stopping.cut()
    one, other = socket.socketpair()
    with one, other:
        stopping.watch(one)
        assert other.recv(1) == b""


@contextmanager
def running(command: list[str], *, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RIGHTSIZER_")} | {"no_proxy": "127.0.0.1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, *command],
            env={**environment, "RIGHTSIZER_HTTP_ADDRESS": "127.0.0.1", "RIGHTSIZER_HTTP_PORT": "0"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def test_the_operator_ends_in_time_while_the_api_server_hangs(deaf: Deaf, tmp_path: Path) -> None:
    command = ["run", "--kubeconfig", kubeconfig(tmp_path, deaf), "--prometheus-url", "http://127.0.0.1:1"]
    with running(command, log=tmp_path / "log") as operator:
        # One of kopf and one of the cycle.
        eventually(lambda: len(deaf.taken) >= 2, seconds=30)
        told = time.monotonic()
        operator.send_signal(signal.SIGTERM)
        assert operator.wait(40) == 0, (tmp_path / "log").read_text()
        assert time.monotonic() - told < CALL_ENDS_SECONDS + KOPF_ENDS_SECONDS + 3
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """A cluster with one Deployment."""
    apps = "/apis/apps/v1/namespaces/shop"
    with ApiServer() as server:
        server.on("GET", "/api/v1/namespaces", paged([{"metadata": {"name": "shop"}}]))
        server.on("GET", f"{apps}/deployments", paged([deployment()]))
        for path in (
            f"{apps}/statefulsets",
            f"{apps}/daemonsets",
            "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers",
            "/apis/rightsizer.dev/v1alpha1/namespaces/shop/resourceprofiles",
            "/apis/rightsizer.dev/v1alpha1/namespaces/shop/resourcerecommendations",
        ):
            server.on("GET", path, paged([]))
        yield server


@pytest.mark.parametrize("questions", [0, 2])
def test_ctrl_c_ends_a_command_at_once_while_prometheus_hangs(api: ApiServer, tmp_path: Path, questions: int) -> None:
    """At the first question, or later, when threads wait for the answers."""
    released = threading.Event()
    load = vector(({"figure": "samples", "namespace": "shop"}, "60"), ({"figure": "series", "namespace": "shop"}, "1"))

    def answer(asked: Asked) -> Reply:
        if len(prometheus.asked) > questions:
            released.wait(60)
        return load

    with PrometheusServer() as prometheus:
        prometheus.answer(answer)
        command = ["recommend", "-n", "shop", "--kubeconfig", api.kubeconfig(tmp_path), "--prometheus-url", prometheus.url]
        try:
            with running(command, log=tmp_path / "log") as person:
                eventually(lambda: len(prometheus.asked) > questions or person.poll() is not None, seconds=30)
                told = time.monotonic()
                person.send_signal(signal.SIGINT)
                assert person.wait(40) == 130, (tmp_path / "log").read_text()
                assert time.monotonic() - told < 5
        finally:
            released.set()
    assert (tmp_path / "log").read_text().splitlines()[-1] == "interrupted"


def test_ctrl_c_in_a_command_is_told_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rightsizer.cli.recommending.open_origin", interrupted)
    result = run("recommend", "--prometheus-url", "http://127.0.0.1:1")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_after_a_command_ctrl_c_is_what_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    run("recommend", "--prometheus-url", "http://127.0.0.1:1")
    assert signal.getsignal(signal.SIGINT) is before
