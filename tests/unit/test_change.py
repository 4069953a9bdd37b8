from __future__ import annotations

from dataclasses import replace

import pytest

from rightsizer.change import Change, Outcome, Progress, Watch, by_rollout, observe, raises, start
from rightsizer.checks.facts import FieldChange
from rightsizer.workload import Container, FieldPath, RolloutPhase, Sizes, Workload
from tests.unit.builders import GI, MI, NOW, WIDE, WORKED, check_facts, workload

NOT_WATCHED = Watch()
OTHER = WORKED.with_value("memory", "limit", 7 * MI)
COMPLETE, IN_PROGRESS, FAILED = RolloutPhase.COMPLETE, RolloutPhase.IN_PROGRESS, RolloutPhase.FAILED
ENDED = [Outcome.FAILED, Outcome.SUPERSEDED, Outcome.UNDONE, Outcome.ABANDONED]


def change(outcome: Outcome, *, last_lowered: float | None = None) -> Change:
    return Change(NOW, "Rollout", outcome, {"app": WIDE}, {"app": WORKED}, last_lowered, "as before")


def look(before: Change, found: Workload, watch: Watch = NOT_WATCHED) -> Change:
    """Not watched, unless told otherwise."""
    return observe(before, found, by_rollout(found), watch)


def template(sizes: Sizes, rollout: RolloutPhase = COMPLETE, words: str = "") -> Workload:
    return workload(Container("app", sizes), Container("other", WIDE), rollout=rollout, rollout_message=words)


@pytest.mark.parametrize(
    ("before", "sizes", "rollout", "after", "message"),
    [
        (Outcome.STARTED, WORKED, IN_PROGRESS, Outcome.IN_PROGRESS, "the API's words"),
        (Outcome.STARTED, WORKED, COMPLETE, Outcome.SUCCEEDED, "every pod runs with the new values"),
        (Outcome.STARTED, WORKED, FAILED, Outcome.FAILED, "the API's words"),
        (Outcome.STARTED, WIDE, COMPLETE, Outcome.ABANDONED, "recorded, but not made"),
        (Outcome.STARTED, WIDE, IN_PROGRESS, Outcome.ABANDONED, "recorded, but not made"),
        (Outcome.IN_PROGRESS, WIDE, COMPLETE, Outcome.UNDONE, "somebody else put the former value of app.cpu.limit back"),
        (Outcome.IN_PROGRESS, WIDE, FAILED, Outcome.UNDONE, "somebody else put the former value of app.cpu.limit back"),
        (Outcome.IN_PROGRESS, OTHER, COMPLETE, Outcome.SUPERSEDED, "somebody else changed app.memory.limit since"),
        (Outcome.VERIFYING, WIDE, COMPLETE, Outcome.UNDONE, "somebody else put the former value of app.cpu.limit back"),
        (Outcome.SUCCEEDED, WIDE, COMPLETE, Outcome.UNDONE, "somebody else put the former value of app.cpu.limit back"),
        (Outcome.SUCCEEDED, OTHER, COMPLETE, Outcome.SUCCEEDED, "as before"),
        (Outcome.SUCCEEDED, WORKED, FAILED, Outcome.SUCCEEDED, "as before"),
        (Outcome.IN_PROGRESS, WORKED, IN_PROGRESS, Outcome.IN_PROGRESS, "the API's words"),
        (Outcome.IN_PROGRESS, WORKED, COMPLETE, Outcome.SUCCEEDED, "every pod runs with the new values"),
        (Outcome.IN_PROGRESS, WORKED, FAILED, Outcome.FAILED, "the API's words"),
    ],
)
def test_what_became_of_it(before: Outcome, sizes: Sizes, rollout: RolloutPhase, after: Outcome, message: str) -> None:
    found = look(change(before, last_lowered=NOW - 5), template(sizes, rollout, "the API's words"))
    last_lowered = None if after is Outcome.ABANDONED else NOW - 5
    assert found == replace(change(after, last_lowered=last_lowered), message=message)


@pytest.mark.parametrize("outcome", ENDED)
@pytest.mark.parametrize("sizes", [WIDE, WORKED])
@pytest.mark.parametrize("rollout", list(RolloutPhase))
def test_an_ended_change_stays_as_it_is(outcome: Outcome, sizes: Sizes, rollout: RolloutPhase) -> None:
    assert look(change(outcome), template(sizes, rollout)) == change(outcome)


