"""What `where` reads: nothing that ranges decide, and of the rest only the columns that are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from view_models import ids

ROWS = 120_000
SCHEMA = ts.Schema(
    t=ts.Tokens(3000),
    q=ts.Score(),
    up=ts.Score(optional=True),
    c=ts.Category(),
    u=ts.Text(),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of three shards in which `q` is random, `up` ascends, and `c` differs from shard to shard."""
    made = tmp_path_factory.mktemp("pruning") / "s"
    rng = np.random.default_rng(0)
    with ts.create(made, SCHEMA, level="fast") as writer:
        for shard in range(3):
            up = np.arange(ROWS, dtype=np.float32) + shard * ROWS
            writer.extend(
                t=ts.Ragged(rng.integers(0, 3000, 3 * ROWS), [3] * ROWS),
                q=rng.random(ROWS, np.float32),
                up=np.ma.MaskedArray(up, np.arange(ROWS) % 1000 == 500),
                c=[f"shard {shard}"] * ROWS,
                u=[f"text {i}" for i in range(ROWS)],
            )
            writer.commit()
    return made


def opened(path: Path) -> ts.Store:
    """Open a store with all its files, so that only blocks are counted."""
    store = ts.open(path)
    store.lengths()
    return store


def reads(store: ts.Store, choose: Callable[[], Any]) -> list[tuple[int, int]]:
    """Return the offset and bytes of all ranges that are asked for."""
    asked: list[tuple[int, int]] = []
    storage: Any = store.storage
    plain = storage.read_ranges

    def spied(ranges: Any, **options: Any) -> Any:
        asked.extend((offset, nbytes) for _, offset, nbytes in ranges)
        return plain(ranges, **options)

    storage.read_ranges = spied
    try:
        choose()
    finally:
        del storage.read_ranges
    return asked


def stored(store: ts.Store, name: str) -> int:
    """Return the bytes of the blocks of a column."""
    return next(int(one["block_bytes"]) for one in store.describe()["columns"] if one["name"] == name)


def test_only_the_named_column_is_read(path: Path) -> None:
    """A filter on one score reads the blocks of that score, each once, and little else where ranges are joined."""
    store = opened(path)
    before = store.storage.bytes_read
    found = store.where("q >= 0.25")
    read = store.storage.bytes_read - before
    assert 0 <= read - stored(store, "q") < 1000
    assert ids(found) == np.flatnonzero(store["q"] >= 0.25).tolist()
    assert sum(nbytes for _, nbytes in reads(store, lambda: store.where("q >= 0.25 or up < 7"))) == stored(
        store, "q"
    ) + stored(store, "up")


def test_shards_and_blocks_are_skipped(path: Path) -> None:
    """Of a column that ascends, a narrow range reads one block; what ranges decide reads nothing."""
    store = opened(path)
    for text, most in {
        "130000 <= up < 130100": 1,
        "up == 130000 and q >= 0": 1,
        "up < 0 or q > 2": 0,
        "not up >= 0 and q < 2": 0,
        "q >= 0 and q < 1": 0,
        "q is missing or up is missing": 0,
        "length(t) == 3 and c == 'shard 7'": 0,
        "c == 'shard 2'": 2,
        "c in ('shard 7', 'shard 8') and q > 0.5": 0,
        "sample_id < 5000": 0,
    }.items():
        assert len(reads(store, lambda text=text: store.where(text))) <= most, text  # type: ignore[misc]
    assert ids(store.where("130000 <= up < 130003")) == [130000, 130001, 130002]
    assert len(store.where("not up >= 0 and q < 2")) == 0
    assert len(store.where("q >= 0 and q < 1")) == 3 * ROWS
    assert len(store.where("q is missing or up is missing")) == 360
    assert ids(store.where("c == 'shard 1'")) == list(range(ROWS, 2 * ROWS))
    assert len(store.where("sample_id < 5000")) == 5000


def test_decided_shards_are_not_even_opened(path: Path) -> None:
    """Ranges of the page alone: a store that was just opened reads no data file."""
    store = ts.open(path)
    trips = store.storage.trips
    assert len(store.where("up >= 0 or up < 0 or q >= 0")) == 3 * ROWS
    assert len(store.where("q < 0")) == 0
    assert len(store.where("up < 120000 and q > 1")) == 0
    assert store.storage.trips == trips


def test_texts_are_read_where_the_rest_leaves_it_open(path: Path) -> None:
    """Of texts only blocks are read that hold a candidate, and none if no text is as long."""
    store = opened(path)
    assert reads(store, lambda: store.where("u == 'a text of another length'")) == []
    everything = len(reads(store, lambda: store.where("u >= 'text 5'")))
    fresh = opened(path)  # of the other one, blocks are in the cache
    few = reads(fresh, lambda: fresh.where("u >= 'text 5' and 130000 <= up < 130100"))
    assert everything > 0
    assert 1 < len(few) <= 16  # one block of `up`, and texts of the rows in it where `up` is missing or fits
    assert ids(store.where("u == 'text 77'")) == [77, ROWS + 77, 2 * ROWS + 77]


def test_only_blocks_with_wanted_samples_are_read(path: Path) -> None:
    """A condition on a view looks at the blocks of its samples."""
    store = opened(path)
    narrow = store.where("130000 <= up < 130100")
    assert len(reads(store, lambda: narrow.where("q >= 0.5"))) == 1
    assert ids(narrow.where("q >= 0.5")) == [i for i in ids(narrow) if store["q"][i] >= 0.5]
    assert reads(store, lambda: store.where("q >= 0.5", ids=[])) == []
