"""``tokstore demo``: the whole line from text to training, on text that every machine with Python has.

Four steps, each printed as it ends: read the sources of the standard library and train a tokenizer; pack them into a
store; compare sizes; train a small transformer from the store and watch the loss. Nothing is downloaded, and nothing
stays behind unless a folder is given for it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import tokstore as ts
from tokstore.errors import ExistsError, UnsupportedError

from .demo_corpus import Corpus, find_corpus, measure_sizes, train_tokenizer
from .pack import pack

if TYPE_CHECKING:
    from .demo_model import Progress

__all__ = ["run"]

_FORMS = (
    ("text", "the text, UTF-8"),
    ("text_zstd_3", "the text as one zstd -3 file"),
    ("text_zstd_19", "the text as one zstd -19 file"),
    ("ids_u16", "the ids, 2 bytes each (what np.memmap reads)"),
    ("ids_u16_zstd_3", "the ids as one zstd -3 file"),
    ("store", "this store, all files, each sample read alone"),
    ("store_small", "the same at level small"),
)
_BARS = "▁▂▃▄▅▆▇█"
_LINE_SECONDS = 5.0


def run(
    *, out: str | None = None, seconds: float = 60.0, folder: str | None = None, console: Console | None = None
) -> dict[str, Any]:
    """Run the demo and return its facts.

    Args:
        out: Where the store and its tokenizer are left, a folder that is not there yet. None: a temporary one that is
            removed.
        seconds: How long to train.
        folder: Python sources to take instead of the standard library's.
        console: Where to show what happens; None shows nothing.

    Returns:
        Sizes in bytes, training figures, and where the store is. The keys are those of ``tokstore demo --json``.

    Raises:
        ExistsError: `out` is there already.
        UnsupportedError: torch or `tokenizers` is not installed.
    """
    show = console if console is not None else Console(quiet=True)
    train = _training()
    with _place(out) as place:
        began = time.perf_counter()
        corpus, tokenizer_path = _prepare(show, place, folder)
        store_path = os.path.join(place, "corpus")
        report = pack(corpus.paths, store_path, tokenizer=tokenizer_path)
        packed_seconds = time.perf_counter() - began
        store = ts.open(store_path)
        show.print(f"[bold]2[/] Packed {report.samples:,} files into {report.tokens:,} tokens: [cyan]{store_path}[/]\n")
        sizes = measure_sizes(corpus, store, store_path)
        show.print(_size_table(sizes, report.tokens), "")
        progress = _train(show, train, store, seconds)
        _say_what_next(show, store_path if out is not None else None)
    return {
        "store": store_path if out is not None else None,
        "samples": report.samples,
        "tokens": report.tokens,
        "bytes": sizes,
        "bits_per_token": round(8 * sizes["store"] / report.tokens, 3),
        "prepare_seconds": round(packed_seconds, 2),
        "training": {
            "seconds": round(progress.seconds, 2),
            "steps": progress.step,
            "tokens": progress.tokens,
            "tokens_per_second": round(progress.tokens / progress.seconds),
            "waiting_share": round(progress.waiting_seconds / progress.seconds, 5),
            "first_loss": round(progress.first_loss, 3),
            "last_loss": round(progress.loss, 3),
        },
    }


def _training() -> Callable[..., Progress]:
    """Load the part that needs torch, before any work is done."""
    try:
        from .demo_model import train
    except ImportError as error:
        raise UnsupportedError("the demo needs torch", hint="pip install 'tokstore[torch,tokenize]'") from error
    return train


@contextmanager
def _place(out: str | None) -> Iterator[str]:
    """Give the folder to work in."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="tokstore-demo-") as folder:
            yield folder
        return
    if os.path.lexists(out):
        raise ExistsError("the folder is there already", path=out, hint="name one that is not, or remove it")
    os.makedirs(out)
    try:
        yield out
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _prepare(show: Console, place: str, folder: str | None) -> tuple[Corpus, str]:
    """Find the text and train the tokenizer."""
    corpus = find_corpus(folder)
    tokenizer_path = Path(place, "tokenizer.json")
    tokenizer_path.write_text(train_tokenizer(corpus.texts), encoding="utf-8")
    megabytes = corpus.text_bytes / 1e6
    show.print(
        f"\n[bold]1[/] Read {len(corpus.paths):,} Python files ({megabytes:.1f} MB) and trained a tokenizer on them"
    )
    return corpus, str(tokenizer_path)


