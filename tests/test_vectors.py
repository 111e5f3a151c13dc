"""The vectors of `spec/vectors` read twice: by the readable reader of `spec/readers/python`, and by the package.

Both must give the JSON that stands beside a good vector and the kind of error that a bad one asks for
(spec/vectors/README.md). The package is asked as a user would: `verify`, then `open`, then every column.
"""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from tokstore.column_types import ColumnType
from tokstore.deliver import deliver_batch
from tokstore.growth import append_shards
from tokstore.parts import decode_part, part_path, staged_parts
from tokstore.reading import read_rows
from tokstore.root import empty_root
from tokstore.soft_labels import soft_to_rows
from tokstore.version import Version

ROOT = Path(__file__).resolve().parents[1]
VECTORS = ROOT / "spec" / "vectors"
sys.path.insert(0, str(ROOT / "spec" / "readers" / "python"))

from tokread.columnfile import Stored  # noqa: E402  (the reader is no installed package)
from tokread.contents import Contents  # noqa: E402
from tokread.failure import ReadError  # noqa: E402
from tokread.printing import describe  # noqa: E402
from tokread.store import open_path  # noqa: E402
from tokread.vectors import vectors  # noqa: E402

KINDS: dict[str, type[ts.TokstoreError]] = {
    "truncated": ts.TruncatedError,
    "checksum": ts.ChecksumError,
    "corrupt": ts.CorruptError,
    "unsupported": ts.UnsupportedError,
    "missing": ts.MissingFileError,
}
OWN_ERRORS: dict[str, type[ts.TokstoreError]] = {
    "bad/missing_head": ts.NotAStoreError,
    "bad/root_none": ts.NotAStoreError,
    "bad/store_json_format": ts.NotAStoreError,
    "bad/store_json_no_format": ts.NotAStoreError,
    "bad/version_never": ts.VersionError,
    "bad/version_removed": ts.VersionError,
}
"""Folders that are no store, and versions that are not there: the package has errors of its own for them."""

NAMES = sorted(path.relative_to(VECTORS).with_suffix("").as_posix() for path in VECTORS.glob("*/*.vec"))


@dataclass
class Vector:
    """A vector with its content written to a folder."""

    expect: str
    version: int | None
    path: Path
    json: dict[str, Any] | None


def unpack(name: str, folder: Path) -> Vector:
    """Write the file or the store of a vector into a folder, as spec/vectors/README.md says."""
    data = (VECTORS / f"{name}.vec").read_bytes()
    text, body = data.split(b"\n\n", 1)
    lines = [tuple(line.split(": ", 1)) for line in text.decode().split("\n")]
    header = {key: value for key, value in lines if key != "file"}
    if "repeat" in header:
        at, count, byte = header["repeat"].split()
        body = body[: int(at)] + bytes.fromhex(byte) * int(count) + body[int(at) :]
    files = [value.rsplit(" ", 1) for key, value in lines if key == "file"]
    path = folder / ("store" if files else "file.tok")
    if not files:
        path.write_bytes(body)
    for file, size in files:
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_bytes(body[: int(size)])
        body = body[int(size) :]
    assert not files or body == b""
    beside = VECTORS / f"{name}.json"
    found = json.loads(beside.read_bytes()) if header["expect"] == "ok" else None
    return Vector(header["expect"], int(header["version"]) if "version" in header else None, path, found)


def long_values(raw: bytes, count: int) -> dict[str, str]:
    """Stand for many values by their count and digest."""
    return {"blake2b": hashlib.blake2b(raw, digest_size=32).hexdigest(), "values": str(count)}


def as_json(value: Any, kind: ColumnType, is_missing: bool) -> Any:
    """Give one value as it stands in the JSON of a vector."""
    if is_missing:
        return None
    if isinstance(kind, (ts.Text, ts.Category)):
        raw = value.encode()
        return value if len(raw) <= 256 else long_values(raw, len(raw))
    if isinstance(kind, ts.Bytes):
        return as_hex(value)
    if isinstance(kind, ts.SoftLabel):
        return [str(x) for x in soft_to_rows(kind, value)[0].tolist()]
    if isinstance(kind, ts.Tokens) and len(value) > 64:
        stored = value.astype("<u2" if kind.vocab_size <= 1 << 16 else "<u4")
        return long_values(stored.tobytes(), len(value))
    return nested(np.ma.getdata(value), kind)


