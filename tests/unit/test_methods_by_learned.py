"""The method `Learned` as it sizes: what was learned, beside what is requested now and within the bounds of every method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rightsizer.methods import known_methods
from rightsizer.methods.finding import NOTHING_KNOWN
from rightsizer.methods.learned import NOT_WALKED, TOO_LITTLE
from rightsizer.methods.measured import Measured
from rightsizer.methods.patterns.recognising import recognise
from rightsizer.methods.recommendation import Clamp, ContainerFacts, ContainerRecommendation, Learnt
from rightsizer.methods.wishes import wishes_of
from rightsizer.profile import DEFAULT_RULE, LimitPolicy, LimitRule
from rightsizer.workload import ResourceName, Sizes
from tests.unit.builders import MI, WIDE, container_facts, usage_window

LEARNED = known_methods()["Learned"]
SLOTS = 288


def learnt(raise_to: float = 100.0, lower_to: float = 104.0, **fields: Any) -> Learnt:
    plain = Learnt("steady", "steady: why", raise_to, lower_to, 0.02, math.nan, math.nan, promised=0.003, above=0.0017, days=7.0)
    return replace(plain, **fields)


def facts(found: Mapping[ResourceName, Learnt] | None, *, now: Sizes = WIDE, **fields: Any) -> ContainerFacts:
    return replace(container_facts(sizes=now), learnt=found, **fields)


def recommended(fact: ContainerFacts, *, cpu: float = 90.0, memory: float = 300.0) -> ContainerRecommendation:
    usage = usage_window([[cpu] * SLOTS], [[memory * MI] * SLOTS])
    (found,) = LEARNED.recommend(usage, [fact])
    return found


def cpu_now(request: int | None, limit: int | None = None) -> Sizes:
    return Sizes(cpu_request=request, cpu_limit=limit)


@pytest.mark.parametrize(
    ("now", "learned", "request_now", "clamp"),
    [
        (cpu_now(90), learnt(), 100, Clamp.NONE),
        (cpu_now(100), learnt(), 100, Clamp.KEPT),
        (cpu_now(102), learnt(), 102, Clamp.KEPT),
        (cpu_now(104), learnt(lower_to=104.2), 104, Clamp.KEPT),
        (cpu_now(150), learnt(), 104, Clamp.NONE),
        (cpu_now(None), learnt(), 100, Clamp.NONE),
        # What is left out is the limit.
        (cpu_now(None, 102), learnt(), 102, Clamp.KEPT),
        (cpu_now(150), learnt(lower_to=95.0), 95, Clamp.NONE),
        (cpu_now(150), learnt(guard=130.0), 130, Clamp.MEASURED),
        (cpu_now(102), learnt(guard=130.0), 130, Clamp.MEASURED),
        (cpu_now(150), learnt(kill_floor=140.0), 140, Clamp.REPLAYED_KILL),
        (cpu_now(150), learnt(raise_to=3.0, lower_to=4.0), 10, Clamp.MINIMUM),
        (cpu_now(90), learnt(raise_to=17_000.0), 16_000, Clamp.MAXIMUM),
    ],
)
def test_the_request(now: Sizes, learned: Learnt, request_now: int, clamp: Clamp) -> None:
    found = recommended(facts({"cpu": learned}, now=now)).cpu
    assert found is not None
    assert (found.request, found.request_clamp) == (request_now, clamp)
    assert found.limit == 2 * request_now


def test_it_is_explained_like_the_other_method() -> None:
    found = recommended(facts({"cpu": learnt(), "memory": learnt(300 * MI, 310 * MI, margin=-0.033)})).cpu
    assert found is not None
    assert found.text == (
        "Learned steady of 24h (288 values, 100.0 %, 1 pod) = 101.96m; + 2 % = 103.999m, rounded up to 104m; limit 2 x 104m = 208m"
    )
    assert found.measurement.statistic == "Learned steady"
    assert found.buffer == 0.02
    assert found.choice == (
        "steady: why; a request below 100m is raised to it, one above 104m lowered to it; above the request for 0.2% of the last 7d in its "
        "replay, 0.3% are promised"
    )
    assert (found.learned, found.provisional) == (True, False)
    memory = recommended(facts({"memory": learnt(300 * MI, 310 * MI, margin=-0.033)})).memory
    assert memory is not None
    # In steps of half a per cent, upwards.
    assert "; - 3 % = 309.999Mi, rounded up to 310Mi; limit 2 x 310Mi" in memory.text


@pytest.mark.parametrize(
    ("clamp", "learned", "now", "told"),
    [
        (Clamp.KEPT, learnt(), 102, "; left at 102m, which is neither to be raised nor to be lowered; "),
        (Clamp.REPLAYED_KILL, learnt(kill_floor=140.0), 150, "; raised to 140m, because in its replay memory came above its limit; "),
        (
            Clamp.MEASURED,
            learnt(guard=129.3),
            150,
            "; raised to 130m, which Measured gives, because its replay was above its request for more than 4 x what is promised; ",
        ),
    ],
)
def test_what_bounds_it_is_told(clamp: Clamp, learned: Learnt, now: int, told: str) -> None:
    found = recommended(facts({"cpu": learned}, now=cpu_now(now))).cpu
    assert found is not None
    assert told in found.text
    assert found.request_clamp is clamp


@pytest.mark.parametrize(("found", "told", "provisional"), [(None, NOT_WALKED, True), ({}, TOO_LITTLE, False)])
def test_what_was_not_learned_is_by_measured_and_says_so(found: Mapping[ResourceName, Learnt] | None, told: str, provisional: bool) -> None:
    ours = recommended(facts(found))
    (theirs,) = Measured().recommend(usage_window([[90.0] * SLOTS], [[300.0 * MI] * SLOTS]), [container_facts()])
    for mine, other in ((ours.cpu, theirs.cpu), (ours.memory, theirs.memory)):
        assert mine is not None
        assert other is not None
        assert (mine.request, mine.measurement.statistic) == (other.request, other.measurement.statistic)
        assert (mine.choice, mine.provisional, mine.learned) == (told, provisional, False)
    # The limit is as high as the rule allows all the same.
    assert ours.wanted.memory_limit == 2 * (theirs.wanted.memory_request or 0)
    assert theirs.wanted.memory_limit != ours.wanted.memory_limit


def test_one_resource_may_be_learned_and_the_other_not() -> None:
    found = recommended(facts({"memory": learnt(300 * MI, 310 * MI)}))
    assert found.cpu is not None
    assert found.memory is not None
    assert (found.cpu.choice, found.memory.learned) == (TOO_LITTLE, True)


def test_what_really_happened_bounds_what_was_learned() -> None:
    small: Mapping[ResourceName, Learnt] = {"memory": learnt(100 * MI, 110 * MI)}
    killed = recommended(facts(small, oom_floor=800 * MI)).memory
    assert killed is not None
    assert (killed.request, killed.request_clamp) == (400 * MI, Clamp.OOM_KILL)
    near = recommended(facts(small, now=replace(WIDE, memory_limit=310 * MI))).memory
    assert near is not None
    assert (near.request, near.request_clamp) == (360 * MI, Clamp.NEAR_LIMIT)
    guaranteed = recommended(facts(small, guaranteed=True)).memory
    assert guaranteed is not None
    assert (guaranteed.request, guaranteed.limit) == (360 * MI, 360 * MI)


def test_the_limit_holds_the_peak_itself() -> None:
    usage = usage_window([[90.0] * SLOTS], [[300.0 * MI] * (SLOTS - 300) + [900.0 * MI] + [300.0 * MI] * 299])
    (found,) = LEARNED.recommend(usage, [facts({"memory": learnt(310 * MI, 320 * MI)})])
    assert found.memory is not None
    assert (found.memory.request, found.memory.request_clamp, found.memory.limit) == (450 * MI, Clamp.PEAK, 900 * MI)
    assert "raised to the peak of 900Mi, over 2 = 450Mi, because the limit has to hold the peak" in found.memory.text


def test_throttled_cpu_is_raised_as_by_measured() -> None:
    usage = usage_window([[90.0] * SLOTS], [[300.0 * MI] * SLOTS], throttled=[[0.5] * SLOTS])
    (recognised,) = recognise(usage, slice(None), [NOTHING_KNOWN])
    (ours,) = LEARNED.recommend(usage, [replace(facts({"cpu": learnt()}, now=cpu_now(90, 180)), recognised=recognised)])
    (theirs,) = Measured().recommend(usage, [replace(facts(None, now=cpu_now(90, 180)), recognised=recognised)])
    assert ours.cpu is not None
    assert theirs.cpu is not None
    assert (ours.cpu.request, ours.cpu.request_clamp) == (theirs.cpu.request, Clamp.THROTTLED)
    words = "raised, as 180m is measured where throttled values count 1 / (1 - their share of periods), up to 2 x: + 20 % = 216m"
    assert words in ours.cpu.text


@pytest.mark.parametrize("policy", [LimitPolicy.NONE, LimitPolicy.KEEP])
def test_other_limits_stay_the_rules(policy: LimitPolicy) -> None:
    rule = replace(DEFAULT_RULE, cpu=replace(DEFAULT_RULE.cpu, limit=LimitRule(policy)))
    found = recommended(facts({"cpu": learnt()}, now=cpu_now(150, 300), rule=rule)).cpu
    assert found is not None
    assert (found.request, found.limit) == (104, None if policy is LimitPolicy.NONE else 300)


def test_nothing_is_wished_where_nothing_was_learned() -> None:
    assert wishes_of([None, None], np.array([1.0, 2.0])) is None
    found = wishes_of([None, learnt()], np.array([1.0, np.nan]))
    assert found is not None
    assert np.isnan(found.levels[0])
    assert found.levels[1] * 1.02 == pytest.approx(100)
