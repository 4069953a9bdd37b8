from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from html.parser import HTMLParser

import numpy as np
import pytest

from rightsizer.cli.drawing import Axis, decades, path, ticks
from rightsizer.cli.page import HARMS, as_page, marks_of, worst
from rightsizer.cli.timeline import MOST_POINTS, timeline, track
from rightsizer.cli.tradeoff import Mark, front, tradeoff
from rightsizer.evidence.backtest import Decision, Series, Verdict, backtest
from rightsizer.evidence.rules import measured, rule_of
from rightsizer.history import SLOT_SECONDS
from rightsizer.methods.levels import DAY_SLOTS
from rightsizer.methods.pace import pace_of
from rightsizer.profile import DAY_SECONDS, Profile
from rightsizer.quantities import MEBIBYTE

SVG = "{http://www.w3.org/2000/svg}"
FIRST = 5_500_000
PROFILE = Profile("n", "p", raise_after_seconds=DAY_SECONDS, lower_after_seconds=DAY_SECONDS)


def series(name: str, *, days: int = 4, step: float = 0.0, memory: bool = True) -> Series:
    """100m and 100Mi, in the second half `step` times as much more."""
    level = np.full(days * DAY_SLOTS, 100.0, dtype=np.float32)
    level[len(level) // 2 :] *= 1 + step
    return Series(name, FIRST, level, level * np.float32(MEBIBYTE) if memory else np.full_like(level, np.nan))


def decision(slot: int, size: float) -> Decision:
    return Decision((FIRST + slot) * SLOT_SECONDS + 1, size, 2 * size, size * MEBIBYTE, 2 * size * MEBIBYTE, "")


def page(*found: Series, rules: tuple[str, ...] = ("mean+20", "perfect")) -> str:
    plans = [
        measured(PROFILE.default_rule, window_seconds=PROFILE.window_seconds, bounded=(False, False)),
        *(rule_of(name, window_seconds=PROFILE.window_seconds) for name in rules),
    ]
    courses: dict[str, Sequence[Decision]] = {}
    verdicts: list[Verdict] = []
    for plan in plans:

        def take(one: Series, decided: Sequence[Decision], first: bool = not verdicts) -> None:
            if first:
                courses[one.name] = decided

        verdicts.append(backtest(found, plan, pace_of(PROFILE, strategy="Rollout"), take=take))
    return as_page(verdicts, found, courses, told="what was replayed")


class Reader(HTMLParser):
    """What a browser would find: elements, the words of headings and cells, and whether everything is closed."""

    VOID = ("meta", "line", "path", "circle", "rect", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: dict[str, list[str]] = {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.words.setdefault(self.open[-1], []).append(data)

    def number(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)


def test_a_page_needs_nothing_from_elsewhere() -> None:
    text = page(series("a"), series("b", step=1))
    found = Reader(text)
    assert not {"script", "link", "img", "iframe", "object"} & {name for name, _ in found.found}
    assert not [value for _, attributes in found.found for name, value in attributes.items() if name in ("src", "href") or name[:2] == "on"]
    assert set(re.findall(r"\w+://[^\"'<> ]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text
    assert "url(" not in text


def test_a_page_has_plots_tables_and_the_worst() -> None:
    found = Reader(page(series("calm"), series("jumpy", step=3)))
    assert [name for name in found.words["h3"] if name.strip()] == ["jumpy", "calm"]
    assert (found.number("table"), found.number("article"), found.number("svg")) == (2, 2, 3 + 2 * 2)
    assert found.words["td"][0] == "Measured"
    assert {"mean+20", "perfect"} <= set(found.words["td"])
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in found.found


def test_light_dark_and_paper() -> None:
    text = page(series("a"))
    assert text.count("@media screen and (prefers-color-scheme: dark)") == 2
    assert "@media print" in text


def test_names_are_escaped_everywhere() -> None:
    name = "<script>alert('&')</script>"
    text = page(series(name, step=1))
    assert "<script" not in text
    assert "".join(Reader(text).words["h3"]) == name


def test_at_most_ten_are_shown_by_name_among_equals() -> None:
    found = Reader(page(*(series(f"s{number:02}") for number in range(12, 0, -1))))
    assert found.words["h3"] == [f"s{number:02}" for number in range(1, 11)]


def test_a_resource_without_values_is_left_out() -> None:
    found = Reader(page(series("a", memory=False)))
    assert found.words["h3"] == ["a"]
    assert found.number("svg") == 1 + 1  # one plot of slack, one line over time


def test_the_worst_have_most_harm_of_all_kinds() -> None:
    found = [series("calm"), series("jumpy", step=3), series("restless", step=0.3)]
    verdict = backtest(found, rule_of("mean+20", window_seconds=DAY_SECONDS), pace_of(PROFILE, strategy="Rollout"))
    frame = worst(verdict, most=2)
    assert list(frame.index) == ["jumpy", "restless"]
    assert frame.loc["jumpy", HARMS[2].heading] > 0


def test_marks_are_means_with_ours_first_and_the_ideal_apart() -> None:
    found = [series("a"), series("b", memory=False)]
    verdicts = [
        backtest(found, rule_of(name, window_seconds=DAY_SECONDS), pace_of(PROFILE, strategy="Rollout"))
        for name in ("krr", "vpa", "perfect")
    ]
    marks = marks_of(verdicts, HARMS[0])
    assert [(mark.name, mark.kind) for mark in marks] == [("krr", "ours"), ("vpa", "rule"), ("perfect", "ideal")]
    assert [mark.slack for mark in marks] == pytest.approx([0, 100 * (1 - 1 / 1.15), 0], abs=0.01)


@pytest.mark.parametrize(
    ("marks", "names"),
    [
        ([Mark("a", 10, 2), Mark("b", 20, 1), Mark("c", 30, 3)], "ab"),
        ([Mark("a", 10, 2), Mark("b", 10, 1)], "b"),
        ([Mark("a", 10, 2), Mark("b", 5, 1)], "b"),
        ([Mark("a", 10, 2), Mark("b", 5, 1, "ideal")], "a"),
        ([Mark("a", 10, 2, "ours"), Mark("b", 20, 2)], "a"),
        ([], ""),
    ],
)
def test_front_holds_what_no_other_beats_in_both(marks: list[Mark], names: str) -> None:
    assert "".join(mark.name for mark in front(marks)) == names


def test_tradeoff_draws_every_rule_inside_the_frame() -> None:
    marks = [Mark("ours & <co>", 20, 0.3, "ours"), Mark("none", 35, 0), Mark("bad", -23, 15.8), Mark("ideal", 22, 0, "ideal")]
    root = ET.fromstring(tradeoff("CPU", "time above", marks, alone=True))
    spots = {circle.attrib["class"]: circle for circle in root.iter(f"{SVG}circle")}
    assert set(spots) == {"ours", "rule", "ideal"}
    assert len(list(root.iter(f"{SVG}circle"))) == 4
    assert {"ours & <co>", "none", "bad", "ideal", "CPU", "time above, %"} <= {text.text for text in root.iter(f"{SVG}text")}
    assert all(0 < float(circle.attrib["cx"]) < 420 and 0 < float(circle.attrib["cy"]) < 330 for circle in root.iter(f"{SVG}circle"))
    assert root.find(f"{SVG}style") is not None


def test_one_rule_alone_is_drawn_too() -> None:
    root = ET.fromstring(tradeoff("CPU", "harm", [Mark("only", 20, 0, "ours")]))
    assert len(list(root.iter(f"{SVG}circle"))) == 1


def test_a_track_keeps_peaks_and_the_request_in_force_at_them() -> None:
    one = series("a", days=10)
    one.cpu[1_000] = 700
    found = track(one, [decision(100, 120), decision(1_000, 840)], "cpu", most=100)
    assert len(found.times) == 100
    peak = int(np.nanargmax(found.used))
    # What was decided at the end of the slot of the peak is in force after it.
    assert (found.used[peak], found.requests[peak], found.times[peak]) == (700, 120, (FIRST + 1_000) * SLOT_SECONDS)
    assert math.isnan(found.requests[0])
    every = track(one, [decision(100, 120), decision(1_000, 840)], "cpu", most=one.slots)
    assert every.requests[[100, 101, 1_000, 1_001]].tolist() == pytest.approx([math.nan, 120, 120, 840], nan_ok=True)
    assert found.requests[-1] == 840
    assert track(one, [], "memory").limits.shape == track(one, [], "memory").times.shape


@pytest.mark.parametrize("slots", [1, 499, 500, 501, 4_032, 100_001])
def test_a_track_has_at_most_so_many_points(slots: int) -> None:
    values = np.arange(slots, dtype=np.float32)
    found = track(Series("a", 1, values, values), [], "cpu")
    assert len(found.times) <= MOST_POINTS
    assert found.used[-1] == slots - 1
    assert (np.diff(found.times) > 0).all()


def test_gaps_interrupt_the_line() -> None:
    one = series("a", days=1)
    one.cpu[100:150] = np.nan
    root = ET.fromstring(timeline("CPU", track(one, [decision(10, 120)], "cpu"), "cpu", shows_limit=False))
    paths = {found.attrib["class"]: found.attrib["d"] for found in root.iter(f"{SVG}path")}
    assert (paths["used"].count("M"), paths["request"].count("M")) == (2, 1)
    assert "limit" not in paths


@pytest.mark.parametrize(("size", "label"), [(180.0, "100Mi"), (5_000.0, "2Gi"), (0.0, "0Mi")])
def test_a_memory_axis_is_binary(size: float, label: str) -> None:
    one = series("a", days=1)
    one.memory[:] = size * MEBIBYTE
    root = ET.fromstring(timeline("Memory", track(one, [], "memory"), "memory", shows_limit=True))
    assert label in {text.text for text in root.iter(f"{SVG}text")}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 3, [0, 1, 2, 3]), (-23, 42, [-40, -20, 0, 20, 40, 60]), (5, 5, None), (0, 0, None)],
)
def test_ticks_are_round_and_enclose(low: float, high: float, expected: list[float] | None) -> None:
    found = ticks(low, high, most=4)
    assert found == (expected or found)
    assert found[0] <= low
    assert found[-1] >= high
    assert len(found) >= 2


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.01, 0.01, [0.01, 0.1]), (0.01, 3, [0.01, 0.1, 1, 10]), (0.01, 10, [0.01, 0.1, 1, 10])]
)
def test_decades_enclose(low: float, high: float, expected: list[float]) -> None:
    assert decades(low, high) == pytest.approx(expected)


def test_an_axis_keeps_to_its_ends() -> None:
    logarithmic = Axis(0.01, 1, 100, 300, logarithmic=True)
    assert [logarithmic.at(value) for value in (0, 0.01, 0.1, 1, 5)] == pytest.approx([100, 100, 200, 300, 300])
    assert Axis(0, 10, 0, 100).at(5) == 50


def test_a_stepped_path_holds_its_height() -> None:
    assert (
        path([(0, 5), (1, 5), (2, 7), (3, math.nan), (4, 8)], "k", stepped=True) == '<path d="M0.0 5.0h0H1.0H2.0V7.0M4.0 8.0h0" class="k"/>'
    )
    assert path([(0, math.nan)], "k") == ""
