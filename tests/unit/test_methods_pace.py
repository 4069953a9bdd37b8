from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rightsizer.methods import pace as speed
from rightsizer.methods.pace import STRATEGIES, pace_of
from rightsizer.profile import ApplyRule, Profile

NAN = float("nan")
PROFILE = Profile("shop", "web", apply=ApplyRule(minimum_change=0.15, lower_at_most_every_seconds=7_200))


@pytest.mark.parametrize(("history", "enough"), [(86_400, True), (85_536, True), (85_535, False), (0, False)])
def test_long_enough_forgives_one_part_in_a_hundred(history: int, enough: bool) -> None:
    assert speed.long_enough(history, 86_400) is enough


@pytest.mark.parametrize(("samples", "history", "share"), [(6, 3_600, 0.5), (12, 3_600, 1), (0, 0, 0)])
def test_covered(samples: int, history: int, share: float) -> None:
    assert speed.covered(samples, history) == share


@pytest.mark.parametrize(("age", "young"), [(0, True), (900, True), (901, False)])
def test_fresh(age: int, young: bool) -> None:
    assert speed.fresh(age) is young


def test_arrays_are_judged_as_numbers_are() -> None:
    assert np.asarray(speed.long_enough(np.array([100, 98]), 100)).tolist() == [True, False]
    assert np.asarray(speed.fresh(np.array([900, 901]))).tolist() == [True, False]


@pytest.mark.parametrize(
    ("before", "after", "moves"),
    [
        (100, 110, True),
        (100, 109.9, False),
        (100, 90, True),
        (100, 90.1, False),
        (NAN, 5, True),
        (NAN, NAN, False),
        (5, NAN, False),
        (0, 0, False),
        (0, 1, True),
    ],
)
def test_far_enough(before: float, after: float, moves: bool) -> None:
    assert speed.far_enough(np.array([before]), np.array([after]), 0.1).tolist() == [moves]


@pytest.mark.parametrize(
    ("previous", "newest", "above"),
    [
        (101, 101, True),
        (101, 100, False),
        (100, 101, False),
        (NAN, 101, False),
        (101, NAN, False),
        (50, 151, True),
        (50, 150, False),
        (NAN, 151, True),
    ],
)
def test_above_request(previous: float, newest: float, above: bool) -> None:
    assert speed.above_request(np.array([previous]), np.array([newest]), np.array([100.0]), 1.5).tolist() == [above]


@pytest.mark.parametrize(("used", "limit", "near"), [(90, 100, True), (89, 100, False), (NAN, 100, False), (90, NAN, False)])
def test_near_limit(used: float, limit: float, near: bool) -> None:
    assert speed.near_limit(np.array([used]), np.array([limit])).tolist() == [near]


def test_the_pace_is_the_profiles() -> None:
    for strategy in STRATEGIES:
        found = pace_of(replace(PROFILE, raise_after_seconds=5, lower_after_seconds=6), strategy=strategy)
        assert (found.raise_after_seconds, found.lower_after_seconds, found.lower_every_seconds) == (5, 6, 7_200)
        assert (found.minimum_change, found.raise_change) == (0.15, 0.3)


def test_only_what_restarts_nothing_is_fast_and_only_what_restarts_is_held() -> None:
    in_place, rollout = (pace_of(PROFILE, strategy=strategy) for strategy in ("InPlace", "Rollout"))
    assert (in_place.fast, in_place.hold_seconds) == (True, 0)
    assert (rollout.fast, rollout.hold_seconds) == (False, speed.ROLLOUT_HOLD_SECONDS)
