"""n-grams of words: ids as the bytes of their text, bytes as words, and duplicates that tokens do not show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokstore as ts
from test_cli_upkeep import facts, run
from tokstore.dedup import mark
from tokstore.dedup.report import report_html
from tokstore.dedup.token_bytes import TokenBytes
from tokstore.dedup.words import word_rows

LINES = ["The quick brown fox, it jumps over\tthe lazy dog!", "naïve café — “don't” 中文。かな 한국어 🙂x", "a  b\n"]


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: no power is cut here."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


def rows_of(texts: list[bytes]) -> tuple[Any, Any]:
    """Return bytes as flat values and lengths."""
    return np.frombuffer(b"".join(texts), np.uint8), np.array([len(one) for one in texts], np.int64)


def tokenizer(kind: str) -> Any:
    """Return a small tokenizer of the library."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    if kind == "wordpiece":
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.pre_tokenizer, made.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(cleanup=False)
        trainer: Any = trainers.WordPieceTrainer(
            vocab_size=120, special_tokens=["[UNK]"], show_progress=False, continuing_subword_prefix="##"
        )
    elif kind == "metaspace":
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=100, special_tokens=["<s>"], show_progress=False)
    else:  # as LlaMA has it: spaces as a mark, bytes for what is unknown
        hexes = [f"<0x{byte:02X}>" for byte in range(256)]
        vocab = {piece: i for i, piece in enumerate(["<unk>", *hexes, "▁", *"abcdefghijklmnopqrstuvwxyzT"])}
        made = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True))
        made.normalizer = normalizers.Replace(" ", "▁")
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        return made
    made.train_from_iterator(LINES * 5, trainer)
    return made


@pytest.mark.parametrize("kind", ["bytes", "wordpiece", "metaspace", "fallback", "none"])
def test_ids_have_the_text_that_the_library_decodes(kind: str, tokenizer_file: Path) -> None:
    """Texts of many rows by the table are those of the tokenizers library, one by one, but for the space in front."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_file(str(tokenizer_file)) if kind in ("bytes", "none") else tokenizer(kind)
    made.no_truncation()
    made.no_padding()
    given = json.loads(made.to_str())
    if kind == "none":
        given["decoder"] = None
        made = Tokenizer.from_str(json.dumps(given))
    made.add_special_tokens(["<|end of text|>"])
    ids = [made.encode(line).ids for line in [*LINES, *LINES[::-1]]] + [[], [made.token_to_id("<|end of text|>")]]
    table = TokenBytes.of_tokenizer(made.to_str().encode())
    values, lengths = table.decode(
        np.array([one for row in ids for one in row], np.uint32), np.array([len(row) for row in ids])
    )
    texts = np.split(values, np.cumsum(lengths)[:-1])
    for row, text in zip(ids, texts, strict=True):
        expected = made.decode(row, skip_special_tokens=False)
        assert text.tobytes().decode(errors="replace").removeprefix(" ") == expected.removeprefix(" ")
    assert max(len(text) for text in texts) > 40


def test_tokenizers_that_are_none() -> None:
    """What is no tokenizer is told, and so is a decoder by which an id alone has no text."""
    for wrong in (
        b"",
        b"[]",
        b'{"model": {}}',
        b'{"model": {"vocab": {"a": -1}}}',
        b'{"model": {"vocab": {"a": "x"}}}',
    ):
        with pytest.raises(ts.CorruptError, match=r"tokenizer\.json is no tokenizer"):
            TokenBytes.of_tokenizer(wrong)
    with pytest.raises(ts.UnsupportedError, match=r"has a decoder 'CTC', by which an id alone has no text"):
        TokenBytes.of_tokenizer(b'{"model": {"vocab": {"a": 0}}, "decoder": {"type": "CTC"}}')
    with pytest.raises(ts.UnsupportedError, match="a table of 4,294,967,296 token ids is too large"):
        TokenBytes.of_tokenizer(b'{"model": {"vocab": {"a": 4294967295}}}')


def plain_words(text: str) -> list[str]:
    """Return the words of a text by a regular expression; of one without any, all of it."""
    folded = re.sub("[A-Z]", lambda found: found[0].lower(), text)
    gap = "\u0080-\u00bf\u2000-\u207f\u3000-\u303f"
    found = re.findall(rf"[\u3040-\U0010ffff]|(?:(?![{gap}\u3040-\U0010ffff])[a-z0-9\u0080-\uffff])+", folded)
    return found or ([f"\0{text}"] if text else [])


@given(st.lists(st.text(st.sampled_from("aB1 .-é«\u00a0—’…中。か한🙂\u1100"), max_size=12), max_size=7))
@settings(max_examples=60)
def test_words(texts: list[str]) -> None:
    """Words are those of a regular expression: as many, and equal where they are equal; row by row as together."""
    hashes, counts = word_rows(*rows_of([one.encode() for one in texts]))
    words = [word for text in texts for word in plain_words(text)]
    assert counts.tolist() == [len(plain_words(text)) for text in texts]
    known: dict[str, int] = {}
    for word, one in zip(words, hashes.tolist(), strict=True):
        assert known.setdefault(word, one) == one
    assert len(set(known.values())) == len(known)


def test_words_of_every_length() -> None:
    """Words that differ in their length, or in their last letter alone, are different; the same ones are equal."""
    texts = [b"a" * n + last for n in range(1, 90) for last in (b"", b"b")] + [b"." * 70, b"." * 71]
    hashes, counts = word_rows(*rows_of(texts + texts))
    assert counts.tolist() == [1] * 2 * len(texts)
    assert len(set(hashes.tolist())) == len(texts)
    assert hashes[: len(texts)].tolist() == hashes[len(texts) :].tolist()


@given(st.lists(st.binary(max_size=5) | st.sampled_from([b"\xe3", b"\x80a", b"\xe2\x80", b"\xc2", b"\xf0\x9f\x99"])))
@settings(max_examples=60)
def test_words_of_a_row_are_its_own(texts: list[bytes]) -> None:
    """Bytes that are no UTF-8, and characters cut at the end of a row, take nothing from the next row."""
    hashes, counts = word_rows(*rows_of(texts))
    alone = [word_rows(*rows_of([one])) for one in texts]
    assert counts.tolist() == [int(one[1][0]) for one in alone]
    assert hashes.tolist() == [value for one in alone for value in one[0].tolist()]


def corpus(path: Path, tokenizer_file: Path) -> ts.Store:
    """Write texts in tokens, and again one byte at a time, with other spaces and capitals."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_file(str(tokenizer_file))
    made.no_truncation()
    made.no_padding()
    rng = np.random.default_rng(0)
    texts = [" ".join("".join(map(chr, word)) for word in rng.integers(97, 123, (60, 6))) for _ in range(12)]
    rows = [made.encode(text).ids for text in texts]
    letters = made.encode("\n".join(map(chr, range(32, 127)))).ids  # one id per byte
    by_byte = {made.decode([one]): one for one in letters}
    rows += [[by_byte[c] for c in re.sub(" ", ",  ", text.upper())] for text in texts[:4]]
    attachments = {"tokenizer.json": tokenizer_file}
    schema = ts.Schema(tokens=ts.Tokens(300), text=ts.Text(optional=True), q=ts.Score(optional=True))
    with ts.create(path, schema, attachments=attachments) as writer:
        writer.extend(tokens=rows, text=texts + [text.upper() for text in texts[:4]])
    return ts.open(path)


