"""Methods that others write: an installed function says which level counts as measured; buffer, bounds and limits are the profile's.

What such a function does wrong costs its own containers their numbers, and nothing else: whatever it raises or answers becomes a trouble
that is told. Who asks it, and what becomes of the numbers, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import Protocol, TypeVar

import numpy as np

from rightsizer.errors import MethodFailed
from rightsizer.history import UsageWindow, Values
from rightsizer.methods.measured import Given, sized_by_rule
from rightsizer.methods.ranking import Columns, Levels, counts
from rightsizer.methods.recommendation import ContainerFacts, ContainerRecommendation
from rightsizer.methods.statistics import Numbers
from rightsizer.workload import ResourceName

Array = TypeVar("Array", Values, Columns)

MOST = 1e15
"""The highest level that is believed: a million million cores, or some 900 TiB. With buffer and limit a higher one would not be a
whole number any more."""

_CHANGED_TO = (3.0, 0.0)
"""What stands in place of the future to see whether a level depends on it: so many times a row's largest value."""

GROUP = "rightsizer.methods"
"""The entry point group; the name of an entry point is the name that a profile calls the method."""


class LevelFunction(Protocol):
    """What a plug-in is."""

    def __call__(self, values: Values, ends: Columns, *, resource: ResourceName, window: int) -> Levels:
        """The level of each row at the end of each of these columns (ascending), shape (rows, ends).

        `values`: millicores or bytes, one row per container, one column per 5 minutes, NaN where nothing was measured; not to be written
        to. A level may depend on the columns up to its own and on the last `window` of these. NaN for a row without a value.
        """
        ...


@dataclass(frozen=True, slots=True)
class Plugin:
    """A method by the function that `load` gives."""

    name: str
    load: Callable[[], LevelFunction]

    def recommend(self, usage: UsageWindow, facts: Sequence[ContainerFacts]) -> list[ContainerRecommendation]:
        """As every method does. A container for which the function fails keeps what it has, and its `troubles` say why."""
        cpu, cpu_troubles = self._latest(usage.cpu, "cpu")
        memory, memory_troubles = self._latest(usage.memory, "memory")
        recommendations = sized_by_rule(usage, facts, Given(self.name, {"cpu": cpu, "memory": memory}))
        troubles = map(_by_resource, cpu_troubles, memory_troubles)
        return [replace(found, troubles=each) for found, each in zip(recommendations, troubles, strict=True)]

    def ask(self, values: Values, ends: Columns, *, resource: ResourceName, window: int) -> Levels:
        """The function's levels; NaN where an answer is no number from 0 to `MOST`. Raises MethodFailed where there is no answer at all."""
        try:
            answer = _real(self.load()(_read_only(values), _read_only(ends), resource=resource, window=window))
        except (Exception, SystemExit) as error:
            # On one line, as it becomes part of messages that have one.
            told = " ".join(f"{type(error).__name__}: {error}".split())
            raise MethodFailed(f"method {self.name} failed for {resource}: {told}".rstrip(": ")) from error
        if answer.shape != (len(values), len(ends)):
            raise MethodFailed(f"method {self.name} answered shape {answer.shape} for {resource}, not {(len(values), len(ends))}")
        return np.where((answer >= 0) & (answer <= MOST), answer, np.nan)

    def trouble(self, resource: ResourceName) -> str:
        """What is told of a level that is no such number."""
        return f"method {self.name} answered no number from 0 to {MOST:g} for {resource}"

    def _latest(self, values: Values, resource: ResourceName) -> tuple[Numbers, list[str]]:
        """The level at the end of each row, and what is wrong with it in words."""
        slots, seen = values.shape[1], np.isfinite(values).any(axis=1)
        try:
            levels = self.ask(values, np.array([slots - 1]), resource=resource, window=slots)[:, 0]
            told = self.trouble(resource)
        except MethodFailed as error:
            levels, told = np.full(len(values), np.nan), str(error)
        return levels, [told if wrong else "" for wrong in (seen & np.isnan(levels)).tolist()]


@dataclass(frozen=True, slots=True)
class Asked:
    """A plug-in as an estimator for one resource, to be replayed: it sees what it would see in the operator, the window and no more.

    What the live operator would only tell is an error here.
    """

    plugin: Plugin
    resource: ResourceName
    window: int

    def levels(self, values: Values, ends: Columns) -> Levels:
        """Raises MethodFailed, also for an answer that is no number, or that depends on what came later."""
        early = ends[ends < self.window]
        parts = [self._of_first_window(values[:, : self.window], early)] if len(early) else []
        for end in ends[len(early) :].tolist():
            part = values[:, end + 1 - self.window : end + 1]
            parts.append(self._ask(part, np.array([self.window - 1])))
        return np.concatenate(parts, axis=1) if parts else np.empty((len(values), 0))

    def _of_first_window(self, values: Values, ends: Columns) -> Levels:
        found = self._ask(values, ends)
        # Behind the last one there may be no column left to change.
        for place in sorted({len(ends) // 2, max(len(ends) - 2, 0)}):
            self._check_foresight(values, ends[: place + 1], found[:, : place + 1])
        return found

    def _check_foresight(self, values: Values, ends: Columns, found: Levels) -> None:
        """Whether these levels stay when all columns after the last of them are missing, or other ones."""
        cut = int(ends[-1]) + 1
        if cut == values.shape[1]:
            return
        highest = np.fmax.reduce(values, axis=1, keepdims=True)
        futures = (np.repeat(highest * np.float32(times), values.shape[1] - cut, axis=1) for times in _CHANGED_TO)
        for other in (values[:, :cut], *(np.concatenate([values[:, :cut], future], axis=1) for future in futures)):
            if not np.allclose(self._ask(other, ends), found, rtol=1e-5, equal_nan=True):
                name = self.plugin.name
                raise MethodFailed(f"method {name} looks ahead: a level for {self.resource} depends on columns after its own")

    def _ask(self, values: Values, ends: Columns) -> Levels:
        found = self.plugin.ask(values, ends, resource=self.resource, window=self.window)
        if (np.isnan(found) & (counts(values, ends, self.window) > 0)).any():
            raise MethodFailed(self.plugin.trouble(self.resource))
        return found


@dataclass(frozen=True, slots=True)
class Tried:
    """The same, where an error costs only the rows that have it: they have no levels, and `tell` gets why."""

    asked: Asked
    tell: Callable[[str], None]

    def levels(self, values: Values, ends: Columns) -> Levels:
        try:
            return self.asked.levels(values, ends)
        except MethodFailed as error:
            if len(values) == 1:
                self.tell(str(error))
                return np.full((1, len(ends)), np.nan)
        return np.concatenate([self.levels(values[row : row + 1], ends) for row in range(len(values))])


def installed() -> Mapping[str, Plugin]:
    """The plug-ins that are installed, by name. None of their code runs before they are asked."""
    return {point.name: Plugin(point.name, point.load) for point in entry_points(group=GROUP)}


def _real(answer: object) -> Numbers:
    """As numbers; numpy would leave out what is imaginary, with a warning only."""
    found = np.asarray(answer)
    if np.iscomplexobj(found):
        raise TypeError("a level cannot be a complex number")
    return found.astype(np.float64)


def _read_only(values: Array) -> Array:
    view = values.view()
    view.flags.writeable = False
    return view


def _by_resource(cpu: str, memory: str) -> dict[ResourceName, str]:
    troubles: dict[ResourceName, str] = {"cpu": cpu, "memory": memory}
    return {resource: trouble for resource, trouble in troubles.items() if trouble}
