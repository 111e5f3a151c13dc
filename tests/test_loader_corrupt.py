"""`on_corrupt="skip"`: a damaged block is padding, and everything else is as with the intact store.

Every id tells its place in the store, so that what is lost follows from which samples can still be read.
"""

from __future__ import annotations

import bisect
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tokstore as ts
from test_loader_fake import FakeSource
from tokstore.block import ColumnRows
from tokstore.errors import CorruptError, MissingFileError
from tokstore.losses import Lost
from tokstore.version import Version

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*fork.*:DeprecationWarning", "ignore:This DataLoader will create:UserWarning"
)
FIRST = 10
LENGTHS = [61 * i % 497 for i in range(400)] + [90_000, 3]
PARTS = (slice(0, 150), slice(150, 390), slice(390, None))
LEARNED = np.random.default_rng(2).random(sum(LENGTHS)) < 0.7
KEYS = (
    "input_ids", "labels", "position_ids", "attention_mask", "document_ids", "loss_mask", "cu_seqlens", "seq_lengths",
    "sample_ids", "valid", "learn",
)  # fmt: skip


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three shards, each of several blocks."""
    path = tmp_path_factory.mktemp("corrupt") / "intact"
    schema = ts.Schema(tokens=ts.Tokens(FIRST + sum(LENGTHS)), learn=ts.Mask(of="tokens"))
    values = np.arange(FIRST, FIRST + sum(LENGTHS))
    with ts.create(str(path), schema, level="plain", shard_tokens=120_000) as writer:
        for part in PARTS:
            ends = np.cumsum([0, *LENGTHS])
            mine = values[ends[part.start] : ends[part.stop] if part.stop else None]
            writer.extend(tokens=ts.Ragged(mine, LENGTHS[part]), learn=ts.Ragged(LEARNED[mine - FIRST], LENGTHS[part]))
    return path


def shards(path: Path) -> list[Path]:
    """Return the data files."""
    return sorted(path.glob("data/*/*.tok"), key=lambda one: one.stat().st_size)


@pytest.fixture(scope="module")
def damaged(intact: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ts.Store, np.ndarray[Any, Any]]:
    """A store with a flipped bit in a block of tokens of the largest shard, and which ids are lost by it."""
    path = tmp_path_factory.mktemp("corrupt") / "damaged"
    shutil.copytree(intact, path)
    file = shards(path)[-1]
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 4
    file.write_bytes(data)
    store = ts.open(str(path))
    full = [position for position, length in enumerate(LENGTHS) if length]
    bad = [position for position in full if not readable(store, position, 0, None)]
    assert bad == full[full.index(bad[0]) : full.index(bad[-1]) + 1]
    # In the first and the last sample of the block, only part may be lost.
    ends = FIRST + np.cumsum(LENGTHS)
    first, last = (bad[0], bad[-1])
    skip = bisect.bisect(range(LENGTHS[first]), 0, key=lambda n: int(not readable(store, first, 0, n + 1)))
    rest = bisect.bisect(range(LENGTHS[last]), 0, key=lambda n: int(readable(store, last, n, None)))
    lost = np.arange(int(ends[first]) - LENGTHS[first] + skip, int(ends[last]) - LENGTHS[last] + rest)
    assert 10_000 < len(lost) < 100_000
    return store, lost


def readable(store: ts.Store, position: int, start: int, stop: int | None) -> bool:
    """Tell whether part of a sample can be read."""
    try:
        store.take([position], ["tokens"], start=start, stop=stop)
    except CorruptError:
        return False
    return True


def stream(store: Any, **options: Any) -> ts.StreamingDataset:
    """Make a stream that skips."""
    given: dict[str, Any] = {"seq_len": 512, "batch_size": 8, "emit": KEYS, "loss_mask": "learn", "on_corrupt": "skip"}
    return ts.StreamingDataset(store, **(given | options))


def check(batches: list[Any], whole: list[Any], lost_ids: np.ndarray[Any, Any], labels: str = "same") -> int:
    """Compare batches with those of the intact store; return how many tokens are lost in them."""
    count = 0
    assert len(batches) == len(whole)
    for batch, want in zip(batches, whole, strict=True):
        lost = np.isin(want["input_ids"].numpy(), lost_ids) & (want["attention_mask"].numpy() == 1)
        count += int(lost.sum())
        unlearned = lost if labels == "same" else lost | np.isin(want["labels"].numpy(), lost_ids)
        fills = {"input_ids": (lost, 0), "attention_mask": (lost, 0), "document_ids": (lost, -1), "learn": (lost, 0)}
        fills |= {"labels": (unlearned, -100), "loss_mask": (unlearned, 0)}
        assert list(batch) == list(want)
        for name, tensor in want.items():
            expected = tensor.numpy()
            if name in fills:
                mask, fill = fills[name]
                expected = np.where(mask, fill, expected)
            assert np.array_equal(batch[name].numpy(), expected), name
    return count


@pytest.mark.filterwarnings("ignore:.*on_corrupt:RuntimeWarning")
@pytest.mark.parametrize("packing", ["concat", "fit", "whole", None])
def test_a_flipped_bit(intact: Path, damaged: Any, packing: Any) -> None:
    """All batches are those of the intact store but for the lost tokens: pools, windows, view order, any labels."""
    store, lost = damaged
    whole = ts.open(str(intact))
    cases: list[dict[str, Any]] = [
        {"epochs": 2}, {"labels": "next", "buffer": 1, "lanes": 2}, {"labels": "next", "shuffle": False},
    ]  # fmt: skip
    for options in cases:
        options |= {"packing": packing, "overlong": "truncate" if packing == "whole" else None}
        data = stream(store, **options)
        found = check(list(data), list(stream(whole, **options)), lost, options.get("labels", "same"))
        assert found == len(lost) * options.get("epochs", 1) or packing == "whole"
        assert data.progress()["lost_tokens"] == found > 0
        assert data.progress()["lost_blocks"] == 1
    with pytest.raises(CorruptError, match="checksum"):
        list(stream(store, packing=packing, on_corrupt="raise", overlong=options["overlong"]))


@pytest.mark.filterwarnings("ignore:.*on_corrupt:RuntimeWarning")
def test_inserted_ids_and_rows_without_a_length(intact: Path, damaged: Any) -> None:
    """An inserted eos is lost with the last token of its sample; rows padded to their batch, flat ones, and views."""
    store, lost = damaged
    whole = ts.open(str(intact))
    ends = FIRST + np.cumsum(LENGTHS) - 1
    with_end = int(np.isin(ends[np.array(LENGTHS) > 0], lost).sum())
    options: dict[str, Any]
    for options in ({"eos_id": 1}, {"eos_id": 1, "bos_id": 2, "packing": "fit", "labels": "next"}):
        data = stream(store, **options)
        for batch, want in zip(data, stream(whole, **options), strict=True):
            assert torch.equal(batch["position_ids"], want["position_ids"])
        assert data.progress()["lost_tokens"] == len(lost) + with_end
    for flat in (False, True):
        options = {"seq_len": None, "flat": flat, "batch_size": 2}
        assert check(list(stream(store, **options)), list(stream(whole, **options)), lost) == len(lost)
    views = [one.sort("sample_id", descending=True).where("sample_id > 20") for one in (store, whole)]
    kept = lost[lost >= ends[20] + 1]
    assert check(list(stream(views[0])), list(stream(views[1])), kept) == len(kept)
    mixes = [ts.Mixture({"a": one, "b": whole}, shares={"a": 1, "b": 1}) for one in (store, whole)]
    data, other = (stream(mix, epochs=None, loss_mask=None, emit=("input_ids", "source")) for mix in mixes)
    for batch, want, _ in zip(data, other, range(60), strict=False):
        hurt = (batch["source"] == 0).numpy()[:, None] & np.isin(want["input_ids"].numpy(), lost)
        assert np.array_equal(batch["input_ids"].numpy(), np.where(hurt, 0, want["input_ids"].numpy()))
    assert data.progress()["lost_tokens"] > 0


def test_workers_ranks_and_resuming(intact: Path, damaged: Any) -> None:
    """Counted across processes, one warning per file, and the same from any state on any rank."""
    store, lost = damaged
    whole = list(stream(ts.open(str(intact)), batch_size=None, global_batch_size=8))
    data = stream(store)
    with pytest.warns(RuntimeWarning, match=r"\.tok: block \d+ of 'tokens': .*checksum.*on_corrupt='skip'") as told:
        got = list(data.loader(num_workers=2, multiprocessing_context="fork"))
    assert len([one for one in told if "on_corrupt" in str(one.message)]) == 1
    assert check(got, whole, lost) == len(lost) == data.progress()["lost_tokens"]
    assert data.progress()["lost_blocks"] == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = 0
        for rank in (0, 1):
            data = stream(store, batch_size=None, global_batch_size=8, rank=rank, world_size=2)
            data.load_state_dict(data.state_at(batches=20))
            for batch, want in zip(data, whole[20:], strict=True):
                ids = want["input_ids"][rank::2].numpy()
                used = want["attention_mask"][rank::2].numpy() == 1
                assert np.array_equal(batch["input_ids"].numpy(), np.where(np.isin(ids, lost) & used, 0, ids))
            counts += data.progress()["lost_tokens"]
    ids = np.concatenate([one["input_ids"][one["attention_mask"] == 1].numpy() for one in whole[20:]])
    assert counts == int(np.isin(ids, lost).sum())


@pytest.mark.parametrize("how", ["removed", "cut"])
def test_a_file_that_goes_away(intact: Path, tmp_path: Path, how: str) -> None:
    """While lengths are known, a file that is removed or cut is lost blocks; where they are not, it is an error."""
    shutil.copytree(intact, tmp_path / "s")
    store = ts.open(str(tmp_path / "s"))
    whole = list(stream(ts.open(str(intact))))
    gone = shards(tmp_path / "s")[0]
    data = stream(store)
    first = iter(data)
    assert check([next(first)], whole[:1], np.zeros(0)) == 0
    first.close()  # type: ignore[attr-defined]
    data._pools.clear()  # as another process has it: lengths are known, and nothing is decoded
    if how == "cut":
        os.truncate(gone, 100)
    else:
        gone.unlink()
        store._version.storage._handles.clear()  # type: ignore[attr-defined]
    data.load_state_dict(data.state_at(rows=0))
    words = "the file ends at 100" if how == "cut" else "the file is not there"
    with pytest.warns(RuntimeWarning, match=words):
        got = list(data.loader(num_workers=1, multiprocessing_context="fork"))
    lost = np.concatenate([
        want["input_ids"][batch["attention_mask"] != want["attention_mask"]].numpy()
        for batch, want in zip(got, whole, strict=True)
    ])  # fmt: skip
    assert check(got, whole, lost) == len(lost) > 30_000
    assert data.progress()["lost_tokens"] == len(lost)
    with pytest.raises((MissingFileError, CorruptError)):
        next(iter(stream(ts.open(str(tmp_path / "s")))))
    with pytest.raises(ValueError, match="on_corrupt is one of"):
        stream(store, on_corrupt="ignore")


def test_a_mask_that_is_damaged(intact: Path, tmp_path: Path) -> None:
    """What a loss mask cannot tell is not learned; ids stay."""
    shutil.copytree(intact, tmp_path / "s")
    whole = ts.open(str(intact))
    for file in shards(tmp_path / "s"):
        good = file.read_bytes()
        for at in range(300, len(good), 2503):
            data = bytearray(good)
            data[at] ^= 1
            file.write_bytes(data)
            store = ts.open(str(tmp_path / "s"))
            try:
                store["tokens"]
                store["learn"]
            except CorruptError as error:
                if "column 1" in str(error):
                    break
            file.write_bytes(good)
        else:
            continue
        break
    with pytest.warns(RuntimeWarning, match="of 'learn'"):
        got = list(stream(store))
    unlearned = 0
    for batch, want in zip(got, stream(whole), strict=True):
        assert torch.equal(batch["input_ids"], want["input_ids"])
        same = batch["labels"] == want["labels"]
        assert (batch["labels"][~same] == -100).all()
        assert not batch["learn"][~same].any()
        unlearned += int((~same).sum())
    assert unlearned > 1000


def test_tables_that_are_lost(intact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rank table of a file none of its blocks can be decoded: all of its tokens are lost."""
    store, whole = ts.open(str(intact)), list(stream(ts.open(str(intact))))
    worst = shards(intact)[-1].name
    decoder = Version.decoder

    def broken(self: Version, file: Any, column: Any) -> Any:
        if file.place.path.endswith(worst) and column.name == "tokens":
            raise CorruptError("the rank table is damaged", path=file.place.path, rule="codecs.md 2")
        return decoder(self, file, column)

    monkeypatch.setattr(Version, "decoder", broken)
    with pytest.warns(RuntimeWarning, match="rank table"):
        got = list(stream(store))
    lost = np.concatenate([
        want["input_ids"][batch["attention_mask"] != want["attention_mask"]].numpy()
        for batch, want in zip(got, whole, strict=True)
    ])  # fmt: skip
    assert check(got, whole, lost) == len(lost) > 30_000


