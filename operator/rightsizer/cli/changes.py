"""`rightsizer history` and `rightsizer revert`: what was changed, and having the newest change taken back.

Reverting is asked for by an annotation on the recommendation and done by the operator: through the same strategy, and recorded like every
change.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import click

from rightsizer.change import Change, Outcome
from rightsizer.cli.exits import ExitCode, NothingMatched, note, tell
from rightsizer.cli.explaining import parse_reference
from rightsizer.errors import ClusterError, InvalidInput
from rightsizer.ports import Listing, Recorded
from rightsizer.status.change import change_figures, change_from_status, change_status, history_from_status
from rightsizer.status.naming import recommendation_name
from rightsizer.status.times import rfc3339
from rightsizer.workload import WorkloadRef

HEADER = ("NAMESPACE", "WORKLOAD", "TIME", "STRATEGY", "OUTCOME", "CHANGE", "MESSAGE")

POLL_SECONDS = 2

_POSSIBLE = (Outcome.IN_PROGRESS, Outcome.VERIFYING, Outcome.SUCCEEDED)


class ReadableRecommendations(Protocol):
    """What these commands need of a cluster."""

    def recommendations(self) -> tuple[Recorded, ...]: ...

    def recommendations_of(self, namespaces: Sequence[str]) -> Listing[Recorded]: ...

    def ask_to_revert(self, recorded: Recorded, *, change_time: float) -> None: ...


def show_history(text: str | None, options: Mapping[str, Any]) -> ExitCode:
    """Prints the changes of the recommendations that are asked for, newest first."""
    wanted = None if text is None else parse_reference(text)
    found, failures = _read(_open(options), options)
    chosen = [one for one in found if wanted in (None, (one.workload.kind, one.workload.name))]
    if wanted is not None and not chosen and not failures:
        raise NothingMatched(f"there is no recommendation for {'/'.join(wanted)} here")
    changes = sorted(((one.workload, change) for one in chosen for change in _changes(one)), key=lambda pair: (-pair[1].time, pair[0]))
    if options["output"] == "json":
        click.echo(json.dumps([_as_json(ref, change) for ref, change in changes], indent=2))
    elif changes:
        click.echo(render(changes))
    else:
        note("nothing was changed")
    return _tell(failures)


def revert(text: str, options: Mapping[str, Any]) -> ExitCode:
    """Asks for the newest change to be taken back, and waits until the operator did."""
    kind, name = parse_reference(text)
    cluster = _open(options)
    recorded = _one(cluster, WorkloadRef(_namespace(options), kind, name))
    change = change_from_status(recorded.status)
    if change is None:
        raise InvalidInput(f"{text} was not changed, so there is nothing to take back")
    if change.reverts or change.outcome not in _POSSIBLE:
        raise InvalidInput(
            f"the newest change of {text}, of {rfc3339(change.time)}, is {_outcome(change)} ({change.message}): nothing to take back"
        )
    cluster.ask_to_revert(recorded, change_time=change.time)
    click.echo(f"asked to take back the change of {rfc3339(change.time)}: {change_figures(_backwards(change))}")
    return _wait(cluster, recorded, change, seconds=options["wait"])


def render(changes: Iterable[tuple[WorkloadRef, Change]]) -> str:
    """The table."""
    rows = [HEADER, *(_row(ref, change) for ref, change in changes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER) - 1)]
    return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows)


def _row(ref: WorkloadRef, change: Change) -> tuple[str, ...]:
    what = change_figures(change) or "limits only"
    return (ref.namespace, str(ref), rfc3339(change.time), change.strategy, _outcome(change), what, change.message)


def _outcome(change: Change) -> str:
    return f"Revert{change.outcome}" if change.reverts else str(change.outcome)


def _as_json(ref: WorkloadRef, change: Change) -> dict[str, Any]:
    return {"namespace": ref.namespace, "workload": str(ref), **change_status(change)}


def _changes(recorded: Recorded) -> list[Change]:
    last = change_from_status(recorded.status)
    return [*([] if last is None else [last]), *history_from_status(recorded.status)]


def _backwards(change: Change) -> Change:
    return replace(change, previous=change.applied, applied=change.previous)


def _open(options: Mapping[str, Any]) -> Any:
    from rightsizer.cli.interrupting import stopped_by_interrupt
    from rightsizer.cluster import connect

    return connect(_text(options["kubeconfig"]), options["context"], stopping=stopped_by_interrupt())


def _namespace(options: Mapping[str, Any]) -> str:
    from rightsizer.cluster import current_namespace

    given: Sequence[str] = options["namespaces"]
    return given[0] if given else current_namespace(_text(options["kubeconfig"]), options["context"])


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _read(cluster: ReadableRecommendations, options: Mapping[str, Any]) -> tuple[Sequence[Recorded], Mapping[str, ClusterError]]:
    if options["all_namespaces"]:
        if options["namespaces"]:
            raise InvalidInput("-n and -A: give one of the two")
        return cluster.recommendations(), {}
    listing = cluster.recommendations_of(options["namespaces"] or (_namespace(options),))
    return listing.items, listing.failed


def _one(cluster: ReadableRecommendations, ref: WorkloadRef) -> Recorded:
    listing = cluster.recommendations_of([ref.namespace])
    for error in listing.failed.values():
        raise error
    found = next((one for one in listing.items if one.name == recommendation_name(ref)), None)
    if found is None:
        raise NothingMatched(f"there is no recommendation for {ref} in namespace {ref.namespace}")
    return found


def _wait(cluster: ReadableRecommendations, recorded: Recorded, change: Change, *, seconds: int) -> ExitCode:
    for _ in range(seconds // POLL_SECONDS):
        time.sleep(POLL_SECONDS)
        now = change_from_status(_one(cluster, recorded.workload).status)
        if now is not None and now.time != change.time and now.outcome.ended:
            click.echo(f"{_outcome(now)}: {now.message}")
            return ExitCode.FINE if now.reverts and now.outcome is Outcome.SUCCEEDED else ExitCode.CLUSTER
    note("the operator has not done it yet: it does so in its next cycle, while it runs (`rightsizer history` tells)")
    return ExitCode.FINE


def _tell(failures: Mapping[str, ClusterError]) -> ExitCode:
    for namespace, error in failures.items():
        tell(error, of=f"namespace {namespace}")
    return ExitCode.CLUSTER if failures else ExitCode.FINE
