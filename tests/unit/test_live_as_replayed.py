"""The live operator changes sizes at the speeds of the replay: the same usage, walked through by both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from rightsizer.change import Change, Outcome, start
from rightsizer.checks.differences import sizes_after
from rightsizer.cycle.assignment import assign
from rightsizer.cycle.case import Case, Proof, look
from rightsizer.cycle.proving import RENEWED_SECONDS, Proving
from rightsizer.cycle.recommending import recommend
from rightsizer.evidence.lanes import Learning
from rightsizer.evidence.learning import replay_learned
from rightsizer.evidence.replay import Course, replay
from rightsizer.evidence.sizing import sizing_of
from rightsizer.history import SLOT_SECONDS, History, PodSeries, Span, UsageBatch
from rightsizer.methods.levels import DAY_SLOTS, HOUR_SLOTS
from rightsizer.methods.pace import pace_of
from rightsizer.profile import DEFAULT_RULE, LEARNED, EvidenceRule, Mode, Profile
from rightsizer.workload import RESOURCES, Container, ContainerKey, ResourceName, Workload
from tests.unit.builders import DAY, MI, NOW, REF, WIDE, workload

FIRST = int(NOW) // 3_600 * 3_600
PROFILE = Profile(
    "shop",
    "all",
    mode=Mode.APPLY,
    window_seconds=9 * DAY,
    raise_after_seconds=DAY,
    lower_after_seconds=DAY,
    evidence=EvidenceRule(max_oom_kills=1_000, max_time_above_request=1.0),
)
LEVEL = {"cpu": 100.0, "memory": 300.0 * MI}
LIVELY = 28 * DAY_SLOTS // 12
"""From here on both walk; before it, the live one waits some hours longer for its first evidence."""

# Day at which the usage changes, and to what share of the first level.
STEPS = ((2.6, 1.3), (3.0, 0.5), (8.4, 0.9))
SPIKES = ((3.1, 1.62), (3.15, 0.9), (6.0, 0.4))
CLIMBS = ((3.1, 1.62), (3.15, 0.9), (6.0, 2.2))

BY_MEASURED, BY_LEARNED = PROFILE, replace(PROFILE, method=LEARNED)


def usage(*steps: tuple[float, float]) -> NDArray[np.float64]:
    """Of nine days."""
    shares = np.ones(9 * DAY_SLOTS)
    for day, share in steps:
        shares[int(day * DAY_SLOTS) :] = share
    return shares


def series(resource: ResourceName, shares: NDArray[np.float64]) -> dict[ResourceName, NDArray[np.float32]]:
    """The other resource stays as it is: live, both wait for each other's cool-down."""
    return {each: (LEVEL[each] * (shares if each == resource else np.ones(len(shares)))).astype(np.float32) for each in RESOURCES}


def replayed(resource: ResourceName, values: NDArray[np.float32], profile: Profile) -> Course:
    rule = DEFAULT_RULE.resource(resource)
    sizing = sizing_of(resource, rule, window_seconds=profile.window_seconds, bounded=True)
    pace, first_slot = pace_of(profile, strategy="Rollout"), FIRST // SLOT_SECONDS
    if profile.method == LEARNED:
        return replay_learned(values[np.newaxis], Learning(sizing), pace, first_slot=first_slot)[0]
    return replay(values[np.newaxis], sizing, pace, first_slot=first_slot)[0]


def lived(resource: ResourceName, values: dict[ResourceName, NDArray[np.float32]], profile: Profile) -> list[int]:
    """The request at the end of each slot, by the operator's own way to a change: replay, recommend, check."""
    history, proving = History(slots=9 * DAY_SLOTS), Proving()
    present, change = workload(Container("app", WIDE)), None
    requests = []
    key = ContainerKey(REF, "app")
    for column in range(len(values[resource])):
        slot = FIRST + column * SLOT_SECONDS
        for each in RESOURCES:
            one = values[each][np.newaxis, column : column + 1]
            history.add(UsageBatch(each, Span(slot, slot), (PodSeries("shop", "web-a", "app"),), one), [key])
        if column >= DAY_SLOTS and (column % HOUR_SLOTS == 0 or resource == "memory"):
            present, change = cycle(present, profile, change, history, proving, slot)
        requests.append(present.containers[0].sizes.request(resource) or 0)
    return requests


def cycle(
    present: Workload, profile: Profile, change: Change | None, history: History, proving: Proving, slot: int
) -> tuple[Workload, Change | None]:
    ruled = assign([present], [profile], {}).ruled
    proving.refresh(ruled.values(), history, end=slot)
    found = recommend(ruled.values(), history, {}, end=slot, held=proving.held, learnt=proving.learnt)
    proving.see(found)
    standing = look(Case(ruled[REF], found[REF], now=slot, proof=Proof(proving.of(REF, ["app"]))), change)
    allowed = standing.verdict.allowed
    if not allowed:
        return present, change
    last_lowered = None if change is None else change.last_lowered
    made = replace(start(present, allowed, now=slot, strategy="Rollout", last_lowered=last_lowered), outcome=Outcome.SUCCEEDED)
    return replace(present, containers=(Container("app", sizes_after(present, allowed)["app"]),)), made


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("profile", "resource", "steps", "minutes_late"),
    [
        (BY_MEASURED, "cpu", STEPS, 0),
        (BY_MEASURED, "memory", SPIKES, 0),
        # An hour is looked at when its late samples are in; CPU is asked for once an hour here.
        (BY_LEARNED, "cpu", STEPS, 60),
        (BY_LEARNED, "memory", CLIMBS, 20),
    ],
)
def test_the_same_usage_leads_to_the_same_changes(
    profile: Profile, resource: ResourceName, steps: tuple[tuple[float, float], ...], minutes_late: int
) -> None:
    values = series(resource, usage(*steps))
    expected, found = moves(replayed(resource, values[resource], profile).requests[0]), moves(lived(resource, values, profile))
    # Live numbers are rounded up.
    assert [size for _, size in found] == pytest.approx([size for _, size in expected], rel=0.015)
    assert len(found) >= 3
    before = found[0][1]
    for (when, size), (column, _) in zip(found, expected, strict=True):
        # What is held live by Measured is looked at every few hours only, so it may be held that much longer; memory every 5 minutes,
        # so that it may fall within the hour at whose end the replay would let it.
        late = RENEWED_SECONDS // SLOT_SECONDS if size < before and profile is BY_MEASURED else minutes_late // 5
        early = HOUR_SLOTS if size < before and resource == "memory" and profile is BY_MEASURED else 0
        assert column - early < when <= column + late or when == column
        before = size


def moves(requests: Sequence[float] | NDArray[np.float64]) -> list[tuple[int, float]]:
    """The columns at which the request moves, and to what."""
    columns = range(LIVELY, len(requests))
    return [(column, float(requests[column])) for column in columns if column == LIVELY or requests[column] != requests[column - 1]]
