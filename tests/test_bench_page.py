"""The benchmarks page: a pure function of the records, whichever of them are there."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

# Behind everything else, so that `tokstore` stays the one that is installed.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.side_by_side.comparing import losses, standings
from benchmarks.side_by_side.cost_model import DEFAULTS, cost_of, cost_section
from benchmarks.side_by_side.figures import MEASURES, OURS, Figures
from benchmarks.side_by_side.page import BEGIN, END, embed, main, page, readme_table
from benchmarks.side_by_side.plots import frontier, plots_of

CHUNKS = "chunks-50257"


def record(peer: str, measure: str, median: float | None, spread: float = 0.1, **more: Any) -> dict[str, Any]:
    """Return a record whose range is that share wide on either side."""
    low, high = (None, None) if median is None else (median * (1 - spread), median * (1 + spread))
    found = {"workload": CHUNKS, "peer": peer, "measure": measure, "median": median, "low": low, "high": high}
    return found | {"unit": "M tokens/s" if "rate" in measure else "", "runs": 5} | more


RECORDS = [
    record("memmap Megatron", "bits_per_token", 16.0, 0.0, unit="bits/token"),
    record("memmap Megatron", "shuffled_rate", 400.0),
    record("memmap Megatron", "workers2_rate", 40.0),
    record("memmap Megatron", "resume_ms", 5.0, unit="ms", at=0),
    record("memmap Megatron", "resume_ms", 6.0, unit="ms", at=1000),
    record("mds zstd", "bits_per_token", 6.8, 0.0, unit="bits/token"),
    record("mds zstd", "bytes_local_while_reading", 2.85, 0.0, unit="bytes/token"),
    record("mds zstd", "shuffled_rate", 8.0),
    record("mds zstd", "take_rate", None, note="it has no call for many | at all"),
    record(OURS, "bits_per_token", 6.0, 0.0, unit="bits/token"),
    record(OURS, "bytes_local_while_reading", 0.76, 0.0, unit="bytes/token"),
    record(OURS, "shuffled_rate", 360.0),
    record(OURS, "workers2_rate", 90.0),
    record(OURS, "resume_ms", 4.0, unit="ms", at=0),
    record(OURS, "resume_ms", 9.0, unit="ms", at=1000),
    record(OURS, "first_batch_ms", 3.0, unit="ms"),
    record(OURS, "throttled_rate", 3.0, at=10),
    record(OURS, "throttled_rate", 30.0, at=100),
    record("tokstore plain", "shuffled_rate", 500.0),
    record("parquet zstd", "ordered_rate", 113.0),
]
RESULTS = {
    "machine": {"name": "a machine", "cores": 2},
    "versions": {"torch": "2", "numpy": "2"},
    "commands": ["python -m benchmarks.side_by_side --rounds 5"],
    "date": "2026-11-24T12:00:00+00:00",
    "workloads": {CHUNKS: {"samples": 10_000, "values": 20_480_000}},
    "records": RECORDS,
    "checks": [{"workload": CHUNKS, "peer": "mds", "lossy": False, "wrong": ["ordered: batch 3"]}],
    "errors": ["lance is not installed"],
}


def test_tables_have_medians_and_ranges() -> None:
    """Figures stand in rows of peers, tokstore last, with their ranges; what a peer cannot do is a dash and a note."""
    text = page(RESULTS)
    rows = [line for line in text.splitlines() if line.startswith("| memmap Megatron |")]
    assert "| 400 (360–440) | 40 (36–44) |" in rows[1]
    assert "mds zstd (one take of many): it has no call for many \\| at all" in text
    assert "shuffled, later epochs, M tokens/s" in text
    assert "resume at 1,000, ms" in text
    assert "10,000 samples, 20,480,000 values." in text
    first = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    assert first.index("| memmap Megatron") < first.index(f"| {OURS}")
    said = ("a machine", "--rounds 5", "lance is not installed", "mds: ordered: batch 3", "torch 2", "0 of 1 pairs")
    for one in said:
        assert one in text


def test_every_lost_cell_is_listed_with_its_ratio() -> None:
    """A faster rate and a shorter time are losses; ranges that meet, and a level that is ahead, are said."""
    found, compared = losses(Figures(RECORDS))
    cells = {(one.peer, one.measure, one.at): one for one in found}
    assert set(cells) == {
        ("memmap Megatron", "shuffled_rate", None),
        ("memmap Megatron", "resume_ms", 1000),
        ("parquet zstd", "ordered_rate", None),
    }
    rate = cells["memmap Megatron", "shuffled_rate", None]
    assert (rate.ratio, rate.is_clear, rate.best) == (pytest.approx(400 / 360), False, "tokstore plain")
    late = cells["memmap Megatron", "resume_ms", 1000]
    assert (late.ratio, late.is_clear, late.best) == (pytest.approx(1.5), True, None)
    assert cells["parquet zstd", "ordered_rate", None].ours is None
    assert compared == 8
    section = page(RESULTS).split("## What we lose at")[1].split("## ")[0]
    assert "A peer is ahead in 2 of 8 cells that both have, and has 1 that tokstore does not." in section
    assert f"| {CHUNKS} | resume at 1,000 | memmap Megatron | 6 | 9 | 1.5 × | apart |  |" in section


def test_without_the_default_level_the_best_is_compared() -> None:
    """Vectors have no level: the best figure of tokstore stands for it."""
    found, _ = losses(
        Figures(
            [
                record("tokstore int8", "take_rate", 10.0),
                record("tokstore pca 84", "take_rate", 30.0),
                record("faiss SQ8", "take_rate", 20.0),
                record("faiss PQ48", "take_rate", 40.0),
            ]
        )
    )
    assert [(one.peer, one.reference) for one in found] == [("faiss PQ48", "tokstore pca 84")]


def test_targets_say_how_far_they_are() -> None:
    """A ratio within the run, a limit from above, and a figure that is not there."""
    found = {one.target.text: one for one in standings(Figures(RECORDS))}
    over = found[f"{CHUNKS}: shuffled, over memmap Megatron"]
    assert (over.found, over.is_met) == (pytest.approx(0.9), False)
    resume = found[f"{CHUNKS}: slowest resume over first batch"]
    assert (resume.found, resume.is_met) == (pytest.approx(3.0), False)
    assert found[f"{CHUNKS}: first batch, ms"].is_met is True
    assert found[f"{CHUNKS}: write at fast, M tokens/s"].is_met is None
    assert f"| {CHUNKS}: shuffled, over memmap Megatron | ≥ 1 | 0.9 | -10 % | **no** |" in page(RESULTS)


def test_the_model_is_arithmetic_on_what_was_measured() -> None:
    """Formats that are inflated need local disk, others fetch every epoch; requests are those counted if they were."""
    plain = cost_of(16.0, DEFAULTS)
    assert (plain.stored_gb, plain.local_gb, plain.requests) == (2000.0, 0.0, 2e6)
    assert plain.storage == pytest.approx(2000 * 0.023 * 12)
    copied = cost_of(6.8, DEFAULTS, local_bytes_per_token=2.85, requests_per_gb=16)
    assert (copied.local_gb, copied.requests) == (pytest.approx(2850), pytest.approx(850 * 16))
    assert copied.total == pytest.approx(copied.storage + copied.local + copied.request_cost + copied.egress)
    section = cost_section(Figures(RECORDS))
    assert "not a measurement" in section
    assert "| mds zstd | 0.85 | 2.85 |" in section
    assert f"| {OURS} | 0.75 | 0 |" in section
    assert cost_section(Figures([])) == ""


def test_plots_hold_what_the_records_hold() -> None:
    """Size against speed with its frontier, workers, resume and bandwidth; plots without lines are left out."""
    plots = {plot.name: plot for plot in plots_of(Figures(RECORDS))}
    assert set(plots) == {f"{CHUNKS}-{name}" for name in ("frontier", "workers", "resume", "throttled")}
    assert plots[f"{CHUNKS}-frontier"].frontier == [(6.0, 360.0), (16.0, 400.0)]
    assert plots[f"{CHUNKS}-workers"].series[OURS] == [(0.0, 360.0), (2.0, 90.0)]
    assert plots[f"{CHUNKS}-resume"].series["memmap Megatron"] == [(0, 5.0), (1000, 6.0)]
    assert f"benchmarks/{CHUNKS}-resume.svg" in page(RESULTS)
    assert [plot.name for plot in plots_of(Figures(RECORDS[:2]))] == [f"{CHUNKS}-frontier"]


def test_the_readme_has_the_table_between_its_markers(tmp_path: Path) -> None:
    """The table goes between the markers, however often; a text without them is refused."""
    table = readme_table(RESULTS)
    assert f"| {OURS} | 6 | 360 | 90 | – | – |" in table
    once = embed(f"before\n{BEGIN}\nold\n{END}\nafter\n", table)
    assert once == f"before\n{BEGIN}\n{table}\n{END}\nafter\n" == embed(once, table)
    for text in ("", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}"):
        with pytest.raises(ValueError, match="have to be there once each"):
            embed(text, table)
    readme = Path(__file__).parents[1] / "README.md"
    assert table in embed(readme.read_text(encoding="utf-8"), table)


def test_the_program_writes_what_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records in, page and README out; without records it says how to get them."""
    results, readme = tmp_path / "results.json", tmp_path / "README.md"
    with pytest.raises(SystemExit):
        main(["--results", str(results)])
    assert "`make bench` writes it" in capsys.readouterr().err
    results.write_text(json.dumps(RESULTS))
    readme.write_text(f"{BEGIN}\n{END}\n")
    out = tmp_path / "docs" / "benchmarks.md"
    assert main(["--results", str(results), "--out", str(out), "--readme", str(readme), "--no-plots"]) == 0
    assert out.read_text(encoding="utf-8") == page(RESULTS)
    assert OURS in readme.read_text(encoding="utf-8")


