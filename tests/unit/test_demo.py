"""The demo's own judgement: it must see when a promise is not kept, and tell each workload's story from the API's JSON."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from demo import clusterless, results, strategies
from demo.__main__ import _is_set
from demo.building import building
from demo.cast import EXAMPLE, EXAMPLE_SIZES, KILLED, PAUSED, SCALED_ON_CPU, SHOWS
from demo.picture import PICTURES, Picture, drawn
from demo.places import LIVE_PROFILES, PROFILES
from demo.results import Key, Manifest, Scene
from demo.screen import DemoFailed, Screen
from rightsizer.profile import Mode, load_profile
from tests.testbed.binaries import ASSETS_VARIABLE
from tests.testbed.pins import BINARIES
from tests.usage import demo_scenario

OLD_SIZES = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
NEW_SIZES = {"requests": {"cpu": "500m", "memory": "492Mi"}, "limits": {"cpu": "1", "memory": "738Mi"}}
KILLED_SIZES = {"requests": {"cpu": "121m", "memory": "356Mi"}, "limits": {"cpu": "242m", "memory": "534Mi"}}
INDEXER = (demo_scenario.BATCH, "indexer")


def workload(key: Key, sizes: Manifest = OLD_SIZES, *, generation: int = 1, replicas: int = 2) -> dict[str, Any]:
    counts = dict.fromkeys(("updatedReplicas", "replicas", "availableReplicas"), replicas)
    return {
        "kind": "Deployment",
        "metadata": {"namespace": key[0], "name": key[1], "generation": generation},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "app", "resources": copy.deepcopy(sizes)}]}}},
        "status": {"observedGeneration": generation, **counts},
    }


def recommendation(key: Key, **summary: str) -> dict[str, Any]:
    told = {"cpu": "500m -> 216m", "memory": "384Mi", "state": "Recommended", "reason": "RecommendOnly", **summary}
    return {
        "metadata": {"namespace": key[0], "name": f"deployment-{key[1]}"},
        "spec": {"workloadRef": {"name": key[1]}},
        "status": {"summary": told, "containers": [{"name": "app", "recommended": EXAMPLE_SIZES}], "evidence": {"window": "7d"}},
    }


def resized(item: dict[str, Any], **sizes: Manifest) -> dict[str, Any]:
    previous, applied = sizes["previous"], sizes["applied"]
    item["status"]["lastChange"] = {
        "outcome": "Succeeded",
        "previous": [{"name": "app", **previous}],
        "applied": [{"name": "app", **applied}],
    }
    return item


BEFORE = results.by_key(workload(key) for key in (EXAMPLE, SCALED_ON_CPU, PAUSED, KILLED, INDEXER))
GOOD = Scene(
    recommendations=results.by_workload(
        [
            resized(recommendation(EXAMPLE, state="Applied", reason="UpToDate", cpu="216m"), previous=OLD_SIZES, applied=EXAMPLE_SIZES),
            resized(
                recommendation(SCALED_ON_CPU, state="Blocked", reason="HpaOnSameResource", cpu="500m -> 587m"),
                previous=OLD_SIZES,
                applied=NEW_SIZES,
            ),
            recommendation(PAUSED, state="Blocked", reason="Paused"),
            recommendation(KILLED, state="Applied", reason="UpToDate", cpu="121m", memory="356Mi"),
            recommendation(INDEXER),
        ]
    ),
    workloads=results.by_key(
        [
            workload(EXAMPLE, EXAMPLE_SIZES, generation=2),
            workload(SCALED_ON_CPU, NEW_SIZES, generation=2),
            workload(PAUSED),
            workload(KILLED, KILLED_SIZES, generation=2),
            workload(INDEXER),
        ]
    ),
    example_pods=[{"spec": {"containers": [{"resources": EXAMPLE_SIZES}]}}],
)


def failures(scene: Scene) -> list[str]:
    return [finding.text for finding in results.findings(scene, BEFORE) if not finding.holds]


def with_workload(item: dict[str, Any]) -> Scene:
    return replace(GOOD, workloads={**GOOD.workloads, **results.by_key([item])})


def with_recommendation(key: Key, **status: Any) -> Scene:
    item = GOOD.recommendations[key]
    return replace(GOOD, recommendations={**GOOD.recommendations, key: {**item, "status": {**item["status"], **status}}})


def test_a_good_scene_has_nothing_to_object_to() -> None:
    assert len(list(results.findings(GOOD, BEFORE))) == 10
    assert failures(GOOD) == []
    assert results.unfinished(GOOD) == []


KILLED_AGAIN = {"requests": {"cpu": "121m", "memory": "300Mi"}, "limits": {"cpu": "242m", "memory": "355Mi"}}
OFF_BY_ONE = {"requests": {"cpu": "217m", "memory": "384Mi"}, "limits": {"cpu": "432m", "memory": "576Mi"}}


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        (with_workload(workload(EXAMPLE, OFF_BY_ONE, generation=2)), "web requests and limits"),
        (with_workload(workload(EXAMPLE, EXAMPLE_SIZES, generation=1)), "web rolled out"),
        (with_workload({**workload(EXAMPLE, EXAMPLE_SIZES, generation=2), "status": {"observedGeneration": 2}}), "web rolled out"),
        (with_workload(workload(INDEXER, NEW_SIZES)), "not so: indexer"),
        (with_workload(workload(PAUSED, NEW_SIZES)), "checkout is paused"),
        (with_workload(workload(SCALED_ON_CPU, EXAMPLE_SIZES, generation=2)), "catalog keeps the CPU"),
        (with_workload(workload(KILLED, KILLED_AGAIN, generation=2)), "may use at least 256Mi + 100Mi: 355Mi"),
        (with_workload(workload(KILLED, {"requests": {"memory": "1Gi"}}, generation=2)), "may use at least 256Mi + 100Mi: None"),
        (replace(GOOD, example_pods=[]), "its 0 pods"),
        (replace(GOOD, example_pods=[{"spec": {"containers": [{"resources": OLD_SIZES}]}}]), "its 1 pods"),
        (replace(GOOD, refused=["patch /apis/apps/v1/deployments/web"]), "not so: patch /apis"),
        (with_recommendation(SCALED_ON_CPU, containers=[{"name": "app"}]), "have a recommendation; not so: catalog"),
        (with_recommendation(INDEXER, evidence={}), "has evidence; not so: indexer"),
    ],
)
def test_each_broken_promise_is_seen(scene: Scene, words: str) -> None:
    (broken,) = failures(scene)
    assert words in broken


@pytest.mark.parametrize(
    "change",
    [
        {"state": "RollingOut", "reason": "RolloutInProgress"},
        {"state": "Recommended", "reason": "ReadyToApply"},
    ],
)
def test_a_change_on_its_way_is_waited_for(change: dict[str, str]) -> None:
    scene = replace(GOOD, recommendations={**GOOD.recommendations, PAUSED: recommendation(PAUSED, **change)})
    assert results.unfinished(scene) == ["checkout"]


def test_a_workload_without_recommendation_is_waited_for() -> None:
    silent = recommendation(INDEXER)
    silent["status"]["containers"] = [{"name": "app"}]
    assert results.unfinished(replace(GOOD, recommendations={**GOOD.recommendations, INDEXER: silent})) == ["indexer"]


def test_evidence_is_waited_for() -> None:
    assert results.unfinished(with_recommendation(INDEXER, evidence={})) == ["indexer"]


def test_a_finding_is_part_of_the_story() -> None:
    found = [{"name": "app", "recommended": EXAMPLE_SIZES, "findings": [{"type": "MemoryLeak", "resource": "memory"}]}]
    told = {name: became for name, _, became in results.lines(with_recommendation(INDEXER, containers=found))}
    assert told["indexer"] == "recommended: cpu 500m -> 216m; found: MemoryLeak"


def test_the_story_of_each_workload_is_one_line() -> None:
    told = {name: became for name, _, became in results.lines(GOOD)}
    assert list(told) == list(SHOWS)
    assert told["web"] == "rolled out: cpu 500m -> 216m, memory 1Gi -> 384Mi"
    assert told["catalog"] == "rolled out: memory 1Gi -> 492Mi; cpu 500m -> 587m held back: HpaOnSameResource"
    assert told["checkout"] == "held back (Paused): cpu 500m -> 216m"
    assert told["indexer"] == "recommended: cpu 500m -> 216m"
    assert told["docs"] == "no recommendation"


def test_totals_count_every_pod_and_container() -> None:
    assert results.totals(BEFORE, demo_scenario.SHOP) == "4.0 cores and 8.0 GiB"
    sidecar = workload(("one", "agent"))
    sidecar |= {"kind": "DaemonSet", "status": {"desiredNumberScheduled": 3}}
    sidecar["spec"]["template"]["spec"]["initContainers"] = [{"name": "shipper", "resources": OLD_SIZES}]
    assert results.totals(results.by_key([sidecar]), "one") == "3.0 cores and 6.0 GiB"


def test_the_cast_is_that_of_the_scenario() -> None:
    scenario = {(one.namespace, one.name) for one in demo_scenario.workloads()}
    assert {name for _, name in scenario} == {*SHOWS, strategies.IN_PLACE, strategies.ON_CREATE, strategies.ROLLED}
    assert {EXAMPLE, SCALED_ON_CPU, PAUSED, KILLED, INDEXER} <= scenario


def test_one_profile_applies_and_one_recommends() -> None:
    profiles = [load_profile(yaml.safe_load(path.read_text())) for path in sorted(PROFILES.glob("*.yaml"))]
    assert {profile.namespace: profile.mode for profile in profiles} == {"batch": Mode.RECOMMEND, "shop": Mode.APPLY}


def test_the_three_strategies_have_a_profile_each() -> None:
    profiles = [load_profile(one) for one in yaml.safe_load_all(LIVE_PROFILES.read_text())]
    assert [profile.apply.strategy for profile in profiles] == ["InPlace", "OnCreate", "Rollout"]
    assert all(profile.mode is Mode.APPLY and profile.apply.verify.period_seconds for profile in profiles)


def live_pod(name: str, workload: str, sizes: Manifest, restarts: int = 0) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"app": workload}},
        "spec": {"containers": [{"resources": sizes}]},
        "status": {"containerStatuses": [{"restartCount": restarts}]},
    }


KEY = ("live", "any")
BEFORE_CHANGE = [live_pod("g-1", "gateway", OLD_SIZES), live_pod("m-1", "mailer", OLD_SIZES), live_pod("m-2", "mailer", OLD_SIZES)]
CHANGED = strategies.Changed(
    pods_before=BEFORE_CHANGE,
    pods=[live_pod("g-1", "gateway", EXAMPLE_SIZES), live_pod("m-1", "mailer", OLD_SIZES), live_pod("m-3", "mailer", EXAMPLE_SIZES)],
    templates={"gateway": workload(KEY), "mailer": workload(KEY), "cart": workload(KEY, EXAMPLE_SIZES, generation=2)},
    cart_after=workload(KEY, OLD_SIZES, generation=3),
    history={"cart": {"lastChange": {"reverts": "container app was killed for memory"}, "history": [{}]}},
)


def test_the_strategies_keep_what_they_promise() -> None:
    found = list(strategies.findings(CHANGED))
    assert (len(found), [one.text for one in found if not one.holds]) == (6, [])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (replace(CHANGED, pods=[live_pod("g-2", "gateway", EXAMPLE_SIZES), *CHANGED.pods[1:]]), "none was replaced or restarted"),
        (replace(CHANGED, pods=[live_pod("g-1", "gateway", EXAMPLE_SIZES, 1), *CHANGED.pods[1:]]), "none was replaced or restarted"),
        (replace(CHANGED, pods=[live_pod("g-1", "gateway", OLD_SIZES), *CHANGED.pods[1:]]), "none was replaced or restarted"),
        (replace(CHANGED, pods=CHANGED.pods[:2]), "the pod that was created since"),
        (replace(CHANGED, templates={**CHANGED.templates, "mailer": workload(KEY, generation=2)}), "were not touched"),
        (replace(CHANGED, templates={**CHANGED.templates, "cart": workload(KEY)}), "cart: rolled out"),
        (replace(CHANGED, cart_after=workload(KEY, EXAMPLE_SIZES)), "the former values are back"),
        (replace(CHANGED, history={"cart": {"lastChange": {}}}), "the record tells both changes"),
    ],
)
def test_each_broken_promise_of_a_strategy_is_seen(changed: strategies.Changed, words: str) -> None:
    (broken,) = [one.text for one in strategies.findings(changed) if not one.holds]
    assert words in broken


def test_manifests_are_written_by_namespace(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "left.over.yaml").touch()
    clusterless.write_manifests(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["batch.yaml", "live.yaml", "shop.yaml"]
    written = [document for path in folder.iterdir() for document in yaml.safe_load_all(path.read_text())]
    assert sorted(map(str, written)) == sorted(map(str, demo_scenario.manifests()))


def test_a_failed_command_is_told_in_its_own_words() -> None:
    with pytest.raises(DemoFailed, match=r"(?s)`rightsizer recommend --nonsense` ended with 2.*--nonsense"):
        clusterless.run_rightsizer(("recommend", "--nonsense"))


def test_nothing_is_built_where_everything_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for binary in BINARIES:
        (tmp_path / binary.name).touch(mode=0o755)
    monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path))
    with building() as build:
        assert build is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_colours_are_for_terminals_and_never_in_the_transcript(tmp_path: Path, stream: io.StringIO) -> None:
    transcript = tmp_path / "new" / "transcript.txt"
    screen = Screen(transcript, stream=stream)
    screen.heading("Title")
    with screen.step("work"):
        pass
    screen.verdict("good", good=True)
    assert ("\x1b[" in stream.getvalue()) == stream.isatty()
    text = transcript.read_text()
    assert "\x1b[" not in text
    assert [line[:10] for line in text.splitlines()] == ["", "== Title", "  work    ", "  ok    go"]


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("1", True), ("True", True), ("false", False), ("", False)])
def test_the_demo_ends_by_itself_only_when_told(value: str, expected: bool) -> None:
    assert _is_set({"CI": value}, "CI") is expected
    assert _is_set({}, "CI") is False


TRANSCRIPT = [
    "== One",
    "",
    "  $ kubectl get rr -A",
    "  NAME   STATE",
    "  web    Applied & done",
    "",
    "  $ other",
    "  more",
    "",
    "== Two",
]


def test_a_picture_shows_the_command_and_its_output_and_loads_nothing() -> None:
    svg = drawn(Picture("one", "title", ("kubectl get rr",)), TRANSCRIPT)
    shown = "".join(ElementTree.fromstring(svg).itertext()).replace("\xa0", " ")
    assert "$ kubectl get rr -A" in shown
    assert "Applied" in shown
    assert "more" not in shown
    assert "@font-face" not in svg


def test_a_picture_of_what_was_not_shown_is_refused() -> None:
    with pytest.raises(ValueError, match="kubectl get pods"):
        drawn(Picture("one", "title", ("kubectl get pods",)), TRANSCRIPT)


def test_pictures_have_names_of_their_own() -> None:
    assert len({picture.name for picture in PICTURES}) == len(PICTURES)
