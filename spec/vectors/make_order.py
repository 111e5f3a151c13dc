"""Write `order.json`: what order.md says, worked out slowly in plain integers, for others to compare themselves with.

The functions are in `order_reference`; they follow the page and share no code with any loader.

    python spec/vectors/make_order.py             write order.json
    python spec/vectors/make_order.py --verify    compare it with what this program would write
"""

from __future__ import annotations

import argparse
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the script runs without an installation

from spec.vectors.order_reference import (
    GOLDEN,
    M64,
    View,
    copies,
    ending_rows,
    epoch_of,
    epoch_rows,
    fit_parts,
    group_rows,
    group_values,
    key,
    lane_count,
    line_rows,
    mix,
    mixture_rows,
    near,
    offset_of,
    packed,
    permute,
    quantise,
    rank_batches,
    rows_of,
    shuffled,
    source_buffer,
    stage_of,
    stage_start,
    stored,
    target,
    weighted_rows,
    whole_rows,
    window_values,
    worker_batches,
)
from spec.vectors.order_reference.transforms import transform_words

# What a test of an implementation compares itself with: samples, options, and the rows of some epochs.
CASES: list[tuple[str, list[int], dict[str, Any]]] = [
    ("pool", [3, 1, 4, 1, 5, 9, 2, 6, 0, 5], {"seq_len": 4, "lanes": 3}),
    ("pool with inserted ids", [3, 1, 4, 0, 5], {"seq_len": 5, "lanes": 2, "bos": True, "eos": True}),
    ("view order", [3, 1, 4, 1, 5], {"seq_len": 4, "shuffle": False}),
    ("fewer tokens than one row", [2], {"seq_len": 8}),
    (
        "spans and windows",
        [700 * (i * 37 % 97) for i in range(40)],
        {"seq_len": 30000, "lanes": 3, "buffer": 1, "seed": 2**64 - 1},
    ),
    (
        "samples longer than a span and a window",
        [5, 900_000, 0, 40_000, 17_000, 300_001],
        {"seq_len": 65_536, "lanes": 4, "buffer": 1, "eos": True},
    ),
    (
        "spans as stored",
        [260_000 + 1_000 * i for i in range(12)],
        {"seq_len": 2**17, "lanes": 1, "buffer": 1, "seed": 5},
    ),
]

# The same for rows that are packed.
MIXED = [37 * (i * i * 31 % 211) for i in range(120)]
PACKED: list[tuple[str, list[int], dict[str, Any]]] = [
    ("fit in a pool", [1_700 * (i * 37 % 29) for i in range(16)], {"seq_len": 16_384, "packing": "fit", "lanes": 3}),
    (
        "fit from windows, and a last group that is not full",
        MIXED,
        {"seq_len": 8_192, "packing": "fit", "lanes": 3, "buffer": 1, "seed": 9, "eos": True},
    ),
    ("fit in view order", [100, 5_000, 0, 20_000, 3], {"seq_len": 4_096, "packing": "fit", "shuffle": False}),
    ("fit in view order, several groups", MIXED, {"seq_len": 8_192, "packing": "fit", "shuffle": False, "buffer": 1}),
    ("fit with windows smaller than 8 rows", [90_000, 1, 70_000], {"seq_len": 2**15, "packing": "fit", "buffer": 1}),
    ("whole in a pool", [3, 1, 4, 1, 5, 9, 2, 6, 0, 5], {"seq_len": 9, "packing": "whole", "lanes": 2}),
    (
        "whole from spans and windows",
        MIXED,
        {"seq_len": 8_192, "packing": "whole", "lanes": 2, "buffer": 1, "bos": True, "eos": True},
    ),
    (
        "whole, longer samples left out",
        MIXED,
        {"seq_len": 5_000, "packing": "whole", "lanes": 3, "buffer": 1, "seed": 2**63, "overlong": "drop"},
    ),
    (
        "whole, longer samples truncated, cuts inside of samples dropped",
        [260_000 + 1_000 * i for i in range(7)] + [900_000, 5, 40_000],
        {"seq_len": 2**17, "packing": "whole", "lanes": 1, "buffer": 1, "seed": 5, "overlong": "truncate"},
    ),
    ("whole in view order", MIXED, {"seq_len": 8_192, "packing": "whole", "shuffle": False, "buffer": 1}),
    ("single in a pool", [3, 1, 4, 0, 5], {"seq_len": 7, "packing": "single", "lanes": 2, "bos": True, "eos": True}),
    ("single with fewer rows than lanes", [0, 9, 0, 5], {"seq_len": 8, "packing": "single", "overlong": "drop"}),
    (
        "single, a stored cut inside of a sample dropped after spans are split",
        [33_253, 200_000, 298_795, 1],
        {"seq_len": 2**18, "packing": "single", "lanes": 1, "buffer": 1, "overlong": "truncate"},
    ),
    (
        "single from spans, longer samples split",
        [5, 900_000, 0, 40_000, 17_000, 131_072, 300_001],
        {"seq_len": 65_536, "packing": "single", "lanes": 2, "buffer": 1, "eos": True, "overlong": "split"},
    ),
    (
        "single in view order, longer samples truncated",
        [3, 1, 4, 1, 5, 9],
        {"seq_len": 4, "packing": "single", "shuffle": False, "overlong": "truncate"},
    ),
]