def nested(value: Any, kind: ColumnType) -> Any:
    """Give an array as lists of scalars, or a scalar alone."""
    if np.ndim(value):
        return [nested(one, kind) for one in value]
    if kind.dtype_number == 10:  # bfloat16, handed out as float32
        return np.asarray(value, ">f4").tobytes()[:2].hex()
    if kind.has_nan:
        return np.asarray(value, kind.dtype.newbyteorder(">")).tobytes().hex()
    return str(int(value))


def read_with_package(path: Path, version: int | None) -> dict[str, Any]:
    """Read everything at a path with the package, and raise the first problem that it finds."""
    report = ts.verify(path, version)
    if report.problems:
        raise report.problems[0]
    store = ts.open(path, version)
    records = store.schema.records()
    columns: dict[str, list[Any]] = {}
    refused = []
    for name in store.schema.names:
        kind = store.schema[name]
        try:
            missing = store.missing(name)
            batch = store.take(slice(None), [name])[name]
        except ts.UnsupportedError:
            refused.append(name)
            continue
        columns[name] = [as_json(batch[i], kind, bool(missing[i])) for i in range(len(store))]
    ids = store.take(slice(None), [])["sample_id"]
    return {
        "attachments": {name: as_hex(store.attachments[name]) for name in store.attachments},
        "columns": [as_column(record) for record in records],
        "metadata": store.metadata or None,
        "refused": sorted(refused),
        "samples": [
            {"id": str(ids[i]), **{name: values[i] for name, values in columns.items()}} for i in range(len(store))
        ],
        "version": str(store.version),
        "parts": {name: part_with_package(store, name) for name in staged_parts(store.storage)},
        "views": {info.name: view_with_package(store, info.name) for info in store.views()},
    }


def as_column(record: Any) -> dict[str, Any]:
    """Give a column record as it stands in the JSON of a vector."""
    return {
        "id": str(record[1]),
        "name": record[2],
        "optional": record[5],
        "parameters": plain(record[4]),
        "type": str(record[3]),
    }


def part_with_package(store: ts.Store, name: str) -> dict[str, Any]:
    """Read a staged part with the package, as the store of its own that it nearly is."""
    data = (Path(store.path) / part_path(name)).read_bytes()
    part = decode_part(data, part_path(name))
    new = part.shards
    root = append_shards(empty_root(bytes(16), new.schema, {}, None, 0), new, lambda record, what: b"")
    alone = Version(store.storage, root)
    rows = {c.name: read_rows(alone, [c], alone.locate(np.arange(new.samples)))[c.name] for c in new.schema.columns}
    given = {c.name: deliver_batch(c, rows[c.name]) for c in new.schema.columns}
    ids = np.concatenate([np.arange(a, a + n) for a, n in zip(new.page.id_first, new.page.id_samples, strict=True)])
    return {
        "begun": str(part.base_version),
        "column": None if part.column is None else as_column(part.column.record()),
        "nonce": part.nonce.hex(),
        "samples": [
            {"id": str(sample)}
            | {
                one: as_json(given[one][i], new.schema[one], valid is not None and not valid[i])
                for one, valid in ((one, rows[one].valid) for one in rows)
            }
            for i, sample in enumerate(ids)
        ],
    }


