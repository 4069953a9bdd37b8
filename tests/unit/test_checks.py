from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer.checks import CHAIN, coherent, differences, judge, sizes_after
from rightsizer.checks.chain import (
    backing_off,
    change_too_small,
    cooling_down,
    hpa_on_same_resource,
    owned_by_gitops,
    paused,
    rollout_in_progress,
)
from rightsizer.checks.differences import effective
from rightsizer.checks.facts import CheckFacts, Direction, Failure, FieldChange, Objection, Reason
from rightsizer.checks.measuring import not_enough_history, stale_metrics
from rightsizer.checks.proving import evidence_too_weak, no_evidence
from rightsizer.evidence.proof import Evidence, Figures
from rightsizer.methods.recommendation import Clamp, ContainerRecommendation
from rightsizer.profile import ApplyRule, EvidenceRule, Profile
from rightsizer.workload import (
    RESOURCES,
    Autoscaler,
    Container,
    FieldPath,
    ResourceName,
    Role,
    RolloutPhase,
    ScalingMetric,
    SizeField,
    Sizes,
    Workload,
    WorkloadRef,
)
from tests.unit.builders import DAY, GI, MI, NOW, REF, WIDE, WORKED, check_facts, evidence, figures, recommendation, sidecar, workload

HOUR = 3600
GUARANTEED = Sizes(cpu_request=500, cpu_limit=500, memory_request=GI, memory_limit=GI)
SMALL = Sizes(cpu_request=100, cpu_limit=200, memory_request=100 * MI, memory_limit=150 * MI)


def path(text: str) -> FieldPath:
    container, resource, field = text.split(".")
    return FieldPath(container, resource, field)  # type: ignore[arg-type]


def paths(*texts: str) -> frozenset[FieldPath]:
    return frozenset(path(text) for text in texts)


def change(text: str, before: int | None, after: int | None) -> FieldChange:
    return FieldChange(path(text), before, after)


def raising() -> CheckFacts:
    """`app` has SMALL and should have WORKED: every number rises."""
    return check_facts(workload(Container("app", SMALL)), [recommendation(current=SMALL)])


def allowed(facts: CheckFacts) -> set[str]:
    return {str(each.path) for each in judge(facts).allowed}


def reasons(facts: CheckFacts) -> list[Reason]:
    return [objection.reason for objection in judge(facts).objections]


class TestDirection:
    @pytest.mark.parametrize(
        ("field", "before", "after", "direction"),
        [
            ("request", 1, 2, Direction.RAISE),
            ("request", 2, 1, Direction.LOWER),
            ("request", None, 1, Direction.RAISE),
            ("request", 1, None, Direction.LOWER),
            ("request", 1, 1, Direction.RAISE),
            ("limit", 1, 2, Direction.RAISE),
            ("limit", 2, 1, Direction.LOWER),
            ("limit", None, 1, Direction.LOWER),
            ("limit", 1, None, Direction.RAISE),
        ],
    )
    def test_direction(self, field: SizeField, before: int | None, after: int | None, direction: Direction) -> None:
        assert FieldChange(FieldPath("app", "cpu", field), before, after).direction is direction


class TestDifferences:
    def test_each_number_that_differs(self) -> None:
        assert differences({"app": recommendation()}, workload()) == (
            change("app.cpu.request", 500, 216),
            change("app.cpu.limit", 1000, 432),
            change("app.memory.request", GI, 384 * MI),
            change("app.memory.limit", 2 * GI, 576 * MI),
        )

    def test_none_where_it_is_as_recommended(self) -> None:
        assert differences({"app": recommendation()}, workload(Container("app", WORKED))) == ()

    def test_the_template_as_it_is_now_counts_and_not_what_was_seen_then(self) -> None:
        now = workload(Container("app", replace(WORKED, cpu_limit=1000)))
        assert differences({"app": recommendation(current=WIDE)}, now) == (change("app.cpu.limit", 1000, 432),)

    def test_a_resource_that_was_not_measured_is_left_out(self) -> None:
        found = differences({"app": replace(recommendation(), memory=None)}, workload())
        assert {each.path.resource for each in found} == {"cpu"}

    def test_containers_that_cannot_be_sized_or_are_not_there_are_left_out(self) -> None:
        deployment = workload(Container("migrate", WIDE, Role.INIT), sidecar("proxy", WIDE))
        found = differences({name: recommendation(name=name) for name in ("migrate", "proxy", "gone")}, deployment)
        assert {each.path.container for each in found} == {"proxy"}

    def test_a_request_that_is_left_out_counts_as_the_limit(self) -> None:
        deployment = workload(Container("app", Sizes(cpu_limit=500)))
        found = differences({"app": replace(recommendation(), memory=None)}, deployment)
        assert found == (change("app.cpu.request", 500, 216), change("app.cpu.limit", 500, 432))
        assert {each.direction for each in found} == {Direction.LOWER}

    def test_a_request_that_is_left_out_is_written_out_beside_a_new_limit(self) -> None:
        deployment = workload(Container("app", Sizes(cpu_limit=216)))
        found = differences({"app": replace(recommendation(), memory=None)}, deployment)
        assert found == (change("app.cpu.request", 216, 216), change("app.cpu.limit", 216, 432))

    def test_first_sizes(self) -> None:
        found = differences({"app": replace(recommendation(), memory=None)}, workload(Container("app", Sizes())))
        assert found == (change("app.cpu.request", None, 216), change("app.cpu.limit", None, 432))


