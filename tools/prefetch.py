"""Read ahead on a thread, so that parsing goes on while what was parsed is tokenized or compressed, and convert on
several."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["map_ahead", "read_ahead"]

T = TypeVar("T")
R = TypeVar("R")


def read_ahead(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """Yield items that a thread draws, at most `depth` of them ahead.

    An error of the source comes out where the item would have; leaving early ends the thread.

    Example:
        >>> list(read_ahead(range(4)))
        [0, 1, 2, 3]
    """
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    left = threading.Event()

    def draw() -> None:
        try:
            for item in items:
                waiting.put(("item", item))
                if left.is_set():
                    return
            waiting.put(("end", None))
        except BaseException as error:  # noqa: BLE001 - it is raised again by the one who waits
            waiting.put(("error", error))

    thread = threading.Thread(target=draw, name="tokstore-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, item = waiting.get()
            if kind == "error":
                raise item
            if kind == "end":
                return
            yield item
    finally:
        left.set()
        with suppress(queue.Empty):  # the thread puts once more at most, and has room for that
            while True:
                waiting.get_nowait()
        thread.join()


def map_ahead(job: Callable[[T], R], items: Iterable[T], threads: int = 2) -> Iterator[R]:
    """Yield what a job makes of each item, in order, while threads work on at most as many items ahead.

    Two are enough for a job that fills all processors by itself but for its ends, as tokenizers do.

    Example:
        >>> list(map_ahead(lambda one: one + 1, range(4)))
        [1, 2, 3, 4]
    """
    ahead: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="tokstore-map-ahead") as pool:
        try:
            for item in items:
                ahead.append(pool.submit(job, item))
                if len(ahead) > threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for one in ahead:
                one.cancel()
