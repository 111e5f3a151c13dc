"""Very large stores without data: manifests of 10**5 shards and 10**9 samples, written by the format's own
functions."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace

import numpy as np

import tokstore as ts
from tokstore.block import Spans
from tokstore.column_writer import ColumnFacts
from tokstore.growth import NewShards, append_shards
from tokstore.manifest import commit, identity_json
from tokstore.pages import Page
from tokstore.plan import Plan
from tokstore.root import empty_root
from tokstore.shard_writer import FileFacts
from tokstore.storage import LocalStorage

__all__ = ["make_synthetic_store"]

_PAGE = 1024


def make_synthetic_store(folder: str, shards: int, samples_per_shard: int) -> None:
    """Write the manifests of a store whose data files are made up.

    Args:
        folder: A new folder.
        shards: How many shards it says it has.
        samples_per_shard: Samples in each, of 200 tokens.
    """
    os.makedirs(folder)
    storage = LocalStorage(folder)
    schema = ts.Schema(tokens=ts.Tokens(50_257), quality=ts.Score())
    store_id = secrets.token_bytes(16)
    storage.put_if_absent("tokstore.json", identity_json(store_id))
    root = empty_root(store_id, schema, {}, None, 0)
    rng = np.random.default_rng(0)
    values = 200 * samples_per_shard
    spans = max(1, values >> 18)
    for start in range(0, shards, _PAGE):
        count = min(_PAGE, shards - start)
        facts = [_made_up(rng, samples_per_shard, values, spans) for _ in range(count)]
        new = NewShards(Page.of_files(facts, schema, 0), Plan.of_files(facts, 0), schema)
        root = append_shards(root, new, lambda record, name: b"")
        # Pages go to files as they come, or the root would carry them all.
        for (digest, data), folder_name in zip(root.inline.items(), ("pages", "plans"), strict=True):
            storage.put(f"{folder_name}/{digest.hex()}", data)
        root = replace(root, inline={}, version=0, parent=None)
    commit(storage, lambda newest: replace(root, version=1, verb="create"), None)


def _made_up(rng: np.random.Generator, samples: int, values: int, spans: int) -> FileFacts:
    """Return what a page would say of one data file."""
    nbytes = int(values * 1.1) + int(rng.integers(0, 100_000))
    each = Spans(
        np.full(spans, 16),
        np.full(spans, samples // spans),
        np.full(spans, values // spans),
        np.zeros(spans, np.int64),
    )
    columns = {
        0: ColumnFacts(values, nbytes - 4 * samples, 0, 0, None),
        1: ColumnFacts(samples, 4 * samples, 0, 0, (float(rng.random()) / 10, 0.9)),
    }
    return FileFacts(
        rng.bytes(16),
        rng.bytes(32),
        int.from_bytes(rng.bytes(8), "little"),
        nbytes + 20_000,
        nbytes + 2_000,
        nbytes + 18_000,
        samples,
        columns,
        (),
        each,
    )
