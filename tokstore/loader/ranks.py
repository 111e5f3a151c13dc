"""Which data-parallel rank this process is, of how many: from arguments, a process group, or the environment."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import torch

from tokstore.stream.arguments import integer

__all__ = ["find_ranks", "warn_of_sharding"]

_MOST = 1 << 20


def find_ranks(rank: int | None, world_size: int | None, process_group: Any) -> tuple[int, int]:
    """Return rank and number of ranks.

    What is given wins; then the process group; then `torch.distributed`, if it is initialized; then ``RANK`` and
    ``WORLD_SIZE`` of the environment; else the process is alone.

    Raises:
        ValueError: The two contradict each other, one is missing, or the environment does not parse: a process never
            takes itself for rank 0 by mistake.
    """
    if rank is not None or world_size is not None:
        if rank is None or world_size is None:
            raise ValueError("rank and world_size go together: give both or neither")
        if process_group is not None:
            raise ValueError("give either rank and world_size or process_group")
        count = integer("world_size", world_size, 1, _MOST)
        return integer("rank", rank, 0, count - 1), count
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        own = distributed.get_rank(process_group)
        if own < 0:
            raise ValueError("this process is not in process_group")
        return own, distributed.get_world_size(process_group)
    if process_group is not None:
        raise ValueError("process_group is given, but torch.distributed is not initialized")
    found = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE")}
    given = {name: text for name, text in found.items() if text is not None}
    if not given:
        return 0, 1
    for name, text in given.items():
        if not text.strip().isdecimal():
            raise ValueError(
                f"the environment has {name}={text!r}, which is no number; unset it, or give rank= and world_size="
            )
    if len(given) == 1:
        (name,) = given
        other = "WORLD_SIZE" if name == "RANK" else "RANK"
        if name == "WORLD_SIZE" and int(given[name]) == 1:
            return 0, 1
        raise ValueError(
            f"the environment has {name}={given[name]} without {other}; set both, or give rank= and world_size="
        )
    own, count = int(given["RANK"]), int(given["WORLD_SIZE"])
    if not own < count:
        raise ValueError(f"the environment has RANK={own} of WORLD_SIZE={count}")
    return own, count


def warn_of_sharding(ranks: int) -> None:
    """Warn when a stream that has its ranks is iterated as it is while Accelerate, which shards again, is at work."""
    module = sys.modules.get("accelerate.state")
    state = {} if module is None else getattr(module.PartialState, "_shared_state", {})
    if ranks > 1 and state.get("num_processes", 1) > 1:
        warnings.warn(
            "Accelerate would shard this stream a second time, and its ranks are apart already; prepare data.loader() "
            "instead, or make the stream with rank=0, world_size=1",
            stacklevel=3,
        )