# Lengths of items, in the order of the line, the values of a row, and how many rows.
LENGTHS: list[tuple[list[int], int, int]] = [
    ([3, 5, 2, 5, 1], 8, 2),
    ([3, 5, 2, 5, 4], 7, 2),
    ([20] * 4, 32, 3),
    ([4, 4, 3, 4, 2, 1, 4, 3] * 5, 32, 4),
    ([1] * 20, 16, 3),
    ([70, 3, 33, 32, 1, 64, 9], 32, 8),
    ([17, 18, 16, 15, 4, 3, 4, 4, 2, 1, 1], 32, 4),
    ([9, 8, 7, 7, 7, 7, 7, 7, 1, 1, 1], 64, 1),
    ([11 * (i * i * 7 % 59) % 100 + 1 for i in range(60)], 100, 24),
]


# Mixtures: lanes, and the shares of every stage with the row at which it is asked for.
MIXTURES: list[tuple[int, list[tuple[int, list[int]]]]] = [
    (12, [(0, [7, 3])]),
    (1, [(0, [1, 1])]),
    (48, [(0, [5, 3, 0, 1])]),
    (7, [(0, [1, 300])]),
    (12, [(0, [1, 1, 0]), (50, [0, 1, 3]), (97, [1, 0, 0])]),
]

# Weights of samples, and their lengths.
WEIGHTS: list[tuple[list[int], list[int]]] = [
    ([32768, 65536, 147456, 0, 81920], [3, 1, 4, 1, 5]),
    ([1, 2**32 - 1, 65536], [7, 7, 7]),
    ([30_000] * 9, [9, 8, 7, 6, 5, 4, 3, 2, 1]),
]

