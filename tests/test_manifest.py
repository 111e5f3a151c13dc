"""Roots, pages and hints: limits, damage, and how the newest version is found (format.md 3, 8, 9)."""

from __future__ import annotations

import json
import shutil
import struct
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokstore as ts
from contracts import allocates_at_most, check_reader
from files import SAMPLES, SCHEMA, crowding_name, data_files, tree, write_samples
from tokstore.format import MAX_ROOT_BYTES, unwrap, wrap
from tokstore.manifest import find_newest, read_json, read_root, root_path, write_json
from tokstore.pages import Page
from tokstore.plan import Plan
from tokstore.root import Root
from tokstore.storage import LocalStorage
from tokstore.wire import checksum, decode_metadata, digest, encode_metadata

TINY = ts.Schema(t=ts.Tokens(9))
SCALARS = st.one_of(
    st.integers(-5, 2**64 - 1), st.text(max_size=3), st.binary(max_size=200), st.booleans(), st.floats(allow_nan=False)
)
ITEMS = st.dictionaries(st.integers(0, 9), st.one_of(SCALARS, st.lists(SCALARS, max_size=4)), max_size=3)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of three versions with one sample more in each."""
    write_samples(tmp_path / "s", TINY, [{"t": [1]}])
    for _ in range(2):
        with ts.open(tmp_path / "s").writer() as writer:
            writer.append(t=[2])
    return tmp_path / "s"


def sealed(framed: bytes) -> bytes:
    """Add the checksum that a root ends in."""
    return framed + struct.pack("<Q", checksum(framed))


def change_root(store: Path, version: int, **changes: Any) -> None:
    """Write a root anew with other fields."""
    path = store / root_path(version)
    path.write_bytes(replace(Root.decode(path.read_bytes()), **changes).encode()[0])


def write_crowded(folder: Path, samples: list[dict[str, Any]]) -> Path:
    """Create a store whose root has no room for pages and plans, since an attachment has a very long name."""
    plain = write_samples(folder / "plain", TINY, samples, attachments={"": b""}, shard_tokens=1)
    named = {crowding_name(plain): b""}
    return write_samples(folder / "crowded", TINY, samples, attachments=named, shard_tokens=1)


@cache
def some_root() -> bytes:
    """Return a root with everything in it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        write_samples(path, SCHEMA, SAMPLES, attachments={"a": b"x"}, metadata={"k": 1}, shard_tokens=5)
        root = Root.decode((path / root_path(1)).read_bytes())
        changed = replace(root, tags={"v1": 1}, current_objects={0: (bytes(32), 5)}, part_nonces=bytes(32))
        return changed.encode()[0]


def root_facts(root: Root) -> list[str]:
    """Return all fields of a root as text."""
    return [f"{name}: {value!r}" for name, value in sorted(root.__dict__.items()) if name != "pages"] + [
        root.pages.tobytes().hex()
    ]


def test_roots_round_trip() -> None:
    """Every field comes back, and encodes to the same bytes."""
    root = Root.decode(some_root())
    again, files = root.encode()
    assert again == some_root()
    assert files == []
    assert root.tags == {"v1": 1}
    assert root.attachments["a"][2] == 1


@pytest.mark.hostile
def test_damaged_roots() -> None:
    """Every truncation and many flipped bits of a root are noticed."""
    check_reader(lambda data: root_facts(Root.decode(data)), some_root(), is_checked=True, flips=1500, allowed=16 << 20)


@pytest.mark.hostile
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3))
def test_sealed_roots(changes: list[tuple[int, int]]) -> None:
    """Wrong bytes under a right checksum are a root or a `TokstoreError`, never another exception."""
    data = bytearray(some_root()[:-8])
    for at, value in changes:
        data[at % len(data)] = value
    with allocates_at_most(80 << 20):
        try:
            Root.decode(sealed(bytes(data)))
        except ts.TokstoreError:
            return


@pytest.mark.hostile
@given(st.sampled_from(range(1, 18)), st.one_of(SCALARS, st.lists(SCALARS, max_size=5), ITEMS))
def test_fields_of_another_kind(key: int, value: Any) -> None:
    """Any field of a root with any other value is a root or a `TokstoreError`."""
    raw = some_root()
    body_bytes, inline_bytes = struct.unpack_from("<II", raw, 24)
    body = decode_metadata(raw[32 : 32 + body_bytes])
    body[key] = value
    data = encode_metadata(body)
    framed = raw[:24] + struct.pack("<II", len(data), inline_bytes) + data + raw[32 + body_bytes : -8]
    try:
        Root.decode(sealed(framed))
    except ts.TokstoreError:
        return


