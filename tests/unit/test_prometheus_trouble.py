"""What happens when Prometheus is not well, or is not Prometheus: each trouble, its error and its words."""

from __future__ import annotations

import gzip
import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rightsizer.errors import (
    InvalidSettings,
    UsageAnswerInvalid,
    UsageSourceError,
    UsageSourceOverloaded,
    UsageSourceRefused,
    UsageSourceTimeout,
    UsageSourceUnreachable,
)
from rightsizer.prometheus import Connection, Endpoint
from tests.prometheus_server import PrometheusServer, Reply, failure, vector

FINE = vector(({}, "1"))
HTML = Reply(body=b"\n<!DOCTYPE html><html><title>Sign in</title></html>", headers={"Content-Type": "text/html"})


@dataclass
class FakeTime:
    """Stands still, but for sleeping; `passing` goes by at each look at the clock."""

    seconds: float = 1000.0
    passing: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        self.seconds += self.passing
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PrometheusServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with PrometheusServer() as running:
        yield running


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


Connect = Callable[..., Connection]


@pytest.fixture
def connect(server: PrometheusServer, time: FakeTime) -> Iterator[Connect]:
    opened: list[Connection] = []

    def make(*, on_request: Any = None, **settings: Any) -> Connection:
        endpoint = Endpoint(**{"url": server.url, "timeout_seconds": 10, **settings})
        opened.append(Connection(endpoint, on_request=on_request, clock=time.clock, sleep=time.sleep, jitter=lambda: 0.5))
        return opened[-1]

    yield make
    for connection in opened:
        connection.close()


def ask(connection: Connection) -> list[float]:
    return [float(series.values[0]) for series in connection.ask("/api/v1/query", {"query": "up"}, kind="test").series]


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (
            failure(400, "bad_data", "invalid parameter: parse error"),
            UsageSourceRefused,
            "^http://127.0.0.1:[0-9]+: HTTP 400: bad_data: invalid parameter: parse error$",
        ),
        (failure(200, "execution", "found duplicate series"), UsageSourceRefused, "HTTP 200: execution: found duplicate series"),
        (failure(422, "execution", "found duplicate series"), UsageSourceRefused, "HTTP 422: execution: found duplicate series"),
        (Reply(500, b"boom\nat line 1"), UsageSourceRefused, "HTTP 500: boom at line 1"),
        (Reply(500), UsageSourceRefused, "HTTP 500: no reason given"),
        (Reply(500, b"[]"), UsageSourceRefused, r"HTTP 500: \[\]"),
        (Reply(401, b"Unauthorized"), UsageSourceRefused, "1:[0-9]+: HTTP 401: Unauthorized: is a token, or a username with its password,"),
        (Reply(405, b"Method Not Allowed"), UsageSourceRefused, "^http://127.0.0.1:[0-9]+: HTTP 405: Method Not Allowed$"),
        (Reply(404, HTML.body), UsageSourceRefused, "1:[0-9]+: HTTP 404: answered HTML, not JSON: is this the Prometheus URL"),
        (
            Reply(404, b"404 page not found\n"),
            UsageSourceRefused,
            "1:[0-9]+: HTTP 404: 404 page not found: is this the Prometheus URL, up",
        ),
        (Reply(302, headers={"Location": "https://login"}), UsageSourceRefused, "HTTP 302: redirected to https://login"),
        (HTML, UsageAnswerInvalid, "http://127.0.0.1:[0-9]+: answered HTML, not JSON: is this the Prometheus URL"),
        (Reply(body=FINE.body[:-9]), UsageAnswerInvalid, "not complete JSON"),
        (Reply(body=b"{}"), UsageAnswerInvalid, "no field status"),
        (
            failure(422, "execution", "query processing would load too many samples into memory in query execution"),
            UsageSourceOverloaded,
            "1:[0-9]+: HTTP 422: execution: query processing would load too many samples",
        ),
        (
            failure(400, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries."),
            UsageSourceOverloaded,
            "exceeded maximum resolution",
        ),
        (failure(422, "execution", "... (err-mimir-max-chunks-per-query)"), UsageSourceOverloaded, "err-mimir"),
        (failure(422, "422", "cannot select more than -search.maxSamplesPerQuery=1"), UsageSourceOverloaded, "maxSamples"),
        (
            failure(503, "503", "timeout exceeded: 30.000 seconds; the timeout can be adjusted with `-search.maxQueryDuration`"),
            UsageSourceOverloaded,
            "maxQueryDuration",
        ),
        (failure(503, "timeout", "query timed out in expression evaluation"), UsageSourceOverloaded, "HTTP 503: timeout: query timed out"),
        (Reply(504, b"upstream timed out"), UsageSourceTimeout, "1:[0-9]+: HTTP 504: upstream timed out"),
    ],
)
def test_an_answer_that_would_be_the_same_again_is_not_asked_for_again(
    server: PrometheusServer, connect: Connect, reply: Reply, error: type[UsageSourceError], words: str
) -> None:
    server.reply(reply)
    with pytest.raises(error, match=words) as raised:
        ask(connect())
    assert type(raised.value) is error
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"404 page not found\n", HTML.body], ids=["text", "HTML"])
def test_api_v1_in_the_url_is_told(server: PrometheusServer, connect: Connect, body: bytes) -> None:
    server.reply(Reply(404, body))
    with pytest.raises(UsageSourceRefused, match=rf"^{server.url}/api/v1/: HTTP 404: no .* below it: give the address without /api/v1$"):
        ask(connect(url=f"{server.url}/api/v1/"))


