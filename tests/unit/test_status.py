from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rightsizer.change import Change, Outcome
from rightsizer.checks import differences, judge
from rightsizer.checks.facts import Reason, Verdict
from rightsizer.methods.recommendation import Clamp, ContainerRecommendation, Explanation
from rightsizer.profile import LimitPolicy, Mode, Problem, Profile
from rightsizer.status import profile as profile_status
from rightsizer.status import recommendation as recommendation_status
from rightsizer.status.change import change_figures, change_from_status, change_status, history_from_status
from rightsizer.status.conditions import Condition, Trouble, merge
from rightsizer.status.dead_band import explanation_status, hold, stand
from rightsizer.status.naming import recommendation_name
from rightsizer.status.profile import ProfileStanding
from rightsizer.status.sizes import quantity, sizes_from_status, sizes_status
from rightsizer.status.standing import Standing, State, tell
from rightsizer.status.times import rfc3339, unix_seconds
from rightsizer.workload import Container, ResourceName, Role, RolloutPhase, Sizes, Workload, WorkloadRef
from tests.unit.builders import (
    DAY,
    GI,
    MI,
    NOW,
    WIDE,
    WORKED,
    check_facts,
    evidence,
    explanation,
    figures,
    measurement,
    recommendation,
    sidecar,
    workload,
)

CRDS = Path(__file__).parents[2] / "crds"
DOWN = Trouble("PrometheusUnreachable", "no connection to the usage source")
WORKED_STATUS = {"requests": {"cpu": "216m", "memory": "384Mi"}, "limits": {"cpu": "432m", "memory": "576Mi"}}
WIDE_STATUS = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}


