"""Streams of mixtures that end: each row once, a length, the same batches for any ranks, workers and resume."""

from __future__ import annotations

import json
import pickle
import warnings
from collections import Counter
from typing import Any

import pytest

import tokstore as ts
from test_loader_fake import FakeSource
from test_loader_mixture import KEYS, LARGE, LONG, A, B, C, first, ids, three

WITHOUT = "all_exhausted_without_replacement"
ENDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "limits": ({"max_epochs": {"a": 1, "b": 2, "c": 3}}, {}),
    "first": ({"stop": "first_exhausted", "max_epochs": {"c": 4}}, {"packing": None, "seq_len": None}),
    "all": ({"stop": "all_exhausted", "max_epochs": {"c": 2}}, {"packing": "fit"}),
    "stages": ({"stop": WITHOUT, "stages": [(30, {"a": 1, "b": 1, "c": 1})]}, {"labels": "next"}),
}


def stream(mix: ts.Mixture, **options: Any) -> ts.StreamingDataset:
    """Return a stream of a mixture that ends."""
    return ts.StreamingDataset(mix, **{"seq_len": 16, "batch_size": 4} | options)


def real(batches: list[Any]) -> dict[int, tuple[Any, ...]]:
    """Return what the rows of batches are, by number; rows that fill up are none."""
    names, found = ("input_ids", "labels", "position_ids"), {}
    for batch in batches:
        widths = (batch["document_ids"] >= 0).sum(1).tolist()
        for at, number in enumerate(batch.rows):
            found[number] = (int(batch["source"][at]), *(batch[name][at].tolist()[: widths[at]] for name in names))
    return found


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"stop": "never"}, ValueError, "stop is 'first_exhausted', 'all_exhausted', 'all_exhausted_without_replacement' "),
    ({"stop": ["all_exhausted"]}, ValueError, "or None, not "),
    ({"max_epochs": 0}, ValueError, "max_epochs of 'a' is from 1 to 4294967296, not 0"),
    ({"max_epochs": {"b": -2}}, ValueError, "max_epochs of 'b' is from 1 to 4294967296, not -2"),
    ({"max_epochs": {"b": 1 << 33}}, ValueError, "max_epochs of 'b' is from 1 to"),
    ({"max_epochs": {"d": 2}}, ValueError, "max_epochs names 'd', which is no source; There are: a, b, c"),
    ({"max_epochs": {"b": 1.5}}, TypeError, "max_epochs of 'b' is a number of epochs, an integer, not 1.5"),
    ({"max_epochs": True}, TypeError, "max_epochs of 'a' is a number of epochs, an integer, not True"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD, ids=str)