@pytest.mark.parametrize(
    ("status", "error"), [(429, UsageSourceOverloaded), (503, UsageSourceOverloaded), (502, UsageSourceRefused)], ids=str
)
def test_later_is_tried_again_with_growing_pauses(
    server: PrometheusServer, connect: Connect, time: FakeTime, status: int, error: type[UsageSourceRefused]
) -> None:
    server.reply(Reply(status, b"later"))
    with pytest.raises(error) as raised:
        ask(connect(retries=3))
    assert raised.value.status == status
    assert time.slept == [0.5, 1.0, 2.0]
    assert len(server.asked) == 4


def test_a_full_queue_of_victoria_metrics_is_later_and_not_less(server: PrometheusServer, connect: Connect, time: FakeTime) -> None:
    words = b"couldn't start executing the request in 10.000 seconds, since -search.maxConcurrentRequests=4 concurrent requests run"
    server.reply(Reply(429, words, headers={"Retry-After": "10"}), FINE)
    assert ask(connect(timeout_seconds=60)) == [1]
    assert time.slept == [10]


def test_429_and_then_fine(server: PrometheusServer, connect: Connect, time: FakeTime) -> None:
    server.reply(Reply(429, headers={"Retry-After": "3"}), FINE)
    assert ask(connect()) == [1]
    assert time.slept == [3]


def test_a_date_in_retry_after_is_no_pause(server: PrometheusServer, connect: Connect, time: FakeTime) -> None:
    server.reply(Reply(503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), FINE)
    assert ask(connect()) == [1]
    assert time.slept == [0.5]


@pytest.mark.parametrize(("retry_after", "limit"), [("11", 60), ("5", 4)], ids=["longer than we ever pause", "beyond the time limit"])
def test_too_long_a_retry_after_is_not_waited_for(
    server: PrometheusServer, connect: Connect, time: FakeTime, retry_after: str, limit: float
) -> None:
    server.reply(Reply(503, headers={"Retry-After": retry_after}), FINE)
    with pytest.raises(UsageSourceOverloaded):
        ask(connect(timeout_seconds=limit))
    assert time.slept == []


def test_nobody_listens(connect: Connect, time: FakeTime) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageSourceUnreachable, match=rf"^{url}: \[Errno 111\] Connection refused$"):
            ask(connect(url=url))
    assert len(time.slept) == 2


def test_no_such_host(connect: Connect) -> None:
    with pytest.raises(UsageSourceUnreachable, match=r"prometheus\.invalid"):
        ask(connect(url="http://prometheus.invalid:9090", retries=0))


