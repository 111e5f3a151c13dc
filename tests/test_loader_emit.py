"""Every key that a batch may have, for every packing, against a slow computation that looks at one row at a time.

What the rows consist of comes from the reference of order.md, as segments; which of their ends are ends of documents
follows from the page (7.6): a piece is a document, but where `concat` cuts a line or a sample is split.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tokstore as ts
from test_loader_fake import FakeSource, expected_rows, reference
from tokstore.loader import StreamingDataset

PACKINGS = ("concat", "fit", "whole", "single")
EVERY = (
    "input_ids labels position_ids attention_mask document_ids cu_seqlens cu_seq_lens_q cu_seq_lens_k max_seqlen "
    "max_length_q max_length_k seq_lengths loss_mask sample_ids valid"
).split()
BATCH = 3


@dataclass
class Row:
    """A row: its ids, the places where documents begin, the id after every place (None for none), its samples."""

    ids: list[int]
    begins: set[int]
    after: list[int | None]
    samples: list[int]


def slow_rows(source: FakeSource, seq_len: int, epoch: int, packing: str, eos: int | None, **options: Any) -> list[Row]:
    """Return the rows of an epoch; `after` also looks into the next document."""
    expected = expected_rows(source, seq_len, epoch, eos=eos, packing=packing, **options)
    line, place = [], {}
    if packing == "concat":
        alone = {name: value for name, value in options.items() if name != "overlong"}
        given_options: dict[str, Any] = {"shuffle": True, "lanes": None, "buffer": 64 << 20, "seed": 0} | alone
        view = reference.View(source._lengths.tolist(), source.table, False, eos is not None)
        for sample, first, last in reference.epoch_line(view, epoch=epoch, **given_options).line:
            values = source.segment((sample, first, last), None, eos).tolist()
            for t, value in enumerate(values):
                place[sample, first + t] = len(line)
                line.append((value, t == 0))
    found = []
    for row in expected:
        ids, begins, after = row.ids.tolist(), {0}, []
        at = 0
        for sample, first, last in row.segments:
            size = int(source._lengths[sample]) + (eos is not None)
            if packing != "concat" or (last > first and line[place[sample, first]][1]):
                begins.add(at)
            for t in range(first, last):
                if packing == "concat":
                    later = place[sample, t] + 1
                    after.append(line[later][0] if later < len(line) else None)
                elif at + 1 < len(ids) and t + 1 == last:
                    after.append(ids[at + 1])
                elif t + 1 < size and packing in ("fit", "single"):
                    after.append(int(source.segment((sample, t + 1, t + 2), None, eos)[0]))
                else:
                    after.append(ids[at + 1] if t + 1 < last else None)
                at += 1
        found.append(Row(ids, begins & set(range(len(ids))), after, [segment[0] for segment in row.segments]))
    if packing == "concat":
        starts = {index for index, (_, begins) in enumerate(line) if begins}
        for row, segments in zip(found, (row.segments for row in expected), strict=True):
            where = [place[sample, t] for sample, first, last in segments for t in range(first, last)]
            row.next_begins = [one + 1 in starts for one in where]  # type: ignore[attr-defined]
    else:
        for row, segments in zip(found, (row.segments for row in expected), strict=True):
            row.next_begins = [  # type: ignore[attr-defined]
                t + 1 == last and t + 1 == min(int(source._lengths[sample]) + (eos is not None), t + 1)
                for sample, first, last in segments
                for t in range(first, last)
            ]
    return found
