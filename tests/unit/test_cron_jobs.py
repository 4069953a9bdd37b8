"""CronJobs: whose pods come and go. Found, measured by their runs, judged by their runs, changed without a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rightsizer.checks.chain import judge
from rightsizer.checks.facts import CheckFacts, Objection, Reason
from rightsizer.checks.measuring import not_enough_history, stale_metrics
from rightsizer.cluster.endpoint import CRON_JOBS
from rightsizer.cluster.ownership import owned_fields, path_of
from rightsizer.cluster.workload_json import parse_workload
from rightsizer.evidence.proof import Basis, prove
from rightsizer.evidence.replay import seen_enough
from rightsizer.history import SLOT_SECONDS, UsageWindow
from rightsizer.methods.finding import NOTHING_KNOWN, FindingType
from rightsizer.methods.levels import DAY_SLOTS
from rightsizer.methods.measured import Measured
from rightsizer.methods.pace import pace_of
from rightsizer.methods.patterns.recognising import recognise
from rightsizer.methods.statistics import runs
from rightsizer.pod import PodContainer
from rightsizer.ports import PodOwners
from rightsizer.profile import Profile
from rightsizer.strategies.rollout import render
from rightsizer.workload import (
    Container,
    ContainerKey,
    FieldPath,
    OwnerRef,
    RolloutPhase,
    Sizes,
    Workload,
    WorkloadRef,
    workload_by_pod_name,
    workload_of,
)
from tests.api_objects import Json, app_container, managed
from tests.unit.builders import (
    DAY,
    MI,
    NOW,
    PLAIN_RULE,
    WIDE,
    WORKED,
    check_facts,
    container_facts,
    recommendation,
    usage_window,
    workload,
)
from tests.unit.world import World

NIGHT = WorkloadRef("shop", "CronJob", "night")
HOUR = 3_600
LONG_AGO = NOW - 3 * DAY
NAN = np.float32(np.nan)


def cron_job(**spec: Any) -> Json:
    """As an item of a list: hourly, last run at noon."""
    pod = {"containers": [app_container(requests={"cpu": "300m"})], "restartPolicy": "Never"}
    template = {"metadata": {"annotations": {"rightsizer.dev/mode": "Recommend"}}, "spec": pod}
    metadata = {"name": "night", "namespace": "shop", "uid": "u", "resourceVersion": "5", "generation": 2}
    job = {"template": template, **spec.pop("job", {})}
    return {
        "metadata": metadata,
        "spec": {"schedule": "0 * * * *", "jobTemplate": {"spec": job}, **spec},
        "status": {"lastScheduleTime": "2026-01-31T12:00:00Z"},
    }


def night(**fields: Any) -> Workload:
    """CronJob/night of sizes WIDE, which ran a moment ago."""
    return workload(**{"ref": NIGHT, "api_version": "batch/v1", "replicas": 1, "last_run": NOW - 60, **fields})


def daily(days: int = 14, *, slots: int = 6, level: float = 1.0, every: int = DAY_SLOTS) -> NDArray[np.float32]:
    """A run of so many slots at the begin of each day, up to the end of the last day."""
    values = np.full(days * DAY_SLOTS, NAN)
    for start in range(0, len(values), every):
        values[start : start + slots] = level
    return values


def window(values: NDArray[np.float32], *, cpu: float = 180, memory: float = 320 * MI, ref: WorkloadRef = NIGHT) -> UsageWindow:
    found = usage_window([(values * cpu).tolist()], [(values * memory).tolist()])
    return replace(found, keys=(ContainerKey(ref, "c0"),))


JOBS = {
    ("shop", "of-another-name"): OwnerRef("CronJob", "night"),
    ("shop", "night-20260131"): None,
    ("shop", "of-flow-12345678"): OwnerRef("Workflow", "flow"),
}


class TestFound:
    @pytest.mark.parametrize(
        ("job", "expected"),
        [
            pytest.param("night-29384756", ("CronJob", "night"), id="by its name"),
            pytest.param("a-b-29384756", ("CronJob", "a-b"), id="with dashes"),
            pytest.param("of-another-name", ("CronJob", "night"), id="by its owner"),
            pytest.param("night-20260131", ("Job", "night-20260131"), id="made by hand, named alike"),
            pytest.param("of-flow-12345678", ("Workflow", "flow"), id="of something else"),
            pytest.param("import", ("Job", "import"), id="made by hand"),
            pytest.param("import-1234567", ("Job", "import-1234567"), id="too few digits"),
            pytest.param("-29384756", ("Job", "-29384756"), id="of nothing"),
        ],
    )
    def test_by_the_job_of_a_pod(self, job: str, expected: tuple[str, str]) -> None:
        assert workload_of("shop", OwnerRef("Job", job), {}, JOBS) == WorkloadRef("shop", *expected)

    @pytest.mark.parametrize(
        ("pod", "found"),
        [("night-29384756-x2x4z", True), ("night-29384756-3-x2x4z", True), ("night-2938475-x2x4z", False), ("night-x2x4z", False)],
    )
    def test_by_the_name_of_a_pod(self, pod: str, found: bool) -> None:
        assert workload_by_pod_name(pod, [NIGHT]) == (NIGHT if found else None)

    def test_jobs_are_no_part_of_what_is_asked_by_default(self) -> None:
        assert PodOwners({}, {}).jobs == {}


class TestParsed:
    def test_the_template_of_its_jobs(self) -> None:
        found = parse_workload(CRON_JOBS, cron_job())
        assert (found.ref, found.api_version, found.replicas) == (NIGHT, "batch/v1", 1)
        assert found.containers[0].sizes == Sizes(cpu_request=300)
        assert found.pod_annotations == {"rightsizer.dev/mode": "Recommend"}
        assert found.last_run == datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()

    @pytest.mark.parametrize(("job", "replicas"), [({}, 1), ({"parallelism": 4}, 4), ({"parallelism": 0}, 0)])
    def test_replicas_are_the_pods_of_a_run(self, job: Json, replicas: int) -> None:
        assert parse_workload(CRON_JOBS, cron_job(job=job)).replicas == replicas

    def test_one_that_never_ran(self) -> None:
        assert parse_workload(CRON_JOBS, cron_job() | {"status": {}}).last_run is None

    def test_a_suspended_one_is_not_paused_for_a_change_of_it_is_harmless(self) -> None:
        found = parse_workload(CRON_JOBS, cron_job(suspend=True))
        assert (found.paused, found.rollout) == (False, RolloutPhase.COMPLETE)

    def test_who_holds_its_fields(self) -> None:
        pod: Json = {"f:containers": {'k:{"name":"app"}': {"f:resources": {"f:requests": {"f:cpu": {}}}}}}
        fields = {"f:spec": {"f:jobTemplate": {"f:spec": {"f:template": {"f:spec": pod}}}}}
        assert owned_fields([managed("rightsizer", "Apply", fields)]) == {FieldPath("app", "cpu", "request")}
        place = '.spec.jobTemplate.spec.template.spec.containers[name="app"].resources.requests.cpu'
        assert path_of(place) == "app.cpu.request"

    def test_is_changed_in_the_template_of_its_jobs(self) -> None:
        facts = check_facts(night())
        body = render(facts.workload, facts.changes).apply_body
        (container,) = body["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert (body["apiVersion"], body["kind"], container["resources"]["requests"]["cpu"]) == ("batch/v1", "CronJob", "216m")
        assert list(body["spec"]) == ["jobTemplate"]


@pytest.mark.parametrize(
    ("values", "number", "longest"),
    [([1, 2, NAN, 3], 2, 2), ([NAN, NAN], 0, 0), ([], 0, 0), ([1, 1, 1], 1, 3), ([NAN, 1, NAN, NAN, 1, 1], 2, 2)],
)
def test_runs(values: Sequence[float], number: int, longest: int) -> None:
    counts, lengths = runs(np.array([values, [NAN] * len(values)], dtype=np.float32))
    assert (counts.tolist(), lengths.tolist()) == ([number, 0], [longest, 0])


class TestMeasured:
    def test_is_as_old_as_its_first_run_and_counts_its_runs(self) -> None:
        usage = window(daily())
        (found,) = Measured().recommend(usage, [replace(container_facts(rule=PLAIN_RULE), key=usage.keys[0])])
        assert found.cpu is not None
        measured = found.cpu.measurement
        assert (measured.runs, measured.longest_run_slots, measured.history_seconds) == (14, 6, 14 * DAY)
        assert (found.wanted.cpu_request, found.wanted.memory_request) == (216, 384 * MI)
        assert found.cpu.text.startswith("p95 of 14d (84 values, 14 runs, 1 pod) = 180m")

    def test_what_runs_all_the_time_has_no_runs(self) -> None:
        usage = window(daily(), ref=WorkloadRef("shop", "Deployment", "web"))
        (found,) = Measured().recommend(usage, [container_facts(rule=PLAIN_RULE)])
        assert found.cpu is not None
        measured = found.cpu.measurement
        assert (measured.runs, measured.history_seconds) == (None, 13 * DAY + 6 * SLOT_SECONDS)


class TestFindings:
    def found(self, usage: UsageWindow) -> set[FindingType]:
        (one,) = recognise(usage, slice(0, 1), [NOTHING_KNOWN])
        return {finding.type for finding in one.findings}

    def test_a_run_that_climbs_is_no_leak(self) -> None:
        climbs = np.tile(np.linspace(400 * MI, 900 * MI, 3 * DAY_SLOTS), 4).astype(np.float32)
        steady, batch = (window(climbs, cpu=1e-7, memory=1, ref=ref) for ref in (WorkloadRef("shop", "Deployment", "web"), NIGHT))
        assert FindingType.MEMORY_LEAK in self.found(steady)
        assert not {FindingType.MEMORY_LEAK, FindingType.MEMORY_GROWTH} & self.found(batch)
        (one,) = recognise(batch, slice(0, 1), [NOTHING_KNOWN])
        assert one.leak_start is None

    def test_short_runs_of_little_are_not_idle(self) -> None:
        little = daily(slots=24)
        assert FindingType.IDLE in self.found(window(little, cpu=2, ref=WorkloadRef("shop", "Deployment", "web")))
        assert FindingType.IDLE not in self.found(window(little, cpu=2))

    def test_a_rare_peak_is_told_of_its_days(self) -> None:
        values = daily(slots=36)
        values[5 * DAY_SLOTS : 5 * DAY_SLOTS + 4] = 4.0
        assert FindingType.RARE_PEAK in self.found(window(values, memory=100 * MI))


def facts(*, small: bool = False, last_run: float | None = NOW - 60, now: float = NOW, **measured: Any) -> CheckFacts:
    """Of CronJob/night, seen in a run a day for two weeks; `small`: it would be raised."""
    fields = {"runs": 14, "longest_run_slots": 6, "samples": 84, "newest": int(NOW) - 20 * HOUR, **measured}
    sizes = Sizes(cpu_request=100, cpu_limit=200, memory_request=100 * MI, memory_limit=150 * MI) if small else WIDE
    return check_facts(night(last_run=last_run, containers=(Container("app", sizes),)), [recommendation(current=sizes, **fields)], now=now)


class TestStale:
    @pytest.mark.parametrize(
        ("newest", "last_run", "now", "stale"),
        [
            pytest.param(NOW - 23 * HOUR, NOW - 23 * HOUR, NOW, False, id="daily, between two runs"),
            pytest.param(NOW - 6 * DAY, NOW - 6 * DAY, NOW, False, id="weekly, between two runs"),
            pytest.param(NOW - 5 * HOUR, NOW - HOUR, NOW, False, id="some runs went unseen"),
            pytest.param(NOW - 3 * DAY, None, NOW, False, id="nobody says when it ran"),
            pytest.param(NOW - 30 * HOUR, NOW - 60, NOW, False, id="a run has just begun"),
            pytest.param(NOW - 30 * HOUR, NOW - 16 * 60, NOW, True, id="unseen for more than a day"),
            pytest.param(NOW - 14 * DAY, NOW - 7 * DAY, NOW, True, id="a weekly run went unseen"),
        ],
    )
    def test_judged_by_its_runs(self, newest: float, last_run: float | None, now: float, stale: bool) -> None:
        objection = stale_metrics(facts(newest=int(newest), last_run=last_run, now=now))
        assert (objection is not None) is stale
        if objection is not None:
            assert (objection.reason, objection.paths) == (Reason.STALE_METRICS, None)
            assert objection.message.endswith("its runs end between two scrapes, or are not scraped")


class TestEnough:
    def test_gaps_between_runs_are_no_lack_of_history(self) -> None:
        assert not_enough_history(facts()) is None
        assert {str(one.path) for one in judge(facts()).allowed} == {
            "app.cpu.request",
            "app.cpu.limit",
            "app.memory.request",
            "app.memory.limit",
        }

    def test_two_runs_are_too_few_to_lower(self) -> None:
        objection = not_enough_history(facts(runs=2))
        assert objection is not None
        assert objection.message.startswith("2 of 3 runs seen in 14d (spec.window), shorter ones than a scrape interval are not seen: app.")

    def test_one_run_is_enough_to_raise(self) -> None:
        assert not_enough_history(facts(small=True, runs=1)) is None

    def test_one_run_without_an_end_is_enough(self) -> None:
        assert not_enough_history(facts(runs=1, samples=4000)) is None

    @pytest.mark.parametrize(("slots", "held"), [(1, True), (2, True), (3, False)])
    def test_the_cpu_of_runs_that_fill_no_slot_is_not_lowered(self, slots: int, held: bool) -> None:
        objection = not_enough_history(facts(longest_run_slots=slots))
        assert (objection is not None) is held
        if objection is not None:
            assert objection.message.startswith("its runs fill no five minutes, of which CPU is the mean")
            assert objection.paths == frozenset({FieldPath("app", "cpu", "request"), FieldPath("app", "cpu", "limit")})

    @pytest.mark.parametrize(("days", "words"), [(3, "3 of 7 days of history, enough from 2025-11-24 12:00 UTC on"), (6.9, "6 of 7 days")])
    def test_its_age_counts_from_its_first_run(self, days: float, words: str) -> None:
        objection = not_enough_history(facts(history_seconds=int(days * DAY)))
        assert objection is not None
        assert objection.message.startswith(words)

    def test_nothing_seen_is_not_enough(self) -> None:
        objection: Objection | None = not_enough_history(replace(facts(), recommendations={}, changes=()))
        assert objection is not None
        assert objection.message == "no usage of any container has been seen yet"


class TestReplayed:
    PACE = replace(pace_of(Profile("shop", "all"), strategy="Rollout"), steady=False)

    def test_decides_between_runs_by_how_many_there_were(self) -> None:
        values = daily(10)[np.newaxis]
        ends = np.arange(12, values.shape[1], 12)
        may_raise, may_lower = seen_enough(values, ends, 14 * DAY_SLOTS, self.PACE)
        assert 0.98 <= ends[may_raise[0]][0] / DAY_SLOTS <= 1.0
        # A week after its first run, with a hundredth left out.
        assert 6.9 <= ends[may_lower[0]][0] / DAY_SLOTS <= 7.0
        assert may_lower[0, -1]

    def test_two_runs_are_too_few_to_lower(self) -> None:
        values = daily(14, every=8 * DAY_SLOTS)[np.newaxis]
        _, may_lower = seen_enough(values, np.array([values.shape[1] - 1]), 14 * DAY_SLOTS, self.PACE)
        assert not may_lower.any()

    def test_what_runs_all_the_time_is_judged_by_its_gaps(self) -> None:
        values = daily(10)[np.newaxis]
        may_raise, _ = seen_enough(values, np.array([values.shape[1] - 1]), 14 * DAY_SLOTS, replace(self.PACE, steady=True))
        assert not may_raise.any()

    @pytest.mark.parametrize(("steady", "proves"), [(True, False), (False, True)])
    def test_a_few_values_are_evidence(self, steady: bool, proves: bool) -> None:
        basis = Basis(PLAIN_RULE, guaranteed=False, window_seconds=14 * DAY, pace=replace(self.PACE, steady=steady))
        (found,) = prove(window(daily()), basis)
        assert (found is not None and found.proves("cpu") and found.proves("memory")) is proves

    def test_a_run_above_its_limit_is_an_oom_kill_of_the_replay(self) -> None:
        values = daily()
        values[-DAY_SLOTS : -DAY_SLOTS + 3] = 3.0
        basis = Basis(PLAIN_RULE, guaranteed=False, window_seconds=14 * DAY, pace=self.PACE)
        (found,) = prove(window(values), basis)
        assert found is not None
        assert found.memory.oom_events == 1


@pytest.fixture
def world() -> World:
    """CronJob/night that ran for half an hour each day of two weeks, 20 hours ago at last."""
    world = World()
    world.apply_profile()
    world.cluster.add_workload(night(uid="shop-night"))
    for day in range(14):
        run(world, ended=20 * HOUR + day * DAY)
    return world


def run(world: World, *, ended: float, minutes: float = 30) -> str:
    """A run that ended so many seconds ago. Answers its pod."""
    until = world.clock.time - ended
    job = f"night-{int(until // 60)}"
    world.use(f"{job}-aaaaa", owner=OwnerRef("Job", job), days=(ended + minutes * 60) / DAY, until=until)
    world.source.jobs["shop", job] = OwnerRef("CronJob", "night")
    return f"{job}-aaaaa"


def sizes(world: World) -> Sizes:
    return world.workload("night", kind="CronJob").containers[0].sizes


def told(world: World) -> tuple[str, str]:
    summary = world.recommended("night", kind="CronJob")["summary"]
    return summary["state"], summary["reason"]


class TestScenario:
    def test_is_sized_hours_after_its_last_run_and_in_force_when_written(self, world: World) -> None:
        world.run_cycle()
        assert sizes(world) == WORKED
        world.run_cycles(2)
        change = world.recommended("night", kind="CronJob")["lastChange"]
        assert (change["outcome"], change["message"]) == ("Succeeded", "in force from its next run on; Jobs that run keep theirs")

    def test_without_kube_state_metrics_names_must_do(self, world: World) -> None:
        world.source.kube_state_metrics = False
        world.run_cycle()
        assert sizes(world) == WORKED

    def test_a_job_made_by_hand_is_none_of_its_runs(self, world: World) -> None:
        job = "night-20260131"
        world.use(f"{job}-aaaaa", owner=OwnerRef("Job", job), days=1, memory=1800 * MI)
        world.source.jobs["shop", job] = None
        world.run_cycle()
        assert sizes(world) == WORKED

    def test_an_oom_kill_of_a_run_raises_the_floor(self, world: World) -> None:
        pod = run(world, ended=5 * HOUR)
        world.kill_for_memory(pod, limit=480 * MI)
        world.run_cycle()
        assert sizes(world).memory_limit == 580 * MI

    def test_a_namespace_whose_cron_jobs_rest_misses_no_metrics(self, world: World) -> None:
        world.run_cycle()
        assert world.measuring_condition()["status"] == "True"
        # What is new is one slot, and not again what may have come late.
        before = len(world.source.calls)
        world.next_slot()
        world.run_cycle()
        spans = {call.about for call in world.source.calls[before:] if call.name == "usage"}
        now = int(world.clock.time) // SLOT_SECONDS * SLOT_SECONDS
        assert all(now - int(span.split()[-1].split("..")[0]) <= 900 for span in spans)

    @pytest.mark.parametrize("killed", [False, True])
    def test_a_run_that_ends_is_no_harm(self, world: World, killed: bool) -> None:
        world.apply_profile(apply={"verify": {"period": "30m"}})
        world.run_cycles(2)
        world.pass_time(1_200)
        pod, ended = run(world, ended=60, minutes=5), world.clock.time - 60
        container = PodContainer("app", 576 * MI, ended_at=ended, oom_killed_at=ended if killed else None)
        world.cluster.stored_pods = [
            replace(found, containers=(container,), created_at=ended - 240) if found.name == pod else found
            for found in world.cluster.stored_pods
        ]
        world.pass_time(900)
        world.run_cycle()
        assert (sizes(world) == WORKED) is not killed
        if not killed:
            assert world.recommended("night", kind="CronJob")["lastChange"]["outcome"] == "Succeeded"

    def test_runs_that_are_not_seen_any_more_are_stale(self, world: World) -> None:
        world.apply_profile(mode="Recommend")
        world.cluster.edit(NIGHT, last_run=world.clock.time + 2 * DAY)
        world.pass_time(2 * DAY + HOUR)
        world.run_cycle()
        assert told(world) == ("Stale", "StaleMetrics")

    def test_is_listed_only_where_a_profile_names_the_kind(self, world: World) -> None:
        world.apply_profile(workloads={"kinds": ["Deployment"]})
        world.run_cycle()
        assert world.recommended("night", kind="CronJob") == {}
