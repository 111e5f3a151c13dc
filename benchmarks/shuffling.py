"""How well streams are shuffled, by lanes and windows, against a full permutation; nothing is decoded.

python -m benchmarks.shuffling                  # lengths alone, and the standard library's own sources
python -m benchmarks.shuffling --data FOLDER    # <name>.jsonl[.zst] and bpe-<vocab>.json[.zst]
python -m benchmarks.shuffling --samples 20000  # of the source of lengths alone
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tokstore as ts
from benchmarks.corpora import load_corpora
from benchmarks.measure import machine, table
from tokstore.stream.shuffling import OrderQuality, measure_order, stretches_of
from tokstore.view_spans import ViewSpans, ordered_spans

__all__ = ["LengthsAlone", "measure_source"]

_SEQ_LEN, _BATCH = 2048, 64
_HEAD = [
    "source", "lanes", "window, tokens", "mixed at a time", "same stretch", "a batch is worth", "step", "spread",
    "rank correlation", "MB held",
]  # fmt: skip


class LengthsAlone:
    """A source whose samples have lengths and nothing else: enough to plan with.

    Args:
        lengths: int64, tokens of every sample.
    """

    token_column = "tokens"

    def __init__(self, lengths: NDArray[np.int64]) -> None:
        self._lengths, self._spans = lengths, ordered_spans(lengths)
        self.schema: Mapping[str, Any] = ts.Schema(tokens=ts.Tokens(50_257))
        self.token_count = int(lengths.sum())
        self.fingerprint = f"lengths/{len(lengths)}/{self.token_count}"

    def __len__(self) -> int:
        return len(self._lengths)

    def spans(self) -> ViewSpans:
        """Return the counts of all spans."""
        return self._spans

    def lengths(self, first: int, stop: int) -> NDArray[np.int64]:
        """Return the token counts of samples."""
        return self._lengths[first:stop].copy()

    def take(self, positions: Any, columns: Sequence[str]) -> Mapping[str, Any]:
        """Refuse: there are no columns."""
        raise TypeError("this source has lengths alone")

    def read_range(self, first: int, stop: int, **options: Any) -> NDArray[Any]:
        """Refuse: there are no tokens."""
        raise TypeError("this source has lengths alone")

    read_samples = read_range


def _row(name: str, lanes: str, window: str, together: float, order: OrderQuality, held: str) -> list[str]:
    """Return a row of the table."""
    found = {key: order[key] for key in ("same_stretch", "effective_samples", "step", "spread", "rank_correlation")}
    told = {key: float("nan") if one is None else float(one) for key, one in found.items()}
    return [
        name,
        lanes,
        window,
        f"{100 * together:.1f} %",
        f"{100 * told['same_stretch']:.2f} %",
        f"{100 * told['effective_samples']:.0f} %",
        f"{told['step']:.2f}",
        f"{told['spread']:.3f}",
        f"{told['rank_correlation']:+.3f}",
        held,
    ]


def measure_source(name: str, source: Any, buffers: Sequence[int], lanes: Sequence[int]) -> list[list[str]]:
    """Return rows of how well a source is shuffled: permuted in full, by windows of each size, in view order.

    Args:
        name: For the table.
        source: A store, a view, or lengths alone.
        buffers: Bytes of decoded tokens.
        lanes: Numbers of lanes.
    """

    def stream(**options: Any) -> dict[str, Any]:
        data = ts.StreamingDataset(source, seq_len=_SEQ_LEN, packing="fit", global_batch_size=_BATCH, **options)
        return data.plan(rows=1 << 40)

    samples, rows = len(source), []
    for count in lanes:
        before = 0
        for buffer in buffers:
            facts = stream(buffer=buffer, lanes=count)
            if facts["shuffle"] != "windows" or facts["window_tokens"] == before:
                continue  # all of it fits, or windows are no larger than with the smaller buffer
            before = facts["window_tokens"]
            window = f"{facts['window_tokens']:,}"
            held = f"{facts['held_bytes'] / 1e6:.1f}"
            rows.append(_row(name, str(count), window, facts["shuffled_together"], facts["order"], held))
    pool = stream(buffer=1 << 50)
    rows.append(_row(name, "pool", "all", 1, pool["order"], f"{pool['held_bytes'] / 1e6:.1f}"))
    # What the measure says of a permutation that this package has no part in, in batches of as many pieces.
    pieces = pool["order"]["pieces"]
    batch = np.arange(pieces) * pool["batches"] // pieces
    drawn = np.random.default_rng(0).permutation(pieces) * samples // pieces
    stretches = stretches_of(samples, source.token_count)
    rows.append(
        _row(name, "numpy's permutation", "all", 1, measure_order(drawn, batch, samples, stretches, whole=True), "")
    )
    rows.append(_row(name, "view order", "", 0, stream(shuffle=False)["order"], ""))
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", help="texts and tokenizers; by default the standard library")
    parser.add_argument("--samples", type=int, default=120_000, help="of the source of lengths alone")
    options = parser.parse_args(arguments)
    drawn = np.random.default_rng(0).lognormal(np.log(400), 1.0, options.samples)
    lengths = np.clip(drawn, 4, 1 << 15).astype(np.int64)
    total = int(lengths.sum())
    print(f"{machine()}; rows of {_SEQ_LEN:,} by fit, batches of {_BATCH} rows\n")
    buffers = [total // 64, total // 16, total // 4]
    rows = measure_source(f"lengths, {total / 1e6:.0f} M", LengthsAlone(lengths), buffers, [12, 48, 192])
    with tempfile.TemporaryDirectory() as folder:
        corpus = load_corpora(options.data)[-1]
        path = os.path.join(folder, "store")
        with ts.create(path, ts.Schema(tokens=ts.Tokens(corpus.vocab_size)), level="fast") as writer:
            writer.extend(tokens=ts.Ragged(corpus.values, corpus.lengths))
        store = ts.open(path)
        buffers = [store.token_count // 8, store.token_count // 2]
        rows += measure_source(f"{corpus.name}, {store.token_count / 1e6:.1f} M", store, buffers, [12, 48])
    print(table("Shuffling against a full permutation", _HEAD, rows))


if __name__ == "__main__":
    main()
