from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rightsizer.history import SLOT_SECONDS, History, PodSeries, Span, UsageBatch, UsageKind, UsageWindow, last_slot
from rightsizer.history.codec import (
    EXACT_PODS,
    MOST_PODS,
    decode_pods,
    decode_share,
    decode_usage,
    encode_pods,
    encode_share,
    encode_usage,
)
from rightsizer.history.index import MOST_FORGOTTEN
from rightsizer.quantities import MEBIBYTE
from rightsizer.workload import ContainerKey, WorkloadRef

START = 1_700_000_100 // SLOT_SECONDS * SLOT_SECONDS
NAN = float("nan")


def key(name: str = "web", *, namespace: str = "shop") -> ContainerKey:
    return ContainerKey(WorkloadRef(namespace, "Deployment", name), "app")


def at(place: int) -> int:
    return START + place * SLOT_SECONDS


def batch(rows: Sequence[Sequence[float]], *, pods: Sequence[str] = (), resource: UsageKind = "memory", place: int = 0) -> UsageBatch:
    names = pods or [f"pod-{index}" for index in range(len(rows))]
    series = tuple(PodSeries("shop", name, "app") for name in names)
    return UsageBatch(resource, Span(at(place), at(place + len(rows[0]) - 1)), series, np.array(rows, dtype=np.float32))


def history(*batches: UsageBatch, slots: int = 10) -> History:
    """All series of all batches are pods of one container."""
    kept = History(slots=slots)
    for answer in batches:
        kept.add(answer, [key()] * len(answer.series))
    return kept


def window(kept: History, *, end: int, slots: int, name: str = "web") -> UsageWindow:
    return kept.window([key(name)], end=at(end), seconds=slots * SLOT_SECONDS)


def memory(kept: History, *, end: int, slots: int, name: str = "web") -> list[float | None]:
    row = window(kept, end=end, slots=slots, name=name).memory[0]
    return [None if np.isnan(value) else float(value) for value in row]


# The codec


@pytest.mark.parametrize(
    "value", [0.0, 1.0, 180.0, 2047.0, 2048.0, 320.0 * MEBIBYTE, 384.0 * MEBIBYTE, 2047.0 * MEBIBYTE, 64.0 * 2**30, 2.0**-10, 0.5]
)
def test_these_values_are_kept_exactly(value: float) -> None:
    assert decode_usage(encode_usage(np.array([value], dtype=np.float32)))[0] == value


def test_every_whole_millicore_up_to_two_cores_is_kept_exactly() -> None:
    whole = np.arange(2049, dtype=np.float32)
    np.testing.assert_array_equal(decode_usage(encode_usage(whole)), whole)


@given(st.floats(2.0**-10, 2.0**53, width=32))
def test_any_value_is_off_by_at_most_a_twentieth_of_a_percent(value: float) -> None:
    kept = float(decode_usage(encode_usage(np.array([value], dtype=np.float32)))[0])
    assert abs(kept - value) <= 0.0005 * value


@given(st.floats(0, 2.0**60, width=32), st.floats(0, 2.0**60, width=32))
def test_codes_keep_the_order_of_values(one: float, other: float) -> None:
    low, high = encode_usage(np.array(sorted((one, other)), dtype=np.float32)).tolist()
    assert 0 < low <= high


def test_every_code_comes_back_as_itself() -> None:
    codes = np.arange(2**16, dtype=np.uint16)
    np.testing.assert_array_equal(encode_usage(decode_usage(codes)), codes)


def test_what_is_no_usage_has_the_code_of_nothing_known() -> None:
    assert encode_usage(np.array([np.nan, np.inf, -np.inf, -1.0, -1e-30], dtype=np.float32)).tolist() == [0] * 5
    assert np.isnan(decode_usage(np.zeros(1, dtype=np.uint16)))[0]


