"""What needs PyTorch: `StreamingDataset`, its batches and its `DataLoader`."""

from __future__ import annotations

from tokstore.loader.batch import Batch
from tokstore.loader.dataset import StreamingDataset

__all__ = ["Batch", "StreamingDataset"]