def page_of(root: Root, number: int = 0) -> tuple[bytes, bytes]:
    """Return the bytes of an inline page and its plan."""
    record = root.pages[number]
    return root.inline[record["page_digest"].tobytes()], root.inline[record["plan_digest"].tobytes()]


def content_of(data: bytes) -> Any:
    """Return the map in a wrapped part."""
    return decode_metadata(unwrap(data[:8], data))


@pytest.mark.hostile
def test_damaged_pages_and_plans() -> None:
    """Whatever happens to a page or plan before its digest is checked, only `TokstoreError` comes out."""
    root = Root.decode(some_root())
    page, plan = page_of(root)
    shards = int(root.pages["shards"][0])
    check_reader(lambda data: repr(Page.decode(data, root.schema)), page, is_checked=False, flips=400, allowed=80 << 20)
    check_reader(lambda data: repr(Plan.decode(data, shards)), plan, is_checked=False, flips=400, allowed=80 << 20)


@pytest.mark.hostile
@given(st.data())
def test_pages_with_wrong_fields(data: st.DataObject) -> None:
    """Any field of a page, a placement or a plan with other packed bytes, or of another kind, is refused or read."""
    root = Root.decode(some_root())
    shards = int(root.pages["shards"][0])
    raw = content_of(page_of(root)[data.draw(st.integers(0, 1))])
    target = raw
    if 30 in raw and data.draw(st.booleans()):
        target = raw[30][data.draw(st.sampled_from(sorted(raw[30])))]
    key = data.draw(st.sampled_from(sorted(target)))
    header = st.builds(
        struct.pack, st.just("<BBq"), st.integers(0, 2), st.sampled_from([0, 0, 0, 1, 8]), st.integers(-1, 2**62)
    )
    target[key] = data.draw(st.one_of(st.binary(max_size=40), header, st.integers(0, 2**64 - 1), st.text(max_size=2)))
    content = encode_metadata(raw)
    with allocates_at_most(300 << 20):
        try:
            if 30 in raw:
                Page.decode(wrap(b"TOKSPAGE", content), root.schema)
            else:
                Plan.decode(wrap(b"TOKSPLAN", content), shards)
        except ts.TokstoreError:
            return


def test_counts_that_lie_are_not_allocated() -> None:
    """Billions of id runs, objects or spans in arrays of no bytes are refused before memory is taken."""
    root = Root.decode(some_root())
    shards = int(root.pages["shards"][0])
    many = struct.pack("<BBq", 0, 0, 1 << 24)
    one = struct.pack("<BBq", 0, 0, 1)
    for changes in ({12: many, 13: one, 14: one}, {22: many, 23: one}):
        content = encode_metadata(content_of(page_of(root)[0]) | changes)
        with allocates_at_most(4 << 20), pytest.raises(ts.CorruptError):
            Page.decode(wrap(b"TOKSPAGE", content), root.schema)
    content = encode_metadata(content_of(page_of(root)[1]) | dict.fromkeys((3, 4, 5, 6), one) | {2: many})
    with allocates_at_most(4 << 20), pytest.raises(ts.CorruptError):
        Plan.decode(wrap(b"TOKSPLAN", content), shards)


def test_pages_ride_in_the_root_while_there_is_room(tmp_path: Path) -> None:
    """A small store has no page files; a large root stays within 65,536 bytes and leaves its oldest pages outside."""
    write_samples(tmp_path / "s", TINY, [{"t": [1]}] * 3, shard_tokens=1)
    assert not (tmp_path / "s" / "pages").exists()
    root = Root.decode((tmp_path / "s" / root_path(1)).read_bytes())
    _, plan = page_of(root)
    bulky = {digest(bytes([i]) * 20_000): bytes([i]) * 20_000 for i in range(5)}
    records = np.repeat(root.pages, 5)
    for record, name in zip(records, bulky, strict=True):
        record["page_digest"] = np.void(name)
        record["page_bytes"] = 20_000
    data, files = replace(root, pages=records, inline=bulky | {digest(plan): plan}).encode()
    assert len(data) <= MAX_ROOT_BYTES
    assert {name for name, _ in files} == {f"pages/{name.hex()}" for name in list(bulky)[:2]}
    found = Root.decode(data)
    assert found.pages["flags"].tolist() == [2, 2, 3, 3, 3]
    assert set(found.inline) == {*list(bulky)[2:], digest(plan)}


