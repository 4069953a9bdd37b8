"""The bytes of an answer of the Prometheus API, decoded into arrays: pure, and fast, since a backfill is tens of millions of values.

It does not know what was asked or how the bytes came here. Whatever is not the API's JSON raises UsageAnswerInvalid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from rightsizer.errors import UsageAnswerInvalid

# A quotation mark within a JSON string is escaped, so neither text can occur in a label value; and the values hold nothing but numbers.
_VALUES_OPEN = b'"values":[['
_VALUES_KEY = b'"values":'
_VALUES_CLOSE = b'"]]'

Floats = NDArray[np.float64]
Body = bytes | bytearray


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: its labels, the times (unix seconds) and the values at these times; none where labels alone were wanted."""

    labels: Mapping[str, str]
    times: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class Answer:
    """A decoded answer. `series` decodes one after the other while it is gone through, so that little is in memory at once; once only."""

    series: Iterator[Series]
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class Complaint:
    """The server's own words for why it did not answer the question."""

    error_type: str
    message: str

    def __str__(self) -> str:
        return f"{self.error_type}: {self.message}" if self.error_type else self.message


def decode(body: Body) -> Answer | Complaint:
    """The answer to a query (matrix or vector) or for labels only, or the server's complaint.

    The values of each series are cut out first: what remains is a small JSON with all labels, and each piece is parsed into an array by
    itself. That takes a fifth of the time and a fraction of the memory of decoding the whole into Python's lists.
    Raises UsageAnswerInvalid.
    """
    outline, cuts = _cut(body)
    answer = _parse(outline)
    if not isinstance(answer, dict) or "status" not in answer:
        raise UsageAnswerInvalid("the answer has no field status: is this the address of a Prometheus?")
    if answer["status"] != "success":
        return Complaint(str(answer.get("errorType") or ""), str(answer.get("error") or "no reason given"))
    result, decoder = _result(answer)
    pieces = _Pieces(body, cuts)
    return Answer(series=(decoder(item, pieces) for item in result), warnings=[str(text) for text in answer.get("warnings") or ()])


def complaint(body: Body) -> Complaint | None:
    """The server's words in an error answer; None where they are not in the form of the API."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(answer, dict) or not answer.get("error"):
        return None
    return Complaint(str(answer.get("errorType") or ""), str(answer["error"]))


def is_html(body: Body) -> bool:
    return body[:1024].lstrip().startswith(b"<")


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The arrays of values that were cut out, copied one at a time."""

    body: Body
    cuts: Sequence[tuple[int, int]]

    def __getitem__(self, number: int) -> Body:
        begin, end = self.cuts[number]
        return self.body[begin:end]


def _cut(body: Body) -> tuple[bytes, list[tuple[int, int]]]:
    """The answer with a number in the place of each array of values, and where these arrays begin and end."""
    outline: list[Body] = []
    cuts: list[tuple[int, int]] = []
    position = 0
    while (opening := body.find(_VALUES_OPEN, position)) >= 0:
        begin = opening + len(_VALUES_KEY)
        end = body.find(_VALUES_CLOSE, begin) + len(_VALUES_CLOSE)
        if end < begin:
            raise UsageAnswerInvalid(f"the answer ends in the middle of its values (after {len(body)} bytes)")
        outline += (body[position:begin], b"%d" % len(cuts))
        cuts.append((begin, end))
        position = end
    outline.append(body[position:])
    return b"".join(outline), cuts


def _parse(outline: bytes) -> Any:
    try:
        return orjson.loads(outline)
    except orjson.JSONDecodeError as error:
        if is_html(outline):
            raise UsageAnswerInvalid("answered HTML, not JSON: is this the Prometheus URL?") from error
        raise UsageAnswerInvalid(f"the answer is not complete JSON: {error.msg}") from error


def _result(answer: dict[str, Any]) -> tuple[list[Any], Any]:
    content = answer.get("data")
    if isinstance(content, list):
        return content, _label_set
    kind = content.get("resultType") if isinstance(content, dict) else None
    result = content.get("result") if isinstance(content, dict) else None
    decoder = {"matrix": _matrix_series, "vector": _vector_series}.get(str(kind))
    if decoder is None or not isinstance(result, list):
        raise UsageAnswerInvalid(f"the answer holds no matrix or vector (resultType {kind})")
    return result, decoder


def _matrix_series(item: Any, pieces: _Pieces) -> Series:
    try:
        values = item["values"]
        points = _points(pieces[values]) if isinstance(values, int) else _points_of_lists(values)
        return Series(labels=item["metric"], times=points[:, 0], values=points[:, 1])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageAnswerInvalid(f"a series of the answer cannot be read: {error!r}") from error


def _vector_series(item: Any, _pieces: _Pieces) -> Series:
    try:
        points = _points_of_lists([item["value"]])
        return Series(labels=item["metric"], times=points[:, 0], values=points[:, 1])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageAnswerInvalid(f"a sample of the answer cannot be read: {error!r}") from error


def _label_set(item: Any, _pieces: _Pieces) -> Series:
    if not isinstance(item, dict):
        raise UsageAnswerInvalid(f"a series of the answer cannot be read: {item!r}")
    return Series(labels=item, times=np.empty(0), values=np.empty(0))


def _points(piece: Body) -> Floats:
    """`[[1700000000,"0.18"],[1700000300,"0.2"]]` as an array of shape (points, 2)."""
    flat = piece.replace(b'"],[', b",").replace(b'"', b"")
    count = piece.count(b'"],[') + 1
    try:
        return np.array(orjson.loads(flat)[0], dtype=np.float64).reshape(count, 2)
    except orjson.JSONDecodeError:
        # NaN and +Inf are no JSON numbers; rare, so the slow way will do.
        return _points_of_lists(orjson.loads(piece))


def _points_of_lists(values: Sequence[Sequence[Any]]) -> Floats:
    return np.array([(float(time), float(value)) for time, value in values], dtype=np.float64).reshape(-1, 2)
