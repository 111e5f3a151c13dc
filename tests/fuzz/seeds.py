"""The sound stores that are damaged: the good vectors of `spec/vectors`, and stores that the package writes itself."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tokstore as ts
from files import tree
from fuzz.places import ALONE

VECTORS = Path(__file__).resolve().parents[2] / "spec" / "vectors" / "good"
LEVELS = ("plain", "fast", "default", "small")


@dataclass(frozen=True)
class Seed:
    """A sound store: its files by path (a data file alone is named `places.ALONE`), and the version to read."""

    name: str
    files: dict[str, bytes]
    version: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))


def vectors() -> list[Seed]:
    """Return the good vectors."""
    return [_vector(path) for path in sorted(VECTORS.glob("*.vec"))]


def _vector(path: Path) -> Seed:
    """Take a vector apart, as spec/vectors/README.md says."""
    text, body = path.read_bytes().split(b"\n\n", 1)
    lines = [tuple(line.split(": ", 1)) for line in text.decode().split("\n")]
    header = {key: value for key, value in lines if key != "file"}
    if "repeat" in header:
        at, count, byte = header["repeat"].split()
        body = body[: int(at)] + bytes.fromhex(byte) * int(count) + body[int(at) :]
    files, at_byte = {}, 0
    for name, size in (value.rsplit(" ", 1) for key, value in lines if key == "file"):
        files[name] = body[at_byte : at_byte + int(size)]
        at_byte += int(size)
    version = int(header["version"]) if "version" in header else None
    return Seed(path.stem, files or {ALONE: body}, version)


SCHEMAS: dict[str, dict[str, Any]] = {
    "text": {"t": ts.Tokens(300, eos_id=0, optional=True), "m": ts.Mask(of="t"), "u": ts.Text(optional=True)},
    "wide": {"t": ts.Tokens(100_000), "b": ts.Bytes(optional=True), "c": ts.Category(optional=True)},
    "numbers": {
        "q": ts.Score("float16", optional=True),
        "d": ts.Score("float64"),
        "l": ts.Label(300, optional=True),
        "a": ts.Array("int16", (2, 3)),
        "r": ts.Array("bfloat16", (None, 2), optional=True),
    },
    "codes": {"c": ts.Codes(16, (4, 4)), "r": ts.Codes(1000, (None, 2), optional=True)},
    "vectors": {
        "x": ts.Vector(8),
        "i": ts.Vector(8, codec="int8"),
        "p": ts.Vector(8, codec="pca", max_error=0.1, optional=True),
        "s": ts.SoftLabel(9, top=3, optional=True),
    },
}
"""Every type of column, in stores small enough to flip each of their bits."""


def _values(kind: Any, rows: int, rng: np.random.Generator) -> Any:
    """Make values of a type; of optional ones some are missing."""
    lengths = rng.integers(0, 9, rows)
    if isinstance(kind, ts.Tokens):
        made: Any = [rng.zipf(1.3, n) % kind.vocab_size for n in lengths]
    elif isinstance(kind, ts.Text):
        made = ["é" * int(n) + "text" for n in lengths]
    elif isinstance(kind, ts.Bytes):
        made = [bytes(range(n)) for n in lengths]
    elif isinstance(kind, ts.Category):
        made = [("web", "books", "é")[n % 3] for n in lengths]
    elif isinstance(kind, ts.Vector):
        made = list(rng.standard_normal((rows, 8)).astype(np.float32))
    elif isinstance(kind, ts.SoftLabel):
        made = list(rng.dirichlet(np.ones(9), rows).astype(np.float32))
    elif isinstance(kind, ts.Label):
        made = rng.integers(0, 300, rows).tolist()
    elif isinstance(kind, ts.Score):
        made = rng.standard_normal(rows).tolist()
    else:
        top = kind.size if isinstance(kind, ts.Codes) else 100
        made = [rng.integers(0, top, [n if axis is None else axis for axis in kind.shape]) for n in lengths]
    return [None if kind.optional and i % 4 == 3 else one for i, one in enumerate(made)]


def written() -> list[Seed]:
    """Return stores that the package writes: each schema at each level, alone and as a store that was changed."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, columns in SCHEMAS.items():
            for level in LEVELS:
                path = Path(folder) / f"{name}-{level}.tok"
                _write(path, columns, level)
                found.append(Seed(path.stem, {ALONE: path.read_bytes()}))
        for name in ("text", "numbers"):
            path = Path(folder) / name
            _write(path, SCHEMAS[name], "fast")
            store = ts.open(path)
            with store.writer() as writer:
                writer.extend(_rows(SCHEMAS[name], 3, 1))
            store.delete([0, 4])
            store.sample(5, seed=0).save("few")
            store.add_column("n", np.arange(len(store)), ts.Label())
            with ts.writer(path, part="p") as part:
                part.extend(_rows(SCHEMAS[name] | {"n": store.schema["n"]}, 2, 2))
            found.append(Seed(f"store-{name}", tree(path)))
    return found


def larger() -> list[Seed]:
    """Return stores with so many values that they have rank tables, dictionaries, and models of codes and vectors."""
    rng = np.random.default_rng(3)
    codes = (rng.integers(-1, 2, (200, 4, 4)).cumsum(axis=1) + rng.integers(0, 16, (200, 1, 1))) % 16
    pairs = [rng.integers(0, 40, (n, 1)) * 25 + rng.integers(0, 2, (n, 2)) for n in rng.integers(1, 60, 60)]
    phrases = rng.integers(0, 900, (40, 12))
    tokens = [phrases[rng.integers(0, 40, n)].reshape(-1) for n in rng.integers(1, 20, 200)]
    near = rng.standard_normal((300, 40)).astype(np.float32) * np.linspace(2, 0.02, 40, dtype=np.float32)
    texts = [f"https://example.org/page/{n}/index.html" for n in rng.integers(0, 900, 300)]
    stores: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "codes": ({"c": ts.Codes(16, (4, 4))}, {"c": codes}),
        "streams": ({"c": ts.Codes(1000, (None, 2))}, {"c": pairs}),
        "tokens": ({"t": ts.Tokens(1000)}, {"t": tokens}),
        "vectors": ({"v": ts.Vector(40, codec="pca", max_error=0.2), "u": ts.Text()}, {"v": near, "u": texts}),
    }
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (columns, values) in stores.items():
            for level in ("default", "small"):
                path = Path(folder) / f"{name}-{level}-larger.tok"
                with ts.create(path, ts.Schema(columns), level=level) as writer:
                    writer.extend(values)
                found.append(Seed(path.stem, {ALONE: path.read_bytes()}))
    return found


def _rows(columns: dict[str, Any], rows: int, seed: int) -> dict[str, Any]:
    """Make the values of some samples; masks fit their tokens."""
    rng = np.random.default_rng(seed)
    made = {name: _values(kind, rows, rng) for name, kind in columns.items() if not isinstance(kind, ts.Mask)}
    for name, kind in columns.items():
        if isinstance(kind, ts.Mask):
            made[name] = [rng.integers(0, 2, 0 if one is None else len(one)) for one in made["t"]]
    return made


def _write(path: Path, columns: dict[str, Any], level: str) -> None:
    """Write a small store."""
    with ts.create(path, ts.Schema(columns), level=level, metadata={"k": 1}, attachments={"a.txt": b"abc"}) as writer:
        writer.extend(_rows(columns, 8, 0))
