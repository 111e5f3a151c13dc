"""Single data files: round trip, exact bytes, and damage of every kind (format.md 4)."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokstore as ts
from contracts import allocates_at_most
from files import FILE_ID, SAMPLES, SCHEMA, MemoryStorage, read_all, read_bytes, reseal, write_file, write_samples
from tokstore.format import COLUMN_ENTRY, FOOTER_BYTES, HEADER_BYTES, Footer

TINY = ts.Schema(t=ts.Tokens(300, optional=True))
TINY_SAMPLES: list[dict[str, Any]] = [{"t": [1, 2, 3]}, {"t": []}, {"t": None}, {"t": [299]}]


def write_tiny(path: Path, *, zstd: bool = True) -> bytes:
    """Write a file with a fixed id and writer, and perhaps without any compression."""
    with ExitStack() as patches:
        patches.enter_context(mock.patch("tokstore.writing.secrets.token_bytes", lambda n: FILE_ID[:n]))
        patches.enter_context(mock.patch("tokstore.writing.__version__", "0"))
        if not zstd:
            patches.enter_context(mock.patch("tokstore.frames.compress", lambda content, *rest: bytes(content)))
        write_samples(path, TINY, TINY_SAMPLES, level="plain")
    return path.read_bytes()


@pytest.mark.parametrize("level", ["plain", "fast", "default", "small"])
def test_single_file_round_trips(level: str, tmp_path: Path) -> None:
    """Values, schema, attachments and metadata of a single file are those of the folder."""
    extra: dict[str, Any] = {"attachments": {"b": b"x" * 300, "a": b"\0"}, "metadata": {"é": [1, None]}, "level": level}
    alone = write_file(tmp_path / "x.tok", **extra)
    folder = write_samples(tmp_path / "s", SCHEMA, SAMPLES, **extra)
    assert read_all(alone) == read_all(folder)
    assert ts.verify(alone).problems == []
    store = ts.open(alone)
    assert store.attachments["a"] == b"\0"
    assert sorted(store.attachments) == ["a", "b"]
    assert store.metadata == {"é": [1, None]}
    assert [one.version for one in store.versions()] == [1]


@pytest.mark.parametrize("count", [0, 1])
def test_single_file_of_few_samples(count: int, tmp_path: Path) -> None:
    """No samples at all, and one, are stores like others."""
    alone = write_file(tmp_path / "x.tok", SAMPLES[:count])
    assert len(ts.open(alone)) == count
    assert ts.verify(alone).problems == []
    assert ts.open(alone).take([])["tokens"].to_list() == []


def test_golden_bytes(tmp_path: Path) -> None:
    """A file in which nothing is compressed has these very bytes, whatever the version of zstd."""
    expected = (Path(__file__).parent / "data" / "tiny_0_1_0.hex").read_text(encoding="utf-8")
    assert write_tiny(tmp_path / "x.tok", zstd=False).hex("\n", 32) == expected.strip()


def test_golden_file_is_read(tmp_path: Path) -> None:
    """A file of release 0.1.0 stays readable."""
    raw = bytes.fromhex((Path(__file__).parent / "data" / "tiny_0_1_0.hex").read_text(encoding="utf-8"))
    (tmp_path / "x.tok").write_bytes(raw)
    found = list(ts.open(tmp_path / "x.tok"))
    assert [None if one["t"] is None else one["t"].tolist() for one in found] == [[1, 2, 3], [], None, [299]]


def test_layout(tmp_path: Path) -> None:
    """Header, blocks, copy, tables, rows sections, index, footer; nothing is compressed in this file."""
    data = write_tiny(tmp_path / "x.tok", zstd=False)
    footer = Footer.decode(data[-FOOTER_BYTES:], len(data))
    assert data[:8] == b"TOKSDATA"
    assert data[24:40] == FILE_ID
    assert data[HEADER_BYTES : HEADER_BYTES + 8] == struct.pack("<4H", 1, 2, 3, 299)
    assert footer.copy_offset == HEADER_BYTES + 8
    copy, original = data[footer.copy_offset : footer.tail_offset], data[footer.tail_offset : -FOOTER_BYTES]
    assert copy == original
    assert data[-16:-8] == b"TOKSTAIL"


def test_every_truncation_is_truncated(tmp_path: Path) -> None:
    """A file that is cut anywhere, or has a byte too many, is refused as that."""
    data = write_tiny(tmp_path / "x.tok")
    path = tmp_path / "cut.tok"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ts.TruncatedError) as caught:
            ts.open(path)
        assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(ts.CorruptError):
        read_bytes(data + b"\0")


@pytest.mark.hostile
def test_every_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    """Every bit of every byte that reading touches: a `CorruptError`, never other values.

    Bytes that reading never asks for cannot change what it returns; `verify` finds those.
    """
    data = write_tiny(tmp_path / "x.tok")
    storage = MemoryStorage({"x.tok": data})
    expected = read_bytes(data, storage)
    touched = sorted({at for _, at in storage.asked})
    footer = Footer.decode(data[-FOOTER_BYTES:], len(data))
    assert set(range(len(data))) - set(touched) == set(range(footer.copy_offset, footer.tail_offset))
    with allocates_at_most(8 << 20):
        for at in touched:
            for bit in range(8):
                damaged = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
                try:
                    found = read_bytes(damaged)
                except (ts.CorruptError, ts.UnsupportedError):
                    continue
                pytest.fail(f"bit {bit} of byte {at} went unnoticed" + (": other values" if found != expected else ""))


def test_verify_finds_every_flipped_byte(tmp_path: Path) -> None:
    """Whatever byte is damaged, also in the copy, `verify` reports it or the file does not open."""
    data = write_tiny(tmp_path / "x.tok")
    path = tmp_path / "x.tok"
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        try:
            report = ts.verify(path)
        except ts.TokstoreError:
            continue
        assert report.problems, at


@pytest.mark.hostile
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3), st.booleans())
def test_sealed_damage(changes: list[tuple[int, int]], tail_only: bool) -> None:
    """Wrong bytes under right checksums give values or a `TokstoreError`, never another exception or much memory."""
    original = four_columns()
    footer = Footer.decode(original[-FOOTER_BYTES:], len(original))
    first = footer.tail_offset if tail_only else 0
    data = bytearray(original)
    for at, value in changes:
        data[first + at % (len(data) - first)] = value
    with allocates_at_most(200 << 20):
        try:
            read_bytes(reseal(bytes(data)))
        except ts.TokstoreError:
            return


@cache
def four_columns() -> bytes:
    """Return a file of four columns, with an attachment and metadata."""
    with TemporaryDirectory() as folder:
        path = write_file(Path(folder) / "x.tok", attachments={"a": b"abc"}, metadata={"k": 1}, level="plain")
        return path.read_bytes()


def test_resealing_a_sound_file_changes_nothing() -> None:
    """The function that seals damaged files makes the very checksums of the writer."""
    assert reseal(four_columns()) == four_columns()


def test_swapped_blocks_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks of equal length that changed places have right bytes in wrong places, and are refused."""
    monkeypatch.setattr(ts.Tokens, "block_target", 4)
    samples = [{"t": [1, 2, 3, 4]}, {"t": [5, 6, 7, 8]}]
    path = write_samples(tmp_path / "x.tok", TINY, samples, level="plain")
    data = path.read_bytes()
    first, second = struct.pack("<4H", 1, 2, 3, 4), struct.pack("<4H", 5, 6, 7, 8)
    a, b = data.index(first), data.index(second)
    swapped = bytearray(data)
    swapped[a : a + 8], swapped[b : b + 8] = second, first
    path.write_bytes(swapped)
    for position, block in ((0, 0), (1, 1)):
        with pytest.raises(ts.ChecksumError) as caught:
            ts.open(path)[position]
        text = f"column 0, block {block} checksum differs: expected 0x"
        assert text in str(caught.value)
        assert f" at byte {(a, b)[block]} (format.md 2.2)" in str(caught.value)
    assert len(ts.verify(path).problems) == 1


