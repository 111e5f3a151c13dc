"""Hostile bytes: a short run of every target of `fuzz`, what it has found so far, and that it would find more."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import tokstore as ts
from fuzz import forging
from fuzz.__main__ import all_targets, main
from fuzz.decoders import Bytes
from fuzz.manifests import Manifest
from fuzz.places import ALONE, WrongError, open_files, read
from fuzz.running import Limits, Plan, Run
from fuzz.seeds import Seed, larger, vectors, written
from fuzz.whole import Exact, Noise
from tokstore.format import PAGE_MAGIC, unwrap, wrap
from tokstore.manifest import root_path
from tokstore.packed import encode_packed
from tokstore.wire import decode_metadata, encode_metadata

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the bound of memory is Linux's"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),  # from 3.12 on, where the runner has threads
]

CASES = 20


@pytest.fixture(scope="module")
def own() -> list[Seed]:
    """Stores that the package writes."""
    return written()


@pytest.fixture(scope="module")
def large() -> list[Seed]:
    """Larger ones."""
    return larger()


def named(seeds: Sequence[Seed], name: str) -> bytes:
    """Return the one file of a seed."""
    return next(seed for seed in seeds if seed.name == name).files[ALONE]


def test_what_is_forged_without_a_change_is_sound(own: list[Seed], large: list[Seed]) -> None:
    """A file that is taken apart and laid out again has the values that it had, and verifies."""
    for seed in [*own[::4], *own[3::4], *large[:2], *vectors()[::12]]:
        if ALONE in seed.files:
            again = forging.Layout(random.Random(0), forging.taken_apart(seed.files[ALONE]), set()).build()
            good, found = read(seed.files, thoroughly=True), read({ALONE: again}, thoroughly=True)
            assert found.values == good.values, seed.name
            assert found.refused.keys() == good.refused.keys(), seed.name


def test_all_types_are_there(own: list[Seed]) -> None:
    """The stores to damage have a column of every type."""
    types = {type(kind) for columns in (read_types(seed) for seed in own) for kind in columns}
    assert types >= {
        ts.Tokens, ts.Mask, ts.Codes, ts.Vector, ts.Score, ts.Label, ts.SoftLabel, ts.Category, ts.Text, ts.Bytes,
        ts.Array,
    }  # fmt: skip


def read_types(seed: Seed) -> list[Any]:
    """Return the types of the columns of a seed."""
    return [column.type for column in open_files(seed.files, seed.version).schema.columns]


@pytest.mark.hostile
def test_a_few_cases_of_every_target(own: list[Seed], large: list[Seed], tmp_path: Path) -> None:
    """Nothing but errors of ours, and no other values. `python -m fuzz` runs the same for as long as one likes."""
    run = Run(all_targets(own, vectors()[::4], large), Plan(seed=7, cases=CASES), Limits(), tmp_path)
    run.go()
    assert not run.found, run.report()
    assert sum(one.cases for one in run.tallies.values()) == CASES * len(run.targets)
    assert all(one.outcomes["refused"] for one in run.tallies.values()), run.report()


class Planted:
    """A target that fails at one number."""

    size = None

    def __init__(self, name: str, fail: Callable[[], object]) -> None:
        self.name, self._fail = name, fail

    def make(self, number: int, rng: random.Random) -> Bytes:
        """Make a case of random bytes."""
        return Bytes(f"case {number}", rng.randbytes(5))

    def check(self, case: Bytes) -> str:
        """Fail at case 4."""
        if case.what == "case 4":
            self._fail()
        return "refused"

    def save(self, case: Bytes) -> dict[str, bytes]:
        """Return the input."""
        return {"input": case.data}


def test_what_goes_wrong_is_found_and_kept(tmp_path: Path) -> None:
    """Another exception, a hang, memory without bound, the end of the process: each with the case that made it."""

    def wrong() -> None:
        raise KeyError("x")

    targets = [
        Planted("error", wrong),
        Planted("hang", lambda: time.sleep(60)),
        Planted("memory", lambda: bytearray(4 << 30)),
        Planted("end", lambda: os._exit(9)),
    ]
    run = Run(targets, Plan(seed=3, cases=20, processes=2), Limits(seconds=0.3), tmp_path)
    run.go()
    assert {key[0]: (key[1].split(" at ")[0], one[0].number) for key, one in run.found.items()} == {
        "error": ("KeyError", 4),
        "hang": ("HangError", 4),
        "memory": ("MemoryError", 4),
        "end": ("exit code 9", 4),
    }
    assert all(one.cases >= 10 for one in run.tallies.values()), run.report()
    kept = tmp_path / "error-3-4"
    assert "--seed 3 --again 'error:4'" in (kept / "report.txt").read_text(encoding="utf-8")
    assert (kept / "files" / "input").read_bytes() == random.Random("error/3/4").randbytes(5)


def test_other_values_under_checksums_are_found(own: list[Seed], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a reader would not look at checksums, the cases with checksums in force say so."""
    monkeypatch.setattr("tokstore.shard.verify_checksum", lambda *arguments: None)
    monkeypatch.setattr("tokstore.shard.checksum", lambda data, seed: Whatever())
    exact = Exact([seed for seed in own if seed.name == "text-plain"])
    ends = []
    for number in range(100):
        case = exact.make(number, random.Random(0))
        try:
            ends.append(exact.check(case))
        except WrongError:
            ends.append("wrong")
    assert "wrong" in ends