# Epochs of views with weights: samples, their weights, options.
LOADS = [(i * i * 7919 + 31 * i) % 200_000 for i in range(120)]
FEW = [3, 1, 4, 1, 5, 9, 2, 6, 0, 5]
FEW_LOADS = [(i + 1) * 21_000 % 150_000 for i in range(10)]
WEIGHTED: list[tuple[str, list[int], list[int], dict[str, Any]]] = [
    ("pool", [3, 1, 4, 1, 5], WEIGHTS[0][0], {"seq_len": 4, "lanes": 2}),
    ("pool, fit, inserted ids", FEW, FEW_LOADS, {"seq_len": 8, "packing": "fit", "lanes": 3, "bos": True, "eos": True}),
    ("pool, whole", FEW, FEW_LOADS, {"seq_len": 9, "packing": "whole", "lanes": 2}),
    (
        "pool, single, longer samples split",
        FEW,
        FEW_LOADS,
        {"seq_len": 4, "packing": "single", "overlong": "split", "eos": True},
    ),
    ("view order", FEW, FEW_LOADS, {"seq_len": 7, "shuffle": False, "eos": True}),
    (
        "spans and windows",
        MIXED,
        LOADS,
        {"seq_len": 8_192, "lanes": 3, "buffer": 1, "seed": 11, "eos": True},
    ),
    (
        "fit from spans that are joined",
        [600_000, 5, 90_000, 0, 260_001, *MIXED[:60]],
        [3_000, 90_000, 65_536, 131_072, 40_000, *LOADS[:60]],
        {"seq_len": 2**15, "packing": "fit", "lanes": 2, "buffer": 1},
    ),
    ("whole from spans", MIXED, LOADS, {"seq_len": 8_192, "packing": "whole", "lanes": 2, "buffer": 1}),
    (
        "single from spans, longer samples left out",
        MIXED,
        LOADS,
        {"seq_len": 5_000, "packing": "single", "lanes": 2, "buffer": 1, "overlong": "drop"},
    ),
    ("whole in view order", MIXED, LOADS, {"seq_len": 8_192, "packing": "whole", "shuffle": False}),
]


# Mixtures with an end: lanes, the shares of every stage, rows of an epoch of each source, limits, and the stop rule.
Ending = tuple[int, list[tuple[int, list[int]]], list[int], list[int | None], str | None]
ENDING: list[Ending] = [
    (1, [(0, [1, 1])], [2, 3], [1, 1], None),
    (3, [(0, [1, 1])], [4, 7], [1, 1], None),
    (12, [(0, [7, 3])], [50, 40], [2, None], None),
    (12, [(0, [7, 3])], [50, 40], [2, None], "first_exhausted"),
    (12, [(0, [7, 3])], [50, 40], [None, None], "all_exhausted"),
    (12, [(0, [7, 3])], [50, 40], [2, None], "all_exhausted"),
    (12, [(0, [7, 3])], [50, 40], [2, None], "all_exhausted_without_replacement"),
    (7, [(0, [5, 3, 0, 1]), (60, [1, 1, 2, 1])], [31, 17, 23, 5], [1, 2, 1, 3], "all_exhausted_without_replacement"),
    (2, [(0, [1, 1]), (80, [0, 1])], [9, 20], [1, 1], "first_exhausted"),
    (12, [(0, [1, 0]), (48, [0, 1])], [30, 10], [2, 3], None),
]


def ending_of(
    lanes: int, asked: list[tuple[int, list[int]]], rows: list[int], limits: list[int | None], stop: str | None
) -> dict[str, Any]:
    """Return the vector of a mixture with an end: its first rows, and how many there are, if it ends."""
    stages = [
        stage_of(stage_start(row, lanes), quantise([Fraction(share) for share in shares], lanes), lanes)
        for row, shares in asked
    ]
    found = ending_rows(stages, lanes, rows, limits, stop, 600)
    if found is None:
        raise ValueError("a vector of a mixture that a loader refuses")
    given, ended = found
    return {
        "lanes": lanes,
        "stages": [{"asked": row, "shares": shares} for row, shares in asked],
        "epoch_rows": rows,
        "max_epochs": limits,
        "stop": stop,
        "end": len(given) if ended else None,
        "rows": given[:250],
    }


def mixture_of(lanes: int, asked: list[tuple[int, list[int]]]) -> dict[str, Any]:
    """Return the vector of one mixture: its stages, and what its first rows are."""
    stages = [
        stage_of(stage_start(row, lanes), quantise([Fraction(share) for share in shares], lanes), lanes)
        for row, shares in asked
    ]
    told = [
        {"asked": row, "shares": shares} | stage._asdict() for (row, shares), stage in zip(asked, stages, strict=True)
    ]
    buffers = [source_buffer(1 << 26, stages, source) for source in range(len(stages[0].slots))]
    return {"lanes": lanes, "stages": told, "buffers": buffers, "rows": mixture_rows(stages, lanes, 150)}


