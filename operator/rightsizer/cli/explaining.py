"""`rightsizer explain`: finds the one workload that is asked for, measures it, and prints how its numbers came about."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import click

from rightsizer.cli.assessing import Declared, assess, rule
from rightsizer.cli.exits import ExitCode, NothingMatched, note
from rightsizer.cli.options import open_origin
from rightsizer.cli.progress import ProgressBar
from rightsizer.cli.recommending import tell_failures
from rightsizer.cli.walkthrough import ignored, render
from rightsizer.cycle import Ruled
from rightsizer.errors import InvalidInput
from rightsizer.profile import DEFAULT_KINDS, Mode
from rightsizer.workload import Workload, WorkloadRef

_MOST_NAMED = 5

_NAMES = {
    "Deployment": ("deployment", "deployments", "deploy", "deployment.apps", "deployments.apps"),
    "StatefulSet": ("statefulset", "statefulsets", "sts", "statefulset.apps", "statefulsets.apps"),
    "DaemonSet": ("daemonset", "daemonsets", "ds", "daemonset.apps", "daemonsets.apps"),
    "CronJob": ("cronjob", "cronjobs", "cj", "cronjob.batch", "cronjobs.batch"),
    "Rollout": ("rollout", "rollouts", "ro", "rollout.argoproj.io", "rollouts.argoproj.io"),
}


def explain_one(text: str, options: Mapping[str, Any]) -> ExitCode:
    """Prints the explanation. Raises NothingMatched where there is no such workload."""
    kind, name = parse_reference(text)
    with ProgressBar() as bar:
        origin = open_origin(options, bar.report)
        declared = origin.declared()
        workload = find_workload(kind, name, declared)
        ruled = rule(declared).get(workload.ref)
        if ruled is None:
            raise NothingMatched(f"the profile does not rule {workload.ref}: its kinds, its selector or its namespaceSelector do not fit")
        if ruled.mode is Mode.IGNORE:
            click.echo(ignored(ruled))
            return ExitCode.FINE
        # The others of the namespace too: by their names pods are told apart where nothing else tells it.
        there = [one for one in declared.workloads if one.ref.namespace == workload.ref.namespace]
        usage = origin.usage(there, window_seconds=ruled.profile.window_seconds)
        assessed = assess([ruled], declared, usage)[0]
    click.echo(render(assessed, usage))
    for message in (*declared.notes, *usage.notes):
        note(message)
    return tell_failures(_only(declared, ruled), usage)


def parse_reference(text: str) -> tuple[str, str]:
    """Kind and name of `deploy/web`. Raises InvalidInput."""
    written, separator, name = text.partition("/")
    if not (separator and written and name) or "/" in name:
        raise InvalidInput(f"{text!r}: write KIND/NAME, such as Deployment/web")
    kind = next((kind for kind, names in _NAMES.items() if written.lower() in names), None)
    if kind is None:
        kinds = ", ".join(f"{kind} ({names[2]})" for kind, names in _NAMES.items())
        raise InvalidInput(f"{written!r} is no kind that can be sized: write one of {kinds}")
    return kind, name


def find_workload(kind: str, name: str, declared: Declared) -> Workload:
    """Raises InvalidInput where it is in several namespaces, NothingMatched where it is in none."""
    found = [workload for workload in declared.workloads if (workload.ref.kind, workload.ref.name) == (kind, name)]
    if len(found) > 1:
        places = ", ".join(sorted(workload.ref.namespace for workload in found))
        raise InvalidInput(f"{kind}/{name} is in several namespaces: choose one with -n ({places})")
    if not found:
        where = _elsewhere(name, sorted(workload.ref for workload in declared.workloads))
        hint = " (this kind is looked for where spec.workloads.kinds of a profile names it)" if kind not in DEFAULT_KINDS else ""
        raise NothingMatched(f"there is no {kind}/{name} {where}{hint}")
    return found[0]


def _elsewhere(name: str, refs: Sequence[WorkloadRef]) -> str:
    """Where was looked, and which one may be meant: of the same or nearly the same name, of whatever kind; else what there is."""
    places = sorted({ref.namespace for ref in refs})
    where = f"in namespace {places[0]}" if len(places) == 1 else f"in any of {len(places)} namespaces"
    names = difflib.get_close_matches(name, {ref.name for ref in refs}, n=3)
    near = [ref for close in names for ref in refs if ref.name == close]
    shown = [str(ref) if len(places) == 1 else f"{ref} in namespace {ref.namespace}" for ref in near or refs]
    more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    return f"{where}; {'near it' if near else 'there is'}: {', '.join(shown[:_MOST_NAMED])}{more}"


def _only(declared: Declared, ruled: Ruled) -> Declared:
    """What was read, without the failures of other namespaces."""
    namespace = ruled.workload.ref.namespace
    failures = {name: error for name, error in declared.failures.items() if name == namespace}
    return Declared(workloads=declared.workloads, profiles=declared.profiles, failures=failures)
