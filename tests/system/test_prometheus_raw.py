"""Usage by raw chunks equals usage by queries, on a real Prometheus with all that makes samples awkward, in its blocks and in its head."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rightsizer.history import Span, UsageBatch
from rightsizer.prometheus import Connection, Endpoint, Prometheus
from rightsizer.prometheus.raw import FEWEST_SLOTS
from rightsizer.promql import CFS_PERIODS_METRIC, CFS_THROTTLED_METRIC, CPU_METRIC, MEMORY_METRIC
from tests.loaded_prometheus import prometheus_major, seconds_off_the_edges
from tests.prometheus_server import NO_RAW_CHUNKS, RAW_PATH, Asked, PrometheusServer, Reply, forwarded
from tests.raw_answer import content, integer
from tests.testbed.addresses import answers, free_ports, opener, wait_until
from tests.testbed.binaries import built_binaries
from tests.testbed.processes import Processes
from tests.xor_chunks import STALE, Sample, uvarint

pytestmark = pytest.mark.system

SCRAPE_SECONDS = 15
HOUR = 3600
BLOCK_HOURS, HEAD_HOURS = 7, 3

# Pods with CFS counters, their further labels, how often both begin anew, and the throttled share in a spell.
CFS: tuple[tuple[str, dict[str, str], float, float], ...] = (
    ("steady", {}, 0.0, 0.25),
    ("restarting", {}, 0.02, 0.5),
    ("twice", {}, 0.0, 0.1),
    ("twice", {"job": "cadvisor"}, 0.0, 0.6),
    ("steady", {"cluster": "two"}, 0.0, 0.9),
)

Key = tuple[tuple[str, str], ...]
History = dict[Key, list[Sample]]


def key(metric: str, **labels: str) -> Key:
    named = {"__name__": metric, "namespace": "shop", "container": "app", "cluster": "one", "job": "kubelet", **labels}
    return tuple(sorted(named.items()))


def awkward_history(*, begin: int, end: int) -> History:
    """Samples in unix milliseconds from `begin` to `end` (unix seconds), the same for the same times."""
    generator = random.Random(7)
    times = list(range((begin + seconds_off_the_edges()) * 1000, end * 1000, SCRAPE_SECONDS * 1000))

    def counter(*, restart: float = 0.0, jitter: int = 0, missing: float = 0.0) -> list[Sample]:
        value, samples = generator.uniform(0, 1e5), []
        for at in times:
            value = 0.0 if generator.random() < restart else value + generator.expovariate(1 / 5)
            if generator.random() >= missing:
                samples.append((at + generator.randint(-jitter, jitter), value))
        return samples

    def gauge(*, jitter: int = 0) -> list[Sample]:
        value, samples = 300 * 2**20, []
        for at in times:
            value += generator.choice([0, 0, 0, 4096, -4096, 2**20])
            samples.append((at + generator.randint(-jitter, jitter), float(value)))
        return samples

    history: History = {
        key(CPU_METRIC, pod="steady"): counter(),
        key(CPU_METRIC, pod="restarting"): counter(restart=0.02),
        key(CPU_METRIC, pod="jittery"): counter(jitter=900),
        key(CPU_METRIC, pod="gaps"): counter(missing=0.6),
        key(CPU_METRIC, pod="twice"): counter(),
        key(CPU_METRIC, pod="twice", job="cadvisor"): counter(restart=0.01, jitter=7),
        key(CPU_METRIC, pod="steady", cluster="two"): counter(),
        key(CPU_METRIC, pod="idle"): [(at, 12.5) for at in times],
        key(CPU_METRIC, pod="steady", container="POD"): counter(),
        key(MEMORY_METRIC, pod="steady"): gauge(),
        key(MEMORY_METRIC, pod="jittery"): gauge(jitter=900),
        key(MEMORY_METRIC, pod="odd"): [(at, generator.choice([float("inf"), float("nan"), 5.0, 7.0, 9.0])) for at in times],
    }
    for pod, labels, restart, share in CFS:
        periods = counter(restart=restart)
        history[key(CFS_PERIODS_METRIC, pod=pod, **labels)] = periods
        # Throttled in spells only; both counters begin anew together.
        throttled = [(at, value * share if (at // 7_200_000) % 2 else 0.0) for at, value in periods]
        history[key(CFS_THROTTLED_METRIC, pod=pod, **labels)] = throttled
    history[key(CFS_PERIODS_METRIC, pod="never")] = counter()
    history[key(CFS_THROTTLED_METRIC, pod="never")] = [(at, 0.0) for at in times]
    history[key(CFS_THROTTLED_METRIC, pod="without periods")] = counter()
    # Pods that follow each other, the older ones with a stale marker at their end.
    life = len(times) // 9
    for number in range(9):
        lived = counter()[number * life : (number + 1) * life]
        history[key(CPU_METRIC, pod=f"replaced-{number}", id="/a")] = [*lived, (lived[-1][0] + 5000, STALE)]
    history[key(CPU_METRIC, pod="short")] = counter()[len(times) // 2 : len(times) // 2 + 30]
    return history


def openmetrics(history: History, *, end_ms: int) -> str:
    """The samples before `end_ms`; stale markers cannot be told in this form."""
    families: dict[str, list[str]] = {}
    for labels, samples in history.items():
        metric = dict(labels)["__name__"]
        text = ",".join(f'{name}="{value}"' for name, value in labels if name != "__name__")
        lines = [f"{metric}{{{text}}} {value!r} {at / 1000:.3f}" for at, value in samples if at < end_ms and not is_stale(value)]
        families.setdefault(metric, []).extend(lines)
    kinds = {metric: "gauge" if metric == MEMORY_METRIC else "counter" for metric in families}
    parts = [f"# TYPE {metric.removesuffix('_total')} {kinds[metric]}\n" + "\n".join(lines) for metric, lines in families.items()]
    return "\n".join([*parts, "# EOF", ""]).replace(" inf ", " +Inf ").replace(" nan ", " NaN ")


def is_stale(value: float) -> bool:
    return struct.pack(">d", value) == struct.pack(">d", STALE)


def remote_write(url: str, samples: list[tuple[Key, Sample]]) -> None:
    series = b""
    for labels, (at, value) in samples:
        named = b"".join(content(1, content(1, name.encode()) + content(2, text.encode())) for name, text in labels)
        series += content(1, named + content(2, b"\x09" + struct.pack("<d", value) + integer(2, at)))
    literals = [series[start : start + 65_536] for start in range(0, len(series), 65_536)]
    packed = uvarint(len(series)) + b"".join(b"\xf4" + (len(one) - 1).to_bytes(2, "little") + one for one in literals)
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"}
    with opener().open(urllib.request.Request(f"{url}/api/v1/write", data=packed, headers=headers), timeout=30) as response:
        assert response.status in (200, 204)


@pytest.fixture(scope="module")
def span() -> Span:
    """Up to the end of the last slot but one of this moment."""
    end = int(time.time()) // 300 * 300 - 300
    return Span(end - (BLOCK_HOURS + HEAD_HOURS) * HOUR + 300, end)


@pytest.fixture(scope="module")
def url(span: Span, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with the older part in blocks, some of it in two, and the newer part in its head, some of it out of order."""
    folder = tmp_path_factory.mktemp("raw")
    history = awkward_history(begin=span.start - 600, end=span.end + 60)
    head_begin = (span.end - HEAD_HOURS * HOUR) * 1000
    older = {labels: samples for labels, samples in history.items() if any(at < head_begin for at, _ in samples)}
    for name, part in {"all": older, "again": dict(list(older.items())[:5])}.items():
        (folder / name).write_text(openmetrics(part, end_ms=head_begin))
        command: list[str | Path] = [built_binaries() / "promtool", "tsdb", "create-blocks-from", "openmetrics"]
        subprocess.run([*command, folder / name, folder / "data"], check=True, capture_output=True)
    # A label that series have too: remote read would take a plain matcher of it for one about the server.
    config = {"global": {"external_labels": {"cluster": "one"}}, "storage": {"tsdb": {"out_of_order_time_window": "4h"}}}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    address = f"127.0.0.1:{free_ports(1)[0]}"
    flags = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=60d",
        "--web.enable-remote-write-receiver",
        # Blocks stay as they are, however long the tests take, and samples that are in two of them stay so (Prometheus 2 merges these).
        *("--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h"),
        *(["--no-storage.tsdb.allow-overlapping-compaction"] if prometheus_major() >= 3 else []),
    ]
    processes = Processes(Path(tempfile.mkdtemp(prefix="rightsizer-prometheus-")), delete_directory=True)
    try:
        processes.start("prometheus", [built_binaries() / "prometheus", *flags, f"--web.listen-address={address}"])
        wait_until(lambda: answers(f"http://{address}/-/ready"), what="Prometheus ready", timeout_seconds=60)
        newer = sorted(
            ((labels, one) for labels, samples in history.items() for one in samples if one[0] >= head_begin), key=lambda one: one[1][0]
        )
        late = [one for number, one in enumerate(newer) if number % 11 == 0 and one[1][0] < (span.end - HOUR) * 1000]
        on_time = [one for number, one in enumerate(newer) if number % 11 or one[1][0] >= (span.end - HOUR) * 1000]
        for samples in (on_time, late):
            for start in range(0, len(samples), 5000):
                remote_write(f"http://{address}", samples[start : start + 5000])
        yield f"http://{address}"
    finally:
        processes.close()