class TestSizesAfter:
    def test_only_containers_that_change_with_their_full_sizes(self) -> None:
        deployment = workload(Container("app", WIDE), Container("web", WIDE))
        changes = [change("web.cpu.request", 500, 216), change("web.memory.limit", 2 * GI, None)]
        assert sizes_after(deployment, changes) == {"web": replace(WIDE, cpu_request=216, memory_limit=None)}

    def test_nothing(self) -> None:
        assert sizes_after(workload(), []) == {}


class TestCoherent:
    @pytest.mark.parametrize(
        ("sizes", "changes", "kept"),
        [
            (WIDE, [("app.cpu.request", 500, 216)], ["app.cpu.request"]),
            (WIDE, [("app.cpu.request", 500, 1200)], []),
            (WIDE, [("app.cpu.request", 500, 1200), ("app.cpu.limit", 1000, 2400)], ["app.cpu.request", "app.cpu.limit"]),
            (WIDE, [("app.cpu.request", 500, 1200), ("app.memory.limit", 2 * GI, 3 * GI)], ["app.memory.limit"]),
            (WIDE, [("app.cpu.limit", 1000, 432)], []),
            (WIDE, [("app.cpu.request", 500, 1200), ("app.cpu.limit", 1000, None)], ["app.cpu.request", "app.cpu.limit"]),
            (Sizes(cpu_limit=500), [("app.cpu.limit", 500, 1000)], []),
            (Sizes(cpu_limit=500), [("app.cpu.limit", 500, None)], []),
            (Sizes(), [("app.cpu.limit", None, 432)], []),
            (Sizes(), [("app.cpu.request", None, 216)], ["app.cpu.request"]),
            (GUARANTEED, [("app.cpu.request", 500, 216)], []),
            (GUARANTEED, [("app.cpu.limit", 500, 1000)], []),
            (GUARANTEED, [("app.cpu.request", 500, 216), ("app.cpu.limit", 500, 216)], ["app.cpu.request", "app.cpu.limit"]),
            (GUARANTEED, [("app.cpu.request", 500, 216), ("app.cpu.limit", 500, 432)], []),
            (GUARANTEED, [("app.cpu.limit", 500, None), ("app.cpu.request", 500, 216)], []),
            (WIDE, [("gone.cpu.request", 500, 216)], []),
        ],
    )
    def test_what_can_be_made_together(self, sizes: Sizes, changes: list[tuple[str, int, int]], kept: list[str]) -> None:
        found = coherent(workload(Container("app", sizes)), [change(*each) for each in changes])
        assert [str(each.path) for each in found] == kept

    def test_containers_do_not_hold_each_other_back(self) -> None:
        deployment = workload(Container("app", WIDE), Container("web", WIDE))
        found = coherent(deployment, [change("app.cpu.request", 500, 5000), change("web.cpu.request", 500, 216)])
        assert [str(each.path) for each in found] == ["web.cpu.request"]


class TestPaused:
    @pytest.mark.parametrize("value", ["true", "True", " true ", "yes", "1", "", "flase"])
    def test_by_annotation_whatever_it_says_but_false(self, value: str) -> None:
        objection = paused(check_facts(workload(annotations={"rightsizer.dev/paused": value})))
        assert objection == Objection(Reason.PAUSED, f'annotation rightsizer.dev/paused is "{value}"')

    def test_by_the_deployment(self) -> None:
        objection = paused(check_facts(workload(paused=True)))
        assert objection == Objection(Reason.PAUSED, "the Deployment's rollouts are paused (spec.paused)")

    @pytest.mark.parametrize(
        "annotations", [{}, {"rightsizer.dev/paused": "false"}, {"rightsizer.dev/paused": " False "}, {"paused": "true"}]
    )
    def test_not(self, annotations: dict[str, str]) -> None:
        assert paused(check_facts(workload(annotations=annotations))) is None


class TestRolloutInProgress:
    @pytest.mark.parametrize(
        ("phase", "words", "message"),
        [
            (RolloutPhase.IN_PROGRESS, "1 of 2 pods", "a rollout is in progress: 1 of 2 pods"),
            (RolloutPhase.IN_PROGRESS, "", "a rollout is in progress"),
            (RolloutPhase.FAILED, "ProgressDeadlineExceeded", "a rollout failed: ProgressDeadlineExceeded"),
        ],
    )
    def test_not_complete(self, phase: RolloutPhase, words: str, message: str) -> None:
        facts = check_facts(workload(rollout=phase, rollout_message=words))
        assert rollout_in_progress(facts) == Objection(Reason.ROLLOUT_IN_PROGRESS, message)

    def test_complete(self) -> None:
        assert rollout_in_progress(check_facts()) is None


