from __future__ import annotations

from typing import Any

import pytest

from rightsizer.cluster.rollout import daemon_set_standing, deployment_standing, stateful_set_standing
from rightsizer.workload import RolloutPhase
from tests.api_objects import condition, deployment, deployment_status

COMPLETE, RUNNING, FAILED = RolloutPhase.COMPLETE, RolloutPhase.IN_PROGRESS, RolloutPhase.FAILED
QUOTA = condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota: rq")


@pytest.mark.parametrize(
    ("status", "phase", "told"),
    [
        pytest.param(deployment_status(), COMPLETE, "", id="all updated and available"),
        pytest.param(deployment_status(observedGeneration=1), RUNNING, "not seen", id="template not seen by the controller"),
        pytest.param({}, RUNNING, "not seen", id="no status yet"),
        pytest.param(
            deployment_status(reason="ReplicaSetUpdated", updatedReplicas=None),
            RUNNING,
            "0 of 3 pods are updated",
            id="none updated: key absent",
        ),
        pytest.param(
            deployment_status(reason="ReplicaSetUpdated", updatedReplicas=2, replicas=4), RUNNING, "2 of 3 pods are updated", id="half way"
        ),
        pytest.param(deployment_status(reason="ReplicaSetUpdated", replicas=4), RUNNING, "", id="an old pod still leaves"),
        pytest.param(
            deployment_status(reason="ReplicaSetUpdated", availableReplicas=2), RUNNING, "2 are available", id="last pod not available yet"
        ),
        pytest.param(
            deployment_status(availableReplicas=1), COMPLETE, "1 of 3 pods are available", id="rolled out, pods crashed afterwards"
        ),
        pytest.param(deployment_status(availableReplicas=None), COMPLETE, "0 of 3", id="rolled out, all pods crashed afterwards"),
        pytest.param(
            deployment_status(reason="ProgressDeadlineExceeded", updatedReplicas=1, replicas=4),
            FAILED,
            "ProgressDeadlineExceeded: says ProgressDeadlineExceeded",
            id="deadline exceeded",
        ),
        pytest.param(
            deployment_status(reason="ProgressDeadlineExceeded", observedGeneration=1),
            RUNNING,
            "not seen",
            id="deadline of the template before this one",
        ),
        pytest.param(
            deployment_status(reason="ReplicaSetUpdated", updatedReplicas=None, conditions=[QUOTA]),
            FAILED,
            "FailedCreate: exceeded quota: rq",
            id="quota refuses the pods",
        ),
        pytest.param(deployment_status(conditions=[QUOTA]), COMPLETE, "", id="an old failure after the end"),
        pytest.param(
            {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}, COMPLETE, "", id="no conditions at all"
        ),
    ],
)
def test_deployment(status: dict[str, Any], phase: RolloutPhase, told: str) -> None:
    found, message = deployment_standing(deployment(status=status))
    assert found is phase
    assert told in message
    assert bool(message) is (phase is not COMPLETE or bool(told))


def test_deployment_of_zero_replicas_is_complete() -> None:
    assert deployment_standing(deployment(spec={"replicas": 0}, status={"observedGeneration": 1})) == (COMPLETE, "")


def test_deployment_without_replicas_wants_one() -> None:
    item = deployment(status={"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1})
    del item["spec"]["replicas"]
    assert deployment_standing(item) == (COMPLETE, "")


def stateful_set(*, strategy: dict[str, Any] | None = None, replicas: int = 3, **status: Any) -> dict[str, Any]:
    counts = {"observedGeneration": 4, "replicas": 3, "readyReplicas": 3, "currentRevision": "db-1", "updateRevision": "db-1"}
    return {
        "metadata": {"name": "db", "namespace": "shop", "generation": 4},
        "spec": {"replicas": replicas, "updateStrategy": strategy or {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}},
        "status": {key: value for key, value in (counts | status).items() if value is not None},
    }


def partitioned(partition: int) -> dict[str, Any]:
    return {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}


@pytest.mark.parametrize(
    ("item", "phase", "told"),
    [
        pytest.param(stateful_set(), COMPLETE, "", id="one revision, all ready"),
        pytest.param(stateful_set(observedGeneration=3), RUNNING, "not seen", id="template not seen"),
        pytest.param(stateful_set(updateRevision="db-2"), RUNNING, "0 of 3 pods are updated, 3 are ready", id="just begun"),
        pytest.param(stateful_set(updateRevision="db-2", updatedReplicas=2, readyReplicas=2), RUNNING, "2 of 3", id="half way"),
        pytest.param(stateful_set(updateRevision="db-2", updatedReplicas=3, readyReplicas=2), RUNNING, "2 are ready", id="last not ready"),
        pytest.param(stateful_set(updateRevision="db-2", updatedReplicas=3), COMPLETE, "", id="all updated and ready, revision not moved"),
        pytest.param(stateful_set(readyReplicas=1), COMPLETE, "1 of 3 pods are ready", id="rolled out, pods crashed afterwards"),
        pytest.param(
            stateful_set(updateRevision="db-2", updatedReplicas=1, strategy=partitioned(2)),
            COMPLETE,
            "keeps 2 of 3",
            id="partition reached",
        ),
        pytest.param(
            stateful_set(updateRevision="db-2", updatedReplicas=1, strategy=partitioned(1)), RUNNING, "1 of 3", id="partition not reached"
        ),
        pytest.param(
            stateful_set(updateRevision="db-2", strategy=partitioned(9)), COMPLETE, "keeps 3 of 3", id="partition beyond replicas"
        ),
        pytest.param(stateful_set(updateRevision="db-2", strategy={"type": "OnDelete"}), COMPLETE, "OnDelete", id="OnDelete"),
        pytest.param(stateful_set(replicas=0, observedGeneration=3), COMPLETE, "", id="zero replicas"),
    ],
)
def test_stateful_set(item: dict[str, Any], phase: RolloutPhase, told: str) -> None:
    found, message = stateful_set_standing(item)
    assert found is phase
    assert told in message


def daemon_set(*, strategy: str = "RollingUpdate", **status: int) -> dict[str, Any]:
    counts = {"observedGeneration": 2, "desiredNumberScheduled": 4, "updatedNumberScheduled": 4, "numberAvailable": 4}
    return {
        "metadata": {"name": "agent", "namespace": "shop", "generation": 2},
        "spec": {"updateStrategy": {"type": strategy}},
        "status": counts | status,
    }


@pytest.mark.parametrize(
    ("item", "phase", "told"),
    [
        pytest.param(daemon_set(), COMPLETE, "", id="everywhere"),
        pytest.param(daemon_set(observedGeneration=1), RUNNING, "not seen", id="template not seen"),
        pytest.param(daemon_set(updatedNumberScheduled=1), RUNNING, "1 of 4 pods are updated", id="one node done"),
        pytest.param(daemon_set(numberAvailable=3), RUNNING, "3 are available", id="last node not available"),
        pytest.param(daemon_set(updatedNumberScheduled=0, strategy="OnDelete"), COMPLETE, "OnDelete", id="OnDelete"),
        pytest.param(
            daemon_set(desiredNumberScheduled=0, updatedNumberScheduled=0, numberAvailable=0), COMPLETE, "", id="no node wants it"
        ),
    ],
)
def test_daemon_set(item: dict[str, Any], phase: RolloutPhase, told: str) -> None:
    found, message = daemon_set_standing(item)
    assert found is phase
    assert told in message
