"""order.md itself: its examples, its vectors, its form."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from test_loader_fake import ROOT, FakeSource, reference
from tokstore.loader import StreamingDataset
from tokstore.loader.transforms import generator_of
from tokstore.order import (
    ORDER_VERSION,
    SPANS,
    Line,
    derive_key,
    epoch_rows,
    lane_count,
    permute,
    shuffled,
    span_target,
    split_epochs,
    window_values,
)
from tokstore.order.keys import GOLDEN, GROUP, PACKING, POOL, mix
from tokstore.order.lanes import Lending
from tokstore.order.packing import fit_rows, group_rows, group_values, pack_rows, whole_rows

PAGE = (ROOT / "spec" / "order.md").read_text(encoding="utf-8")
FLAT = " ".join(PAGE.split())


WORDS = ("name", "packing", "overlong", "stop")
"""What is text in the vectors, and no integer."""


def numbers(value: Any) -> Any:
    """Turn the strings of the vectors back into integers."""
    if isinstance(value, dict):
        return {name: item if name in WORDS else numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return int(value) if isinstance(value, str) else value


VECTORS = numbers(json.loads((ROOT / "spec" / "vectors" / "order.json").read_text(encoding="utf-8")))


def found(pattern: str) -> list[str]:
    """Return what the page says at one place."""
    match = re.search(pattern, FLAT)
    assert match, pattern
    return list(match.groups())


def test_examples_of_keys() -> None:
    """The numbers in sections 2 and 3 are what the package computes."""
    assert [int(x, 16) for x in found(r"`mix\(1\)` is (\w+), `mix\(GOLDEN\)` is (\w+)")] == mix(
        np.array([1, GOLDEN], np.uint64)
    ).tolist()
    assert int(found(r"`GOLDEN` is (\w+)")[0], 16) == GOLDEN
    assert int(found(r"seed 0, purpose 1, epoch 0 is (\w+)")[0], 16) == derive_key(0, SPANS, 0)
    listed = re.findall(r"n = 5, key = 7 gives ([\d, ]+)\.", PAGE)
    assert [[int(x) for x in part.split(", ")] for part in listed] == [
        permute(np.arange(5), 5, 7).tolist(),
        shuffled(5, 7).tolist(),
    ]


def test_examples_of_sizes() -> None:
    """The numbers in sections 4 to 7 are what the package computes."""
    targets = re.findall(r"T = 10\^(\d+), C = (\d+) gives S = (\d+)", PAGE)
    assert len(targets) == 3
    for power, lanes, target in targets:
        assert lane_count(10 ** int(power)) == int(lanes)
        assert span_target(10 ** int(power), int(lanes)) == int(target)
    windows = re.findall(r"C = (\d+) gives W = (\d+)", PAGE)
    assert len(windows) == 5
    assert all(window_values(2**26, int(lanes)) == int(window) for lanes, window in windows)
    for limit, lanes in re.findall(r"\| below 2\^(\d+) \| (\d+) \|", PAGE):
        assert lane_count(2 ** int(limit) - 1) == int(lanes) != lane_count(2 ** int(limit))
    one, eight = found(r"E = 10, Q = 4, g = 1 gives N = (\d+); E = 100, Q = 30, g = 8 gives (\d+)")
    assert (int(one), int(eight)) == (epoch_rows(10, 4), epoch_rows(100, 30, 8))
    rows = found(r"Rows 0, 1, 2 of the epoch are rows ([\d, ]+) of the line")[0]
    assert [int(x) for x in rows.split(", ")] == Line(np.array([0, 9, 12]), 4).line_rows(np.arange(3)).tolist()


def test_worked_example() -> None:
    """The rows of section 7.7 are what the loader hands out."""
    part = PAGE.split("### 7.6")[1].split("## 8.")[0]
    source = FakeSource([3, 1, 4, 1, 5])
    data = StreamingDataset(source, seq_len=4, lanes=2, eos_id=9, emit=("input_ids",))
    rows = [row["input_ids"].numpy() for row in data]
    table = re.findall(r"\| (\d+) \| (\d+) \| ([\d:, -]+) \|", part)
    assert [int(number) for number, _, _ in table] == list(range(len(rows))) == list(range(data.rows_per_epoch))
    for (_, _, values), row in zip(table, rows, strict=True):
        segments = [tuple(int(x) for x in re.split("[:-]", text)) for text in values.split(", ")]
        expected = np.concatenate([source.segment((s, a, b), None, 9) for s, a, b in segments])
        assert np.array_equal(row[: len(expected)], expected)
    starts = [int(x) for x in found(r"the lanes begin at A = ([\d, ]+)\.")[0].split(", ")]
    assert [int(line_row) for _, line_row, _ in table] == Line(np.array(starts), 4).line_rows(np.arange(5)).tolist()


def test_version() -> None:
    """Page, vectors and package agree on the version of the order."""
    assert int(found(r"# tokstore order (\d+)")[0]) == ORDER_VERSION == VECTORS["order_version"]


def test_only_capitals_bind() -> None:
    """Key words are written in capitals everywhere, as the page promises."""
    text = PAGE.split("## 1. Conventions")[1]
    assert not re.search(r"\b(must|shall|should not)\b", text.replace("window j of the lane should begin", ""))


def test_vectors_are_up_to_date() -> None:
    """The program that writes the vectors would write what is there."""
    command = [sys.executable, str(ROOT / "spec" / "vectors" / "make_order.py"), "--verify"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_example_of_transforms() -> None:
    """The words of the page are those of the generator."""
    words = generator_of(0, 16).bit_generator.random_raw(2).tolist()
    assert " and ".join(f"{word:016X}" for word in words) in FLAT


def test_vectors_of_functions() -> None:
    """Every function of the order gives what the vectors say."""
    for v in VECTORS["mix"]:
        assert mix(np.array([v["z"]], np.uint64)).tolist() == [v["mix"]]
    for v in VECTORS["key"]:
        assert derive_key(v["seed"], v["purpose"], v["epoch"], v["lane"], v["window"], v["source"]) == v["key"]
    for v in VECTORS["permute"]:
        assert permute(np.arange(v["n"]), v["n"], v["key"]).tolist() == v["items"]
    for v in VECTORS["shuffled"]:
        assert shuffled(v["n"], v["key"]).tolist() == v["items"]
    for v in VECTORS["transform"]:
        words = generator_of(v["seed"], v["row"]).bit_generator.random_raw(8)
        assert words.tolist() == v["words"]
    for v in VECTORS["target"]:
        assert span_target(v["total"], v["lanes"]) == v["target"]
    for v in VECTORS["lanes"]:
        assert lane_count(v["total"]) == v["lanes"]
    for v in VECTORS["window"]:
        assert window_values(2**26, v["lanes"]) == v["window"]
    for v in VECTORS["rows"]:
        assert epoch_rows(v["values"], v["group_values"], v["group_rows"]) == v["rows"]
    for v in VECTORS["line_rows"]:
        line = Line(np.array(v["lane_starts"]), v["group_values"], v["group_rows"])
        assert line.line_rows(np.arange(line.rows)).tolist() == v["line_rows"]


def test_vectors_of_packing() -> None:
    """Groups, rows of items and parts of rows are what the vectors say."""
    for v in VECTORS["groups"]:
        assert group_rows(v["seq_len"], v["window"]) == v["rows"]
        assert group_values(v["rows"], v["seq_len"]) == v["values"]
    for v in VECTORS["packed"]:
        rows = pack_rows(np.array(v["lengths"]), v["seq_len"], v["rows"]).tolist()
        assert [None if row < 0 else row for row in rows] == v["row"]
    for v in VECTORS["fit"]:
        assert packed_parts(v["items"], v["seq_len"], v["rows"]) == v["parts"]
    for v in VECTORS["whole"]:
        assert rows_of_items(v["lengths"], v["seq_len"]) == v["rows"]
    assert {None} < {row for v in VECTORS["packed"] for row in v["row"]}
    example = found(
        r"Example: L = (\d), r = (\d), parts of ([\d, and]+) values: the rows are ([\d+ ]+) and ([\d+ ]+)\."
    )
    lengths = [int(x) for x in re.findall(r"\d", example[2])]
    places = [(sum(lengths[:i]), sum(lengths[: i + 1])) for i in range(len(lengths))]
    rows = packed_parts(places, int(example[0]), int(example[1]))
    assert [" + ".join(str(b - a) for a, b in row) for row in rows] == example[3:]


def packed_parts(items: Any, seq_len: int, rows: int) -> list[list[list[int]]]:
    """Return the parts of every row, each as its first place and the one after its last."""
    places = np.array(items, np.int64).reshape(-1, 2)
    parts = fit_rows(places[:, 0], places[:, 1] - places[:, 0], seq_len, rows)
    made: list[list[list[int]]] = [[] for _ in range(rows)]
    for row, start, length, _ in zip(*(column.tolist() for column in parts), strict=True):
        made[row].append([start, start + length])
    return made


def rows_of_items(lengths: list[int], seq_len: int) -> list[list[int]]:
    """Return the items of every row."""
    row = whole_rows(np.array(lengths, np.int64), seq_len)
    return [np.flatnonzero(row == number).tolist() for number in range(int(row.max(initial=-1)) + 1)]


@pytest.mark.parametrize("case", VECTORS["packed_epochs"], ids=lambda case: case["name"])
def test_vectors_of_packed_epochs(case: dict[str, Any]) -> None:
    """The functions of the order make the number of rows in the vectors, and of pools the rows themselves."""
    extra, seq_len, shuffle = case["bos"] + case["eos"], case["seq_len"], case["shuffle"]
    sizes = [n + extra for n in case["lengths"]]
    total = sum(case["lengths"])
    lanes = (case["lanes"] or lane_count(total)) if shuffle else 1
    pool = 2 * total + 8 * len(sizes) <= case["buffer"]
    lines = {
        "drop": [(s, 0, n) for s, n in enumerate(sizes) if 0 < n <= seq_len],
        "truncate": [(s, 0, min(n, seq_len)) for s, n in enumerate(sizes) if n],
        "split": [(s, a, min(a + seq_len, n)) for s, n in enumerate(sizes) for a in range(0, n, seq_len)],
        "error": [(s, 0, n) for s, n in enumerate(sizes) if n],
    }
    items = np.array(lines[case.get("overlong", "error")])
    if case["packing"] == "fit":
        g = group_rows(seq_len, window_values(case["buffer"], lanes))
        q = group_values(g, seq_len)
        for epoch, rows in case["rows"].items():
            assert len(rows) == epoch_rows(sum(sizes), q, g)
            if pool or not shuffle:
                line = items[shuffled(len(items), derive_key(case["seed"], POOL, int(epoch)))] if shuffle else items
                assert rows == fit_epoch(line, seq_len, q, g, lanes, (case["seed"], int(epoch)) if shuffle else None)
    elif pool or (case["packing"] == "single" and not shuffle):
        for epoch, rows in case["rows"].items():
            line, made = items, [[i] for i in range(len(items))]
            if case["packing"] == "whole":
                if shuffle:
                    line = items[shuffled(len(items), derive_key(case["seed"], PACKING, int(epoch)))]
                made = rows_of_items((line[:, 2] - line[:, 1]).tolist(), seq_len)
            if shuffle:
                made = [made[i] for i in shuffled(len(made), derive_key(case["seed"], POOL, int(epoch)))]
            begins = np.array([lane * len(made) // lanes for lane in range(lanes + 1)])
            lane, number = Lending(np.diff(begins)).place(np.arange(len(made)))
            assert rows == [line[made[row]].tolist() for row in (begins[lane] + number).tolist()]


def fit_epoch(line: Any, seq_len: int, q: int, g: int, lanes: int, key: tuple[int, int] | None) -> list[Any]:
    """Return the rows of an epoch of `fit` for a pool with these items on its line; key is the seed and the epoch."""
    ends = np.cumsum(line[:, 2] - line[:, 1])
    begins = np.concatenate([[0], ends[:-1]])
    rows: list[Any] = []
    for group in range(-(-int(ends[-1]) // q)):
        start, stop = group * q, min((group + 1) * q, int(ends[-1]))
        inside = [(max(a, start), min(b, stop)) for a, b in zip(begins.tolist(), ends.tolist(), strict=True)]
        count = min(g, -(-(stop - start) * g // q))
        made = packed_parts([(a, b) for a, b in inside if a < b], seq_len, count)
        order = shuffled(count, derive_key(key[0], GROUP, key[1], 0, group)).tolist() if key else range(count)
        rows += [made[k] for k in order]
    starts = np.array([int(ends[-1]) * lane // lanes for lane in range(lanes + 1)])
    found = []
    for row in Line(starts, q, g).line_rows(np.arange(len(rows))).tolist():
        item = [int(np.searchsorted(ends, a, side="right")) for a, _ in rows[row]]
        found.append(
            [
                [int(line[i, 0]), int(a - begins[i] + line[i, 1]), int(b - begins[i] + line[i, 1])]
                for i, (a, b) in zip(item, rows[row], strict=True)
            ]
        )
    return found


def test_vectors_of_streams() -> None:
    """Rows of a stream lie in the epochs of the vectors, and ranks share batches evenly."""
    for v in VECTORS["stream"]:
        expected = (v["epoch"], v["epoch_row"], v["epoch_row"] + 1)
        assert split_epochs(v["row"], v["row"] + 1, v["epoch_rows"]) == [expected]
    for v in VECTORS["ranks"]:
        rows = np.arange(-(-v["rows"] // v["batch_rows"]) * v["batch_rows"]).reshape(-1, v["batch_rows"])
        mine = rows[:, v["rank"] :: v["ranks"]].tolist()
        assert [[row if row < v["rows"] else None for row in batch] for batch in mine] == v["batches"]
    for v in VECTORS["workers"]:
        assert np.arange(v["batches"])[v["worker"] :: v["workers"]].tolist() == v["made"]


@pytest.mark.parametrize("case", VECTORS["epochs"], ids=lambda case: case["name"])
def test_vectors_of_epochs(case: dict[str, Any]) -> None:
    """The loader hands out the rows of the vectors, value by value, for every epoch in them."""
    source = FakeSource(case["lengths"])
    assert source.table == [tuple(row) for row in case["spans"]]
    bos, eos = (49_999 if case["bos"] else None), (49_998 if case["eos"] else None)
    data = StreamingDataset(
        source,
        seq_len=case["seq_len"],
        shuffle=case["shuffle"],
        seed=case["seed"],
        lanes=case["lanes"],
        buffer=case["buffer"],
        bos_id=bos,
        eos_id=eos,
        emit=("input_ids",),
    )
    for epoch, rows in case["rows"].items():
        data.set_epoch(int(epoch))
        got = [row["input_ids"].numpy() for row in data]
        assert len(got) == len(rows) == data.rows_per_epoch
        for row, segments in zip(got, rows, strict=True):
            expected = np.concatenate([source.segment(tuple(segment), bos, eos) for segment in segments])
            assert np.array_equal(row[: len(expected)], expected)


def test_reference_loses_nothing() -> None:
    """The slow reference itself has every value exactly once an epoch, in every case of the vectors."""
    for case in [*VECTORS["epochs"], *(case for case in VECTORS["packed_epochs"] if "overlong" not in case)]:
        view = reference.View(case["lengths"], [tuple(row) for row in case["spans"]], case["bos"], case["eos"])
        for rows in case["rows"].values():
            seen = sorted(tuple(segment) for segments in rows for segment in segments)
            for sample in range(len(case["lengths"])):
                parts = [(a, b) for s, a, b in seen if s == sample]
                assert [a for a, _ in parts] == [0, *(b for _, b in parts)][: len(parts)]
                assert (parts[-1][1] if parts else 0) == view.effective(sample)
