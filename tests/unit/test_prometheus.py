"""What the usage source makes of answers: arrays in the right slots, owners, OOM kills, and what is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rightsizer.errors import UsageAnswerInvalid, UsageSourceOverloaded
from rightsizer.history import PodSeries, Span
from rightsizer.ports import Load, OomSeries, UsageSource
from rightsizer.prometheus import Connection, Endpoint, Prometheus
from rightsizer.prometheus.answer import Answer, Complaint, decode
from rightsizer.promql import LabelNames
from rightsizer.workload import OwnerRef
from tests.prometheus_server import Points, PrometheusServer, Reply, as_json, matrix, success, vector

START = 1_700_000_100
SPAN = Span(START, START + 3 * 300)
HOUR = 3600


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PrometheusServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with PrometheusServer() as running:
        yield running


@pytest.fixture
def source(server: PrometheusServer) -> Iterator[Prometheus]:
    prometheus = Prometheus(Connection(Endpoint(url=server.url, timeout_seconds=10)))
    yield prometheus
    prometheus.close()


def container(pod: str = "web-0", name: str = "app", **more: str) -> dict[str, str]:
    return {"namespace": "shop", "pod": pod, "container": name, **more}


def each_slot(*values: str, start: int = START) -> list[tuple[int, str]]:
    return [(start + 300 * index, value) for index, value in enumerate(values)]


def cpu_of(source: Prometheus, span: Span = SPAN) -> Any:
    return source.usage("cpu", namespaces=["shop"], span=span, scrape_interval_seconds=30)


def test_it_is_a_usage_source(source: Prometheus) -> None:
    port: UsageSource = source
    assert port is source


def test_cores_become_millicores_and_series_are_sorted(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(
        matrix(
            (container("web-1"), each_slot("0.18", "0.2", "1e-3", "2")),
            (container("web-0", "proxy"), each_slot("0", "0", "0", "0")),
            (container("web-0", "app"), each_slot("0.18000000000000002", "0.5", "0.25", "0.125")),
        )
    )
    batch = cpu_of(source)
    assert batch.series == (PodSeries("shop", "web-0", "app"), PodSeries("shop", "web-0", "proxy"), PodSeries("shop", "web-1", "app"))
    assert batch.values.dtype == np.float32
    assert batch.values.tolist() == [[180, 500, 250, 125], [0, 0, 0, 0], [180, 200, 1, 2000]]
    assert (batch.resource, batch.span) == ("cpu", SPAN)


def test_memory_stays_in_bytes(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(matrix((container(), each_slot("335544320", "3.3554432e+08", "1", "2"))))
    batch = source.usage("memory", namespaces=["shop"], span=SPAN, scrape_interval_seconds=30)
    assert batch.values.tolist() == [[335544320, 335544320, 1, 2]]
    assert "working_set" in server.asked[0].form["query"]


def test_throttled_shares_stay_shares(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(matrix((container(), each_slot("0.25", "NaN", "1"))))
    batch = source.usage("throttled", namespaces=["shop"], span=SPAN, scrape_interval_seconds=30)
    assert np.nan_to_num(batch.values, nan=-1).tolist() == [[0.25, -1, 1, -1]]
    assert batch.resource == "throttled"


def test_one_post_with_the_slots_of_the_span(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(matrix())
    batch = cpu_of(source)
    (asked,) = server.asked
    assert asked.path == "/api/v1/query_range"
    assert {name: asked.form[name] for name in ("start", "end", "step")} == {"start": str(START), "end": str(START + 900), "step": "300"}
    assert float(asked.form["timeout"]) == pytest.approx(9, abs=0.2)
    assert (batch.series, batch.values.shape) == ((), (0, 4))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (each_slot("1", "NaN", "+Inf", "-Inf"), [1000, None, None, None]),
        ([(START + 300, "1")], [None, 1000, None, None]),
        ([(START, "1"), (START + 900, "2")], [1000, None, None, 2000]),
        ([(START - 300, "7"), (START, "1"), (START + 1200, "7")], [1000, None, None, None]),
        ([(START + 0.0, "1")], [1000, None, None, None]),
    ],
    ids=["not finite", "short-lived", "gap", "outside the span", "time as a fraction"],
)
def test_slots_without_a_value_are_nan(server: PrometheusServer, source: Prometheus, points: Points, expected: list[float | None]) -> None:
    server.reply(matrix((container(), points)))
    values = cpu_of(source).values[0]
    assert [None if np.isnan(value) else value for value in values] == expected


def test_a_long_span_is_asked_in_parts_of_at_most_11000_points(server: PrometheusServer, source: Prometheus) -> None:
    span = Span(START, START + 300 * 11_999)
    server.reply(
        matrix((container(), each_slot("1")), (container("gone"), each_slot("3"))),
        matrix((container(), [(span.end, "2")]), (container("new"), [(span.end, "4")])),
    )
    batch = cpu_of(source, span)
    asked = [(int(request.form["start"]), int(request.form["end"])) for request in server.asked]
    assert asked == [(START, START + 300 * 10_999), (START + 300 * 11_000, span.end)]
    assert batch.values.shape == (3, 12_000)
    assert [name.pod for name in batch.series] == ["gone", "new", "web-0"]
    assert (batch.values[2, 0], batch.values[2, -1], np.isfinite(batch.values).sum()) == (1000, 2000, 4)


def test_quotes_backslashes_and_our_own_markers_in_labels(server: PrometheusServer, source: Prometheus) -> None:
    odd = 'a"b\\c\n"values":[[1,"2"]] ü'
    server.reply(matrix((container(odd), each_slot("1")), (container("web-0"), each_slot("2"))))
    batch = cpu_of(source)
    assert {name.pod: float(row[0]) for name, row in zip(batch.series, batch.values, strict=True)} == {odd: 1000, "web-0": 2000}


def test_an_answer_with_spaces_is_read_too(server: PrometheusServer, source: Prometheus) -> None:
    body = matrix((container(), each_slot("1", "NaN"))).body.replace(b":", b" : ").replace(b",", b" , ")
    server.reply(Reply(body=body))
    assert cpu_of(source).values[0, 0] == 1000


def test_values_at_times_not_asked_for_are_refused(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(matrix((container(), [(START + 10, "1")])))
    with pytest.raises(UsageAnswerInvalid, match="times that were not asked for"):
        cpu_of(source)


def test_a_label_missing_on_all_series_names_label_and_metric(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(matrix(({"namespace": "shop", "container": "app"}, each_slot("1"))))
    words = r"container_cpu_usage_seconds_total: series without the label pod \(RIGHTSIZER_PROMETHEUS_LABELS \(or --prom.*\) says"
    with pytest.raises(UsageAnswerInvalid, match=words):
        cpu_of(source)


def test_a_label_missing_on_some_series_is_told_once(
    server: PrometheusServer, source: Prometheus, caplog: pytest.LogCaptureFixture
) -> None:
    server.reply(matrix(({"namespace": "shop", "container": "app"}, each_slot("1")), (container(), each_slot("2"))))
    with caplog.at_level(logging.WARNING):
        assert len(cpu_of(source).series) == 1
        cpu_of(source)
    assert [record.getMessage() for record in caplog.records] == [
        "left out: container_cpu_usage_seconds_total: series without the label pod "
        "(RIGHTSIZER_PROMETHEUS_LABELS (or --prometheus-labels) says what it is called)"
    ]


def test_what_narrows_the_questions_in_words(source: Prometheus, server: PrometheusServer) -> None:
    assert source.narrowed_by == ""
    labels = LabelNames(namespace="ns")
    narrowed = Prometheus(Connection(Endpoint(url=server.url)), extra_matchers='cluster="x"', labels=labels)
    assert narrowed.narrowed_by == (
        'RIGHTSIZER_PROMETHEUS_MATCHERS (or --prometheus-matchers) cluster="x" and '
        "RIGHTSIZER_PROMETHEUS_LABELS (or --prometheus-labels) ns,pod,container"
    )
    narrowed.close()


def test_extra_matchers_narrow_every_question(server: PrometheusServer) -> None:
    narrowed = Prometheus(Connection(Endpoint(url=server.url)), extra_matchers='cluster="x"')
    server.reply(matrix())
    cpu_of(narrowed)
    narrowed.oom_kills(namespaces=["shop"], span=SPAN)
    server.reply(vector())
    narrowed.pod_owners(namespaces=["shop"], span=SPAN)
    narrowed.loads(["shop"], at=START)
    narrowed.close()
    assert len(server.asked) == 5
    assert all('cluster="x"' in request.form["query"] for request in server.asked)


def test_without_namespaces_nothing_is_asked(server: PrometheusServer, source: Prometheus) -> None:
    assert source.usage("cpu", namespaces=[], span=SPAN, scrape_interval_seconds=30).values.shape == (0, 4)
    assert source.pod_owners(namespaces=[], span=SPAN).pods == {}
    assert source.oom_kills(namespaces=[], span=SPAN) == []
    assert source.loads([], at=START) == {}
    assert server.asked == []


def load_figure(figure: str, value: str, **labels: str) -> tuple[dict[str, str], str]:
    return {"namespace": "shop", "figure": figure, **labels}, value


@pytest.mark.parametrize(
    ("reply", "loads"),
    [
        (vector(load_figure("series", "7", samples="30")), {"shop": Load(7, 30)}),
        (vector(load_figure("series", "4", samples="9"), load_figure("series", "3", samples="15")), {"shop": Load(7, 60)}),
        (vector(load_figure("series", "7", samples="30"), load_figure("limited", "3")), {"shop": Load(7, 30, limited=3)}),
        (vector(load_figure("series", "7", samples="15"), load_figure("recorded", "1")), {"shop": Load(7, 60, recorded=True)}),
        (vector(load_figure("limited", "3")), {}),
        (vector(load_figure("series", "7", samples="NaN")), {}),
        (vector(), {}),
    ],
    ids=["series", "younger ones have fewer samples", "limits too", "recorded", "no usage", "no number", "none"],
)
def test_loads_in_one_question(server: PrometheusServer, source: Prometheus, reply: Reply, loads: dict[str, Load]) -> None:
    server.reply(reply)
    assert source.loads(["shop", "bank"], at=START) == loads
    assert [(request.path, request.form["time"]) for request in server.asked] == [("/api/v1/query", str(START))]


def test_recorded_are_those_with_every_slot(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(vector(({"namespace": "shop"}, "4"), ({"namespace": "bank"}, "3")))
    assert source.recorded(namespaces=["shop", "bank", "new"], span=SPAN, scrape_interval_seconds=60) == {"shop"}
    assert server.asked[0].form["time"] == str(SPAN.end)
    assert source.recorded(namespaces=[], span=SPAN, scrape_interval_seconds=60) == frozenset()
    assert len(server.asked) == 1


def owned(label: str, name: str, kind: str, owner: str) -> dict[str, str]:
    return {"namespace": "shop", label: name, "owner_kind": kind, "owner_name": owner}


def test_owners_of_pods_and_replica_sets(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(
        vector((owned("pod", "web-1", "ReplicaSet", "web-new"), "1"), (owned("pod", "db-0", "StatefulSet", "db"), "1")),
        vector((owned("replicaset", "web-new", "Deployment", "web"), "1")),
    )
    owners = source.pod_owners(namespaces=["shop"], span=SPAN)
    assert owners.pods == {("shop", "web-1"): OwnerRef("ReplicaSet", "web-new"), ("shop", "db-0"): OwnerRef("StatefulSet", "db")}
    assert owners.replica_sets == {("shop", "web-new"): OwnerRef("Deployment", "web")}


def test_owners_of_jobs_are_asked_where_a_pod_is_of_one(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(
        vector((owned("pod", "night-29384756-x2x4z", "Job", "night-29384756"), "1")),
        vector(),
        vector(
            (owned("job_name", "night-29384756", "CronJob", "night"), "1"),
            (owned("job_name", "by-hand-12345678", "<none>", "<none>"), "1"),
            ({"namespace": "shop", "job_name": "by-hand-2"}, "1"),
        ),
    )
    owners = source.pod_owners(namespaces=["shop"], span=SPAN)
    assert owners.jobs == {
        ("shop", "night-29384756"): OwnerRef("CronJob", "night"),
        ("shop", "by-hand-12345678"): None,
        ("shop", "by-hand-2"): None,
    }
    assert len(server.asked) == 3


def test_no_owners_without_kube_state_metrics(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(vector())
    owners = source.pod_owners(namespaces=["shop"], span=SPAN)
    assert (owners.pods, owners.replica_sets) == ({}, {})


DAY = Span(START, START + 287 * 300)


def listed(*labels: dict[str, str]) -> Reply:
    return as_json({"status": "success", "data": list(labels)})


def test_owners_over_a_long_span_are_read_from_labels_alone(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(listed(owned("pod", "web-1", "ReplicaSet", "web-new")), listed(owned("replicaset", "web-new", "Deployment", "web")))
    owners = source.pod_owners(namespaces=["shop"], span=DAY)
    assert owners.pods == {("shop", "web-1"): OwnerRef("ReplicaSet", "web-new")}
    assert owners.replica_sets == {("shop", "web-new"): OwnerRef("Deployment", "web")}
    assert [asked.path for asked in server.asked] == ["/api/v1/series"] * 2
    # A slot is named by its end, so the first one begins before the span.
    assert {(asked.form["start"], asked.form["end"]) for asked in server.asked} == {(str(DAY.start - 300), str(DAY.end))}
    assert server.asked[0].form["match[]"] == 'kube_pod_owner{owner_is_controller="true",namespace="shop"}'


def test_labels_that_are_missing_are_told_of_listed_series_too(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(listed({"namespace": "shop", "pod": "web-1"}))
    with pytest.raises(UsageAnswerInvalid, match=r"kube_pod_owner: series without the label owner_kind and owner_name$"):
        source.pod_owners(namespaces=["shop"], span=DAY)
    server.reply(listed({"exported_pod": "web-1", "namespace": "shop", "owner_kind": "ReplicaSet", "owner_name": "web"}))
    with pytest.raises(UsageAnswerInvalid, match=r"without the label pod \(RIGHTSIZER_PROMETHEUS_KUBE_STATE_LABELS \(or "):
        source.pod_owners(namespaces=["shop"], span=DAY)


@pytest.mark.parametrize("reply", [Reply(404, b"404 page not found"), Reply(200, b"<html>please log in</html>")])
def test_a_server_that_does_not_list_series_is_asked_by_queries(
    server: PrometheusServer, source: Prometheus, caplog: pytest.LogCaptureFixture, reply: Reply
) -> None:
    server.reply(reply, vector((owned("pod", "web-1", "ReplicaSet", "web-new"), "1")), vector())
    with caplog.at_level(logging.INFO, logger="rightsizer.prometheus"):
        assert len(source.pod_owners(namespaces=["shop"], span=DAY).pods) == 1
        source.pod_owners(namespaces=["shop"], span=DAY)
    assert [asked.path.rpartition("/")[2] for asked in server.asked] == ["series", "query", "query", "query", "query"]
    assert caplog.text.count("does not list series") == 1


def test_a_server_that_is_too_busy_to_list_series_is_left_in_peace(server: PrometheusServer) -> None:
    server.reply(Reply(429, b"later"))
    source = Prometheus(Connection(Endpoint(url=server.url, retries=0)))
    with pytest.raises(UsageSourceOverloaded):
        source.pod_owners(namespaces=["shop"], span=DAY)
    source.close()
    assert len(server.asked) == 1


@pytest.mark.parametrize("slots", [1, 2, 23])
def test_the_range_of_the_owner_query_is_the_whole_span(server: PrometheusServer, source: Prometheus, slots: int) -> None:
    span = Span(START, START + 300 * (slots - 1))
    server.reply(vector())
    source.pod_owners(namespaces=["shop"], span=span)
    # A slot is named by its end, so the first one begins before `span.start`.
    assert [request.form["time"] for request in server.asked] == [str(span.end)] * 2
    assert all(f"[{300 * slots}s]" in request.form["query"] for request in server.asked)


def test_an_oom_kill_at_the_first_slot_that_shows_it_with_its_limit(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(
        matrix((container(uid="1"), [(START + 300, "1"), (START + 600, "1")])),
        matrix((container(), each_slot("268435456", "268435456", "536870912")), (container(name="other"), each_slot("1"))),
    )
    assert source.oom_kills(namespaces=["shop"], span=SPAN) == [OomSeries(PodSeries("shop", "web-0", "app"), START + 300, 268435456)]
    assert 'pod="web-0"' in server.asked[1].form["query"]


def test_an_oom_kill_that_showed_before_the_span_is_not_told_again(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(matrix((container(uid="1"), [(START - 600, "1"), (START, "1")])))
    assert source.oom_kills(namespaces=["shop"], span=SPAN) == []
    assert len(server.asked) == 1
    assert int(server.asked[0].form["start"]) == START - HOUR


def test_the_next_pod_of_the_same_name_is_another_oom_kill(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(
        matrix((container(uid="1"), [(START - 600, "1"), (START, "1")]), (container(uid="2"), [(START + 600, "1")])),
        matrix((container(), [(START, "100"), (START + 900, "300")])),
    )
    assert source.oom_kills(namespaces=["shop"], span=SPAN) == [OomSeries(PodSeries("shop", "web-0", "app"), START + 600, 100)]


@pytest.mark.parametrize(
    ("points", "limit"), [([], None), (each_slot("NaN"), None), ([(START + 900, "300")], 300)], ids=["none", "not a number", "later only"]
)
def test_an_oom_kill_whose_limit_is_not_known_at_its_time(
    server: PrometheusServer, source: Prometheus, points: Points, limit: int | None
) -> None:
    server.reply(matrix((container(uid="1"), each_slot("1"))), matrix((container(), points)))
    assert [kill.memory_limit for kill in source.oom_kills(namespaces=["shop"], span=SPAN)] == [limit]


def test_limits_of_many_killed_pods_in_bulk(server: PrometheusServer, source: Prometheus) -> None:
    server.reply(matrix(*((container(f"web-{number:03}", uid="1"), each_slot("1")) for number in range(201))), matrix())
    assert len(source.oom_kills(namespaces=["shop"], span=SPAN)) == 201
    assert len(server.asked) == 3


def values_of(text: bytes) -> bytes:
    return b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":' + text + b"}]}}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"status":"success"}',
        as_json({"status": "success", "data": [7]}).body,
        success("scalar", [1, "2"]).body,
        success("matrix", {"a": 1}).body,
        success("matrix", [7]).body,
        success("matrix", [{"values": [[1, "2"]]}]).body,
        success("matrix", [{"metric": {}, "histograms": []}]).body,
        success("vector", [{"metric": {}}]).body,
        values_of(b'[[1,"x"]]'),
        values_of(b'[[1,"2"],[3]]'),
        values_of(b'[[1,"2"],["3"]]'),
        values_of(b'[["1"],["2"]]'),
        matrix((container(), each_slot("1", "2"))).body[:-30],
        matrix((container(), each_slot("1", "2"))).body[:-1],
        b"\xff\xfe" + matrix().body,
    ],
)
def test_whatever_is_not_the_answer_of_the_api_is_refused(body: bytes) -> None:
    def read() -> None:
        answer = decode(body)
        assert isinstance(answer, Answer)
        list(answer.series)

    with pytest.raises(UsageAnswerInvalid):
        read()


def test_every_cut_of_an_answer_is_refused() -> None:
    body = matrix((container(), each_slot("1", "NaN")), (container("b"), each_slot("1", "2")), warnings=["w"]).body
    for length in range(len(body)):
        with pytest.raises(UsageAnswerInvalid):
            decode(body[:length])


def test_a_complaint_in_the_words_of_the_server() -> None:
    assert str(decode(b'{"status":"error","errorType":"bad_data","error":"parse error"}')) == "bad_data: parse error"
    assert decode(b'{"status":"error"}') == Complaint("", "no reason given")
