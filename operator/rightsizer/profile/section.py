"""Reads mappings that came from JSON or YAML field by field: a bad value is noted under its path, and a default stands in its place.

Nothing here knows which fields a profile has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rightsizer.errors import InvalidQuantity
from rightsizer.profile.profile import Problem

T = TypeVar("T")
D = TypeVar("D")


class Findings:
    """What was wrong in a manifest: values that could not be used, and fields that nobody asked for."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._sections: list[Section] = []

    def root(self, manifest: Mapping[str, Any]) -> Section:
        return self.section(manifest, "")

    def section(self, value: object, path: str, *, closed: bool = True) -> Section:
        """The section of a value that should be a mapping; an empty one, and a problem, where it is something else.

        A section that is not `closed` may have fields that nobody asks for.
        """
        if value is not None and not isinstance(value, Mapping):
            self.note(path, f"must be a mapping, is {value!r}")
        section = Section(value if isinstance(value, Mapping) else {}, path, self)
        if closed:
            self._sections.append(section)
        return section

    def note(self, path: str, message: str, *, kept: bool = False) -> None:
        self.problems.append(Problem(path, message, kept))

    def unknown_fields(self) -> list[Problem]:
        """Fields that no section was asked for."""
        return [problem for section in self._sections for problem in section.unknown_fields()]


class Section:
    """One mapping of a manifest with its path. A field that is null counts as absent, as it does for the API server."""

    def __init__(self, values: Mapping[str, Any], path: str, findings: Findings) -> None:
        self._values = values
        self._findings = findings
        self._known: set[str] = set()
        self.path = path

    def path_of(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def take(self, name: str, read: Callable[[object], T], default: D, *, instead: D | None = None) -> T | D:
        """The field as `read` understands it; `default` where it is absent, `instead` (else `default`) where `read` refuses it."""
        value = self.raw(name)
        if value is None:
            return default
        try:
            return read(value)
        except InvalidQuantity as error:
            self.note(name, str(error))
            return default if instead is None else instead

    def require(self, name: str, read: Callable[[object], T]) -> T | None:
        """The field as `read` understands it; None, and a problem, where it is absent or refused."""
        if self.raw(name) is None:
            self.note(name, "is missing")
            return None
        return self.take(name, read, None)

    def raw(self, name: str) -> object:
        """The field as it stands, None where it is absent."""
        self._known.add(name)
        return self._values.get(name)

    def names(self) -> list[str]:
        """All fields that are there."""
        return [str(name) for name in self._values]

    def section(self, name: str, *, closed: bool = True) -> Section:
        return self._findings.section(self.raw(name), self.path_of(name), closed=closed)

    def sections(self, name: str) -> list[Section]:
        """The elements of a list of mappings."""
        value = self.raw(name)
        if value is not None and not isinstance(value, list):
            self.note(name, f"must be a list, is {value!r}")
        elements = value if isinstance(value, list) else []
        return [self._findings.section(element, f"{self.path_of(name)}[{index}]") for index, element in enumerate(elements)]

    def note(self, name: str, message: str) -> None:
        self._findings.note(self.path_of(name), message)

    def unknown_fields(self) -> list[Problem]:
        known = ", ".join(sorted(self._known))
        return [Problem(self.path_of(str(name)), f"unknown field; known here: {known}") for name in self._values if name not in self._known]