NUMBERS = st.none() | st.floats(0, 1e12) | st.sampled_from([0.0, 1.0, 1e-9])
ANY_RECORD = st.fixed_dictionaries(
    {
        "workload": st.sampled_from([CHUNKS, "ragged-50257", "codes", "vectors", "a | b\n"]),
        "peer": st.sampled_from([OURS, "tokstore small", "memmap Megatron", "mds zstd", "x | y\n"]),
        "measure": st.sampled_from([*MEASURES, "something_new"]),
        "median": NUMBERS,
        "low": NUMBERS,
        "high": NUMBERS,
        "unit": st.sampled_from(["M tokens/s", "ms", ""]),
        "runs": st.integers(0, 9),
    },
    optional={"at": st.none() | st.integers(0, 10**9), "note": st.none() | st.text(max_size=9)},
)


@settings(max_examples=20)
@given(st.lists(ANY_RECORD, max_size=12), st.sets(st.sampled_from(list(RESULTS)), max_size=7))
def test_any_records_make_a_page(records: list[dict[str, Any]], gone: set[str]) -> None:
    """Whatever is missing, every table has as many cells in each row, and no cell breaks its line."""
    results = {name: value for name, value in RESULTS.items() if name not in gone} | {"records": records}
    text = page(results) + readme_table(results)
    width = None
    for line in text.split("\n"):
        cells = line.replace("\\|", "").count("|") if line.startswith("|") else None
        assert width is None or cells is None or cells == width, line
        width = cells


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=9))
def test_no_point_is_before_the_frontier(points: list[tuple[int, int]]) -> None:
    """Every point has one on the frontier that is at most as far right and at least as high."""
    best = frontier([(float(x), float(y)) for x, y in points])
    assert set(best) <= set(points)
    for x, y in points:
        assert any(a <= x and b >= y for a, b in best)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(best))