def test_too_many_pages_for_a_root(tmp_path: Path) -> None:
    """A root that cannot hold its page records is refused by the writer, with what to do."""
    write_samples(tmp_path / "s", TINY, [{"t": [1]}])
    root = Root.decode((tmp_path / "s" / root_path(1)).read_bytes())
    with pytest.raises(ts.ConflictError, match=r"too many for one root \(format\.md 8\.1\); compact the store"):
        replace(root, pages=np.repeat(root.pages, 500)).encode()


def test_separate_pages_are_read_and_checked(tmp_path: Path) -> None:
    """Pages and plans in files of their own: read, missing, damaged, swapped."""
    store = write_crowded(tmp_path, [{"t": [i]} for i in range(4)])
    (page,), (plan,) = list((store / "pages").iterdir()), list((store / "plans").iterdir())
    assert ts.open(store)["t"].to_list() == [[0], [1], [2], [3]]
    assert len(ts.open(store).spans().values) == 4
    assert ts.verify(store).problems == []
    whole = page.read_bytes()
    for damaged in (whole[:-1], whole[:40] + b"?" + whole[41:], plan.read_bytes()):
        page.write_bytes(damaged)
        with pytest.raises(ts.CorruptError) as caught:
            ts.open(store)[0]
        assert str(caught.value).startswith(f"pages/{page.name}: ")
        assert ts.verify(store).problems
    page.unlink()
    with pytest.raises(ts.MissingFileError, match=page.name):
        ts.open(store)[0]
    page.write_bytes(whole)
    plan.unlink()
    assert len(ts.open(store)["t"]) == 4
    with pytest.raises(ts.MissingFileError, match=plan.name):
        ts.open(store).spans()
    with pytest.raises(ts.MissingFileError), ts.open(store).writer() as writer:
        writer.append(t=[3])
    assert ts.open(store).version == 1


