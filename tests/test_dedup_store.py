"""`mark`, ``tokstore dedup`` and `View.dedup`: columns of duplicates, in stores that change and runs that stop."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from test_cli_upkeep import facts, run
from tokstore.dedup import exact, mark, near
from tokstore.dedup import marking as marking_module
from tokstore.dedup import method as method_module
from tokstore.dedup.jaccard import pair_similarity
from tokstore.dedup.sample_rows import SampleRows

COUNT = 40


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: no power is cut here."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


def documents(seed: int = 0, count: int = COUNT) -> list[Any]:
    """Return documents, copies of the second ten with one token in a hundred edited, and copies of the first ten."""
    rng = np.random.default_rng(seed)
    made = [rng.integers(0, 900, int(rng.integers(150, 400))).astype(np.int32) for _ in range(count)]
    for row in made[10:20]:
        copy = row.copy()
        copy[rng.choice(len(row), len(row) // 100, replace=False)] = 901
        made.append(copy)
    return made + [row.copy() for row in made[:10]]


def write(path: Path, rows: list[Any], shards: int = 3, **columns: Any) -> ts.Store:
    """Write a store of documents in some shards."""
    kinds: dict[str, Any] = {"source": ts.Category(optional=True), "q": ts.Score(optional=True)}
    schema = ts.Schema({"tokens": ts.Tokens(1000)} | {name: kinds[name] for name in columns})
    edges = np.linspace(0, len(rows), shards + 1).astype(int).tolist()
    with ts.create(path, schema, level="fast") as writer:
        for a, b in pairwise(edges):
            writer.extend(tokens=ts.Ragged.from_rows(rows[a:b]), **{k: v[a:b] for k, v in columns.items()})
            writer.commit()
    return ts.open(path)


def column(store: ts.Store, name: str) -> list[Any]:
    """Return a column with ``None`` where it is missing."""
    values, missing = np.asarray(store[name]).tolist(), store.missing(name).tolist()
    return [None if gone else value for value, gone in zip(values, missing, strict=True)]


def duplicates(store: ts.Store, name: str) -> dict[str, list[Any]]:
    """Return the columns of a search."""
    parts = ("of", "size", "similarity", "link")
    return {part: column(store, f"dup_{name}_{part}") for part in parts if f"dup_{name}_{part}" in store.schema}


def as_none(values: Any) -> list[Any]:
    """Return numbers of which -1 and NaN are ``None``."""
    return [None if one == -1 or one != one else one for one in values.tolist()]


def test_exact_and_near_columns(tmp_path: Path) -> None:
    """The columns say what the arrays say, as one version each, and nothing is left beside the store."""
    rows = documents()
    store = write(tmp_path / "s", rows)
    before = store.version
    mark(store, "exact")
    found = mark(store, "near")
    assert store.version == before + 2
    assert found.version == store.version
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    plain = exact(rows)
    assert duplicates(store, "exact") == {"of": as_none(plain.of), "size": plain.size.tolist()}
    model = near(rows)
    assert model.link is not None
    assert model.similarity is not None
    assert duplicates(store, "near") == {
        "of": as_none(model.of),
        "size": model.size.tolist(),
        "similarity": as_none(model.similarity),
        "link": as_none(model.link),
    }
    assert as_none(model.of)[COUNT:] == [*range(10, 20), *range(10)]
    assert ts.verify(tmp_path / "s").ok


def test_metadata_say_what_was_done(tmp_path: Path) -> None:
    """Method, parameters, version and counts of every search stand in the metadata, beside those of the user."""
    rows = documents()
    with ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(1000)), metadata={"mine": 1}) as writer:
        writer.extend(tokens=ts.Ragged.from_rows(rows))
    store = ts.open(tmp_path / "s")
    mark(store, "near", seed=7, threshold=0.7, name="loose")
    mark(store, "exact")
    metadata = ts.open(tmp_path / "s").metadata
    assert metadata["mine"] == 1
    assert set(metadata["dedup"]) == {"loose", "exact"}
    note = metadata["dedup"]["loose"]
    expected = {"method": "near", "seed": 7, "threshold": 0.7, "ngram": 5, "bands": 14, "width": 8, "confirm": False}
    assert {key: note[key] for key in expected} == expected
    assert (note["samples"], note["duplicates"], note["clusters"], note["largest"]) == (60, 20, 20, 2)
    assert note["tokstore"] == ts.__version__


def test_a_view_without_duplicates(tmp_path: Path) -> None:
    """One sample of each cluster stays: the first in view order, or the best; those of the view count alone."""
    quality = np.linspace(0, 1, 60).astype(np.float32).tolist()
    quality[COUNT + 10 + 3] = None  # a copy of sample 3 that has no score
    store = write(tmp_path / "s", documents(), q=quality)
    mark(store, "exact")
    first = store.dedup("exact")
    assert first["sample_id"].tolist() == list(range(COUNT + 10))
    assert "exact" in first.recipe
    assert "[10 dropped]" in first.recipe
    best = store.dedup("exact", keep="best", by="q")
    assert best["sample_id"].tolist() == [3, *range(10, COUNT + 10), *range(50, 53), *range(54, 60)]
    late = store.where("sample_id >= 5").dedup("exact")
    assert late["sample_id"].tolist() == list(range(5, 55))  # of 0 to 4 the copies stay
    backwards = store.sort("sample_id", descending=True).dedup("exact")
    assert backwards["sample_id"].tolist() == [*range(59, 9, -1)]
    assert store.select(["q"]).dedup("exact").schema.names == ("q",)
    weighed = first.weigh("dup_exact_size")
    assert weighed.weights.tolist() == [2.0] * 10 + [1.0] * 40
    first.save("clean")
    assert len(ts.open(tmp_path / "s").load("clean")) == COUNT + 10


def test_thresholds_are_chosen_when_reading(tmp_path: Path) -> None:
    """A higher threshold than that of the search splits clusters as the search would have."""
    rng = np.random.default_rng(5)
    rows = [rng.integers(0, 900, 400) for _ in range(12)]
    for turn in range(36):
        copy = rows[turn % 24].copy()  # copies of copies, too
        copy[rng.choice(400, 1 + turn % 9, replace=False)] = 901
        rows.append(copy)
    store = write(tmp_path / "s", rows)
    mark(store, "near", threshold=0.6, name="n")
    sizes = set()
    for threshold in (0.6, 0.7, 0.8, 0.9, 0.95, 1.0):
        model = mark(store, "near", threshold=threshold, name="m")
        floor = model.note["floor"]
        assert np.array_equal(store.dedup("n", threshold=floor)["sample_id"], store.dedup("m")["sample_id"])
        sizes.add(model.duplicates)
    assert len(sizes) > 3
    with pytest.raises(ValueError, match=r"a similarity from 0\.507, below which duplicates 'n' were not looked for"):
        store.dedup("n", threshold=0.5)
    clusters = mark(store, "near", threshold=0.9, name="m", where="sample_id != 0")
    floor = clusters.note["floor"]
    last = store.sort("sample_id", descending=True).where("sample_id != 0").dedup("n", threshold=floor)
    assert len(last) == clusters.samples - clusters.duplicates
    assert last["sample_id"].tolist() == sorted(last["sample_id"].tolist(), reverse=True)
    best = store.dedup("n", keep="best", by="dup_n_size", threshold=0.9)
    assert len(best) == len(store.dedup("n", threshold=0.9))


def test_confirmed_samples_are_like_the_one_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a chain of copies drifts away, all samples are similar to the one that stays; appends keep to that."""
    rng = np.random.default_rng(0)
    chain = [rng.integers(0, 900, 400)]
    for _ in range(40):  # a tenth of the grams change from each to the next
        copy = chain[-1].copy()
        copy[rng.choice(400, 5, replace=False)] = rng.integers(0, 900, 5)
        chain.append(copy)
    store = write(tmp_path / "s", chain[:30])

    def check(found: Any, rows: int) -> None:
        of, stays = np.asarray(store["dup_near_of"]), store.missing("dup_near_of")
        lost = np.flatnonzero(~stays)
        ragged = ts.Ragged.from_rows(chain[:rows])
        true = pair_similarity(ragged.values, ragged.lengths, of[lost], lost, 5)
        assert (true >= np.float32(0.8)).all()
        assert rows // 6 < found.duplicates < rows - 5
        assert found.note["split"] > 2
        assert stays[of[lost]].all()

    check(mark(store, "near", confirm=True, keep_signatures=True), 30)
    single = mark(store, "near", name="all")
    assert single.clusters < 3  # which follows the chain to its end
    of = column(store, "dup_near_of")
    with store.writer() as writer:
        writer.extend(tokens=ts.Ragged.from_rows(chain[30:]))
    compared: list[int] = []
    before = method_module.true_similarity

    def counting(*args: Any) -> Any:
        score = before(*args)
        return lambda a, b: (compared.extend(b.tolist()), score(a, b))[1]

    monkeypatch.setattr(method_module, "true_similarity", counting)
    check(mark(store, "near", confirm=True), 41)
    assert column(store, "dup_near_of")[:25] == of[:25]
    assert min(compared) > 25  # nothing is compared again that stays what it was


