"""Find near duplicates in a store, and stream it with them and without them: one word is the difference.

python examples/dedup_stream.py
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

import numpy as np

import tokstore as ts


def make_store(path: str, samples: int) -> ts.Store:
    """Write documents of which every fourth is a copy of an earlier one, with a few tokens edited."""
    rng = np.random.default_rng(0)
    with ts.create(path, ts.Schema(tokens=ts.Tokens(50_257, eos_id=0), quality=ts.Score())) as writer:
        documents: list[Any] = []
        for number in range(samples):
            made = rng.integers(1, 50_257, int(rng.integers(200, 600)))
            if number % 4 == 3:
                made = documents[int(rng.integers(0, number))].copy()
                made[rng.integers(0, len(made), 2)] = rng.integers(1, 50_257, 2)
            documents.append(made)
        writer.extend(tokens=documents, quality=rng.random(samples))
    return ts.open(path)


def tokens_of(view: ts.View) -> int:
    """Return how many tokens a stream of a view hands out in an epoch."""
    data = ts.StreamingDataset(view, seq_len=512, packing="fit", batch_size=8)
    return sum(int((batch["input_ids"] != 0).sum()) for batch in data.loader())


def main() -> None:
    """Search once, then choose when reading."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(folder + "/corpus", options.samples)
        print(ts.dedup.mark(store, "near"))  # as `tokstore dedup corpus --method near` does
        for name, view in (
            ("all", store),
            ("near", store.dedup("near")),
            ("near, the best of each cluster", store.dedup("near", keep="best", by="quality")),
            ("near, from 0.95 on", store.dedup("near", threshold=0.95)),
        ):
            print(f"{name}: {len(view):,} samples, {tokens_of(view):,} tokens streamed")


if __name__ == "__main__":
    main()
