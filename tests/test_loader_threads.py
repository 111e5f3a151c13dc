"""Threads of the loader: none is left behind, and what fails in one comes to the consumer."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from test_loader_fake import FakeSource
from tokstore.loader import StreamingDataset

OPTIONS: dict[str, Any] = {"seq_len": 500, "batch_size": 4, "lanes": 3, "threads": 2}


def decoding() -> list[threading.Thread]:
    """List the decoding threads that are alive."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("tokstore-decode")]


@pytest.fixture(autouse=True)
def no_others() -> None:
    """Wait for the threads of iterators that other tests have forgotten."""
    gc.collect()
    for thread in decoding():
        thread.join(30)
    assert decoding() == []


def started(buffer: int = 1, **options: Any) -> tuple[Any, FakeSource]:
    """Return an iterator that has handed out two batches, and its source."""
    source = FakeSource([900] * 800)
    iterator = iter(StreamingDataset(source, buffer=buffer, **(OPTIONS | options)))
    next(iterator)
    next(iterator)
    assert 1 <= len(decoding()) <= 2
    assert all(name.startswith("tokstore-decode") for name in source.threads)
    return iterator, source


@pytest.mark.parametrize("buffer", [1, 64 << 20])
def test_none_is_left_at_the_end(buffer: int) -> None:
    """After the last batch there is no thread, and the iterator stays at its end."""
    iterator, _ = started(buffer)
    assert sum(1 for _ in iterator) == 360 - 2
    assert decoding() == []
    assert next(iterator, None) is None


@pytest.mark.parametrize("epochs", [1, None])
def test_none_is_left_after_close(epochs: int | None) -> None:
    """Closing in the middle ends the threads at once; no batch comes any more, and closing again is allowed."""
    iterator, _ = started(epochs=epochs)
    iterator.close()
    assert decoding() == []
    assert next(iterator, None) is None
    iterator.close()


def test_none_is_left_by_a_forgotten_iterator() -> None:
    """An iterator that nobody holds any more, also one in a reference cycle, ends its threads."""
    for cycle in (False, True):
        holder: list[Any] = [started()[0]]
        threads = decoding()
        assert threads
        if cycle:
            holder.append(holder)
        del holder
        gc.collect()
        for thread in threads:
            thread.join(30)
        assert decoding() == []


def test_breaking_out_of_a_loop() -> None:
    """`break` in a for loop leaves no thread, and the next loop begins the next epoch."""
    data = StreamingDataset(FakeSource([900] * 800), buffer=1, **OPTIONS)
    threads = []
    for _ in data:
        threads = decoding()
        break
    gc.collect()
    for thread in threads:
        thread.join(30)
    assert decoding() == []
    assert next(iter(data)).rows.start == data.rows_per_epoch


@pytest.mark.parametrize("buffer", [1, 64 << 20])
@pytest.mark.parametrize("reads", [0, 9])
def test_errors_come_to_the_consumer(buffer: int, reads: int) -> None:
    """An error while decoding is raised as it is, ends the iterator and its threads, and does not stick."""
    source = FakeSource([900] * 20_000)
    source.fail_after = reads
    data = StreamingDataset(source, buffer=buffer, **OPTIONS)
    iterator = iter(data)
    with pytest.raises(OSError, match="the disk is gone"):
        for _ in iterator:
            pass
    assert decoding() == []
    assert next(iterator, None) is None
    source.fail_after = None
    data.set_epoch(0)
    assert sum(1 for _ in data) == len(data)


def shorter(source: FakeSource) -> Callable[..., Any]:
    """Return a `read_range` that loses the last value."""
    whole = source.read_range
    return lambda *args, **options: whole(*args, **options)[:-1]


def test_a_source_that_loses_values() -> None:
    """A source that returns fewer values than it told is an error, never a shifted row."""
    source = FakeSource([900] * 10)
    setattr(source, "read_range", shorter(source))  # noqa: B010 - mypy knows methods only
    with pytest.raises(Exception, match=r"gave \d+ values instead of \d+ \(order.md 4.1\)"):
        next(iter(StreamingDataset(source, **OPTIONS)))


def test_two_iterators_at_once() -> None:
    """Two iterators of one stream have their own threads and share the pool without harm."""
    data = StreamingDataset(FakeSource([900] * 800), **OPTIONS)
    first = iter(data)
    data.set_epoch(0)
    second = iter(data)
    for one, other in zip(first, second, strict=True):
        assert one["input_ids"].equal(other["input_ids"])
    assert next(first, None) is next(second, None) is None
    assert decoding() == []