class Whatever:
    """A checksum that is always right."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def test_exact_is_every_cut_and_every_bit(own: list[Seed]) -> None:
    """The numbers of `exact` are all cuts and all bits of all files, each once."""
    seed = next(one for one in own if one.name == "codes-fast")
    small = Seed("x", {ALONE: seed.files[ALONE][:50]})
    exact = Exact([small])
    made = {exact.make(number, random.Random(0)).files[ALONE] for number in range(exact.size)}
    assert exact.size == len(made) == 9 * 50


def test_nothing_is_taken_away_that_may_be_gone() -> None:
    """A store without its newest root, its hint, a view or a part is another sound store, so no case removes them."""
    stores = [seed for seed in vectors() if "view" in seed.name or "part" in seed.name]
    noise = Noise(stores)
    gone = [noise.make(number, random.Random(number)).what for number in range(300)]
    assert not any(what.endswith("is gone") and ("views/" in what or "manifests/" in what) for what in gone)


def test_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One case again, some cases of one target, and a target that is not there."""
    assert main(["--again", "page:3", "--seed", "5"]) == 0
    assert capsys.readouterr().out.startswith(("struck", "shaped"))
    assert main(["--only", "frame", "--cases", "30", "--findings", str(tmp_path)]) == 0
    assert "frame                 30 " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])


# What was found ---------------------------------------------------------------------------------------------------


def test_first_rows_that_lie(own: list[Seed]) -> None:
    """Blocks of a column of fixed shape that say that they begin at another row than their values do."""
    sketch = forging.taken_apart(named(own, "vectors-fast"))
    for column in sketch.columns:
        column.arrays[3] = [2]
        try:
            forged = forging.Layout(random.Random(0), sketch, set()).build()
        finally:
            column.arrays[3] = [0]
        found = read({ALONE: forged}, thoroughly=True)
        assert str(found.refused["store"]) == (
            f"{ALONE}: first rows of blocks are not where their values begin (format.md 4.5)"
        )


def test_a_damaged_block_of_a_later_group() -> None:
    """Blocks of groups of different width are decoded together: the one that is damaged is named, whichever it is."""
    sketch = forging.taken_apart(named(vectors(), "vector_rotation"))
    column = next(one for one in sketch.columns if len(one.blocks) > 1)
    for number, whole in enumerate(column.blocks):
        column.blocks[number] = bytes([9]) + whole[1:]  # integers of nine bytes
        try:
            forged = forging.Layout(random.Random(0), sketch, set()).build()
        finally:
            column.blocks[number] = whole
        found = read({ALONE: forged}).refused
        assert len(found) == 1
        assert f"of width 9 in {len(whole)} bytes at byte {column.arrays[0][number]} (codecs.md 6.3)" in str(
            *found.values()
        )


def test_a_shard_that_ends_behind_its_file() -> None:
    """A page that lets a shard begin so late in its file that rows are lacking, in a store with deletions: a problem of
    `verify` as it is one of reading."""
    seed = next(one for one in vectors() if one.name == "store_deletions")
    files = dict(seed.files)
    path = max(one for one in files if one.startswith("manifests/"))
    manifest = Manifest(random.Random(0), files, files[path])
    page = decode_metadata(unwrap(PAGE_MAGIC, manifest.parts()[0, "page"]))
    primary = min(page[30])
    page[30][primary][2] = encode_packed([2] * page[10])
    files[path] = manifest.with_part(0, "page", wrap(PAGE_MAGIC, encode_metadata(page)))
    found = read(files, thoroughly=True)
    assert root_path(int(path[10:30])) == path
    assert "a shard ends outside its file (format.md 8.3)" in str(found.refused["verified"])
