"""Write `docs/benchmarks.md`, its plots and the README's table from the records of a run; a pure function of them.

python -m benchmarks.side_by_side.page                    # build/bench/results.json -> docs/
python -m benchmarks.side_by_side.page --readme           # the table of the README too
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.side_by_side.comparing import Loss, losses, standings
from benchmarks.side_by_side.cost_model import cost_section
from benchmarks.side_by_side.figures import MEASURES, OURS, Figure, Figures, is_ours, measure_of, number_text
from benchmarks.side_by_side.peers import ABOUT
from benchmarks.side_by_side.plots import Plot, draw, plots_of

__all__ = ["embed", "page", "readme_table"]

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
"""Where the README's table is."""
_GROUPS = (
    (
        "Size and writing",
        ("bits_per_token", "bytes_per_vector", "recall_at_10", "bytes_local_while_reading", "write_rate"),
    ),
    (
        "Streaming",
        ("ordered_rate", "shuffled_rate_first", "shuffled_rate", "workers1_rate", "workers2_rate", "cold_rate"),
    ),
    ("Single samples at random", ("get_rate", "take_rate")),
    ("From an object store of little bandwidth", ("throttled_rate", "requests_per_gb")),
    ("Time to the first batch", ("open_ms", "first_batch_ms", "resume_ms")),
    ("What it takes", ("rss_mb", "rss_growth_mb", "cpu_seconds_per_1e9")),
)  # fmt: skip
_KINDS = {
    "chunks": "Documents shuffled, joined, and cut into samples of 2,048 tokens. The number is that of ids; "
    "raw ids above 65,535 take four raw bytes instead of two.",
    "ragged": "The same tokens, cut by lengths as fine-tuning has them: lognormal, 4 to 2,048, some 195 in the mean. A "
    "batch is 8 samples: a list of tensors, or one flat tensor with lengths.",
    "codes": "Images as tokens of a codebook, one sample each.",
    "vectors": "Embeddings, one sample each.",
}
_AT = {"throttled_rate": " MB/s"}
_README = (
    ("bits/token", "bits_per_token"),
    ("shuffled", "shuffled_rate"),
    ("2 workers", "workers2_rate"),
    ("one take at random", "take_rate"),
    ("write", "write_rate"),
)


