"""The codec of vectors: integers come back, bounds and budgets are kept, damage is found (codecs.md 6)."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contracts import allocates_at_most, check_reader
from tokstore.codecs.contract import EncodedBlock
from tokstore.codecs.vector_axes import held_out_rows
from tokstore.codecs.vector_blocks import Block, decode_blocks, encode_lanes_of, encode_planes
from tokstore.codecs.vector_model import VectorModel, group_dims
from tokstore.codecs.vector_quality import measure
from tokstore.codecs.vector_tables import SymbolTables
from tokstore.codecs.vector_transform import STEPPED, TURNED, Transform
from tokstore.codecs.vectors import VectorDecoder, VectorEncoder
from tokstore.errors import CorruptError
from tokstore.packed import encode_packed

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "spec" / "readers" / "python"))

from tokread import vectors as reader
from tokread.failure import ReadError

EXAMPLE_MODEL = """
03 01 06 00 02 00 00 00 00 00 00 00 00 00 E0 3F 00 00 80 3F 00 00 00 00 66 4B 4C 66 08 00 01 00
01 01 01 00 00 00 00 00 00 00 01 00 00 01 00 00 00 00 00 00 00 00 00 FF FF FF FF FF FF FF FF
00 00 02 00 00 00 00 00 00 00 01 01 C0 00 00 00 00 00 00 00 FF
"""
EXAMPLE_PLANES = "01 02 03 00 01 00 00 06 00"
EXAMPLE_LANES = """
01 00 00 00 00 00 05 00 00 00 00 00 00 00 00 00 03 00 00 00 00 00 00 00
09 04 00 C0 04 00 00
"""
EXAMPLE_ROWS = np.array([[1, 0], [-2, 0], [0, 3], [-1, 0]], np.int32)


def embeddings(rows: int, dim: int, seed: int = 0, noise: float = 0.05) -> NDArray[np.float32]:
    """Make vectors of length 1 whose variance lies in a few directions."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((rows, dim)) * 0.8 ** np.arange(dim) + noise * rng.standard_normal((rows, dim))
    turned = mixed @ np.linalg.qr(np.random.default_rng(1).standard_normal((dim, dim)))[0] + 0.1
    unit: NDArray[np.float32] = (turned / np.linalg.norm(turned, axis=1, keepdims=True)).astype(np.float32)
    return unit


