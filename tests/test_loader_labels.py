"""Labels and position ids against a slow reference that looks at one token at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_loader_fake import FakeSource, reference
from tokstore.loader import StreamingDataset


def slow_rows(
    source: FakeSource,
    seq_len: int,
    epoch: int,
    labels: str,
    documents: str,
    bos: int | None,
    eos: int | None,
    **options: Any,
) -> list[tuple[list[int], list[int], list[int]]]:
    """Return ids, labels and position ids of every row of an epoch, token by token."""
    view = reference.View(source._lengths.tolist(), source.table, bos is not None, eos is not None)
    made = reference.epoch_line(view, seed=0, epoch=epoch, **options)
    line: list[int] = []
    begins: set[int] = set()
    for segment in made.line:
        if segment[1] < segment[2]:
            begins.add(len(line))
        line += source.segment(segment, bos, eos).tolist()
    separate = documents == "separate"
    found = []
    for row in reference.line_rows(made.lane_starts, seq_len):
        ids: list[int] = []
        wanted: list[int] = []
        positions: list[int] = []
        for t, place in enumerate(range(row * seq_len, min((row + 1) * seq_len, len(line)))):
            starts = t == 0 or (separate and place in begins)
            ids.append(line[place])
            positions.append(0 if starts else positions[-1] + 1)
            if labels == "same":
                wanted.append(-100 if separate and starts else line[place])
            else:
                after = place + 1
                wanted.append(line[after] if after < len(line) and not (separate and after in begins) else -100)
        found.append((ids, wanted, positions))
    return found


def check(source: FakeSource, seq_len: int, labels: Any, documents: Any, bos: Any, eos: Any, **options: Any) -> None:
    """Compare two epochs with the slow reference; what is filled up has the label -100."""
    given_options = {"shuffle": True, "lanes": None, "buffer": 64 << 20} | options
    data = StreamingDataset(
        source,
        seq_len=seq_len,
        batch_size=3,
        epochs=2,
        labels=labels,
        documents=documents,
        bos_id=bos,
        eos_id=eos,
        **given_options,
    )
    expected = [
        row for e in (0, 1) for row in slow_rows(source, seq_len, e, labels, documents, bos, eos, **given_options)
    ]
    rows = [tuple(part) for batch in data for part in zip(*(batch[k].tolist() for k in batch), strict=True)]
    assert len(rows) == -(-len(expected) // 3) * 3
    for (ids, wanted, positions), (ids_, wanted_, positions_) in zip(expected, rows, strict=False):
        used = len(ids)
        assert ids_[:used] == ids
        assert wanted_ == wanted + [-100] * (seq_len - used)
        assert positions_[:used] == positions
        assert max(positions_) < seq_len
    for _, wanted_, _ in rows[len(expected) :]:
        assert wanted_ == [-100] * seq_len


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=20).filter(any),
    st.integers(2, 9),
    st.sampled_from(["same", "next"]),
    st.sampled_from(["separate", "joined"]),
    st.sampled_from([None, 1]),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_small_sources(
    lengths: list[int], seq_len: int, labels: str, documents: str, bos: int | None, eos: int | None, shuffle: bool
) -> None:
    """Every combination of labels, documents and inserted ids, shuffled and in view order."""
    check(FakeSource(lengths), seq_len, labels, documents, bos, eos, shuffle=shuffle)


@settings(max_examples=10)
@given(
    st.lists(st.one_of(st.integers(0, 5000), st.integers(0, 70_000)), min_size=2, max_size=5).filter(any),
    st.sampled_from(["same", "next"]),
    st.sampled_from(["separate", "joined"]),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_across_windows_and_lanes(
    lengths: list[int], labels: str, documents: str, eos: int | None, shuffle: bool
) -> None:
    """Rows that reach into another window or lane see its first value as the next one."""
    options = {"lanes": 3} if shuffle else {}
    check(FakeSource(lengths), 4096, labels, documents, None, eos, shuffle=shuffle, buffer=1, **options)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_sample_longer_than_all_windows(shuffle: bool) -> None:
    """In view order a huge sample is one document; shuffled, its parts are documents of their own."""
    source = FakeSource([100, 700_000, 50])
    options: dict[str, Any] = {"lanes": 2} if shuffle else {}
    data = StreamingDataset(
        source,
        seq_len=1000,
        batch_size=10,
        shuffle=shuffle,
        buffer=1,
        labels="next",
        bos_id=None,
        eos_id=None,
        **options,
    )
    labels = np.concatenate([batch["labels"].numpy().ravel() for batch in data])
    missing = int((labels == -100).sum()) - (len(labels) - source.token_count)
    assert missing == 3 if not shuffle else 3 <= missing <= 3 + 700_000 // 16_384


def test_labels_worked_by_hand() -> None:
    """Two documents of three and two tokens with an inserted end, in one row."""
    source = FakeSource([3, 2], vocab_size=10)
    source.ids = lambda sample, place: np.asarray(1 + 3 * sample + place)

    def row(**options: Any) -> dict[str, list[int]]:
        data = StreamingDataset(source, seq_len=8, shuffle=False, eos_id=9, **options)
        return {name: tensor.tolist() for name, tensor in next(iter(data)).items()}

    assert row() == {
        "input_ids": [1, 2, 3, 9, 4, 5, 9, 9],
        "labels": [-100, 2, 3, 9, -100, 5, 9, -100],
        "position_ids": [0, 1, 2, 3, 0, 1, 2, 3],
    }
    assert row(labels="next")["labels"] == [2, 3, 9, -100, 5, 9, -100, -100]
    assert row(labels="next", documents="joined")["labels"] == [2, 3, 9, 4, 5, 9, -100, -100]
    assert row(documents="joined")["labels"] == [1, 2, 3, 9, 4, 5, 9, -100]
    assert row(documents="joined")["position_ids"] == list(range(8))


def test_only_what_is_asked_for() -> None:
    """`emit` names the keys in their order; without labels there are none."""
    source = FakeSource([30])
    assert list(next(iter(StreamingDataset(source, seq_len=4)))) == ["input_ids", "labels", "position_ids"]
    assert list(next(iter(StreamingDataset(source, seq_len=4, labels=None)))) == ["input_ids", "position_ids"]
    assert list(next(iter(StreamingDataset(source, seq_len=4, emit=["labels", "input_ids"])))) == [
        "labels",
        "input_ids",
    ]


@pytest.mark.parametrize("packing", ["concat", "fit"])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_next_ids_in_view_order(packing: Any, batch_size: int) -> None:
    """Every id but the last of a sample has the next one as label, wherever spans, windows, groups and rows end."""
    lengths = [256, 700_000, 50, 0, 4097, 300_000, 1, 262_144, 40_000]
    source = FakeSource(lengths, vocab_size=1 << 24)
    source.ids = lambda sample, place: np.asarray(sample * 1_000_000 + place)
    data = StreamingDataset(
        source, seq_len=1024, packing=packing, shuffle=False, batch_size=batch_size, labels="next", buffer=1,
        emit=("input_ids", "labels", "attention_mask"), bos_id=None, eos_id=None,
    )  # fmt: skip
    last = [sample * 1_000_000 + length - 1 for sample, length in enumerate(lengths) if length]
    seen = 0
    for batch in data:
        ids = batch["input_ids"].numpy()
        used = batch["attention_mask"].numpy() == 1
        wanted = np.where(used & ~np.isin(ids, last), ids + 1, -100)
        assert np.array_equal(batch["labels"].numpy(), wanted)
        seen += int(used.sum())
    assert seen == sum(lengths)
