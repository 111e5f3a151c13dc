"""The report of a search for duplicates: one file that needs no other, with the figures of the columns."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import tokstore as ts
from test_cli_upkeep import run
from tokstore.dedup import mark
from tokstore.dedup.report import report_html


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: no power is cut here."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


class Balanced(HTMLParser):
    """Check that every element is closed, and collect the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element, unless it has no content."""
        if tag not in ("meta", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Take an element back."""
        if tag != "rect":
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.text += data


def corpus(path: Path, text: bool) -> ts.Store:
    """Write texts as bytes: one comes five times, another with one letter changed, and one holds markup."""
    rng = np.random.default_rng(0)
    texts = [bytes(rng.integers(97, 123, 300).astype(np.uint8)) for _ in range(12)]
    texts += [texts[3]] * 4 + [texts[5][:150] + b"#" + texts[5][151:], b"<script>alert(1)</script>" * 9] * 2
    metadata = {"tokenizer": "bytes"} if text else None
    with ts.create(path, ts.Schema(tokens=ts.Tokens(256)), metadata=metadata) as writer:
        writer.extend(tokens=[list(one) for one in texts])
    return ts.open(path)


@pytest.mark.parametrize("text", [False, True])
def test_report(text: bool, tmp_path: Path) -> None:
    """It has counts, precision, sizes and texts, nothing from outside, and no markup of the samples."""
    store = corpus(tmp_path / "s", text)
    mark(store, "near")
    made = report_html(store, "near")
    page = Balanced()
    page.feed(made)
    assert page.open == []
    assert "7 of 20 samples are duplicates of others, in 3 clusters; 13 stay." in page.text
    assert "5 samples like sample 3" in page.text
    assert "and 1 more" in page.text
    assert re.search(r"Of 7 duplicates drawn at random, 100\.0% have a true Jaccard similarity of 0\.8", page.text)
    bars = re.findall(r'text-anchor="middle">([^<]+)</text>', made)
    assert bars == ["1", "2", "1", "3–4", "1", "5–8"]  # clusters of 2, of 3 and of 5
    assert not re.search(r"(src|href)=|url\(|@import|<script", made)
    beginning = bytes(store[3]["tokens"].astype(np.uint8)).decode()
    assert (beginning in page.text) == text
    assert ("[" + ", ".join(map(str, store[3]["tokens"][:60].tolist())) + ", …]" in page.text) == (not text)


def test_report_of_other_searches(tmp_path: Path) -> None:
    """Exact duplicates have a report without precision; a store without duplicates says so; no search is an error."""
    store = corpus(tmp_path / "s", True)
    with pytest.raises(ts.ColumnError, match="no duplicates 'exact'; `tokstore dedup STORE --method exact` finds them"):
        report_html(store, "exact")
    done = run("dedup", "s", "--method", "exact", "--report", "out.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "out.html").read_text()
    assert "true Jaccard" not in made
    assert "5 samples like sample 3" in made
    assert not list(tmp_path.glob("*.part"))
    mark(store, "exact", name="none", where="sample_id < 10")
    assert report_html(store, "none").count("There are none.") == 2
    assert run("dedup", "s", "--against", "s", "--report", "x.html", cwd=tmp_path).returncode == 2