@pytest.fixture(scope="module")
def without_raw(url: str) -> Iterator[str]:
    """The same server, as if it handed out no raw chunks."""
    real = forwarded(url)

    def answer(asked: Asked) -> Reply:
        return NO_RAW_CHUNKS if asked.path.endswith(RAW_PATH) else real(asked)

    with PrometheusServer() as front:
        front.answer(answer)
        yield front.url


def usage(url: str, resource: Any, span: Span, *, extra_matchers: str = "", interval: int = SCRAPE_SECONDS) -> tuple[UsageBatch, set[str]]:
    """The usage, and by which kinds of questions it was asked for."""
    kinds: set[str] = set()

    def observe(kind: str, *, seconds: float, size_bytes: int) -> None:
        kinds.add(kind)

    source = Prometheus(Connection(Endpoint(url=url), on_request=observe), extra_matchers=extra_matchers)
    try:
        return source.usage(resource, namespaces=["shop", "elsewhere"], span=span, scrape_interval_seconds=interval), kinds
    finally:
        source.close()


# From which hour of the history on, and how many slots.
PARTS = {
    "all": (0.0, (BLOCK_HOURS + HEAD_HOURS) * 12),
    "the shortest, in the head": (8.0, FEWEST_SLOTS),
    "in blocks": (1.0, 40),
    "across": (5.5, 36),
    "up to the end": (7.25, 33),
    "before there was anything": (-3.0, 48),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("resource", ["cpu", "memory", "throttled"])
@pytest.mark.parametrize("extra_matchers", ["", 'cluster="one"', "cluster=~`t.o|x`,job!='cadvisor'"])
@pytest.mark.parametrize("interval", [SCRAPE_SECONDS, 300])
def test_the_same_values_as_by_queries(
    url: str, without_raw: str, span: Span, part: str, resource: str, extra_matchers: str, interval: int
) -> None:
    first, slots = PARTS[part]
    start = span.start + int(first * HOUR)
    wanted = Span(start, start + (slots - 1) * 300)
    raw, raw_kinds = usage(url, resource, wanted, extra_matchers=extra_matchers, interval=interval)
    asked, asked_kinds = usage(without_raw, resource, wanted, extra_matchers=extra_matchers, interval=interval)
    assert raw_kinds == {"raw"}
    assert resource in asked_kinds
    assert raw.series == asked.series
    assert np.array_equal(raw.values, asked.values, equal_nan=True)


def test_there_is_something_to_compare(url: str, span: Span) -> None:
    batch, _ = usage(url, "cpu", span)
    assert {one.pod for one in batch.series} == {
        *("steady", "restarting", "jittery", "gaps", "twice", "idle", "short"),
        *(f"replaced-{number}" for number in range(9)),
    }
    known = dict(zip((one.pod for one in batch.series), np.isfinite(batch.values).sum(axis=1).tolist(), strict=True))
    assert known["steady"] == span.slots
    assert 2 <= known["short"] <= 4
    throttled, _ = usage(url, "throttled", span)
    assert {one.pod for one in throttled.series} == {"steady", "restarting", "twice"}
    assert span.slots / 3 < np.isfinite(throttled.values[0]).sum() < span.slots
    memory, _ = usage(url, "memory", span)
    assert np.isfinite(memory.values).sum() > 2 * span.slots
    with opener().open(f"{url}/metrics", timeout=30) as response:
        own = dict(line.rsplit(" ", 1) for line in response.read().decode().splitlines() if not line.startswith("#"))
    assert float(own["prometheus_tsdb_blocks_loaded"]) >= 4
    out_of_order = "prometheus_tsdb_head_out_of_order_samples_appended_total"
    assert sum(float(value) for name, value in own.items() if name.startswith(out_of_order)) > 100
    assert float(own["prometheus_tsdb_head_chunks"]) > len(batch.series)
