"""What the namespace and the API server allow, check by check: LimitRanges, quotas, and what only pods sized at creation have to pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rightsizer.checks.chain import judge
from rightsizer.checks.confines import Amount, Bounds, Confines, LimitRange, Quota
from rightsizer.checks.creation import beyond_template, pods_of
from rightsizer.checks.facts import CheckFacts, FieldChange, Reason
from rightsizer.checks.limit_range import within_bounds
from rightsizer.profile import ApplyRule, Profile
from rightsizer.workload import Container, FieldPath, ResourceName, Role, SizeField, Sizes, Workload
from tests.unit.builders import GI, MI, WIDE, WORKED, check_facts, recommendation, workload

SMALL = Sizes(cpu_request=100, cpu_limit=200, memory_request=128 * MI, memory_limit=192 * MI)
ON_CREATE = Profile("shop", "web", apply=ApplyRule(strategy="OnCreate"))
CPU_REQUESTS: Amount = ("cpu", "request")


def ranges(*bounds: Bounds) -> tuple[LimitRange, ...]:
    return (LimitRange("shop", "limits", bounds),)


def limited(*bounds: Bounds, deployment: Workload | None = None) -> CheckFacts:
    """From WIDE to WORKED, unless told otherwise, within these bounds."""
    facts = check_facts(deployment, confines=Confines(limit_ranges=ranges(*bounds)))
    return replace(facts, changes=within_bounds(facts.changes, facts.confines.limit_ranges))


def of_reason(facts: CheckFacts, reason: Reason) -> str:
    return next((found.message for found in judge(facts).objections if found.reason is reason), "")


def allowed(facts: CheckFacts) -> dict[str, int | None]:
    return {str(change.path): change.after for change in judge(facts).allowed}


def change(resource: ResourceName, field: SizeField, before: int | None, after: int | None) -> FieldChange:
    return FieldChange(FieldPath("app", resource, field), before, after)


class TestMovedToBounds:
    @pytest.mark.parametrize(
        ("bounds", "before", "after", "moved"),
        [
            (Bounds(), 500, 216, 216),
            (Bounds(least={"cpu": 300}), 500, 216, 300),
            (Bounds(most={"cpu": 200}), 500, 216, 200),
            (Bounds(least={"memory": 300}), 500, 216, 216),
            (Bounds(least={"cpu": 300}, most={"cpu": 400}), 500, 600, 400),
            # Nothing would change then: the check tells of it.
            (Bounds(least={"cpu": 500}), 500, 216, 216),
            (Bounds(per_pod=True, least={"cpu": 300}), 500, 216, 216),
            (Bounds(least={"cpu": 300}), 500, None, None),
        ],
    )
    def test_a_number(self, bounds: Bounds, before: int, after: int | None, moved: int | None) -> None:
        (found,) = within_bounds([change("cpu", "request", before, after)], ranges(bounds))
        assert (found.before, found.after) == (before, moved)

    def test_all_limit_ranges_count(self) -> None:
        both = (*ranges(Bounds(least={"cpu": 250})), *ranges(Bounds(least={"cpu": 300})))
        assert within_bounds([change("cpu", "request", 500, 216)], both)[0].after == 300


class TestLimitRangeForbids:
    @pytest.mark.parametrize(
        ("bounds", "words"),
        [
            (Bounds(least={"cpu": 500}), "app.cpu.request: 216m is below the minimum 500m of LimitRange limits"),
            (Bounds(ratio={"cpu": 1.5}), "app.cpu: the limit is 2 x the request, above the maxLimitRequestRatio 1.5 of LimitRange limits"),
            (Bounds(per_pod=True, least={"cpu": 300}), "the pod's cpu request: 216m is below the minimum 300m of LimitRange limits"),
            (
                Bounds(per_pod=True, most={"memory": 512 * MI}),
                "the pod's memory limit: 576Mi is above the maximum 512Mi of LimitRange limits",
            ),
            (
                Bounds(per_pod=True, ratio={"memory": 1.2}),
                "the pod's memory: the limit is 1.5 x the request, above the maxLimitRequestRatio 1.2",
            ),
        ],
    )
    def test_says_what_is_outside(self, bounds: Bounds, words: str) -> None:
        assert words in of_reason(limited(bounds), Reason.LIMIT_RANGE_FORBIDS)

    @pytest.mark.parametrize(
        "bounds",
        [
            Bounds(least={"cpu": 216}, most={"cpu": 432, "memory": 576 * MI}),
            Bounds(ratio={"cpu": 2.0, "memory": 1.5}),
            Bounds(per_pod=True, least={"cpu": 216}, most={"cpu": 432}, ratio={"cpu": 2.0}),
        ],
    )
    def test_is_silent_on_the_edge(self, bounds: Bounds) -> None:
        facts = limited(bounds)
        assert len(judge(facts).allowed) == 4

    def test_the_other_resource_is_still_sized_at_creation_where_it_would_be_refused_all_the_same(self) -> None:
        facts = replace(limited(Bounds(ratio={"cpu": 1.5})), profile=ON_CREATE)
        assert allowed(facts) == {"app.memory.request": 384 * MI, "app.memory.limit": 576 * MI}

    @pytest.mark.parametrize("strategy", ["Rollout", "InPlace"])
    def test_a_pod_that_is_outside_as_it_is_would_be_refused_as_a_whole(self, strategy: str) -> None:
        profile = Profile("shop", "web", apply=ApplyRule(strategy=strategy))
        facts = replace(limited(Bounds(ratio={"cpu": 1.5})), profile=profile)
        assert allowed(facts) == {}
        assert "app.cpu: the limit is 2 x the request" in of_reason(facts, Reason.LIMIT_RANGE_FORBIDS)

    def test_the_other_resource_is_still_sized_where_the_pod_stays_within(self) -> None:
        facts = limited(Bounds(per_pod=True, least={"cpu": 300}))
        assert allowed(facts) == {"app.memory.request": 384 * MI, "app.memory.limit": 576 * MI}

    def test_a_moved_number_is_allowed(self) -> None:
        assert allowed(limited(Bounds(least={"cpu": 300})))["app.cpu.request"] == 300

    def test_every_violation_is_held_back_at_once(self) -> None:
        facts = replace(limited(Bounds(least={"cpu": 500}), Bounds(ratio={"memory": 1.2})), profile=ON_CREATE)
        assert set(allowed(facts)) == {"app.cpu.limit"}

    def test_sidecars_and_init_containers_count_for_the_pod(self) -> None:
        deployment = workload(Container("app", WIDE), Container("proxy", SMALL, Role.SIDECAR), Container("setup", SMALL, Role.INIT))
        assert of_reason(limited(Bounds(per_pod=True, least={"cpu": 317}), deployment=deployment), Reason.LIMIT_RANGE_FORBIDS)
        assert not of_reason(limited(Bounds(per_pod=True, least={"cpu": 316}), deployment=deployment), Reason.LIMIT_RANGE_FORBIDS)

    def test_a_container_without_limits_has_none_to_be_too_far(self) -> None:
        deployment = workload(Container("app", Sizes(cpu_request=500)))
        facts = check_facts(deployment, confines=Confines(limit_ranges=ranges(Bounds(ratio={"cpu": 1.1}))))
        only_request = replace(facts, changes=(change("cpu", "request", 500, 216),))
        assert not of_reason(only_request, Reason.LIMIT_RANGE_FORBIDS)

    def test_nothing_to_change_is_nothing_to_hold_back(self) -> None:
        facts = check_facts(workload(Container("app", WORKED)), confines=Confines(limit_ranges=ranges(Bounds(least={"cpu": 500}))))
        assert judge(facts).objections == ()


def raising(*quotas: Quota, **confines: Any) -> CheckFacts:
    """`app` from SMALL to WORKED in two pods, at creation, within these quotas."""
    template = workload(Container("app", SMALL))
    found = Confines(**{"quotas": quotas, "template": template, **confines})
    return check_facts(template, [recommendation(current=SMALL)], profile=ON_CREATE, confines=found)


def quota(hard: int, used: int | None = 0, amount: Amount = CPU_REQUESTS) -> Quota:
    return Quota("shop", "quota", {amount: hard}, {} if used is None else {amount: used})


class TestQuotaExceeded:
    # Three pods at a time (two and one more while they are replaced) ask for 116m more each.
    @pytest.mark.parametrize(
        ("hard", "used", "promised", "held"),
        [(348, 0, 0, False), (347, 0, 0, True), (1000, 652, 0, False), (1000, 653, 0, True), (348, 0, 1, True), (10_000, None, 0, True)],
    )
    def test_there_must_be_room_for_all_pods(self, hard: int, used: int | None, promised: int, held: bool) -> None:
        facts = raising(quota(hard, used), promised={CPU_REQUESTS: promised})
        assert bool(of_reason(facts, Reason.QUOTA_EXCEEDED)) == held
        assert ("app.cpu.request" in allowed(facts)) != held

    def test_says_what_is_asked_and_nothing_that_moves(self) -> None:
        assert of_reason(raising(quota(200, 17)), Reason.QUOTA_EXCEEDED) == (
            "ResourceQuota quota (cpu requests 200m) has no room for 3 pods that ask for 116m more each than the template does"
        )

    def test_what_the_quota_does_not_count_is_raised(self) -> None:
        assert set(allowed(raising(quota(0)))) == {"app.memory.request", "app.memory.limit", "app.cpu.limit"}

    @pytest.mark.parametrize("amount", [("memory", "request"), ("cpu", "limit"), ("memory", "limit")])
    def test_each_amount(self, amount: Amount) -> None:
        assert of_reason(raising(quota(0, amount=amount)), Reason.QUOTA_EXCEEDED)

    def test_less_than_the_template_needs_no_room(self) -> None:
        facts = check_facts(profile=ON_CREATE, confines=Confines(quotas=(quota(0),), template=workload()))
        assert len(judge(facts).allowed) == 4

    def test_a_raise_that_stays_below_the_template_needs_no_room(self) -> None:
        facts = raising(quota(0), template=workload(Container("app", WIDE)))
        assert not of_reason(facts, Reason.QUOTA_EXCEEDED)

    def test_a_rollout_is_judged_by_what_the_pods_have_now(self) -> None:
        facts = replace(raising(quota(231), template=workload(Container("app", WORKED))), profile=Profile("shop", "web"))
        assert of_reason(facts, Reason.QUOTA_EXCEEDED)
        assert not of_reason(replace(facts, profile=ON_CREATE), Reason.QUOTA_EXCEEDED)


class TestBeyondTemplate:
    def test_sums_over_containers_and_pods(self) -> None:
        template = workload(Container("app", SMALL), Container("proxy", SMALL))
        found = beyond_template(template, {"app": WORKED, "proxy": replace(SMALL, cpu_request=50)})
        assert found == {
            ("cpu", "request"): (116 - 50) * 3,
            ("cpu", "limit"): 232 * 3,
            ("memory", "request"): 256 * MI * 3,
            ("memory", "limit"): 384 * MI * 3,
        }

    def test_of_less_there_is_nothing(self) -> None:
        assert beyond_template(workload(), {"app": WORKED}) == {}

    @pytest.mark.parametrize(("replicas", "pods"), [(0, 1), (1, 2), (4, 5), (5, 7), (100, 125)])
    def test_pods_at_a_time(self, replicas: int, pods: int) -> None:
        assert pods_of(workload(replicas=replicas)) == pods


class TestAtCreationOnly:
    def test_without_the_policies_nothing_is_changed(self) -> None:
        facts = check_facts(profile=ON_CREATE, confines=Confines(policy_trouble="not installed"))
        verdict = judge(facts)
        assert (verdict.allowed, verdict.objections[0].reason, verdict.objections[0].message) == (
            (),
            Reason.ADMISSION_POLICY_MISSING,
            "not installed",
        )

    def test_without_room_for_another_entry_nothing_is_changed(self) -> None:
        verdict = judge(check_facts(profile=ON_CREATE, confines=Confines(full=True)))
        assert (verdict.allowed, verdict.objections[0].reason) == ((), Reason.POD_SIZES_FULL)
        assert "3,000 entries" in verdict.objections[0].message

    def test_a_limit_is_not_taken_away(self) -> None:
        facts = replace(check_facts(profile=ON_CREATE), changes=(change("cpu", "request", 500, 216), change("cpu", "limit", 1000, None)))
        assert allowed(facts) == {"app.cpu.request": 216}
        assert of_reason(facts, Reason.NEEDS_ROLLOUT) == "app.cpu.limit: taking a limit away needs the strategy Rollout"

    def test_best_effort_stays_so(self) -> None:
        facts = check_facts(workload(Container("app", Sizes())), profile=ON_CREATE)
        assert judge(facts).allowed == ()
        assert "BestEffort" in of_reason(facts, Reason.QOS_CLASS_WOULD_CHANGE)

    def test_burstable_does_not_become_guaranteed(self) -> None:
        deployment = workload(Container("app", replace(WIDE, cpu_request=1000)))
        facts = replace(check_facts(deployment, profile=ON_CREATE), changes=(change("memory", "request", GI, 2 * GI),))
        assert judge(facts).allowed == ()
        assert "Guaranteed" in of_reason(facts, Reason.QOS_CLASS_WOULD_CHANGE)

    def test_other_strategies_do_not_ask(self) -> None:
        facts = replace(check_facts(confines=Confines(policy_trouble="not installed")), changes=(change("cpu", "limit", 1000, None),))
        assert allowed(facts) == {"app.cpu.limit": None}
