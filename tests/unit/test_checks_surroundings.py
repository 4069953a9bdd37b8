"""What stands around a workload, check by check: stop and freeze, other autoscalers, quotas of a rollout, nodes, disruption budgets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rightsizer.checks.chain import hpa_on_same_resource, judge
from rightsizer.checks.confines import Amount, Confines, DisruptionBudget, Quota, Room, VerticalAutoscaler
from rightsizer.checks.disruption import pod_disruption_budget_forbids
from rightsizer.checks.facts import CheckFacts, Objection, Reason
from rightsizer.checks.holding import told_freeze, told_stop
from rightsizer.checks.node_room import Node, NodeRooms, largest, node_too_small
from rightsizer.checks.pod_sum import pod_sum
from rightsizer.checks.quota import quota_exceeded
from rightsizer.checks.vertical import vpa_active
from rightsizer.methods.recommendation import Clamp
from rightsizer.profile import ApplyRule, LabelSelector, Profile
from rightsizer.workload import Autoscaler, Container, ResourceName, Role, ScalingMetric, Sizes, Workload, WorkloadRef
from tests.unit.builders import GI, MI, REF, WIDE, WORKED, check_facts, explanation, recommendation, workload

SMALL = Sizes(cpu_request=100, cpu_limit=200, memory_request=128 * MI, memory_limit=192 * MI)
PROFILE = Profile("shop", "web")
IN_PLACE = Profile("shop", "web", apply=ApplyRule(strategy="InPlace"))
CPU_REQUESTS: Amount = ("cpu", "request")
BOTH: frozenset[ResourceName] = frozenset(("cpu", "memory"))
ALL = {"app.cpu.request", "app.cpu.limit", "app.memory.request", "app.memory.limit"}


def around(deployment: Workload | None = None, *, profile: Profile | None = None, **confines: Any) -> CheckFacts:
    """From WIDE to WORKED within these confines."""
    return check_facts(deployment, confines=Confines(**confines), profile=profile or PROFILE)


def rising(deployment: Workload | None = None, *, profile: Profile | None = None, clamp: Clamp = Clamp.NONE, **confines: Any) -> CheckFacts:
    """From SMALL to WORKED."""
    wanted = recommendation(current=SMALL)
    wanted = replace(wanted, memory=explanation("memory", WORKED, request_clamp=clamp))
    return check_facts(deployment or workload(Container("app", SMALL)), [wanted], confines=Confines(**confines), profile=profile or PROFILE)


def held(objection: Objection | None) -> set[str] | None:
    """The numbers that are held back: all of them where none is named, None without an objection."""
    if objection is None:
        return None
    return ALL if objection.paths is None else {str(path) for path in objection.paths}


class TestStopAndFreeze:
    @pytest.mark.parametrize(
        ("confines", "reason"),
        [
            ({"stopped": "why"}, Reason.STOPPED),
            ({"frozen": "why"}, Reason.FROZEN),
            ({"unknown": "why"}, Reason.SURROUNDINGS_UNKNOWN),
        ],
    )
    def test_everything_is_held_back_and_it_is_told_first(self, confines: dict[str, Any], reason: Reason) -> None:
        verdict = judge(around(**confines))
        assert (verdict.allowed, verdict.objections[0]) == ((), Objection(reason, "why"))

    @pytest.mark.parametrize(
        ("value", "stops"),
        [(None, False), ("Apply", False), ("Recommend", True), ("Ignore", True), ("off", True), ("apply", True), ("", True)],
    )
    def test_the_annotation_of_the_operators_own_deployment(self, value: str | None, stops: bool) -> None:
        told = told_stop("rightsizer/rightsizer", {} if value is None else {"rightsizer.dev/mode": value})
        assert bool(told) == stops
        assert not stops or f'of Deployment rightsizer/rightsizer is "{value}"' in told

    @pytest.mark.parametrize(
        ("value", "freezes"), [(None, False), ("false", False), (" False ", False), ("true", True), ("no", True), ("", True)]
    )
    def test_the_annotation_of_a_namespace(self, value: str | None, freezes: bool) -> None:
        told = told_freeze("shop", {} if value is None else {"rightsizer.dev/freeze": value})
        assert bool(told) == freezes
        assert not freezes or f'of namespace shop is "{value}"' in told


class TestHorizontalAutoscaler:
    @pytest.mark.parametrize(
        ("group", "api_version", "conflicts"),
        [
            ("apps", "apps/v1", True),
            ("", "apps/v1", True),
            ("extensions", "apps/v1", True),
            ("argoproj.io", "apps/v1", False),
            ("argoproj.io", "argoproj.io/v1alpha1", True),
            ("extensions", "argoproj.io/v1alpha1", False),
        ],
    )
    def test_is_of_the_workload_of_its_group(self, group: str, api_version: str, conflicts: bool) -> None:
        found = Autoscaler("shop", "hpa", REF, (ScalingMetric("cpu", "Utilization"),), group)
        facts = check_facts(workload(api_version=api_version), autoscalers=(found,))
        assert bool(hpa_on_same_resource(facts)) == conflicts


def vertical(sizes: dict[str, frozenset[ResourceName]] | None = None, **fields: Any) -> VerticalAutoscaler:
    found = VerticalAutoscaler("shop", "vpa", REF, "apps", {"*": BOTH} if sizes is None else sizes)
    return replace(found, **fields)


class TestVerticalAutoscaler:
    @pytest.mark.parametrize(
        ("sizes", "numbers"),
        [
            (None, ALL),
            ({"*": frozenset(("memory",))}, {"app.memory.request", "app.memory.limit"}),
            ({"*": frozenset()}, None),
            ({"*": BOTH, "app": frozenset()}, None),
            ({"*": frozenset(), "app": frozenset(("cpu",))}, {"app.cpu.request", "app.cpu.limit"}),
            ({"*": frozenset(), "other": BOTH}, None),
        ],
    )
    def test_what_it_sets_is_left_to_it(self, sizes: Any, numbers: set[str] | None) -> None:
        assert held(vpa_active(around(vertical_autoscalers=(vertical(sizes),)))) == numbers

    @pytest.mark.parametrize(
        "fields", [{"target": WorkloadRef("shop", "Deployment", "other")}, {"target": replace(REF, kind="StatefulSet")}, {"group": "x.io"}]
    )
    def test_that_of_another_workload_does_no_harm(self, fields: dict[str, Any]) -> None:
        assert vpa_active(around(vertical_autoscalers=(vertical(**fields),))) is None

    def test_says_what_to_do(self) -> None:
        objection = vpa_active(around(vertical_autoscalers=(vertical(),)))
        assert objection is not None
        assert objection.message == (
            "VerticalPodAutoscaler vpa sets cpu and memory too: set its updateMode to Off, or leave the workload to it"
        )


class TestPodSum:
    @pytest.mark.parametrize(
        ("roles", "total"),
        [
            ([(Role.MAIN, 100), (Role.MAIN, 50)], 150),
            ([(Role.MAIN, 100), (Role.SIDECAR, 50)], 150),
            ([(Role.MAIN, 100), (Role.INIT, 80)], 100),
            ([(Role.MAIN, 100), (Role.INIT, 120), (Role.INIT, 130)], 130),
            # A sidecar runs beside the init containers after it, and not before.
            ([(Role.MAIN, 100), (Role.SIDECAR, 50), (Role.INIT, 120)], 170),
            ([(Role.MAIN, 100), (Role.INIT, 120), (Role.SIDECAR, 50)], 150),
            ([(Role.MAIN, 100), (Role.MAIN, None)], 100),
        ],
    )
    def test_as_the_scheduler_counts(self, roles: list[tuple[Role, int | None]], total: int) -> None:
        containers = [Container(f"c{place}", Sizes(cpu_request=value), role) for place, (role, value) in enumerate(roles)]
        assert pod_sum(containers, "cpu", "request") == total

    def test_a_limit_stands_for_a_request_and_changed_sizes_for_those_there(self) -> None:
        container = Container("app", Sizes(cpu_limit=300))
        assert pod_sum([container], "cpu", "request") == 300
        assert pod_sum([container], "cpu", "request", {"app": Sizes(cpu_request=7)}) == 7


def quota(hard: int, used: int | None = 0, amount: Amount = CPU_REQUESTS) -> Quota:
    return Quota("shop", "quota", {amount: hard}, {} if used is None else {amount: used})


class TestQuotaOfARollingUpdate:
    # Two pods from 100m to 216m, one more while they are replaced: at the end 2 x 116m more, and one old pod that lingers.
    @pytest.mark.parametrize(
        ("surge", "hard", "numbers"),
        [
            (1, 332, None),
            (1, 331, {"app.cpu.request"}),
            (1, 100, {"app.cpu.request"}),
            (1, 99, ALL),
            (0, 232, None),
            (0, 231, {"app.cpu.request"}),
            (0, 0, {"app.cpu.request"}),
            # Three at once with the new size beside the old ones are more than what remains at the end.
            (3, 648, None),
            (3, 647, {"app.cpu.request"}),
        ],
    )
    def test_there_must_be_room_while_and_after(self, surge: int, hard: int, numbers: set[str] | None) -> None:
        facts = rising(workload(Container("app", SMALL), max_surge=surge), quotas=(quota(hard),))
        assert held(quota_exceeded(facts)) == numbers

    @pytest.mark.parametrize(("surge", "hard", "numbers"), [(1, 216, None), (1, 215, ALL), (0, 0, None)])
    def test_what_shrinks_needs_room_for_the_pods_that_are_added(self, surge: int, hard: int, numbers: set[str] | None) -> None:
        assert held(quota_exceeded(around(workload(max_surge=surge), quotas=(quota(hard),)))) == numbers

    def test_amounts_that_do_not_change_count_for_added_pods_too(self) -> None:
        facts = around(workload(max_surge=1), quotas=(quota(499),))
        memory = replace(facts, changes=tuple(one for one in facts.changes if one.path.resource == "memory"))
        assert held(quota_exceeded(memory)) == ALL
        enough = replace(memory, confines=Confines(quotas=(quota(500),)))
        assert quota_exceeded(enough) is None

    def test_in_place_adds_no_pods(self) -> None:
        deployment = workload(Container("app", SMALL), max_surge=1)
        assert quota_exceeded(rising(deployment, profile=IN_PLACE, quotas=(quota(232),))) is None
        assert held(quota_exceeded(rising(deployment, profile=IN_PLACE, quotas=(quota(231),)))) == {"app.cpu.request"}

    def test_what_is_used_or_promised_is_no_room(self) -> None:
        deployment = workload(Container("app", SMALL))
        assert quota_exceeded(rising(deployment, quotas=(quota(1000, 768),))) is None
        assert quota_exceeded(rising(deployment, quotas=(quota(1000, 769),)))
        assert quota_exceeded(rising(deployment, quotas=(quota(1000, 768),), promised={CPU_REQUESTS: 1}))

    def test_one_that_nobody_counted_yet_has_no_room(self) -> None:
        assert quota_exceeded(rising(quotas=(quota(10_000, None),)))
        assert quota_exceeded(around(quotas=(quota(10_000, None),))) is None

    def test_sleeping_workloads_need_none(self) -> None:
        assert quota_exceeded(rising(workload(Container("app", SMALL), replicas=0, max_surge=1), quotas=(quota(0),))) is None

    def test_says_how_much_and_what_for(self) -> None:
        objection = quota_exceeded(rising(workload(Container("app", SMALL), max_surge=1), quotas=(quota(300, 17),)))
        assert objection is not None
        assert objection.message == (
            "ResourceQuota quota (cpu requests 300m) has no room for 332m more: each pod has 216m then, "
            "for 1 pod that its rolling update adds"
        )


def node(name: str = "n", cpu: int = 4000, memory: int = 8 * GI, *, usable: bool = True, **labels: str) -> Node:
    return Node(name, labels, Room(cpu, memory), usable)


def daemon_set(cpu: int, *, name: str = "agent", **selector: str) -> Workload:
    container = Container("agent", Sizes(cpu_request=cpu, memory_request=GI))
    return workload(container, ref=WorkloadRef("system", "DaemonSet", name), node_selector=selector)


class TestNodeRooms:
    def test_the_largest_in_either_resource(self) -> None:
        rooms = [Room(4, 4), Room(8, 2), Room(2, 2), Room(8, 1), Room(1, 9), Room(4, 4)]
        assert largest(rooms) == (Room(8, 2), Room(4, 4), Room(1, 9))
        assert largest([]) == ()

    def test_daemon_sets_take_their_part_where_they_run(self) -> None:
        nodes = [node("a", 4000, zone="east"), node("b", 3000, 10 * GI, zone="west")]
        found = NodeRooms(nodes, iter([daemon_set(500), daemon_set(1000, name="east", zone="east")]))
        assert found.of(workload()) == (Room(2500, 9 * GI), Room(2500, 6 * GI))[:1]

    def test_those_that_are_cordoned_or_not_ready_do_not_count(self) -> None:
        assert NodeRooms([node(usable=False), node("b", 1000)]).of(workload()) == (Room(1000, 8 * GI),)

    def test_the_node_selector_counts(self) -> None:
        rooms = NodeRooms([node("a", 4000), node("b", 1000, disk="fast")])
        assert rooms.of(workload(node_selector={"disk": "fast"})) == (Room(1000, 8 * GI),)
        assert rooms.of(workload(node_selector={"disk": "slow"})) == ()

    def test_a_daemon_set_does_not_stand_in_its_own_way(self) -> None:
        own = daemon_set(500)
        assert NodeRooms([node()], [own]).of(own) == (Room(4000, 8 * GI),)
        assert NodeRooms([node()], [own]).of(workload()) == (Room(3500, 7 * GI),)


class TestNodeTooSmall:
    @pytest.mark.parametrize(
        ("rooms", "numbers"),
        [
            ((), None),
            ((Room(216, 384 * MI),), None),
            ((Room(215, 384 * MI),), {"app.cpu.request"}),
            ((Room(216, 384 * MI - 1),), {"app.memory.request"}),
            ((Room(100, MI),), {"app.cpu.request", "app.memory.request"}),
            # Each alone has a node, no node has both.
            ((Room(500, 100 * MI), Room(100, GI)), {"app.cpu.request", "app.memory.request"}),
            ((Room(100, MI), Room(216, 384 * MI)), None),
        ],
    )
    def test_a_pod_must_fit_on_some_node(self, rooms: tuple[Room, ...], numbers: set[str] | None) -> None:
        assert held(node_too_small(rising(rooms=rooms))) == numbers

    def test_what_only_shrinks_is_never_held_by_it(self) -> None:
        assert node_too_small(around(rooms=(Room(1, 1),))) is None

    def test_what_shrinks_goes_on_where_the_other_may_not_rise(self) -> None:
        sizes = replace(WIDE, memory_request=128 * MI, memory_limit=192 * MI)
        facts = check_facts(workload(Container("app", sizes)), [recommendation(current=sizes)], confines=Confines(rooms=(Room(100, MI),)))
        assert held(node_too_small(facts)) == {"app.memory.request"}

    def test_all_containers_count(self) -> None:
        deployment = workload(Container("app", SMALL), Container("proxy", SMALL, Role.SIDECAR), Container("setup", SMALL, Role.INIT))
        assert node_too_small(rising(deployment, rooms=(Room(316, GI),))) is None
        assert held(node_too_small(rising(deployment, rooms=(Room(315, GI),)))) == {"app.cpu.request"}

    def test_says_what_is_asked_and_what_there_is(self) -> None:
        objection = node_too_small(rising(rooms=(Room(200, GI),)))
        assert objection is not None
        assert objection.message == "a pod would request 216m CPU and 384Mi; the largest node has 200m CPU and 1Gi beside its DaemonSets"


def budget(**fields: Any) -> DisruptionBudget:
    return replace(DisruptionBudget("shop", "budget", LabelSelector({"app": "web"}), pods=2, allowed=0), **fields)


WEB = workload(pod_labels={"app": "web", "tier": "web"})


class TestDisruptionBudget:
    @pytest.mark.parametrize(
        ("deployment", "found", "holds"),
        [
            (WEB, budget(), True),
            (WEB, budget(allowed=1), False),
            (WEB, budget(pods=0), False),
            (WEB, budget(selector=LabelSelector()), True),
            (WEB, budget(selector=None), False),
            (WEB, budget(selector=LabelSelector({"app": "api"})), False),
            (WEB, budget(namespace="other"), False),
            (replace(WEB, max_unavailable=0), budget(), False),
            (replace(WEB, replicas=0), budget(), False),
        ],
    )
    def test_with_nothing_left_holds_a_rolling_update_that_takes_first(
        self, deployment: Workload, found: DisruptionBudget, holds: bool
    ) -> None:
        facts = around(deployment, budgets=(found,))
        assert held(pod_disruption_budget_forbids(facts)) == (ALL if holds else None)

    @pytest.mark.parametrize("strategy", ["InPlace", "OnCreate"])
    def test_strategies_that_restart_nothing_are_not_concerned(self, strategy: str) -> None:
        profile = Profile("shop", "web", apply=ApplyRule(strategy=strategy))
        assert pod_disruption_budget_forbids(around(WEB, profile=profile, budgets=(budget(),))) is None

    @pytest.mark.parametrize(("clamp", "heals"), [(Clamp.OOM_KILL, True), (Clamp.NEAR_LIMIT, False), (Clamp.NONE, False)])
    def test_only_pods_that_are_killed_are_healed_all_the_same(self, clamp: Clamp, heals: bool) -> None:
        facts = rising(workload(Container("app", SMALL), pod_labels={"app": "web"}), clamp=clamp, budgets=(budget(),))
        expected = ALL - {"app.memory.request", "app.memory.limit"} if heals else ALL
        assert held(pod_disruption_budget_forbids(facts)) == expected

    def test_names_the_budget(self) -> None:
        objection = pod_disruption_budget_forbids(around(WEB, budgets=(budget(),)))
        assert objection is not None
        assert objection.message.startswith("PodDisruptionBudget budget allows no disruption now")
