"""From series to pods and from pods to containers: how several values of one slot become one. Works on codes, which keep the order of
values and say nothing known by 0; where they come from and go to is not known here.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from rightsizer.history.codec import UsageCodes, decode_usage, encode_usage

Groups = NDArray[np.intp]


def numbered(items: Sequence[Hashable]) -> Groups:
    """Equal items as equal numbers, counted by first sight."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(item, len(numbers)) for item in items], dtype=np.intp)


def _grouped(groups: Groups) -> tuple[Groups, Groups]:
    """An order of the elements that puts groups together, ascending, and where in it each group starts."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    return order, np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))


def largest(groups: Groups, codes: NDArray[np.unsignedinteger]) -> tuple[Groups, NDArray[np.unsignedinteger]]:
    """The groups in ascending order, and of each the largest code slot by slot."""
    order, starts = _grouped(groups)
    return groups[order[starts]], np.maximum.reduceat(codes[order], starts, axis=0)


def count_known(groups: Groups, codes: UsageCodes) -> NDArray[np.int32]:
    """Of each group in ascending order, how many of its elements know something, slot by slot."""
    order, starts = _grouped(groups)
    counts: NDArray[np.int32] = np.add.reduceat(codes[order] != 0, starts, axis=0, dtype=np.int32)
    return counts


def mean_known(groups: Groups, codes: UsageCodes) -> UsageCodes:
    """Of each group in ascending order, the code of the mean over its elements that know something, slot by slot."""
    order, starts = _grouped(groups)
    if len(starts) == len(order):
        return codes[order]
    values = np.nan_to_num(decode_usage(codes[order]), copy=False)
    sums = np.add.reduceat(values, starts, axis=0)
    counts = np.add.reduceat(codes[order] != 0, starts, axis=0, dtype=np.float32)
    with np.errstate(invalid="ignore"):
        return encode_usage(np.divide(sums, counts, out=sums))


def last_known(codes: NDArray[np.unsignedinteger]) -> Groups:
    """The last place of each row where something is known; each row knows something."""
    last: Groups = codes.shape[1] - 1 - np.argmax(codes[:, ::-1] != 0, axis=1)
    return last