def test_tiny_values_and_negative_zero_are_zero_and_huge_ones_the_most() -> None:
    kept = decode_usage(encode_usage(np.array([-0.0, 1e-30, 2.0**-12, 3e38], dtype=np.float32)))
    assert kept[:3].tolist() == [0.0, 0.0, 0.0]
    assert 1.7e16 < kept[3] < 1.9e16


def test_values_that_lie_strided_in_memory_are_encoded_alike() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(decode_usage(encode_usage(values.T)), values.T)


def test_pod_counts_are_exact_when_small_and_close_when_large() -> None:
    pods = np.arange(MOST_PODS + 1, dtype=np.int32)
    kept = decode_pods(encode_pods(pods)).astype(np.float64)
    np.testing.assert_array_equal(kept[: EXACT_PODS + 1], pods[: EXACT_PODS + 1])
    assert np.max(np.abs(kept - pods) / np.maximum(pods, 1)) <= 0.02
    assert decode_pods(encode_pods(np.array([100_000], dtype=np.int32)))[0] == MOST_PODS


def test_more_values_than_are_looked_up_at_once_are_kept_alike() -> None:
    values = np.arange(3 * 2**18, dtype=np.float32).reshape(3, -1) % 2000
    np.testing.assert_array_equal(decode_usage(encode_usage(values)), values)


@given(st.floats(0, 1, width=32))
def test_a_share_is_off_by_at_most_half_a_percent_and_never_none_where_there_was_some(share: float) -> None:
    kept = float(decode_share(encode_share(np.array([share], dtype=np.float32)))[0])
    assert abs(kept - share) <= 0.004
    assert (kept > 0) == (share > 0)


def test_shares_that_are_none_are_nothing_known_and_too_large_ones_are_all() -> None:
    kept = decode_share(encode_share(np.array([NAN, np.inf, -0.1, 0.0, 1.0, 1.7], dtype=np.float32)))
    np.testing.assert_array_equal(kept, [NAN, NAN, NAN, 0, 1, 1])


# Merging


def test_of_several_pods_the_busiest_counts_slot_by_slot() -> None:
    kept = history(batch([[1, 5, NAN], [3, 2, NAN]]), batch([[10, 50, 7], [30, 20, NAN]], resource="cpu"))
    seen = window(kept, end=2, slots=3)
    np.testing.assert_array_equal(seen.memory, [[3, 5, NAN]])
    np.testing.assert_array_equal(seen.cpu, [[30, 50, 7]])


def details(kept: History, *, end: int, slots: int) -> UsageWindow:
    return kept.window([key()], end=at(end), seconds=slots * SLOT_SECONDS, details=True)


def test_the_mean_of_cpu_is_over_the_pods_that_have_a_value() -> None:
    kept = history(batch([[10, 50, NAN, NAN], [30, NAN, 0, NAN], [50, 100, 40, NAN]], resource="cpu"))
    np.testing.assert_array_equal(details(kept, end=3, slots=4).cpu_mean, [[30, 75, 20, NAN]])


def test_the_mean_counts_a_pod_that_is_there_twice_once() -> None:
    kept = history(batch([[10], [30], [20]], pods=["a", "b", "a"], resource="cpu"))
    np.testing.assert_array_equal(details(kept, end=0, slots=1).cpu_mean, [[25]])


def test_the_mean_of_several_containers_does_not_mix() -> None:
    kept = History(slots=10)
    kept.add(batch([[1], [20], [3], [40]], resource="cpu"), [key("a"), key("b"), key("a"), key("b")])
    seen = kept.window([key("b"), key("a")], end=at(0), seconds=300, details=True)
    np.testing.assert_array_equal(seen.cpu_mean, [[30], [2]])


@given(st.lists(st.floats(0, 2.0**20, width=32), min_size=1, max_size=20))
def test_the_mean_is_off_by_at_most_a_fifth_of_a_percent(values: list[float]) -> None:
    kept = details(history(batch([[value] for value in values], resource="cpu")), end=0, slots=1).cpu_mean
    assert kept is not None
    assert abs(float(kept[0, 0]) - np.mean(values)) <= 0.002 * float(np.mean(values)) + 0.001


