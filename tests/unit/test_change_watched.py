"""Watching a change and taking it back: signs of harm, whom they blame, how long is watched, what is put back, how long is waited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from rightsizer.change import (
    Change,
    Outcome,
    Progress,
    Sign,
    SignKind,
    Watch,
    back_off_seconds,
    observe,
    raises,
    restless,
    signs_of,
    start_reversal,
    to_be_reverted,
)
from rightsizer.change.signs import blamed
from rightsizer.pod import Pod, PodContainer
from rightsizer.workload import Container, FieldPath, RolloutPhase, Sizes, Workload
from tests.unit.builders import DAY, GI, NOW, WIDE, WORKED, workload

COMPLETE = Progress(RolloutPhase.COMPLETE)
OOM = Sign(SignKind.OOM_KILL, "app", "container app of pod web-1 was killed for memory", NOW + 60)
CRASH = Sign(SignKind.CRASH_LOOP, "app", "it crashes")
UNREADY = Sign(SignKind.NOT_READY, "", "not ready")
THROTTLED = Sign(SignKind.THROTTLED, "app", "throttled")


def change(outcome: Outcome = Outcome.IN_PROGRESS, *, previous: Sizes = WIDE, applied: Sizes = WORKED, **fields: object) -> Change:
    return replace(Change(NOW, "Rollout", outcome, {"app": previous}, {"app": applied}), **fields)  # type: ignore[arg-type]


def in_force(sizes: Sizes = WORKED) -> Workload:
    return workload(Container("app", sizes))


def look(before: Change, *signs: Sign, after: float = 60, period: int = 1_800, peak: float | None = None, blind: bool = False) -> Change:
    watch = Watch(now=NOW + after, period_seconds=period, memory_peak_at=peak, signs=signs, blind=blind)
    return observe(before, in_force(), COMPLETE, watch)


class TestWatched:
    def test_half_an_hour_from_when_all_pods_have_it(self) -> None:
        found = look(change(), after=300)
        assert (found.outcome, found.watched_until) == (Outcome.VERIFYING, NOW + 300 + 1_800)
        assert look(found, after=300 + 1_799) == found
        ended = look(found, after=300 + 1_800)
        assert (ended.outcome, ended.watched_until) == (Outcome.SUCCEEDED, None)

    def test_not_at_all(self) -> None:
        assert look(change(), period=0).outcome is Outcome.SUCCEEDED

    def test_what_nobody_could_see_is_not_verified(self) -> None:
        watched = look(change())
        assert look(watched, after=DAY, blind=True) == watched

    @pytest.mark.parametrize("before", [Outcome.IN_PROGRESS, Outcome.VERIFYING])
    @pytest.mark.parametrize("sign", [OOM, CRASH, UNREADY, THROTTLED], ids=lambda sign: sign.kind)
    def test_harm_ends_it_with_its_words(self, before: Outcome, sign: Sign) -> None:
        found = look(change(before, watched_until=NOW + 1_800), sign)
        assert (found.outcome, found.message) == (Outcome.FAILED, sign.message)

    def test_memory_that_was_lowered_is_watched_until_its_peak_hour_has_passed(self) -> None:
        watched = look(change(), peak=NOW + 20_000)
        assert watched.memory_watched_until == NOW + 20_000
        ended = look(watched, after=3_600)
        assert (ended.outcome, ended.memory_watched_until) == (Outcome.SUCCEEDED, NOW + 20_000)
        assert look(ended, replace(OOM, at=NOW + 19_000), after=19_500).outcome is Outcome.FAILED
        assert look(ended, CRASH, after=19_500) == ended
        late = look(ended, replace(OOM, at=NOW + 20_001), after=20_010)
        assert (late.outcome, late.memory_watched_until) == (Outcome.SUCCEEDED, None)

    @pytest.mark.parametrize("peak", [NOW + 100, None], ids=["before-the-end", "unknown"])
    def test_no_longer_than_the_rest_where_the_peak_comes_before(self, peak: float | None) -> None:
        assert look(change(), peak=peak).memory_watched_until is None

    def test_memory_that_was_raised_is_not(self) -> None:
        raised = change(previous=WORKED, applied=replace(WORKED, memory_limit=3 * GI))
        found = observe(raised, in_force(replace(WORKED, memory_limit=3 * GI)), COMPLETE, Watch(NOW, 1_800, NOW + 20_000))
        assert (found.outcome, found.memory_watched_until) == (Outcome.VERIFYING, None)

    def test_a_change_that_takes_back_is_not_watched(self) -> None:
        back = change(reverts="OOM", failures=2)
        found = look(back, OOM, CRASH)
        assert (found.outcome, found.failures, found.message) == (Outcome.SUCCEEDED, 2, "the former values are back: OOM")

    def test_one_that_does_well_forgets_the_failures_before(self) -> None:
        assert look(change(failures=2), period=0).failures == 0


class TestBlame:
    @pytest.mark.parametrize(
        ("sign", "applied", "expected"),
        [
            (OOM, replace(WIDE, memory_limit=GI), {"app.memory.limit"}),
            (OOM, replace(WIDE, memory_limit=GI, cpu_request=1), {"app.memory.limit"}),
            (OOM, replace(WIDE, memory_limit=9 * GI), set()),
            (OOM, replace(WIDE, cpu_request=1), set()),
            (replace(OOM, container="other"), replace(WIDE, memory_limit=GI), set()),
            (THROTTLED, replace(WIDE, cpu_limit=1), {"app.cpu.limit"}),
            (THROTTLED, replace(WIDE, memory_limit=GI), set()),
            (CRASH, replace(WIDE, memory_limit=9 * GI), {"app.memory.limit"}),
            (replace(CRASH, container="other"), replace(WIDE, cpu_request=1), set()),
            (UNREADY, replace(WIDE, cpu_request=1), {"app.cpu.request"}),
        ],
    )
    def test_whom_a_sign_speaks_against(self, sign: Sign, applied: Sizes, expected: set[str]) -> None:
        assert {str(one.path) for one in blamed(change(applied=applied), sign)} == expected

    def test_nobody_is_blamed_for_what_was_not_changed(self) -> None:
        raised = replace(WORKED, memory_limit=3 * GI)
        found = observe(change(previous=WORKED, applied=raised), in_force(raised), COMPLETE, Watch(NOW, 1_800, signs=(OOM,)))
        assert found.outcome is Outcome.VERIFYING


def pod(*containers: PodContainer, unready_since: float | None = None) -> Pod:
    return Pod("shop", "web-1", None, "Running", NOW - 10, containers, ready=unready_since is None, unready_since=unready_since)


class TestSigns:
    @pytest.mark.parametrize(
        ("fields", "kinds"),
        [
            ({}, []),
            ({"oom_killed_at": NOW + 5, "ended_at": NOW + 5, "waiting": "CrashLoopBackOff"}, [SignKind.OOM_KILL]),
            ({"oom_killed_at": NOW - 1, "ended_at": NOW - 1}, []),
            ({"ended_at": NOW + 5, "restarts": 1}, [SignKind.RESTART]),
            ({"ended_at": NOW - 1, "waiting": "CrashLoopBackOff"}, []),
            ({"ended_at": NOW + 5, "waiting": "CrashLoopBackOff"}, [SignKind.CRASH_LOOP]),
            ({"waiting": "ContainerCreating"}, []),
        ],
    )
    def test_of_a_container(self, fields: Mapping[str, float | str], kinds: list[SignKind]) -> None:
        found = signs_of([pod(replace(PodContainer("app", GI), **fields))], since=NOW, now=NOW + 60)  # type: ignore[arg-type]
        assert [sign.kind for sign in found] == kinds

    @pytest.mark.parametrize(
        ("since", "now", "seen"), [(NOW + 10, NOW + 609, False), (NOW + 10, NOW + 610, True), (NOW - 900, NOW + 10, False)]
    )
    def test_of_a_pod_that_does_not_get_ready(self, since: float, now: float, seen: bool) -> None:
        found = signs_of([pod(unready_since=since)], since=NOW, now=now)
        assert [sign.kind for sign in found] == ([SignKind.NOT_READY] if seen else [])

    def test_restarts_of_what_restarts_anyway_tell_nothing_but_a_kill_does(self) -> None:
        crashing = PodContainer("app", GI, ended_at=NOW + 5, waiting="CrashLoopBackOff")
        assert signs_of([pod(crashing)], since=NOW, now=NOW, restless=["app"]) == ()
        killed = replace(crashing, oom_killed_at=NOW + 5)
        assert [sign.kind for sign in signs_of([pod(killed)], since=NOW, now=NOW, restless=["app"])] == [SignKind.OOM_KILL]

    @pytest.mark.parametrize(("created", "restarts", "seen"), [(NOW - 10, 1, True), (NOW, 1, False), (NOW, 2, True)])
    def test_one_restart_of_a_new_pod_tells_nothing(self, created: float, restarts: int, seen: bool) -> None:
        restarted = replace(pod(PodContainer("app", GI, restarts=restarts, ended_at=NOW + 5)), created_at=created)
        assert bool(signs_of([restarted], since=NOW, now=NOW + 60)) == seen

    def test_what_restarts_anyway(self) -> None:
        pods = [
            pod(PodContainer("app", GI, ended_at=NOW - 100), PodContainer("quiet", GI), PodContainer("old", GI, ended_at=NOW - 2 * DAY)),
            pod(PodContainer("crashing", GI, ended_at=NOW - 2 * DAY, waiting="CrashLoopBackOff")),
        ]
        assert restless(pods, now=NOW) == ("app", "crashing")


class TestTakenBack:
    def test_what_was_applied_goes_back_to_what_was(self) -> None:
        fields = to_be_reverted(change(Outcome.FAILED), in_force())
        back = start_reversal(change(Outcome.FAILED, failures=1, last_lowered=NOW), in_force(), fields, now=NOW + 900, cause="OOM")
        assert (back.previous, back.applied) == ({"app": WORKED}, {"app": WIDE})
        assert (back.outcome, back.time, back.reverts, back.failures) == (Outcome.STARTED, NOW + 900, "OOM", 2)
        assert back.last_lowered == NOW
        assert not raises(replace(back, outcome=Outcome.SUCCEEDED))

    def test_what_others_set_since_is_left(self) -> None:
        edited = replace(WORKED, cpu_request=111)
        assert FieldPath("app", "cpu", "request") not in {one.path for one in to_be_reverted(change(Outcome.FAILED), in_force(edited))}

    def test_a_container_that_is_gone_is_left(self) -> None:
        assert to_be_reverted(change(Outcome.FAILED), workload(Container("other", WORKED))) == ()

    @pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.FAILED])
    def test_only_what_failed(self, outcome: Outcome) -> None:
        assert to_be_reverted(change(outcome), in_force()) == ()

    @pytest.mark.parametrize(
        ("outcome", "possible"),
        [
            (Outcome.STARTED, False),
            (Outcome.IN_PROGRESS, True),
            (Outcome.VERIFYING, True),
            (Outcome.SUCCEEDED, True),
            (Outcome.UNDONE, False),
        ],
    )
    def test_or_what_a_person_asks_for(self, outcome: Outcome, possible: bool) -> None:
        assert bool(to_be_reverted(change(outcome), in_force(), asked=True)) == possible

    def test_a_change_that_was_refused_left_nothing_to_put_back(self) -> None:
        assert to_be_reverted(change(Outcome.FAILED), in_force(WIDE)) == ()

    def test_taking_back_is_not_taken_back(self) -> None:
        assert to_be_reverted(change(Outcome.FAILED, reverts="OOM"), in_force()) == ()

    @pytest.mark.parametrize(("failures", "days"), [(0, 0), (1, 1), (2, 2), (3, 7), (9, 7)])
    def test_the_next_one_waits_longer_each_time(self, failures: int, days: int) -> None:
        assert back_off_seconds(failures) == days * DAY