def test_duplicates_by_words(tmp_path: Path, tokenizer_file: Path) -> None:
    """Equal texts in other tokens are duplicates by words and not by tokens; the note says of what n-grams are."""
    store = corpus(tmp_path / "s", tokenizer_file)
    assert mark(store, "near", keep_signatures=True).duplicates == 0
    for confirm in (False, True):
        found = mark(store, "near", ngrams="text", confirm=confirm, keep_signatures=True)
        assert found.note["read"] == (0 if confirm else 16)  # signatures of tokens are not those of words
        of, stays = np.asarray(store["dup_near_of"]), store.missing("dup_near_of")
        assert np.flatnonzero(~stays).tolist() == [12, 13, 14, 15]
        assert of[~stays].tolist() == [0, 1, 2, 3]
        assert (np.asarray(store["dup_near_similarity"])[~stays] == 1).all()
    note = store.metadata["dedup"]["near"]
    assert note["ngrams"] == "text"
    assert len(note["tokenizer"]) == 64
    assert "100.0% have a true Jaccard similarity" in report_html(store, "near")
    assert mark(store, "near").note["read"] == 16
    assert mark(store, "near", name="t", column="text", ngrams="text").duplicates == 4
    found = facts("dedup", "s", "--method", "near", "--name", "w", "--ngrams", "text", "--ngram", 3, cwd=tmp_path)
    assert (found["ngrams"], found["ngram"], found["duplicates"]) == ("text", 3, 4)


def test_what_words_need(tmp_path: Path) -> None:
    """Without a tokenizer the error says what to do; bytes need none; other columns and methods are refused."""
    with ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(256), q=ts.Score())) as writer:
        writer.extend(tokens=[[1, 2], [3]], q=[0.5, 1])
    store = ts.open(tmp_path / "s")
    with pytest.raises(ts.MissingFileError, match=r'no tokenizer\.json is attached, so that ngrams="text" has no text'):
        mark(store, "near", ngrams="text")
    with pytest.raises(TypeError, match="for tokens and texts, and column 'q' is Score"):
        mark(store, "near", ngrams="text", column="q")
    with pytest.raises(ValueError, match='ngrams is "tokens" or "text", not \'words\''):
        mark(store, "near", ngrams="words")
    with pytest.raises(ValueError, match="ngrams is for near duplicates, not for exact ones"):
        mark(store, "exact", ngrams="text")
    assert run("dedup", "s", "--method", "spans", "--ngrams", "text", cwd=tmp_path).returncode == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]
    with ts.create(tmp_path / "b", ts.Schema(tokens=ts.Tokens(256)), metadata={"tokenizer": "bytes"}) as writer:
        writer.extend(tokens=[list(b"One, two"), list(b"one two."), list(b"one  three"), list(b"..."), list(b",,,")])
    made = ts.open(tmp_path / "b")
    mark(made, "near", ngrams="text")
    assert np.flatnonzero(~made.missing("dup_near_of")).tolist() == [1]