def test_throttled_is_that_of_the_pod_that_is_throttled_most_and_tells_nothing_of_the_rest() -> None:
    kept = history(batch([[100, 100]]), batch([[0, 0.5, NAN, 1], [0, 0.25, NAN, 0]], resource="throttled"))
    seen = details(kept, end=3, slots=4)
    np.testing.assert_allclose(np.asarray(seen.throttled), [[0, 0.5, NAN, 1]], atol=0.004)
    assert np.isnan(seen.cpu).all()
    assert seen.pods.tolist() == [[1, 1, 0, 0]]
    assert kept.newest(key()) == at(1)


def test_throttling_is_asked_for_alone_too_and_whether_there_is_any_is_known() -> None:
    kept = history(batch([[1]]))
    assert not kept.has_throttling
    kept.add(batch([[0.5]], resource="throttled"), [key()])
    seen = kept.window([key()], end=at(0), seconds=300, throttled=True)
    np.testing.assert_allclose(np.asarray(seen.throttled), [[0.5]], atol=0.004)
    assert (seen.cpu_mean, kept.has_throttling) == (None, True)


def test_details_that_were_not_asked_for_are_not_there() -> None:
    seen = window(history(batch([[1]], resource="cpu")), end=0, slots=1)
    assert seen.cpu_mean is None
    assert seen.throttled is None


def test_details_that_were_never_read_are_not_known() -> None:
    seen = details(history(batch([[1]])), end=0, slots=1)
    np.testing.assert_array_equal(seen.throttled, [[NAN]])
    np.testing.assert_array_equal(seen.cpu_mean, [[NAN]])


def test_pods_are_those_with_a_memory_value_and_cpu_leaves_them_alone() -> None:
    kept = history(batch([[1, 5, NAN], [3, NAN, NAN]]), batch([[10, 50, 7]] * 5, resource="cpu"))
    pods = window(kept, end=2, slots=3).pods
    assert pods.tolist() == [[2, 1, 0]]
    assert pods.dtype == np.uint16


def test_a_pod_that_is_there_twice_counts_once() -> None:
    kept = history(batch([[1, NAN, 8], [3, 6, 7], [2, NAN, NAN]], pods=["a", "b", "a"]))
    assert window(kept, end=2, slots=3).pods.tolist() == [[2, 1, 2]]
    assert memory(kept, end=2, slots=3) == [3, 6, 8]


def test_series_of_several_containers_in_any_order_do_not_mix() -> None:
    kept = History(slots=10)
    kept.add(batch([[1], [20], [3], [4], [50]]), [key("a"), key("b"), None, key("a"), key("b")])
    assert memory(kept, end=0, slots=1, name="a") == [4]
    assert memory(kept, end=0, slots=1, name="b") == [50]
    assert set(kept) == {key("a"), key("b")}


def test_a_later_answer_replaces_where_it_has_a_value_and_only_there() -> None:
    kept = history(batch([[10, 20, 30], [1, 1, 1]]), batch([[NAN, 5, 40, 50]]))
    assert memory(kept, end=3, slots=4) == [10, 5, 40, 50]
    assert window(kept, end=3, slots=4).pods.tolist() == [[2, 1, 1, 1]]


def test_a_measured_zero_is_a_value() -> None:
    kept = history(batch([[10]]), batch([[0]]))
    assert memory(kept, end=0, slots=1) == [0]


def test_no_values_leave_no_trace() -> None:
    kept = history(batch([[NAN, np.inf, -1.0]]))
    assert len(kept) == 0
    assert kept.newest(key()) is None
    assert memory(kept, end=2, slots=3) == [None, None, None]