class TestBackingOff:
    def test_the_next_try_waits(self) -> None:
        facts = check_facts(failure=Failure(NOW - HOUR + 1, "quota", HOUR))
        assert backing_off(facts) == Objection(
            Reason.BACKING_OFF,
            "the change of 2025-11-20 11:00 UTC failed (quota); the next try is not before 2025-11-20 12:00 UTC",
            frozenset(change.path for change in facts.changes),
        )

    @pytest.mark.parametrize("failure", [None, Failure(NOW - HOUR, "", HOUR), Failure(NOW - DAY, "", DAY)])
    def test_long_ago_or_never(self, failure: Failure | None) -> None:
        assert backing_off(check_facts(failure=failure)) is None


class TestOwnedByGitops:
    @pytest.mark.parametrize("manager", ["argocd-controller", "kustomize-controller", "terraform"])
    def test_a_controller_would_take_it_back(self, manager: str) -> None:
        facts = check_facts(workload(managers={path("app.cpu.limit"): manager}))
        objection = owned_by_gitops(facts)
        assert objection is not None
        assert (objection.reason, objection.paths) == (Reason.OWNED_BY_GITOPS, paths("app.cpu.limit"))
        assert f"app.cpu.limit belongs to field manager {manager}," in objection.message
        assert allowed(facts) == {"app.cpu.request", "app.memory.request", "app.memory.limit"}

    @pytest.mark.parametrize("manager", ["kubectl", "kubectl-client-side-apply", "kubectl-create", "helm", "Helm", "before-first-apply"])
    def test_a_persons_tool_is_taken_over_from(self, manager: str) -> None:
        assert owned_by_gitops(check_facts(workload(managers={path("app.cpu.limit"): manager}))) is None

    def test_what_does_not_change_may_belong_to_anybody(self) -> None:
        facts = check_facts(workload(Container("app", WORKED), managers={path("app.cpu.limit"): "argocd-controller"}))
        assert owned_by_gitops(facts) is None


class TestStaleMetrics:
    def test_everything_is_old(self) -> None:
        objection = stale_metrics(check_facts(recommendations=[recommendation(newest=int(NOW) - 901)]))
        assert objection is not None
        assert (objection.reason, objection.paths) == (Reason.STALE_METRICS, None)
        assert objection.message == "the newest sample is from 2025-11-20 11:44 UTC, more than 15m ago"

    def test_fifteen_minutes_are_fresh(self) -> None:
        assert stale_metrics(check_facts(recommendations=[recommendation(newest=int(NOW) - 900)])) is None

    def test_only_the_resource_that_is_old_is_held(self) -> None:
        found = recommendation()
        assert found.cpu is not None
        old = replace(found.cpu, measurement=replace(found.cpu.measurement, newest=int(NOW) - HOUR))
        facts = check_facts(recommendations=[replace(found, cpu=old)])
        objection = stale_metrics(facts)
        assert objection is not None
        assert objection.paths == paths("app.cpu.request", "app.cpu.limit")
        assert "of app.cpu is from 2025-11-20 11:00 UTC" in objection.message
        assert allowed(facts) == {"app.memory.request", "app.memory.limit"}

    def test_without_any_value_it_is_history_that_is_missing(self) -> None:
        empty = ContainerRecommendation("app", WIDE, WIDE)
        assert reasons(check_facts(recommendations=[empty])) == [Reason.NOT_ENOUGH_HISTORY]


