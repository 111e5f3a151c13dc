"""The peers by name: their module, their package, the environment that has it, and the workloads they serve."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.side_by_side.peers.contract import Peer
    from benchmarks.side_by_side.workloads import Work

__all__ = ["ABOUT", "ALL", "QUICK", "Entry", "make_peer"]


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

ABOUT = {
    "memmap Megatron": "raw ids (of vectors float32) in one file and an index of lengths, memory-mapped, in the manner "
    "of Megatron-LM; a `DataLoader` draws the order",
    "memmap nanoGPT": "raw ids in one file; a batch is slices of it at random positions, so there are no samples",
    "mds": "MDS of mosaicml-streaming: shards of 64 MB, its `StreamingDataset` under a `DataLoader`; with zstd, shards "
    "are inflated on local disk before they are read",
    "litdata": "LitData: chunks of 64 MB, its own loader; with zstd, chunks are inflated on local disk too",
    "hf datasets": "Hugging Face datasets: Arrow files of `save_to_disk`, memory-mapped, with tensors as its format",
    "arrayrecord": "ArrayRecord: zstd, each record a group of its own, as its reader at random asks for",
    "lance": "Lance: one table in the newest stable version of the format, rows by `take`",
    "vortex": "Vortex: one file, memory-mapped; a scan in order, or of rows by their positions",
    "parquet": "Parquet by pyarrow: zstd, row groups of a million values; in order, or single rows by `Dataset.take`",
    "webdataset": "WebDataset: a `.npy` for each sample in tars of 64 MB, shuffled by tars and a buffer of 1,000",
    "faiss": "the codecs of faiss as a file of vectors: SQ8 and SQ4 keep 8 and 4 bits a dimension, PQ96 and PQ48 one "
    "byte for each of so many parts of a vector",
    "zstd -3": "the raw ids as one zstd file, which can only be read from its beginning: a yardstick of size",
    "ranges of a .bin": "only behind a server: raw ids, a request for each sample, as np.memmap's order asks for",
    "stand-in for MDS": "only behind a server: raw ids in files of 2 million, fetched whole. The own code of MDS and "
    "LitData is not run there, and can only be slower; the order is a weaker one",
    "zstd stand-in": "the same with files in zstd -3",
    "tokstore": "a store at each level (`plain`, `fast`, `default`, `small`) with its own loader; for vectors, each "
    "codec, `pca` with the bytes for a vector",
}
"""What the peers are, by how their names begin."""

QUICK = ("memmap Megatron", "parquet zstd", "tokstore default", "tokstore pca 84")
"""The peers of a miniature: what the environment of the tests has."""


def make_peer(entry: Entry, work: Work, folder: Path) -> Peer:
    """Return the peer, with its package imported."""
    module: Any = importlib.import_module(f"benchmarks.side_by_side.peers.{entry.module}")
    made: Peer = module.Here(work, folder, entry.option)
    return made
