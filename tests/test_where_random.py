"""`where` against plain Python: random conditions over random stores, in every form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tokstore as ts
from strategies import small_blocks
from view_models import SCHEMA, conditions, ids, rows, scattered, write

SOME = settings(
    max_examples=settings.default.max_examples * 3 // 10,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@SOME
@given(data=st.data())
def test_conditions_as_python_has_them(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    """Exactly the samples are kept for which the condition is true, whatever is missing, NaN, deleted or sorted."""
    small_blocks(monkeypatch, 4)
    store = write(tmp_path_factory.mktemp("s") / "s", data.draw(rows()), data.draw(st.integers(1, 3)))
    if len(store) and data.draw(st.booleans()):
        store.delete(data.draw(st.lists(st.integers(0, len(store) - 1), min_size=1)))
    samples = {one["sample_id"]: one for one in store}
    view = store.sort("h") if data.draw(st.booleans()) else store
    order = ids(view)
    for _ in range(8):
        condition = data.draw(conditions())
        expected = [i for i in order if condition.truth(samples[i])]
        assert ids(view.where(condition.text)) == expected, condition.text
        some = data.draw(st.lists(st.sampled_from(order), unique=True)) if order else []
        assert ids(view.where(condition.text, ids=some)) == [i for i in expected if i in some], condition.text


def test_columns_that_lie_elsewhere(tmp_path: Path) -> None:
    """A column file that covers many shards, shards without it, and what was deleted: rows and positions differ."""
    store = write(tmp_path / "s", scattered(60), 5)
    store.delete([0, 13, 14, 15, 59])
    store.add_column("extra", np.arange(55) / 8, ts.Score())
    store.add_column("kind", [None if i % 3 else f"k{i % 4}" for i in range(55)], ts.Category())
    with store.writer() as writer:
        writer.extend(h=[0.5, 0.25])
    for text, keep in {
        "extra >= 3 and extra < 4.5": lambda i: 24 <= i < 36,
        "not extra < 5": lambda i: 40 <= i < 55,
        "extra is missing": lambda i: i >= 55,
        "kind == 'k1'": lambda i: i < 55 and not i % 3 and i % 4 == 1,
        "kind is missing and extra != 2": lambda i: i < 55 and i % 3 and i != 16,
        "h == 0.25 and not extra is not missing": lambda i: i == 56,
    }.items():
        every = ids(store)
        assert ids(store.where(text)) == [every[i] for i in range(57) if keep(i)], text


def test_pairs_of_columns(tmp_path: Path) -> None:
    """Two columns of numbers compare with each other, and neither may be missing."""
    pairs: list[tuple[Any, Any]] = [(0.5, 0), (1.0, 1), (None, 1), (2.0, None), (float("nan"), 1), (3.0, 2)]
    samples = [dict.fromkeys(SCHEMA.names) | {"h": 1.0, "q": q, "n": n} for q, n in pairs]
    store = write(tmp_path / "s", samples)
    assert ids(store.where("q > n")) == [0, 5]
    assert ids(store.where("not q > n")) == [1, 4]
    assert ids(store.where("q == n")) == [1]
    assert ids(store.where("n < sample_id")) == [2, 4, 5]
    assert ids(store.where("length(tokens) <= n")) == []


def test_tuples(tmp_path: Path) -> None:
    """Tuples all hold, of lists of tuples one does, and numpy values are taken."""
    samples = [dict.fromkeys(SCHEMA.names) | {"h": i / 4, "n": i, "c": "ab"[i % 2]} for i in range(6)]
    store = write(tmp_path / "s", samples)
    assert ids(store.where([("h", ">=", np.float32(0.5)), ("c", "in", ["a", "x"])])) == [2, 4]
    assert ids(store.where([[("n", "=", np.int64(1))], [("n", ">", 3), ("c", "!=", "a")]])) == [1, 5]
    assert ids(store.where([("n", "not in", {1, 2}), ("sample_id", "<", 4)])) == [0, 3]
    assert ids(store.where([("n", "in", [])])) == []
    assert ids(store.where([("h", "!=", float("nan"))])) == [0, 1, 2, 3, 4, 5]
    assert ids(store.where([("h", ">=", float("nan"))])) == ids(store.where([("n", "<", float("-inf"))])) == []
    assert ids(store.where([("length(tokens)", ">=", 0)])) == []
    assert ids(store.where(("n", "==", 2))) == [2]
    assert store.where([("n", ">", 3), ("c", "not in", ["a"])]).recipe == "where(\"n > 3 and c not in ('a')\")"


def test_functions(tmp_path: Path) -> None:
    """A function gets the columns it names, batch by batch, and says yes or no; masked means no."""
    samples = [dict.fromkeys(SCHEMA.names) | {"h": i / 4, "n": i if i % 2 else None} for i in range(6)]
    store = write(tmp_path / "s", samples)
    seen = []

    def odd(batch: dict[str, Any]) -> Any:
        seen.append(sorted(batch))
        return batch["n"] > 1

    view = store.where(odd, columns=["n"])
    assert ids(view) == [3, 5]
    assert seen == [["n", "sample_id"]]
    assert view.recipe == "where(odd)"
    assert ids(store.sort("h", descending=True).where(odd, columns=["n"])) == [5, 3]
    for wrong in (lambda b: b["h"], lambda b: [True]):
        with pytest.raises(TypeError, match="one boolean per sample, 6 here"):
            store.where(wrong)
    with pytest.raises(TypeError, match="names its own"):
        store.where("n > 1", columns=["n"])


def test_ids(tmp_path: Path) -> None:
    """Sample ids keep what is there, in view order, and pass over what is not."""
    store = write(tmp_path / "s", [dict.fromkeys(SCHEMA.names) | {"h": -i / 4} for i in range(6)])
    assert ids(store.where(ids=[4, 1, 1, 99, -1])) == [1, 4]
    assert ids(store.sort("h").where(ids=np.array([1, 4], np.uint8))) == [4, 1]
    assert ids(store.where(ids=[])) == []
    for wrong in ([1.5], [[1]], "17"):
        with pytest.raises(TypeError, match="flat list of integers"):
            store.where(ids=wrong)
    with pytest.raises(TypeError, match="takes a condition"):
        store.where()


def test_single_files_and_empty_stores(tmp_path: Path) -> None:
    """Single files are filtered like folders, and nothing is found in nothing."""
    with ts.create(tmp_path / "x.tok", ts.Schema(q=ts.Score())) as writer:
        writer.extend(q=[0.1, 0.9, 0.5])
    assert ids(ts.open(tmp_path / "x.tok").where("q >= 0.5")) == [1, 2]
    empty = write(tmp_path / "s", [])
    assert ids(empty.where("q >= 0.5 or url == 'x' or c == 'x' or true")) == []
