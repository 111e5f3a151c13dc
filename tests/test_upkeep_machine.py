"""A store that is changed in every way at random, against a plain list of samples: content and soundness every time.

Pages, files and blocks are tiny, so that a few samples fill several of them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import tokstore as ts
from strategies import plain, values
from tokstore.column_types import COLUMN_TYPES

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "spec" / "readers" / "python"))

from tokread.store import open_path

KINDS = {
    "f16": ts.Score("float16", optional=True),
    "f32": ts.Score(optional=True),
    "small": ts.Label(5, optional=True),
    "wide": ts.Label(optional=True),
    "text": ts.Text(optional=True),
    "more": ts.Tokens(70_000, optional=True),
    "grid": ts.Codes(5, (2, 2), optional=True),
    "stream": ts.Codes(300, (None, 2), optional=True),
    "vector": ts.Vector(5, groups=[2, 5], optional=True),
    "category": ts.Category(optional=True),
    "bytes": ts.Bytes(optional=True),
    "array": ts.Array("int16", (3,), optional=True),
    "ragged": ts.Array("float32", (None, 2), optional=True),
    "mask": ts.Mask(None, optional=True),
    "labels": ts.Label(3, shape=(2,), optional=True),
}
NAMES = ("a", "b", "c", "d")
PATCHES = {
    "tokstore.block.SPAN_VALUES": 24,
    "tokread.spans.SPAN_VALUES": 24,
    "tokstore.growth.MAX_PAGE_SHARDS": 4,
    "tokstore.page_parts.MAX_PAGE_SHARDS": 4,
    "tokstore.column_files.FILE_BYTES": 24,
    "tokstore.compaction._SHARD_RUNS": 3,
    "tokstore.compaction._CHUNK_ROWS": 3,
    "tokstore.column_values._PIECE_ROWS": 3,
}
Sample = dict[str, Any]


class Changes(RuleBasedStateMachine):
    """A store and what it has to hold: sample ids and values, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = [mock.patch(name, value) for name, value in PATCHES.items()]
        self.patches += [mock.patch.object(kind, "block_target", 8) for kind in COLUMN_TYPES.values()]
        self.patches.append(mock.patch("os.fsync", return_value=None))
        for one in self.patches:
            one.start()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "s"
        self.rows: list[tuple[int, Sample]] = []
        self.schema: dict[str, Any] = {"t": ts.Tokens(300), "s": KINDS["f32"]}
        self.next_id, self.seen = 0, dict[int, list[tuple[int, Sample]]]()
        self.tags: dict[str, int] = {}
        self.is_sound = False  # the last check found nothing wrong

    def teardown(self) -> None:
        """Let the readable reader look too, and clean up."""
        try:
            if self.is_sound:
                assert open_path(self.path).sample_ids == [one for one, _ in self.rows]
        finally:
            self.folder.cleanup()
            for one in self.patches:
                one.stop()

    @initialize(data=st.data(), count=st.integers(0, 9))
    def create(self, data: st.DataObject, count: int) -> None:
        """Begin with a few samples."""
        with ts.create(self.path, ts.Schema(self.schema), shard_tokens=30, threads=1) as writer:
            self.write(writer, data, count)
        self.store = ts.open(self.path)

    def write(self, writer: Any, data: st.DataObject, count: int) -> None:
        """Write samples, and note them."""
        rows = [{name: data.draw(values(kind)) for name, kind in self.schema.items()} for _ in range(count)]
        if rows:
            writer.extend({name: [row[name] for row in rows] for name in self.schema})
        self.rows = self.rows + [(self.next_id + i, row) for i, row in enumerate(rows)]
        self.next_id += count

    def subset(self, data: st.DataObject) -> list[int]:
        """Draw indices of some of the samples, in any order."""
        return data.draw(st.lists(st.integers(0, len(self.rows) - 1), unique=True, max_size=8)) if self.rows else []

    @rule(data=st.data(), count=st.integers(1, 6))
    def append(self, data: st.DataObject, count: int) -> None:
        """Append samples with all columns."""
        with self.store.writer(shard_tokens=20, threads=1) as writer:
            self.write(writer, data, count)

    @precondition(lambda self: set(NAMES) - set(self.schema))
    @rule(data=st.data(), kind=st.sampled_from(sorted(KINDS)), how=st.sampled_from(["list", "batches", "ids", "part"]))
    def add_column(self, data: st.DataObject, kind: str, how: str) -> None:
        """Add a column from values in some form."""
        name = data.draw(st.sampled_from(sorted(set(NAMES) - set(self.schema))))
        one = KINDS[kind]
        chosen = list(range(len(self.rows))) if how in ("list", "batches") else self.subset(data)
        given = [data.draw(values(one)) for _ in chosen]
        ids = [self.rows[i][0] for i in chosen]
        if how == "list":
            self.store.add_column(name, given, one, threads=1)
        elif how == "batches":
            self.store.add_column(name, (given[i : i + 2] for i in range(0, len(given), 2)), one, threads=1)
        elif how == "ids" or not chosen:
            self.store.add_column(name, given, one, ids=np.array(ids, int), threads=1)
        else:
            half = len(ids) // 2
            for part in (slice(0, half), slice(half, None)):
                with ts.writer(self.path, f"p{half}-{part.stop}", column=name, type=one, threads=1) as w:
                    w.extend(np.array(ids[part], int), given[part])
            self.store.commit()
        self.schema[name] = one
        self.set(name, chosen, given)

    def set(self, name: str, chosen: list[int], given: list[Any]) -> None:
        """Note values of some samples."""
        self.rows = [(one, {name: None} | row) for one, row in self.rows]
        for i, value in zip(chosen, given, strict=True):
            self.rows[i][1][name] = value

    @rule(factor=st.integers(1, 3), required=st.booleans())
    @precondition(lambda self: "n" not in self.schema)
    def add_by_function(self, factor: int, required: bool) -> None:
        """Add a column that is made of another one."""
        self.store.add_column(
            "n", lambda b: factor * b["t"].lengths, ts.Label(), inputs=["t"], optional=not required, batch_size=2
        )
        self.schema["n"] = ts.Label(optional=not required)
        self.set("n", list(range(len(self.rows))), [factor * len(row["t"]) for _, row in self.rows])

    @precondition(lambda self: len(self.schema) > 1)
    @rule(data=st.data())
    def fill_column(self, data: st.DataObject) -> None:
        """Give some samples other values, or all that have none."""
        name = data.draw(st.sampled_from(sorted(set(self.schema) - {"t"})))
        kind = self.schema[name]
        if kind.optional and data.draw(st.booleans()):
            chosen = [i for i, (_, row) in enumerate(self.rows) if row[name] is None]
            some = data.draw(values(kind))
            self.store.fill_column(name, lambda b: [some] * len(b["sample_id"]), inputs=[], batch_size=3)
            self.set(name, chosen, [some] * len(chosen))
            return
        chosen = self.subset(data)
        given = [data.draw(values(kind)) for _ in chosen]
        self.store.fill_column(name, given, ids=np.array([self.rows[i][0] for i in chosen], int))
        self.set(name, chosen, given)

    @precondition(lambda self: len(self.schema) > 1)
    @rule(data=st.data())
    def drop_column(self, data: st.DataObject) -> None:
        """Drop a column."""
        name = data.draw(st.sampled_from(sorted(set(self.schema) - {"t"})))
        self.store.drop_column(name)
        del self.schema[name]
        self.rows = [(one, {key: value for key, value in row.items() if key != name}) for one, row in self.rows]

    @rule(data=st.data())
    def rename_column(self, data: st.DataObject) -> None:
        """Rename a column, and back if it is the first: other rules know it by name."""
        name = data.draw(st.sampled_from(sorted(self.schema)))
        free = data.draw(st.sampled_from([one for one in (*NAMES, "y", "z", "x") if one not in self.schema]))
        self.store.rename_column(name, free)
        if name == "t":
            self.store.rename_column(free, "t")
            return
        self.schema = {free if key == name else key: kind for key, kind in self.schema.items()}
        self.rows = [
            (one, {free if key == name else key: value for key, value in row.items()}) for one, row in self.rows
        ]

    @rule(data=st.data(), by_id=st.booleans())
    def delete(self, data: st.DataObject, by_id: bool) -> None:
        """Delete some samples."""
        chosen = set(self.subset(data))
        ids = [self.rows[i][0] for i in chosen]
        found = self.store.delete(ids=ids) if by_id else self.store.delete(sorted(chosen))
        assert found == len(chosen)
        assert self.store.delete(ids=ids) == 0
        self.rows = [row for i, row in enumerate(self.rows) if i not in chosen]

    @rule(least=st.sampled_from([0.0, 0.3, 1.0]), tokens=st.sampled_from([10, 40, 1 << 20]), erase=st.booleans())
    def compact(self, least: float, tokens: int, erase: bool) -> None:
        """Rewrite shards; nothing that can be seen changes."""
        self.store.compact(min_deleted=least, shard_tokens=tokens, max_shards=3, erase=erase, threads=1)
        if erase or not least:
            assert self.store.describe()["deleted"]["samples"] == 0

    @rule(tokens=st.sampled_from([40, 1 << 20]))
    def merge(self, tokens: int) -> None:
        """Join small shards."""
        done = self.store.merge(shard_tokens=tokens, threads=1)
        assert done.made <= done.replaced

    @rule(name=st.sampled_from(["v1", "v2"]))
    def tag(self, name: str) -> None:
        """Name this version."""
        self.tags[name] = self.store.version
        self.store.tag(name, exist="replace")

    @rule(keep=st.integers(1, 3), grace=st.sampled_from([0, 1000]))
    def prune(self, keep: int, grace: int) -> None:
        """Remove versions; what would go goes, and nothing else."""
        would = self.store.prune(keep=keep, grace=grace)
        done = self.store.prune(keep=keep, grace=grace, dry_run=False)
        assert (would.files, would.nbytes, would.versions) == (done.files, done.nbytes, done.versions)
        here = {one.version for one in self.store.versions()}
        assert here == {*sorted({*here, *done.versions})[-keep:], *self.tags.values()}
        if not grace:
            for version in here:
                assert ts.verify(self.path, version).problems == []

    @invariant()
    def is_right(self) -> None:
        """Every sample is where it should be, and every byte is right."""
        self.is_sound = False
        if not hasattr(self, "store"):
            return
        assert list(self.store.schema.names) != []
        assert set(self.store.schema.names) == set(self.schema)
        compare(self.store, self.rows)
        assert ts.verify(self.path).problems == []
        assert int(self.store.spans().samples.sum()) == len(self.rows)
        assert int(self.store.spans().values.sum()) == self.store.token_count == sum(len(r["t"]) for _, r in self.rows)
        self.seen[self.store.version] = self.rows
        assert self.store.tags() == self.tags
        assert not [name for _, _, names in os.walk(self.path) for name in names if name.endswith(".tmp")]
        for version in self.tags.values():
            compare(ts.open(self.path, version=version), self.seen[version])
        self.is_sound = True


def compare(store: ts.Store, rows: list[tuple[int, Sample]]) -> None:
    """Check that a store has exactly some samples in order."""
    found = list(store)
    assert [one["sample_id"] for one in found] == [one for one, _ in rows]
    names = store.schema.names
    assert [[plain(one[name]) for name in names] for one in found] == [
        [plain(row[name]) for name in names] for _, row in rows
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_any_changes_in_any_order() -> None:
    """Whatever is done to a store, it holds what a list of samples would hold, and is sound."""
    # Making a failure smaller takes minutes, and what is found is short enough.
    phases = [one for one in Phase if one not in (Phase.shrink, Phase.explain)]
    count = max(30, settings.default.max_examples // 4)
    steps = settings(max_examples=count, stateful_step_count=14, deadline=None, phases=phases)
    run_state_machine_as_test(Changes, settings=steps)