def epochs_of(name: str, lengths: list[int], given: dict[str, Any]) -> dict[str, Any]:
    """Return the vector of one case: its view, its options, and the rows of some epochs."""
    options = {"shuffle": True, "lanes": None, "buffer": 64 << 20, "seed": 0, "bos": False, "eos": False} | given
    seq_len, bos, eos = options.pop("seq_len"), options.pop("bos"), options.pop("eos")
    view = View(lengths, stored(lengths), bos, eos)
    epochs = {epoch: epoch_rows(view, seq_len, epoch=epoch, **options) for epoch in (0, 1, 7)}
    return (
        {"name": name, "lengths": lengths, "spans": view.spans, "seq_len": seq_len, "bos": bos, "eos": eos}
        | options
        | {"rows": {str(epoch): rows for epoch, rows in epochs.items()}}
    )


def weighted_epochs_of(name: str, lengths: list[int], weights: list[int], given: dict[str, Any]) -> dict[str, Any]:
    """Return the vector of one case with weights: its view, its options, and the rows of some epochs."""
    options = {"shuffle": True, "lanes": None, "buffer": 64 << 20, "seed": 0, "bos": False, "eos": False} | given
    seq_len, bos, eos = options.pop("seq_len"), options.pop("bos"), options.pop("eos")
    view = View(lengths, stored(lengths), bos, eos, weights)
    epochs = {epoch: weighted_rows(view, seq_len, epoch=epoch, **options) for epoch in (0, 100)}
    return (
        {"name": name, "lengths": lengths, "weights": weights, "spans": view.spans}
        | {"seq_len": seq_len, "bos": bos, "eos": eos}
        | options
        | {"rows": {str(epoch): rows for epoch, rows in epochs.items()}}
    )


def items_of(lengths: list[int]) -> list[tuple[int, int]]:
    """Return where items of these lengths lie when they stand end to end."""
    return [(sum(lengths[:i]), sum(lengths[: i + 1])) for i in range(len(lengths))]


