"""Foreign formats with the real packages: what they write comes in, and what we write they read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import duckdb
import litdata
import lmdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
import webdataset as wds
from litdata.streaming.item_loader import TokensLoader
from litdata.streaming.writer import BinaryWriter

import tokstore as ts

# webdataset leaves the archives that it has read open until they are collected.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

RNG = np.random.default_rng(0)
ROWS = [RNG.integers(0, 60_000, int(n)).astype(np.int64) for n in RNG.integers(1, 100, 300)]
RAGGED = ts.Ragged.from_rows(ROWS, np.int32)
URLS = [f"ü{i}" for i in range(300)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ts.Store:
    """A store that the packages are given."""
    path = tmp_path_factory.mktemp("peers") / "s"
    schema = ts.Schema(
        tokens=ts.Tokens(60_000), score=ts.Score(optional=True), source=ts.Category(), url=ts.Text(optional=True),
        vector=ts.Vector(3), mask=ts.Mask("tokens"),
    )  # fmt: skip
    with ts.create(path, schema) as w:
        w.extend(
            tokens=RAGGED, score=np.ma.MaskedArray(np.arange(300) / 7, np.arange(300) % 10 == 0),
            source=[f"s{i % 3}" for i in range(300)], url=[None if i % 4 == 0 else one for i, one in enumerate(URLS)],
            vector=np.arange(900).reshape(300, 3), mask=ts.Ragged(RAGGED.values % 2 == 0, RAGGED.lengths),
        )  # fmt: skip
    return ts.open(path)


def examples() -> dict[str, Any]:
    """Return columns as lists."""
    return {"input_ids": [row.tolist() for row in ROWS], "score": [i / 7 for i in range(300)], "url": URLS}


@pytest.mark.parametrize("how", ["saved", "memory", "selected", "iterable"])
def test_datasets_in(tmp_path: Path, how: str) -> None:
    """Saved folders, datasets in memory, with indices, and iterable ones come in with the same values."""
    made = datasets.Dataset.from_dict(examples())
    order = list(range(300))
    source: Any = made
    if how == "selected":
        order = order[::-1]
        source = made.select(order)
    elif how == "iterable":
        source = made.to_iterable_dataset(num_shards=3)
    elif how == "saved":
        made.save_to_disk(str(tmp_path / "d"), num_shards=3)
        source = tmp_path / "d"
    report = ts.pack(source, tmp_path / "s")
    back = ts.open(tmp_path / "s")
    assert report.verified
    assert back["input_ids"] == RAGGED[order]
    assert back["score"].tolist() == [i / 7 for i in order]
    assert back["url"] == [URLS[i] for i in order]


def test_datasets_out(store: ts.Store, tmp_path: Path) -> None:
    """A folder of ours is loaded by `datasets`, and comes back with its exact types."""
    store.export(tmp_path / "d", format="hf")
    found = datasets.load_from_disk(str(tmp_path / "d"))
    assert found["tokens"][:] == RAGGED.to_list()
    assert found["url"][:] == store["url"]
    assert found["source"][:] == store["source"]
    ts.pack(tmp_path / "d", tmp_path / "s")
    back = ts.open(tmp_path / "s")
    assert back.schema == store.schema
    assert back["mask"] == store["mask"]
    assert np.array_equal(back.missing("score"), store.missing("score"))
    datasets.DatasetDict({"train": found}).save_to_disk(str(tmp_path / "dict"))
    with pytest.raises(ValueError, match="several splits"):
        ts.pack(tmp_path / "dict", tmp_path / "t")


def test_to_hf(store: ts.Store) -> None:
    """An iterable dataset reads the store, and is dealt to workers without loss or repetition."""
    found = store.to_hf()
    rows = list(found)
    assert [row["tokens"] for row in rows] == RAGGED.to_list()
    assert [row["url"] for row in rows] == store["url"]
    assert next(iter(store.where("score > 30").to_hf()))["score"] == pytest.approx(211 / 7)
    loader = torch.utils.data.DataLoader(found.select_columns(["vector"]).with_format("torch"), batch_size=50)
    assert sum(len(batch["vector"]) for batch in loader) == 300


def test_arrow_takers(store: ts.Store) -> None:
    """DuckDB, polars, pandas and pyarrow take a store and a view as they are."""
    assert duckdb.sql("select count(*), sum(len(tokens)) from store").fetchall() == [(300, len(RAGGED.values))]
    assert duckdb.sql("select source, count(*) from store group by source order by source").fetchall() == [
        ("s0", 100), ("s1", 100), ("s2", 100),
    ]  # fmt: skip
    frame = pl.DataFrame(store)
    assert frame["tokens"].to_list() == RAGGED.to_list()
    assert frame["score"].null_count() == 30
    assert pl.DataFrame(store.where("score > 30"))["score"].min() > 30
    table = pd.DataFrame.from_arrow(store)
    assert table["url"].isna().sum() == 75
    assert pa.table(store)["tokens"].to_pylist() == RAGGED.to_list()


@pytest.mark.parametrize("make", [pl.DataFrame, pd.DataFrame, pa.table])
def test_tables_in(tmp_path: Path, make: Any) -> None:
    """Tables in memory come in as they are."""
    ts.pack(make(examples()), tmp_path / "s")
    back = ts.open(tmp_path / "s")
    assert back["input_ids"] == RAGGED
    assert back["url"] == URLS


def test_webdataset_in(tmp_path: Path) -> None:
    """Tars of `webdataset` come in: arrays, objects, texts, classes and bytes; keys that are names become a column."""
    with wds.TarWriter(str(tmp_path / "x.tar")) as out:
        for i, row in enumerate(ROWS):
            out.write({
                "__key__": f"a/key{i}", "input_ids.npy": row.astype(np.uint16), "json": {"score": i / 7, "n": i},
                "txt": URLS[i], "cls": i % 5, "jpg": None, "raw.bin": bytes([i % 256]) * 3,
            } | {"jpg": b"\xff\xd8" + bytes([i % 256])})  # fmt: skip
    report = ts.pack(tmp_path / "x.tar", tmp_path / "s")
    back = ts.open(tmp_path / "s")
    assert report.format == "webdataset"
    assert back["input_ids"] == RAGGED
    assert back["score"].tolist() == [i / 7 for i in range(300)]
    assert back["txt"] == URLS
    assert back["cls"].tolist() == [i % 5 for i in range(300)]
    assert back["raw"] == [bytes([i % 256]) * 3 for i in range(300)]
    assert back["jpg"][7] == b"\xff\xd8\x07"
    assert back["__key__"][7] == "a/key7"


def test_webdataset_out(store: ts.Store, tmp_path: Path) -> None:
    """`webdataset` reads our tars, in shards or as one."""
    store.export(tmp_path / "x.tar")
    store.export(tmp_path / "many", format="webdataset", shard_rows=120)
    urls = [str(tmp_path / "x.tar"), str(tmp_path / "many" / "{000000..000002}.tar")]
    for url in urls:
        rows = list(wds.WebDataset(url, shardshuffle=False, empty_check=False).decode())
        assert [row["tokens.npy"].tolist() for row in rows] == RAGGED.to_list()
        assert [row["json"].get("url") for row in rows] == store["url"]
        assert np.array_equal(np.stack([row["vector.npy"] for row in rows]), store["vector"])


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_litdata_in(tmp_path: Path, compression: str | None) -> None:
    """Chunks of LitData come in, compressed or not; and its streams of tokens."""
    if compression == "zstd":
        pytest.importorskip("zstd")
    (tmp_path / "c").mkdir()
    out = BinaryWriter(
        str(tmp_path / "c"), chunk_bytes=20_000, compression=compression, compression_level=compression and "chunk"
    )
    for i, row in enumerate(ROWS):
        out[i] = {
            "input_ids": torch.from_numpy(row), "url": URLS[i], "n": i, "score": i / 7, "raw": b"x" * (i % 3),
            "frames": np.full((2, 3), i, np.float32),
        }  # fmt: skip
    out.done()
    out.merge(1)
    assert len(litdata.StreamingDataset(str(tmp_path / "c"))) == 300
    report = ts.pack(tmp_path / "c", tmp_path / "s")
    back = ts.open(tmp_path / "s")
    assert report.format == "litdata"
    assert back["input_ids"] == RAGGED
    assert back["url"] == URLS
    assert back["n"].tolist() == list(range(300))
    assert back["score"].tolist() == [i / 7 for i in range(300)]
    assert back["raw"] == [b"x" * (i % 3) for i in range(300)]
    assert np.array_equal(back["frames"].values[::2, 0], np.arange(300))
    (tmp_path / "t").mkdir()
    flat = BinaryWriter(str(tmp_path / "t"), chunk_size=5000, item_loader=TokensLoader(block_size=10))
    for i, row in enumerate(ROWS):
        flat[i] = torch.from_numpy(row.astype(np.int32))
    flat.done()
    flat.merge(1)
    ts.pack(tmp_path / "t", tmp_path / "u")
    assert ts.open(tmp_path / "u")["tokens"] == RAGGED
    (tmp_path / "t" / "index.json").unlink()
    with pytest.raises(ts.MissingFileError, match="never finished"):
        ts.pack(tmp_path / "t", tmp_path / "v")


def test_lmdb_in(tmp_path: Path) -> None:
    """Records of LMDB come in by key, as bytes, and no lock file is left in a folder that is only read."""
    with lmdb.open(str(tmp_path / "l"), map_size=1 << 26) as environment, environment.begin(write=True) as transaction:
        for i in range(300):
            transaction.put(f"{i:06d}".encode(), ROWS[i].tobytes())
    (tmp_path / "l" / "lock.mdb").unlink()
    report = ts.pack(tmp_path / "l", tmp_path / "s")
    back = ts.open(tmp_path / "s")
    assert (report.format, report.samples) == ("lmdb", 300)
    assert back["key"] == [f"{i:06d}" for i in range(300)]
    assert back["value"] == [row.tobytes() for row in ROWS]
    assert sorted(one.name for one in (tmp_path / "l").iterdir()) == ["data.mdb"]


TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
)


def chat_folder(path: Path, tokenizer_file: Path, template: str) -> Path:
    """Save a tokenizer with a chat template."""
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_file))
    made.chat_template = template
    made.save_pretrained(str(path))
    return path


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_messages(tmp_path: Path, tokenizer_file: Path, form: str) -> None:
    """Chats go through the template, whose mask of the assistant is a column; one that marks nothing is refused."""
    chats = [
        [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "the lazy dog"}],
        [{"role": "assistant", "content": "fox"}],
    ]
    path = tmp_path / f"x.{form}"
    if form == "jsonl":
        path.write_text("".join(json.dumps({"messages": one, "n": i}) + "\n" for i, one in enumerate(chats)))
    else:
        datasets.Dataset.from_dict({"messages": chats, "n": [0, 1]}).to_parquet(str(path))
    folder = chat_folder(tmp_path / "tok", tokenizer_file, TEMPLATE)
    ts.pack(path, tmp_path / "s", messages="messages", tokenizer=folder)
    store = ts.open(tmp_path / "s")
    assert store.text(0) == "<|user|>hi<|assistant|>the lazy dog"
    assert store.schema["loss_mask"] == ts.Mask("tokens")
    kept = store["tokens"][0][store["loss_mask"][0]]
    from transformers import AutoTokenizer

    assert AutoTokenizer.from_pretrained(folder).decode(kept) == "the lazy dog"
    assert store["n"].tolist() == [0, 1]
    plain = TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    bare = chat_folder(tmp_path / "bare", tokenizer_file, plain)
    with pytest.raises(ValueError, match="marks nothing"):
        ts.pack(path, tmp_path / "t", messages="messages", tokenizer=bare)
    user = [[{"role": "user", "content": "hi"}]]
    (tmp_path / "y.jsonl").write_text("".join(json.dumps({"messages": one}) + "\n" for one in [*chats, *user]))
    with pytest.raises(ValueError, match=r"y\.jsonl: row 3: .*marks nothing"):
        ts.pack(tmp_path / "y.jsonl", tmp_path / "t", messages="messages", tokenizer=folder)
    assert (
        ts.pack(tmp_path / "y.jsonl", tmp_path / "t", messages="messages", tokenizer=folder, on_error="skip").samples
        == 2
    )