def page(results: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        results: What a run wrote: ``records``, and ``machine``, ``versions``, ``commands``, ``date``, ``workloads``,
            ``checks`` and ``errors`` where it has them.
    """
    figures = Figures(results.get("records", ()))
    plots = plots_of(figures)
    parts = [
        "# Side by side",
        "<!-- Written by `make bench-page` from the records of `make bench`; a change here is lost. -->",
        "tokstore beside other ways to keep samples and to stream them to training: the same samples, the same batches "
        "of 8, the same dtypes, each peer in a process of its own, one after another in turns. [What we lose at]"
        "(#what-we-lose-at) is a section of its own.",
        _circumstances(results),
        _who(figures),
        _what(figures),
    ]
    for workload in figures.workloads():
        parts.append(_workload(figures, workload, results.get("workloads", {}).get(workload), plots))
    parts += [_losses(figures), _targets(figures), cost_section(figures), _checks(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def readme_table(results: Mapping[str, Any]) -> str:
    """Return the table of peers that the README has: tokens in chunks and in ragged samples, 50,257 ids.

    Args:
        results: As of `page`.
    """
    figures = Figures(results.get("records", ()))
    pair = [name for name in ("chunks-50257", "ragged-50257") if name in figures.workloads()]
    if not pair:
        return "No figures yet: `make bench` takes them."
    peers = list(dict.fromkeys(peer for name in pair for peer in figures.peers(name)))
    rows = []
    for peer in sorted(peers, key=is_ours):
        row = [peer]
        for _, measure in _README:
            cells = [figures.get(name, peer, measure) for name in pair]
            row.append(" / ".join("–" if one is None else number_text(one.median) for one in cells))
        if any(cell.strip("– /") for cell in row[1:]):  # not those that stand behind a server alone
            rows.append(row)
    what = f"{' / '.join(pair)}, rates in M tokens/s, shuffled in later epochs, medians"
    return "\n\n".join(
        [
            f"`make bench`, {_machine(results)}; {what}. All measures, plots, and what we lose at are in "
            "[docs/benchmarks.md](docs/benchmarks.md).",
            _table(["", *(title for title, _ in _README)], rows),
        ]
    )


def embed(text: str, table: str) -> str:
    """Return a text with a table between the two markers.

    Raises:
        ValueError: The markers are not there, once each and in order.
    """
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 or end < begin or text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(
            f"the table goes between {BEGIN!r} and {END!r}, which have to be there once each, in this order"
        )
    return f"{text[: begin + len(BEGIN)]}\n{table}\n{text[end:]}"


# Sections ----------------------------------------------------------------------------------------------------------


def _circumstances(results: Mapping[str, Any]) -> str:
    """Return where and how the figures were taken."""
    lines = [f"- Machine: {_machine(results)}"]
    facts = dict(results.get("machine", {}))
    said = {"memory_gb": "GB of memory", "load_before": "processes running before it began, on average"}
    rest = [f"{_plain(facts[key])} {text}" for key, text in said.items() if key in facts]
    rest += [_plain(facts[key]) for key in ("system",) if key in facts]
    lines += [f"- {', '.join(rest)}"] if rest else []
    if results.get("date"):
        took = f", in {results['seconds'] / 60:.0f} minutes" if results.get("seconds") else ""
        lines.append(f"- Taken {_plain(results['date'])}{took}")
    versions = ", ".join(
        f"{_plain(name)} {_plain(value)}" for name, value in sorted(results.get("versions", {}).items())
    )
    lines += [f"- Versions: {versions}"] if versions else []
    commands = [str(one) for one in results.get("commands", ())]
    shown = "\n".join(["```", *commands, "```"]) if commands else ""
    return "\n\n".join(part for part in ("## How it was measured", "\n".join(lines), shown) if part)


def _who(figures: Figures) -> str:
    """Return what the peers are."""
    names = dict.fromkeys(peer for workload in figures.workloads() for peer in figures.peers(workload))
    there = [(start, text) for start, text in ABOUT.items() if any(name.startswith(start) for name in names)]
    lines = "\n".join(f"- **{_plain(start)}**: {text}." for start, text in there)
    return f"## Who is measured\n\n{lines}" if lines else ""


def _what(figures: Figures) -> str:
    """Return how the measures are taken, and how to read a cell."""
    there = {measure for workload in figures.workloads() for measure, _ in figures.measures(workload)}
    lines = [f"- **{one.title}**: {one.about}." for name, one in MEASURES.items() if name in there and one.about]
    text = (
        "A cell is the median of several runs, with the least and the greatest behind it; above a table stands how "
        "many runs. Of sizes, times and memory less is better, of rates more. A dash is what a peer cannot do, or what "
        "failed; the lines below a table say which. A rate is broken off after some tenths of a second where an epoch "
        "takes longer. M is 10⁶, a MB 10⁶ bytes; of codes and vectors, rates and bits count single codes and values."
    )
    return "\n\n".join(["## What is measured", text, *(["\n".join(lines)] if lines else [])])


def _machine(results: Mapping[str, Any]) -> str:
    """Return the name of the machine."""
    return _plain(dict(results.get("machine", {})).get("name") or "a machine without a name")


def _workload(figures: Figures, name: str, facts: Mapping[str, Any] | None, plots: Iterable[Plot]) -> str:
    """Return the tables and plots of one workload."""
    kind = name.partition("-")[0]
    parts = [f"## {_plain(name)}", _KINDS.get(kind, "")]
    if facts:
        counts = [f"{int(count):,} {_plain(what)}" for what, count in facts.items() if isinstance(count, int)]
        parts.append(", ".join(counts) + (f", from {_plain(facts['source'])}." if facts.get("source") else "."))
    known = {measure for _, measures in _GROUPS for measure in measures}
    there = figures.measures(name)
    others = tuple(dict.fromkeys(measure for measure, _ in there if measure not in known))
    for title, measures in (*_GROUPS, ("Other measures", others)):
        columns = [
            one for one in there if one[0] in measures and any(figures.get(name, p, *one) for p in figures.peers(name))
        ]
        notes = _notes(figures, name, measures)
        if columns:
            parts += [f"### {title}", _runs(figures, name, columns), _measured(figures, name, columns), notes]
        elif notes:
            parts += [f"### {title}", notes]
    for plot in plots:
        if plot.title.startswith(f"{name}: "):
            parts.append(f"![{_plain(plot.title)}](benchmarks/{plot.name}.svg)")
    return "\n\n".join(part for part in parts if part)


def _runs(figures: Figures, workload: str, columns: Sequence[tuple[str, float | None]]) -> str:
    """Return how often the cells of a table were taken."""
    places = [(peer, *column) for peer in figures.peers(workload) for column in columns]
    runs = {one.runs for place in places if (one := figures.get(workload, *place))}
    least, most = min(runs, default=0), max(runs, default=0)
    return f"Runs: {least}." if least == most else f"Runs: {least} to {most}."


def _measured(figures: Figures, workload: str, columns: Sequence[tuple[str, float | None]]) -> str:
    """Return one table: a row per peer, a column per measure and position."""
    head = [""]
    for measure, at in columns:
        units = {one.unit for peer in figures.peers(workload) if (one := figures.get(workload, peer, measure, at))}
        unit = f", {min(units)}" if units - {""} else ""
        head.append(f"{measure_of(measure).title}{_where(measure, at)}{unit}")
    rows = []
    for peer in figures.peers(workload):
        cells = [figures.get(workload, peer, measure, at) for measure, at in columns]
        if any(one is not None for one in cells):
            rows.append([peer, *(_cell(one) for one in cells)])
    return _table(head, rows)


def _notes(figures: Figures, workload: str, measures: Sequence[str]) -> str:
    """Return what has to be known of the cells, equal notes joined."""
    joined: dict[str, dict[str, list[str]]] = {}
    for (one, peer, measure), note in figures.notes.items():
        if one == workload and measure in measures and note != "was not measured":
            joined.setdefault(note, {}).setdefault(_plain(peer), []).append(measure_of(measure).title)
    lines = []
    for note, peers in joined.items():
        # Peers with the same measures stand together.
        alike: dict[tuple[str, ...], list[str]] = {}
        for peer, titles in peers.items():
            alike.setdefault(tuple(dict.fromkeys(titles)), []).append(peer)
        places = (f"{', '.join(names)} ({', '.join(titles)})" for titles, names in alike.items())
        lines.append(f"- {'; '.join(places)}: {_plain(_without_paths(note))}")
    return "\n".join(lines)


def _losses(figures: Figures) -> str:
    """Return every cell in which a peer is ahead."""
    found, compared = losses(figures)
    heading = (
        "## What we lose at\n\nEvery cell of the tables above in which a peer is ahead of "
        f"`{OURS}` (of the best of tokstore where a workload has no such level), the widest first. Ranges that meet "
        "may come out the other way in another run; *ahead* names a level of tokstore that is before the peer there."
    )
    if not found:
        return f"{heading}\n\nNone of {compared:,} cells that both have."
    lost = sum(one.ours is not None for one in found)
    summary = f"A peer is ahead in {lost:,} of {compared:,} cells that both have" + (
        f", and has {len(found) - lost:,} that tokstore does not." if len(found) > lost else "."
    )
    # One line for each measure of a workload: the peer that is farthest ahead, and who else is.
    cells: dict[tuple[str, str], list[Loss]] = {}
    for one in found:
        cells.setdefault((one.workload, one.measure), []).append(one)
    lines = [_line(losing) for losing in cells.values()]
    measures = [measure_of(name) for name in dict.fromkeys(one.measure for one in found)]
    whys = [f"- **{one.title}**: {one.why}." for one in measures if one.why]
    head = ["workload", "measure", "peer", "its figure", "tokstore", "times", "ranges", "ahead"]
    every = _table(head, [_loss(one) for one in found])
    folded = f"<details><summary>Every such cell, {len(found):,} in all</summary>\n\n{every}\n\n</details>"
    return "\n\n".join([heading, summary, "\n".join(lines), "What is behind it:", "\n".join(whys), folded])


def _line(losing: list[Loss]) -> str:
    """Return a sentence for a measure of a workload: who is ahead, and by how much."""
    one = losing[0]
    others = [peer for peer in dict.fromkeys(each.peer for each in losing) if peer != one.peer]
    where = _where(one.measure, one.at)
    unit = f" {_plain(one.theirs.unit)}" if one.theirs.unit else ""
    text = f"- **{_plain(one.workload)}, {measure_of(one.measure).title}{where}**: {_plain(one.peer)} has "
    text += f"{number_text(one.theirs.median)}{unit}, "
    text += "tokstore does not do it" if one.ours is None else f"{_plain(one.reference)} {number_text(one.ours.median)}"
    if one.ratio is not None:
        text += f": {number_text(one.ratio)} × better" if one.ratio >= 1.01 else ": better by less than 1 %"
    if not one.is_clear:
        text += ", in ranges that meet"
    if one.best is not None:
        text += f", but {_plain(one.best)} is ahead of it"
    return text + (f". Also ahead: {', '.join(map(_plain, others))}." if others else ".")


def _loss(one: Loss) -> list[str]:
    """Return a row for a cell."""
    where = _where(one.measure, one.at)
    return [
        one.workload,
        f"{measure_of(one.measure).title}{where}",
        one.peer,
        number_text(one.theirs.median),
        "–" if one.ours is None else number_text(one.ours.median),
        "–" if one.ratio is None else f"{number_text(one.ratio)} ×",
        "apart" if one.is_clear else "meet",
        one.best or "",
    ]


def _targets(figures: Figures) -> str:
    """Return the targets of the design, and how far the run is from each."""
    rows = []
    for one in standings(figures):
        sign, limit = "≥" if one.target.more_is_better else "≤", one.target.limit
        met = {True: "yes", False: "**no**", None: "not measured"}[one.is_met]
        delta = "" if one.found is None else f"{(one.found / limit - 1) * 100:+.0f} %"
        rows.append(
            [
                one.target.text,
                f"{sign} {number_text(limit)}",
                "–" if one.found is None else number_text(one.found),
                delta,
                met,
            ]
        )
    text = "What was set before there was any code. Ratios are of this run; rates were set on a machine with two cores."
    return "\n\n".join(["## Targets", text, _table(["", "target", "found", "off by", "met"], rows)])


def _checks(results: Mapping[str, Any]) -> str:
    """Return what went wrong, and which peers gave back other values than they were given."""
    wrong = [
        f"{one.get('workload')}, {one.get('peer')}: {text}"
        for one in results.get("checks", ())
        for text in one.get("wrong") or ()
    ]
    lines = [_plain(_without_paths(str(one))) for one in dict.fromkeys([*results.get("errors", ()), *wrong])]
    exact = [one for one in results.get("checks", ()) if not one.get("lossy")]
    right = sum(not one.get("wrong") for one in exact)
    text = (
        f"What came back was compared with what was given: in order, shuffled, and singly, as far as some tenths of a "
        f"second reach. It was the same for {right} of {len(exact)} pairs of a workload and a peer that keeps values "
        "exactly; codecs of vectors that do not are measured by their recall."
    )
    parts = ["## Were the values right?", text] if exact else []
    parts += ["## What did not work", "\n".join(f"- {line}" for line in lines)] if lines else []
    return "\n\n".join(parts)


# Cells -------------------------------------------------------------------------------------------------------------


def _cell(one: Figure | None) -> str:
    """Return a median and its range; the range alone says nothing where it is the median."""
    if one is None:
        return "–"
    middle, low, high = (number_text(value) for value in (one.median, one.low, one.high))
    return middle if low == middle == high else f"{middle} ({low}–{high})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(_plain(cell) for cell in line)} |" for line in lines)


def _without_paths(text: str) -> str:
    """Return a text in which files of the machine are named without their folders."""
    return re.sub(r"(?<![\w/.:])/(?:[^\s/'\"]+/)+", "", text)


def _where(measure: str, at: float | None) -> str:
    """Return the position of a figure, as the heading of its column has it."""
    return "" if at is None else f" at {number_text(at)}{_AT.get(measure, '')}"


def _plain(value: object) -> str:
    """Return a value as text that fits a cell and a line."""
    return " ".join(str(value).split()).replace("|", "\\|")


def main(arguments: list[str] | None = None) -> int:
    """Read the records, and write the page, the plots and the README's table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.side_by_side.page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=Path("build/bench/results.json"), help="%(default)s")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks.md"), help="%(default)s")
    parser.add_argument("--readme", nargs="?", type=Path, const=Path("README.md"), help="README.md, or another file")
    parser.add_argument("--no-plots", action="store_true", help="leave the plots as they are; they need matplotlib")
    chosen = parser.parse_args(arguments)
    if not chosen.results.is_file():
        parser.error(f"{chosen.results} is not there: `make bench` writes it")
    results = json.loads(chosen.results.read_text(encoding="utf-8"))
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(page(results), encoding="utf-8")
    written = [chosen.out]
    if not chosen.no_plots:
        written += [
            draw(plot, chosen.out.parent / "benchmarks") for plot in plots_of(Figures(results.get("records", ())))
        ]
    if chosen.readme:
        text = chosen.readme.read_text(encoding="utf-8")
        chosen.readme.write_text(embed(text, readme_table(results)), encoding="utf-8")
        written.append(chosen.readme)
    print("\n".join(str(path) for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
