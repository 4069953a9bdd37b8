"""`rightsizer recommend`: one answer for many workloads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from rightsizer.cli import listing, table
from rightsizer.cli.assessing import DEFAULT_PROFILE_NAME, Assessed, Declared, Origin, Usage, assess, rule, window_seconds
from rightsizer.cli.exits import ExitCode, NothingMatched, code_of, note, tell
from rightsizer.cli.options import open_origin
from rightsizer.cli.progress import ProgressBar
from rightsizer.cycle import Ruled
from rightsizer.profile import Mode

_MOST_NAMED = 5


def recommend_all(output: str, options: Mapping[str, Any]) -> ExitCode:
    """Prints what is recommended. Raises RightsizerError where nothing at all can be told."""
    with ProgressBar() as bar:
        origin = open_origin(options, bar.report)
        declared = origin.declared()
        ruled = list(rule(declared).values())
        check_ruled(ruled, declared)
        assessed, usage = _measured(origin, ruled, declared)
    click.echo(_rendered(output, assessed, usage))
    tell_notes(ruled, declared, usage)
    return tell_failures(declared, usage)


def tell_failures(declared: Declared, usage: Usage) -> ExitCode:
    """The namespaces that could not be read or measured as errors, and the exit code that they make."""
    for namespace, error in sorted(declared.failures.items()):
        tell(error, of=f"namespace {namespace}")
    for namespace, trouble in sorted(usage.trouble.items()):
        click.echo(f"error: namespace {namespace}: {trouble.reason}: {' '.join(trouble.message.split())}", err=True)
    if declared.failures:
        return code_of(next(iter(declared.failures.values())))
    return ExitCode.USAGE_SOURCE if usage.trouble else ExitCode.FINE


def check_ruled(ruled: Sequence[Ruled], declared: Declared) -> None:
    """Raises NothingMatched where there is nothing to do for any of them."""
    if not ruled:
        kinds = "its kinds, its selector or its namespaceSelector fit none of them"
        raise NothingMatched(f"{len(declared.workloads)} workloads were found, but the profile rules none: {kinds}")
    if all(one.mode is Mode.IGNORE for one in ruled):
        raise NothingMatched(f"the mode of all {len(ruled)} workloads is Ignore, by profile or by annotation")


def _measured(origin: Origin, ruled: list[Ruled], declared: Declared) -> tuple[list[Assessed], Usage]:
    usage = origin.usage([one.workload for one in ruled], window_seconds=window_seconds(ruled))
    return assess(ruled, declared, usage), usage


def _rendered(output: str, assessed: list[Assessed], usage: Usage) -> str:
    if output == "table":
        return table.render(assessed)
    objects = listing.as_objects(assessed, now=usage.now)
    return listing.as_json(objects) if output == "json" else listing.as_yaml(objects)


def tell_notes(ruled: Sequence[Ruled], declared: Declared, usage: Usage) -> None:
    """What a person should know about the reading, and about workloads that no profile fits or that are ignored."""
    for text in (*declared.notes, *usage.notes):
        note(text)
    by_default = [one for one in ruled if one.profile.name == DEFAULT_PROFILE_NAME]
    if by_default:
        note(f"no profile fits {'any workload' if by_default == list(ruled) else _named(by_default)}: the default profile is used")
    for profile, names in sorted(unknown_containers(ruled, everywhere=not declared.defaults).items()):
        note(f"profile {profile}: spec.containers names what no workload has: {', '.join(names)}")
    ignored = [one for one in ruled if one.mode is Mode.IGNORE]
    if ignored:
        note(f"left out, because the mode is Ignore: {_named(ignored)}")


def unknown_containers(ruled: Iterable[Ruled], *, everywhere: bool) -> dict[str, list[str]]:
    """By profile, the names of its exceptions that no workload has. `everywhere`: it is one profile in all namespaces."""
    known: defaultdict[str, set[str]] = defaultdict(set)
    named: dict[str, set[str]] = {}
    for one in ruled:
        profile = one.profile.name if everywhere else one.profile.title
        known[profile] |= {container.name for container in one.workload.sizable}
        named[profile] = set(one.profile.container_rules)
    return {profile: sorted(names - known[profile]) for profile, names in named.items() if names - known[profile]}


def _named(ruled: Iterable[Ruled]) -> str:
    return listed([f"{one.workload.ref.namespace}/{one.workload.ref}" for one in ruled])


def listed(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