def test_an_answer_without_series_is_fine() -> None:
    kept = History(slots=10)
    kept.add(UsageBatch("cpu", Span(at(0), at(1)), (), np.zeros((0, 2), dtype=np.float32)), [])
    assert len(kept) == 0


@pytest.mark.parametrize(
    ("answer", "keys"),
    [
        (batch([[1, 2]]), [key(), key()]),
        (UsageBatch("cpu", Span(at(0), at(2)), batch([[1]]).series, np.ones((1, 2), dtype=np.float32)), [key()]),
        (UsageBatch("cpu", Span(7, 7), batch([[1]]).series, np.ones((1, 1), dtype=np.float32)), [key()]),
    ],
)
def test_shapes_that_do_not_fit_are_refused(answer: UsageBatch, keys: list[ContainerKey]) -> None:
    with pytest.raises(ValueError):
        History(slots=10).add(answer, keys)


SERIES = st.lists(st.lists(st.none() | st.integers(0, 2047), min_size=4, max_size=4), min_size=1, max_size=6)


@given(SERIES, st.randoms(use_true_random=False))
def test_the_order_of_series_in_an_answer_does_not_matter(rows: list[list[int | None]], random: Random) -> None:
    values = [[NAN if value is None else value for value in row] for row in rows]
    order = list(range(len(rows)))
    random.shuffle(order)
    one = history(batch(values))
    other = history(batch([values[index] for index in order], pods=[f"pod-{index}" for index in order]))
    np.testing.assert_array_equal(window(one, end=3, slots=4).memory, window(other, end=3, slots=4).memory)
    np.testing.assert_array_equal(window(one, end=3, slots=4).pods, window(other, end=3, slots=4).pods)


@given(st.permutations(range(6)))
def test_the_order_of_answers_about_different_slots_does_not_matter(order: list[int]) -> None:
    answers = [batch([[100 + place], [90 + place]], place=place) for place in range(6)]
    kept = history(*(answers[place] for place in order))
    assert memory(kept, end=5, slots=6) == [100, 101, 102, 103, 104, 105]
    assert kept.newest(key()) == at(5)


ANSWERS = st.lists(st.tuples(st.integers(0, 30), st.lists(st.none() | st.integers(0, 2047), min_size=1, max_size=14)), max_size=12)


@settings(max_examples=200)
@given(ANSWERS, st.integers(1, 8), st.integers(-2, 50), st.integers(1, 12))
def test_it_agrees_with_a_dictionary_of_slots(answers: list[tuple[int, list[int | None]]], slots: int, end: int, length: int) -> None:
    """The model: the newest value ever seen says which slots are kept; a later answer wins."""
    kept, model = History(slots=slots), dict[int, int]()
    for place, row in answers:
        kept.add(batch([[NAN if value is None else value for value in row]], place=place), [key()])
        model |= {place + index: value for index, value in enumerate(row) if value is not None}
        model = {slot: value for slot, value in model.items() if slot > max(model) - slots}
    length = min(length, slots)
    assert memory(kept, end=end, slots=length) == [model.get(slot) for slot in range(end - length + 1, end + 1)]


STEPS = st.lists(st.tuples(st.integers(-70, 90), st.integers(1, 60)), min_size=1, max_size=25)


@given(STEPS, st.integers(49, 130))
def test_a_ring_of_many_slots_agrees_with_a_dictionary_too(steps: list[tuple[int, int]], slots: int) -> None:
    """Long enough for the newest slots to stand apart; answers overlap, come late, and leave gaps."""
    kept, model, place = History(slots=slots), dict[int, int](), 200
    for number, (step, length) in enumerate(steps):
        place = max(place + step, 0)
        values = [(place + index) * 7 % 1999 + number for index in range(length)]
        kept.add(batch([values], place=place), [key()])
        model |= dict(zip(range(place, place + length), values, strict=True))
        model = {slot: value for slot, value in model.items() if slot > max(model) - slots}
        end = max(model)
        assert memory(kept, end=end, slots=slots) == [model.get(slot) for slot in range(end - slots + 1, end + 1)]


