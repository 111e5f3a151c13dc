"""The rows that `StreamingDataset` hands out: which tokens, in which order, on which threads."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from test_loader_fake import FakeSource, expected_rows
from tokstore.loader import StreamingDataset

short = st.lists(st.integers(0, 12), min_size=1, max_size=40).filter(any)
mixed = st.lists(
    st.one_of(st.integers(0, 50), st.integers(0, 60_000), st.integers(200_000, 600_000)), min_size=1, max_size=25
).filter(any)


def stream(source: FakeSource, **options: Any) -> StreamingDataset:
    """Make a stream of ids only, without inserted ids unless asked for."""
    return StreamingDataset(source, **{"emit": ("input_ids",), "bos_id": None, "eos_id": None} | options)


def ids_of(data: StreamingDataset) -> np.ndarray[Any, Any]:
    """Return all rows of one pass."""
    return torch.cat([batch["input_ids"] for batch in data]).numpy()


def check_order(source: FakeSource, seq_len: int, epochs: int = 2, batch_size: int = 3, **options: Any) -> None:
    """Compare some epochs, row by row, with the slow reference, and what fills them up with the padding id."""
    data = stream(source, seq_len=seq_len, epochs=epochs, batch_size=batch_size, **options)
    given_ids = {"bos": options.pop("bos_id", None), "eos": options.pop("eos_id", None)}
    options.pop("threads", None)
    expected = [row for e in range(epochs) for row in expected_rows(source, seq_len, e, **given_ids, **options)]
    got = ids_of(data)
    assert len(expected) == epochs * data.rows_per_epoch
    assert len(got) == -(-len(expected) // batch_size) * batch_size == len(data) * batch_size
    for row, want in zip(got, expected, strict=False):
        assert np.array_equal(row[: len(want.ids)], want.ids)
        assert not np.any(row[len(want.ids) :] != data._pad)
    assert not np.any(got[len(expected) :] != data._pad)


@given(short, st.integers(2, 15), st.integers(0, 2**64 - 1), st.sampled_from([None, 1]), st.sampled_from([None, 2]))
def test_pool_has_the_order_of_the_page(
    lengths: list[int], seq_len: int, seed: int, bos_id: int | None, eos_id: int | None
) -> None:
    """Small sources: empty samples, fewer tokens than a row, fewer rows than lanes, with and without inserted ids."""
    check_order(FakeSource(lengths), seq_len, seed=seed, bos_id=bos_id, eos_id=eos_id)


@settings(max_examples=25)
@given(mixed, st.integers(1, 7), st.integers(5_000, 90_000), st.integers(0, 9), st.sampled_from([None, 2]))
def test_windows_have_the_order_of_the_page(
    lengths: list[int], lanes: int, seq_len: int, seed: int, eos_id: int | None
) -> None:
    """Sources larger than the buffer: many windows a lane, samples longer than a window, samples cut into parts."""
    check_order(FakeSource(lengths), seq_len, seed=seed, lanes=lanes, buffer=1, eos_id=eos_id, bos_id=eos_id)


@settings(max_examples=25)
@given(mixed, st.integers(5_000, 90_000), st.sampled_from([None, 2]))
def test_view_order(lengths: list[int], seq_len: int, bos_id: int | None) -> None:
    """Without shuffling, rows are the samples in view order, and every epoch is the same."""
    source = FakeSource(lengths)
    check_order(source, seq_len, shuffle=False, buffer=1, bos_id=bos_id)
    if bos_id is None:
        flat = ids_of(stream(source, seq_len=seq_len, shuffle=False, batch_size=1)).ravel()
        assert np.array_equal(flat[: source.token_count], source.read_range(0, len(source)))


@settings(max_examples=25)
@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=60).filter(any), st.integers(1, 9), st.integers(0, 99))
def test_every_token_once_an_epoch(lengths: list[int], lanes: int, seed: int) -> None:
    """Told without the reference: each epoch holds every token of every sample exactly once, in as many rows."""
    source = FakeSource(lengths, vocab_size=2**31)
    source.ids = lambda sample, place: np.asarray(sample * 30_000 + place + 1)
    every = np.sort(source.read_range(0, len(source)))
    for buffer in (1, 64 << 20):
        data = stream(source, seq_len=1000, batch_size=1, lanes=lanes, seed=seed, buffer=buffer)
        for _ in range(3):
            got = ids_of(data)
            assert len(got) == data.rows_per_epoch == -(-source.token_count // 1000)
            assert np.array_equal(np.sort(got[got != data._pad]), every)


def test_epochs_and_seeds_differ() -> None:
    """Epochs and seeds give other orders; the same seed and epoch the same one."""
    source = FakeSource([10] * 200)
    first = ids_of(stream(source, seq_len=10, batch_size=10, epochs=2))
    assert not np.array_equal(first[:200], first[200:])
    assert np.array_equal(np.sort(first[:200], axis=0), np.sort(first[200:], axis=0))
    assert not np.array_equal(first[:200], ids_of(stream(source, seq_len=10, batch_size=10, seed=1)))
    assert np.array_equal(first, ids_of(stream(source, seq_len=10, batch_size=10, epochs=2)))


@pytest.mark.parametrize("buffer", [1, 64 << 20])
def test_order_does_not_depend_on_how_it_is_read(buffer: int) -> None:
    """Any batch size and number of threads, single rows, and any row to begin with give the same rows."""
    source = FakeSource([37 * i % 5000 for i in range(300)])
    options: dict[str, Any] = {"seq_len": 700, "buffer": buffer, "lanes": 5, "epochs": 2}
    whole = ids_of(stream(source, batch_size=1, threads=1, **options))
    for batch_size, threads in ((1, 3), (7, 1), (64, 2), (5000, 2)):
        got = ids_of(stream(source, batch_size=batch_size, threads=threads, **options))
        assert np.array_equal(got[: len(whole)], whole)
    rows = stream(source, **options)
    assert np.array_equal(torch.stack([row["input_ids"] for row in rows]).numpy(), whole)
    for row in (1, 500, len(whole) - 1):
        data = stream(source, batch_size=9, **options)
        data.load_state_dict(data.state_at(rows=row))
        got = ids_of(data)
        assert np.array_equal(got[: len(whole) - row], whole[row:])


def test_first_batch_decodes_only_its_samples() -> None:
    """One batch of a large pool reads a few samples; after it, everything is read once and never again."""
    source = FakeSource([200] * 50_000)
    data = stream(source, seq_len=256, batch_size=2)
    source.gate = threading.Event()
    iterator = iter(data)
    first = next(iterator)
    assert source.values_read <= 16 * 200
    source.gate.set()
    rest = [batch["input_ids"] for batch in iterator]
    assert source.values_read <= source.token_count + 16 * 200
    before = source.values_read
    again = ids_of(data)
    assert source.values_read == before
    whole = torch.cat([first["input_ids"], *rest])
    assert np.array_equal(np.sort(whole.numpy().ravel()), np.sort(again.ravel()))


def test_first_batch_of_windows_decodes_only_its_samples() -> None:
    """The same where the source is larger than the buffer, also inside samples that were cut."""
    lengths = [3000] * 300 + [900_000] + [3000] * 300
    source = FakeSource(lengths)
    for epoch in range(4):
        data = stream(source, seq_len=3000, batch_size=2, lanes=2, buffer=1)
        data.set_epoch(epoch)
        expected = expected_rows(source, 3000, epoch, lanes=2, buffer=1)
        first = next(iter(data))["input_ids"].numpy()
        assert np.array_equal(first, np.stack([expected[0].ids, expected[1].ids]))
    assert source.values_read < 4 * source.token_count


def test_every_value_is_decoded_once_an_epoch() -> None:
    """Windows that begin inside a span read their own part only: an epoch reads no value twice."""
    source = FakeSource([700] * 3000)
    data = stream(source, seq_len=2048, batch_size=16, lanes=4, buffer=1)
    for _ in data:
        pass
    assert source.token_count <= source.values_read <= source.token_count + 16 * 2048 + 4 * 700


def test_windows_held_are_few() -> None:
    """While a large source streams, only windows of the lanes and a few more are in memory."""
    source = FakeSource([997] * 4000)
    data = stream(source, seq_len=512, batch_size=8, lanes=3, buffer=1)
    iterator: Any = iter(data)
    most = 0
    for _ in iterator:
        held = iterator._rows._reader._windows.values()
        most = max(most, sum(len(window.values) for window in held))
    assert most <= (3 + 4 + 17) * 65_536 < source.token_count
    assert len(list(iterator)) == 0


def test_large_vocabularies() -> None:
    """Ids above 65,535 and above 2**31 come out as they went in."""
    for vocab_size in (2**16, 2**16 + 1, 2**31, 2**32):
        source = FakeSource([5, 6], vocab_size=vocab_size)
        source.ids = lambda sample, place, top=vocab_size - 1: np.full_like(place, top)
        source.wide = True
        assert ids_of(stream(source, seq_len=11, batch_size=1)).tolist() == [[vocab_size - 1] * 11]


def test_batches_own_their_memory() -> None:
    """Tensors are contiguous int64 of their own; writing to one changes no other."""
    data = stream(FakeSource([64] * 64), seq_len=16, batch_size=4, seed=3)
    want = ids_of(stream(FakeSource([64] * 64), seq_len=16, batch_size=4, seed=3))
    got = []
    for batch in data:
        tensor = batch["input_ids"]
        assert (tensor.dtype, tensor.shape, tensor.is_contiguous()) == (torch.int64, (4, 16), True)
        assert tensor.untyped_storage().nbytes() == 4 * 16 * 8
        got.append(tensor.clone())
        tensor.fill_(7)
    assert np.array_equal(torch.cat(got).numpy(), want)


@settings(max_examples=60)
@given(
    st.one_of(short, mixed),
    st.sampled_from(["fit", "whole", "single"]),
    st.sampled_from(["split", "truncate", "drop"]),
    st.integers(2, 90),
    st.sampled_from([1, 4_000, 90_000, 1 << 26]),
    st.integers(1, 5),
    st.booleans(),
    st.integers(0, 9),
    st.sampled_from([None, 2]),
)
def test_packed_rows_have_the_order_of_the_page(
    lengths: list[int],
    packing: str,
    overlong: str,
    seq_len: int,
    buffer: int,
    lanes: int,
    shuffle: bool,
    seed: int,
    eos_id: int | None,
) -> None:
    """Fit, whole and single rows, of pools, windows and in view order, whatever is done with long samples."""
    if packing == "whole" and overlong == "split":
        overlong = "truncate"
    if sum(lengths) > 10_000:
        seq_len *= 700
    source = FakeSource(lengths)
    given_lanes = {"lanes": lanes} if shuffle else {}
    options: dict[str, Any] = {"buffer": buffer, "shuffle": shuffle, "seed": seed, **given_lanes}
    rule = None if packing == "fit" else overlong
    expected = [
        expected_rows(source, seq_len, epoch, eos=eos_id, packing=packing, overlong=rule or "split", **options)
        for epoch in range(2)
    ]
    arguments = {"packing": None if packing == "single" else packing, "overlong": rule, "eos_id": eos_id}
    if not expected[0]:
        with pytest.raises(ValueError, match="nothing to stream"):
            stream(source, seq_len=seq_len, batch_size=3, epochs=2, **arguments, **options)
        return
    data = stream(source, seq_len=seq_len, batch_size=3, epochs=2, **arguments, **options)
    got = ids_of(data)
    wanted = [row for epoch in expected for row in epoch]
    assert data.rows_per_epoch == len(expected[0]) == len(expected[1])
    for row, want in zip(got, wanted, strict=False):
        assert np.array_equal(row[: len(want.ids)], want.ids)
        assert not np.any(row[len(want.ids) :] != data._pad)
    assert not np.any(got[len(wanted) :] != data._pad)
