"""Lent memory is used again when nobody holds it, and never while somebody does."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

import tokstore as ts
from tokstore.recycling import LEAST_BYTES, Recycling, recycling

WORDS = np.dtype(np.int64)


def test_memory_comes_back_when_the_array_is_gone() -> None:
    arrays = Recycling()
    address = arrays.empty(1 << 17, WORDS).ctypes.data
    assert {arrays.empty((1 << 17) - n, WORDS).ctypes.data for n in range(5)} == {address}


def test_memory_stays_with_whoever_holds_any_part_of_it() -> None:
    arrays = Recycling()
    for hold in (lambda a: a, lambda a: a[5:7], torch.from_numpy, memoryview, lambda a: a.reshape(2, -1)[1].T):
        held = hold(arrays.empty(1 << 17, WORDS))
        before = np.asarray(held).tobytes()
        for _ in range(10):
            arrays.empty(1 << 17, WORDS)[:] = -7
        assert np.asarray(held).tobytes() == before


@given(st.lists(st.tuples(st.integers(1, 1 << 18), st.booleans()), max_size=30))
def test_no_two_arrays_that_live_share_memory(wanted: list[tuple[int, bool]]) -> None:
    arrays = Recycling()
    held = []
    for number, (size, keep) in enumerate(wanted):
        made = arrays.empty(size, WORDS)
        made[:] = number
        assert made.shape == (size,)
        if keep:
            held.append((number, made))
    for number, made in held:
        assert (made == number).all()


def test_little_and_huge_arrays_and_objects_are_left_to_the_allocator() -> None:
    arrays = Recycling()
    assert arrays.empty(10, WORDS).flags.owndata
    assert arrays.empty(1 << 22, WORDS).flags.owndata
    assert arrays.empty(1 << 17, np.dtype(object)).tolist()[:1] == [None]


def test_batches_of_a_scan_that_are_kept_keep_their_values(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 50_000, 6_000_000).astype(np.uint32)
    lengths = np.full(6000, 1000)
    with ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(50_257)), level="plain") as writer:
        writer.extend(tokens=ts.Ragged(values, lengths))
    store = ts.open(tmp_path / "s")
    batches = [batch["tokens"].values for batch in store.scan(["tokens"])]
    assert np.array_equal(np.concatenate(batches), values)
    batches[0][:] = 0  # a batch is the caller's, to write to as well
    assert np.array_equal(np.concatenate(batches[1:]), values[len(batches[0]) :])
    again = [(batch["tokens"].values[:5].copy(), int(batch["sample_id"][0])) for batch in store.scan(["tokens"])]
    assert all(np.array_equal(head, values[first * 1000 :][:5]) for head, first in again)


def test_threads_never_hold_the_same_memory() -> None:
    arrays = Recycling()

    def work(number: int) -> bool:
        good = True
        for _ in range(300):
            mine = arrays.empty(LEAST_BYTES, np.dtype(np.uint8))
            mine[:] = number
            time.sleep(0)  # lets another thread run between writing and looking
            good = good and bool((mine == number).all())
            del mine
        return good

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_memory_of_one_thread_serves_another() -> None:
    def lend() -> int:
        return int(recycling().empty(3 * LEAST_BYTES, np.dtype(np.uint8)).ctypes.data)

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        assert first.submit(lend).result() == second.submit(lend).result()
