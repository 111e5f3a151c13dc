"""Saved views: what a reader finds in them, and what it has to refuse (format.md 8.7)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .bad_files import Change
from .columns import score, tokens
from .expected import of_store
from .good_stores import file_of, first_and_second, shard
from .primitives import Edits, checksum, edited, flip, metadata, packed, put, u16, u32, u64
from .store_writer import STORE_ID, TIME, Files, Page, Version, wrap, write_store
from .vector import Vector, bad, good

PATH = "views/mine/view.tsw"
Keys = dict[int, Any]


def view(
    runs: Sequence[tuple[int, int]] = ((0, 2), (4, 1)), zstd: bool = False, edits: Edits | None = None, **more: Any
) -> bytes:
    """Write a saved view; `k8=` and so on replace keys, and None takes one away."""
    content: Keys = {
        1: STORE_ID,
        2: 2,
        3: TIME,
        4: sum(count for _, count in runs),
        5: len(runs),
        6: packed([first for first, _ in runs]),
        7: packed([count for _, count in runs]),
        11: ["where n == 1"],
    }
    content |= {int(key[1:]): value for key, value in more.items()}
    raw = wrap(b"TOKSVIEW", metadata({k: v for k, v in content.items() if v is not None}), zstd, edits, "view")
    return edited(edits, "view+", raw + u64(checksum(raw)))


def weights(*each: int) -> bytes:
    """Write weights in steps of 2^-16."""
    return b"".join(map(u32, each))


def described(
    samples: Sequence[int],
    *,
    left_out: int = 0,
    weights: Sequence[int] | None = None,
    columns: list[str] | None = None,
    columns_left_out: int = 0,
    verbs: Sequence[str] = ("where n == 1",),
    version: int = 2,
) -> dict[str, Any]:
    """Describe a view as it is in the version that is read."""
    return {
        "columns": columns,
        "columns_left_out": str(columns_left_out),
        "created": str(TIME),
        "left_out": str(left_out),
        "samples": [str(one) for one in samples],
        "verbs": list(verbs),
        "version": str(version),
        "weights": None if weights is None else [str(one) for one in weights],
    }


def folder(*views: bytes) -> Files:
    """Write a store of five samples with saved views."""
    more = {f"views/{name}/view.tsw": data for name, data in zip(("mine", "other"), views, strict=False)}
    return write_store(first_and_second(), more=more)


def good_vectors() -> Iterator[Vector]:
    """Make the good vectors."""

    def of(name: str, comment: str, data: bytes, is_: dict[str, Any]) -> Vector:
        json = of_store(first_and_second()[1]) | {"views": {"mine": is_}}
        return good(f"view_{name}", "8.7", comment, folder(data), json)

    yield of("runs", "samples 0, 1 and 4", view(), described([0, 1, 4]))
    yield of("order", "samples 0, 1 and 4, the last one first", view(k8=packed([2, 0, 1])), described([4, 0, 1]))
    heavy = view(k8=packed([1, 2, 0]), k9=weights(0, 1 << 16, 2**32 - 1))
    yield of(
        "weights",
        "weights go by ascending ids, not by the order: none, one, the largest",
        heavy,
        described([1, 4, 0], weights=[1 << 16, 2**32 - 1, 0]),
    )
    yield of(
        "empty", "no samples; no verbs either", view([], k8=b"", k9=b"", k11=[]), described([], weights=[], verbs=[])
    )
    later = view([(1, 1), (3, 6), (2**53 - 2, 2)], k2=7, k8=packed([7, 8, 0, 5, 2, 1, 6, 4, 3]))
    yield of(
        "later",
        "most samples are not there yet; the others keep their order",
        later,
        described([1, 4, 3], left_out=6, version=7),
    )
    long = view([(0, 5)], True, k11=["where " + "x" * 300, "sort"], k128={0: "ignored"})
    yield of("zstd", "as zstd, with a key to ignore", long, described(range(5), verbs=["where " + "x" * 300, "sort"]))
    both = folder(view(), view([(2, 1)]))
    json = of_store(first_and_second()[1]) | {"views": {"mine": described([0, 1, 4]), "other": described([2])}}
    yield good("view_two", "8.7", "two views", both, json)
    json = of_store(first_and_second()[0]) | {"views": {"mine": described([0, 1], left_out=1)}}
    yield good("view_version_1", "8.7", "the view in an older version", folder(view()), json, version=1)
    yield _of_columns()


def _of_columns() -> Vector:
    """Make a view of columns of which one is gone, with deleted samples in an order that ids do not have."""
    columns = [tokens(0, "tokens", 100, [[i] for i in range(6)]), score(2, "quality", [float(i) for i in range(6)])]
    file = file_of(46, columns)
    page = Page([shard(file, [(10, 2), (3, 1), (70, 3)])], {0: [(1, 1), (4, 1)]})
    version = Version(1, columns, [page], 100, "delete")
    data = view([(3, 1), (10, 2), (71, 2)], k2=1, k9=weights(1, 2, 3, 4, 5), k10=[1, 2])
    # By position the samples are 10, 11, 3, 70, 71, 72, of which 11 and 71 are deleted; the order is that of positions.
    is_ = described([10, 3, 72], left_out=2, weights=[2, 1, 5], columns=["quality"], columns_left_out=1, version=1)
    json = of_store(version) | {"views": {"mine": is_}}
    comment = "deleted samples and a dropped column are left out; without an order it is that of the version"
    return good("view_columns", "8.7", comment, write_store([version], more={PATH: data}), json)


def bad_vectors() -> Iterator[Vector]:
    """Make the bad vectors."""

    def edit(name: str, kind: str, rule: str, comment: str, where: str, change: Change) -> Vector:
        return bad(f"view_{name}", kind, rule, comment, folder(view(edits={where: change})))

    def of(name: str, comment: str, data: bytes, rule: str = "8.7") -> Vector:
        return bad(f"view_{name}", "corrupt", rule, comment, folder(data))

    def runs(name: str, comment: str, *each: tuple[int, int], **more: Any) -> Vector:
        return of(f"runs_{name}", comment, view(each, **more))

    yield edit("magic", "corrupt", "8.7", "the magic of a part", "view", lambda d: put(d, 0, b"TOKSPART"))
    yield edit("cut", "truncated", "2.7", "the view ends in its header", "view+", lambda d: d[:31])
    yield edit("empty_file", "truncated", "2.7", "a file without bytes", "view+", lambda d: b"")
    yield edit("checksum", "checksum", "8.7", "a bit of the checksum flipped", "view+", lambda d: flip(d, -1))
    yield edit("flipped", "checksum", "8.7", "a bit of the content flipped", "view+", lambda d: flip(d, 30))
    yield edit("major", "unsupported", "12.1", "major version 2", "view", lambda d: put(d, 8, u16(2)))
    yield edit("encoding", "corrupt", "8.3", "encoding 2", "view", lambda d: put(d, 12, b"\2"))
    yield edit("reserved", "corrupt", "8.3", "a reserved byte is not zero", "view", lambda d: put(d, 14, b"\1"))
    yield edit("limit", "corrupt", "11", "content of 2^30 + 1 bytes", "view", lambda d: put(d, 16, u64(2**30 + 1)))
    yield edit("size", "corrupt", "8.3", "a byte follows the content", "view", lambda d: d + b"\0")
    yield of("unknown_key", "an unknown key below 128", view(k12=1), "2.4")
    yield of("missing_key", "no verbs", view(k11=None), "2.4")
    yield of("kind", "the number of samples is a string", view(k4="3"), "2.4")
    yield of("negative", "a negative version", view(k2=-1))
    yield of("store", "a view of another store", view(k1=bytes(16)))
    yield of("samples", "one sample more than the runs have", view(k4=4))
    yield of("samples_huge", "2^40 samples in an order of ten bytes", view(k4=2**40, k8=packed([0])))
    yield of("runs_huge", "2^40 runs in ten bytes", view(k5=2**40, k6=packed([0])))
    yield runs("touch", "two runs touch", (0, 2), (2, 1))
    yield runs("overlap", "two runs share a sample", (0, 2), (1, 2))
    yield runs("order", "runs descend", (4, 1), (0, 2))
    yield runs("empty", "a run of no samples", (0, 2), (4, 0))
    yield runs("past", "a run goes past 2^53 - 1", (2**53 - 1, 2))
    yield runs("trailing", "a byte follows the packed array", (0, 2), (4, 1), k6=packed([0, 4]) + b"\0")
    yield runs("few", "one first id too few", (0, 2), (4, 1), k6=packed([0]))
    yield of("order_twice", "a sample comes twice", view(k8=packed([2, 0, 2])))
    yield of("order_past", "a sample of rank 3 of 3", view(k8=packed([3, 0, 1])))
    yield of("order_short", "the order lacks a sample", view(k8=packed([1, 0])))
    yield of("weights_short", "two weights for three samples", view(k9=weights(1, 2)))
    yield of("weights_long", "a byte more than three weights have", view(k9=weights(1, 2, 3) + b"\0"))
    yield of("columns_none", "no columns", view(k10=[]))
    yield of("columns_order", "column ids descend", view(k10=[1, 0]))
    yield of("columns_twice", "a column id stands twice", view(k10=[0, 0]))
    yield of("columns_id", "a column id of 2^32 - 1", view(k10=[2**32 - 1]))
    yield of("columns_kind", "a column by name", view(k10=["tokens"]))
    yield of("verbs_kind", "a verb that is an integer", view(k11=[1]))
    short = view(
        zstd=True, k11=["x" * 300], edits={"view": lambda d: put(d, 16, u64(int.from_bytes(d[16:24], "little") - 1))}
    )
    yield of("zstd_size", "the frame holds one byte more than the header says", short, "2.5")
