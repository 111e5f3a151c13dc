"""What the peers with Arrow columns share: samples as one list column, and batches of tensors from record batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from benchmarks.side_by_side.peers.contract import BATCH
from benchmarks.side_by_side.workloads import Work

__all__ = ["COLUMN", "batches_of", "rows_of", "sample_table"]

COLUMN = "sample"


def sample_table(work: Work, fixed_lists: bool = False) -> pa.Table:
    """Return all samples as a table of one list column, in record batches of about 2**20 values.

    Args:
        work: The samples.
        fixed_lists: Lists of one length are of Arrow's type for them.
    """
    batches, starts, first = [], work.starts, 0
    while first < len(work.lengths):
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + (1 << 20), "right")) - 1)
        values = pa.array(np.asarray(work.values[starts[first] : starts[last]]))
        if fixed_lists and work.length is not None:
            made = pa.FixedSizeListArray.from_arrays(values, work.length)
        else:
            offsets = pa.array((starts[first : last + 1] - starts[first]).astype(np.int32))
            made = pa.ListArray.from_arrays(offsets, values)
        batches.append(pa.record_batch([made], [COLUMN]))
        first = last
    return pa.Table.from_batches(batches)


def rows_of(column: Any) -> list[NDArray[Any]]:
    """Return the lists of an array or a chunked array as numpy arrays over its values."""
    if isinstance(column, pa.ChunkedArray):
        return [row for chunk in column.chunks for row in rows_of(chunk)]
    values = column.flatten().to_numpy(zero_copy_only=False)
    if pa.types.is_fixed_size_list(column.type):
        return list(values.reshape(len(column), -1))
    ends = (column.offsets.to_numpy() - column.offsets[0].as_py()).tolist()
    return [values[start:end] for start, end in pairwise(ends)]


def batches_of(arrays: Iterable[Any], fixed: bool) -> Iterator[Any]:
    """Yield batches of 8 samples from arrays of lists: values are converted once per array, then cut."""
    left: list[torch.Tensor] = []
    for array in arrays:
        rows = rows_of(array)
        if not rows:
            continue
        values = np.concatenate(rows)
        whole = torch.from_numpy(values.astype(np.int64 if values.dtype.kind in "ui" else np.float32, copy=False))
        left += torch.split(whole, [len(row) for row in rows])
        full = len(left) // BATCH * BATCH
        for start in range(0, full, BATCH):
            yield torch.stack(left[start : start + BATCH]) if fixed else left[start : start + BATCH]
        left = left[full:]
    if left:
        yield torch.stack(left) if fixed else left