# The ring


def test_time_moves_on_and_old_values_leave() -> None:
    kept = history(*(batch([[place]], place=place) for place in range(25)), slots=10)
    assert memory(kept, end=24, slots=10) == list(range(15, 25))


def test_a_gap_leaves_nothing_of_the_round_before() -> None:
    kept = history(batch([list(range(1, 11))]), batch([[99]], place=14), slots=10)
    assert memory(kept, end=14, slots=10) == [6, 7, 8, 9, 10, None, None, None, None, 99]
    assert memory(history(batch([list(range(1, 11))]), batch([[99]], place=500)), end=500, slots=10) == [None] * 9 + [99]


def test_time_moving_on_for_one_container_clears_the_old_values_of_the_others() -> None:
    kept = History(slots=4)
    kept.add(batch([[1, 2, 3, 4]]), [key("quiet")])
    kept.add(batch([[9]], place=5), [key("busy")])
    assert memory(kept, end=5, slots=4, name="quiet") == [3, 4, None, None]


def test_slots_older_than_the_ring_are_passed_over() -> None:
    kept = history(batch([[9]], place=20), batch([[1, 2, 3]], place=9), slots=10)
    assert memory(kept, end=20, slots=10) == [3] + [None] * 8 + [9]


def test_an_answer_longer_than_the_ring_keeps_its_end() -> None:
    assert memory(history(batch([list(range(25))]), slots=10), end=24, slots=10) == list(range(15, 25))


def test_an_empty_end_of_an_answer_does_not_move_time() -> None:
    kept = history(batch([[1, 2, 3]]), batch([[7] + [NAN] * 30], place=3), slots=10)
    assert memory(kept, end=3, slots=4) == [1, 2, 3, 7]


def test_a_window_past_the_newest_value_is_not_known_there() -> None:
    assert memory(history(batch([[1, 2, 3]]), slots=3), end=4, slots=3) == [3, None, None]


def test_a_window_longer_than_the_ring_is_cut_to_it() -> None:
    seen = history(batch([[1, 2, 3]]), slots=3).window([key()], end=at(2), seconds=30 * 86_400)
    assert seen.span == Span(at(0), at(2))
    assert seen.memory.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(("end", "seconds"), [(at(0), 299), (at(0), 0), (at(0) + 1, 3600)])
def test_a_window_that_is_no_slots_is_refused(end: int, seconds: int) -> None:
    with pytest.raises(ValueError):
        History(slots=3).window([key()], end=end, seconds=seconds)


def test_unknown_containers_stand_in_a_window_as_not_known() -> None:
    seen = history(batch([[1, 2]])).window([key("other"), key(), key("other")], end=at(1), seconds=2 * SLOT_SECONDS)
    np.testing.assert_array_equal(seen.memory, [[NAN, NAN], [1, 2], [NAN, NAN]])
    assert np.isnan(seen.cpu).all()
    assert seen.pods.tolist() == [[0, 0], [1, 1], [0, 0]]
    assert seen.keys == (key("other"), key(), key("other"))
    assert seen.memory.dtype == np.float32


def test_a_window_of_no_containers_is_empty() -> None:
    assert History(slots=3).window([], end=at(1), seconds=600).memory.shape == (0, 2)


def test_a_ring_needs_slots() -> None:
    with pytest.raises(ValueError):
        History(slots=0)


def test_growth_keeps_what_is_there() -> None:
    kept, names = History(slots=4), [f"w{index}" for index in range(300)]
    for index, name in enumerate(names):
        kept.add(batch([[index, index + 1]]), [key(name)])
    seen = kept.window([key(name) for name in names], end=at(1), seconds=2 * SLOT_SECONDS)
    np.testing.assert_array_equal(seen.memory, [[index, index + 1] for index in range(300)])


