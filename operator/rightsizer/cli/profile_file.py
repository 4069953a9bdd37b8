"""Reads YAML documents and the profile of a file; every error names the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from rightsizer.errors import InvalidInput, InvalidProfile
from rightsizer.methods import known_methods
from rightsizer.profile import CLUSTER_KIND, KIND, Profile, load_profile, unknown_method

# The loader in C is ten times as fast, and not in every build of PyYAML.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_documents(path: Path) -> list[Any]:
    """All YAML documents of a file that are not empty. Raises InvalidInput."""
    try:
        with path.open("rb") as stream:
            return [document for document in yaml.load_all(stream, Loader=_LOADER) if document is not None]
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: is not YAML: {_where(error)}") from error


def read_profile(path: Path, *, replayed: bool = False) -> Profile:
    """The one profile of a file, of either kind, by the strict rules (`load_profile`). Raises InvalidInput, naming the field."""
    documents = read_documents(path)
    manifest = documents[0] if len(documents) == 1 else None
    if not isinstance(manifest, Mapping) or manifest.get("kind", KIND) not in (KIND, CLUSTER_KIND):
        raise InvalidInput(f"{path}: must hold one {KIND} or {CLUSTER_KIND}, holds {_contents(documents)}")
    return profile_of(manifest, path, replayed=replayed)


def profile_of(manifest: Mapping[str, Any], path: Path, *, replayed: bool = False) -> Profile:
    """Raises InvalidInput, naming the field."""
    try:
        profile = load_profile(manifest, replayed=replayed)
    except InvalidProfile as error:
        raise InvalidInput(f"{path}: {error}") from error
    problem = unknown_method(profile.method, known_methods())
    if problem is not None:
        raise InvalidInput(f"{path}: {problem}")
    return profile


def everywhere(profile: Profile, namespaces: Iterable[str]) -> tuple[Profile, ...]:
    """The profile in each of these namespaces: one that is given by hand rules them all. A cluster-wide one rules those that it selects."""
    if profile.cluster_wide:
        return (profile,)
    return tuple(replace(profile, namespace=namespace) for namespace in sorted(set(namespaces)))


def only_profile(profile: Profile, path: Path | None) -> str:
    """What is told where a profile was given by hand."""
    return f"the profile {profile.name} of {path} rules, and no other"


def _contents(documents: Sequence[Any]) -> str:
    """What a file holds in place of a profile, in words."""
    if len(documents) != 1:
        return f"{len(documents)} documents" if documents else "nothing"
    match documents[0]:
        case Mapping():
            return f"kind {documents[0].get('kind')}"
        case list():
            return "a list"
        case str():
            return "a text"
        case value:
            return f"only {value!r}"


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error)
    return f"line {mark.line + 1}: {getattr(error, 'problem', None) or error}"
