"""Usage from raw chunks: what is asked, how the stream is taken apart, and when queries are asked instead."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rightsizer import promql
from rightsizer.errors import (
    UsageAnswerInvalid,
    UsageNotRaw,
    UsageSourceOverloaded,
    UsageSourceRefused,
    UsageSourceTimeout,
)
from rightsizer.history import PodSeries, Span, UsageBatch
from rightsizer.prometheus import Connection, Endpoint, Prometheus, chunks
from rightsizer.prometheus.chunk_stream import RawBatch, batches
from rightsizer.prometheus.raw import FEWEST_SLOTS
from rightsizer.prometheus.read_request import Matcher, matchers, read_request
from rightsizer.promql import Scope
from tests.prometheus_server import PrometheusServer, Reply, failure, matrix
from tests.raw_answer import HISTOGRAM, AskedChunks, asked_chunks, chunk, frame, raw_reply, series, unpacked
from tests.xor_chunks import STALE, Sample

BEGIN = 20_000 * 86_400
SPAN = Span(BEGIN + 300, BEGIN + FEWEST_SLOTS * 300)
WEB = {"__name__": "container_cpu_usage_seconds_total", "namespace": "shop", "pod": "web-0", "container": "app"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PrometheusServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with PrometheusServer(matrix()) as running:
        yield running


def connected(server: PrometheusServer, *, extra_matchers: str = "", **endpoint: Any) -> Prometheus:
    limits = {"timeout_seconds": 10.0, "retries": 0, **endpoint}
    return Prometheus(Connection(Endpoint(url=server.url, **limits)), extra_matchers=extra_matchers)


@pytest.fixture
def source(server: PrometheusServer) -> Iterator[Prometheus]:
    prometheus = connected(server)
    yield prometheus
    prometheus.close()


def usage(source: Prometheus, resource: Any = "cpu", *, span: Span = SPAN, interval: int = 60) -> UsageBatch:
    return source.usage(resource, namespaces=["shop"], span=span, scrape_interval_seconds=interval)


def counting(*, per_second: float = 0.25, begin: int = -600, end: int = FEWEST_SLOTS * 300, at: float = 5000.0) -> list[Sample]:
    return [((BEGIN + time) * 1000, at + per_second * (time - begin)) for time in range(begin, end + 1, 60)]


def in_chunks(samples: list[Sample], size: int = 120) -> list[bytes]:
    return [chunk(samples[start : start + size]) for start in range(0, len(samples), size)]


def paths(server: PrometheusServer) -> list[str]:
    return [asked.path.rpartition("/")[2] for asked in server.asked]


class TestRequest:
    def test_the_matchers_of_our_own_selector(self) -> None:
        scope = Scope(namespaces=["a.b", 'q"uo\\te\n'], extra_matchers='cluster="x"')
        found = matchers(promql.usage_selector("cpu", scope))
        assert found[:3] == (Matcher("__name__", "=", promql.CPU_METRIC), Matcher("container", "!=", ""), Matcher("container", "!=", "POD"))
        assert found[3].operator == "=~"
        assert re.fullmatch(found[3].value, "a.b")
        assert re.fullmatch(found[3].value, 'q"uo\\te\n')
        assert found[4:] == (Matcher("cluster", "=", "x"),)

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("up{}", []),
            ('up{ a = "b" , c!="d" ,}', [("a", "=", "b"), ("c", "!=", "d")]),
            ("up{a=~'b|c',d!~`\\w\"`}", [("a", "=~", "b|c"), ("d", "!~", '\\w"')]),
            ('up{a="x,y}\\"{",b="\\\\n"}', [("a", "=", 'x,y}"{'), ("b", "=", "\\n")]),
        ],
    )
    def test_matchers_in_every_notation(self, text: str, found: list[tuple[str, str, str]]) -> None:
        assert [(one.label, one.operator, one.value) for one in matchers(text)[1:]] == found

    def test_a_selector_without_a_metric(self) -> None:
        assert matchers('{a="b"}') == (Matcher("a", "=", "b"),)

    @pytest.mark.parametrize(
        "text",
        ["up", "rate(up{}[5m])", "up{cluster==}", 'up{a="b" c="d"}', 'up{"a.b"="c"}', 'up{a="\\x41"}', 'up{a="b"} or up{}', 'up{a="b}'],
    )
    def test_what_is_not_plainly_a_selector_is_asked_by_promql(self, text: str) -> None:
        with pytest.raises(UsageNotRaw):
            matchers(text)

    @pytest.mark.parametrize("length", [1, 60, 65_536, 200_000])
    def test_any_length_is_packed(self, length: int) -> None:
        asked = asked_chunks(read_request((Matcher("a", "!~", "x" * length),), start_ms=-5, end_ms=7))
        assert asked == AskedChunks((1 << 64) - 5, 7, ((3, "a", "x" * length),), (1,))

    def test_the_question_goes_to_the_boundaries_of_chunks(self, server: PrometheusServer, source: Prometheus) -> None:
        server.reply_raw(raw_reply())
        usage(source)
        asked = server.asked[0]
        question = asked_chunks(asked.body)
        assert (question.start_ms, question.end_ms) == ((BEGIN - 7200) * 1000, SPAN.end * 1000)
        assert asked.headers["Content-Encoding"] == "snappy"
        assert unpacked(asked.body)
        usage(source, span=Span(SPAN.start, SPAN.end + 300))
        assert asked_chunks(server.asked[1].body).end_ms == (BEGIN + 2 * 7200) * 1000 - 1


def read(stream: bytes, *, pieces: int = 1000, at_once: int = 3) -> list[RawBatch]:
    return list(batches((stream[start : start + pieces] for start in range(0, len(stream), pieces)), chunks_per_batch=at_once))


def samples_of(batch: RawBatch) -> list[tuple[Mapping[str, str], list[Sample]]]:
    found = chunks.decode(batch.body, np.array(batch.starts), np.array(batch.sizes))
    pairs = iter(zip(found.times.tolist(), found.values.tolist(), strict=True))
    counts = iter(found.counts.tolist())
    return [
        (labels, [next(pairs) for _ in range(sum(next(counts) for _ in range(of_series)))])
        for labels, of_series in zip(batch.labels, batch.chunks, strict=True)
    ]


class TestStream:
    @settings(max_examples=60, deadline=None)
    @given(
        st.dictionaries(st.text(max_size=150).map(lambda text: "pod" + text), st.lists(st.integers(1, 30), max_size=7), max_size=8),
        st.integers(1, 300),
        st.integers(1, 9),
        st.integers(1, 3),
    )
    def test_series_are_whole_whatever_the_pieces_and_frames(
        self, written: dict[str, list[int]], pieces: int, at_once: int, per_frame: int
    ) -> None:
        stream, expected = b"", []
        for pod, counts in written.items():
            labels = {"pod": pod, "x": "y"}
            samples = counting()[: sum(counts)]
            cut = [chunk(samples[sum(counts[:index]) : sum(counts[: index + 1])]) for index in range(len(counts))]
            for start in range(0, len(cut), per_frame):
                stream += frame(series(labels, *cut[start : start + per_frame]))
            if cut:
                expected.append((labels, samples))
        found = read(stream, pieces=pieces, at_once=at_once)
        assert [one for batch in found for one in samples_of(batch)] == expected
        assert all(len(batch.starts) - batch.chunks[-1] < at_once for batch in found)

    def test_several_series_in_a_frame_and_a_query_index(self) -> None:
        two = frame(series({"pod": "a"}, *in_chunks(counting())), series({"pod": "b"}, *in_chunks(counting())), b"\x10\x00")
        assert [labels for batch in read(two) for labels in batch.labels] == [{"pod": "a"}, {"pod": "b"}]

    def test_a_series_that_comes_again_later_is_not_put_together(self) -> None:
        parts = [frame(series({"pod": pod}, *in_chunks(counting()))) for pod in "aba"]
        with pytest.raises(UsageNotRaw, match="not in order"):
            read(b"".join(parts))

    @pytest.mark.parametrize("encoding", [0, HISTOGRAM, 4])
    def test_another_encoding_is_not_read(self, encoding: int) -> None:
        with pytest.raises(UsageNotRaw, match=f"another kind .{encoding}"):
            read(frame(series(WEB, chunk(counting()[:5], encoding=encoding))))

    WHOLE = frame(series(WEB, *in_chunks(counting())))

    @pytest.mark.parametrize("length", [1, 2, 3, 6, 7, 50, 120, len(WHOLE) - 1])
    def test_a_stream_that_ends_in_a_frame_is_refused(self, length: int) -> None:
        with pytest.raises(UsageAnswerInvalid, match="in the middle"):
            read(self.WHOLE + self.WHOLE[:length])

    def test_words_of_the_server_in_the_stream_are_told(self) -> None:
        with pytest.raises(UsageAnswerInvalid, match="cannot populate chunk"):
            read(self.WHOLE + b"cannot populate chunk 8 from block 01ABC: segment index 0 out of range")

    @settings(max_examples=300, deadline=None)
    @given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
    def test_any_wrong_byte_is_read_or_refused(self, place: int, byte: int) -> None:
        broken = bytearray(self.WHOLE)
        broken[place] = byte
        try:
            for batch in read(bytes(broken)):
                samples_of(batch)
        except (UsageAnswerInvalid, UsageNotRaw):
            pass


class TestUsage:
    def test_cores_become_millicores_in_the_slots_of_the_span(self, server: PrometheusServer, source: Prometheus) -> None:
        server.reply_raw(raw_reply(frame(series(WEB, *in_chunks(counting())))))
        batch = usage(source)
        assert paths(server) == ["read"]
        assert batch.series == (PodSeries("shop", "web-0", "app"),)
        assert batch.values.shape == (1, FEWEST_SLOTS)
        assert batch.values.dtype == np.float32
        assert batch.values[0].tolist() == pytest.approx([250.0] * FEWEST_SLOTS)

    def test_memory_is_the_peak_in_bytes(self, server: PrometheusServer, source: Prometheus) -> None:
        values = [(time, 9e8 if time == (BEGIN + 660) * 1000 else 5e8) for time, _ in counting()]
        server.reply_raw(raw_reply(frame(series(WEB, *in_chunks(values)))))
        assert usage(source, "memory").values[0].tolist() == [5e8, 5e8, 9e8, *[5e8] * (FEWEST_SLOTS - 3)]

    def test_series_that_show_the_same_container_become_the_largest(self, server: PrometheusServer, source: Prometheus) -> None:
        half = FEWEST_SLOTS * 150
        server.reply_raw(
            raw_reply(
                frame(series({**WEB, "id": "1"}, *in_chunks(counting(end=half)))),
                frame(series({**WEB, "id": "2"}, *in_chunks(counting(begin=half, per_second=0.5)))),
                frame(series({**WEB, "job": "b"}, *in_chunks(counting(per_second=0.125)))),
            )
        )
        (row,) = usage(source).values.tolist()
        assert row[: FEWEST_SLOTS // 2 - 1] == pytest.approx([250.0] * (FEWEST_SLOTS // 2 - 1))
        assert row[FEWEST_SLOTS // 2 + 1 :] == pytest.approx([500.0] * (FEWEST_SLOTS // 2 - 1))

    def test_what_is_not_finite_or_stale_is_no_value(self, server: PrometheusServer, source: Prometheus) -> None:
        odd = {330: math.inf, 630: math.nan, 930: STALE}
        samples = sorted([*counting(), *(((BEGIN + at) * 1000, value) for at, value in odd.items())])
        server.reply_raw(raw_reply(frame(series(WEB, *in_chunks(samples)))))
        row = usage(source, "memory").values[0]
        assert [slot for slot in range(FEWEST_SLOTS) if np.isnan(row[slot])] == [1]

    def test_a_series_with_nothing_in_the_span_is_left_out(self, server: PrometheusServer, source: Prometheus) -> None:
        server.reply_raw(raw_reply(frame(series(WEB, *in_chunks(counting(begin=-7000, end=-1000))))))
        assert usage(source).series == ()

    def test_a_label_missing_on_all_series_names_it(self, server: PrometheusServer, source: Prometheus) -> None:
        server.reply_raw(raw_reply(frame(series({"namespace": "shop", "pod": "web-0"}, *in_chunks(counting())))))
        with pytest.raises(UsageAnswerInvalid, match="without the label container"):
            usage(source)

    def test_many_batches(self, server: PrometheusServer, source: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rightsizer.prometheus.raw.CHUNKS_PER_BATCH", 3)
        written = [frame(series({**WEB, "pod": f"web-{pod}"}, *in_chunks(counting(per_second=pod / 8), size=40))) for pod in range(9)]
        server.reply_raw(raw_reply(*written))
        batch = usage(source)
        assert [one.pod for one in batch.series] == [f"web-{pod}" for pod in range(9)]
        assert batch.values[:, 5].tolist() == pytest.approx([pod * 125.0 for pod in range(9)])


class TestInsteadByQuery:
    """The fake server answers queries with an empty matrix."""

    def test_short_spans(self, server: PrometheusServer, source: Prometheus) -> None:
        server.reply_raw(raw_reply())
        usage(source, span=Span(SPAN.start + 300, SPAN.end))
        assert paths(server) == ["query_range"]

    @pytest.mark.parametrize(
        "reply",
        [
            failure(404, "not_found", "no such path"),
            Reply(404, b"404 page not found\n"),
            Reply(405, b"method not allowed"),
            Reply(400, b"unsupported path requested"),
            Reply(501),
            Reply(415),
            matrix(),
            Reply(200, b"<!doctype html><title>Sign in</title>", {"Content-Type": "text/html"}),
            raw_reply(content_type="application/x-protobuf"),
            raw_reply(frame(series(WEB, chunk(counting()[:9], encoding=HISTOGRAM)))),
        ],
    )
    def test_a_server_without_raw_chunks_is_asked_once_for_them(
        self, server: PrometheusServer, source: Prometheus, caplog: pytest.LogCaptureFixture, reply: Reply
    ) -> None:
        server.reply_raw(reply)
        with caplog.at_level(logging.INFO, logger="rightsizer.prometheus"):
            usage(source)
            usage(source, "memory")
        assert paths(server) == ["read", "query_range", "query_range"]
        assert caplog.text.count("no raw chunks") == 1

    @pytest.mark.parametrize("status", [401, 403, 500])
    def test_trouble_with_raw_chunks_alone_is_no_trouble(
        self, server: PrometheusServer, source: Prometheus, caplog: pytest.LogCaptureFixture, status: int
    ) -> None:
        """A proxy may let queries through only; next time it may be otherwise."""
        server.reply_raw(Reply(status))
        with caplog.at_level(logging.INFO, logger="rightsizer.prometheus"):
            usage(source)
            usage(source)
        assert paths(server) == ["read", "query_range"] * 2
        assert caplog.text.count("raw chunks were refused") == 1

    def test_a_broken_stream_is_no_usage(self, server: PrometheusServer, source: Prometheus, caplog: pytest.LogCaptureFixture) -> None:
        whole = frame(series(WEB, *in_chunks(counting())))
        server.reply_raw(raw_reply(whole, b"segment index out of range"), raw_reply(whole))
        with caplog.at_level(logging.WARNING, logger="rightsizer.prometheus"):
            assert usage(source).series == ()
        assert "segment index out of range" in caplog.text
        assert len(usage(source).series) == 1
        assert paths(server) == ["read", "query_range", "read"]

    def test_trouble_with_both_is_told_as_ever(self, server: PrometheusServer, source: Prometheus) -> None:
        server.reply_raw(Reply(403))
        server.reply(Reply(403, b"not for you"))
        with pytest.raises(UsageSourceRefused, match="403: not for you"):
            usage(source)

    def test_matchers_that_cannot_be_translated(self, server: PrometheusServer, caplog: pytest.LogCaptureFixture) -> None:
        server.reply_raw(raw_reply())
        with caplog.at_level(logging.INFO, logger="rightsizer.prometheus"):
            usage(connected(server, extra_matchers='"a.b"="c"'))
        assert paths(server) == ["query_range"]
        assert "matchers that cannot be translated" in caplog.text


class TestTrouble:
    @pytest.mark.parametrize("status", [429, 503])
    def test_a_server_that_asks_for_later(self, server: PrometheusServer, source: Prometheus, status: int) -> None:
        server.reply_raw(Reply(status, b"too many"))
        with pytest.raises(UsageSourceOverloaded, match="too many"):
            usage(source)
        assert paths(server) == ["read"]

    def test_later_is_tried_again(self, server: PrometheusServer) -> None:
        server.reply_raw(Reply(503, headers={"Retry-After": "0"}), raw_reply(frame(series(WEB, *in_chunks(counting())))))
        assert len(usage(connected(server, retries=1)).series) == 1
        assert paths(server) == ["read", "read"]

    def test_a_connection_that_breaks_in_mid_stream_begins_anew(self, server: PrometheusServer) -> None:
        whole = raw_reply(frame(series(WEB, *in_chunks(counting()))))
        broken = Reply(200, whole.body[:200], whole.headers, missing_bytes=100)
        server.reply_raw(broken, whole)
        assert usage(connected(server, retries=1)).values[0, 0] == pytest.approx(250.0)

    def test_one_that_breaks_each_time_is_asked_by_a_query(self, server: PrometheusServer) -> None:
        whole = raw_reply(frame(series(WEB, *in_chunks(counting()))))
        server.reply_raw(Reply(200, whole.body[:200], whole.headers, missing_bytes=100))
        assert usage(connected(server)).series == ()
        assert paths(server) == ["read", "query_range"]

    def test_a_dripping_stream(self, server: PrometheusServer) -> None:
        whole = raw_reply(frame(series(WEB, *in_chunks(counting()))))
        server.reply_raw(Reply(200, whole.body, whole.headers, piece_bytes=10, piece_seconds=0.1))
        with pytest.raises(UsageSourceTimeout):
            usage(connected(server, timeout_seconds=0.5))

    def test_a_chunked_stream_whole_broken_and_dripping(self, server: PrometheusServer) -> None:
        """As Prometheus sends it: without a length that is known beforehand."""
        whole = raw_reply(frame(series(WEB, *in_chunks(counting()))))
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (whole.body[:150], whole.body[150:])) + b"0\r\n\r\n"
        headers = {**whole.headers, "Transfer-Encoding": "chunked"}
        server.reply_raw(Reply(200, body, headers))
        assert usage(connected(server)).values[0, 0] == pytest.approx(250.0)
        for length in (100, 155, 160, len(body) - 5):
            server.reply_raw(Reply(200, body[:length], headers))
            assert usage(connected(server)).series == ()
        server.reply_raw(Reply(200, body, headers, piece_bytes=10, piece_seconds=0.1))
        with pytest.raises(UsageSourceTimeout):
            usage(connected(server, timeout_seconds=0.5))

    def test_a_stream_over_the_bound(self, server: PrometheusServer) -> None:
        server.reply_raw(raw_reply(*[frame(series({**WEB, "pod": str(pod)}, *in_chunks(counting()))) for pod in range(99)]))
        with pytest.raises(UsageSourceOverloaded, match="longer than 10000 bytes"):
            usage(connected(server, max_answer_bytes=10_000))

    def test_too_many_series_for_one_answer(self, server: PrometheusServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of pods that lived shortly there may be many more in a week than there are now, and each takes the memory of a week."""
        pods = [frame(series({**WEB, "pod": str(pod)}, *in_chunks(counting()))) for pod in range(99)]
        server.reply_raw(raw_reply(*pods))
        slots = SPAN.slots
        monkeypatch.setattr("rightsizer.prometheus.raw.MOST_VALUES", 99 * slots)
        assert len(usage(connected(server)).series) == 99
        monkeypatch.setattr("rightsizer.prometheus.raw.MOST_VALUES", 99 * slots - 1)
        with pytest.raises(UsageSourceOverloaded, match="too many for one answer"):
            usage(connected(server))

    def test_requests_are_observed_as_raw(self, server: PrometheusServer) -> None:
        seen: list[tuple[str, int]] = []
        reply = raw_reply(frame(series(WEB, *in_chunks(counting()))))
        server.reply_raw(reply)

        def observe(kind: str, *, seconds: float, size_bytes: int) -> None:
            seen.append((kind, size_bytes))

        usage(Prometheus(Connection(Endpoint(url=server.url), on_request=observe)))
        assert seen == [("raw", len(reply.body))]
