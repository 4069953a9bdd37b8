"""The history in a folder: what is there again after a restart, and what happens when the folder cannot be used."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest

from rightsizer.history import SLOT_SECONDS, History, Span, UsageWindow, folder
from tests.unit.test_history import NAN, at, batch, key

SLOTS = 100
NAMES = [f"w{number}" for number in range(70)]


def filled(path: Path | None) -> History:
    """70 containers (more than the first capacity) with 120 slots of values for a ring of 100, in steps of 8."""
    kept = History(slots=SLOTS, folder=path)
    keys = [key(name) for name in NAMES]
    for place in range(0, 120, 8):
        for resource, factor in (("memory", 1.0), ("cpu", 2.0), ("throttled", 0.001)):
            values = [[factor * ((number * 31 + one) % 900) for one in range(place, place + 8)] for number in range(len(NAMES))]
            kept.add(batch(values, place=place, resource=resource), keys)  # type: ignore[arg-type]
    kept.mark_read("shop", Span(at(20), at(40)))
    kept.mark_read("shop", Span(at(60), at(119)))
    kept.save()
    return kept


def everything(kept: History, *, end: int = 119) -> UsageWindow:
    return kept.window([key(name) for name in NAMES], end=at(end), seconds=SLOTS * SLOT_SECONDS, details=True)


def same(one: UsageWindow, other: UsageWindow) -> bool:
    return all(
        np.array_equal(np.asarray(getattr(one, name), dtype=float), np.asarray(getattr(other, name), dtype=float), equal_nan=True)
        for name in ("cpu", "memory", "pods", "cpu_mean", "throttled")
    )


def opened(path: Path, *, slots: int = SLOTS) -> tuple[History, UsageWindow]:
    """A history that was opened and closed again, and what was in it."""
    kept = History(slots=slots, folder=path)
    seen = everything(kept)
    kept.close()
    return kept, seen


EMPTY = everything(History(slots=SLOTS))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder with a filled history that was closed."""
    filled(tmp_path).close()
    return tmp_path


# Restarts


def test_in_a_folder_it_is_the_same_history_as_in_memory(tmp_path: Path) -> None:
    kept = filled(tmp_path)
    assert same(everything(kept), everything(filled(None)))
    assert kept.trouble is None
    kept.close()


def test_after_a_restart_all_is_there_again(store: Path) -> None:
    kept = History(slots=SLOTS, folder=store)
    assert same(everything(kept), everything(filled(None)))
    assert set(kept) == {key(name) for name in NAMES}
    assert kept.read_spans("shop") == (Span(at(20), at(40)), Span(at(60), at(119)))
    assert {kept.newest(key(name)) for name in NAMES} == {at(119)}
    assert kept.trouble is None
    kept.close()


def test_a_restarted_history_goes_on_where_it_was(store: Path) -> None:
    kept, model = History(slots=SLOTS, folder=store), filled(None)
    for one in (kept, model):
        one.add(batch([[5], [6]], place=150), [key("w3"), key("new")])
        one.add(batch([[7]], place=148), [key("w3")])
    assert same(everything(kept, end=150), everything(model, end=150))
    kept.close()
    again = History(slots=SLOTS, folder=store)
    assert same(everything(again, end=150), everything(model, end=150))
    assert again.newest(key("new")) == at(150)
    again.close()


def test_it_may_be_closed_twice_and_saved_when_nothing_changed(store: Path) -> None:
    kept = History(slots=SLOTS, folder=store)
    written = (store / "index").stat().st_mtime_ns
    kept.save()
    assert (store / "index").stat().st_mtime_ns == written
    kept.close()
    kept.close()


def test_what_is_known_since_a_return_and_what_was_forgotten_survive(store: Path) -> None:
    kept = History(slots=SLOTS, folder=store)
    kept.forget_all_but([key(name) for name in NAMES[2:]])
    kept.add(batch([[1]], place=121), [key("w0")])
    kept.close()
    kept = History(slots=SLOTS, folder=store)
    assert kept.known_since(key("w0")) == at(121)
    kept.add(batch([[1]], place=122), [key("w1")])
    assert kept.known_since(key("w1")) == at(122)
    assert kept.known_since(key("w2")) is None
    kept.close()


def test_the_throttled_share_takes_no_file_before_it_is_written(tmp_path: Path) -> None:
    kept = History(slots=SLOTS, folder=tmp_path)
    kept.add(batch([[1]]), [key()])
    assert {path.name for path in tmp_path.iterdir()} == {
        "head", "index", "last", "lock", "memory.fresh", "memory.long", "pods.fresh", "pods.long",
    }  # fmt: skip
    kept.close()