def test_only_what_was_written_takes_room() -> None:
    kept = History(slots=1000)
    assert kept.size == 0
    kept.add(batch([[1]]), [key()])
    only_memory = kept.size
    kept.add(batch([[1]], resource="cpu"), [key()])
    assert only_memory < 2 * 1000 * 3 * 1.1 < kept.size < 2 * 1000 * 7 * 1.1


def test_many_new_containers_in_one_answer_fit() -> None:
    kept, names = History(slots=4), [f"w{index}" for index in range(1000)]
    kept.add(batch([[index] for index in range(1000)]), [key(name) for name in names])
    np.testing.assert_array_equal(kept.window([key(name) for name in names], end=at(0), seconds=300).memory[:, 0], np.arange(1000))


# Newest, forgetting, what was read


def test_newest_is_the_last_slot_with_a_value_of_either_resource() -> None:
    kept = history(batch([[1, 2, NAN]]), batch([[1, NAN, NAN, 4, NAN]], resource="cpu"), batch([[5]], place=1))
    assert kept.newest(key()) == at(3)
    assert kept.newest(key("other")) is None


def test_a_forgotten_container_leaves_nothing_to_the_one_that_takes_its_row() -> None:
    kept = History(slots=4)
    kept.add(batch([[1, 2, 3, 4], [5, 6, 7, 8]]), [key("gone"), key("stays")])
    kept.add(batch([[1, 2, 3, 4]], resource="cpu"), [key("gone")])
    kept.forget_all_but([key("stays"), key("never seen")])
    size = kept.size
    assert memory(kept, end=3, slots=4, name="gone") == [None] * 4
    kept.add(batch([[9]], place=1), [key("new")])
    seen = window(kept, end=3, slots=4, name="new")
    np.testing.assert_array_equal(seen.memory, [[NAN, 9, NAN, NAN]])
    assert np.isnan(seen.cpu).all()
    assert seen.pods.tolist() == [[0, 1, 0, 0]]
    assert kept.newest(key("new")) == at(1)
    assert memory(kept, end=3, slots=4, name="stays") == [5, 6, 7, 8]
    assert kept.size == size
    assert len(kept) == 2


def test_rows_go_on_after_reuse_without_meeting() -> None:
    kept = History(slots=2)
    kept.add(batch([[1], [2], [3]]), [key("a"), key("b"), key("c")])
    kept.forget_all_but([key("c")])
    kept.add(batch([[4], [5], [6]]), [key("d"), key("e"), key("f")])
    assert [memory(kept, end=0, slots=1, name=name) for name in "cdef"] == [[3], [4], [5], [6]]


def test_what_was_read_grows_by_spans_that_touch() -> None:
    kept = History(slots=10)
    assert kept.read_span("shop") is None
    assert kept.read_spans("shop") == ()
    for start, end in ((4, 6), (7, 9), (2, 5)):
        kept.mark_read("shop", Span(at(start), at(end)))
    assert kept.read_spans("shop") == (Span(at(2), at(9)),)
    assert kept.read_span("shop") == Span(at(2), at(9))
    assert kept.read_span("other") is None


def test_over_a_gap_both_spans_count_as_read_and_the_gap_is_missing() -> None:
    kept = History(slots=10)
    for start, end in ((0, 3), (5, 6), (1, 2)):
        kept.mark_read("shop", Span(at(start), at(end)))
    assert kept.read_spans("shop") == (Span(at(0), at(3)), Span(at(5), at(6)))
    assert kept.read_span("shop") == Span(at(5), at(6))
    assert kept.missing("shop", Span(at(-1), at(8))) == (Span(at(7), at(8)), Span(at(4), at(4)), Span(at(-1), at(-1)))
    assert kept.missing("other", Span(at(0), at(1))) == (Span(at(0), at(1)),)