def thirds(dim: int) -> tuple[int, ...]:
    """Cut dimensions into up to three groups."""
    return tuple(sorted({max(1, dim // 3), max(1, dim // 2), dim}))


def decode_runs(model: VectorModel, runs: list[list[EncodedBlock]], rows: list[int]) -> list[NDArray[np.int32]]:
    """Decode runs jointly."""
    outs = [np.full((count, model.dim), 99, np.int32) for count in rows]
    jobs = []
    for blocks, out in zip(runs, outs, strict=True):
        for group, block in enumerate(blocks):
            first, end = group_dims(model.groups, group)
            jobs.append((memoryview(block.data), block.form, group, out[:, first:end]))
    VectorDecoder(model.dim, model.groups, model).decode_run(jobs)
    return outs


def in_lanes(model: VectorModel, integers: NDArray[np.int32]) -> list[EncodedBlock]:
    """Encode a run as lanes, also where planes are smaller."""
    assert model.tables is not None
    dims = [group_dims(model.groups, group) for group in range(len(model.groups))]
    made = encode_lanes_of(model.tables, [(integers[:, first:end], (first, end)) for first, end in dims])
    return [block for block in made if block is not None]


def vectors_of(kind: str, rows: int, dim: int, seed: int) -> NDArray[np.float32]:
    """Draw vectors that are not easy: constant, with values far out, of very different sizes, or huge."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((rows, dim))
    if kind == "constant":
        drawn[:, ::2] = 3.0
    elif kind == "outliers":
        drawn[rng.random((rows, dim)) < 0.05] *= 1e5
    elif kind == "sizes":
        drawn *= 10.0 ** -np.arange(dim)
    elif kind == "huge":
        drawn *= 1e30
    elif kind == "zero":
        drawn *= 0
    return drawn.astype(np.float32)


KINDS = st.sampled_from(["normal", "constant", "outliers", "sizes", "huge", "zero"])


@settings(max_examples=60)
@given(KINDS, KINDS, st.integers(1, 40), st.integers(1, 50), st.integers(0, 999), st.integers(-2, 16), st.booleans())
def test_integers_come_back(
    fitted: str, kind: str, dim: int, rows: int, seed: int, fineness: int, rotate: bool
) -> None:
    """Any finite vectors come back as their integers, in both forms, from a model of the same or of other vectors."""
    sample = vectors_of(fitted, 80, dim, seed)
    given_rows = vectors_of(kind, rows, dim, seed + 1)
    largest = max(float(np.abs(sample).max()), float(np.abs(given_rows).max()), 1.0)
    model = VectorModel.fit(sample, "pca", max_error=largest * 2.0**-fineness, rotate=rotate, groups=thirds(dim))
    encoder = VectorEncoder(model, True, 3)
    integers = encoder.quantise(given_rows)
    lanes, planes = in_lanes(model, integers), VectorEncoder(model, False, 3).encode_integers([integers])[0]
    again = VectorModel.decode(model.encode(), dim, model.groups)
    for blocks in (encoder.encode_run(given_rows), lanes, planes):
        assert np.array_equal(decode_runs(again, [blocks], [rows])[0], integers)
    slow = reader.parse_model(model.encode(), dim)
    for blocks in (lanes, planes):
        for group, block in enumerate(blocks):
            first, end = group_dims(model.groups, group)
            found = reader.decode_vectors(slow, first, end, block.form, rows * (end - first), block.data)
            assert found == integers[:, first:end].tolist()


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("error", [0.1, 0.003, 1e-5])
def test_every_coordinate_is_within_the_bound(error: float, rotate: bool) -> None:
    """Coordinates along the stored axes differ by max_error at most, also of vectors that the fit never saw."""
    dim = 12
    model = VectorModel.fit(embeddings(400, dim), "pca", max_error=error, rotate=rotate, groups=(dim,))
    rows = np.concatenate([embeddings(300, dim, 5), 50 * embeddings(3, dim, 6)])
    found = model.transform.reconstruct(model.transform.quantise(rows)).astype(np.float64) - rows
    axes = np.array(model.transform.axes, np.float64) if rotate else np.eye(dim)
    off = np.abs(np.linalg.solve(axes.T, found.T)).max()
    assert error / 2 < off <= error * 1.001 + 1e-5
    assert np.abs(axes @ axes.T - np.eye(dim)).max() < 0.1


@pytest.mark.parametrize(("entropy", "rotate"), [(True, True), (True, False), (False, True)])
def test_budget_is_kept_and_used(entropy: bool, rotate: bool) -> None:
    """Blocks, tables and the stated overhead stay within bytes_per_vector, and come close to it."""
    rows = embeddings(3000, 24)
    model = VectorModel.fit(
        rows, "pca", bytes_per_vector=16.0, rotate=rotate, groups=(8, 24), overhead_bytes=0.5, entropy=entropy
    )
    runs = [model.transform.quantise(rows[at : at + 1024]) for at in range(0, 3000, 1024)]
    blocks = VectorEncoder(model, entropy, 12).encode_integers(runs)
    used = sum(len(block.data) for run in blocks for block in run) + model.table_bytes + 16
    assert 0.95 * 16 < used / 3000 + 0.5 <= 16
    assert len(model.encode()) >= model.rotation_bytes + model.table_bytes > 0
    assert (model.rotation_bytes > 0) == rotate
    wider = VectorModel.fit(rows, "pca", bytes_per_vector=20.0, rotate=rotate, groups=(8, 24), entropy=entropy)
    assert wider.transform.step < model.transform.step


def test_budget_that_cannot_be_kept_says_what_can() -> None:
    """A budget below what zeros take is refused, and the figure of the message is enough."""
    rows = embeddings(500, 16)
    with pytest.raises(ValueError, match=r"take [0-9.]+ bytes at least, .* allow [0-9.]+ or more") as caught:
        VectorModel.fit(rows, "pca", bytes_per_vector=1.0, groups=(16,))
    enough = float(str(caught.value).split("allow ")[1].split(" ")[0])
    VectorModel.fit(rows, "pca", bytes_per_vector=enough, groups=(16,))


def test_budget_without_end_stops_at_float32() -> None:
    """A budget larger than any step needs gives the precision of float32."""
    rows = embeddings(200, 4)
    model = VectorModel.fit(rows, "pca", bytes_per_vector=1000.0, groups=(4,))
    assert np.abs(model.transform.reconstruct(model.transform.quantise(rows)) - rows).max() < 1e-6


def test_axes_are_principal() -> None:
    """Coordinates have descending variance, vectors take fewer bytes than on their own axes, and tables are shared."""
    rows, dim = embeddings(2000, 24), 24
    turned = VectorModel.fit(rows, "pca", max_error=0.01, groups=(dim,))
    own = VectorModel.fit(rows, "pca", max_error=0.01, rotate=False, groups=(dim,))
    variance = turned.transform.quantise(rows).var(axis=0)
    assert (variance[1:] <= variance[:-1] * 1.1).all()
    assert variance[0] > 10 * variance[-1]
    sizes = [len(VectorEncoder(model, True, 12).encode_run(rows[:1024])[0].data) for model in (turned, own)]
    assert sizes[0] < 0.8 * sizes[1]
    assert turned.tables is not None
    assert len(turned.tables.sizes) < dim
    best = np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1]
    assert np.allclose(variance * turned.transform.step**2, best, rtol=0.2, atol=turned.transform.step**2)


def test_prefix_is_the_first_coordinates() -> None:
    """A prefix are the coordinates along the first axes, or the first numbers where axes are kept."""
    rows, dim = embeddings(300, 12), 12
    turned = VectorModel.fit(rows, "pca", max_error=0.002, groups=(4, 12))
    own = VectorModel.fit(rows, "pca", max_error=0.002, rotate=False, groups=(4, 12))
    for model in (turned, own):
        integers = model.transform.quantise(rows)
        decoder = VectorDecoder(dim, model.groups, model)
        block = VectorEncoder(model, True, 3).encode_run(rows)[0]
        first = np.empty((300, 4), np.int32)
        decoder.decode_run([(memoryview(block.data), block.form, 0, first)])
        assert np.array_equal(first, integers[:, :4])
        found = decoder.prefix(first)
        assert found.dtype == np.float32
        if model is own:
            assert np.abs(found - rows[:, :4]).max() <= 0.00201
            assert np.array_equal(found, decoder.reconstruct(integers)[:, :4])
        else:
            exact = np.linalg.solve(model.transform.axes.T.astype(float), (rows - rows[0]).T.astype(float)).T
            assert np.abs((found - found[0]) - exact[:, :4]).max() <= 0.00402


def test_joint_decoding_is_that_of_single_blocks() -> None:
    """Runs of different lengths, groups and forms decode together to what they decode to alone."""
    dim, lengths = 10, [1024, 1, 700, 1024, 90, 13]
    model = VectorModel.fit(embeddings(2000, dim), "pca", max_error=0.005, groups=(3, 5, 10))
    all_integers = [model.transform.quantise(embeddings(n, dim, n)) for n in lengths]
    runs = VectorEncoder(model, True, 3).encode_integers(all_integers)
    runs[3] = [*in_lanes(model, all_integers[3])[:2], encode_planes(all_integers[3][:, 5:], 3)]
    assert {block.form & 15 for run in runs for block in run} == {0, 1}
    joint = decode_runs(model, runs, lengths)
    for run, n, found, integers in zip(runs, lengths, joint, all_integers, strict=True):
        assert np.array_equal(found, integers)
        assert np.array_equal(decode_runs(model, [run], [n])[0], integers)
    single = [VectorEncoder(model, True, 3).encode_run(embeddings(n, dim, n)) for n in lengths]
    assert single[0] == runs[0]


def test_blocks_of_other_lengths_are_not_padded_together() -> None:
    """A few long lanes beside very many short ones do not make one array of both."""
    dim = 512
    model = VectorModel.fit(vectors_of("normal", 100, dim, 0), "pca", max_error=0.3, rotate=False, groups=(1, dim))
    assert model.tables is not None
    long = np.zeros((8_000, 1), np.int32)
    short = [model.transform.quantise(vectors_of("normal", 1, dim, seed))[:, 1:] for seed in range(40)]
    blocks = encode_lanes_of(model.tables, [(long, (0, 1))])
    blocks += encode_lanes_of(model.tables, [(one, (1, dim)) for one in short])
    jobs = [
        (memoryview(block.data), block.form, min(at, 1), np.empty_like(long if at == 0 else short[0]))
        for at, block in enumerate(blocks)
        if block is not None
    ]
    with allocates_at_most(8 << 20):
        VectorDecoder(dim, (1, dim), model).decode_run(jobs)
    assert np.array_equal(jobs[5][3], short[4])


def test_memory_of_a_fit_does_not_grow_with_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit reads rows in stretches and keeps a sample of bounded size."""
    monkeypatch.setattr("tokstore.codecs.vector_model._SAMPLE_VALUES", 1 << 14)
    rows = np.random.default_rng(0).standard_normal((400_000, 8), dtype=np.float32)
    with allocates_at_most(4 << 20):
        VectorModel.fit(rows, "pca", max_error=0.1, groups=(8,))


def test_constant_dimensions_cost_nothing() -> None:
    """Dimensions that never change add no byte to a block of lanes."""
    rows = np.random.default_rng(0).standard_normal((1024, 4)).astype(np.float32)
    wide = np.concatenate([rows, np.zeros((1024, 60), np.float32)], axis=1)
    sizes = []
    for given_rows in (rows, wide):
        model = VectorModel.fit(given_rows, "pca", max_error=0.1, rotate=False, groups=(given_rows.shape[1],))
        sizes.append(len(in_lanes(model, model.transform.quantise(given_rows))[0].data))
    assert sizes[0] == sizes[1]


def test_bytes_are_near_the_entropy() -> None:
    """Lanes take what the distribution of the integers says, within a few per cent."""
    rows = np.random.default_rng(0).standard_normal((8192, 32)).astype(np.float32)
    model = VectorModel.fit(rows, "pca", max_error=0.2, rotate=False, groups=(32,))
    integers = model.transform.quantise(rows)
    blocks = VectorEncoder(model, True, 3).encode_integers([integers[at : at + 1024] for at in range(0, 8192, 1024)])
    share = np.unique(integers, return_counts=True)[1] / integers.size
    entropy = -(share * np.log2(share)).sum() * 32 / 8
    assert sum(len(run[0].data) for run in blocks) / 8192 < 1.02 * entropy


def test_same_vectors_give_the_same_bytes() -> None:
    """Fit and encoding are functions of their input."""
    rows = embeddings(1500, 16)
    made = []
    for _ in range(2):
        model = VectorModel.fit(rows.copy(), "pca", bytes_per_vector=14.0, groups=(4, 16))
        made.append((model.encode(), VectorEncoder(model, True, 12).encode_run(rows[:500])))
    assert made[0] == made[1]
    again = VectorModel.decode(made[0][0], 16, (4, 16))
    assert again.encode() == made[0][0]
    assert VectorEncoder(again, True, 12).encode_run(rows[:500]) == made[0][1]


@pytest.mark.parametrize("entropy", [True, False])
def test_int8_loses_nothing_outside_its_fit(entropy: bool) -> None:
    """Every number is within half its scale, also one that is larger than any in the fit."""
    rows = (embeddings(300, 8) * np.arange(1, 9)).astype(np.float32)
    model = VectorModel.fit(rows, "int8", groups=(8,), entropy=entropy)
    integers = model.transform.quantise(rows)
    assert np.abs(integers).max(axis=0).tolist() == [127] * 8
    assert model.transform.scales is not None
    assert (np.abs(model.transform.reconstruct(integers) - rows) <= model.transform.scales * 0.5001).all()
    far = rows[:20] * 1000
    blocks = VectorEncoder(model, entropy, 3).encode_run(far)
    found = model.transform.reconstruct(decode_runs(model, [blocks], [20])[0])
    assert np.abs(found / far - 1)[np.abs(far) > 1].max() < 0.01


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(bad: float) -> None:
    """NaN and infinity are refused by the fit and by the encoder, without the values in the message."""
    rows = embeddings(100, 4)
    model = VectorModel.fit(rows, "pca", max_error=0.1, groups=(4,))
    rows[70, 2] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        VectorModel.fit(rows, "pca", max_error=0.1, groups=(4,))
    with pytest.raises(ValueError, match="NaN or infinity"):
        VectorEncoder(model, True, 3).encode_run(rows)


def test_a_vector_too_far_out_is_refused() -> None:
    """An integer beyond i32 is an error and not another integer."""
    model = VectorModel.fit(embeddings(100, 4), "pca", max_error=1e-9, groups=(4,))
    with pytest.raises(ValueError, match=r"2\*\*31 steps"):
        VectorEncoder(model, True, 3).encode_run(np.full((1, 4), 100.0, np.float32))


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("pq", {}, "'pca' or 'int8'"),
        ("pca", {}, "either max_error or bytes_per_vector"),
        ("pca", {"max_error": 0.1, "bytes_per_vector": 9}, "either max_error or bytes_per_vector"),
        ("pca", {"max_error": 0.0}, "max_error is a positive number"),
        ("pca", {"max_error": float("nan")}, "max_error is a positive number"),
        ("int8", {"max_error": 0.1}, "int8 takes neither"),
        ("int8", {"groups": (4, 4)}, "groups are ascending ends"),
        ("int8", {"groups": (2, 3)}, "groups are ascending ends"),
    ],
)
def test_arguments_that_cannot_be(method: str, options: dict[str, Any], message: str) -> None:
    """Wrong arguments say what is wrong with them."""
    with pytest.raises(ValueError, match=message):
        VectorModel.fit(embeddings(80, 4), method, **{"groups": (4,), **options})


def test_quality_is_measured_on_rows_left_out() -> None:
    """Errors and recall get worse with the step, and the rows measured do not count in the fit."""
    rows = embeddings(2000, 16)
    coarse, fine = (
        measure(rows, VectorModel.fit(rows, "pca", max_error=error, groups=(16,))) for error in (0.1, 0.0005)
    )
    assert coarse.held_out == fine.held_out == len(held_out_rows(2000)) == 125
    assert 0.2 < coarse.recall10 < 0.9 < 0.97 < fine.recall10 <= 1
    assert coarse.rms > 20 * fine.rms > 0
    assert coarse.max >= coarse.rms
    assert coarse.bytes_per_vector < 0.5 * fine.bytes_per_vector
    changed = rows.copy()
    changed[held_out_rows(2000)] *= -40
    models = [VectorModel.fit(given, "pca", max_error=0.01, groups=(16,)).encode() for given in (rows, changed)]
    assert models[0] == models[1]


def test_quality_of_a_few_vectors() -> None:
    """Below 64 rows none is left out, and distances count where vectors have different lengths."""
    rows = embeddings(12, 4) * np.arange(1, 13, dtype=np.float32)[:, None]
    found = measure(rows, VectorModel.fit(rows, "pca", max_error=1e-4, groups=(4,)))
    assert (found.held_out, found.recall10) == (0, 1.0)


def test_reader_gives_the_same_numbers() -> None:
    """The slow reader reconstructs what the package does, within the tolerance of the page (codecs.md 6.1)."""
    rows, dim = embeddings(120, 9), 9
    for rotate in (True, False):
        model = VectorModel.fit(rows, "pca", groups=(4, 9), max_error=0.01, rotate=rotate)
        integers = model.transform.quantise(rows[:20])
        slow = reader.parse_model(model.encode(), dim)
        decoder = VectorDecoder(dim, (4, 9), model)
        bound = (dim + 8) * 2.0**-24 * np.abs(integers * model.transform.step).sum(axis=1, keepdims=True) + 1e-7
        assert (np.abs(np.array(reader.vectors(slow, integers.tolist())) - decoder.reconstruct(integers)) < bound).all()
        first = np.array(reader.coordinates(slow, integers[:, :4].tolist()))
        assert (np.abs(first - decoder.prefix(integers[:, :4])) < bound).all()
    model = VectorModel.fit(rows, "int8", groups=(9,))
    slow = reader.parse_model(model.encode(), dim)
    integers = model.transform.quantise(rows[:20])
    assert np.allclose(reader.vectors(slow, integers.tolist()), model.transform.reconstruct(integers), rtol=1e-6)


def test_example_of_the_page() -> None:
    """The bytes of codecs.md 6.4 are what this model and these rows give."""
    transform = Transform(
        TURNED,
        2,
        0.5,
        mean=np.array([1, 0], np.float32),
        rotation=np.array([[51, -38], [38, 51]], np.int16),
        bits=6,
    )
    one = np.array([1])
    tables = SymbolTables(np.array([1, 0]), one, -one, 2 * one, [np.array([192, 64])], 8)
    model = VectorModel(transform, (2,), tables)
    assert model.encode() == bytes.fromhex(EXAMPLE_MODEL)
    assert encode_planes(EXAMPLE_ROWS, 3) == EncodedBlock(bytes.fromhex(EXAMPLE_PLANES), 0)
    assert in_lanes(model, EXAMPLE_ROWS) == [EncodedBlock(bytes.fromhex(EXAMPLE_LANES), 1)]
    slow = reader.parse_model(bytes.fromhex(EXAMPLE_MODEL), 2)
    for form, data in enumerate((EXAMPLE_PLANES, EXAMPLE_LANES)):
        assert reader.decode_vectors(slow, 0, 2, form, 8, bytes.fromhex(data)) == EXAMPLE_ROWS.tolist()
    numbers = [[1.3984375, 0.296875], [0.203125, -0.59375], [0.109375, 1.1953125], [0.6015625, -0.296875]]
    assert transform.reconstruct(EXAMPLE_ROWS).tolist() == reader.vectors(slow, EXAMPLE_ROWS.tolist()) == numbers


def put(at: int, new: bytes) -> Callable[[bytes], bytes]:
    """Return a change of bytes at one place."""
    return lambda whole: whole[:at] + new + whole[at + len(new) :]


@pytest.mark.parametrize(
    "change",
    [
        put(0, b"\0"),
        put(0, b"\4"),
        put(0, b"\2"),  # a rotation where none belongs
        put(1, b"\0"),
        put(1, b"\3"),
        put(2, b"\x0f"),
        put(3, b"\1"),
        put(4, struct.pack("<I", 3)),
        put(8, struct.pack("<d", 2.0**-127)),
        put(8, struct.pack("<d", 2.0**128)),
        put(8, struct.pack("<d", -0.5)),
        put(8, struct.pack("<d", float("nan"))),
        put(16, struct.pack("<f", float("inf"))),
        put(28, b"\7"),
        put(28, b"\x10"),
        put(28, b"\0"),
        put(29, b"\1"),
        put(30, b"\3"),
        put(34, b"\2"),  # a class that is not there
        put(45, b"\x19"),
        put(55, struct.pack("<q", -(1 << 30) - 1)),
        put(55, struct.pack("<q", (1 << 30) - 1)),
        put(65, struct.pack("<q", 257)),
        put(65, struct.pack("<q", 0)),
        put(75, b"\xc1"),
        lambda whole: whole + b"\0",
        lambda whole: whole[:-1],
    ],
)
def test_rules_of_models(change: Callable[[bytes], bytes]) -> None:
    """Every rule of codecs.md 6.2, broken by one step, is found by the package and by the reader."""
    content = change(bytes.fromhex(EXAMPLE_MODEL))
    with pytest.raises(CorruptError):
        VectorModel.decode(content, 2, (2,))
    with pytest.raises(ReadError) as caught:
        reader.parse_model(content, 2)
    assert caught.value.kind == "corrupt"


def test_rules_of_scales() -> None:
    """Scales are above zero, and their model has no step."""
    content = VectorModel.fit(embeddings(80, 3), "int8", groups=(3,)).encode()
    for change in (put(8, struct.pack("<d", 0.5)), put(16, struct.pack("<f", 0)), put(16, struct.pack("<f", -1))):
        with pytest.raises(CorruptError, match="scales|step"):
            VectorModel.decode(change(content), 3, (3,))
        with pytest.raises(ReadError):
            reader.parse_model(change(content), 3)


LANES = bytes.fromhex(EXAMPLE_LANES)


@pytest.mark.parametrize(
    ("form", "data"),
    [
        (0x02, LANES),
        (0x11, LANES),
        (0x20, bytes.fromhex(EXAMPLE_PLANES)),
        (0x00, b"\3" + bytes(24)),
        (0x00, b"\2" + bytes(8)),
        (0x00, b"\1" + bytes(7)),
        (0x00, b"\1" + bytes(9)),
        (0x01, b""),
        (0x01, put(0, struct.pack("<I", 9))(LANES)),
        (0x01, put(6, struct.pack("<q", 8))(LANES)),
        (0x01, put(16, struct.pack("<q", 1 << 31))(LANES)),
        (0x01, put(24, b"\x19")(LANES)),  # a low bit past the last row
        (0x01, put(25, b"\5")(LANES)),
        (0x01, put(27, b"\xc1")(LANES)),
        (0x01, LANES + b"\0\0"),
        (0x01, struct.pack("<I", 2) + 2 * encode_packed([5, 5]) + LANES[24:]),
    ],
)
def test_rules_of_blocks(form: int, data: bytes) -> None:
    """Every rule of codecs.md 6.3 and 6.4, broken by one step, is found by the package and by the reader."""
    model = VectorModel.decode(bytes.fromhex(EXAMPLE_MODEL), 2, (2,))
    with pytest.raises(CorruptError):
        decode_blocks(model.tables, [Block(memoryview(data), form, (0, 2), np.empty((4, 2), np.int32))])
    with pytest.raises(ReadError):
        reader.decode_vectors(reader.parse_model(bytes.fromhex(EXAMPLE_MODEL), 2), 0, 2, form, 8, data)


def test_lanes_need_tables() -> None:
    """A model without tables refuses a block of lanes."""
    model = VectorModel(Transform(STEPPED, 2, 0.5), (2,), None)
    again = VectorModel.decode(model.encode(), 2, (2,))
    assert again.tables is None
    with pytest.raises(CorruptError, match="no tables"):
        decode_blocks(again.tables, [Block(memoryview(LANES), 1, (0, 2), np.empty((4, 2), np.int32))])


def test_damaged_models() -> None:
    """Cut and flipped models give an error or a model, in bounded memory, and what decodes with them is bounded."""
    rows = embeddings(200, 6)
    model = VectorModel.fit(rows, "pca", max_error=0.02, groups=(2, 6))
    blocks = in_lanes(model, model.transform.quantise(rows[:30]))

    def read(content: bytes) -> bytes:
        damaged = VectorModel.decode(content, 6, (2, 6))
        return decode_runs(damaged, [blocks], [30])[0].tobytes()

    check_reader(read, model.encode(), is_checked=False, flips=400)


@pytest.mark.parametrize("lanes", [True, False])
def test_damaged_blocks(lanes: bool) -> None:
    """Cut and flipped blocks give an error or other integers, in bounded memory."""
    rows = embeddings(200, 6)
    rows[3] *= 1000  # an exception
    model = VectorModel.fit(rows[50:], "pca", max_error=0.002, groups=(6,))
    integers = model.transform.quantise(rows[:30])
    block = in_lanes(model, integers)[0] if lanes else encode_planes(integers, 3)

    def read(data: bytes) -> bytes:
        return decode_runs(model, [[EncodedBlock(data, block.form)]], [30])[0].tobytes()

    check_reader(read, block.data, is_checked=False, flips=200)