# Where the values come from

EAST = {"SERVER": "one", "MATCHERS": "east"}


def of_origin(path: Path, origin: dict[str, str]) -> int:
    """How many containers are known when it is opened; one more is, when it is closed."""
    kept = History(slots=SLOTS, folder=path, origin=origin)
    known = len(kept)
    kept.add(batch([[1]]), [key(f"w{known}")])
    kept.close()
    return known


def test_values_of_the_same_origin_are_joined(tmp_path: Path) -> None:
    assert [of_origin(tmp_path, dict(reversed(EAST.items()))) for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({**EAST, "MATCHERS": "west"}, "MATCHERS"),
        ({"SERVER": "other", "MATCHERS": "west"}, "MATCHERS, SERVER"),
        ({**EAST, "LABELS": "pod"}, "LABELS"),
        ({"SERVER": "one"}, "MATCHERS"),
    ],
)
def test_values_of_another_origin_are_thrown_away_with_a_warning_that_names_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, other: dict[str, str], named: str
) -> None:
    of_origin(tmp_path, EAST)
    assert of_origin(tmp_path, other) == 0
    assert messages(caplog) == [f"the history in {tmp_path} cannot be used and starts anew: its values were read with another {named}"]
    assert of_origin(tmp_path, other) == 1


def test_a_history_that_does_not_say_where_it_comes_from_starts_anew(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = folder._read_index
    monkeypatch.setattr(folder, "_read_index", lambda path: {name: value for name, value in read(path).items() if name != "origin"})
    assert of_origin(store, {}) == 0
    assert "does not say where its values come from" in caplog.text


# Rows that change hands


def test_a_row_is_used_again_only_after_an_index_without_its_container_was_saved(tmp_path: Path) -> None:
    kept = filled(tmp_path)
    size = kept.size
    kept.forget_all_but([key(name) for name in NAMES[1:]])
    kept.add(batch([[1]], place=119), [key("new")])
    assert kept.size > size
    kept.save()
    size = kept.size
    kept.add(batch([[2]], place=119), [key("newer")])
    assert kept.size == size
    seen = kept.window([key("newer")], end=at(119), seconds=SLOTS * SLOT_SECONDS, details=True)
    np.testing.assert_array_equal(seen.memory, [[NAN] * (SLOTS - 1) + [2]])
    assert np.isnan(seen.cpu).all()
    assert np.isnan(np.asarray(seen.throttled)).all()
    kept.close()


def test_rows_that_were_handed_out_but_never_saved_are_empty_for_the_next(store: Path) -> None:
    kept = History(slots=SLOTS, folder=store)
    kept.add(batch([[1, 2, 3]], place=117), [key("never saved")])
    vanish(kept)
    kept = History(slots=SLOTS, folder=store)
    assert key("never saved") not in set(kept)
    kept.add(batch([[9]], place=119), [key("new")])
    seen = kept.window([key("new")], end=at(119), seconds=3 * SLOT_SECONDS)
    np.testing.assert_array_equal(seen.memory, [[NAN, NAN, 9]])
    kept.close()


def vanish(kept: History) -> None:
    """As if the process had been killed: nothing is written any more, and the lock is gone."""
    assert kept._folder is not None
    kept._folder.unlock()
    kept._storage.close()


# What cannot be used


def messages(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


def test_a_new_folder_is_made_and_nothing_is_wrong_with_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept, seen = opened(tmp_path / "some")
    assert same(seen, EMPTY)
    assert kept.trouble is None
    assert messages(caplog) == []


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda path: os.truncate(path / name, size)


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda path: (path / name).write_bytes(content)


def flip(name: str, offset: int) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        content = bytearray((path / name).read_bytes())
        content[offset] ^= 0x10
        (path / name).write_bytes(content)

    return damage


def replace(name: str, old: bytes, new: bytes) -> Callable[[Path], object]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes().replace(old, new, 1))


DAMAGE = {
    "index empty": (cut("index", 0), "its index is damaged"),
    "index cut": (cut("index", 300), "its index is damaged"),
    "index garbage": (write("index", b"\x00\xff" * 500), "its index is damaged"),
    "index of another program": (write("index", b'{"version": 1}\n'), "its index is damaged"),
    "index flipped": (flip("index", 500), "its index is damaged"),
    "another version": (replace("index", b"rightsizer-history 1 ", b"rightsizer-history 2 "), "it is of version 2, not 1"),
    "head missing": (lambda path: (path / "head").unlink(), "head"),
    "head empty": (cut("head", 0), "head is too short"),
    "head garbage": (write("head", b"\x7f" * 4096), "its head is damaged"),
    "newest slot flipped": (flip("head", 6 * 8 + 4), "its head is damaged (newest)"),
    "check of the folded slot flipped": (flip("head", 7 * 8), "its head is damaged (folded)"),
    "array missing": (lambda path: (path / "cpu.long").unlink(), "cpu.long"),
    "array cut": (cut("memory.fresh", 4096), "memory.fresh is too short"),
    "array flipped": (flip("memory.long", 5000), "its arrays are damaged"),
    "row never used flipped": (flip("pods.long", 75 * SLOTS), "its arrays are damaged"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_thrown_away_with_one_warning(
    store: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object], reason: str
) -> None:
    damage(store)
    kept, seen = opened(store)
    assert same(seen, EMPTY)
    assert len(kept) == 0
    assert kept.trouble is None
    assert [reason in message for message in messages(caplog)] == [True]
    caplog.clear()
    filled(store).close()
    assert same(opened(store)[1], everything(filled(None)))
    assert messages(caplog) == []


@pytest.mark.parametrize("slots", [SLOTS - 1, SLOTS + 300])
def test_another_number_of_slots_starts_anew(store: Path, caplog: pytest.LogCaptureFixture, slots: int) -> None:
    assert len(opened(store, slots=slots)[0]) == 0
    assert messages(caplog) == [f"the history in {store} cannot be used and starts anew: it has {SLOTS} slots, {slots} are wanted"]


def test_files_of_two_histories_are_not_mixed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        filled(tmp_path / name).close()
    (tmp_path / "one" / "index").replace(tmp_path / "two" / "index")
    assert len(opened(tmp_path / "two")[0]) == 0


def test_what_a_machine_that_stopped_left_open_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vanish(filled(tmp_path))
    monkeypatch.setattr(folder, "_boot_id", lambda: "another start")
    assert len(opened(tmp_path)[0]) == 0


def test_what_was_closed_is_trusted_after_the_machine_was_restarted(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_boot_id", lambda: "another start")
    kept = History(slots=SLOTS, folder=store)
    assert same(everything(kept), everything(filled(None)))
    vanish(kept)
    assert len(opened(store)[0]) == len(NAMES)


@pytest.mark.parametrize("seed", range(40))
def test_damage_anywhere_gives_the_same_history_or_an_empty_one(store: Path, seed: int) -> None:
    random = Random(seed)
    path = random.choice([path for path in sorted(store.iterdir()) if path.name != "lock"])
    content = bytearray(path.read_bytes())
    place = random.randrange(len(content))
    match random.choice(["flip", "cut", "longer", "garbage"]):
        case "flip":
            content[place] ^= 1 << random.randrange(8)
        case "cut":
            del content[place:]
        case "longer":
            content += random.randbytes(200)
        case _:
            content[place : place + 50] = random.randbytes(50)
    path.write_bytes(content)
    kept = History(slots=SLOTS, folder=store)
    seen = everything(kept)
    assert same(seen, everything(filled(None))) if len(kept) else same(seen, EMPTY)
    kept.add(batch([[3]], place=119), [key("new")])
    np.testing.assert_array_equal(kept.window([key("new")], end=at(119), seconds=600).memory, [[NAN, 3]])
    kept.close()


# A folder that cannot be used


def works_in_memory(kept: History) -> bool:
    kept.add(batch([[1, 2]]), [key("w0")])
    kept.forget_all_but([key("w0")])
    kept.save()
    return np.array_equal(kept.window([key("w0")], end=at(1), seconds=600).memory, [[1, 2]])


@pytest.mark.parametrize(
    ("name", "why"),
    [("file", "it is no folder"), ("file/below", "it is no folder"), ("missing/below", "the folder that it should be in is missing")],
)
def test_a_folder_that_cannot_be_used_is_told_with_the_setting_that_names_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, why: str
) -> None:
    (tmp_path / "file").write_text("")
    kept = History(slots=SLOTS, folder=tmp_path / name)
    assert kept.trouble is not None
    assert kept.trouble.startswith("the history is in memory only: ")
    assert f"{tmp_path / name} cannot be used ({why}); RIGHTSIZER_HISTORY_FOLDER should name a folder" in kept.trouble
    assert "Errno" not in kept.trouble
    assert messages(caplog) == [kept.trouble]
    assert works_in_memory(kept)
    kept.close()
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def test_a_second_process_goes_on_in_memory(tmp_path: Path) -> None:
    first = History(slots=SLOTS, folder=tmp_path)
    second = History(slots=SLOTS, folder=tmp_path)
    assert first.trouble is None
    assert second.trouble == f"the history is in memory only: another process uses {tmp_path}"
    assert works_in_memory(second)
    second.close()
    first.close()
    assert opened(tmp_path)[0].trouble is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB of its own."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_disk_that_is_full_from_the_start_is_not_used(small_disk: Path) -> None:
    (small_disk / "others").write_bytes(b"x" * 290 * 1024)
    kept = History(slots=4032, folder=small_disk)
    kept.add(batch([[1]]), [key()])
    assert kept.trouble is not None
    assert "No space left on device" in kept.trouble
    assert works_in_memory(kept)
    kept.close()


def test_when_the_disk_becomes_full_all_goes_on_in_memory_with_what_was_there(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept, names = History(slots=300, folder=small_disk), [f"w{number}" for number in range(500)]
    for number, name in enumerate(names):
        kept.add(batch([[number, number + 1]]), [key(name)])
    assert kept.trouble is not None
    assert kept.trouble.startswith("the history goes on in memory: ")
    assert "No space left on device" in kept.trouble
    assert messages(caplog) == [kept.trouble]
    seen = kept.window([key(name) for name in names], end=at(1), seconds=600)
    np.testing.assert_array_equal(seen.memory, [[number, number + 1] for number in range(500)])
    kept.forget_all_but([key(name) for name in names[1:]])
    size = kept.size
    kept.add(batch([[5]]), [key("new")])
    assert kept.size == size
    kept.save()
    kept.close()


def test_a_read_only_file_system_is_not_used(small_disk: Path) -> None:
    filled(small_disk / "store").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    kept = History(slots=SLOTS, folder=small_disk / "store")
    assert kept.trouble is not None
    assert "Read-only file system" in kept.trouble
    assert works_in_memory(kept)
    kept.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EOPNOTSUPP, errno.EIO])
def test_room_that_cannot_be_had_for_a_new_array_or_for_more_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    kept = filled(tmp_path)
    before = everything(kept)

    def refuse(file: int, offset: int, length: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    kept.add(batch([[1]] * 200, place=119), [key(f"more-{one}") for one in range(200)])
    assert same(everything(kept), before)
    assert os.strerror(number) in str(kept.trouble)
    kept.close()
    monkeypatch.undo()
    assert same(opened(tmp_path)[1], before)


def test_an_index_that_cannot_be_written_is_told_and_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = filled(tmp_path)
    size = kept.size
    kept.forget_all_but([key(name) for name in NAMES[1:]])

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refuse)
        kept.save()
        assert str(kept.trouble) == "the history cannot be saved: [Errno 28] No space left on device"
        kept.add(batch([[1]], place=119), [key("new")])
        assert kept.size > size
    kept.save()
    assert kept.trouble is None
    kept.close()
    assert set(opened(tmp_path)[0]) == {key(name) for name in [*NAMES[1:], "new"]}


# Memory

MEASURED = """
import sys
from pathlib import Path
import numpy as np
from rightsizer.history import History, PodSeries, Span, UsageBatch
from rightsizer.workload import ContainerKey, WorkloadRef

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

CONTAINERS, DAY, END = 2500, 288, 1_700_000_100 // 300 * 300
kept = History(slots=14 * DAY, folder=Path(sys.argv[1]) if sys.argv[1:] else None)
keys = [ContainerKey(WorkloadRef("shop", "Deployment", f"w{number}"), "app") for number in range(CONTAINERS)]
series = tuple(PodSeries("shop", f"w{number}", "app") for number in range(CONTAINERS))
values = np.ones((CONTAINERS, DAY), dtype=np.float32)
before = most = resident()
for day in range(14):
    for resource in ("cpu", "memory"):
        span = Span(END - (day + 1) * DAY * 300 + 300, END - day * DAY * 300)
        kept.add(UsageBatch(resource, span, series, values), keys)
    most = max(most, resident())
for start in range(0, CONTAINERS, 256):
    window = kept.window(keys[start : start + 256], end=END, seconds=14 * DAY * 300)
    most = max(most, resident())
assert not np.isnan(window.cpu).any() and not np.isnan(window.memory).any()
print(most - before)
kept.close()
"""


def resident_growth(*arguments: str) -> int:
    done = subprocess.run([sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_the_values_of_many_containers_do_not_stay_in_memory(tmp_path: Path) -> None:
    """2,500 containers are 70 MB of values."""
    assert resident_growth(str(tmp_path)) < 45e6


def test_without_a_folder_they_do() -> None:
    assert resident_growth() > 65e6