def vectors() -> dict[str, Any]:
    """Return all vectors; integers are strings, so that no language rounds them."""
    counters = [0, 1, 2, GOLDEN, M64]
    fields = [(0, 1, 0, 0, 0, 0), (1, 2, 3, 4, 5, 6), (M64, 3, M64, 0, 0, 0)]
    sizes = [(1, 0), (2, 7), (5, 7), (16, 7), (33, M64)]
    made = {
        "order_version": 1,
        "mix": [{"z": z, "mix": mix(z)} for z in counters],
        "key": [dict(zip(FIELDS, f, strict=True)) | {"key": key(f[0], f[1], f[3], f[4], f[5], f[2])} for f in fields],
        "permute": [{"n": n, "key": k, "items": [permute(i, n, k) for i in range(n)]} for n, k in sizes],
        "shuffled": [{"n": n, "key": k, "items": shuffled(n, k)} for n, k in sizes],
        "target": [
            {"total": t, "lanes": c, "target": target(t, c)} for t in (1, 10**7, 10**9, 2**39) for c in (12, 768)
        ],
        "lanes": [{"total": t, "lanes": lane_count(t)} for p in (27, 32, 37) for t in (2**p - 1, 2**p)],
        "window": [{"lanes": c, "window": window_values(64 << 20, c)} for c in (1, 12, 48, 192, 768)],
        "rows": [
            {"values": t, "group_values": q, "group_rows": g, "rows": rows_of(t, q, g)}
            for t, q, g in ((10, 4, 1), (12, 4, 1), (1, 4, 1), (100, 30, 8), (120, 30, 8))
        ],
        "line_rows": [
            {"lane_starts": starts, "group_values": q, "group_rows": g, "line_rows": line_rows(starts, q, g)}
            for starts, q, g in (([0, 9, 12], 4, 1), ([0, 0, 50, 51], 3, 1), ([0, 100, 130, 200], 30, 8))
        ],
        "epochs": [epochs_of(*case) for case in CASES],
        "groups": [
            {"seq_len": n, "window": w, "rows": group_rows(n, w), "values": group_values(group_rows(n, w), n)}
            for n, w in ((2, 1 << 16), (2048, 1 << 22), (2048, 1 << 16), (1000, 1 << 16), (1 << 13, 1 << 16), (9999, 1))
        ],
        "packed": [
            {"lengths": lengths, "seq_len": n, "rows": r, "row": packed(lengths, n, r)}
            for lengths, n, r in LENGTHS
            if max(lengths) <= n
        ],
        "fit": [
            {"items": items_of(lengths), "seq_len": n, "rows": r, "parts": fit_parts(items_of(lengths), n, r)}
            for lengths, n, r in LENGTHS
            if sum(lengths) <= n * r
        ],
        "whole": [
            {"lengths": lengths, "seq_len": n, "rows": whole_rows(lengths, n)}
            for lengths, n, _ in LENGTHS
            if max(lengths) <= n
        ],
        "near": [{"n": n, "candidates": near(n)} for n in (1, 2, 4, 12, 48, 64, 768, 16_384)],
        "mixtures": [mixture_of(*case) for case in MIXTURES],
        "ending_mixtures": [ending_of(*case) for case in ENDING],
        "packed_epochs": [epochs_of(*case) for case in PACKED],
        "offsets": [
            {"seed": seed, "epoch": e, "span": k, "source": source, "offset": offset_of(seed, e, k, source)}
            for seed, e, k, source in ((0, 0, 0, 0), (0, 1, 0, 0), (0, 2**40, 0, 0), (M64, 3, 2**20, 5))
        ],
        "copies": [
            {"weights": weights, "lengths": lengths, "offset": o, "copies": copies(weights, lengths, o)}
            for weights, lengths in WEIGHTS
            for o in (0, 40_000, 65_535)
        ],
        "weighted_epochs": [weighted_epochs_of(*case) for case in WEIGHTED],
        "stream": [
            {"epoch_rows": n, "row": row, "epoch": epoch_of(row, n)[0], "epoch_row": epoch_of(row, n)[1]}
            for n, row in ((1, 5), (7, 6), (7, 7), (7, 2**40))
        ],
        "ranks": [
            {"rows": n, "batch_rows": size, "ranks": r, "rank": rank, "batches": rank_batches(n, size, r, rank)}
            for n, size, r in ((10, 4, 2), (12, 6, 3), (5, 8, 1), (3, 2, 2))
            for rank in range(r)
        ],
        "workers": [
            {"batches": n, "workers": w, "worker": worker, "made": worker_batches(n, w, worker)}
            for n, w in ((5, 2), (2, 3))
            for worker in range(w)
        ],
    }
    made["transform"] = [
        {"seed": seed, "row": row, "words": transform_words(seed, row, 2)}
        for seed, row in ((0, 0), (0, 16), (M64, M64))
    ]
    text: dict[str, Any] = as_text(made)
    return text


FIELDS = ("seed", "purpose", "source", "epoch", "lane", "window")


def as_text(value: Any) -> Any:
    """Write integers as strings, all the way down."""
    if isinstance(value, dict):
        return {name: as_text(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_text(item) for item in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def render() -> str:
    """Return the text of order.json: one entry a line."""
    lines = []
    for name, value in sorted(vectors().items()):
        if isinstance(value, list):
            inner = ",\n".join("  " + json.dumps(item, sort_keys=True) for item in value)
            lines.append(f"{json.dumps(name)}: [\n{inner}\n]")
        else:
            lines.append(f"{json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> int:
    """Write or verify."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verify", action="store_true", help="compare instead of writing")
    verify = parser.parse_args().verify
    path = Path(__file__).with_name("order.json")
    text = render()
    if not verify:
        path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {len(text)} characters written")
        return 0
    same = path.is_file() and path.read_text(encoding="utf-8") == text
    print(f"{path.name}: {'as it would be written' if same else 'differs from what would be written'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