class Holed(FakeSource):
    """A source of which every seventh id cannot be read."""

    def read_range(self, *args: Any, lost: Any = None, **options: Any) -> Any:
        """Return ids of samples."""
        return self._noted(super().read_range(*args, **options), lost)

    def read_samples(self, *args: Any, lost: Any = None, **options: Any) -> Any:
        """Return ids of samples at ascending positions."""
        return self._noted(super().read_samples(*args, **options), lost)

    def _noted(self, values: Any, lost: Any) -> Any:
        """Return values, those that are lost as 0."""
        if lost is None:
            return values
        at = np.flatnonzero(values % 7 == 3)
        found = Lost()
        found.add("file", "tokens", 0, CorruptError("a hole"), at, np.ones_like(at))
        lost.add(found, ColumnRows(values, None, None), None)
        values[at] = 0
        return values


@pytest.mark.filterwarnings("ignore:.*on_corrupt:RuntimeWarning")
@pytest.mark.parametrize("documents", ["separate", "joined"])
@pytest.mark.parametrize("packing", ["concat", "fit", "whole", None])
@pytest.mark.parametrize("how", [{}, {"buffer": 1, "lanes": 2}, {"shuffle": False}])
def test_holes_everywhere(packing: Any, how: dict[str, Any], documents: Any) -> None:
    """Labels that look at a lost id are not learned, also across the ends of rows, parts and windows."""
    sources = []
    for kind in (Holed, FakeSource):
        source = kind([5, 40, 0, 17, 300, 64, 8, 1, 33] * 9 + [70_000], vocab_size=1 << 24)
        source.ids = lambda sample, place: np.asarray(sample * 100_000 + place)
        sources.append(source)
    rule = "truncate" if packing == "whole" else None
    streams = [
        stream(
            source, seq_len=64, packing=packing, overlong=rule, labels="next", emit=KEYS[:-1], loss_mask=None,
            documents=documents, eos_id=None, bos_id=None, **how,
        )
        for source in sources
    ]  # fmt: skip
    for batch, want in zip(*streams, strict=True):
        ids, labels = want["input_ids"].numpy(), want["labels"].numpy()
        lost = (ids % 7 == 3) & (want["attention_mask"].numpy() == 1)
        assert np.array_equal(batch["input_ids"].numpy(), np.where(lost, 0, ids))
        assert np.array_equal(batch["labels"].numpy(), np.where(lost | (labels % 7 == 3), -100, labels))
        for name in ("position_ids", "cu_seqlens", "seq_lengths", "sample_ids", "valid"):
            assert torch.equal(batch[name], want[name])