def test_deleted_representatives(tmp_path: Path) -> None:
    """Where the first sample of a cluster is deleted, one of the others stays, also at a threshold and after a run."""
    rows = documents()
    rows += [row.copy() for row in rows[:10]]
    rows += [rows[41].copy()]  # 70 is a copy of 41, which is nearly 11
    store = write(tmp_path / "s", rows)
    mark(store, "near", keep_signatures=True)
    assert (column(store, "dup_near_of")[70], column(store, "dup_near_link")[70]) == (11, 41)
    store.delete(ids=[0, 1, 10, 55])
    # 50 and 60 are copies of 0, 51 and 61 of 1; 40 is one of 10.
    expected = [*range(2, 10), *range(11, COUNT), 40, 50, 51]
    for view in (store.dedup("near"), store.dedup("near", threshold=0.75)):
        assert sorted(view["sample_id"].tolist()) == sorted(expected)
    with store.writer() as writer:
        writer.append(tokens=rows[0])
    store.delete(ids=[41])
    mark(store, "near")
    assert store.metadata["dedup"]["near"]["read"] == 1
    assert sorted(store.dedup("near")["sample_id"].tolist()) == sorted(expected)
    of = dict(zip(store["sample_id"].tolist(), column(store, "dup_near_of"), strict=True))
    assert [of[i] for i in (50, 60, 71, 40, 51, 61, 70)] == [None, 50, 50, None, None, 51, 11]


