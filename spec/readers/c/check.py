"""Run the C reader on all vectors of `spec/vectors` and compare (spec/vectors/README.md).

    python check.py [--sections] PROGRAM...

Every program, such as a plain build and one with sanitizers, must print the JSON of each good vector byte for byte and
fail on each bad one with the kind that it asks for. Then the columns of good vectors are read alone, without what
`verify` reads. A vector that needs a level (codecs.md 8) that the reader does not have would be listed as such: this
reader has all of them. `--sections` lists the bad vectors whose error names another section than the vector does, which
is no problem where one section is part of the other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
LEVELS = ("Basic", "Tokens", "Codes", "Vectors")
SECONDS = 60
EXAMPLE = ["1.3984375 0.296875", "0.203125 -0.59375", "0.109375 1.1953125", "0.6015625 -0.296875"]
"""The numbers of the vectors in the example of codecs.md 6.4, which good/vector_lanes stores."""


@dataclass
class Vector:
    """A vector whose content was written to a folder."""

    name: str
    expect: str
    spec: str
    version: list[str]
    path: Path
    json: bytes


def unpack(vec: Path, folder: Path) -> Vector:
    """Write the file or the store of a vector into a folder."""
    text, body = vec.read_bytes().split(b"\n\n", 1)
    lines = [line.split(": ", 1) for line in text.decode().split("\n")]
    header = {key: value for key, value in lines if key != "file"}
    if "repeat" in header:
        at, count, byte = header["repeat"].split()
        body = body[: int(at)] + bytes.fromhex(byte) * int(count) + body[int(at) :]
    files = [value.rsplit(" ", 1) for key, value in lines if key == "file"]
    path = folder / vec.parent.name / (vec.stem if files else f"{vec.stem}.tok")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not files:
        path.write_bytes(body)
    for name, size in files:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(body[: int(size)])
        body = body[int(size) :]
    beside = vec.with_suffix(".json")
    found = beside.read_bytes() if header["expect"] == "ok" else b""
    version = [header["version"]] if "version" in header else []
    return Vector(f"{vec.parent.name}/{vec.stem}", header["expect"], header["spec"], version, path, found)


def run(program: str, *arguments: str) -> tuple[int, bytes, str]:
    """Run a program, and give its status and what it printed."""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return -1, b"", f"no answer in {SECONDS} s"
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace").strip()


def problem(program: str, vector: Vector) -> str | None:
    """Compare what a program does with a vector."""
    status, printed, error = run(program, str(vector.path), *vector.version)
    if vector.expect == "ok":
        if status:
            return f"should be read: {error[-2000:]}"
        if printed != vector.json:
            only_spelling = json.loads(printed) == json.loads(vector.json)
            return "prints the JSON in another spelling" if only_spelling else "prints another JSON"
        return column_problem(program, vector)
    if status != 1:
        return f"should be {vector.expect}, ends with status {status}: {error[-2000:]}"
    kind = error.split(":", 1)[0]
    return None if kind == vector.expect else f"should be {vector.expect}, is {error}"


def column_problem(program: str, vector: Vector) -> str | None:
    """Read each column alone and compare with the samples of the JSON."""
    wanted: dict[str, Any] = json.loads(vector.json)
    for column in wanted["columns"]:
        name = column["name"]
        status, printed, error = run(program, "-s", name, str(vector.path), *vector.version)
        if name in wanted["refused"]:
            if wanted["samples"] and not error.startswith("unsupported:"):
                return f"column {name} should be refused: {error}"
            continue
        if status:
            return f"column {name} alone should be read: {error[-2000:]}"
        if [json.loads(line) for line in printed.splitlines()] != [sample[name] for sample in wanted["samples"]]:
            return f"column {name} alone has other values"
    return None


def example_problem(program: str, vector: Vector) -> str | None:
    """Compare the numbers of vectors with those of the example in codecs.md 6.4."""
    column = json.loads(vector.json)["columns"][0]["name"]
    _, printed, error = run(program, "-f", column, str(vector.path))
    found = printed.decode().splitlines()
    return None if found == EXAMPLE else f"the numbers of codecs.md 6.4 come out as {found or error}"


def wrong_section(program: str, vector: Vector) -> str | None:
    """Say which section an error names where the vector is about another one."""
    error = run(program, str(vector.path), *vector.version)[2]
    section = error.rsplit("(", 1)[-1].rstrip(")")
    wanted = vector.spec if ".md" in vector.spec else f"format.md {vector.spec}"
    return None if section == wanted else f"{vector.name}: {wanted}, the error names {section}: {error}"


def main(arguments: list[str]) -> int:
    """Run the script."""
    sections = "--sections" in arguments
    programs = [one for one in arguments if one != "--sections"]
    if not programs:
        print(__doc__, file=sys.stderr)
        return 2
    failed = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        vectors = [unpack(vec, Path(folder)) for vec in sorted(VECTORS.glob("*/*.vec"))]
        if sections:
            bad = [one for one in vectors if one.expect != "ok"]
            print(*filter(None, pool.map(partial(wrong_section, programs[0]), bad)), sep="\n")
            return 0
        for program in programs:
            found = list(pool.map(partial(problem, program), vectors))
            lines = [f"{one.name}: {what}" for one, what in zip(vectors, found, strict=True) if what]
            lines += filter(None, [example_problem(program, one) for one in vectors if one.name == "good/vector_lanes"])
            failed += len(lines)
            print(*(f"{program}: {line}" for line in lines), sep="\n", end="\n" if lines else "")
            kinds = Counter(one.expect for one in vectors)
            counts = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
            print(f"{Path(program).name}: {len(vectors)} vectors ({counts}), {len(lines)} problems")
            print(f"  levels {', '.join(LEVELS)}; not at this level: none")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