HINTS = {
    "right": write_json({"version": 3}),
    "old": write_json({"version": 1}),
    "missing": None,
    "empty": b"",
    "torn": write_json({"version": 3})[:-9],
    "no json": b"\xff\xfe",
    "checksum": json.dumps({"version": 3, "checksum": "0" * 16}).encode(),
    "a list": b"[3]",
    "kind": write_json({"version": "three"}),
    "other members": write_json({"version": 2, "more": "x"}),
    "zero": write_json({"version": 0}),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("hint", HINTS.values(), ids=HINTS)
def test_the_hint_is_only_a_hint(hint: bytes | None, store: Path) -> None:
    """Whatever `latest` says below the newest version, the newest one is found, and appending goes on."""
    path = store / "latest"
    path.unlink() if hint is None else path.write_bytes(hint)
    assert ts.open(store).version == 3
    with ts.open(store).writer() as writer:
        writer.append(t=[4])
    assert ts.open(store).version == 4
    assert read_json((store / "latest").read_bytes(), "latest")["version"] == 4


def test_a_hint_above_every_root_means_a_missing_root(store: Path) -> None:
    """`latest` is written after its root, so a number without a root is a loss and never an older version."""
    (store / "latest").write_bytes(write_json({"version": 4}))
    with pytest.raises(ts.MissingFileError, match="the root of version 4 is gone"):
        ts.open(store)
    for version in (1, 2, 3):
        (store / root_path(version)).unlink()
    (store / "latest").write_bytes(write_json({"version": 1}))
    with pytest.raises(ts.MissingFileError, match="the root of version 1 is gone"):
        ts.open(store)


def test_files_of_others_are_ignored(store: Path) -> None:
    """Foreign and temporary files anywhere in the folder disturb nothing."""
    (store / "notes.txt").write_text("x")
    for folder, name in (
        ("manifests", "9.tsm"), ("manifests", "x.tsm"), ("manifests", "²" * 20 + ".tsm"), ("manifests", ".00.tmp"),
        ("parts", "no name.tsp"), ("parts", ".0.tmp"), ("data", "x"), ("pages", "y"), ("views", "z"),
    ):  # fmt: skip
        (store / folder).mkdir(exist_ok=True)
        (store / folder / name).write_text("foreign")
    (store / "latest").unlink()
    opened = ts.open(store)
    assert opened.version == 3
    assert [one.version for one in opened.versions()] == [3, 2, 1]
    assert opened.commit() == 3
    assert ts.verify(store).problems == []


def test_a_gap_in_the_roots_is_found_by_version_only(store: Path) -> None:
    """Older versions may be gone (pruned): the newest opens, `versions` lists what is there."""
    (store / root_path(1)).unlink()
    assert [one.version for one in ts.open(store).versions()] == [3, 2]
    with pytest.raises(ts.VersionError, match="there is no version 1"):
        ts.open(store, version=1)
    (store / "latest").unlink()
    assert ts.open(store).version == 3


def test_root_of_another_store(store: Path, tmp_path: Path) -> None:
    """A root that was copied from another store is refused, whether it is the newest or asked for."""
    write_samples(tmp_path / "o", TINY, [{"t": [5]}])
    shutil.copy(tmp_path / "o" / root_path(1), store / root_path(4))
    with pytest.raises(ts.CorruptError):
        ts.open(store)
    other = replace(Root.decode((tmp_path / "o" / root_path(1)).read_bytes()), version=4, parent=3)
    (store / root_path(4)).write_bytes(other.encode()[0])
    for version in (None, 4):
        with pytest.raises(ts.CorruptError) as caught:
            ts.open(store, version=version)
        assert str(caught.value) == f"{root_path(4)}: the root belongs to another store (format.md 8.1)"


def test_newer_formats(store: Path) -> None:
    """A greater major version is refused with what to do; a greater minor one is read."""
    path = store / root_path(3)
    raw = bytearray(path.read_bytes()[:-8])
    struct.pack_into("<HH", raw, 8, 1, 7)
    path.write_bytes(sealed(bytes(raw)))
    assert len(ts.open(store)) == 3
    struct.pack_into("<HH", raw, 8, 2, 0)
    path.write_bytes(sealed(bytes(raw)))
    with pytest.raises(ts.UnsupportedError) as caught:
        ts.open(store)
    text = "this version of the store is of format 2.0; this version reads 1.x (format.md 12.1); use a newer tokstore"
    assert str(caught.value) == f"{root_path(3)}: {text}"
    identity = json.loads((store / "tokstore.json").read_text())
    (store / "tokstore.json").write_bytes(
        write_json({"format": "tokstore", "store": identity["store"], "version": "2.0"})
    )
    with pytest.raises(ts.UnsupportedError, match=r"the store is of format 2\.0"):
        ts.open(store)


@pytest.mark.parametrize(("mask", "reads", "writes"), [(0, True, True), (1, True, False), (2, False, False)])
def test_feature_masks(mask: int, reads: bool, writes: bool, store: Path) -> None:
    """Ignorable bits change nothing, read-only ones forbid writing, required ones everything (format.md 12.2)."""
    path = store / root_path(3)
    raw = bytearray(path.read_bytes()[:-8])
    struct.pack_into("<I", raw, 12 + 4 * mask, 1 << 31)
    path.write_bytes(sealed(bytes(raw)))
    if not reads:
        with pytest.raises(ts.UnsupportedError, match="requires features 0x80000000"):
            ts.open(store)
        return
    assert len(list(ts.open(store))) == 3
    before = tree(store)
    if writes:
        with ts.open(store).writer() as writer:
            writer.append(t=[1])
        return
    with pytest.raises(ts.UnsupportedError, match="has features 0x80000000 that this version can read but not write"):
        ts.open(store).writer()
    assert tree(store) == before


def test_file_of_another_page_entry(store: Path) -> None:
    """A data file that was replaced by another one is refused, though it is sound by itself."""
    first, second, _ = data_files(store)
    second.write_bytes(first.read_bytes())
    problems = 0
    for position in range(3):
        try:
            ts.open(store)[position]
        except ts.CorruptError as error:
            assert second.name in str(error)  # noqa: PT017 - which positions fail depends on random names
            problems += 1
    assert problems == 1
    assert ts.verify(store).problems


def test_find_newest_goes_up_in_steps(store: Path) -> None:
    """Many versions above the hint are found in few trips."""
    for _ in range(30):
        with ts.open(store).writer() as writer:
            writer.append(t=[1])
    (store / "latest").write_bytes(write_json({"version": 2}))
    storage = LocalStorage(store)
    root = find_newest(storage)[1]
    assert root is not None
    assert root.version == 33
    assert storage.trips <= 7
    assert read_root(storage, 17).version == 17