def standing(
    deployment: Workload | None = None,
    *found: ContainerRecommendation,
    mode: Mode = Mode.APPLY,
    checks: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Standing:
    """Where Deployment/web stands, judged by the real checks; without `found`, `app` should have WORKED."""
    facts = check_facts(deployment, found or None, **(checks or {}))
    rendered = Standing(
        workload=facts.workload,
        mode=mode,
        minimum_change=0.1,
        recommendations=facts.recommendations,
        changes=facts.changes,
        verdict=judge(facts),
    )
    return replace(rendered, **fields)


def unmeasured(deployment: Workload | None = None, **fields: Any) -> Standing:
    return standing(deployment, ContainerRecommendation("app", WIDE, WIDE), **fields)


def render(found: Standing, old: Mapping[str, Any] | None = None, now: float = NOW) -> dict[str, Any]:
    return recommendation_status.render(found, old=old or {}, now=now)


def empty_mappings(value: Any) -> Iterator[Any]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if value == {}:
        yield value
    for item in inside:
        yield from empty_mappings(item)


def condition(status: Mapping[str, Any], kind: str) -> tuple[str, str]:
    found = next(each for each in status["conditions"] if each["type"] == kind)
    return found["status"], found["reason"]


def change(outcome: Outcome, **fields: Any) -> Change:
    return replace(Change(NOW, "Rollout", outcome, {"app": WIDE}, {"app": WORKED}, NOW - DAY, "words"), **fields)


class TestTimes:
    @pytest.mark.parametrize(
        ("seconds", "text"), [(NOW, "2025-11-20T12:00:00Z"), (NOW + 0.9, "2025-11-20T12:00:00Z"), (0, "1970-01-01T00:00:00Z")]
    )
    def test_written(self, seconds: float, text: str) -> None:
        assert rfc3339(seconds) == text

    @pytest.mark.parametrize("text", ["2025-11-20T12:00:00Z", "2025-11-20T13:00:00+01:00", "2025-11-20T12:00:00.000000Z"])
    def test_read(self, text: str) -> None:
        assert unix_seconds(text) == NOW

    @pytest.mark.parametrize("text", ["", "yesterday", "2025-11-20T12:00:00"])
    def test_no_time(self, text: str) -> None:
        with pytest.raises(ValueError):
            unix_seconds(text)


class TestSizes:
    @pytest.mark.parametrize(
        ("sizes", "status"),
        [
            (WORKED, WORKED_STATUS),
            (Sizes(), {"requests": {}, "limits": {}}),
            (Sizes(memory_limit=GI), {"requests": {}, "limits": {"memory": "1Gi"}}),
            (Sizes(cpu_request=0), {"requests": {"cpu": "0"}, "limits": {}}),
        ],
    )
    def test_there_and_back(self, sizes: Sizes, status: dict[str, Any]) -> None:
        assert sizes_status(sizes) == status
        assert sizes_from_status(status) == sizes

    def test_sections_that_the_api_left_out(self) -> None:
        assert sizes_from_status({}) == Sizes()

    @pytest.mark.parametrize(
        ("resource", "value", "text"), [("cpu", -100, "-100m"), ("cpu", 284, "284m"), ("memory", -64 * MI, "-64Mi"), ("memory", 0, "0")]
    )
    def test_differences_have_a_sign(self, resource: ResourceName, value: int, text: str) -> None:
        assert quantity(resource, value) == text


class TestChange:
    def test_as_json(self) -> None:
        assert change_status(change(Outcome.IN_PROGRESS)) == {
            "time": "2025-11-20T12:00:00Z",
            "strategy": "Rollout",
            "outcome": "InProgress",
            "message": "words",
            "previous": [{"name": "app", **WIDE_STATUS}],
            "applied": [{"name": "app", **WORKED_STATUS}],
            "lastLowered": "2025-11-19T12:00:00Z",
        }

    FULL: ClassVar[dict[str, Any]] = {
        "last_lowered": NOW,
        "lowered_before": NOW - 1,
        "watched_until": NOW + 2,
        "memory_watched_until": NOW + 3,
        "cpu_watched_until": NOW + 4,
        "reverts": "it was killed",
        "failures": 3,
        "undone_by": "argocd",
        "restless": ("app", "proxy"),
        "left": {"web-1": "Infeasible", "web-2": "Deferred"},
    }

    def test_there_and_back_with_every_field(self) -> None:
        full = replace(change(Outcome.STARTED), **self.FULL)
        assert [field.name for field in fields(full) if getattr(full, field.name) == field.default] == []
        assert change_from_status(json.loads(json.dumps({"lastChange": change_status(full)}))) == full

    @pytest.mark.parametrize("name", FULL)
    def test_there_and_back_with_each_alone(self, name: str) -> None:
        one = replace(change(Outcome.STARTED, last_lowered=None), **{name: self.FULL[name]})
        assert change_from_status(json.loads(json.dumps({"lastChange": change_status(one)}))) == one

    def test_every_field_is_described(self) -> None:
        described = schema("resourcerecommendations", "status")["properties"]["lastChange"]
        assert unknown_fields(change_status(replace(change(Outcome.STARTED), **self.FULL)), described) == []

    def test_history_there_and_back_without_what_cannot_be_read(self) -> None:
        changes = (change(Outcome.UNDONE), replace(change(Outcome.FAILED), time=NOW - 60))
        written: list[Any] = [change_status(one) for one in changes]
        assert history_from_status({"history": [written[0], {"time": 5}, None, written[1]]}) == changes
        assert history_from_status({"history": "none"}) == history_from_status({}) == ()

    @pytest.mark.parametrize("outcome", list(Outcome))
    @pytest.mark.parametrize("last_lowered", [None, NOW])
    def test_there_and_back(self, outcome: Outcome, last_lowered: float | None) -> None:
        written = json.loads(json.dumps({"lastChange": change_status(change(outcome, last_lowered=last_lowered))}))
        assert change_from_status(written) == change(outcome, last_lowered=last_lowered)

    @pytest.mark.parametrize(
        "edit",
        [
            {"time": "yesterday"},
            {"time": None},
            {"outcome": "Lost"},
            {"applied": [{"requests": {}}]},
            {"applied": [{"name": "app", "requests": {"cpu": "much"}}]},
            {"applied": "app"},
            {"previous": [{"name": "app", "requests": 5}]},
            {"lastLowered": 5},
            {"watchedUntil": "soon"},
            {"failures": "many"},
            {"left": [{"pod": "web-1"}]},
            {"restless": 5},
        ],
    )
    def test_a_record_that_cannot_be_read_is_none(self, edit: dict[str, Any]) -> None:
        assert change_from_status({"lastChange": {**change_status(change(Outcome.STARTED)), **edit}}) is None

    @pytest.mark.parametrize(
        ("previous", "applied", "figures"),
        [
            ({"app": WIDE}, {"app": WORKED}, "app cpu 500m -> 216m, app memory 1Gi -> 384Mi"),
            ({"app": Sizes()}, {"app": replace(WORKED, memory_request=None)}, "app cpu unset -> 216m"),
            ({"app": WIDE}, {"app": replace(WIDE, cpu_limit=None)}, ""),
        ],
    )
    def test_figures(self, previous: dict[str, Sizes], applied: dict[str, Sizes], figures: str) -> None:
        assert change_figures(change(Outcome.STARTED, previous=previous, applied=applied)) == figures

    @pytest.mark.parametrize("status", [{}, {"lastChange": None}, {"lastChange": {}}])
    def test_no_record(self, status: dict[str, Any]) -> None:
        assert change_from_status(status) is None


class TestConditions:
    OLD: tuple[dict[str, str], ...] = (
        {"type": "Ready", "status": "True", "reason": "A", "message": "a", "lastTransitionTime": "2025-01-01T00:00:00Z"},
    )

    @pytest.mark.parametrize(
        ("new", "since"),
        [
            (Condition("Ready", "True", "A", "a"), "2025-01-01T00:00:00Z"),
            (Condition("Ready", "True", "B", "b"), "2025-01-01T00:00:00Z"),
            (Condition("Ready", "False", "A", "a"), "2025-11-20T12:00:00Z"),
            (Condition("Other", "True", "A", "a"), "2025-11-20T12:00:00Z"),
        ],
    )
    def test_the_time_is_that_of_the_status(self, new: Condition, since: str) -> None:
        assert merge(self.OLD, [new], now=NOW) == [
            {"type": new.type, "status": new.status, "reason": new.reason, "message": new.message, "lastTransitionTime": since}
        ]

    def test_what_is_not_found_any_more_goes(self) -> None:
        assert merge(self.OLD, [], now=NOW) == []

    def test_an_old_one_without_time(self) -> None:
        assert merge([{"type": "Ready", "status": "True"}], [Condition("Ready", "True", "A", "a")], now=NOW)[0][
            "lastTransitionTime"
        ] == rfc3339(NOW)


class TestState:
    @pytest.mark.parametrize(
        ("found", "state", "reason"),
        [
            (standing(), State.RECOMMENDED, "ReadyToApply"),
            (standing(mode=Mode.RECOMMEND), State.RECOMMENDED, "RecommendOnly"),
            (standing(mode=Mode.IGNORE), State.IGNORED, "ModeIgnore"),
            (standing(workload(Container("app", WORKED))), State.APPLIED, "UpToDate"),
            (standing(workload(Container("app", WORKED)), mode=Mode.RECOMMEND), State.APPLIED, "UpToDate"),
            (standing(workload(Container("app", replace(WORKED, cpu_request=220)))), State.APPLIED, "ChangeTooSmall"),
            (
                standing(workload(Container("app", replace(WORKED, cpu_request=220))), mode=Mode.RECOMMEND),
                State.RECOMMENDED,
                "RecommendOnly",
            ),
            (standing(None, recommendation(history_seconds=3600, samples=12)), State.WAITING, "NotEnoughHistory"),
            (standing(None, recommendation(history_seconds=3600, samples=12), mode=Mode.RECOMMEND), State.WAITING, "NotEnoughHistory"),
            (unmeasured(), State.WAITING, "NotEnoughHistory"),
            (unmeasured(trouble=DOWN), State.STALE, "PrometheusUnreachable"),
            (standing(trouble=DOWN, mode=Mode.RECOMMEND), State.STALE, "PrometheusUnreachable"),
            (standing(None, recommendation(newest=int(NOW) - 3600)), State.STALE, "StaleMetrics"),
            (standing(workload(Container("app", WORKED)), recommendation(newest=0)), State.STALE, "StaleMetrics"),
            (standing(workload(paused=True)), State.BLOCKED, "Paused"),
            (standing(workload(paused=True), mode=Mode.RECOMMEND), State.RECOMMENDED, "RecommendOnly"),
            (standing(workload(paused=True, containers=(Container("app", WORKED),))), State.APPLIED, "UpToDate"),
            (standing(workload(rollout=RolloutPhase.IN_PROGRESS)), State.BLOCKED, "RolloutInProgress"),
            (standing(checks={"last_lowered": NOW}), State.BLOCKED, "CoolingDown"),
            (standing(change=change(Outcome.STARTED)), State.ROLLING_OUT, "RolloutInProgress"),
            (standing(change=change(Outcome.IN_PROGRESS), trouble=DOWN), State.ROLLING_OUT, "RolloutInProgress"),
            (standing(change=change(Outcome.SUCCEEDED)), State.RECOMMENDED, "ReadyToApply"),
            (standing(workload(rollout=RolloutPhase.FAILED), change=change(Outcome.FAILED)), State.BLOCKED, "RolloutFailed"),
            (standing(change=change(Outcome.FAILED)), State.RECOMMENDED, "ReadyToApply"),
            (standing(verdict=Verdict()), State.BLOCKED, "NotValid"),
        ],
    )
    def test_state_and_reason(self, found: Standing, state: State, reason: str) -> None:
        told = tell(found)
        assert (told.state, told.reason) == (state, reason)
        assert told.message

    def test_what_is_allowed_is_told_before_what_is_held_back(self) -> None:
        found = standing(None, recommendation(Sizes(900, 1800, 384 * MI, 576 * MI)), checks={"last_lowered": NOW})
        assert found.verdict.objections[0].reason is Reason.COOLING_DOWN
        assert tell(found).reason == "ReadyToApply"


class TestRecommendation:
    def test_the_worked_example(self) -> None:
        status = render(standing(change=change(Outcome.SUPERSEDED)))
        explanations = {
            resource: {
                "statistic": "p95",
                "window": "14d",
                "measured": measured,
                "buffer": "20%",
                "samples": 4032,
                "coverage": "100%",
                "pods": 2,
                "lastSample": "2025-11-20T12:00:00Z",
                "clamp": "None",
                "text": text,
            }
            for resource, measured, text in (("cpu", "180m", "to 216"), ("memory", "320Mi", "to 402653184"))
        }
        since = {"lastTransitionTime": "2025-11-20T12:00:00Z"}
        passed = "every check passed: it will be applied"
        assert status == {
            "mode": "Apply",
            "observedGeneration": 3,
            "measuredAt": "2025-11-20T12:00:00Z",
            "summary": {
                "workload": "Deployment/web",
                "cpu": "500m -> 216m",
                "memory": "1Gi -> 384Mi",
                "state": "Recommended",
                "reason": "ReadyToApply",
                "message": passed,
            },
            "containers": [{"name": "app", "current": WIDE_STATUS, "recommended": WORKED_STATUS, "explanation": explanations}],
            "savings": {"cpu": "568m", "memory": "1280Mi"},
            "lastChange": change_status(change(Outcome.SUPERSEDED)),
            "conditions": [
                {"type": "Measured", "status": "True", "reason": "UsageSeen", "message": "usage is fresh", **since},
                {
                    "type": "Recommended",
                    "status": "True",
                    "reason": "Recommended",
                    "message": "requests and limits are recommended",
                    **since,
                },
                {"type": "Applied", "status": "False", "reason": "ReadyToApply", "message": passed, **since},
            ],
        }

    def test_all_that_is_rendered_is_in_the_schema(self) -> None:
        throttled = with_cpu(explanation("cpu", WORKED, measurement=measurement(value=180, throttled=0.123)))
        status = render(standing(None, throttled, change=change(Outcome.SUCCEEDED), evidence={"app": evidence()}))
        assert status["evidence"]["saved"] == {"cpu": "80%", "memory": "100%"}
        assert status["containers"][0]["explanation"]["cpu"]["throttled"] == "13%"
        assert unknown_fields(status, schema("resourcerecommendations", "status")) == []

    def test_evidence_stays_until_there_is_other(self) -> None:
        written = render(standing(evidence={"app": evidence()}))
        assert render(standing(evidence_awaited=True), old=written) == written
        assert render(standing(), old=written) == {name: each for name, each in written.items() if name != "evidence"}
        assert render(standing(evidence={"app": evidence(changes=0.15)}), old=written) == written
        assert render(standing(evidence={"app": evidence(changes=0.9)}), old=written)["evidence"]["changesPerDay"] == "0.9"

    def test_evidence_of_too_little_is_not_told(self) -> None:
        little = evidence(days=0.125, cpu=figures(slots=36), memory=figures(slots=36))
        assert "evidence" not in render(standing(evidence={"app": little}))

    def test_waits_for_evidence_only_where_it_would_be_changed(self) -> None:
        summary = render(standing(checks={"evidence": {}}))["summary"]
        assert (summary["state"], summary["reason"]) == ("Waiting", "NoEvidence")
        summary = render(standing(checks={"evidence": {}}, mode=Mode.RECOMMEND))["summary"]
        assert (summary["state"], summary["reason"]) == ("Recommended", "RecommendOnly")

    def test_summary_and_savings_are_those_of_the_pod(self) -> None:
        deployment = workload(Container("app", WIDE), sidecar("proxy", WIDE), Container("migrate", WIDE, Role.INIT), replicas=3)
        status = render(standing(deployment, recommendation(), recommendation(name="proxy")))
        assert status["summary"]["cpu"] == "1 -> 432m"
        assert status["savings"] == {"cpu": "1704m", "memory": "3840Mi"}
        assert [entry["name"] for entry in status["containers"]] == ["app", "proxy"]

    @pytest.mark.parametrize(
        ("sizes", "cpu", "memory", "savings"),
        [
            (WORKED, "216m", "384Mi", {"cpu": "0", "memory": "0"}),
            (Sizes(), "unset -> 216m", "unset -> 384Mi", {"cpu": "-432m", "memory": "-768Mi"}),
            (Sizes(cpu_limit=1000), "1 -> 216m", "unset -> 384Mi", {"cpu": "1568m", "memory": "-768Mi"}),
        ],
    )
    def test_what_is_not_set(self, sizes: Sizes, cpu: str, memory: str, savings: dict[str, str]) -> None:
        status = render(standing(workload(Container("app", sizes))))
        assert (status["summary"]["cpu"], status["summary"]["memory"], status["savings"]) == (cpu, memory, savings)

    def test_holds_no_empty_mapping_where_server_side_apply_would_make_null_of_it(self) -> None:
        old = render(standing(workload(Container("app", WIDE))))
        for status in (render(unmeasured(), old=old), render(standing(workload(Container("app", Sizes()))), old=old)):
            assert list(empty_mappings(status)) == []

    def test_without_usage(self) -> None:
        status = render(unmeasured())
        assert status["containers"] == [{"name": "app", "current": WIDE_STATUS}]
        assert status["summary"]["cpu"] == "500m -> ?"
        assert "savings" not in status
        assert "measuredAt" not in status
        assert condition(status, "Measured") == ("False", "NoUsage")
        assert condition(status, "Recommended") == ("False", "NoUsage")
        assert condition(status, "Applied") == ("False", "NotEnoughHistory")

    def test_one_resource_only(self) -> None:
        status = render(standing(None, replace(recommendation(replace(WIDE, cpu_request=216, cpu_limit=432)), memory=None)))
        assert list(status["containers"][0]["explanation"]) == ["cpu"]
        assert status["summary"]["memory"] == "1Gi"

    def test_up_to_date_is_applied(self) -> None:
        assert condition(render(standing(workload(Container("app", WORKED)))), "Applied") == ("True", "UpToDate")

    def test_a_container_that_the_profile_ignores_has_only_its_sizes(self) -> None:
        deployment = workload(Container("app", WIDE), Container("istio-proxy", WIDE))
        status = render(standing(deployment, recommendation()))
        assert status["containers"][1] == {"name": "istio-proxy", "current": WIDE_STATUS}
        assert status["summary"]["cpu"] == "1 -> 716m"
        assert status["savings"]["cpu"] == "568m"

    @pytest.mark.parametrize("measured_at", [None, "yesterday"])
    def test_a_time_that_cannot_be_read_is_written_anew(self, measured_at: str | None) -> None:
        good = render(standing())
        assert render(standing(), {**good, "measuredAt": measured_at}) == good

    def test_what_was_recommended_stays_while_usage_cannot_be_measured(self) -> None:
        before = render(standing())
        status = render(unmeasured(workload(Container("app", WORKED)), trouble=DOWN), before, NOW + DAY)
        assert status["containers"] == [{**before["containers"][0], "current": WORKED_STATUS}]
        assert status["measuredAt"] == before["measuredAt"]
        assert status["summary"]["memory"] == "384Mi"
        assert condition(status, "Measured") == ("False", "PrometheusUnreachable")
        assert condition(status, "Recommended") == ("True", "Recommended")

    def test_what_was_recommended_goes_when_there_is_no_usage_any_more(self) -> None:
        assert render(unmeasured(), render(standing()))["containers"] == [{"name": "app", "current": WIDE_STATUS}]

    def test_recovery_gives_the_former_status_but_for_the_time_of_its_conditions(self) -> None:
        before = render(standing())
        down = render(standing(trouble=DOWN), before, NOW + 600)
        again = render(standing(), down, NOW + 1200)
        assert {**again, "conditions": None} == {**before, "conditions": None}
        assert [each["lastTransitionTime"] for each in again["conditions"]] == [rfc3339(NOW + 1200), rfc3339(NOW), rfc3339(NOW)]


def held_by(
    old: Mapping[str, Any], found: Mapping[str, ContainerRecommendation], *, minimum_change: float
) -> dict[str, ContainerRecommendation]:
    return hold(found, stand(old, found, minimum_change=minimum_change))


def moved(found: ContainerRecommendation, factor: float, *, samples: int = 4032, **cpu: Any) -> ContainerRecommendation:
    """As if all that was measured were `factor` times as much."""
    wanted = Sizes(*(round(value * factor) for value in (216, 432, 384 * MI, 576 * MI)))
    new = recommendation(wanted, current=found.current, samples=samples, coverage=samples / 4032)
    assert new.cpu is not None
    return replace(new, cpu=replace(new.cpu, text="anew", **cpu))


class TestDeadBand:
    def cycle(
        self, old: Mapping[str, Any], found: ContainerRecommendation, *, later: float = 300.0, deployment: Workload | None = None
    ) -> dict[str, Any]:
        """What a cycle does: hold, compare, judge, render."""
        held = held_by(old, {"app": found}, minimum_change=0.1)
        facts = check_facts(deployment, list(held.values()))
        assert differences(held, facts.workload) == facts.changes
        return render(standing(deployment, *held.values()), old, NOW + later)

    def test_a_percentile_that_moved_slightly_renders_the_equal_status(self) -> None:
        first = render(standing())
        second = self.cycle(first, moved(recommendation(), 1.009, samples=4020))
        assert second == first
        assert self.cycle(second, moved(recommendation(), 0.992, samples=4000)) == first

    def test_what_is_held_is_what_is_acted_on(self) -> None:
        held = held_by(render(standing()), {"app": moved(recommendation(), 1.009)}, minimum_change=0.1)
        assert held["app"].wanted == WORKED

    def test_holding_twice_changes_nothing(self) -> None:
        old = render(standing())
        for factor in (1.0, 1.005, 1.2):
            once = held_by(old, {"app": moved(recommendation(), factor)}, minimum_change=0.1)
            assert held_by(old, once, minimum_change=0.1) == once

    @pytest.mark.parametrize("factor", [1.012, 0.98, 1.5])
    def test_beyond_the_band_number_and_explanation_are_renewed_together(self, factor: float) -> None:
        new = moved(recommendation(), factor)
        status = self.cycle(render(standing()), new)
        assert status["containers"][0]["recommended"] == sizes_status(new.wanted)
        assert status["containers"][0]["explanation"]["cpu"]["text"] == "anew"

    @pytest.mark.parametrize(("minimum_change", "held"), [(0.1, False), (0.3, True), (0.0, False)])
    def test_the_band_is_a_tenth_of_the_minimum_change(self, minimum_change: float, held: bool) -> None:
        found = held_by(render(standing()), {"app": moved(recommendation(), 1.02)}, minimum_change=minimum_change)
        assert (found["app"].wanted == WORKED) is held

    @pytest.mark.parametrize(("samples", "renewed"), [(4032 - 287, False), (4032 - 288, True)])
    def test_a_day_of_samples_is_news(self, samples: int, renewed: bool) -> None:
        status = self.cycle(render(standing()), moved(recommendation(), 1.005, samples=samples))
        assert (status["containers"][0]["explanation"]["cpu"]["text"] == "anew") is renewed
        assert (status["containers"][0]["recommended"] == WORKED_STATUS) is not renewed

    @pytest.mark.parametrize(
        "fields",
        [
            {"buffer": 0.21},
            {"request_clamp": Clamp.OOM_KILL},
            {"measurement": measurement(value=180, statistic="p99")},
            {"measurement": measurement(value=180, window_seconds=7 * DAY)},
        ],
    )
    def test_another_way_to_the_number_is_news(self, fields: dict[str, Any]) -> None:
        status = self.cycle(render(standing()), moved(recommendation(), 1.005, **fields))
        assert status["containers"][0]["explanation"]["cpu"]["text"] == "anew"

    def test_what_is_told_of_one_container_is_of_one_moment(self) -> None:
        old, new = render(standing()), moved(recommendation(), 1.005, samples=4000, buffer=0.21)
        status = self.cycle(old, new)
        assert {entry["samples"] for entry in status["containers"][0]["explanation"].values()} == {4000}
        assert status["containers"][0]["recommended"] == sizes_status(new.wanted)

    @pytest.mark.parametrize(("share", "told"), [(0.0288, "2.9%"), (0.018, "1.8%"), (0.1, "10%"), (1.0, "100%")])
    def test_the_coverage_is_that_of_the_text(self, share: float, told: str) -> None:
        found = explanation("cpu", WORKED)
        assert explanation_status(replace(found, measurement=replace(found.measurement, coverage=share)))["coverage"] == told

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ({"request_clamp": Clamp.MAXIMUM}, {"request": 215, "request_clamp": Clamp.MAXIMUM}),
            ({"limit_policy": LimitPolicy.KEEP}, {"limit": 431, "limit_policy": LimitPolicy.KEEP}),
            ({"limit": 217}, {"limit": 216}),
            ({"limit": 432}, {"limit": None}),
            ({"limit": None}, {"limit": 432}),
        ],
    )
    def test_what_is_not_measured_is_never_off(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        old = render(standing(None, with_cpu(explanation("cpu", WORKED, **before))))
        new = with_cpu(explanation("cpu", WORKED, **after))
        assert held_by(old, {"app": new}, minimum_change=0.1)["app"].wanted == new.wanted

    def test_being_applied_changes_what_is_now_and_not_what_is_recommended(self) -> None:
        first = render(standing())
        status = self.cycle(first, moved(recommendation(), 1.009), deployment=workload(Container("app", WORKED)))
        assert status["containers"] == [{**first["containers"][0], "current": WORKED_STATUS}]
        assert status["summary"]["reason"] == "UpToDate"

    @pytest.mark.parametrize(
        "entry",
        [
            {},
            {"recommended": WORKED_STATUS},
            {"recommended": None, "explanation": {"cpu": None}},
            {"recommended": {"requests": {"cpu": "much"}}, "explanation": {"cpu": explanation_status(explanation("cpu", WORKED))}},
            {"recommended": WORKED_STATUS, "explanation": {"cpu": {"statistic": "p95"}}},
        ],
    )
    def test_a_status_that_cannot_be_read_holds_nothing(self, entry: dict[str, Any]) -> None:
        new = moved(recommendation(), 1.005)
        assert held_by({"containers": [{"name": "app", **entry}]}, {"app": new}, minimum_change=0.1) == {"app": new}

    @given(factors=st.lists(st.floats(0.9, 1.1), min_size=1, max_size=8))
    def test_what_is_told_is_never_further_off_than_the_band(self, factors: list[float]) -> None:
        status: dict[str, Any] = {}
        for factor in factors:
            new = moved(recommendation(), factor)
            status = render(standing(None, new), status)
            told = sizes_from_status(status["containers"][0]["recommended"])
            assert told.cpu_request == pytest.approx(new.wanted.cpu_request, rel=0.0102)
            assert told.memory_limit == pytest.approx(new.wanted.memory_limit, rel=0.0102)

    def test_the_age_alone_is_no_news_within_a_day(self) -> None:
        first = render(standing())
        for later in (3600, 23 * 3600):
            assert render(standing(None, recommendation(newest=int(NOW) + later), checks={"now": NOW + later}), first, NOW + later) == first
        status = render(standing(None, recommendation(newest=int(NOW) + DAY), checks={"now": NOW + DAY}), first, NOW + DAY)
        assert status["measuredAt"] == "2025-11-21T12:00:00Z"
        explained = status["containers"][0]["explanation"]
        assert [explained[resource].pop("lastSample") for resource in ("cpu", "memory")] == ["2025-11-21T12:00:00Z"] * 2
        for resource in ("cpu", "memory"):
            del first["containers"][0]["explanation"][resource]["lastSample"]
        assert {**status, "measuredAt": ""} == {**first, "measuredAt": ""}

    def test_the_last_sample_is_renewed_with_other_news_also_where_the_number_stands(self) -> None:
        first = render(standing())
        later = moved(recommendation(), 1.005, measurement=measurement(value=180.9, newest=int(NOW) + 300))
        assert self.cycle(first, later) == first
        status = self.cycle(first, later, deployment=workload(Container("app", WORKED)))
        explained = status["containers"][0]["explanation"]["cpu"]
        assert explained == {**first["containers"][0]["explanation"]["cpu"], "lastSample": "2025-11-20T12:05:00Z"}

    @pytest.mark.parametrize(
        ("before", "after", "renewed"),
        [(0, 0, False), (0, 0.001, True), (0.001, 0, True), (0.5, 0.54, False), (0.5, 0.55, True), (0.5, 0.45, True)],
    )
    def test_throttling_that_began_ended_or_moved_much_is_news(self, before: float, after: float, renewed: bool) -> None:
        first = render(standing(None, with_cpu(explanation("cpu", WORKED, measurement=measurement(value=180, throttled=before)))))
        status = self.cycle(first, moved(recommendation(), 1.005, measurement=measurement(value=180.9, throttled=after)))
        assert (status["containers"][0]["explanation"]["cpu"]["text"] == "anew") is renewed
        assert (status == first) is not renewed

    def test_the_generation_alone_is_no_news(self) -> None:
        first = render(standing())
        assert render(standing(workload(generation=4, resource_version="99")), first) == first


def with_cpu(found: Explanation) -> ContainerRecommendation:
    wanted = replace(WORKED, cpu_request=found.request, cpu_limit=found.limit)
    return replace(recommendation(wanted), cpu=found)


class TestProfile:
    def render(self, profile: Profile | None = None, now: float = NOW, **fields: Any) -> dict[str, Any]:
        return profile_status.render(profile or Profile("shop", "web", generation=2), ProfileStanding(**fields), now=now)

    def test_all_is_well(self) -> None:
        assert self.render(matched=3, measured=2, waiting=1, changed=1) == {
            "observedGeneration": 2,
            "workloads": {"matched": 3, "measured": 2, "waiting": 1, "changed": 1},
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "Understood",
                    "message": "every field is in force",
                    "lastTransitionTime": "2025-11-20T12:00:00Z",
                },
                {
                    "type": "Measuring",
                    "status": "True",
                    "reason": "Measuring",
                    "message": "the usage source answers",
                    "lastTransitionTime": "2025-11-20T12:00:00Z",
                },
            ],
        }

    def test_without_news_it_is_equal(self) -> None:
        first = self.render(matched=1)
        later = Profile("shop", "web", generation=2, status=first)
        assert self.render(later, NOW + DAY, matched=1) == first

    def test_a_field_that_cannot_be_used_is_named(self) -> None:
        problems = (Problem("spec.cpu.buffer", "too much"), Problem("spec.window", "too long"))
        status = self.render(Profile("shop", "web", problems=problems))
        assert condition(status, "Ready") == ("False", "InvalidField")
        assert status["conditions"][0]["message"] == ("spec.cpu.buffer: too much; spec.window: too long (the default stands in its place)")

    def test_a_field_that_counts_although_it_does_harm(self) -> None:
        kept = Problem("spec.evidence.maxTimeAboveRequest", "too little", kept=True)
        assert condition(self.render(Profile("shop", "web", problems=(kept,))), "Ready") == ("False", "InvalidField")
        message = self.render(Profile("shop", "web", problems=(kept,)))["conditions"][0]["message"]
        assert message == "spec.evidence.maxTimeAboveRequest: too little"

    @pytest.mark.parametrize(("overruled", "words"), [(1, "1 workload of"), (3, "3 workloads of")])
    def test_a_profile_that_lost_workloads_says_so(self, overruled: int, words: str) -> None:
        status = self.render(overruled=overruled)
        assert condition(status, "Ready") == ("True", "PartlyOverruled")
        assert words in status["conditions"][0]["message"]

    @pytest.mark.parametrize(
        ("standing", "ready", "measuring"),
        [
            ({"matched": 3, "namespaces": 2}, "Understood", "Measuring"),
            ({"matched": 3, "namespaces": 2, "unmeasured": "1 of 2 namespaces cannot"}, "Understood", "PartlyMeasuring"),
            ({"matched": 0, "namespaces": 2}, "NothingMatched", "NothingToMeasure"),
            ({"matched": 0, "namespaces": 0}, "NothingMatched", "NothingToMeasure"),
            ({"matched": 0, "namespaces": 2, "trouble": DOWN}, "Understood", "PrometheusUnreachable"),
            ({"matched": 3, "namespaces": 2, "overruled": 1}, "PartlyOverruled", "Measuring"),
        ],
    )
    def test_of_the_whole_cluster(self, standing: dict[str, Any], ready: str, measuring: str) -> None:
        status = profile_status.render(Profile("", "all"), ProfileStanding(**standing), now=NOW)
        assert (condition(status, "Ready")[1], condition(status, "Measuring")[1]) == (ready, measuring)
        assert status["namespaces"] == standing["namespaces"]
        assert unknown_fields(status, schema("clusterresourceprofiles", "status")) == []

    def test_trouble_is_told(self) -> None:
        assert condition(self.render(trouble=DOWN), "Measuring") == ("False", "PrometheusUnreachable")

    def test_notes_are_told(self) -> None:
        status = self.render(notes=("owners are found by naming rules",))
        assert status["conditions"][1]["message"] == "the usage source answers; owners are found by naming rules"

    def test_an_ignoring_profile_measures_nothing(self) -> None:
        assert condition(self.render(Profile("shop", "web", mode=Mode.IGNORE), trouble=DOWN), "Measuring") == ("False", "ModeIgnore")

    def test_all_that_is_rendered_is_in_the_schema(self) -> None:
        assert unknown_fields(self.render(), schema("resourceprofiles", "status")) == []


