"""Every key that a batch may have, for every packing, against a slow computation that looks at one value at a time.

What the rows consist of comes from the reference of order.md, as segments. Labels of `concat` across the ends of rows
are compared in test_loader_labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tokstore as ts
from test_loader_fake import Expected, FakeSource, expected_rows
from tokstore.loader import StreamingDataset
from tokstore.stream.collate import KEYS

EVERY = [name for name in KEYS if name != "source"]
BATCH = 3


def slow_row(
    source: FakeSource, row: Expected, width: int, packing: str, labels: Any, separate: bool, eos: int | None, cut: bool
) -> dict[str, list[int]]:
    """Return what a row has at each place, one value after another."""
    used = len(row.ids)
    begins = {0, *(row.begins if separate else ())} & set(range(used))
    found: dict[str, list[int]] = {name: [] for name in ("labels", "position_ids", "document_ids", "lengths")}
    for t in range(used):
        if t in begins:
            found["lengths"].append(0)
        found["position_ids"].append(found["lengths"][-1])
        found["document_ids"].append(len(found["lengths"]) - 1)
        found["lengths"][-1] += 1
        if labels == "same":
            found["labels"].append(-100 if separate and t in begins else int(row.ids[t]))
        else:
            last = t + 1 == used or t + 1 in begins
            found["labels"].append(-100 if last else int(row.ids[t + 1]))
    if labels == "next" and packing in ("fit", "single") and cut:
        at = 0
        for sample, first, last in row.segments:
            at += last - first
            if last < int(source._lengths[sample]) + (eos is not None):
                found["labels"][at - 1] = int(source.segment((sample, last, last + 1), None, eos)[0])
    if labels == "same" and not separate:
        assert -100 not in found["labels"]
    found["labels"] += [-100] * (width - used)
    found["document_ids"] += [-1] * (width - used)
    return found


@settings(max_examples=150)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=30).filter(any),
    st.sampled_from(["concat", "fit", "whole", "single"]),
    st.sampled_from(["same", "next"]),
    st.booleans(),
    st.sampled_from(["split", "truncate", "drop"]),
    st.integers(2, 50),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_every_key(
    lengths: list[int], packing: str, labels: Any, separate: bool, overlong: str, seq_len: int, eos: Any, shuffle: bool
) -> None:
    """All keys of all batches of an epoch."""
    source = FakeSource(lengths)
    cut = packing == "fit" or overlong == "split"
    rule: Any = overlong if packing == "single" else "truncate" if packing == "whole" else "split"
    rows = expected_rows(source, seq_len, 0, eos=eos, packing=packing, overlong=rule, shuffle=shuffle)
    if not rows:
        return
    data = StreamingDataset(
        source,
        seq_len=seq_len,
        packing=None if packing == "single" else packing,  # type: ignore[arg-type]
        overlong=rule if packing in ("whole", "single") else None,
        batch_size=BATCH,
        labels=labels,
        documents="separate" if separate else "joined",
        eos_id=eos,
        bos_id=None,
        shuffle=shuffle,
        emit=EVERY,
    )
    batches = list(data)
    assert len(batches) == -(-len(rows) // BATCH)
    for number, batch in enumerate(batches):
        part = rows[number * BATCH : (number + 1) * BATCH]
        fill = BATCH - len(part)
        assert list(batch) == EVERY
        assert batch["valid"].tolist() == [True] * len(part) + [False] * fill
        starts, all_lengths, samples = [], [], []
        for index, row in enumerate(part):
            want = slow_row(source, row, seq_len, packing, labels, separate, eos, cut)
            used = len(row.ids)
            got = {name: batch[name][index].tolist() for name in [*EVERY[:5], "loss_mask"]}
            assert got["input_ids"] == row.ids.tolist() + [data._pad] * (seq_len - used)
            inside = slice(0, used - 1 if packing == "concat" and labels == "next" else used)
            assert got["labels"][inside] == want["labels"][inside]
            assert got["labels"][used:] == [-100] * (seq_len - used)
            assert got["position_ids"][:used] == want["position_ids"]
            assert max(got["position_ids"]) < seq_len
            assert got["attention_mask"] == [1] * used + [0] * (seq_len - used)
            assert got["document_ids"] == want["document_ids"]
            assert got["loss_mask"] == [int(label != -100) for label in got["labels"]]
            starts += [index * seq_len + place for place in range(used) if want["position_ids"][place] == 0]
            starts += [index * seq_len + used] * (used < seq_len)
            all_lengths += want["lengths"]
            samples += [sample + 1000 for sample, first, last in row.segments if first < last]
        for index in range(len(part), BATCH):
            starts.append(index * seq_len)
            assert batch["labels"][index].tolist() == [-100] * seq_len
            assert batch["document_ids"][index].tolist() == [-1] * seq_len
            assert not batch["attention_mask"][index].any()
            assert not batch["loss_mask"][index].any()
        edges = [*starts, BATCH * seq_len]
        for name in ("cu_seqlens", "cu_seq_lens_q", "cu_seq_lens_k"):
            assert batch[name].dtype == torch.int32
            assert batch[name].tolist() == edges
        for name in ("max_seqlen", "max_length_q", "max_length_k"):
            assert batch[name] == max(np.diff(edges))
        single = packing == "single"
        assert batch["seq_lengths"].tolist() == ([len(row.ids) for row in part] + [0] * fill if single else all_lengths)
        assert batch["sample_ids"].tolist() == samples + [-1] * (fill if single else 0)


@pytest.mark.parametrize("packing", ["concat", "fit", "whole", None])
def test_columns(tmp_path: Path, packing: Any) -> None:
    """Columns of a real store: one value per row without packing, else one per piece of a sample."""
    lengths = [17 * i % 23 + 1 for i in range(100)]
    schema = ts.Schema(tokens=ts.Tokens(1000), score=ts.Score(), label=ts.Label(), kind=ts.Category(), text=ts.Text())
    names = ("score", "label", "kind", "text")
    with ts.create(str(tmp_path / "s"), schema, level="fast") as writer:
        writer.extend(
            tokens=[[i] * length for i, length in enumerate(lengths)],
            score=np.arange(100) / 128,
            label=np.arange(100) * 3,
            kind=[f"kind {i % 7}" for i in range(100)],
            text=[f"text {i}" for i in range(100)],
        )
    store = ts.open(str(tmp_path / "s"))
    data = StreamingDataset(store, seq_len=32, packing=packing, batch_size=7, emit=(*EVERY[:1], "sample_ids", *names))
    ids = store.take(np.arange(100), [])["sample_id"].tolist()
    seen = []
    for batch in data:
        position = [ids.index(one) if one >= 0 else None for one in batch["sample_ids"].tolist()]
        seen += position
        assert {len(batch[name]) for name in names} == {len(position)}
        for i, one in enumerate(position):
            if one is None:
                assert torch.isnan(batch["score"][i])
                assert batch["text"][i] is None
                continue
            if packing is None:
                assert batch["input_ids"][i][0] == one
            assert float(batch["score"][i]) == pytest.approx(one / 128)
            assert int(batch["label"][i]) == one * 3
            assert str(batch["kind"][i]) == f"kind {one % 7}"
            assert str(batch["text"][i]) == f"text {one}"
    found = sorted(one for one in seen if one is not None)
    assert sorted(set(found)) == list(range(100))
    assert (len(found) == 100) or packing in ("concat", "fit")