def test_the_connection_breaks_in_the_answer_and_is_made_again(server: PrometheusServer, connect: Connect) -> None:
    server.reply(Reply(body=FINE.body, missing_bytes=10), FINE)
    assert ask(connect()) == [1]
    assert len(server.asked) == 2


def test_the_connection_breaks_each_time(server: PrometheusServer, connect: Connect) -> None:
    server.reply(Reply(body=FINE.body, missing_bytes=10))
    with pytest.raises(UsageSourceUnreachable, match="10 more expected"):
        ask(connect())


def test_no_answer_within_the_time_limit(server: PrometheusServer, connect: Connect) -> None:
    server.reply(Reply(body=FINE.body, delay_seconds=30))
    with pytest.raises(UsageSourceTimeout, match=r"no full answer within 0\.3 s"):
        ask(connect(timeout_seconds=0.3))
    assert len(server.asked) == 1
    assert float(server.asked[0].form["timeout"]) == pytest.approx(0.27, abs=0.01)


@pytest.mark.parametrize("piece_seconds", [0.2, 30.0], ids=["drips", "stops half-way"])
def test_an_answer_that_does_not_end(server: PrometheusServer, piece_seconds: float) -> None:
    server.reply(Reply(body=FINE.body, piece_bytes=10, piece_seconds=piece_seconds))
    connection = Connection(Endpoint(url=server.url, timeout_seconds=0.3))
    with pytest.raises(UsageSourceTimeout, match=r"no full answer within 0\.3 s"):
        ask(connection)
    connection.close()


