"""The vectorised decoder of XOR chunks against one that reads bit by bit, on what Prometheus could write and on what it could not."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rightsizer.errors import UsageAnswerInvalid
from rightsizer.prometheus import chunks
from tests import xor_chunks
from tests.xor_chunks import STALE, Sample

NOW = 1_761_955_200_000

# As scraped: mostly the same interval, sometimes some milliseconds off, now and then a gap; and anything at all.
_steps = st.one_of(st.just(60_000), st.integers(59_990, 60_010), st.integers(1, 3_000_000), st.integers(1, 1 << 40))
_values = st.one_of(
    st.floats(), st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, STALE, 1.0]), st.integers(0, 1 << 34).map(float)
)


@st.composite
def _chunk(draw: st.DrawFn) -> list[Sample]:
    time = draw(st.one_of(st.integers(NOW, NOW + 1_000_000_000), st.integers(-(1 << 40), 1 << 40)))
    samples = []
    for step, value in draw(st.lists(st.tuples(_steps, _values), max_size=30)):
        samples.append((time, value))
        time += step
    return samples


def decoded(written: Sequence[bytes], *, between: bytes = b"") -> list[list[Sample]]:
    """Through the decoder in one go, with other bytes before and between the chunks."""
    body, starts = b"", []
    for content in written:
        body += between
        starts.append(len(body))
        body += content
    sizes = np.array([len(content) for content in written], dtype=np.int64)
    found = chunks.decode(body, np.array(starts, dtype=np.int64), sizes)
    ends = np.cumsum(found.counts)
    pairs = list(zip(found.times.tolist(), found.values.tolist(), strict=True))
    return [pairs[end - count : end] for count, end in zip(found.counts.tolist(), ends.tolist(), strict=True)]


@settings(max_examples=300, deadline=None)
@given(st.lists(_chunk(), max_size=6), st.binary(max_size=9))
def test_what_was_written_is_read(written: list[list[Sample]], between: bytes) -> None:
    found = decoded([xor_chunks.encode(samples) for samples in written], between=between)
    assert len(found) == len(written)
    assert all(xor_chunks.same(left, right) for left, right in zip(found, written, strict=True))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=2, max_size=60), min_size=1, max_size=4))
def test_any_bytes_are_read_as_the_scalar_decoder_does_or_refused(contents: list[bytes]) -> None:
    for content in contents:
        small = bytes([0, content[1] % 40]) + content[2:]
        try:
            found = decoded([small])
        except UsageAnswerInvalid:
            continue
        try:
            expected = xor_chunks.decode(small)
        except ValueError:
            pytest.fail("the scalar decoder finds the chunk cut off")
        assert [bits for _, bits in found[0]] == pytest.approx([bits for _, bits in expected], nan_ok=True)


@pytest.mark.parametrize("change", [0, 1, -1, 8191, 8192, -8191, -8192, 65536, -65535, 524288, -524287, 524289, -524288, 1 << 41])
def test_changes_of_the_interval_at_the_edges_of_their_widths(change: int) -> None:
    interval = 1 << 42
    samples = [(0, 1.0), (interval, 2.0), (2 * interval + change, 2.0), (3 * interval + 2 * change, 3.0)]
    assert decoded([xor_chunks.encode(samples)]) == [samples]


def test_thousands_of_chunks_of_different_lengths_in_several_rounds() -> None:
    generator = random.Random(4)
    written = []
    for number in range(chunks.CHUNKS_AT_ONCE + 10):
        count = generator.choice([0, 1, 2, 3, 5]) if number % 500 else 240
        written.append([(NOW + 60_000 * index, generator.random() * 1e6) for index in range(count)])
    assert decoded([xor_chunks.encode(samples) for samples in written]) == written


def test_the_largest_chunk() -> None:
    samples = [(NOW + index, 1.0) for index in range(65_535)]
    assert decoded([xor_chunks.encode(samples)]) == [samples]


def test_no_chunks() -> None:
    assert decoded([]) == []


WHOLE = xor_chunks.encode([(NOW + 60_000 * index, index * 1.1) for index in range(20)])


@pytest.mark.parametrize("length", [0, 1, 2, 5, 11, 40, len(WHOLE) - 1])
def test_a_chunk_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(UsageAnswerInvalid, match="chunk of samples"):
        decoded([WHOLE[:length]])
    # What follows belongs to another chunk.
    with pytest.raises(UsageAnswerInvalid, match="chunk of samples"):
        decoded([WHOLE[:length], WHOLE])


def test_a_chunk_outside_of_the_answer_is_refused() -> None:
    with pytest.raises(UsageAnswerInvalid, match="cut off"):
        chunks.decode(WHOLE, np.array([4]), np.array([len(WHOLE)]))


def test_a_window_of_more_than_64_bits_is_refused() -> None:
    broken = "11" + "11111" + "111111"
    first = b"\x00\x02" + xor_chunks.uvarint(2 * NOW) + bytes(8) + xor_chunks.uvarint(60_000)
    with pytest.raises(UsageAnswerInvalid, match="cannot be read"):
        decoded([first + int(broken.ljust(128, "0"), 2).to_bytes(16, "big")])


def test_a_time_without_an_end_is_refused() -> None:
    with pytest.raises(UsageAnswerInvalid, match="cannot be read"):
        decoded([b"\x00\x01" + b"\xff" * 40])
