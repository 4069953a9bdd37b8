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


def cut(one: Series, slots: int) -> Series:
    return Series(one.name, one.first_slot, one.cpu[:slots], one.memory[:slots])


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
    rows = [attributes for name, attributes in found.found if name == "th" and attributes["scope"] == "row"]
    assert len(rows) == 2 * 3
    assert found.words["th"][:8] == [
        *("CPU, 2 series", "slack %", "above request %", "unmet %", "above limit %", "changes/day", "Measured", "mean+20"),
    ]
    assert "OOM-free days %" in found.words["th"]
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
    assert (found.number("table"), "Memory: nothing was judged." in found.words["p"]) == (1, True)


def test_nothing_judged_is_told() -> None:
    found = Reader(page(cut(series("a", days=1), 100)))
    assert found.number("table") == 0
    assert {"CPU: nothing was judged.", "nothing was judged"} <= set(found.words["p"])
    assert any(words.startswith("Nothing could be judged") for words in found.words["p"])


@pytest.mark.parametrize(("rules", "line", "future"), [((), False, False), (("mean+20",), True, False), (("perfect",), False, True)])
def test_only_what_is_drawn_is_explained(rules: tuple[str, ...], line: bool, future: bool) -> None:
    told = " ".join(Reader(page(series("a", step=0.3), rules=rules)).words["p"])
    assert ("dashed line" in told, "hollow mark" in told) == (line, future)


def test_wide_tables_can_be_scrolled_by_keys() -> None:
    found = Reader(page(series("a")))
    regions = [attributes for name, attributes in found.found if name == "div" and attributes.get("class") == "wide"]
    assert {(one["tabindex"], one["role"]) for one in regions} == {("0", "region")}
    assert [one["aria-label"] for one in regions] == ["CPU: figures of each rule", "Memory: figures of each rule"]
    assert found.number("main") == 1


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


def test_one_rule_alone_is_drawn_too_on_an_axis_of_some_width() -> None:
    root = ET.fromstring(tradeoff("CPU", "harm", [Mark("only", 20.123, 0, "ours")]))
    assert len(list(root.iter(f"{SVG}circle"))) == 1
    assert [text.text for text in root.iter(f"{SVG}text")][1:8] == ["17", "18", "19", "20", "21", "22", "23"]


def test_what_lies_far_out_is_drawn_at_the_edge_which_says_so() -> None:
    root = ET.fromstring(tradeoff("CPU", "harm", [Mark("far", -255, 8), Mark("a", 20, 1, "ours"), Mark("b", 40, 0)]))
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert "≤-60" in words
    assert "≤0.01" in words
    far = next(circle for circle in root.iter(f"{SVG}circle") if (circle[0].text or "").startswith("far: slack -255.00 %"))
    assert far.attrib["cx"] == "58.0"


def boxes(root: ET.Element, names: set[str]) -> dict[str, tuple[float, float, float, float]]:
    """What the names cover, by a letter of 6 x 9 pixels."""
    found = {}
    for text in root.iter(f"{SVG}text"):
        if text.text in names:
            x, y, width = float(text.attrib["x"]), float(text.attrib["y"]), 6.0 * len(text.text)
            left = x - {"start": 0, "middle": width / 2, "end": width}[text.attrib["text-anchor"]]
            found[text.text] = (left, y - 9, left + width, y)
    return found


def apart(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


@pytest.mark.parametrize(
    "places",
    [
        [(10.0, 1.0)] * 6,  # all in one spot
        [(10.0 + number / 10, 1.0) for number in range(6)],
        [(10.0, 1.0), (60.0, 0.0), (60.0, 15.0), (-40.0, 15.0), (-300.0, 0.0), (58.0, 0.0)],  # at the edges
    ],
)
def test_names_cover_neither_each_other_nor_a_mark_nor_leave_the_drawing(places: list[tuple[float, float]]) -> None:
    names = ["Measured", "autopilot", "hour-of-day", "p95+20", "vpa", "perfect"]
    marks = [Mark(name, *place, "rule" if number else "ours") for number, (name, place) in enumerate(zip(names, places, strict=True))]
    root = ET.fromstring(tradeoff("CPU", "harm", marks))
    found = boxes(root, set(names))
    circles = [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in root.iter(f"{SVG}circle")]
    spots = [(x - 4, y - 4, x + 4, y + 4) for x, y in circles]
    assert len(found) == len(names)
    for number, box in enumerate(found.values()):
        assert all(apart(box, other) for other in [*list(found.values())[:number], *spots])
        assert box[0] >= 0
        assert box[2] <= 420


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


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (1, ["2022-04-15 05:20", "2022-04-16 05:15"]),
        (7, ["2022-04-15", "04-18", "04-19", "04-20", "2022-04-22"]),
        (14, ["2022-04-15", "04-20", "04-22", "04-24", "2022-04-29"]),
        (100, ["2022-04-15", "05-14", "05-28", "06-11", "06-25", "2022-07-24"]),
    ],
)
def test_days_are_told_as_far_as_there_is_room(days: int, words: list[str]) -> None:
    root = ET.fromstring(timeline("CPU", track(series("a", days=days), [], "cpu"), "cpu", shows_limit=False))
    found = [text for text in root.iter(f"{SVG}text") if text.attrib["y"] == "143.0"]
    assert sorted(text.text or "" for text in found) == sorted(words)