def test_nobody_accepts_the_connection(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as busy, socket.create_connection(busy.getsockname()):
        connection = connect(url=f"http://127.0.0.1:{busy.getsockname()[1]}", timeout_seconds=0.3, retries=0)
        with pytest.raises(UsageSourceUnreachable, match="no connection within the time limit"):
            ask(connection)


def test_a_header_that_cannot_be_sent_is_not_shown(server: PrometheusServer, connect: Connect) -> None:
    with pytest.raises(UsageSourceError, match=r"could not be made \(InvalidHeader\)$"):
        ask(connect(headers={"Authorization": "hunter2\nhunter3"}))


def test_retries_share_one_time_limit(server: PrometheusServer, connect: Connect, time: FakeTime) -> None:
    server.reply(Reply(503))
    time.passing = 1.0
    with pytest.raises(UsageSourceOverloaded):
        ask(connect(timeout_seconds=10, retries=100))
    assert len(server.asked) < 5
    assert time.seconds <= 1000 + 12


def test_an_answer_over_the_bound_is_not_read_to_its_end(server: PrometheusServer, connect: Connect) -> None:
    server.reply(Reply(body=b"x" * 5_000_000, headers={"Content-Length": "50000000000"}))
    with pytest.raises(UsageSourceOverloaded, match="longer than 3000000 bytes"):
        ask(connect(max_answer_bytes=3_000_000))
    assert len(server.asked) == 1


def test_the_bound_counts_unpacked_bytes(server: PrometheusServer, connect: Connect) -> None:
    server.reply(Reply(body=gzip.compress(b" " * 5_000_000), headers={"Content-Encoding": "gzip"}))
    with pytest.raises(UsageSourceOverloaded, match="longer than 3000000 bytes"):
        ask(connect(max_answer_bytes=3_000_000))


def test_packed_answers_are_read_and_asked_for_only_by_setting(server: PrometheusServer, connect: Connect) -> None:
    server.reply(FINE, Reply(body=gzip.compress(FINE.body), headers={"Content-Encoding": "gzip"}))
    assert ask(connect()) == [1]
    assert ask(connect(headers={"Accept-Encoding": "gzip"})) == [1]
    assert [request.headers["Accept-Encoding"] for request in server.asked] == ["identity", "gzip"]


def test_broken_packing_is_trouble_with_the_connection(server: PrometheusServer, connect: Connect) -> None:
    server.reply(Reply(body=b"not gzip", headers={"Content-Encoding": "gzip"}), FINE)
    assert ask(connect()) == [1]


def test_every_question_is_about_all_stores_and_past_caches(server: PrometheusServer, connect: Connect) -> None:
    server.reply(FINE)
    ask(connect())
    asked = dict(server.asked[0].form)
    assert float(asked.pop("timeout")) > 0
    assert asked == {"query": "up", "partial_response": "false", "deny_partial_response": "1", "nocache": "1"}


def test_warnings_are_logged_once_each(server: PrometheusServer, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    server.reply(vector(({}, "1"), warnings=["a store is gone", "another"]))
    connection = connect()
    with caplog.at_level(logging.WARNING):
        ask(connection)
        ask(connection)
    assert [record.getMessage() for record in caplog.records] == ["Prometheus warns: a store is gone", "Prometheus warns: another"]


def test_each_request_is_counted_also_the_failed_ones(server: PrometheusServer, connect: Connect, time: FakeTime) -> None:
    server.reply(Reply(503, b"later"), FINE)
    seen: list[tuple[str, float, int]] = []
    time.passing = 0.25
    ask(connect(on_request=lambda kind, *, seconds, size_bytes: seen.append((kind, seconds, size_bytes))))
    assert [(kind, size) for kind, _, size in seen] == [("test", 5), ("test", len(FINE.body))]
    assert all(seconds >= 0.25 for _, seconds, _ in seen)


def test_no_credentials_by_default_not_even_from_a_netrc(
    server: PrometheusServer, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.reply(FINE)
    ask(connect(headers={"X-Scope-OrgID": "team"}))
    assert "Authorization" not in server.asked[0].headers
    assert server.asked[0].headers["X-Scope-OrgID"] == "team"


def test_the_bearer_token_is_read_anew_when_it_rotates(server: PrometheusServer, connect: Connect, tmp_path: Path) -> None:
    token = tmp_path / "token"
    server.reply(FINE)
    connection = connect(bearer_token_file=token)
    for text in ("first\n", "second\n"):
        token.write_text(text)
        ask(connection)
    assert [request.headers["Authorization"] for request in server.asked] == ["Bearer first", "Bearer second"]


def test_basic_auth(server: PrometheusServer, connect: Connect, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("pässword\n")
    server.reply(FINE)
    ask(connect(username="me", password_file=password))
    assert server.asked[0].headers["Authorization"] == "Basic bWU6cMOkc3N3b3Jk"


def test_an_unreadable_secret(server: PrometheusServer, connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(UsageSourceError, match=r"secret for Prometheus cannot be read.*No such file"):
        ask(connect(bearer_token_file=tmp_path / "absent"))
    assert server.asked == []


def test_an_empty_secret(server: PrometheusServer, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    for settings in ({"bearer_token_file": tmp_path / "secret"}, {"username": "me", "password_file": tmp_path / "secret"}):
        with pytest.raises(UsageSourceError, match=r"secret for Prometheus is empty: .*secret$"):
            ask(connect(**settings))
    assert server.asked == []


def test_a_token_that_cannot_be_sent_is_not_shown(server: PrometheusServer, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2\nhunter3")
    with pytest.raises(UsageSourceError, match="holds no token of one line") as raised:
        ask(connect(bearer_token_file=tmp_path / "token"))
    assert "hunter" not in str(raised.value)
    assert server.asked == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "prometheus:9090"}, "must begin with http"),
        ({"url": "http://"}, "name a host"),
        ({"url": "http://[::1"}, r"^RIGHTSIZER_PROMETHEUS_URL \(or --prometheus-url\): "),
        ({"url": "http://prometheus:9090?x=1"}, r"^RIGHTSIZER_PROMETHEUS_URL \(or --prometheus-url\): it ends before what begins with \?"),
        ({"url": "http://prometheus:9090/#graph"}, r"begins with \? or #"),
        ({"timeout_seconds": 0}, "not above 0"),
        ({"username": "me"}, "of no use without the other"),
        ({"client_key_file": Path("k")}, "one is of no use without the other"),
        ({"username": "me", "password_file": Path("p"), "bearer_token_file": Path("t")}, "not both"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSettings, match=words):
        Endpoint(**{"url": "http://prometheus:9090", **settings})


def test_a_password_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidSettings, match="must not hold a password") as raised:
        Endpoint(url="http://me:hunter2@prometheus:9090")
    assert "hunter2" not in str(raised.value)
