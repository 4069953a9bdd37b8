"""The checks that look at the change before: watched, taken back, undone by others; and whose fields may be taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rightsizer.checks import judge
from rightsizer.checks.chain import backing_off, owned_by_gitops, reverted_by_other, verifying
from rightsizer.checks.creation import memory_in_use
from rightsizer.checks.facts import CheckFacts, Failure, FieldChange, Objection, Reason, Undone
from rightsizer.checks.pressure import relieves, under_pressure
from rightsizer.methods.recommendation import Clamp, ContainerRecommendation
from rightsizer.profile import ApplyRule, Profile
from rightsizer.workload import Container, FieldPath, Sizes
from tests.unit.builders import DAY, GI, MI, NOW, WIDE, WORKED, check_facts, recommendation, workload

MIXED = Sizes(cpu_request=100, cpu_limit=200, memory_request=GI, memory_limit=2 * GI)
"""The CPU of it is raised, the memory lowered."""

LITTLE = Sizes(cpu_request=500, cpu_limit=1000, memory_request=128 * MI, memory_limit=192 * MI)
CPU = {"app.cpu.request", "app.cpu.limit"}
MEMORY = {"app.memory.request", "app.memory.limit"}


def facts(sizes: Sizes = WIDE, *, clamp: Clamp = Clamp.NONE, newest: float = 0.0, **fields: Any) -> CheckFacts:
    """`clamp`: of the memory limit; `newest`: memory in use."""
    found = recommendation(current=sizes)
    assert found.memory is not None
    memory = replace(found.memory, limit_clamp=clamp, measurement=replace(found.memory.measurement, last_value=newest))
    rule = {name: fields.pop(name) for name in ("strategy", "take_ownership") if name in fields}
    profile = Profile("shop", "web", apply=replace(ApplyRule(), **rule))
    managers = fields.pop("managers", {})
    deployment = workload(Container("app", sizes), managers=managers)
    return check_facts(deployment, [replace(found, memory=memory)], profile=profile, **fields)


def held(objection: Objection | None) -> set[str]:
    assert objection is None or objection.paths is not None
    return set() if objection is None else {str(path) for path in objection.paths or ()}


class TestPressure:
    @pytest.mark.parametrize(
        ("sizes", "clamp", "newest", "expected"),
        [
            (LITTLE, Clamp.NEAR_LIMIT, 0, True),
            (LITTLE, Clamp.OOM_KILL, 0, True),
            (LITTLE, Clamp.PEAK, 0, False),
            (LITTLE, Clamp.NONE, 0.9 * 192 * MI, True),
            (LITTLE, Clamp.NONE, 0.89 * 192 * MI, False),
            (replace(LITTLE, memory_limit=None), Clamp.NONE, 500 * MI, False),
            (WIDE, Clamp.NEAR_LIMIT, 2 * GI, False),
        ],
    )
    def test_raises_of_memory_that_is_too_little(self, sizes: Sizes, clamp: Clamp, newest: float, expected: bool) -> None:
        found = facts(sizes, clamp=clamp, newest=newest)
        assert under_pressure(found.recommendations, found.changes) == expected

    def test_never_of_cpu(self) -> None:
        found = facts(replace(LITTLE, cpu_request=100), clamp=Clamp.NEAR_LIMIT)
        relieving = {str(change.path) for change in found.changes if relieves(found.recommendations, change)}
        assert relieving == MEMORY

    def test_nor_of_what_nothing_is_known_of(self) -> None:
        recommendations: dict[str, ContainerRecommendation] = {}
        assert not relieves(recommendations, FieldChange(FieldPath("app", "memory", "limit"), 1, 2))


class TestVerifying:
    @pytest.mark.parametrize(
        ("strategy", "sizes", "clamp", "expected"),
        [
            ("Rollout", WIDE, Clamp.NONE, CPU | MEMORY),
            ("Rollout", MIXED, Clamp.NONE, CPU | MEMORY),
            ("Rollout", LITTLE, Clamp.NONE, CPU | MEMORY),
            ("Rollout", LITTLE, Clamp.OOM_KILL, CPU),
            ("InPlace", WIDE, Clamp.NONE, CPU | MEMORY),
            ("InPlace", MIXED, Clamp.NONE, MEMORY),
            ("OnCreate", MIXED, Clamp.NONE, MEMORY),
            ("OnCreate", LITTLE, Clamp.NONE, CPU),
        ],
    )
    def test_what_is_held(self, strategy: str, sizes: Sizes, clamp: Clamp, expected: set[str]) -> None:
        assert held(verifying(facts(sizes, clamp=clamp, strategy=strategy, verifying=True))) == expected

    def test_nothing_where_nothing_is_watched(self) -> None:
        assert verifying(facts()) is None

    def test_nothing_where_all_of_it_may_pass(self) -> None:
        assert verifying(facts(Sizes(100, 200, 128 * MI, 192 * MI), strategy="InPlace", verifying=True)) is None


class TestBackingOff:
    FAILED = Failure(NOW - 60, "it was killed", DAY)

    @pytest.mark.parametrize(
        ("sizes", "clamp", "raised", "expected"),
        [
            (WIDE, Clamp.NONE, (), CPU | MEMORY),
            (LITTLE, Clamp.NONE, (), CPU | MEMORY),
            (LITTLE, Clamp.OOM_KILL, (), CPU),
            (LITTLE, Clamp.NEAR_LIMIT, ("limit",), CPU | {"app.memory.limit"}),
            (LITTLE, Clamp.NEAR_LIMIT, ("limit", "request"), CPU | MEMORY),
        ],
    )
    def test_what_is_held(self, sizes: Sizes, clamp: Clamp, raised: Sequence[Any], expected: set[str]) -> None:
        failure = replace(self.FAILED, raised=frozenset(FieldPath("app", "memory", field) for field in raised))
        assert held(backing_off(facts(sizes, clamp=clamp, failure=failure))) == expected

    @pytest.mark.parametrize(("now", "held_back"), [(NOW - 61 + DAY, True), (NOW - 60 + DAY, False)])
    def test_until_its_time_is_over(self, now: float, held_back: bool) -> None:
        assert (backing_off(facts(failure=self.FAILED, now=now)) is not None) == held_back


class TestRevertedByOther:
    def undone(self, **values: int | None) -> Undone:
        return Undone("argocd", NOW - 60, {FieldPath("app", "cpu", "request"): values.get("request", 500)})

    def test_what_stands_as_they_left_it(self) -> None:
        objection = reverted_by_other(facts(undone=self.undone()))
        assert held(objection) == {"app.cpu.request"}
        assert objection is not None
        assert objection.message == ("argocd put the values from before the change of 2025-11-20 11:59 UTC back; they are left as they are")

    def test_nothing_that_they_set_to_another_value_since(self) -> None:
        assert reverted_by_other(facts(undone=self.undone(request=600))) is None

    def test_a_number_that_they_took_away_again(self) -> None:
        found = facts(replace(WIDE, cpu_limit=None))
        undone = Undone("", NOW, {FieldPath("app", "cpu", "limit"): None})
        objection = reverted_by_other(replace(found, undone=undone))
        assert (held(objection), objection is not None and objection.message[:8]) == ({"app.cpu.limit"}, "somebody")

    def test_nothing_was_undone(self) -> None:
        assert reverted_by_other(facts()) is None


class TestMemoryInUse:
    @pytest.mark.parametrize(
        ("strategy", "peak", "expected"),
        [
            ("InPlace", 480 * MI, set()),
            ("InPlace", 481 * MI, {"app.memory.limit"}),
            ("InPlace", 2 * GI, {"app.memory.limit"}),
            ("Rollout", 2 * GI, set()),
            ("OnCreate", 2 * GI, set()),
        ],
    )
    def test_a_limit_stays_clear_of_the_peak(self, strategy: str, peak: float, expected: set[str]) -> None:
        profile = Profile("shop", "web", apply=ApplyRule(strategy=strategy))
        found = check_facts(recommendations=[recommendation(peak=peak)], profile=profile)
        assert held(memory_in_use(found)) == expected

    def test_a_limit_that_is_raised_is_none_of_it(self) -> None:
        profile = Profile("shop", "web", apply=ApplyRule(strategy="InPlace"))
        found = check_facts(workload(Container("app", LITTLE)), [recommendation(current=LITTLE, peak=2 * GI)], profile=profile)
        assert memory_in_use(found) is None


class TestOwned:
    @pytest.mark.parametrize(
        ("manager", "rule", "reason"),
        [
            ("argocd-controller", "FromTools", Reason.OWNED_BY_GITOPS),
            ("argocd-controller", "Never", Reason.OWNED_BY_GITOPS),
            ("argocd-controller", "Always", None),
            ("kubectl-edit", "FromTools", None),
            ("kubectl-edit", "Never", Reason.OWNED_BY_OTHER),
            ("kubectl-edit", "Always", None),
            ("helm", "Never", Reason.OWNED_BY_OTHER),
        ],
    )
    def test_whose_fields_are_taken(self, manager: str, rule: str, reason: Reason | None) -> None:
        found = facts(managers={FieldPath("app", "cpu", "limit"): manager}, take_ownership=rule)
        objection = owned_by_gitops(found)
        assert (None if objection is None else objection.reason) == reason
        assert held(objection) == (set() if reason is None else {"app.cpu.limit"})
        assert objection is None or manager in objection.message

    def test_a_controller_is_told_before_a_tool(self) -> None:
        managers = {FieldPath("app", "cpu", "limit"): "kubectl", FieldPath("app", "memory", "limit"): "flux"}
        objection = owned_by_gitops(facts(managers=managers, take_ownership="Never"))
        assert held(objection) == {"app.memory.limit"}


def test_what_two_of_them_leave_is_allowed() -> None:
    found = facts(MIXED, verifying=True, strategy="OnCreate", undone=Undone("", NOW, {FieldPath("app", "cpu", "limit"): 200}))
    assert WORKED.cpu_request is not None
    # The request alone would rise above the limit that stays.
    assert judge(found).allowed == ()
    assert [objection.reason for objection in judge(found).objections][:2] == [Reason.VERIFYING, Reason.REVERTED_BY_OTHER]
