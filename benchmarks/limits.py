"""What a scan of tokens is made of, and how far it stands from what the machine and its libraries allow.

python -m benchmarks.limits                  # the standard library's own sources
python -m benchmarks.limits --data FOLDER    # <name>.jsonl[.zst] and bpe-<vocab>.json[.zst]

Every step is a loop of its own over the same blocks, with nothing around it, and has all steps before it in it; the
steps take turns, so that a busy moment of the machine meets them all. What lies between two loops is one step; what
lies between the last one and `scan` is planning, Python and the batches.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import zstandard
from numpy.typing import NDArray

import tokstore as ts
from benchmarks.corpora import Corpus, load_corpora
from benchmarks.measure import machine, table
from benchmarks.tokens import disk_bytes, scan, write
from tokstore.codecs.ranked import RANK_U16, TokenDecoder
from tokstore.frames import decompress
from tokstore.storage import Range
from tokstore.version import ShardRows
from tokstore.wire import checksum

_RUNS = 11


@dataclass
class _Block:
    """One block of tokens: where it lies, its stored bytes, its values, and the dictionary that it was made with."""

    place: Range
    data: memoryview
    values: int
    zstd: bool
    decoder: TokenDecoder


def blocks_of(store: ts.Store) -> list[_Block]:
    """Return all blocks of the tokens of a store that a page of shards holds."""
    version, column = store._version, store.schema.column("tokens")
    found: list[_Block] = []
    for number in range(len(version.root.pages)):
        (page,) = version.pages([number])
        for shard in range(page.shards):
            every = np.arange(int(page.samples[shard]))
            version.open_files([(number, shard)], [column])
            file = version.place_of(ShardRows(number, shard, every, every).page, shard, column).file
            if file is None:
                continue
            blocks = file.table(column.column_id, column.type)
            decoder = version.decoder(file, column)
            if not isinstance(decoder, TokenDecoder) or (blocks.forms & 15 != RANK_U16).any():
                raise ValueError("only blocks of ranks of 16 bits have these steps")
            places = [
                (file.place.path, int(a), int(n)) for a, n in zip(blocks.offsets, blocks.stored_bytes, strict=True)
            ]
            sizes = np.diff(blocks.value_starts).tolist()
            packed = (blocks.forms >> 4 > 0).tolist()
            found += [
                _Block(place, data, values, zstd, decoder)
                for place, data, values, zstd in zip(places, version.read(places), sizes, packed, strict=True)
                if data is not None
            ]
    return found


def _decode(blocks: list[_Block], out: NDArray[np.int32], steps: int) -> None:
    """Take as many steps as asked for: decompress; largest rank and wide ranks; look up the ids."""
    words = np.empty(max(block.values for block in blocks), np.intp)
    at = 0
    for block in blocks:
        most = 2 * block.values
        dictionary = block.decoder._dictionary
        coded = decompress(block.data, least=most, most=3 * most, dictionary=dictionary) if block.zstd else block.data
        if steps > 1:
            ranks = np.frombuffer(coded, "<u2", block.values)
            int(ranks.max())
            words[: block.values] = ranks
        if steps > 2:
            ids = block.decoder._short_table(out.dtype)
            if ids is None:
                raise ValueError("a column without a rank table has no ids to look up")
            ids.take(words[: block.values], out=out[at : at + block.values], mode="wrap")
        at += block.values


def _escapes(block: _Block) -> int:
    """Return how many ids of a block have no rank."""
    dictionary, most = block.decoder._dictionary, 2 * block.values
    coded = decompress(block.data, least=most, most=3 * most, dictionary=dictionary) if block.zstd else block.data
    return (len(coded) - most) // 4


def _read_and_decode(store: ts.Store, blocks: list[_Block], out: NDArray[np.int32]) -> None:
    """Read and verify all blocks, some megabytes at a time, and decode them."""
    at = 0
    for first in range(0, len(blocks), 64):
        some = blocks[first : first + 64]
        for data in store._version.read([block.place for block in some]):
            checksum(data or b"")
        values = sum(block.values for block in some)
        _decode(some, out[at : at + values], 3)
        at += values


def entropy(ids: NDArray[np.int32]) -> float:
    """Return the bits a token takes where every token is coded by its frequency alone."""
    counts = np.bincount(ids)
    share = counts[counts > 0] / len(ids)
    return float(-(share * np.log2(share)).sum())


def measure_corpus(corpus: Corpus, folder: str) -> tuple[list[list[str]], list[list[str]]]:
    """Return rows of rates and rows of shares, one for each level whose blocks hold ranks of 16 bits."""
    rates, shares = [], []
    for level in ("fast", "default"):
        path = os.path.join(folder, f"{corpus.name}-{corpus.vocab_size}-{level}")
        write(path, corpus, level)
        store = ts.open(path)
        blocks = blocks_of(store)
        ids = np.concatenate([batch["tokens"].values for batch in store.scan(["tokens"], threads=1)])
        out, count = np.empty_like(ids), len(ids)
        steps: dict[str, Callable[[], object]] = {
            "copy": partial(np.copyto, out, ids),
            "zstd": partial(_decode, blocks, out, 1),
            "wide": partial(_decode, blocks, out, 2),
            "look-up": partial(_decode, blocks, out, 3),
            "read": partial(_read_and_decode, store, blocks, out),
            "scan": partial(scan, store, 1),
        }
        times: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(_RUNS):
            for name, step in steps.items():
                start = time.perf_counter()
                step()
                times[name].append(time.perf_counter() - start)
        # The bare loops leave escapes out: ids that have no rank, which stand behind the ranks of a block.
        escapes = sum(_escapes(block) for block in blocks)
        if np.count_nonzero(out != ids) > escapes or escapes > count // 100:
            raise ValueError("the bare loops give other ids than the scan")
        took = {name: statistics.median(all_) for name, all_ in times.items()}
        name = f"{corpus.name} {corpus.vocab_size:,}"
        rates.append([name, level, *(f"{count / seconds / 1e6:,.0f}" for seconds in took.values())])
        order = list(took)[1:]
        parts = [took[order[0]], *(max(took[b] - took[a], 0.0) for a, b in pairwise(order))]
        bits = [f"{entropy(ids):.2f}", f"{8 * disk_bytes(path) / count:.2f}"]
        shares.append([name, level, *(f"{100 * part / took['scan']:.0f} %" for part in parts), *bits])
    return rates, shares


def main(arguments: list[str] | None = None) -> None:
    """Measure and print both tables as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", help="texts and tokenizers; without it the standard library")
    chosen = parser.parse_args(arguments)
    print(f"{machine()}; tokstore {ts.__version__}, zstandard {zstandard.__version__}, numpy {np.__version__}\n")
    rates, shares = [], []
    with tempfile.TemporaryDirectory(prefix="tokstore-bench-") as folder:
        for corpus in load_corpora(chosen.data):
            one, other = measure_corpus(corpus, folder)
            rates += one
            shares += other
    head = [
        "corpus",
        "store",
        "copy of the ids",
        "zstd alone",
        "+ widened ranks",
        "+ look-up",
        "+ read, checksum",
        "scan",
    ]
    print(table("One thread, M tokens/s: each loop has the steps before it in it", head, rates))
    head = [
        "corpus",
        "store",
        "zstd",
        "widening",
        "look-up",
        "read, checksum",
        "the rest",
        "entropy, order 0",
        "bits/token",
    ]
    print(table("Where the time of a scan goes; bits beside the entropy of single tokens", head, shares))


if __name__ == "__main__":
    main()
