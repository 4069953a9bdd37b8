"""The detectors: each on a constructed course that has what it looks for, on what only resembles it, and on recorded usage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rightsizer.cli.series_files import read_series
from rightsizer.evidence.backtest import Series
from rightsizer.history import Span, UsageWindow, Values
from rightsizer.methods.finding import NOTHING_KNOWN, NOTHING_RECOGNISED, FindingType
from rightsizer.methods.patterns import blocks
from rightsizer.methods.patterns.climb import climbs
from rightsizer.methods.patterns.presence import hot_replicas, idle, short_history, throttled_often
from rightsizer.methods.patterns.rarity import rare_peaks
from rightsizer.methods.patterns.recognising import recognise
from rightsizer.methods.patterns.shift import shifts
from rightsizer.methods.patterns.spikes import spikes
from rightsizer.workload import ContainerKey
from tests.unit.builders import MI, REF

TRACES = Path(__file__).parents[1] / "traces"
HOUR, DAY = 12, 288
NEW, TOLD = np.array([False]), np.array([True])


def row(*values: NDArray[np.floating] | float, slots: int = 0) -> Values:
    """One row of these pieces, a number standing for so many slots of it."""
    pieces = [np.full(slots, piece) if isinstance(piece, float) else piece for piece in values]
    return np.concatenate(pieces)[np.newaxis].astype(np.float32)


def noisy(level: float, slots: int, share: float = 0.02) -> NDArray[np.float64]:
    return level * (1 + share * np.random.default_rng(7).standard_normal(slots))


def daily(low: float, high: float, days: int) -> NDArray[np.float64]:
    """A day's wave, the same every day."""
    return (low + high) / 2 - (high - low) / 2 * np.cos(2 * np.pi * np.arange(days * DAY) / DAY)


def saw(start: float, end: float, *, days: float, times: int) -> NDArray[np.float64]:
    """So many climbs of so many days, each beginning anew."""
    return np.tile(np.linspace(start, end, int(days * DAY)), times) * noisy(1, int(days * DAY) * times, 0.01)


def recorded(name: str) -> dict[str, Series]:
    return {series.name: series for series in read_series([TRACES / f"{name}.csv.gz"], lambda *told: None)}


def last_weeks(values: Values) -> Values:
    return values[np.newaxis, -14 * DAY :]


class TestBlocks:
    def test_are_counted_from_the_newest_slot(self) -> None:
        values = row(np.array([9.0, *range(24)]))
        assert blocks.peaks(values, HOUR).tolist() == [[11, 23]]
        assert blocks.lows(values, HOUR).tolist() == [[0, 12]]
        assert blocks.means(values, HOUR).tolist() == [[5.5, 17.5]]

    def test_gaps_are_left_out_and_nothing_comes_of_nothing(self) -> None:
        values = row(np.array([np.nan] * 12 + [np.nan, 4.0] * 6))
        for found in (blocks.peaks(values, HOUR), blocks.lows(values, HOUR), blocks.means(values, HOUR)):
            np.testing.assert_array_equal(found, [[np.nan, 4]])

    def test_median_of_what_is_known(self) -> None:
        found = blocks.median(np.array([[3.0, np.nan, 1.0, 2.0], [4.0, 1.0, 2.0, 3.0], [np.nan] * 4]))
        np.testing.assert_array_equal(found, [2, 2.5, np.nan])


