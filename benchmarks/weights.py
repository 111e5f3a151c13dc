"""Streaming by weights measured: how even the drawing is at 10^8 samples, and what weights cost a stream.

python -m benchmarks.weights                       # 10^8 samples, 10^7 copies an epoch
python -m benchmarks.weights --samples 1000000     # fewer
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tokstore as ts
from benchmarks.measure import machine, table
from tokstore.order import Resampling, draw_offset
from tokstore.stream.plan import Plan, make_plan

__all__ = ["measure_draws", "measure_stream"]

_ONE = 1 << 16
_CLASSES = 1000
_EPOCHS, _SPANS = 100, 50
_SPAN_VALUES = 1 << 18


class Synthetic:
    """Lengths and weights of samples that are nowhere: lognormal ones, 6 bytes a sample in all."""

    token_column, fingerprint, is_weighted = "tokens", "synthetic", True
    schema = ts.Schema(tokens=ts.Tokens(50_000))

    def __init__(self, samples: int, mean: float) -> None:
        rng = np.random.default_rng(0)
        self._lengths, self._weights = np.empty(samples, np.uint16), np.empty(samples, np.uint32)
        for first in range(0, samples, 1 << 20):
            part = slice(first, min(first + (1 << 20), samples))
            count = part.stop - part.start
            self._lengths[part] = np.clip(rng.lognormal(np.log(120), 1.0, count), 4, 2048)
            self._weights[part] = np.rint(rng.lognormal(-0.5, 1.0, count) * mean * _ONE)
        ends = np.cumsum(self._lengths, dtype=np.int64)
        self.token_count = int(ends[-1])
        cells = np.arange(_SPAN_VALUES, self.token_count, _SPAN_VALUES)
        edges = np.unique(np.concatenate([[0], np.searchsorted(ends, cells) + 1, [samples]]))
        values = np.diff(np.append(0, ends[edges[1:] - 1]))
        self._table = SimpleNamespace(samples=np.diff(edges), values=values, lead=np.zeros_like(values))

    def __len__(self) -> int:
        return len(self._lengths)

    def lengths(self, first: int, stop: int) -> NDArray[np.int64]:
        """Return lengths of samples."""
        return self._lengths[first:stop].astype(np.int64)

    def fixed_weights(self, first: int, stop: int) -> NDArray[np.uint32]:
        """Return weights of samples."""
        return self._weights[first:stop]

    def spans(self) -> SimpleNamespace:
        """Return the table of stored spans."""
        return self._table


def _spans(source: Synthetic, plan: Plan) -> Iterator[tuple[int, NDArray[np.uint32], NDArray[np.int64], Resampling]]:
    """Yield every plan span with its weights and lengths."""
    edges = plan.cuts.first.tolist()
    for span in range(plan.spans):
        weights = source.fixed_weights(edges[span], edges[span + 1])
        lengths = source.lengths(edges[span], edges[span + 1])
        yield span, weights, lengths, Resampling.of(weights, lengths)


def measure_draws(samples: int, say: Callable[[str], None]) -> list[list[str]]:
    """Return how even one epoch of a tenth of a copy per sample is, and 100 epochs of some spans."""
    say(f"weights of {samples:,} samples")
    source: Any = Synthetic(samples, 0.1)
    options: dict[str, Any] = {"seq_len": 2048, "shuffle": True, "seed": 0, "lanes": None, "buffer": 64 << 20}
    start = time.perf_counter()
    plan = make_plan(source, bos=None, eos=None, **options)
    planning = time.perf_counter() - start
    start = time.perf_counter()
    edges = np.quantile(source.fixed_weights(0, min(samples, 1 << 20)), np.arange(1, _CLASSES) / _CLASSES)
    seen, wanted = np.zeros((2, _CLASSES))
    worst = far = spans_off = 0.0
    padded = total = 0
    every = max(1, plan.spans // _SPANS)
    budgets = plan.line_values().tolist()
    for span, weights, lengths, drawn in _spans(source, plan):
        copies = drawn.copies(draw_offset(0, 0, span))
        kind = np.searchsorted(edges, weights)
        seen += np.bincount(kind, copies, _CLASSES)
        wanted += np.bincount(kind, weights / _ONE, _CLASSES)
        worst = max(worst, float(np.abs(copies - weights / _ONE).max()))
        total += int(copies.sum())
        spans_off += float((copies.sum() - weights.sum(dtype=np.int64) / _ONE) ** 2 / (weights.sum() / _ONE))
        padded += abs(int((copies * lengths).sum()) - budgets[span])
        if span % every == 0:
            sums = sum(drawn.copies(draw_offset(0, epoch, span)) for epoch in range(_EPOCHS))
            far = max(far, float(np.abs(sums - weights / _ONE * _EPOCHS).max()))
    drawing = time.perf_counter() - start
    chi_square = float(((seen - wanted) ** 2 / wanted).sum())
    return [
        ["samples, plan spans", f"{samples:,}, {plan.spans:,}"],
        ["copies of the epoch", f"{total:,}"],
        [
            f"chi-square over {_CLASSES} classes of weights, by classes (independent draws: 1)",
            f"{chi_square / _CLASSES:.3f}",
        ],
        ["chi-square over spans, by spans (independent draws: 1)", f"{spans_off / plan.spans:.4f}"],
        ["furthest from its expectation, one epoch", f"{worst:.4f}"],
        [f"furthest after {_EPOCHS} epochs, {len(range(0, plan.spans, every))} spans", f"{far:.2f}"],
        ["values that spans have too much or too little, of all", f"{100 * padded / sum(budgets):.2f} %"],
        ["planning", f"{planning:.1f} s"],
        ["drawing the epoch", f"{drawing:.1f} s"],
    ]


def measure_stream(path: str, say: Callable[[str], None], runs: int = 3) -> list[list[str]]:
    """Return rates of the later epochs of a store with and without weights, M tokens/s, and what was padded and cut."""
    store = ts.open(path)
    weights = np.random.default_rng(0).lognormal(-0.5, 1.0, len(store))
    rows = []
    for packing in ("concat", "fit", "whole"):
        for buffer in (64 << 20, 1 << 20):
            say(f"weights, {packing}, buffer of {buffer >> 20} MiB")
            found = []
            for view in (store, store.weigh(weights, mean=1)):
                data = ts.StreamingDataset(
                    view, seq_len=2048, packing=packing, overlong="truncate" if packing == "whole" else None,
                    batch_size=8, emit=("input_ids",), buffer=buffer,
                )  # fmt: skip
                times = []
                for _ in range(runs + 1):
                    start = time.perf_counter()
                    count = sum(batch["input_ids"].numel() for batch in data)
                    times.append(time.perf_counter() - start)
                found.append(count / sorted(times[1:])[runs // 2] / 1e6)
            told = data.progress()
            whole = told["rows"] if packing == "whole" else told["tokens"]
            rows.append(
                [
                    packing,
                    f"{buffer >> 20} MiB",
                    f"{found[0]:.0f}",
                    f"{found[1]:.0f}",
                    f"{100 * told['padded'] / whole:.2f} %",
                    f"{100 * told['cut'] / whole:.2f} %",
                ]
            )
    return rows


HEAD = ["packing", "buffer", "M tokens/s", "with weights", "padded", "cut"]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10**8, help="how many samples have weights")
    options = parser.parse_args(arguments)
    print(f"{machine()}\n")
    rows = measure_draws(options.samples, lambda text: print(text, file=sys.stderr, flush=True))
    print(table("Copies by weights", ["what", "figure"], rows))


if __name__ == "__main__":
    main()
