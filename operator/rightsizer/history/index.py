"""Which row each container has, and what was read of each namespace: what is needed beside the arrays to make sense of them.

A row that is given up is not used again before an index without its container was saved. Else a crash would leave an index in which the
container still has the row, with the values of another. Where the index is saved, and what a row holds, is not known here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from rightsizer.history.spans import Spans, gaps, joined, not_before
from rightsizer.history.usage import Span
from rightsizer.workload import ContainerKey, WorkloadRef

BLANK_ROW = 0
"""The row of every container that is not known: never written, so it reads as nothing known."""

MOST_FORGOTTEN = 10_000
"""How many containers that are gone are remembered one by one; of older ones, only that their namespace had some."""


class Index:
    """Rows by container and spans by namespace. `changed` is set with every change and reset by who saves it."""

    def __init__(self) -> None:
        self.rows: dict[ContainerKey, int] = {}
        self.changed = True
        self._read: dict[str, Spans] = {}
        self._since: dict[ContainerKey, int] = {}
        self._forgotten: dict[ContainerKey, int] = {}
        self._forgetful: dict[str, int] = {}
        self._next = BLANK_ROW + 1
        self._free: list[int] = []
        self._given_up: list[int] = []

    def hand_out(self, keys: Iterable[ContainerKey], *, since: int) -> list[int]:
        """Give a row to each of these containers that has none. Answers the rows; those used before still hold what they held.

        `since` is the first slot of what is known now: a container that was forgotten is known from there on only.
        """
        rows = []
        for key in keys:
            if key in self.rows:
                continue
            if self._free:
                row = self._free.pop()
            else:
                row, self._next = self._next, self._next + 1
            self.rows[key] = row
            rows.append(row)
            self.changed = True
            if self._forgotten.pop(key, None) is not None or key.workload.namespace in self._forgetful:
                self._since[key] = since
        return rows

    def known_since(self, key: ContainerKey) -> int | None:
        return self._since.get(key)

    def forget(self, keys: Collection[ContainerKey], *, at: int) -> None:
        """Drop containers at this slot. A namespace of which nothing is left counts as not read again."""
        self.changed = self.changed or bool(keys)
        for key in keys:
            self._given_up.append(self.rows.pop(key))
            self._since.pop(key, None)
            self._forgotten.pop(key, None)
            self._forgotten[key] = at
        emptied = _namespaces(keys) - _namespaces(self.rows)
        for namespace in emptied:
            self.unread(namespace)
        while len(self._forgotten) > MOST_FORGOTTEN:
            oldest = next(iter(self._forgotten))
            self._forgetful[oldest.workload.namespace] = self._forgotten.pop(oldest)

    def reuse_rows(self) -> None:
        """Rows that were given up may be handed out again: no saved index has them any more."""
        self._free += self._given_up
        self._given_up = []

    def read(self, namespace: str) -> Spans:
        return self._read.get(namespace, ())

    def mark_read(self, namespace: str, span: Span, *, oldest: int) -> None:
        """Note that a span was read; what lies before the slot `oldest` drops off."""
        before = self.read(namespace)
        after = not_before(joined((*before, span)), oldest)
        self._read[namespace] = after
        self.changed = self.changed or after != before

    def missing(self, namespace: str, wanted: Span) -> Spans:
        return gaps(self.read(namespace), wanted)

    def unread(self, namespace: str) -> None:
        """Count nothing of this namespace as read, so nothing of its past will be missing once it is read again."""
        self._read.pop(namespace, None)
        self._forgetful.pop(namespace, None)
        self._since = {key: slot for key, slot in self._since.items() if key.workload.namespace != namespace}
        self._forgotten = {key: slot for key, slot in self._forgotten.items() if key.workload.namespace != namespace}
        self.changed = True

    def expire(self, oldest: int) -> None:
        """What was forgotten before this slot leaves no gap in what is kept."""
        self._forgotten = {key: slot for key, slot in self._forgotten.items() if slot >= oldest}
        self._forgetful = {namespace: slot for namespace, slot in self._forgetful.items() if slot >= oldest}
        self._since = {key: slot for key, slot in self._since.items() if slot >= oldest}

    def encode(self) -> dict[str, Any]:
        """As lists and dictionaries of texts and whole numbers."""
        return {
            "rows": [(*_key_parts(key), row) for key, row in self.rows.items()],
            "read": {namespace: [(span.start, span.end) for span in spans] for namespace, spans in self._read.items()},
            "since": [(*_key_parts(key), slot) for key, slot in self._since.items()],
            "forgotten": [(*_key_parts(key), slot) for key, slot in self._forgotten.items()],
            "forgetful": self._forgetful,
        }

    @classmethod
    def decode(cls, encoded: Mapping[str, Any], *, used: int) -> Index:
        """The opposite; rows below `used` were used. Raises KeyError, TypeError or ValueError where it is something else."""
        index = cls()
        index.rows = _by_key(encoded["rows"])
        index._read = {namespace: tuple(Span(*span) for span in spans) for namespace, spans in encoded["read"].items()}
        index._since = _by_key(encoded["since"])
        index._forgotten = _by_key(encoded["forgotten"])
        index._forgetful = dict(encoded["forgetful"])
        taken = set(index.rows.values())
        if len(taken) < len(index.rows) or not taken <= set(range(BLANK_ROW + 1, used)):
            raise ValueError("rows that are not there, or that two containers have")
        index._free = sorted(set(range(BLANK_ROW + 1, used)) - taken, reverse=True)
        index._next = max(used, BLANK_ROW + 1)
        index.changed = False
        return index


def _namespaces(keys: Iterable[ContainerKey]) -> set[str]:
    return {key.workload.namespace for key in keys}


def _key_parts(key: ContainerKey) -> tuple[str, str, str, str]:
    return (key.workload.namespace, key.workload.kind, key.workload.name, key.container)


def _by_key(entries: Iterable[tuple[str, str, str, str, int]]) -> dict[ContainerKey, int]:
    return {ContainerKey(WorkloadRef(namespace, kind, name), container): number for namespace, kind, name, container, number in entries}