def test_bad_ends(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """Each wrong argument is one clear error at construction."""
    with pytest.raises(error, match=message):
        three(**options)


def test_what_it_is() -> None:
    """Limits of nested mixtures hold together with those around them; an inner stop rule is refused."""
    assert repr(three(max_epochs={"b": 2}, stop="all_exhausted")).endswith(
        "tokens; at most 2 epochs of b; stop all_exhausted)"
    )
    inner = ts.Mixture({"a": A, "b": B}, max_epochs={"a": 2})
    outer = ts.Mixture({"web": inner, "c": C}, max_epochs={"web": 3})
    assert outer.max_epochs == (2, 3, None)
    assert ts.Mixture({"web": inner, "c": C}, max_epochs=1).max_epochs == (1, 1, 1)
    marks = [three().fingerprint, three(max_epochs=1).fingerprint, three(stop="all_exhausted").fingerprint]
    assert len(set(marks)) == 3
    with pytest.raises(ValueError, match="source 'web' is a mixture with stop='all_exhausted': only the whole has"):
        ts.Mixture({"web": ts.Mixture({"a": A}, stop="all_exhausted"), "c": C})


def test_epochs() -> None:
    """A mixture that ends is one pass; one that does not needs epochs=None; sources that end too soon are named."""
    for epochs in (None, 1):
        assert len(stream(three(max_epochs=1), epochs=epochs)) == len(list(stream(three(max_epochs=1), epochs=epochs)))
    with pytest.raises(ValueError, match="a mixture that ends is one pass, not epochs=2: its sources have max_epochs"):
        stream(three(max_epochs=1), epochs=2)
    with pytest.raises(ValueError, match="a mixture has no end: give epochs=None instead of epochs=1, .* or give the"):
        stream(three(max_epochs={"a": 1}))
    with pytest.raises(TypeError, match="a stream with epochs=None has no length"):
        len(stream(three(max_epochs={"a": 1}), epochs=None))
    late = ts.Mixture({"x": A, "y": B}, shares={"x": 1, "y": 0}, stages=[(6000, {"x": 0, "y": 1})], max_epochs=1)
    with pytest.raises(ValueError, match=r"before the stage at row 6,000 .* \(sources: 0 is 'x', 1 is 'y'\)"):
        stream(late)


@pytest.mark.parametrize("packing", ["concat", "fit", "whole", None])
def test_every_token_as_often_as_limits_say(packing: Any) -> None:
    """Each sample of each source comes max_epochs times, to the last token, whatever ends first."""
    sources = {"a": A, "b": B, "c": C}
    mix = ts.Mixture(sources, shares={"a": 1, "b": 1, "c": 5}, max_epochs={"a": 1, "b": 2, "c": 9})
    seq_len = 64 if packing == "whole" else 16
    batches = list(stream(mix, packing=packing, seq_len=seq_len, bos_id=None, eos_id=None, emit=KEYS))
    found: Counter[tuple[int, int]] = Counter()
    for batch in batches:
        source = batch["source"].tolist()
        for row, (tokens, documents) in enumerate(
            zip(batch["input_ids"].tolist(), batch["document_ids"].tolist(), strict=True)
        ):
            found.update((source[row], token) for token, one in zip(tokens, documents, strict=True) if one >= 0)
    want: Counter[tuple[int, int]] = Counter()
    for number, (one, times) in enumerate(zip(sources.values(), (1, 2, 9), strict=True)):
        for sample, length in enumerate(one.lengths(0, len(one)).tolist()):
            for token in one.segment((sample, 0, length), None, None).tolist():
                want[number, token] += times
    assert found == want


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_same_batches_for_any_ranks_and_resume(kind: str, ranks: int) -> None:
    """Ranks share the batches of one process to the last row, as many on each, from the start and from any state."""
    ends, options = ENDS[kind]
    options = options | {"batch_size": None, "global_batch_size": 6, "emit": KEYS}
    one = stream(three(**ends), **options)
    batches = list(one)
    whole = real(batches)
    rows = one._plan.end  # type: ignore[union-attr]
    assert sorted(whole) == list(range(rows))
    assert len(batches) == len(one) == -(-rows // 6)
    for begin in (0, 1, len(one) // 2, len(one) - 1, len(one)):
        state = json.loads(json.dumps(one.state_at(batches=begin)))
        assert one.state_dict(batches[begin - 1]) == state or begin == 0
        found, counts = {}, set()
        for rank in range(ranks):
            data = stream(three(**ends), **options, rank=rank, world_size=ranks)
            assert len(data) == len(one)
            data.load_state_dict(state)
            own = list(data)
            counts.add(len(own))
            found |= real(own)
        assert counts == {len(one) - begin}
        assert found == {number: whole[number] for number in range(begin * 6, rows)}


def test_windows() -> None:
    """Sources larger than the buffer end as pools do, and are not read past their end."""
    x, y = FakeSource([731 * i % 4001 for i in range(200)], eos_id=2), FakeSource(LONG._lengths.tolist(), eos_id=2)
    mix = ts.Mixture({"x": x, "y": y}, shares={"x": 1, "y": 3}, stop=WITHOUT)
    options: dict[str, Any] = {"seq_len": 2000, "buffer": 1, "emit": KEYS}
    data = stream(mix, **options)
    whole = real(list(data))
    assert len(whole) == sum(plan.rows for plan in data._plan.plans)  # type: ignore[union-attr]
    assert x.values_read == x.token_count
    assert y.values_read == y.token_count
    half = len(whole) // 2 // 4
    data = stream(mix, **options)
    data.load_state_dict(data.state_at(batches=half))
    assert real(list(data)) == {number: row for number, row in whole.items() if number >= half * 4}


def test_length_and_drop_last() -> None:
    """The last batch is filled up, or left out; then a further pass is empty and says so."""
    data = stream(three(max_epochs=1), batch_size=7)
    rows = data._plan.end  # type: ignore[union-attr]
    assert rows is not None
    assert rows % 7
    batches = list(data)
    assert len(batches) == len(data) == -(-rows // 7)
    assert [len(batch.rows) for batch in batches][-2:] == [7, rows % 7]
    assert (batches[-1]["labels"][rows % 7 :] == -100).all()
    with pytest.warns(UserWarning, match=f"this mixture has ended with its {rows:,} rows, and this pass is empty"):
        assert list(data) == []
    data.load_state_dict(data.state_at(rows=0))
    assert ids(list(data)) == ids(batches)
    short = stream(three(max_epochs=1), batch_size=7, drop_last=True)
    assert ids(list(short)) == ids(batches[:-1])
    assert len(short) == rows // 7


def test_progress_and_samples() -> None:
    """Progress counts rows, epochs and tokens of each source to the end, and not past it."""
    data = stream(three(max_epochs={"a": 1, "b": 3, "c": 2}))
    batches = list(data)
    told = data.progress()
    plans = dict(zip("abc", data._plan.plans, strict=True))  # type: ignore[union-attr]
    for name, epochs in (("a", 1), ("b", 3), ("c", 2)):
        assert told[f"epochs/{name}"] == epochs
        assert told[f"rows/{name}"] == epochs * plans[name].rows
        assert told[f"tokens/{name}"] == epochs * plans[name].values
    assert told["rows"] == sum(len(batch.rows) for batch in batches)
    assert told["tokens"] == sum(told[f"tokens/{name}"] for name in "abc")
    last = data.samples_at(batches=len(data) - 1)
    assert sorted(set(last["row"].tolist())) == list(batches[-1].rows)
    with pytest.raises(ValueError, match="the mixture ends with row"):
        data.samples_at(rows=told["rows"])


@pytest.mark.parametrize(("row", "shares"), [(12, {"a": 1, "b": 5, "c": 5}), (60, {"a": 4, "b": 1, "c": 1})])
def test_other_shares_from_a_row_on(row: int, shares: dict[str, int]) -> None:
    """Shares that change before a source ends, or when one has, lose and repeat no row of any."""
    base: dict[str, Any] = {"max_epochs": 1, "shares": {"a": 1, "b": 1, "c": 9}}
    old, new = three(**base), three(**base, stages=[(row, shares)])
    options: dict[str, Any] = {"batch_size": 6, "emit": KEYS}
    assert stream(old)._plan.progress(row)["epochs/c"] == int(row == 60)  # type: ignore[union-attr]
    start = first(stream(old, **options), row // 6)
    data = stream(new, **options)
    data.load_state_dict(stream(old, **options).state_dict(start[-1]))
    every = list(real(list(stream(old, **options))).values())
    found = list(real(start + list(data)).values())
    assert found != every
    assert sorted(found) == sorted(every)


@pytest.mark.parametrize("accept", [(), ("max_epochs",), ("stop",)])
def test_states_of_other_ends(accept: tuple[str, ...]) -> None:
    """Limits and the stop rule are part of a state; what differs is told, and can be accepted."""
    state = stream(three(max_epochs=2)).state_at(rows=8)
    for ends, name in (({"max_epochs": 3}, "max_epochs"), ({"max_epochs": 2, "stop": "all_exhausted"}, "stop")):
        data = stream(three(**ends))
        if name in accept:
            data.load_state_dict(state, accept=accept)
            assert next(iter(data)).rows.start == 8
        else:
            with pytest.raises(ValueError, match=f"the state has {name} "):
                data.load_state_dict(state, accept=accept)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers(workers: int) -> None:
    """Worker processes hand out the batches of this process to the last row, and go on from a state."""
    mix = ts.Mixture({"x": LARGE, "c": C}, shares={"x": 9, "c": 1}, stop=WITHOUT, max_epochs={"c": 7})
    options: dict[str, Any] = {"seq_len": 2000, "buffer": 1, "batch_size": 16, "emit": ("input_ids", "source")}
    want = list(stream(mix, **options))
    loader = stream(pickle.loads(pickle.dumps(mix)), **options).loader(
        num_workers=workers, multiprocessing_context="fork"
    )
    assert len(loader) == len(want)
    loader.load_state_dict(stream(mix, **options).state_at(batches=2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork, where threads have run
        assert ids(list(loader)) == ids(want[2:])
    assert loader.state_dict()["rows"] == want[-1].next_row
