"""The peers by name: their module, their package, the environment that has it, and the workloads they serve."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.side_by_side.peers.contract import Peer
    from benchmarks.side_by_side.workloads import Work

__all__ = ["ALL", "QUICK", "Entry", "make_peer"]


@dataclass(frozen=True)
class Entry:
    """One peer.

    Attributes:
        name: As records have it.
        module: Under this package; its `Here` makes the peer.
        option: The variant, for that class.
        packages: Distributions that it needs.
        environment: "main", or the name of another virtual environment.
        kinds: The kinds of workloads it serves.
    """

    name: str
    module: str
    option: str = ""
    packages: tuple[str, ...] = ()
    environment: str = "main"
    kinds: tuple[str, ...] = ("tokens", "codes", "vectors")

    @property
    def group(self) -> str:
        """What `--peers` names: the peer in all its variants."""
        return self.module


_TOKENS, _CODED = ("tokens",), ("tokens", "codes")

ALL = (
    Entry("memmap Megatron", "memmap", "megatron"),
    Entry("memmap nanoGPT", "memmap", "nanogpt", kinds=_TOKENS),
    Entry("mds", "mds", "", ("mosaicml-streaming",), "mosaic"),
    Entry("mds zstd", "mds", "zstd", ("mosaicml-streaming",), "mosaic", _CODED),
    Entry("litdata", "litdata", "", ("litdata",)),
    Entry("litdata zstd", "litdata", "zstd", ("litdata", "zstd"), kinds=_CODED),
    Entry("hf datasets", "hf", "", ("datasets",)),
    Entry("arrayrecord zstd", "arrayrecord", "group_size:1,zstd", ("array-record",)),
    Entry("lance", "lance", "", ("pylance",)),
    Entry("vortex", "vortex", "", ("vortex-data",)),
    Entry("parquet zstd", "parquet", "zstd", ("pyarrow",)),
    Entry("webdataset", "webdataset", "", ("webdataset",)),
    Entry("faiss SQ8", "faiss", "SQ8", ("faiss-cpu",), kinds=("vectors",)),
    Entry("faiss SQ4", "faiss", "SQ4", ("faiss-cpu",), kinds=("vectors",)),
    Entry("faiss PQ96", "faiss", "PQ96x8", ("faiss-cpu",), kinds=("vectors",)),
    Entry("faiss PQ48", "faiss", "PQ48x8", ("faiss-cpu",), kinds=("vectors",)),
    Entry("tokstore plain", "tokstore", "plain", kinds=_CODED),
    Entry("tokstore fast", "tokstore", "fast", kinds=_CODED),
    Entry("tokstore default", "tokstore", "default", kinds=_CODED),
    Entry("tokstore small", "tokstore", "small", kinds=_CODED),
    Entry("tokstore float32", "tokstore", "", kinds=("vectors",)),
    Entry("tokstore int8", "tokstore", "int8", kinds=("vectors",)),
    Entry("tokstore pca 300", "tokstore", "300", kinds=("vectors",)),
    Entry("tokstore pca 150", "tokstore", "150", kinds=("vectors",)),
    Entry("tokstore pca 84", "tokstore", "84", kinds=("vectors",)),
    Entry("tokstore pca 45", "tokstore", "45", kinds=("vectors",)),
)

QUICK = ("memmap Megatron", "parquet zstd", "tokstore default", "tokstore pca 84")
"""The peers of a miniature: what the environment of the tests has."""


def make_peer(entry: Entry, work: Work, folder: Path) -> Peer:
    """Return the peer, with its package imported."""
    module: Any = importlib.import_module(f"benchmarks.side_by_side.peers.{entry.module}")
    made: Peer = module.Here(work, folder, entry.option)
    return made