class TestNotEnoughHistory:
    def test_lowering_needs_a_week(self) -> None:
        facts = check_facts(recommendations=[recommendation(history_seconds=2 * DAY + 2 * HOUR, samples=600)])
        objection = not_enough_history(facts)
        assert objection is not None
        assert objection.paths == paths("app.cpu.request", "app.cpu.limit", "app.memory.request", "app.memory.limit")
        assert objection.message == (
            "2 of 7 days of history, enough from 2025-11-25 10:00 UTC on: "
            "app.cpu.limit, app.cpu.request, app.memory.limit, app.memory.request"
        )

    @pytest.mark.parametrize(
        ("seconds", "so_far"),
        [
            (900, "0 hours of 7 days of history, enough from"),
            (HOUR, "1 hour of 7 days of history, enough from"),
            (6 * HOUR + 900, "6 hours of 7 days of history, enough from"),
            (2 * DAY - 300, "47 hours of 7 days of history, enough from"),
            (2 * DAY, "2 of 7 days of history, enough from"),
        ],
    )
    def test_less_than_two_days_are_told_in_hours(self, seconds: int, so_far: str) -> None:
        objection = not_enough_history(check_facts(recommendations=[recommendation(history_seconds=seconds, samples=seconds // 300)]))
        assert objection is not None
        assert objection.message.startswith(so_far)

    @pytest.mark.parametrize(("start", "slots"), [(2 * DAY, 200), (6 * HOUR, 12)])
    def test_the_message_stays_while_samples_come_in(self, start: int, slots: int) -> None:
        messages = {
            objection.message
            for slot in range(slots)
            if (
                objection := not_enough_history(
                    check_facts(
                        recommendations=[
                            recommendation(history_seconds=start + slot * 300, samples=start // 300 + slot, newest=int(NOW) + slot * 300)
                        ]
                    )
                )
            )
        }
        assert len(messages) == 1

    @pytest.mark.parametrize(
        ("seconds", "objects"), [(DAY, False), (round(0.991 * DAY), False), (round(0.98 * DAY), True), (2 * HOUR, True)]
    )
    def test_raising_needs_a_day(self, seconds: int, objects: bool) -> None:
        facts = check_facts(
            workload(Container("app", SMALL)), [recommendation(current=SMALL, history_seconds=seconds, samples=seconds // 300)]
        )
        assert (not_enough_history(facts) is not None) is objects

    def test_hours_where_a_day_is_needed(self) -> None:
        facts = check_facts(workload(Container("app", SMALL)), [recommendation(current=SMALL, history_seconds=5 * HOUR + 900, samples=63)])
        objection = not_enough_history(facts)
        assert objection is not None
        assert objection.message.startswith("5 of 24 hours of history, enough from 2025-11-21 06:45 UTC on: app.cpu.limit")

    def test_what_rises_does_not_wait_for_what_falls(self) -> None:
        mixed = Sizes(cpu_request=100, cpu_limit=1000, memory_request=GI, memory_limit=2 * GI)
        facts = check_facts(workload(Container("app", mixed)), [recommendation(current=mixed, history_seconds=3 * DAY, samples=3 * 288)])
        assert allowed(facts) == {"app.cpu.request"}

    def test_nothing_is_needed_where_the_profile_says_so(self) -> None:
        profile = Profile("shop", "web", raise_after_seconds=0, lower_after_seconds=0)
        assert not_enough_history(check_facts(recommendations=[recommendation(history_seconds=300, samples=1)], profile=profile)) is None

    def test_half_of_the_history_must_have_values(self) -> None:
        objection = not_enough_history(check_facts(recommendations=[recommendation(samples=2015)]))
        assert objection is not None
        assert objection.message.startswith("values for 49 % of 14 days of history, at least 50% are needed: app.cpu.limit")
        assert not_enough_history(check_facts(recommendations=[recommendation(samples=2016)])) is None

    def test_a_young_container_does_not_hold_back_its_neighbour(self) -> None:
        deployment = workload(Container("app", WIDE), Container("young", WIDE))
        facts = check_facts(deployment, [recommendation(), recommendation(name="young", history_seconds=HOUR, samples=12)])
        assert {name.split(".")[0] for name in allowed(facts)} == {"app"}


MIXED = Sizes(cpu_request=100, cpu_limit=1000, memory_request=GI, memory_limit=2 * GI)


class TestHistoryIsBeingRead:
    @pytest.mark.parametrize(
        ("current", "seconds", "held"),
        [
            (WIDE, 14 * DAY, {"app.cpu.request", "app.cpu.limit", "app.memory.request", "app.memory.limit"}),
            (SMALL, 14 * DAY, set()),
            (SMALL, DAY, set()),
            (MIXED, DAY, {"app.cpu.limit", "app.memory.request", "app.memory.limit"}),
            (MIXED, 2 * HOUR, {"app.cpu.request", "app.cpu.limit", "app.memory.request", "app.memory.limit"}),
        ],
        ids=["what falls waits", "what rises does not", "not even with a part", "each by itself", "what rises needs its minimum"],
    )
    def test_what_is_held(self, current: Sizes, seconds: int, held: set[str]) -> None:
        found = recommendation(current=current, history_seconds=seconds, samples=seconds // 300)
        facts = check_facts(workload(Container("app", current)), [found], history_read=False)
        objection = not_enough_history(facts)
        assert (set() if objection is None else {str(path) for path in objection.paths or ()}) == held
        assert allowed(facts) == {str(change.path) for change in facts.changes} - held
        if objection is not None:
            assert objection.reason is Reason.NOT_ENOUGH_HISTORY
            assert objection.message == f"the history of the window is still being read: {', '.join(sorted(held))}"

    def test_a_rise_that_is_short_of_history_is_told_as_ever(self) -> None:
        facts = check_facts(
            workload(Container("app", SMALL)), [recommendation(current=SMALL, history_seconds=5 * HOUR, samples=60)], history_read=False
        )
        assert not_enough_history(facts) == not_enough_history(replace(facts, history_read=True)) is not None

    def test_the_message_stays_while_history_arrives(self) -> None:
        messages = {
            objection.message
            for hours in range(24, 14 * 24, 7)
            if (found := recommendation(history_seconds=hours * HOUR, samples=hours * 12))
            if (objection := not_enough_history(check_facts(recommendations=[found], history_read=False)))
        }
        assert len(messages) == 1


class TestHpaOnSameResource:
    def autoscaler(self, resource: str = "cpu", target_type: str = "Utilization", **fields: Any) -> Autoscaler:
        metric = ScalingMetric(resource, target_type, fields.pop("container", None))
        return replace(Autoscaler("shop", "web-hpa", REF, (metric,)), **fields)

    def test_the_resource_is_left_alone(self) -> None:
        facts = check_facts(autoscalers=(self.autoscaler(),))
        assert hpa_on_same_resource(facts) == Objection(
            Reason.HPA_ON_SAME_RESOURCE,
            "HorizontalPodAutoscaler web-hpa scales on the utilization of cpu, a share of the request",
            paths("app.cpu.request", "app.cpu.limit"),
        )
        assert allowed(facts) == {"app.memory.request", "app.memory.limit"}

    def test_the_resource_of_one_container(self) -> None:
        deployment = workload(Container("app", WIDE), Container("web", WIDE))
        facts = check_facts(
            deployment, [recommendation(), recommendation(name="web")], autoscalers=(self.autoscaler("memory", container="web"),)
        )
        objection = hpa_on_same_resource(facts)
        assert objection is not None
        assert objection.paths == paths("web.memory.request", "web.memory.limit")

    @pytest.mark.parametrize(
        "fields",
        [
            {"target_type": "AverageValue"},
            {"resource": "requests_per_second"},
            {"target": WorkloadRef("shop", "Deployment", "other")},
            {"target": WorkloadRef("shop", "StatefulSet", "web")},
            {"container": "other"},
        ],
    )
    def test_harmless(self, fields: dict[str, Any]) -> None:
        assert hpa_on_same_resource(check_facts(autoscalers=(self.autoscaler(**fields),))) is None

    def test_several_metrics(self) -> None:
        both = replace(self.autoscaler(), metrics=(ScalingMetric("cpu", "Utilization"), ScalingMetric("memory", "Utilization")))
        facts = check_facts(autoscalers=(both,))
        objection = hpa_on_same_resource(facts)
        assert objection is not None
        assert "of cpu and memory," in objection.message
        assert allowed(facts) == set()


class TestEvidence:
    def facts(self, **fields: Figures) -> CheckFacts:
        return check_facts(evidence={"app": evidence(**fields)})  # type: ignore[arg-type]

    def test_nothing_is_lowered_without(self) -> None:
        objection = no_evidence(check_facts(evidence={}))
        assert objection is not None
        assert objection.reason is Reason.NO_EVIDENCE
        assert objection.paths == paths("app.cpu.request", "app.cpu.limit", "app.memory.request", "app.memory.limit")
        assert objection.message == "nothing is lowered before this rule was replayed over the past of app and judged"

    @pytest.mark.parametrize(
        ("slots", "least_days", "told"),
        [
            (0, 1.0, "nothing of the cpu of app, which is not lowered before 24h were judged"),
            (36, 1.0, "3h of the cpu of app, which is not lowered before 24h were judged"),
            (287, 1.0, "23h of the cpu of app, which is not lowered before 24h were judged"),
            (71, 0.25, "5h of the cpu of app, which is not lowered before 6h were judged"),
        ],
    )
    def test_too_little_judged_is_none(self, slots: int, least_days: float, told: str) -> None:
        little = check_facts(evidence={"app": replace(evidence(cpu=figures(slots=slots, above=1.0)), least_days=least_days)})
        objection = no_evidence(little)
        assert objection == Objection(Reason.NO_EVIDENCE, f"the replay could judge {told}", paths("app.cpu.request", "app.cpu.limit"))
        assert evidence_too_weak(little) is None
        assert no_evidence(self.facts(cpu=figures(slots=288))) is None

    @pytest.mark.parametrize("given", [{}, {"app": evidence(cpu=figures(slots=0))}])
    def test_a_replay_that_failed_is_told_with_why(self, given: dict[str, Evidence]) -> None:
        objection = no_evidence(check_facts(evidence=given, replay_troubles={"app": "method Burst failed"}))
        assert objection is not None
        assert objection.message == "app is not lowered, as the replay of its past failed: method Burst failed"

    def test_figures_without_anything_judged_are_none(self) -> None:
        objection = no_evidence(self.facts(cpu=figures(slots=0)))
        assert objection is not None
        assert objection.paths == paths("app.cpu.request", "app.cpu.limit")
        assert evidence_too_weak(self.facts(cpu=figures(slots=0, above=1.0))) is None

    @pytest.mark.parametrize("given", [{}, {"app": evidence(cpu=figures(above=1.0), memory=figures(kills=9))}])
    def test_raising_does_not_depend_on_it(self, given: dict[str, Evidence]) -> None:
        facts = replace(raising(), evidence=given)
        assert (no_evidence(facts), evidence_too_weak(facts)) == (None, None)

    def test_strong_enough(self) -> None:
        facts = self.facts(cpu=figures(above=0.01), memory=figures(above=0.01))
        assert (no_evidence(facts), evidence_too_weak(facts)) == (None, None)

    def test_above_the_request_for_too_long(self) -> None:
        objection = evidence_too_weak(self.facts(cpu=figures(above=0.0101)))
        assert objection == Objection(
            Reason.EVIDENCE_TOO_WEAK,
            "this rule would have had cpu above the request for 1.1% of the time of app in the 7d that were judged; "
            "spec.evidence.maxTimeAboveRequest is 1%",
            paths("app.cpu.request", "app.cpu.limit"),
        )

    @pytest.mark.parametrize(("kills", "words"), [(1, "1 OOM kill"), (3, "3 OOM kills")])
    def test_too_many_oom_kills(self, kills: int, words: str) -> None:
        objection = evidence_too_weak(self.facts(memory=figures(kills=kills, above=0.5)))
        assert objection is not None
        assert objection.message == f"this rule would have had {words} of app in the 7d that were judged; spec.evidence.maxOOMKills is 0"
        assert objection.paths == paths("app.memory.request", "app.memory.limit")

    def test_the_profile_decides(self) -> None:
        weak = self.facts(cpu=figures(above=0.05), memory=figures(kills=2))
        profile = Profile("shop", "web", evidence=EvidenceRule(max_oom_kills=2, max_time_above_request=0.05))
        assert evidence_too_weak(replace(weak, profile=profile)) is None

    def test_the_other_resource_is_lowered(self) -> None:
        facts = self.facts(memory=figures(kills=1))
        assert allowed(facts) == {"app.cpu.request", "app.cpu.limit"}
        assert reasons(facts) == [Reason.EVIDENCE_TOO_WEAK]


class TestCoolingDown:
    def test_lowering_waits(self) -> None:
        objection = cooling_down(check_facts(last_lowered=NOW - HOUR))
        assert objection is not None
        assert objection.paths == paths("app.cpu.request", "app.cpu.limit", "app.memory.request", "app.memory.limit")
        assert objection.message == "lowered at 2025-11-20 11:00 UTC, at most once in 24h: again from 2025-11-21 11:00 UTC on"

    @pytest.mark.parametrize("last_lowered", [None, NOW - DAY, NOW - 2 * DAY])
    def test_long_ago_or_never(self, last_lowered: float | None) -> None:
        assert cooling_down(check_facts(last_lowered=last_lowered)) is None

    @pytest.mark.parametrize(("ago", "waits"), [(0, True), (2 * HOUR - 1, True), (2 * HOUR, False)])
    def test_what_was_raised_settles(self, ago: int, waits: bool) -> None:
        objection = cooling_down(check_facts(last_raised=NOW - ago))
        assert (objection is not None) == waits
        if objection is not None:
            assert objection.paths == paths("app.cpu.request", "app.cpu.limit", "app.memory.request", "app.memory.limit")
            assert objection.message.startswith("raised at 2025-11-20 1")

    def test_what_was_raised_may_rise_again(self) -> None:
        assert cooling_down(replace(raising(), last_raised=NOW)) is None

    def test_raising_never_waits(self) -> None:
        assert cooling_down(replace(raising(), last_lowered=NOW)) is None


class TestChangeTooSmall:
    def facts(self, sizes: Sizes, least: float = 0.10) -> CheckFacts:
        profile = Profile("shop", "web", apply=ApplyRule(minimum_change=least))
        return check_facts(workload(Container("app", sizes)), [recommendation(current=sizes)], profile=profile)

    def test_small(self) -> None:
        objection = change_too_small(self.facts(replace(WORKED, cpu_request=200, cpu_limit=420)))
        assert objection == Objection(
            Reason.CHANGE_TOO_SMALL, "the largest change, app.cpu.request from 200m to 216m, is below 20%, 2 x minimumChange for raising"
        )

    @pytest.mark.parametrize(
        ("sizes", "least"),
        [
            (replace(WORKED, cpu_request=240), 0.10),
            (replace(WORKED, cpu_request=180), 0.10),
            (replace(WORKED, cpu_request=None, cpu_limit=None), 0.10),
            (replace(WORKED, cpu_request=0), 0.10),
            (replace(WORKED, cpu_request=215), 0.0),
        ],
    )
    def test_large_enough(self, sizes: Sizes, least: float) -> None:
        assert change_too_small(self.facts(sizes, least)) is None

    @pytest.mark.parametrize(("request_", "enough"), [(181, False), (180, True), (239, False), (240, True)])
    def test_raising_takes_twice_as_much_as_lowering(self, request_: int, enough: bool) -> None:
        facts = self.facts(replace(WORKED, cpu_request=request_))
        assert (change_too_small(facts) is None) == enough

    @pytest.mark.parametrize(
        ("clamp", "request_", "enough"),
        [
            (Clamp.NONE, 340, False),
            (Clamp.OOM_KILL, 340, True),
            (Clamp.OOM_KILL, 360, False),
            (Clamp.NEAR_LIMIT, 380, True),
        ],
    )
    def test_memory_that_is_short_is_raised_by_less(self, clamp: Clamp, request_: int, enough: bool) -> None:
        sizes = replace(WORKED, memory_request=request_ * MI)
        found = recommendation(current=sizes)
        assert found.memory is not None
        found = replace(found, memory=replace(found.memory, request_clamp=clamp))
        facts = check_facts(workload(Container("app", sizes)), [found])
        assert (change_too_small(facts) is None) == enough

    @pytest.mark.parametrize(("limit", "enough"), [(384, True), (576, False), (768, False), (769, True), (None, True)])
    def test_a_memory_limit_between_its_ratios_is_no_reason_by_itself(self, limit: int | None, enough: bool) -> None:
        wanted = replace(WORKED, memory_limit=600 * MI)
        sizes = replace(WORKED, memory_limit=None if limit is None else limit * MI)
        facts = check_facts(workload(Container("app", sizes)), [recommendation(wanted, current=sizes)])
        objection = change_too_small(facts)
        assert (objection is None) == enough
        assert objection is None or objection.reason is Reason.CHANGE_TOO_SMALL

    def test_a_limit_that_goes_is_large(self) -> None:
        facts = replace(self.facts(WORKED), changes=(change("app.cpu.limit", 432, None),))
        assert change_too_small(facts) is None

    def test_a_large_change_takes_small_ones_along(self) -> None:
        assert allowed(self.facts(replace(WORKED, cpu_request=200, memory_limit=GI))) == {"app.cpu.request", "app.memory.limit"}

    def test_what_others_hold_back_does_not_make_a_small_change_large(self) -> None:
        facts = self.facts(replace(WORKED, cpu_request=210, memory_limit=GI))
        held = replace(facts, last_lowered=NOW)
        assert reasons(held) == [Reason.COOLING_DOWN, Reason.CHANGE_TOO_SMALL]
        assert allowed(held) == set()

    def test_nothing_to_change_is_not_small(self) -> None:
        assert change_too_small(self.facts(WORKED)) is None


class TestJudge:
    def test_all_clear(self) -> None:
        facts = check_facts()
        assert judge(facts).allowed == facts.changes
        assert judge(facts).objections == ()

    def test_the_first_objection_comes_first_and_all_are_kept(self) -> None:
        facts = check_facts(workload(paused=True, rollout=RolloutPhase.FAILED), [recommendation(newest=0)], last_lowered=NOW)
        assert reasons(facts) == [Reason.PAUSED, Reason.ROLLOUT_IN_PROGRESS, Reason.STALE_METRICS]
        assert judge(facts).allowed == ()

    def test_the_order_of_the_chain_is_the_order_of_the_reasons(self) -> None:
        names = [check.__name__.replace("_", "") for check in CHAIN]
        # One check has two words for whose field it is, and the queue asks after the chain.
        beside = (Reason.OWNED_BY_OTHER, Reason.QUEUE_STOPPED, Reason.ANOTHER_ROLLOUT_RUNNING)
        assert names == [reason.value.lower() for reason in Reason if reason not in beside]

    def test_a_limit_that_may_not_be_lowered_holds_no_request_that_rises_below_it(self) -> None:
        sizes = Sizes(cpu_request=100, cpu_limit=300, memory_request=384 * MI, memory_limit=576 * MI)
        facts = check_facts(workload(Container("app", sizes)), [recommendation(Sizes(216, 216, 384 * MI, 576 * MI), current=sizes)])
        assert allowed(replace(facts, last_lowered=NOW)) == {"app.cpu.request"}

    def test_a_request_does_not_rise_above_a_limit_that_may_not_change(self) -> None:
        facts = raising()
        without_limits = replace(facts, changes=tuple(each for each in facts.changes if each.path.field == "request"))
        assert allowed(without_limits) == set()

    def test_guaranteed_pods_change_both_numbers_or_none(self) -> None:
        wanted = Sizes(cpu_request=600, cpu_limit=600, memory_request=512 * MI, memory_limit=512 * MI)
        facts = check_facts(workload(Container("app", GUARANTEED)), [recommendation(wanted, current=GUARANTEED)])
        assert allowed(facts) == {"app.cpu.request", "app.cpu.limit", "app.memory.request", "app.memory.limit"}
        assert allowed(replace(facts, last_lowered=NOW)) == {"app.cpu.request", "app.cpu.limit"}

    def test_a_recommendation_that_is_not_valid_is_not_made(self) -> None:
        facts = check_facts(recommendations=[recommendation(Sizes(500, 400, 384 * MI, 576 * MI))])
        assert allowed(facts) == {"app.memory.request", "app.memory.limit"}


amounts = st.one_of(st.none(), st.integers(1, 2000))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[int | None, int | None]:
    """A request and a limit that the API server takes."""
    request, limit = draw(amounts), draw(amounts)
    return (min(request, limit), max(request, limit)) if request is not None and limit is not None else (request, limit)


@st.composite
def sizes_of_a_container(draw: st.DrawFn, *, guaranteed: bool) -> Sizes:
    if guaranteed:
        cpu, memory = draw(st.integers(1, 2000)), draw(st.integers(1, 2000))
        unset = draw(st.booleans())
        return Sizes(None if unset else cpu, cpu, memory, memory)
    (cpu_request, cpu_limit), (memory_request, memory_limit) = draw(pairs()), draw(pairs())
    return Sizes(cpu_request, cpu_limit, memory_request, memory_limit)


def wanted_sizes(draw: st.DrawFn, *, guaranteed: bool) -> Sizes:
    found: list[int | None] = []
    for _ in RESOURCES:
        request = draw(st.integers(1, 2000))
        limit = request if guaranteed else draw(st.one_of(st.none(), st.integers(request, 4000)))
        found += [request, limit]
    return Sizes(*found)


@st.composite
def judged_facts(draw: st.DrawFn) -> CheckFacts:
    guaranteed = draw(st.booleans())
    names = ["app", "web"][: draw(st.integers(1, 2))]
    containers = [Container(name, draw(sizes_of_a_container(guaranteed=guaranteed))) for name in names]
    owned = draw(
        st.lists(st.builds(FieldPath, st.just("app"), st.sampled_from(RESOURCES), st.sampled_from(["request", "limit"])), max_size=2)
    )
    deployment = workload(
        *containers,
        paused=draw(st.sampled_from([False, False, False, True])),
        managers=dict.fromkeys(owned, draw(st.sampled_from(["argocd-controller", "kubectl"]))),
    )
    recommendations = [
        recommendation(
            wanted_sizes(draw, guaranteed=deployment.guaranteed),
            name=container.name,
            current=container.sizes,
            history_seconds=draw(st.sampled_from([HOUR, 2 * DAY, 14 * DAY])),
            newest=int(NOW) - draw(st.sampled_from([0, 0, 0, HOUR])),
        )
        for container in containers
    ]
    metrics = draw(
        st.lists(st.builds(ScalingMetric, st.sampled_from(RESOURCES), st.just("Utilization"), st.sampled_from([None, "app"])), max_size=2)
    )
    return check_facts(
        deployment,
        recommendations,
        autoscalers=(Autoscaler("shop", "hpa", REF, tuple(metrics)),),
        last_lowered=draw(st.sampled_from([None, NOW - HOUR])),
    )


def applied(deployment: Workload, changes: Sequence[FieldChange]) -> Workload:
    after = sizes_after(deployment, changes)
    containers = tuple(replace(each, sizes=after.get(each.name, each.sizes)) for each in deployment.containers)
    return replace(deployment, containers=containers)


def in_force(deployment: Workload) -> dict[FieldPath, int | None]:
    fields: tuple[SizeField, SizeField] = ("request", "limit")
    return {
        FieldPath(container.name, resource, field): effective(container.sizes, resource, field)
        for container in deployment.containers
        for resource in RESOURCES
        for field in fields
    }


@given(judged_facts())
def test_whatever_the_verdict_the_result_is_valid_and_nothing_objected_to_is_changed(facts: CheckFacts) -> None:
    verdict = judge(facts)
    after = applied(facts.workload, verdict.allowed)
    for container in after.containers:
        for resource in RESOURCES:
            request, limit = container.sizes.request(resource), container.sizes.limit(resource)
            assert request is None or limit is None or request <= limit
    assert after.guaranteed or not facts.workload.guaranteed
    before_values, after_values = in_force(facts.workload), in_force(after)
    moved = {path for path, value in after_values.items() if value != before_values[path]}
    for objection in verdict.objections:
        assert not moved & (objection.paths if objection.paths is not None else set(before_values))
    assert moved <= {each.path for each in facts.changes}
    assert set(verdict.allowed) <= set(facts.changes)


@given(judged_facts())
def test_what_is_left_out_has_a_reason(facts: CheckFacts) -> None:
    verdict = judge(facts)
    assert verdict.objections or verdict.allowed == facts.changes


@given(judged_facts())
def test_after_the_change_nothing_is_left_that_was_allowed(facts: CheckFacts) -> None:
    verdict = judge(facts)
    left = {each.path for each in differences(facts.recommendations, applied(facts.workload, verdict.allowed))}
    assert not left & {each.path for each in verdict.allowed}


def test_effective_sizes() -> None:
    resource: ResourceName = "cpu"
    assert effective(Sizes(cpu_limit=5), resource, "request") == 5
    assert effective(Sizes(cpu_request=3, cpu_limit=5), resource, "request") == 3
    assert effective(Sizes(cpu_request=3), resource, "limit") is None