def test_block_of_another_file_is_found(tmp_path: Path) -> None:
    """The same block in a file with another id has another checksum."""
    one = write_samples(tmp_path / "a.tok", TINY, TINY_SAMPLES, level="plain").read_bytes()
    two = write_samples(tmp_path / "b.tok", TINY, [{"t": [9, 9, 9]}, *TINY_SAMPLES[1:]], level="plain").read_bytes()
    (tmp_path / "b.tok").write_bytes(
        two[:HEADER_BYTES] + one[HEADER_BYTES : HEADER_BYTES + 8] + two[HEADER_BYTES + 8 :]
    )
    with pytest.raises(ts.ChecksumError):
        ts.open(tmp_path / "b.tok")[0]


def test_padding_is_verified(tmp_path: Path) -> None:
    """A byte in the zero padding before a block changes no value; `verify` finds it, reading does not ask."""
    path = write_file(tmp_path / "x.tok", level="plain")
    data = path.read_bytes()
    footer = Footer.decode(data[-FOOTER_BYTES:], len(data))
    at = next(i for i in range(HEADER_BYTES, footer.copy_offset) if data[i - 8 : i + 8] == bytes(16))
    expected = read_all(path)
    path.write_bytes(data[:at] + b"\1" + data[at + 1 :])
    assert read_all(path) == expected
    assert any("padding before a block is not zero" in str(one) for one in ts.verify(path).problems)