def test_what_was_read_drops_off_when_the_ring_has_turned() -> None:
    kept = history(batch([[1]]), slots=10)
    kept.mark_read("shop", Span(at(-9), at(-8)))
    kept.mark_read("shop", Span(at(-3), at(0)))
    kept.add(batch([[1]], place=8), [key()])
    assert kept.read_spans("shop") == (Span(at(-1), at(0)),)
    kept.mark_read("shop", Span(at(10), at(11)))
    assert kept.read_spans("shop") == (Span(at(10), at(11)),)


def test_a_namespace_that_lost_its_last_container_counts_as_not_read() -> None:
    kept = History(slots=10)
    kept.add(batch([[1], [2]]), [key("a", namespace="one"), key("b", namespace="two")])
    for namespace in ("one", "two", "empty"):
        kept.mark_read(namespace, Span(at(0), at(0)))
    kept.forget_all_but([key("b", namespace="two")])
    assert kept.read_span("one") is None
    assert kept.read_span("two") == kept.read_span("empty") == Span(at(0), at(0))


# Coming back


def two_containers(*, slots: int = 10) -> History:
    kept = History(slots=slots)
    kept.add(batch([[1], [2]]), [key("comes back"), key("stays")])
    kept.mark_read("shop", Span(at(0), at(0)))
    return kept


def test_a_container_that_was_forgotten_and_comes_back_is_known_since_then() -> None:
    kept = two_containers()
    kept.forget_all_but([key("stays")])
    kept.add(batch([[7, 8, 9]], place=4), [key("comes back")])
    assert kept.known_since(key("comes back")) == at(4)
    assert kept.known_since(key("stays")) is None
    assert kept.known_since(key("never seen")) is None


def test_a_container_that_is_new_or_was_found_late_is_known_without_a_gap() -> None:
    kept = two_containers()
    kept.forget_all_but([key("stays")])
    kept.add(batch([[7]], place=3), [key("new")])
    assert kept.known_since(key("new")) is None


def test_reading_a_namespace_again_makes_up_for_what_was_forgotten() -> None:
    kept = two_containers()
    kept.forget_all_but([key("stays")])
    kept.add(batch([[7]], place=4), [key("comes back")])
    kept.read_again("shop")
    assert kept.read_spans("shop") == ()
    assert kept.known_since(key("comes back")) is None
    assert memory(kept, end=4, slots=1, name="comes back") == [7]


def test_what_was_forgotten_leaves_no_gap_once_the_ring_has_turned() -> None:
    kept = two_containers()
    kept.forget_all_but([key("stays")])
    kept.add(batch([[7]], place=4), [key("comes back")])
    kept.add(batch([[7]], place=13), [key("stays")])
    assert kept.known_since(key("comes back")) is None
    kept = two_containers()
    kept.forget_all_but([key("stays")])
    kept.add(batch([[7]], place=10), [key("stays")])
    kept.save()
    kept.add(batch([[7]], place=10), [key("comes back")])
    assert kept.known_since(key("comes back")) is None


def test_a_namespace_that_is_read_anew_leaves_no_gap() -> None:
    kept = two_containers()
    kept.forget_all_but([])
    kept.add(batch([[7]], place=4), [key("comes back")])
    assert kept.known_since(key("comes back")) is None


def test_of_very_many_that_were_forgotten_none_looks_as_if_its_past_was_known() -> None:
    kept, names = History(slots=10), [f"job-{number}" for number in range(MOST_FORGOTTEN + 1)]
    kept.add(batch([[1]] * len(names)), [key(name) for name in names])
    kept.add(batch([[1]]), [key("stays")])
    kept.forget_all_but([key("stays")])
    kept.add(batch([[1]] * len(names), place=2), [key(name) for name in names])
    assert {kept.known_since(key(name)) for name in names} == {at(2)}


@pytest.mark.parametrize(("time", "slot"), [(START, START), (START + 299.9, START), (START + 300.0, START + 300)])
def test_the_last_slot_is_the_newest_one_that_is_over(time: float, slot: int) -> None:
    assert last_slot(time) == slot