@pytest.mark.parametrize("before", [Outcome.STARTED, Outcome.IN_PROGRESS])
def test_looking_again_at_the_same_comes_to_an_end(before: Outcome) -> None:
    for sizes in (WIDE, WORKED):
        once = look(change(before), template(sizes))
        twice = look(once, template(sizes))
        assert twice.outcome.ended
        assert look(twice, template(sizes)) == twice


@pytest.mark.parametrize("rollout", [IN_PROGRESS, FAILED])
def test_a_rollout_without_words_gets_ours(rollout: RolloutPhase) -> None:
    assert look(change(Outcome.IN_PROGRESS), template(WORKED, rollout)).message


@pytest.mark.parametrize(("sizes", "after"), [(WORKED, Outcome.SUCCEEDED), (WIDE, Outcome.ABANDONED)])
@pytest.mark.parametrize("rollout", list(RolloutPhase))
def test_sizes_at_creation_have_no_rollout(sizes: Sizes, after: Outcome, rollout: RolloutPhase) -> None:
    begun = replace(change(Outcome.STARTED), strategy="OnCreate")
    found = template(sizes, rollout)
    complete = Progress(COMPLETE)
    assert observe(observe(begun, found, complete, Watch()), found, complete, Watch()).outcome is after


def test_one_number_that_differs_is_somebody_elses() -> None:
    other = WORKED.with_value("memory", "limit", None)
    assert look(change(Outcome.IN_PROGRESS), template(other)).outcome is Outcome.SUPERSEDED


def test_a_container_that_is_gone_is_somebody_elses_change() -> None:
    found = look(change(Outcome.IN_PROGRESS), workload(Container("renamed", WORKED)))
    assert (found.outcome, found.message) == (Outcome.SUPERSEDED, "somebody else changed container app (it is gone) since")


def test_a_container_that_was_not_changed_may_change() -> None:
    deployment = workload(Container("app", WORKED), Container("other", WORKED))
    assert look(change(Outcome.IN_PROGRESS), deployment).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("before", [NOW - 90_000, None])
def test_a_change_that_was_not_made_starts_no_cool_down(before: float | None) -> None:
    begun = replace(change(Outcome.STARTED, last_lowered=NOW), lowered_before=before)
    assert look(begun, template(WIDE)).last_lowered == before


def test_start_records_full_sizes_before_and_after() -> None:
    facts = check_facts()
    cpu_request = [each for each in facts.changes if each.path == FieldPath("app", "cpu", "request")]
    found = start(facts.workload, cpu_request, now=NOW + 0.7, strategy="Rollout")
    assert found == Change(
        time=NOW,
        strategy="Rollout",
        outcome=Outcome.STARTED,
        previous={"app": WIDE},
        applied={"app": replace(WIDE, cpu_request=216)},
        last_lowered=NOW,
        message="recorded, being made",
    )


def test_a_change_that_only_raises_carries_the_former_lowering_on() -> None:
    raised = FieldChange(FieldPath("app", "memory", "limit"), 2 * GI, 3 * GI)
    found = start(workload(), [raised], now=NOW, strategy="Rollout", last_lowered=NOW - 7)
    assert found.last_lowered == found.lowered_before == NOW - 7
    assert found.applied == {"app": replace(WIDE, memory_limit=3 * GI)}


def test_containers_without_a_change_are_not_recorded() -> None:
    deployment = workload(Container("app", WIDE), Container("other", WIDE))
    lowered = FieldChange(FieldPath("other", "memory", "request"), GI, 384 * MI)
    found = start(deployment, [lowered], now=NOW, strategy="Rollout")
    assert set(found.previous) == set(found.applied) == {"other"}


@pytest.mark.parametrize(
    ("previous", "applied", "expected"),
    [
        (WIDE, WORKED, False),
        (WORKED, WIDE, True),
        (WORKED, replace(WORKED, memory_limit=GI), True),
        (WORKED, replace(WORKED, cpu_limit=None), True),
        (replace(WORKED, cpu_limit=None), WORKED, False),
        (WIDE, replace(WORKED, cpu_request=501), True),
        (WORKED, WORKED, False),
    ],
)
def test_whether_it_gave_more(previous: Sizes, applied: Sizes, expected: bool) -> None:
    made = Change(NOW, "Rollout", Outcome.SUCCEEDED, {"app": previous}, {"app": applied})
    assert raises(made) == expected
    assert not raises(replace(made, outcome=Outcome.ABANDONED))