@pytest.mark.parametrize("field", ["rows", "columns", "objects", "metadata_bytes"])
def test_hostile_counts_do_not_allocate(field: str, tmp_path: Path) -> None:
    """Counts of the index that lie, under right checksums, are refused before memory is taken."""
    data = bytearray(write_tiny(tmp_path / "x.tok"))
    footer = Footer.decode(data[-FOOTER_BYTES:], len(data))
    offset, width = {"rows": (0, 8), "columns": (8, 4), "objects": (12, 4), "metadata_bytes": (16, 4)}[field]
    for value in (1 << 24, (1 << 24) + 1, 65_535, (1 << 8 * width) - 1):
        at = footer.index_offset + offset
        data[at : at + width] = value.to_bytes(width, "little")
        with allocates_at_most(1 << 20), pytest.raises(ts.CorruptError):
            read_bytes(reseal(bytes(data)))


@pytest.mark.parametrize("name", ["values", "blocks", "table_content_bytes", "rows_content_bytes", "table_bytes"])
def test_hostile_entries_do_not_allocate(name: str, tmp_path: Path) -> None:
    """Numbers of a column entry that lie, under right checksums, are refused before memory is taken."""
    offset, width = COLUMN_ENTRY.fields[name][1], COLUMN_ENTRY.fields[name][0].itemsize  # type: ignore[index]
    for value in (0, 5, 1 << 24, (1 << 8 * width) - 1):
        data = bytearray(write_tiny(tmp_path / f"{value}.tok"))
        footer = Footer.decode(data[-FOOTER_BYTES:], len(data))
        at = footer.index_offset + 32 + offset
        data[at : at + width] = value.to_bytes(width, "little")
        with allocates_at_most(1 << 20), pytest.raises(ts.CorruptError):
            read_bytes(reseal(bytes(data)))


@pytest.mark.parametrize("name", ["values", "stored_bytes"])
def test_hostile_totals_of_an_unknown_column(name: str, tmp_path: Path) -> None:
    """Where a required feature is unknown, nothing else is known of the column; its totals still have bounds."""
    data = bytearray(write_tiny(tmp_path / "x.tok"))
    at = Footer.decode(data[-FOOTER_BYTES:], len(data)).index_offset + 32
    data[at + 20 : at + 24] = (1 << 31).to_bytes(4, "little")
    (tmp_path / "y.tok").write_bytes(reseal(bytes(data)))
    assert len(ts.open(tmp_path / "y.tok")) == len(TINY_SAMPLES)
    offset = COLUMN_ENTRY.fields[name][1]  # type: ignore[index]
    data[at + offset : at + offset + 8] = (1 << 63).to_bytes(8, "little")
    (tmp_path / "y.tok").write_bytes(reseal(bytes(data)))
    with pytest.raises(ts.CorruptError, match="more values or stored bytes") as caught:
        ts.open(tmp_path / "y.tok")
    assert caught.value.rule == "format.md 4.7"
