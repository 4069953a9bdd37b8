"""How usage is kept in two bytes a value, pod counts and shares in one, so that two weeks of ten thousand containers fit in
320 MB of files.

Codes keep the order of what they stand for and the code 0 says that nothing is known, so the largest of several codes is the code
of the largest value, and fresh memory or a fresh file reads as an empty history.

Usage codes are floats with 11 bits of mantissa (10 of them stored) and 6 bits of exponent:

    code    value                               exact or off by
    0       nothing known
    1       0                                   exact
    2       2^-10, the least                    less is 0
    65535   about 1.8e16, the most              more is this
            whole numbers up to 2048            exact
            k x 2^n with k up to 2048 (320Mi)   exact
            others                              at most 2^-11 = 0.05 %
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

UsageCodes = NDArray[np.uint16]
PodCodes = NDArray[np.uint8]
ShareCodes = NDArray[np.uint8]

_PORTION = 16_000
"""Copies of so many values, of eight bytes each, are below the 128 kB from which on the C library asks the kernel for new pages."""

_LEAST_EXPONENT = -10
_FLOAT32_MANTISSA_BITS = 23
_DROPPED_BITS = _FLOAT32_MANTISSA_BITS - 10
_HALF = 1 << (_DROPPED_BITS - 1)
# The bits of a float32 without the dropped ones are themselves in order of value; this is where the code 2 begins among them.
_OFFSET = ((127 + _LEAST_EXPONENT) << 10) - 2
_ZERO_CODE, _MOST_CODE = 1, 65535


def _usage_table() -> NDArray[np.float32]:
    bits = (np.arange(_MOST_CODE + 1, dtype=np.int32) + _OFFSET) << _DROPPED_BITS
    values = bits.view(np.float32)
    values[0], values[_ZERO_CODE] = np.nan, 0.0
    values.flags.writeable = False
    return values


_USAGE_OF_CODE = _usage_table()


def encode_usage(values: NDArray[np.float32]) -> UsageCodes:
    """Codes of usage (millicores or bytes). NaN, infinity and negative values are nothing known."""
    codes = np.empty(values.shape, dtype=np.uint16)
    for rows in _portions(values.shape):
        codes[rows] = _encode_usage(np.ascontiguousarray(values[rows], dtype=np.float32))
    return codes


def _encode_usage(values: NDArray[np.float32]) -> NDArray[np.int32]:
    known = (values >= 0) & (values < np.inf)
    # The absolute value turns a negative zero, whose bits are those of a huge number, into zero.
    codes = np.abs(np.where(known, values, np.float32(0))).view(np.int32)
    codes += _HALF
    codes >>= _DROPPED_BITS
    codes -= _OFFSET
    np.clip(codes, _ZERO_CODE, _MOST_CODE, out=codes)
    codes *= known
    return codes


def decode_usage(codes: UsageCodes) -> NDArray[np.float32]:
    """The values of codes, NaN where nothing is known."""
    return _looked_up(_USAGE_OF_CODE, codes)


def _portions(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of an array in portions: numpy makes several copies of what it works on, of up to eight bytes for each code."""
    step = max(_PORTION // max(prod(shape[1:]), 1), 1)
    return (slice(start, start + step) for start in range(0, shape[0], step))


def _looked_up(table: NDArray[Any], codes: NDArray[Any]) -> NDArray[Any]:
    values = np.empty(codes.shape, dtype=table.dtype)
    for rows in _portions(codes.shape):
        # Codes are always within the table; clipping spares numpy another copy.
        np.take(table, codes[rows], out=values[rows], mode="clip")
    return values


EXACT_PODS = 127
MOST_PODS = 5_000
"""As many as Kubernetes supports nodes, so the largest DaemonSet fits."""


def _pods_table() -> NDArray[np.uint16]:
    steps = np.geomspace(EXACT_PODS, MOST_PODS, num=256 - EXACT_PODS)
    pods = np.concatenate([np.arange(EXACT_PODS), np.rint(steps)]).astype(np.uint16)
    pods.flags.writeable = False
    return pods


_PODS_OF_CODE = _pods_table()


def _pods_codes() -> PodCodes:
    middles = (_PODS_OF_CODE[:-1].astype(np.float64) + _PODS_OF_CODE[1:]) / 2
    codes = np.searchsorted(middles, np.arange(MOST_PODS + 1)).astype(np.uint8)
    codes.flags.writeable = False
    return codes


_CODE_OF_PODS = _pods_codes()


def encode_pods(pods: NDArray[np.int32]) -> PodCodes:
    """Codes of pod counts of 0 or more: exact up to 127, then within 2 %, at most 5,000."""
    return _looked_up(_CODE_OF_PODS, np.minimum(pods, MOST_PODS))


def decode_pods(codes: PodCodes) -> NDArray[np.uint16]:
    """Pod counts of codes, 0 where nothing is known."""
    return _looked_up(_PODS_OF_CODE, codes)


_MOST_SHARE_CODE = 255


def _share_table() -> NDArray[np.float32]:
    shares = (np.arange(_MOST_SHARE_CODE + 1, dtype=np.float32) - 1) / np.float32(_MOST_SHARE_CODE - 1)
    shares[0] = np.nan
    shares.flags.writeable = False
    return shares


_SHARE_OF_CODE = _share_table()


def encode_share(shares: NDArray[np.float32]) -> ShareCodes:
    """Codes of shares from 0 to 1, off by at most 0.004: 1 is none at all, more than none is at least 2, more than 1 is 1.

    NaN, infinity and negative shares are nothing known.
    """
    known = (shares >= 0) & (shares < np.inf)
    inside = np.where(known, np.minimum(shares, 1), 0)
    codes = 1 + np.rint(inside * (_MOST_SHARE_CODE - 1))
    found: ShareCodes = (np.where(inside > 0, np.maximum(codes, 2), codes) * known).astype(np.uint8)
    return found


def decode_share(codes: ShareCodes) -> NDArray[np.float32]:
    """The shares of codes, NaN where nothing is known."""
    return _looked_up(_SHARE_OF_CODE, codes)
