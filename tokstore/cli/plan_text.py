"""How `tokstore plan` tells its facts to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["plan_table", "step_table"]


def plan_table(out: Console, facts: dict[str, Any]) -> None:
    """Print what an epoch will be."""
    from rich.table import Table
    from rich.text import Text

    from tokstore.describe_text import bytes_text, count_text

    row = f" of {count_text(facts['seq_len'])}" if facts["seq_len"] else ""
    heading = (
        f"{facts['path']}: version {facts['version']}: {count_text(facts['samples'])} samples, "
        f"{count_text(facts['tokens'])} tokens: {count_text(facts['rows'])} rows{row}, {count_text(facts['batches'])} "
        f"batches of {count_text(facts['global_batch_size'])} an epoch"
    )
    out.print(Text(heading), soft_wrap=True)
    table = Table(box=None, pad_edge=True, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    lines = [
        ("processes", _processes(facts)),
        ("shuffling", _shuffling(facts)),
        ("packing", _packing(facts)),
        ("reading", _reading(facts)),
        ("memory", f"{bytes_text(facts['memory_bytes'])} a process over import torch, "
                   f"{bytes_text(facts['held_bytes'])} of it decoded tokens"),
        ("order", _order(facts)),
    ]  # fmt: skip
    if facts["examined_rows"] < facts["rows"]:
        examined = f"{count_text(facts['examined_rows'])} of {count_text(facts['rows'])} rows, the first of the epoch"
        lines.append(("examined", examined))
    for name, text in lines:
        table.add_row(name, Text(text))
    out.print(table)


def _processes(facts: dict[str, Any]) -> str:
    """Say how many there are."""
    ranks, workers = facts["world_size"], facts["workers"]
    found = f"{ranks} rank{'s' if ranks > 1 else ''}, {workers or 'no'} worker{'' if workers == 1 else 's'}"
    return f"{found}; a process reads {facts['lanes_per_process']} of {facts['lanes']} lanes"


def _shuffling(facts: dict[str, Any]) -> str:
    """Say what is mixed."""
    from tokstore.describe_text import count_text

    if facts["shuffle"] == "pool":
        return f"all samples in one permutation, seed {facts['seed']}"
    if facts["shuffle"] == "none":
        return "none: the order of the view"
    return (
        f"{count_text(facts['windows'])} windows of about {count_text(facts['window_tokens'])} tokens, seed "
        f"{facts['seed']}; {_percent(facts['shuffled_together'])} of the epoch is mixed at a time"
    )


def _packing(facts: dict[str, Any]) -> str:
    """Say how rows are filled and what is cut."""
    if facts["packing"] == "single":
        found = "one sample per row"
    else:
        groups = f" in groups of {facts['group_rows']} rows" if facts["packing"] == "fit" else ""
        found = f"{facts['packing']}{groups}"
    if facts["filled"] is None:
        return found
    return (
        f"{found}; {_percent(facts['filled'])} filled; {_percent(facts['cut_samples'])} of the samples that fit a row "
        f"are cut, {_percent(facts['overlong_samples'])} are longer than a row"
    )


def _reading(facts: dict[str, Any]) -> str:
    """Say how often blocks are decoded, and the bytes of that."""
    from tokstore.describe_text import bytes_text, count_text

    times = f"{facts['decodes']:.3g} time{'' if facts['decodes'] == 1 else 's'}"
    when = "in the first epoch, never after it" if facts["shuffle"] == "pool" else "an epoch"
    each = f"{count_text(facts['blocks'])} blocks of {bytes_text(facts['block_bytes'])} in all"
    return f"{each}, decoded {times} {when}: {bytes_text(facts['bytes_read'])} read"


def _order(facts: dict[str, Any]) -> str:
    """Say how far the order is from a full permutation."""
    order = facts["order"]
    found = []
    if order["same_stretch"] is not None:
        found.append(
            f"{_percent(order['same_stretch'])} of the pairs of a batch come from the same 1/{order['stretches']} of "
            f"the view ({_percent(order['same_stretch_if_permuted'])} in a full permutation), so that a batch is "
            f"worth at least {_percent(order['effective_samples'])} of its samples"
        )
    if order["spread"] is not None:
        found.append(f"neighbours of the view are {order['spread']:.3f} of a permutation's distance apart in time")
    if order["rank_correlation"] is not None:
        found.append(f"rank correlation of time and position {order['rank_correlation']:+.3f}")
    return "; ".join(found) or "too little to tell"


def _percent(share: float) -> str:
    """Write a share."""
    return f"{100 * share:.3g} %"


def step_table(out: Console, facts: dict[str, Any]) -> None:
    """Print what a step is made of."""
    from rich.table import Table
    from rich.text import Text

    pieces = [(row, piece) for row in facts["rows"] for piece in row["pieces"]]
    out.print(
        Text(
            f"{facts['path']}: version {facts['version']}: step {facts['step']}: {len(facts['rows'])} rows from row "
            f"{facts['first_row']} on, {len(pieces)} pieces of samples"
        ),
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    for name in ("row", "epoch", "rank", "place", "position", "sample id", "tokens", "at"):
        table.add_column(name, justify="right")
    has_text = any("text" in piece for _, piece in pieces)
    if has_text:
        table.add_column("text", overflow="fold")
    for row, piece in pieces:
        cells = [row["row"], row["epoch"], row["rank"], row["place"], piece["position"], piece["sample_id"]]
        cells += [f"{piece['start']}:{piece['stop']}", piece["offset"]]
        text = [Text(" ".join(piece["text"].split()))] if has_text else []
        table.add_row(*map(str, cells), *text)
    out.print(table)
