"""A model of what 10¹² tokens cost, from measured bits per token; not a measurement.

Prices are inputs, and the defaults are not AWS's own word; `python -m benchmarks.side_by_side.cost_model --help`
shows how to give others. Everything else is arithmetic that the page prints beside the result.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path

from benchmarks.side_by_side.figures import Figures, number_text

__all__ = ["DEFAULTS", "Cost", "Inputs", "cost_of", "cost_section"]


@dataclass(frozen=True)
class Inputs:
    """What the model is told; sizes in bytes of 10ⁿ, money in US dollars.

    Attributes:
        tokens: Of the corpus.
        samples: Of the corpus, for what is indexed per sample.
        epochs: How often it is read.
        months: How long it is kept.
        nodes: How many machines have a local copy, where a format has to be copied to local disk before it is read.
        price_date: Of which month the prices below are: list prices of AWS in us-east-1, as third parties quoted them
            then. Give your own for anything that matters.
        object_gb_month: Object storage, a GB and month: S3 Standard, up to 50 TB.
        request_1000: 1,000 GET requests.
        egress_gb: A GB that leaves the region for the internet: the first 10 TB of a month; 0 inside the region.
        disk_gb_month: Local disk, a GB and month: EBS gp3.
        request_bytes: What one request brings where the records do not say how many requests a GB took.
    """

    tokens: float = 1e12
    samples: float = 1e9
    epochs: float = 1.0
    months: float = 12.0
    nodes: float = 1.0
    price_date: str = "2026-11"
    object_gb_month: float = 0.023
    request_1000: float = 0.0004
    egress_gb: float = 0.09
    disk_gb_month: float = 0.08
    request_bytes: float = 1e6


DEFAULTS = Inputs()
_SOURCES = {
    "tokens": "chosen",
    "samples": "chosen: 1,000 tokens each",
    "epochs": "chosen; each fetches everything again where no local copy is kept",
    "months": "chosen",
    "nodes": "chosen; machines with a local copy, for formats that are copied to local disk before they are read",
    "price_date": "the month of the prices below, which are list prices in US dollars as third parties quoted them",
    "object_gb_month": "AWS S3 Standard, us-east-1, up to 50 TB: a GB and month",
    "request_1000": "AWS S3 Standard, us-east-1: 1,000 GET requests",
    "egress_gb": "AWS, us-east-1, to the internet, the first 10 TB of a month: a GB; inside one region it is 0",
    "disk_gb_month": "AWS EBS gp3, us-east-1: a GB and month",
    "request_bytes": "chosen: what one request brings where the records do not say how many requests a GB took",
}
"""What each input is, and where its default comes from."""
_INDEX_BYTES = {"tokstore": 0.05, "memmap Megatron": 20.0}
"""Bytes of index per sample that a process reads or maps. tokstore: tests/test_synthetic.py holds a store of 10⁹
samples to 50 MB, so this is a ceiling. Megatron's .idx: an i32 length, an i64 offset, and an i64 document each.
Of the others nothing was measured."""
_COPIED = ("hf", "litdata", "mds", "memmap")
"""First words of peers whose files are whole on local disk while they are read; the others read ranges or streams."""


@dataclass(frozen=True)
class Cost:
    """What the model says of one peer: sizes in GB, money in US dollars.

    Attributes:
        stored_gb: At rest in the object store.
        local_gb: On the local disks of all nodes, for formats that are copied there first.
        requests: GET requests in all epochs.
        storage, local, request_cost, egress: Money for the whole time.
    """

    stored_gb: float
    local_gb: float
    requests: float
    storage: float
    local: float
    request_cost: float
    egress: float

    @property
    def total(self) -> float:
        """All of the money."""
        return self.storage + self.local + self.request_cost + self.egress


def cost_of(
    bits_per_token: float,
    inputs: Inputs = DEFAULTS,
    *,
    local_bytes_per_token: float = 0.0,
    requests_per_gb: float | None = None,
) -> Cost:
    """Return what a corpus costs at a size.

    Args:
        bits_per_token: Measured, at rest.
        inputs: Size of the corpus and prices.
        local_bytes_per_token: What lies on local disk while it is read, for formats that are copied or inflated there:
            every node fetches them once. Others fetch every epoch.
        requests_per_gb: Measured; by default what `inputs` says of a request.

    Example:
        >>> round(cost_of(16.0).stored_gb), round(cost_of(8.0).storage)
        (2000, 276)
    """
    stored = inputs.tokens * bits_per_token / 8 / 1e9
    local = inputs.tokens * local_bytes_per_token / 1e9 * inputs.nodes
    fetched = stored * (inputs.nodes if local else inputs.epochs)
    requests = fetched * (1e9 / inputs.request_bytes if requests_per_gb is None else requests_per_gb)
    return Cost(
        stored,
        local,
        requests,
        stored * inputs.object_gb_month * inputs.months,
        local * inputs.disk_gb_month * inputs.months,
        requests / 1000 * inputs.request_1000,
        fetched * inputs.egress_gb,
    )


def cost_section(figures: Figures, inputs: Inputs = DEFAULTS) -> str:
    """Return the section of the page, for the first workload of tokens; nothing where the records have none.

    Args:
        figures: The records.
        inputs: Size of the corpus and prices.
    """
    named = [name for name in figures.workloads() if name.startswith(("chunks", "ragged"))]
    workload = next((name for name in named if _rows(figures, name, inputs)), None)
    if workload is None:
        return ""
    constants = [
        f"| `--{one.name.replace('_', '-')}` | {_told(getattr(inputs, one.name))} | {_SOURCES[one.name]} |"
        for one in fields(inputs)
    ]
    text = (
        "## A model: what 10¹² tokens cost\n\n"
        "**This is arithmetic, not a measurement.** It scales up what was measured with "
        f"`{workload}`: bits at rest; local bytes while reading, for formats that are whole on local disk then; "
        "requests for a GB, where they were counted. Storage is the GB at rest × months × price; local disk is the GB "
        "there × nodes × months × price; requests and egress are those of all GB that are fetched: "
        "what is copied to local disk once for each node, all else once for each epoch. "
        "The index is what a process reads or maps to find samples: at most 0.05 bytes a sample for tokstore (a test "
        "holds a store of 10⁹ samples to 50 MB), 20 in Megatron's `.idx`, and not known of the others. "
        "These are the inputs, and options of `python -m benchmarks.side_by_side.cost_model`:\n\n"
        "| option | value | what it is, and where it comes from |\n| --- | ---: | --- |\n" + "\n".join(constants)
    )
    head = (
        "",
        "at rest, TB",
        "on local disk, TB",
        "requests, M",
        "index, GB",
        "storage, $",
        "local disk, $",
        "requests, $",
        "egress, $",
        "all, $",
    )
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *_rows(figures, workload, inputs)]
    return f"{text}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows(figures: Figures, workload: str, inputs: Inputs) -> list[tuple[str, ...]]:
    """Return a row for each peer whose size is known."""
    rows = []
    for peer in figures.peers(workload):
        size = figures.get(workload, peer, "bits_per_token")
        if size is None:
            continue
        local = figures.get(workload, peer, "bytes_local_while_reading") if peer.startswith(_COPIED) else None
        counted = figures.get(workload, peer, "requests_per_gb")
        one = cost_of(
            size.median,
            inputs,
            local_bytes_per_token=0.0 if local is None else local.median,
            requests_per_gb=None if counted is None else counted.median,
        )
        index = next((each for name, each in _INDEX_BYTES.items() if peer.startswith(name)), None)
        cells = (one.stored_gb / 1000, one.local_gb / 1000, one.requests / 1e6)
        money = (one.storage, one.local, one.request_cost, one.egress, one.total)
        held = "–" if index is None else number_text(index * inputs.samples / 1e9)
        name = " ".join(peer.split()).replace("|", "\\|")
        rows.append((name, *map(number_text, cells), held, *map(number_text, money)))
    return rows


def _told(value: object) -> str:
    """Return an input as the page shows it."""
    return f"{value:,g}" if isinstance(value, float) else str(value)


def main(arguments: list[str] | None = None) -> int:
    """Print the section for records and inputs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.side_by_side.cost_model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=Path("build/bench/results.json"), help="%(default)s")
    for one in fields(Inputs):
        kind = str if isinstance(one.default, str) else float
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=kind, default=one.default, help="%(default)s")
    chosen = vars(parser.parse_args(arguments))
    path = chosen.pop("results")
    if not path.is_file():
        parser.error(f"{path} is not there: `make bench` writes it")
    records = json.loads(path.read_text(encoding="utf-8")).get("records", ())
    print(cost_section(Figures(records), replace(DEFAULTS, **chosen)) or "no record says how many bits a token takes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