def view_with_package(store: ts.Store, name: str) -> dict[str, Any]:
    """Load a saved view with the package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # samples that are gone: their number is compared
        view = store.load(name)
    (info,) = [one for one in store.views() if one.name == name]
    weights = [str(round(x * 2**16)) for x in view.weights.tolist()] if info.is_weighted else None
    return {
        "columns": None if view.schema == store.schema else list(view.schema.names),
        "left_out": str(info.samples - len(view)),
        "samples": [str(x) for x in view["sample_id"]],
        "verbs": info.recipe,
        "version": str(info.version),
        "weights": weights,
    }


def as_hex(data: bytes) -> Any:
    """Give bytes as they stand in the JSON of a vector."""
    return data.hex() if len(data) <= 256 else long_values(data, len(data))


def plain(parameters: Any) -> dict[str, Any]:
    """Give the parameters of a type as they stand in the JSON of a vector."""
    return {str(key): plain_value(value) for key, value in parameters.items()}


def plain_value(value: Any) -> Any:
    """Give one parameter as it stands in the JSON of a vector."""
    if isinstance(value, (list, tuple)):
        return [plain_value(item) for item in value]
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    return value if isinstance(value, (str, bool)) else str(value)


def compare_turned(found: dict[str, Any], wanted: dict[str, Any], contents: Contents) -> None:
    """Compare the numbers of vectors of codec 5 with the stored integers of the JSON, which then stand in both."""
    for name, rows in contents.rows.items():
        for row, sample in zip(rows, found["samples"], strict=True):
            if isinstance(row, Stored):
                numbers = np.frombuffer(bytes.fromhex("".join(sample[name])), ">f4")
                exact = np.array(vectors(row.model, [row])[0])
                size = 1 + np.abs(exact).sum() + sum(map(abs, row)) * row.model.step + sum(map(abs, row.model.mean))
                assert np.abs(numbers - exact).max() <= (len(row) + 8) * 2.0**-24 * size
                sample[name] = [str(x) for x in row]


def expected_of_package(wanted: dict[str, Any]) -> dict[str, Any]:
    """Reduce the JSON of a vector to what the public names of the package tell; a single file is version 1."""
    kept = {key: wanted[key] for key in ("attachments", "columns", "refused", "samples")}
    metadata = None if wanted["metadata"] is None else json.loads(wanted["metadata"])
    parts, views = wanted.get("parts", {}), wanted.get("views", {})
    unseen = {"columns", "refused", "spans"}
    return kept | {
        "metadata": metadata,
        "version": wanted.get("store", {"version": "1"})["version"],
        "parts": {name: {k: v for k, v in one.items() if k not in unseen} for name, one in parts.items()},
        "views": {
            name: {k: v for k, v in one.items() if k not in ("created", "columns_left_out")}
            | {"verbs": ".".join(one["verbs"]) or "all"}
            for name, one in views.items()
        },
    }


def test_there_are_vectors() -> None:
    """Good and bad vectors are there, every good one has its JSON, and no bad one has."""
    assert len(NAMES) >= 1000
    with_json = {path.relative_to(VECTORS).with_suffix("").as_posix() for path in VECTORS.glob("*/*.json")}
    assert with_json == {name for name in NAMES if name.startswith("good/")}


def test_vectors_are_those_of_the_generator() -> None:
    """The generator would write the very same files."""
    script = VECTORS / "make_vectors.py"
    done = subprocess.run([sys.executable, str(script), "--verify"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_missing_vector_is_noticed(tmp_path: Path) -> None:
    """`--verify` fails when a vector is gone, and does not write it."""
    import shutil

    copy = tmp_path / "spec" / "vectors"
    shutil.copytree(VECTORS, copy)
    gone = copy / "bad" / "cut_half.vec"
    gone.unlink()
    done = subprocess.run(
        [sys.executable, str(copy / "make_vectors.py"), "--verify"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "bad/cut_half.vec: is missing" in done.stderr
    assert not gone.exists()


@pytest.mark.parametrize("name", NAMES)
def test_readable_reader(name: str, tmp_path: Path) -> None:
    """The readable reader finds the JSON, or the kind of error."""
    vector = unpack(name, tmp_path)
    if vector.json is not None:
        assert describe(open_path(vector.path, vector.version)) == vector.json
        return
    with pytest.raises(ReadError) as caught:
        open_path(vector.path, vector.version)
    assert caught.value.kind == vector.expect, str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_package(name: str, tmp_path: Path) -> None:
    """The package finds the JSON, or raises the class of the kind and no class below it."""
    vector = unpack(name, tmp_path)
    if vector.json is not None:
        found, wanted = read_with_package(vector.path, vector.version), expected_of_package(vector.json)
        compare_turned(found, wanted, open_path(vector.path, vector.version))
        assert found == wanted
        return
    kind = OWN_ERRORS.get(name, KINDS[vector.expect])
    with pytest.raises(kind) as caught:
        read_with_package(vector.path, vector.version)
    assert type(caught.value) is kind, str(caught.value)


def test_reader_script_prints_json(tmp_path: Path) -> None:
    """`read.py` prints the JSON of a vector byte for byte, and one line for a bad file."""
    script = ROOT / "spec" / "readers" / "python" / "read.py"
    vector = unpack("good/store_version_1", tmp_path)
    done = subprocess.run([sys.executable, str(script), str(vector.path), "1"], capture_output=True, timeout=60)
    assert done.stdout == (VECTORS / "good" / "store_version_1.json").read_bytes()
    bad = unpack("bad/id_u16", tmp_path)
    done = subprocess.run([sys.executable, str(script), str(bad.path)], capture_output=True, timeout=60)
    assert done.returncode == 1
    assert b"corrupt: id 100 is not below vocab_size 100 (codecs.md 2)" in done.stderr


def test_version_that_was_removed_is_missing(tmp_path: Path) -> None:
    """The empty root of an older version is one that is gone, that of the newest version is cut (format.md 9.2)."""
    vector = unpack("good/store_version_1", tmp_path)
    for version, kind in ((1, "missing"), (2, "truncated")):
        (vector.path / "manifests" / f"{version:020d}.tsm").write_bytes(b"")
        with pytest.raises(ReadError) as caught:
            open_path(vector.path, version)
        assert caught.value.kind == kind


def test_every_truncation_of_a_file_is_truncated(tmp_path: Path) -> None:
    """Whatever the length at which a data file is cut, both readers call it truncated."""
    whole = unpack("good/missing_tokens", tmp_path).path.read_bytes()
    path = tmp_path / "cut.tok"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ReadError) as caught:
            open_path(path)
        assert caught.value.kind == "truncated", size
        with pytest.raises(ts.TruncatedError):
            ts.open(path)


def test_no_flipped_bit_gives_other_values(tmp_path: Path) -> None:
    """With any one bit flipped, the readable reader gives the same values or a `ReadError`, never anything else."""
    vector = unpack("good/four_columns", tmp_path)
    whole = vector.path.read_bytes()
    for at in range(len(whole)):
        flipped = whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        vector.path.write_bytes(flipped)
        try:
            found = describe(open_path(vector.path))
        except ReadError:
            continue
        assert found == vector.json, at


@pytest.mark.parametrize("level", ["plain", "fast", "default", "small"])
@pytest.mark.parametrize(("vocab_size", "suffix"), [(300, ".tok"), (300, ""), (200_000, "")])
def test_readable_reader_reads_what_the_package_writes(
    level: str, vocab_size: int, suffix: str, tmp_path: Path
) -> None:
    """Stores of every level, with several shards and versions, pass all checks of the readable reader."""
    rng = np.random.default_rng(vocab_size)
    count = 600
    lengths = rng.integers(0, 60, count)
    lengths[[7, 300]] = (40_000, 32_768)
    ids = (rng.zipf(1.2, int(lengths.sum())) - 1) % vocab_size
    columns = {
        "tokens": ts.Ragged(ids.astype(np.int64), lengths),
        "quality": [None if x < 0.2 else float("nan") if x < 0.3 else float(x) for x in rng.random(count)],
        "kind": rng.integers(0, 3, count),
        "number": rng.integers(-(2**63), 2**63 - 1, count),
        "url": [None if x < 0.3 else "ü" * int(x * 100) for x in rng.random(count)],
    }
    schema = ts.Schema(
        tokens=ts.Tokens(vocab_size, eos_id=0),
        quality=ts.Score("float16", optional=True),
        kind=ts.Label(names=["a", "b", "c"]),
        number=ts.Label(),
        url=ts.Text(optional=True),
    )
    path = tmp_path / f"store{suffix}"
    options: dict[str, Any] = {} if suffix else {"shard_tokens": 50_000}
    attachments = {"tokenizer.json": b"{}"}
    with ts.create(path, schema, level=level, attachments=attachments, metadata={"a": 1}, **options) as writer:
        writer.extend(**columns)
    if not suffix:
        with ts.open(path).writer(**options) as writer:
            writer.extend(**columns)
    found = open_path(path)
    times = 1 if suffix else 2
    assert found.rows["tokens"] == columns["tokens"].to_list() * times
    assert [None if x is None else bytes(x).decode() for x in found.rows["url"]] == columns["url"] * times
    assert [None if x is None else x[0] for x in found.rows["quality"]] == [
        None if x is None else int(np.float16(x).view(np.uint16)) for x in columns["quality"] * times
    ]
    assert [x and x[0] for x in found.rows["kind"]] == columns["kind"].tolist() * times
    assert [x and x[0] for x in found.rows["number"]] == [int(x) % 2**64 for x in columns["number"]] * times
    assert found.sample_ids == list(range(count * times))
    assert found.attachments == {"tokenizer.json": b"{}"}
    assert json.loads(found.metadata or "") == {"a": 1}
    assert suffix or len(found.spans) >= 2 * times


def test_readable_reader_counts_rows_of_fixed_shape(tmp_path: Path) -> None:
    """Where the primary column has several values a row, page records, plans and deletions count rows."""
    schema = ts.Schema(place=ts.Vector(3, optional=True))
    with ts.create(tmp_path / "s", schema) as writer:
        writer.extend(place=[None if i == 4 else np.full(3, i, np.float32) for i in range(9)])
    store = ts.open(tmp_path / "s")
    store.delete([1, 4])
    assert open_path(tmp_path / "s").sample_ids == [0, 2, 3, 5, 6, 7, 8]


def sixteen(values: Any) -> Any:
    """Round numbers to float16."""
    return np.asarray(values).astype(np.float16)


def cut_to_bf16(values: Any) -> Any:
    """Leave as much of numbers as a bfloat16 holds."""
    return (np.asarray(values, np.float32).view(np.uint32) >> 16 << 16).view(np.float32)


@pytest.mark.parametrize("level", ["plain", "fast", "default", "small"])
def test_readable_reader_reads_every_type_that_the_package_writes(level: str, tmp_path: Path) -> None:
    """A store with a column of every type gives the readable reader what the package reads."""
    rng = np.random.default_rng(7)
    count = 300
    lengths = rng.integers(0, 20, count)
    schema = ts.Schema(
        tokens=ts.Tokens(300),
        mask=ts.Mask(of="tokens"),
        vector=ts.Vector(40, groups=(8, 40)),
        half=ts.Vector(6, "float16", optional=True),
        step=ts.Vector(12, codec="pca", max_error=0.01, rotate=False),
        axes=ts.Vector(12, codec="pca", max_error=0.01, groups=(4, 12)),
        scales=ts.Vector(12, codec="int8"),
        score=ts.Score("float32", max_error=0.001),
        kinds=ts.Label(5, shape=(None,)),
        soft=ts.SoftLabel(7, top=2),
        dense=ts.SoftLabel(3, dtype="uint8", optional=True),
        source=ts.Category(optional=True),
        raw=ts.Bytes(),
        frames=ts.Array("bfloat16", (None, 2)),
        grid=ts.Array("int32", (2, 3)),
        codes=ts.Codes(50, (3, 4)),
        flags=ts.Array(bool, (5,)),
        wide=ts.Array("uint64"),
    )
    order = np.argsort(rng.random((count, 7)), axis=1)[:, :2]
    columns: dict[str, Any] = {
        "tokens": [rng.integers(0, 300, n) for n in lengths],
        "mask": [rng.random(n) < 0.1 for n in lengths],
        "vector": rng.normal(size=(count, 40)).astype(np.float32),
        "half": [None if x < 0.2 else sixteen(rng.normal(size=6)).astype(np.float32) for x in rng.random(count)],
        "step": rng.normal(size=(count, 12)).astype(np.float32),
        "axes": (rng.normal(size=(count, 12)) * np.arange(1, 13)).astype(np.float32),
        "scales": rng.normal(size=(count, 12)).astype(np.float32),
        "score": rng.random(count),
        "kinds": [rng.integers(0, 5, n) for n in lengths],
        "soft": (order, sixteen(rng.random((count, 2))).astype(np.float32)),
        "dense": [None if x < 0.2 else np.float32([51, 102, 102]) / np.float32(255) for x in rng.random(count)],
        "source": [None if x < 0.2 else f"größe {int(x * 5)}" for x in rng.random(count)],
        "raw": [rng.bytes(n) for n in lengths],
        "frames": [cut_to_bf16(rng.normal(size=(n, 2))) for n in lengths],
        "grid": rng.integers(-(2**31), 2**31, (count, 2, 3)),
        "codes": rng.zipf(1.5, (count, 3, 4)) % 50,
        "flags": rng.random((count, 5)) < 0.5,
        "wide": rng.integers(0, 2**64, count, dtype=np.uint64),
    }
    path = tmp_path / "store"
    with ts.create(path, schema, level=level, shard_tokens=1500) as writer:
        writer.extend(**columns)
    contents = open_path(path)
    assert not contents.refused
    found, wanted = read_with_package(path, None), expected_of_package(describe(contents))
    compare_turned(found, wanted, contents)
    for mine, other in zip(found["samples"], wanted["samples"], strict=True):
        assert mine == other
    assert found == wanted
    assert {name for name, rows in contents.rows.items() if isinstance(rows[0], Stored)} == {"step", "axes", "scales"}
