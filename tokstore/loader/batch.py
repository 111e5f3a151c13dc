"""`Batch`: the tensors of one batch, and which rows they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data._utils.collate import default_collate_fn_map

__all__ = ["Batch"]


class Batch(dict[str, Any]):
    """Tensors of one batch by name. Collating it again is refused, because that would add a dimension unseen.

    Args:
        tensors: int64 [rows, seq_len] each, unless the name says otherwise: numbers (``max_seqlen``) and lists of
            strings stay what they are.
        rows: The numbers of its rows, counted over all epochs; rows that only fill up the last batch are not in it.
        next_row: The row that follows the global batch: what a state counts. None if a trainer made the batch anew,
            as ``type(batch)(tensors)``, and its place was lost.

    Example:
        >>> Batch({"input_ids": torch.zeros(2, 3, dtype=torch.int64)}, rows=range(4, 6), next_row=6)
        Batch(input_ids=int64[2, 3], rows=4…5)
    """

    rows: range
    next_row: int | None

    def __init__(self, tensors: Mapping[str, Any], rows: range = range(0), next_row: int | None = None) -> None:
        super().__init__(tensors)
        self.rows, self.next_row = rows, next_row

    def __repr__(self) -> str:
        shapes = [
            f"{name}={str(one.dtype).removeprefix('torch.')}{list(one.shape)}"
            if torch.is_tensor(one)
            else f"{name}={type(one).__name__}"
            for name, one in self.items()
        ]
        rows = f"rows={self.rows.start}…{self.rows[-1]}" if len(self.rows) else "no rows"
        step = f" by {self.rows.step}" if self.rows.step != 1 else ""
        return f"Batch({', '.join(shapes)}, {rows}{step})"

    def to(self, *args: Any, **options: Any) -> Batch:
        """Return the batch with every tensor moved or cast as `torch.Tensor.to` does."""
        moved = {name: one.to(*args, **options) if torch.is_tensor(one) else one for name, one in self.items()}
        return Batch(moved, self.rows, self.next_row)

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory: what `DataLoader` calls."""
        pinned = {name: one.pin_memory() if torch.is_tensor(one) else one for name, one in self.items()}
        return Batch(pinned, self.rows, self.next_row)

    def __reduce__(self) -> tuple[Any, ...]:
        return Batch, (dict(self), self.rows, self.next_row)


def _refuse(batch: Sequence[Any], *, collate_fn_map: Any = None) -> Any:
    """Refuse to collate batches."""
    raise ValueError(
        f"{len(batch)} batches of StreamingDataset came to a collate function, which would stack them; write "
        "DataLoader(data, batch_size=None) or data.loader(), or make the dataset with batch_size=None"
    )


default_collate_fn_map[Batch] = _refuse
