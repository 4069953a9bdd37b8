"""Cycles with a cluster-wide profile: what it rules, where it ends, what it costs and what is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from rightsizer.errors import ClusterForbidden
from tests.unit.builders import WIDE, WORKED
from tests.unit.world import World

TEAM_A: dict[str, Any] = {"namespaceSelector": {"matchLabels": {"team": "a"}}}
MODE = "rightsizer.dev/mode"


@pytest.fixture
def world() -> World:
    """Two namespaces of team a, one of nobody, and none with a profile of its own."""
    world = World()
    for name in ("bank", "mail", "shop"):
        world.add_deployment(namespace=name)
    world.cluster.namespace_labels |= {"bank": {"team": "a"}, "shop": {"team": "a"}}
    return world


def status(world: World, name: str = "everywhere") -> dict[str, object]:
    return dict(world.profile_status(name, namespace=""))


def condition(world: World, kind: str, name: str = "everywhere") -> tuple[str, str]:
    found = world.condition(world.profile_status(name, namespace=""), kind)
    return found["status"], found["reason"]


def message(world: World, kind: str, name: str = "everywhere") -> str:
    return world.condition(world.profile_status(name, namespace=""), kind)["message"]


def sized(world: World) -> dict[str, bool]:
    return {name: world.sizes(namespace=name) == WORKED for name in ("bank", "mail", "shop")}


class TestScope:
    def test_sizes_workloads_of_every_namespace(self, world: World) -> None:
        world.apply_cluster_profile()
        report = world.run_cycle()
        assert (sized(world), report.workloads) == ({"bank": True, "mail": True, "shop": True}, 3)

    def test_with_a_selector_only_where_it_fits(self, world: World) -> None:
        world.apply_cluster_profile(**TEAM_A)
        world.run_cycle()
        assert sized(world) == {"bank": True, "mail": False, "shop": True}
        assert world.recommended(namespace="mail") == {}

    def test_recommendation_names_the_kind_of_its_profile(self, world: World) -> None:
        world.apply_cluster_profile()
        world.run_cycle()
        (spec,) = {str(stored.recorded.spec["profileRef"]) for stored in world.cluster.stored_recommendations.values()}
        assert spec == str({"kind": "ClusterResourceProfile", "name": "everywhere"})

    def test_system_namespaces_are_left_alone_unless_they_are_selected(self, world: World) -> None:
        world.add_deployment(namespace="kube-system")
        world.apply_cluster_profile()
        world.run_cycle()
        assert world.recommended(namespace="kube-system") == {}
        world.apply_cluster_profile(namespaceSelector={})
        world.run_cycle()
        assert world.recommended(namespace="kube-system") != {}

    def test_profile_of_a_namespace_comes_first_there_and_the_other_says_so(self, world: World) -> None:
        world.apply_cluster_profile(created="2020-01-01")
        world.apply_profile("own", namespace="bank", mode="Recommend")
        world.run_cycle()
        assert sized(world) == {"bank": False, "mail": True, "shop": True}
        assert world.told(namespace="bank") == ("Recommended", "RecommendOnly")
        assert condition(world, "Ready") == ("True", "PartlyOverruled")
        assert "a profile of their namespace, or an older cluster-wide one, rules 1 workload" in message(world, "Ready")
        assert status(world)["workloads"] == {"matched": 2, "measured": 2, "waiting": 0, "changed": 2}

    def test_older_of_two_rules(self, world: World) -> None:
        world.apply_cluster_profile("old", mode="Recommend", created="2020-01-01")
        world.apply_cluster_profile("young", created="2021-01-01")
        world.run_cycle()
        assert sized(world) == {"bank": False, "mail": False, "shop": False}
        assert (condition(world, "Ready", "young"), condition(world, "Ready", "old")) == (
            ("True", "PartlyOverruled"),
            ("True", "Understood"),
        )

    @pytest.mark.parametrize("place", ["workload", "namespace"])
    def test_annotation_lowers_its_mode(self, world: World, place: str) -> None:
        if place == "namespace":
            world.cluster.namespace_annotations["bank"] = {MODE: "Recommend"}
        else:
            world.cluster.edit(world.workload(namespace="bank").ref, annotations={MODE: "Recommend"})
        world.apply_cluster_profile()
        world.run_cycle()
        assert sized(world) == {"bank": False, "mail": True, "shop": True}

    def test_namespace_that_a_profile_of_its_own_ignores_is_not_measured(self, world: World) -> None:
        world.apply_cluster_profile()
        world.apply_profile("own", namespace="bank", mode="Ignore")
        world.run_cycle()
        assert {key.workload.namespace for key in world.measuring.history} == {"mail", "shop"}
        assert world.recommended(namespace="bank") == {}

    def test_namespace_in_which_it_rules_nothing_is_not_measured(self, world: World) -> None:
        world.add_deployment("api", namespace="shop", labels={"tier": "api"})
        world.apply_cluster_profile(workloads={"selector": {"matchLabels": {"tier": "api"}}})
        world.run_cycle()
        assert {key.workload.namespace for key in world.measuring.history} == {"shop"}


class TestTurns:
    def test_namespace_that_begins_to_match_is_sized(self, world: World) -> None:
        world.apply_cluster_profile(**TEAM_A)
        world.run_cycle()
        world.cluster.namespace_labels["mail"] = {"team": "a"}
        world.run_cycles(1)
        assert sized(world)["mail"]
        assert status(world)["namespaces"] == 3

    def test_new_namespace_is_sized(self, world: World) -> None:
        world.apply_cluster_profile()
        world.run_cycle()
        world.add_deployment(namespace="late")
        world.run_cycles(1)
        assert world.sizes(namespace="late") == WORKED

    def test_namespace_that_ceases_to_match_loses_its_recommendations_and_keeps_its_sizes(self, world: World) -> None:
        world.apply_cluster_profile(**TEAM_A)
        world.run_cycle()
        world.cluster.namespace_labels["shop"] = {"team": "b"}
        world.run_cycles(1)
        assert (world.recommended(namespace="shop"), world.sizes(namespace="shop")) == ({}, WORKED)
        assert world.recommended(namespace="bank") != {}
        assert {key.workload.namespace for key in world.measuring.history} == {"bank"}

    def test_its_entries_for_new_pods_go_too(self, world: World) -> None:
        world.apply_cluster_profile(apply={"strategy": "OnCreate"}, **TEAM_A)
        world.run_cycle()
        assert {name: len(one.entries) for name, one in world.cluster.stored_pod_sizes.items()} == {"bank": 1, "shop": 1}
        world.cluster.namespace_labels["shop"] = {}
        world.run_cycles(1)
        assert {name: len(one.entries) for name, one in world.cluster.stored_pod_sizes.items()} == {"bank": 1, "shop": 0}

    def test_profile_that_is_deleted_takes_its_recommendations_along(self, world: World) -> None:
        world.apply_cluster_profile()
        world.run_cycle()
        world.delete_profile("everywhere", namespace="")
        world.run_cycle()
        assert (world.cluster.stored_recommendations, sized(world)) == ({}, {"bank": True, "mail": True, "shop": True})

    def test_profile_of_the_namespace_that_comes_takes_over(self, world: World) -> None:
        world.apply_cluster_profile(mode="Recommend")
        world.run_cycle()
        world.apply_profile("own", namespace="bank")
        world.run_cycles(1)
        assert sized(world) == {"bank": True, "mail": False, "shop": False}
        stored = world.cluster.stored_recommendations[world.workload(namespace="bank").ref]
        assert stored.recorded.spec["profileRef"] == {"kind": "ResourceProfile", "name": "own"}


class TestStatus:
    def test_counts_are_of_the_whole_cluster(self, world: World) -> None:
        world.apply_cluster_profile(**TEAM_A)
        world.run_cycle()
        assert status(world)["namespaces"] == 2
        assert status(world)["workloads"] == {"matched": 2, "measured": 2, "waiting": 0, "changed": 2}
        assert (condition(world, "Ready"), condition(world, "Measuring")) == (("True", "Understood"), ("True", "Measuring"))

    def test_is_not_written_again_without_news(self, world: World) -> None:
        world.apply_cluster_profile(mode="Recommend")
        world.run_cycles(2)
        writes = world.cluster.writes
        world.run_cycles(3)
        assert world.cluster.writes == writes

    def test_events_are_about_the_cluster_wide_object(self, world: World) -> None:
        world.apply_cluster_profile()
        world.run_cycles(2)
        assert world.events("ClusterResourceProfile") == ["Understood", "Measuring"]
        (place,) = {event.target.namespace for event in world.cluster.events if event.target.kind == "ClusterResourceProfile"}
        assert place == ""

    def test_selector_that_fits_no_namespace(self, world: World) -> None:
        world.apply_cluster_profile(namespaceSelector={"matchLabels": {"team": "z"}})
        world.run_cycle()
        assert (condition(world, "Ready"), condition(world, "Measuring")) == (("True", "NothingMatched"), ("Unknown", "NothingToMeasure"))
        assert message(world, "Ready") == "there is no namespace that spec.namespaceSelector selects"

    def test_selector_of_workloads_that_fits_none(self, world: World) -> None:
        world.apply_cluster_profile(workloads={"selector": {"matchLabels": {"tier": "nowhere"}}})
        world.run_cycle()
        assert message(world, "Ready") == "no workload of the namespaces that it selects (3) fits its kinds and selector"

    def test_bad_selector_is_named_and_nothing_is_touched(self, world: World) -> None:
        world.apply_cluster_profile(namespaceSelector={"matchLabels": {"team": 7}})
        world.run_cycle()
        assert condition(world, "Ready") == ("False", "InvalidField")
        assert "spec.namespaceSelector.matchLabels.team: must be a text" in message(world, "Ready")
        assert message(world, "Ready").endswith("; until then nothing is selected")
        assert world.cluster.stored_recommendations == {}

    def test_mode_ignore_costs_nothing(self, world: World) -> None:
        world.apply_cluster_profile(mode="Ignore")
        world.run_cycle()
        assert (world.source.made(), world.cluster.stored_recommendations) == (0, {})
        assert condition(world, "Measuring") == ("False", "ModeIgnore")
        assert "namespaces" not in status(world)


class TestTrouble:
    def test_in_one_namespace_leaves_the_others_and_is_told(self, world: World) -> None:
        world.apply_cluster_profile()
        world.cluster.fail(ClusterForbidden("is forbidden"), call="workloads", namespace="bank")
        report = world.run_cycle()
        assert (sized(world), report.troubled_namespaces) == ({"bank": False, "mail": True, "shop": True}, 1)
        assert condition(world, "Measuring") == ("True", "PartlyMeasuring")
        assert message(world, "Measuring").startswith("1 of 3 namespaces cannot be measured: bank (WorkloadsNotListed)")

    def test_in_all_of_them_is_that_of_the_profile(self, world: World) -> None:
        world.apply_cluster_profile()
        for name in ("bank", "mail", "shop"):
            world.cluster.fail(ClusterForbidden("is forbidden"), call="workloads", namespace=name)
        world.run_cycle()
        assert condition(world, "Measuring") == ("False", "WorkloadsNotListed")
        assert message(world, "Measuring") == "in all 3 namespaces: is forbidden"

    def test_in_a_namespace_keeps_its_recommendations(self, world: World) -> None:
        world.apply_cluster_profile()
        world.run_cycle()
        before = world.recommended(namespace="bank")
        world.cluster.fail(ClusterForbidden("is forbidden"), call="workloads", namespace="bank")
        world.run_cycle()
        assert world.recommended(namespace="bank") == before != {}

    def test_namespaces_that_cannot_be_listed_end_the_cycle_and_delete_nothing(self, world: World) -> None:
        world.apply_cluster_profile()
        world.run_cycle()
        before = dict(world.cluster.stored_recommendations)
        world.cluster.fail(ClusterForbidden("is forbidden"), call="namespaces", times=1)
        with pytest.raises(ClusterForbidden):
            world.run_cycle()
        assert world.cluster.stored_recommendations == before

    def test_missing_kube_state_metrics_somewhere_is_told_with_the_place(self, world: World) -> None:
        world.apply_cluster_profile()
        world.source.owners = {key: owner for key, owner in world.source.owners.items() if key[0] != "bank"}
        world.run_cycle()
        assert message(world, "Measuring").endswith("the workloads of pods come from the API and naming rules, in bank")


def calls(world: World) -> dict[str, int]:
    """How often each call was made, of the cluster and of the usage source."""
    names = ("profiles", "namespaces", "workloads", "pods", "autoscalers", "recommendations", "limit_ranges", "quotas", "pod_sizes")
    return {name: world.cluster.made(name) for name in names} | {"usage source": world.source.made()}


def test_one_for_all_asks_no_more_than_one_for_each_namespace() -> None:
    asked, written = [], []
    for wide in (True, False):
        world = World()
        for number in range(12):
            world.add_deployment(namespace=f"team-{number}", sizes=WIDE)
            if not wide:
                world.apply_profile(namespace=f"team-{number}")
        if wide:
            world.apply_cluster_profile()
        world.run_cycles(3)
        asked.append(calls(world))
        written.append(world.cluster.writes)
    assert asked[0] == asked[1]
    assert written[0] < written[1], "one status instead of twelve"
