"""Usage files: what a line may hold, how samples become slots, and errors that name file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from rightsizer.cli import history_csv
from rightsizer.cli.history_csv import FileUsage, read_history
from rightsizer.cli.slot_table import SlotTable
from rightsizer.errors import InvalidInput
from rightsizer.history import UsageWindow
from rightsizer.workload import ContainerKey, WorkloadRef
from tests.unit.cli_files import HEADER, MI, NOW, steady_rows, write_history

WEB = WorkloadRef("shop", "Deployment", "web")
HOUR = 3_600


def read(path: Path, *, window_seconds: int = HOUR, now: float | None = None) -> FileUsage:
    return read_history(path, workloads={WEB}, window_seconds=window_seconds, now=now, report=lambda *_: None)


def window(usage: FileUsage, *, seconds: int = HOUR) -> UsageWindow:
    return usage.history.window([ContainerKey(WEB, "app")], end=int(usage.now), seconds=seconds)


def row(at: float, cpu: str = "0.2", memory: str = "1048576", *, pod: str = "a", workload: str = "Deployment/web") -> str:
    return f"shop,{workload},{pod},app,{at},{cpu},{memory}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "usage.csv"


def test_cpu_is_averaged_and_memory_peaks_within_a_slot(path: Path) -> None:
    # A slot holds its end: NOW belongs to the slot that ends at NOW, NOW - 300 to the one before.
    write_history(
        path, [row(NOW - 299, "0.1", str(MI)), row(NOW - 60, "0.3", str(3 * MI)), row(NOW, "0.5", str(2 * MI)), row(NOW - 300, "1")]
    )
    found = window(read(path))
    assert found.cpu[0, -2:].tolist() == pytest.approx([1000.0, 300.0], rel=1e-3)
    assert found.memory[0, -1] == 3 * MI
    assert np.isnan(found.cpu[0, :-2]).all()


def test_the_busiest_pod_counts_and_pods_are_counted(path: Path) -> None:
    write_history(path, [row(NOW, "0.1", pod="a"), row(NOW, "0.4", pod="b"), row(NOW, "0.2", pod="c")])
    found = window(read(path))
    assert (found.cpu[0, -1], found.pods[0, -1]) == (400, 3)


@pytest.mark.parametrize("rows_at_once", [1, 2, 50_000])
@pytest.mark.parametrize("years", [-6, 6])
def test_a_wild_time_is_refused_with_its_line(path: Path, monkeypatch: pytest.MonkeyPatch, rows_at_once: int, years: int) -> None:
    monkeypatch.setattr(history_csv, "ROWS_AT_ONCE", rows_at_once)
    wild = row(NOW + years * 366 * 86_400, workload="Deployment/other")
    write_history(path, [row(NOW - 300), row(NOW), wild, row(NOW - 600)])
    with pytest.raises(InvalidInput, match=":4: unix_ts: more than 5 years from another sample; --now TIME leaves out later ones"):
        read(path)
    assert np.isfinite(window(read(path, now=NOW)).cpu[0]).sum() == 3


def test_an_empty_number_or_nan_is_a_gap(path: Path) -> None:
    write_history(path, [row(NOW, "nan", str(MI)), row(NOW - 300, "0.2", "")])
    found = window(read(path))
    assert np.isnan(found.cpu[0, -1])
    assert np.isnan(found.memory[0, -2])
    assert (found.cpu[0, -2], found.memory[0, -1]) == (200, MI)


def test_order_does_not_matter(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_csv, "ROWS_AT_ONCE", 7)
    rows = [row(NOW - 300 * back, f"{0.1 + back / 100:.2f}") for back in range(600)]
    in_order = window(read(write_history(path, rows), window_seconds=48 * HOUR), seconds=48 * HOUR)
    shuffled = [rows[index] for index in np.random.default_rng(1).permutation(len(rows))]
    mixed = window(read(write_history(path, shuffled), window_seconds=48 * HOUR), seconds=48 * HOUR)
    np.testing.assert_array_equal(in_order.cpu, mixed.cpu)
    assert np.isfinite(in_order.cpu).sum() == 576


def test_now_is_the_end_of_the_newest_slot(path: Path) -> None:
    assert read(write_history(path, [row(NOW - 1000), row(NOW - 200)])).now == NOW


def test_samples_after_now_do_not_count(path: Path) -> None:
    write_history(path, [row(NOW, "0.9"), row(NOW - 600, "0.2"), row(NOW - 601, "0.2")])
    usage = read(path, now=NOW - 300)
    assert usage.now == NOW - 300
    assert np.nanmax(window(usage).cpu) == 200


def test_columns_may_stand_in_any_order_beside_others(path: Path) -> None:
    header = "note,memory_bytes,cpu_cores,unix_ts,container,pod,workload,namespace"
    write_history(path, [f"x,{MI},0.25,{NOW},app,a,Deployment/web,shop"], header=header)
    assert window(read(path)).cpu[0, -1] == 250


def test_blank_lines_quotes_and_a_byte_order_mark_do_no_harm(path: Path) -> None:
    path.write_text(f'{HEADER}\r\n\r\n"shop","Deployment/web",a,app,{NOW},0.2,{MI}\r\n', encoding="utf-8-sig")
    assert window(read(path)).cpu[0, -1] == 200


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "usage.data"
    path.write_bytes(gzip.compress("\n".join([HEADER, row(NOW)]).encode()))
    assert window(read(path)).cpu[0, -1] == 200


def test_plain_text_named_gz_is_told(tmp_path: Path) -> None:
    path = write_history(tmp_path / "usage.csv.gz", [row(NOW)])
    with pytest.raises(InvalidInput, match=r"usage\.csv\.gz: is named \.gz, but is not gzip"):
        read(path)


def test_other_workloads_are_named_and_take_no_room(path: Path) -> None:
    usage = read(write_history(path, [row(NOW), row(NOW, workload="Deployment/other"), row(NOW, workload="CronJob/night")]))
    assert usage.unknown == {WorkloadRef("shop", "Deployment", "other"), WorkloadRef("shop", "CronJob", "night")}
    assert len(usage.history) == 1


def test_progress_tells_how_much_of_the_file_is_read(path: Path) -> None:
    told: list[tuple[str, float, float]] = []
    write_history(path, steady_rows())
    read_history(path, workloads={WEB}, window_seconds=HOUR, now=None, report=lambda *step: told.append(step))
    assert told == [("reading usage.csv", path.stat().st_size, path.stat().st_size)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "usage.csv: is empty: the first line must name the columns namespace,workload,"),
        (HEADER + "\n", "usage.csv: no sample in it"),
        ("namespace,pod,container,unix_ts,cpu_cores,memory_bytes\n", "usage.csv: the first line names no column workload;"),
        ("time;value\n1;2\n", "names no column namespace, workload, pod, container, unix_ts, cpu_cores, memory_bytes;"),
        (f"{HEADER}\n{row(NOW)}\n{row(NOW, 'fast')}\n", "usage.csv:3: cpu_cores: 'fast' is not a number"),
        (f"{HEADER}\n\n{row(NOW)}\n{row(NOW, memory='320Mi')}\n", "usage.csv:4: memory_bytes: '320Mi' is not a number"),
        (f"{HEADER}\n{row(NOW, '-0.1')}\n", "usage.csv:2: cpu_cores: -0.1 is no usage"),
        (f"{HEADER}\n{row(NOW, 'inf')}\n", "usage.csv:2: cpu_cores: inf is no usage"),
        (f"{HEADER}\n{row(NOW, '1e36')}\n", "usage.csv:2: cpu_cores: 1e36 is no usage: above 1e+09"),
        (f"{HEADER}\n{row(NOW, memory='1e39')}\n", "usage.csv:2: memory_bytes: 1e39 is no usage: above 1e+15"),
        (f"{HEADER}\n{row(NOW * 1000)}\n", "usage.csv:2: unix_ts: 1763640000000 is too late: write unix seconds, not milliseconds"),
        (f"{HEADER}\n{row(0)}\n", "usage.csv:2: unix_ts: 0 is not a time"),
        (f"{HEADER}\n{row(NOW).replace(str(NOW), 'nan')}\n", "usage.csv:2: unix_ts: nan is not a time"),
        (f"{HEADER}\n{row(NOW).replace(str(NOW), '2025-11-20')}\n", "usage.csv:2: unix_ts: '2025-11-20' is not a time in unix seconds"),
        (f"{HEADER}\n{row(NOW)},9\n", "usage.csv:2: 8 fields, but the header has 7"),
        (
            f"{HEADER}\n{row(NOW, workload='web')}\n",
            "usage.csv:2: workload: 'web' is not KIND/NAME, such as Deployment/web",
        ),
        (f"{HEADER}\n{row(NOW, pod='')}\n", "usage.csv:2: pod: is empty"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(path: Path, content: str, words: str) -> None:
    path.write_text(content)
    with pytest.raises(InvalidInput) as caught:
        read(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(f"{HEADER}\n{row(NOW)}\n".encode())[:-9], "is broken gzip"),
        (gzip.compress(b"")[:2] + b"rubbish that is no header", "is broken gzip"),
        (HEADER.encode() + b"\n\xff\xfe\x00\n", "is not UTF-8 text"),
    ],
)
def test_broken_bytes_are_told(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=words):
        read(path)


def test_a_fault_far_down_is_found_by_its_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_csv, "ROWS_AT_ONCE", 10)
    rows = [row(NOW - at) for at in range(25)]
    rows[23] = row(NOW, "x")
    write_history(path, rows)
    with pytest.raises(InvalidInput, match=r":25: cpu_cores"):
        read(path)


def test_days_before_the_window_take_no_room() -> None:
    table = SlotTable(slots=288)
    for day in range(30):
        table.add(np.zeros(1, dtype=np.int64), np.array([NOW + day * 86_400.0]), np.array([1.0]), np.array([1.0]))
    assert len(table._days) <= 2


def test_many_series_of_a_day_grow_the_table() -> None:
    table = SlotTable(slots=288)
    series = np.arange(100, dtype=np.int64)
    table.add(series, np.full(100, float(NOW)), series.astype(float), series.astype(float))
    day = next(iter(table._days.values()))
    assert np.nanmax(day.cpu(), axis=1).tolist() == list(range(100))
    assert np.nanmax(day.memory(), axis=1).tolist() == list(range(100))