def _size_table(sizes: dict[str, int], tokens: int) -> Table:
    """Lay out what the same text takes in each form."""
    table = Table(title="[bold]3[/] What it takes on disk", title_justify="left")
    table.add_column("form")
    for name in ("MB", "bits/token", "of the raw ids"):
        table.add_column(name, justify="right")
    for key, label in _FORMS:
        share = sizes[key] / sizes["ids_u16"]
        style = "bold green" if key == "store" else ""
        table.add_row(label, f"{sizes[key] / 1e6:.2f}", f"{8 * sizes[key] / tokens:.2f}", f"{share:.0%}", style=style)
    return table


def _train(show: Console, train: Callable[..., Progress], store: ts.Store, seconds: float) -> Progress:
    """Train, with the loss on the screen: drawn anew on a terminal, a line now and then elsewhere."""
    show.print(f"[bold]4[/] Training a small transformer from the store, {seconds:.0f} s on the CPU")
    if not show.is_terminal:
        shown = [0.0]

        def on_step(progress: Progress) -> None:
            if progress.step == 1 or progress.seconds >= shown[0] + _LINE_SECONDS:
                shown[0] = progress.seconds
                show.print(_line(progress))

        last = train(store, seconds, on_step)
        show.print(_line(last))
        return last
    with Live(console=show, refresh_per_second=8) as live:
        return train(store, seconds, lambda progress: live.update(_panel(progress, seconds, show.width)))


def _line(progress: Progress) -> str:
    """Say on one line where training stands."""
    rate = progress.tokens / progress.seconds
    waiting = progress.waiting_seconds / progress.seconds
    return (
        f"  {progress.seconds:5.1f} s  step {progress.step:4d}  loss {progress.loss:6.3f}"
        f"  {rate:7,.0f} tokens/s  {waiting:.2%} of the time waiting for data"
    )


def _panel(progress: Progress, seconds: float, width: int) -> Panel:
    """Draw the loss since the first step, with the figures below."""
    curve = Text(sparkline(progress.losses, max(10, min(width - 4, 76))), style="green")
    text = Group(curve, Text(_line(progress).strip()))
    return Panel(text, title=f"loss {progress.first_loss:.2f} → {progress.loss:.2f}", title_align="left", expand=False)


def sparkline(values: tuple[float, ...], width: int) -> str:
    """Draw numbers as a line of bars, the largest full.

    Example:
        >>> sparkline((4.0, 2.0, 0.0), 3)
        '█▅▁'
    """
    if not values:
        return ""
    edges = [round(i * len(values) / min(width, len(values))) for i in range(min(width, len(values)) + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, int((mean - low) / step + 0.5))] for mean in means)


def _say_what_next(show: Console, store_path: str | None) -> None:
    """Say what to type with data of one's own."""
    beside = os.path.join(os.path.dirname(sys.executable), "tokstore")
    program = "tokstore" if shutil.which("tokstore") else os.path.relpath(beside)
    looks = [f"{program} info {store_path}", f"{program} cat {store_path} 17"] if store_path is not None else []
    lines = [
        *looks,
        f"{program} pack YOUR.jsonl.zst corpus --tokenizer tokenizer.json    # or --bytes; files and folders too",
        f"{program} info corpus",
        "",
        "import tokstore as ts",
        'data = ts.StreamingDataset(ts.open("corpus"), seq_len=2048, batch_size=8, packing="concat", epochs=None)',
        'for batch in data: batch["input_ids"], batch["labels"]',
    ]
    show.print("\n[bold]Next[/], with your own data:\n")
    for line in lines:
        show.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