class TestClimbs:
    def test_a_saw_is_a_leak_with_its_figures(self) -> None:
        found = climbs(row(saw(400 * MI, 900 * MI, days=3, times=4)), leak_told=NEW, growth_told=NEW)
        assert found.leak.all()
        assert not found.growth.any()
        assert found.falls.tolist() == [3]
        assert found.before[0] == pytest.approx(400 * MI, rel=0.1)

    def test_a_climb_without_a_fall_is_growth(self) -> None:
        found = climbs(row(saw(400 * MI, 900 * MI, days=10, times=1)), leak_told=NEW, growth_told=NEW)
        assert not found.leak.any()
        assert found.growth.all()

    @pytest.mark.parametrize(
        "memory",
        [
            noisy(500 * MI, 14 * DAY, 0.2),
            daily(300 * MI, 900 * MI, 14),
            np.concatenate([np.linspace(100 * MI, 800 * MI, DAY // 4), np.full(13 * DAY, 800 * MI)]),
            np.tile(np.concatenate([np.linspace(100 * MI, 800 * MI, HOUR), np.full(3 * DAY - HOUR, 800 * MI)]), 4),
            np.tile(np.concatenate([np.full(DAY, 100 * MI), np.full(DAY, 800 * MI)]), 7),
            saw(400 * MI, 900 * MI, days=0.2, times=60),
            np.full(14 * DAY, 500 * MI),
            np.full(14 * DAY, np.nan),
            saw(400 * MI, 450 * MI, days=2, times=1),
            np.tile(np.repeat(np.array([400, 430, 460, 471, 482, 493, 504, 515]) * MI, 3 * HOUR), 14),
            400 * MI * (1 + 0.5 * (1 - np.exp(-np.arange(10 * DAY) / (2 * DAY)))),
        ],
        ids=[
            "noise",
            "days",
            "warm-up",
            "caches",
            "batches",
            "buffer",
            "flat",
            "nothing",
            "little",
            "warms-up-daily",
            "fills-up",
        ],
    )
    def test_what_only_resembles_it(self, memory: NDArray[np.float64]) -> None:
        found = climbs(row(memory), leak_told=NEW, growth_told=NEW)
        assert not found.leak.any()
        assert not found.growth.any()

    def test_what_is_told_is_told_on_down_to_a_lower_threshold(self) -> None:
        warming_up = np.concatenate([np.linspace(400 * MI, 450 * MI, 6 * HOUR), np.linspace(450 * MI, 505 * MI, 3 * DAY)])
        memory = row(np.tile(warming_up, 4))
        assert not climbs(memory, leak_told=NEW, growth_told=NEW).leak.any()
        assert climbs(memory, leak_told=TOLD, growth_told=NEW).leak.all()

    def test_recorded_leak(self) -> None:
        """A job of a Borg cell that climbed by a third for three days, fell back and climbed again."""
        (series,) = recorded("oddities/google-2011-job").values()
        found = climbs(last_weeks(series.memory), leak_told=NEW, growth_told=NEW)
        assert found.leak.all()

    def test_a_short_row_has_no_climb(self) -> None:
        assert not climbs(row(100.0, slots=HOUR), leak_told=TOLD, growth_told=TOLD).leak.any()


class TestShifts:
    def test_a_level_that_doubled_with_its_moment_and_figures(self) -> None:
        cpu = row(daily(50, 150, 6), daily(150, 250, 5))
        found = shifts(cpu, told=NEW)
        assert found.found.all()
        assert abs(found.column[0] - 6 * DAY) <= 3 * HOUR
        assert (found.before[0], found.after[0]) == (pytest.approx(100, rel=0.05), pytest.approx(200, rel=0.05))

    def test_downwards_as_well(self) -> None:
        assert shifts(row(daily(150, 250, 6), daily(50, 150, 5)), told=NEW).found.all()

    @pytest.mark.parametrize(
        "cpu",
        [
            daily(10, 500, 14),
            np.tile(np.concatenate([daily(100, 300, 5), daily(20, 60, 2)]), 2),
            np.concatenate([daily(20, 60, 2), daily(100, 300, 5), daily(20, 60, 2)]),
            np.concatenate([noisy(100, 12 * DAY), noisy(300, 2 * DAY)]),
            np.concatenate([noisy(100, 7 * DAY), noisy(130, 7 * DAY)]),
            np.concatenate([noisy(100, 7 * DAY), np.full(7 * DAY, np.nan)]),
            np.full(14 * DAY, np.nan),
        ],
        ids=["days", "weekends", "begins-on-a-weekend", "too-new", "within-the-buffer", "gone", "nothing"],
    )
    def test_what_only_resembles_it(self, cpu: NDArray[np.float64]) -> None:
        assert not shifts(row(cpu), told=NEW).found.any()

    def test_where_a_release_is_known_a_day_on_both_sides_is_enough(self) -> None:
        cpu = row(daily(50, 150, 2), daily(150, 250, 1))
        assert not shifts(cpu, told=NEW).found.any()
        assert shifts(cpu, told=NEW, released=np.array([2.0 * DAY])).found.all()
        assert not shifts(cpu, told=NEW, released=np.array([0.5 * DAY])).found.any()

    def test_what_is_told_is_told_on_down_to_a_lower_threshold(self) -> None:
        cpu = row(noisy(100, 7 * DAY), noisy(140, 7 * DAY))
        assert not shifts(cpu, told=NEW).found.any()
        assert shifts(cpu, told=TOLD).found.all()


class TestSpikes:
    def course(self, *, at_start: float, starts: int = 3) -> tuple[Values, NDArray[np.uint16]]:
        cpu, pods = row(noisy(100, 3 * DAY)), np.full((1, 3 * DAY), 2, dtype=np.uint16)
        for start in range(starts):
            begin = (start + 1) * DAY // 2
            cpu[0, begin : begin + 2] = at_start
            pods[0, begin : begin + 1] = 3
        return cpu, pods

    def test_cpu_that_is_high_at_each_start(self) -> None:
        cpu, pods = self.course(at_start=600)
        found = spikes(cpu, pods, told=NEW)
        assert found.found.all()
        assert (found.starts[0], found.peak[0]) == (3, 600)
        assert found.usual[0] == pytest.approx(103, abs=3)

    @pytest.mark.parametrize(("at_start", "starts"), [(100, 3), (600, 1), (600, 0)], ids=["calm", "one-start", "no-start"])
    def test_what_only_resembles_it(self, at_start: float, starts: int) -> None:
        assert not spikes(*self.course(at_start=at_start, starts=starts), told=NEW).found.any()

    def test_most_starts_must_have_it(self) -> None:
        cpu, pods = self.course(at_start=600, starts=2)
        pods[0, 300:600:20] = 3
        assert not spikes(cpu, pods, told=NEW).found.any()

    def test_high_cpu_elsewhere_too_is_no_matter_of_the_start(self) -> None:
        cpu, pods = self.course(at_start=600)
        cpu[0, ::4] = 600
        assert not spikes(cpu, pods, told=NEW).found.any()

    def test_the_first_pod_that_is_seen_may_be_old(self) -> None:
        cpu, pods = self.course(at_start=600, starts=1)
        pods[0, :50], cpu[0, :50], cpu[0, 50:53] = 0, np.nan, 600
        assert spikes(cpu, pods, told=NEW).starts.tolist() in ([0], [1])
        assert not spikes(cpu, pods, told=NEW).found.any()


class TestRarePeaks:
    def test_an_hour_a_week(self) -> None:
        cpu = row(noisy(100, 14 * DAY))
        for day in (3, 10):
            cpu[0, day * DAY : day * DAY + HOUR] = 800
        found = rare_peaks(cpu, told=NEW, least=50)
        assert found.found.all()
        assert (found.days[0], found.seen_days[0], found.peak[0], found.apart[0]) == (2, 14, 800, 7)
        assert found.usual[0] == pytest.approx(105, abs=5)

    @pytest.mark.parametrize("hours_a_day", [0, 1], ids=["never", "daily"])
    def test_what_is_not_rare(self, hours_a_day: int) -> None:
        cpu = row(noisy(100, 14 * DAY))
        cpu.reshape(14, DAY)[:, : hours_a_day * HOUR] = 800
        assert not rare_peaks(cpu, told=NEW, least=50).found.any()

    @pytest.mark.parametrize(("slots", "days", "least"), [(1, 14, 50), (HOUR, 6, 50), (HOUR, 14, 900)], ids=["blip", "new", "small"])
    def test_what_is_no_peak_worth_a_word(self, slots: int, days: int, least: float) -> None:
        cpu = row(noisy(100, days * DAY))
        cpu[0, 3 * DAY : 3 * DAY + slots] = 800
        assert not rare_peaks(cpu, told=NEW, least=least).found.any()

    def test_what_is_told_is_not_taken_back_by_the_easier_bar(self) -> None:
        """One peak is rare above 1.75 x what is usual, and above 1.5 x it there are too many of them."""
        cpu = row(noisy(100, 14 * DAY))
        usual = rare_peaks(cpu, told=NEW, least=50).usual[0]
        cpu.reshape(14, DAY)[::2, :4] = 1.6 * usual
        cpu[0, 3 * DAY : 3 * DAY + HOUR] = 2 * usual
        assert rare_peaks(cpu, told=NEW, least=50).found.all()
        again = rare_peaks(cpu, told=TOLD, least=50)
        assert (again.found.tolist(), again.days.tolist()) == ([True], [1])

    def test_a_peak_that_grew_smaller_is_told_on(self) -> None:
        cpu = row(noisy(100, 14 * DAY))
        cpu[0, 3 * DAY : 3 * DAY + HOUR] = 1.6 * rare_peaks(cpu, told=NEW, least=50).usual[0]
        assert [rare_peaks(cpu, told=told, least=50).found[0] for told in (NEW, TOLD)] == [False, True]

    def test_recorded_rare_peak(self) -> None:
        """A machine that works by day, and on one of fourteen days twice as much as on any other."""
        cpu = last_weeks(recorded("azure-v1-vm")["vm-1239939"].cpu)
        found = rare_peaks(cpu, told=NEW, least=50)
        assert found.found.all()
        assert found.days.tolist() == [1]


class TestPresence:
    def test_idle(self) -> None:
        quiet, woken = noisy(2, 3 * DAY), noisy(2, 3 * DAY)
        woken[:HOUR] = 100
        assert idle(np.concatenate([row(quiet), row(woken), row(noisy(20, 3 * DAY))]), told=np.array([False] * 3)).tolist() == [1, 0, 0]
        assert idle(row(woken), told=TOLD).all()
        assert not idle(row(quiet[: DAY - 1]), told=NEW).any()

    def test_recorded_idle_container(self) -> None:
        series = recorded("operate-first-k8s")
        assert idle(last_weeks(series["odh-dashboard/t0"].cpu), told=NEW).all()
        assert not idle(last_weeks(series["router-default/router/h0"].cpu), told=NEW).any()

    @pytest.mark.parametrize(
        ("busiest", "others", "pods", "expected"),
        [(900, 100, 5, True), (900, 100, 2, True), (900, 0, 2, True), (200, 100, 5, False), (30, 1, 5, False), (900, 0, 1, False)],
    )
    def test_hot_replica(self, busiest: float, others: float, pods: int, expected: bool) -> None:
        mean = (busiest + others * (pods - 1)) / pods
        number = np.full((1, 2 * DAY), pods, dtype=np.uint16)
        found = hot_replicas(row(busiest * 1.0, slots=2 * DAY), row(mean * 1.0, slots=2 * DAY), number, told=NEW)
        assert found.found.tolist() == [expected]
        if expected and others:
            assert found.times[0] == pytest.approx(busiest / others, rel=1e-3)

    def test_recorded_hot_replica(self) -> None:
        """Two routers behind one address, of which one does nearly all."""
        pods = [series for name, series in recorded("operate-first-k8s").items() if name.startswith("router-default/router/")]
        first, last = max(one.first_slot for one in pods), min(one.first_slot + one.slots for one in pods)
        cpu = np.stack([one.cpu[first - one.first_slot : last - one.first_slot] for one in pods])
        number = np.full((1, cpu.shape[1]), len(pods), dtype=np.uint16)
        found = hot_replicas(cpu.max(axis=0)[np.newaxis], cpu.mean(axis=0)[np.newaxis], number, told=NEW)
        assert found.found.all()
        assert found.times[0] > 3

    @pytest.mark.parametrize(("slots", "found", "told_on"), [(0, False, False), (6, False, True), (12, True, True)])
    def test_throttled_often(self, slots: int, found: bool, told_on: bool) -> None:
        cpu, throttled = row(100.0, slots=200), row(np.nan, slots=200)
        throttled[0, :slots] = 0.3
        often, share = throttled_often(throttled, cpu, told=NEW)
        assert (often.tolist(), share.tolist()) == ([found], [slots / 200])
        assert throttled_often(throttled, cpu, told=TOLD)[0].tolist() == [told_on]

    @pytest.mark.parametrize(("seen_days", "window_days", "short", "hours"), [(2, 14, True, 48), (7, 14, False, 168), (1, 1, False, 24)])
    def test_short_history(self, seen_days: int, window_days: int, short: bool, hours: int) -> None:
        values = row(np.full((window_days - seen_days) * DAY, np.nan), np.full(seen_days * DAY, 5.0))
        found, seen = short_history(values, values)
        assert (found.tolist(), seen.tolist()) == ([short], [hours])

    def test_nothing_seen_is_not_short(self) -> None:
        nothing = row(np.nan, slots=14 * DAY)
        assert not short_history(nothing, nothing)[0].any()


def window(cpu: Values, memory: Values) -> UsageWindow:
    slots = cpu.shape[1]
    keys = tuple(ContainerKey(REF, f"c{number}") for number in range(len(cpu)))
    return UsageWindow(keys, Span(300, slots * 300), cpu, memory, np.ones(cpu.shape, dtype=np.uint16))


class TestRecognising:
    def test_findings_of_a_row_are_in_one_order_and_have_figures(self) -> None:
        usage = window(row(noisy(2, 12 * DAY)), row(saw(400 * MI, 900 * MI, days=3, times=4)))
        (found,) = recognise(usage, slice(0, 1), [NOTHING_KNOWN])
        assert [each.type for each in found.findings] == [FindingType.MEMORY_LEAK, FindingType.IDLE]
        assert "fell back 3 times" in found.findings[0].message
        assert found.leak_start == pytest.approx(400 * MI, rel=0.1)

    def test_rows_do_not_touch_each_other(self) -> None:
        steady, leaking = row(500.0 * MI, slots=12 * DAY), row(saw(400 * MI, 900 * MI, days=3, times=4))
        usage = window(np.repeat(row(noisy(100, 12 * DAY)), 3, axis=0), np.concatenate([steady, leaking, steady]))
        found = recognise(usage, slice(1, 3), [NOTHING_KNOWN] * 2)
        assert [[each.type for each in mine.findings] for mine in found] == [[FindingType.MEMORY_LEAK], []]

    def test_a_shift_tells_when(self) -> None:
        usage = window(row(noisy(100, 6 * DAY), noisy(300, 6 * DAY)), row(500.0 * MI, slots=12 * DAY))
        (found,) = recognise(usage, slice(0, 1), [NOTHING_KNOWN])[0].findings
        assert found.type == FindingType.LEVEL_SHIFT
        assert (
            found.message == "since about 1970-01-07 00:00 UTC CPU is 300m in the mean, before 100m: as after a release, but none was seen"
        )

    @pytest.mark.parametrize("later", [0, 1, 6, 11])
    def test_a_rare_peak_is_one_whenever_it_is_looked_for(self, later: int) -> None:
        """What runs for an hour of the clock on eight days is in eight hours, and not in sixteen that begin in the midst of it."""
        cpu = row(noisy(100, 14 * DAY))
        cpu.reshape(14, DAY)[:8, 9 * HOUR : 10 * HOUR] = 180
        cpu[0, 3 * DAY : 3 * DAY + HOUR] = 300
        usage = window(np.roll(cpu, -later, axis=1), row(500.0 * MI, slots=14 * DAY))
        usage = replace(usage, span=Span(usage.span.start + later * 300, usage.span.end + later * 300))
        (found,) = recognise(usage, slice(0, 1), [NOTHING_KNOWN])
        assert [each.type for each in found.findings] == [FindingType.RARE_PEAK]

    @pytest.mark.parametrize("slots", [0, 1, 100])
    def test_hardly_any_slots(self, slots: int) -> None:
        empty = np.zeros((1, slots), dtype=np.float32)
        assert recognise(window(empty, empty), slice(0, 1), [NOTHING_KNOWN]) == [NOTHING_RECOGNISED]

    @pytest.mark.parametrize("name", ["operate-first-k8s", "google-2011-job", "azure-v1-vm", "nezha-online-boutique"])
    def test_recorded_usage_gives_hardly_any_alarm(self, name: str) -> None:
        """Looked at one by one: no leak is among these 93 series and no level changed for good; one peak is rare."""
        no_alarms = {FindingType.IDLE, FindingType.SHORT_HISTORY}
        found = []
        for series in recorded(name).values():
            memory = np.where(series.memory > 0, series.memory, np.float32(np.nan))
            (mine,) = recognise(window(last_weeks(series.cpu), last_weeks(memory)), slice(0, 1), [NOTHING_KNOWN])
            found += [(series.name, each.type) for each in mine.findings if each.type not in no_alarms]
        assert found == ([("vm-1239939", FindingType.RARE_PEAK)] if name == "azure-v1-vm" else [])