def schema(plural: str, part: str) -> dict[str, Any]:
    definition = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    found: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    return found


def unknown_fields(value: Any, described: Mapping[str, Any], path: str = "") -> list[str]:
    """Where `value` goes beyond its schema: fields that the API server would silently drop, and words that it would refuse."""
    if isinstance(value, list):
        return [problem for each in value for problem in unknown_fields(each, described["items"], f"{path}[]")]
    if not isinstance(value, dict):
        fits = value in described.get("enum", [value]) and described["type"] == {str: "string", int: "integer"}[type(value)]
        return [] if fits else [path]
    fields = described["properties"]
    missing = [f"{path}.{name}" for name in described.get("required", []) if name not in value]
    known = [problem for name, each in value.items() if name in fields for problem in unknown_fields(each, fields[name], f"{path}.{name}")]
    return missing + known + [f"{path}.{name}" for name in value if name not in fields]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_in_the_schema(outcome: Outcome) -> None:
    described = schema("resourcerecommendations", "status")["properties"]["lastChange"]
    assert unknown_fields(change_status(change(outcome)), described) == []


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("Deployment", "web", "deployment-web"),
        ("DaemonSet", "log.agent", "daemonset-log.agent"),
        ("Deployment", "w" * 242, "deployment-" + "w" * 242),
    ],
)
def test_names_of_recommendations(kind: str, name: str, expected: str) -> None:
    assert recommendation_name(WorkloadRef("shop", kind, name)) == expected


def test_long_names_are_cut_and_stay_apart() -> None:
    names = {recommendation_name(WorkloadRef("shop", "Deployment", "w" * 250 + end)) for end in ("abc", "abd")}
    assert [len(name) for name in names] == [253, 253]