@pytest.mark.parametrize("method", ["exact", "near"])
def test_new_rows_against_old_ones(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With kept signatures an append reads the new samples alone, and the result is that of a run over all."""
    rows, more = documents(), documents(seed=1, count=12)
    more += [rows[2].copy(), rows[25].copy(), more[0].copy()]
    store = write(tmp_path / "s", rows)
    mark(store, method, keep_signatures=True)
    with store.writer() as writer:
        writer.extend(tokens=ts.Ragged.from_rows(more))
    read: list[int] = []
    before = SampleRows.read

    def counting(self: SampleRows, some: Any) -> Any:
        read.extend(some.tolist())
        return before(self, some)

    monkeypatch.setattr(SampleRows, "read", counting)
    found = mark(store, method)
    assert found.note["read"] == len(more)
    if method == "near":
        assert sorted(read) == list(range(len(rows), len(rows) + len(more)))
    assert not store.missing(f"dup_{method}_signature").any()
    anew = write(tmp_path / "t", rows + more)
    mark(anew, method)
    assert duplicates(store, method) == duplicates(anew, method)
    assert found.duplicates == (10 + 10 + 3 if method == "exact" else 20 + 2 + 10 + 3)
    # The same again reads nothing, and other parameters do not trust what was kept.
    assert mark(store, method).note["read"] == 0
    assert duplicates(store, method) == duplicates(anew, method)
    if method == "near":
        assert mark(store, method, threshold=0.99).note["read"] == 0
        assert mark(store, method, seed=1).note["read"] == len(rows) + len(more)
        assert "dup_near_signature" not in store.schema


def test_scopes(tmp_path: Path) -> None:
    """`within` keeps categories apart, `where` leaves samples without values, and another name is another search."""
    rows = documents()
    rows[45] = rows[0].copy()
    source: list[Any] = ["a"] * 45 + ["b"] * 10 + ["a"] * 5
    source[12] = None
    store = write(tmp_path / "s", rows, source=source)
    mark(store, "exact")
    mark(store, "exact", name="by_source", within=["source"])
    mark(store, "near", name="b", where="source == 'b'")
    assert [i for i, one in enumerate(column(store, "dup_exact_of")) if one is not None] == [45, *range(50, 60)]
    # 45 to 54 are of source b: 45 and 50 are equal there, and 55 to 59 are copies of 5 to 9 of source a.
    of = column(store, "dup_by_source_of")
    assert {i: one for i, one in enumerate(of) if one is not None} == {50: 45, 55: 5, 56: 6, 57: 7, 58: 8, 59: 9}
    size = column(store, "dup_b_size")
    assert [i for i, one in enumerate(size) if one is not None] == list(range(45, 55))
    assert [i for i, one in enumerate(column(store, "dup_b_of")) if one is not None] == [50]
    # What was not compared is no duplicate of anything.
    assert len(store.dedup("b")) == 59
    # A scope that changes is compared anew, though signatures are there.
    mark(store, "near", name="b", where="source == 'b'", keep_signatures=True)
    store.fill_column("source", ["b"], ids=[0])
    assert mark(store, "near", name="b", where="source == 'b'").note["read"] == 1
    assert column(store, "dup_b_of")[45] == 0
    for source, expected in (("a", None), ("b", 0)):  # whose signature is there, but was not compared the last time
        store.fill_column("source", [source], ids=[45])
        assert mark(store, "near", name="b", where="source == 'b'").note["read"] == 0
        assert column(store, "dup_b_of")[45] == expected


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before an end of any kind is not read again; another plan begins anew."""
    rows = documents()
    store = write(tmp_path / "s", rows)
    monkeypatch.setattr("tokstore.dedup.sample_rows._ROWS", 8)
    before, read = SampleRows.read, list[int]()

    def failing(self: SampleRows, some: Any) -> Any:
        if len(read) >= 40:
            raise KeyboardInterrupt
        read.extend(some.tolist())
        return before(self, some)

    monkeypatch.setattr(SampleRows, "read", failing)
    version = store.version
    with pytest.raises(KeyboardInterrupt):
        mark(store, "near")
    assert store.version == version
    assert (tmp_path / "s.dedup-near" / "plan.json").is_file()
    read.clear()
    monkeypatch.setattr(marking_module, "search", lambda *args, **named: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        mark(store, "near")
    assert sorted(read) == list(range(40, 60))  # five units of eight were there
    monkeypatch.undo()
    monkeypatch.setattr("tokstore.dedup.sample_rows._ROWS", 8)
    monkeypatch.setattr(SampleRows, "read", lambda self, some: pytest.fail("read again"))
    mark(store, "near")
    assert len(store.dedup("near")) == COUNT
    assert not (tmp_path / "s.dedup-near").exists()


def test_two_runs_at_a_time(tmp_path: Path) -> None:
    """A second process that looks for the same is refused, and takes nothing from the first."""
    store = write(tmp_path / "s", documents())
    code = (
        "import sys, tokstore as ts\nfrom pathlib import Path\nfrom tokstore.dedup.workspace import workspace\n"
        "with workspace(Path(sys.argv[1]), {}):\n    print('in', flush=True)\n    sys.stdin.readline()\n"
    )
    folder = tmp_path / "s.dedup-exact"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with pytest.raises(ts.ConflictError, match="another process looks for the same duplicates"):
            mark(store, "exact")
        other.communicate("\n")
    mark(store, "exact")


def test_other_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts, codes and numbers have duplicates too; categories are refused, and samples without a value left out."""
    monkeypatch.setattr("tokstore.dedup.sample_rows._ROWS", 2)
    schema = ts.Schema(url=ts.Text(optional=True), codes=ts.Codes(9, (2,)), v=ts.Vector(3), c=ts.Category())
    with ts.create(tmp_path / "s", schema) as writer:
        writer.extend(
            url=["x", "y", None, "x", None, ""],
            codes=[[1, 2], [1, 2], [2, 1], [0, 0], [2, 1], [1, 1]],
            v=np.array([[0, 1, 2], [0, 1, 2], [0, 0, 0], [-0.0, 0, 0], [1, 1, 1], [0, 0, 0]], np.float32),
            c=list("aabbcc"),
        )
    store = ts.open(tmp_path / "s")
    for name, expected in (
        ("url", [None, None, None, 0, None, None]),
        ("codes", [None, 0, None, None, 2, None]),
        ("v", [None, 0, None, None, None, 2]),
    ):
        mark(store, "exact", name=name, column=name)
        assert column(store, f"dup_{name}_of") == expected
    assert column(store, "dup_url_size") == [2, 1, None, 2, None, 1]
    with pytest.raises(TypeError, match="'c' is Category"):
        mark(store, "exact", column="c")
    with pytest.raises(TypeError, match="near duplicates are looked for in integers, not in float32"):
        mark(store, "near", column="v")


def test_what_dedup_says_without_its_columns(tmp_path: Path) -> None:
    """The error has the command that makes the columns; columns of another store are refused."""
    store = write(tmp_path / "s", documents())
    with pytest.raises(ts.ColumnError, match="no column 'dup_near_of'; `tokstore dedup STORE --method near` makes it"):
        store.dedup("near")
    mark(store, "exact")
    with pytest.raises(ts.ColumnError, match="--name exakt` makes it; did you mean 'exact'"):
        store.dedup("exakt")
    with pytest.raises(ts.ColumnError, match="exact duplicates have no threshold"):
        store.dedup("exact", threshold=0.9)
    for wrong in ({"keep": "last"}, {"keep": "best"}, {"by": "q"}):
        with pytest.raises(ValueError, match='keep is "first", or "best" with by='):
            store.dedup("exact", **wrong)  # type: ignore[arg-type]
    store.where("sample_id > 5").materialize(tmp_path / "t")
    with pytest.raises(ValueError, match="made in another store and name its samples"):
        ts.open(tmp_path / "t").dedup("exact")


def test_what_mark_refuses(tmp_path: Path) -> None:
    """Wrong arguments, empty scopes, read-only stores and a metadata key that is taken are told."""
    store = write(tmp_path / "s", documents())
    for options, says in (
        ({"threshold": 0}, "above 0 and at most 1"),
        ({"threshold": 1.5}, "above 0 and at most 1"),
        ({"bands": 0}, "bands is an integer from 1"),
        ({"name": "a-b"}, "a name of duplicates is"),
        ({"memory": 100}, "memory is at least 16 MB"),
        ({"where": "sample_id > 1000"}, "no sample is in scope"),
    ):
        with pytest.raises(ValueError, match=says):
            mark(store, "near", **options)  # type: ignore[arg-type]
    for method, wrong, says in (
        ("exact", {"threshold": 0.9}, "threshold is for near and semantic duplicates, not for exact ones"),
        ("exact", {"confirm": True}, "confirm is for near duplicates"),
        ("near", {"groups": 3}, "groups is for semantic duplicates"),
    ):
        with pytest.raises(ValueError, match=says):
            mark(store, method, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ts.ColumnError, match="no column 'tokenz'"):
        mark(store, "exact", column="tokenz")
    with pytest.raises(ts.UnsupportedError, match="read-only"):
        mark(ts.open(tmp_path / "s", version=1), "exact")
    with ts.create(tmp_path / "t", ts.Schema(tokens=ts.Tokens(9)), metadata={"dedup": "yes"}) as writer:
        writer.append(tokens=[1])
    other = ts.open(tmp_path / "t")
    with pytest.raises(ValueError, match='metadata of the store have the key "dedup"'):
        mark(other, "exact")
    assert ts.verify(tmp_path / "t").ok
    assert list((tmp_path / "t").glob("columns/*")) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "t"]


def test_command_line(tmp_path: Path) -> None:
    """The verb prints facts, as text and as JSON; wrong use is 2, and failure one line."""
    write(tmp_path / "s", documents())
    done = run("dedup", "s", "--method", "near", "--keep-signatures", "--memory", "64MiB", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"20 of 60 samples are near duplicates, in 20 clusters of at most 2" in done.stdout
    found = facts("dedup", "s", "--method", "exact", "--temp", "work", cwd=tmp_path)
    assert (found["name"], found["duplicates"], found["samples"]) == ("exact", 10, 60)
    assert not (tmp_path / "work").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("what others keep there stays")
    for options in (("--method", "exact"), ("--method", "spans")):
        assert run("dedup", "s", *options, "--temp", "mine", cwd=tmp_path).returncode == 0
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]
    assert run("dedup", "s", cwd=tmp_path).returncode == 2
    assert run("dedup", "s", "--method", "near", "--memory", "lots", cwd=tmp_path).returncode == 2
    failed = run("dedup", "s", "--method", "near", "--threshold", "2", cwd=tmp_path)
    assert (failed.returncode, failed.stderr.count(b"\n")) == (1, 1)
    assert len(ts.open(tmp_path / "s").dedup("near")) == COUNT


def test_columns_that_were_changed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples that others append have no value; a search that others finished first is not overwritten unseen."""
    rows = documents()
    store, other = write(tmp_path / "s", rows), ts.open(tmp_path / "s")
    with other.writer() as writer:
        writer.append(tokens=rows[0])
    mark(store, "exact")
    assert column(store, "dup_exact_size")[-1] is None
    assert len(store) == 61
    late = ts.open(tmp_path / "s")
    mark(store, "exact")
    with pytest.raises(ts.ConflictError, match="'dup_exact_of' was dropped meanwhile"):
        mark(late, "exact")
    late.refresh()
    mark(late, "exact")
    assert column(late, "dup_exact_of")[-1] == 0
    assert ts.verify(tmp_path / "s").ok
