"""Write the test vectors, or compare them with what would be written.

python spec/vectors/make_vectors.py            writes good/*.vec, good/*.json and bad/*.vec beside this script
python spec/vectors/make_vectors.py --verify   writes nothing; exit status 1 if a file differs or should not be there
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from spec.vectors.generator import all_vectors  # noqa: E402  (the script runs without an installation)


def files() -> dict[str, bytes]:
    """Give every file of the vectors by its path in this folder."""
    found: dict[str, bytes] = {}
    for vector in all_vectors.vectors():
        folder = "good" if vector.expect == "ok" else "bad"
        name = f"{folder}/{vector.name}"
        if f"{name}.vec" in found:
            raise ValueError(f"two vectors are called {name}")
        found[f"{name}.vec"] = vector.encode()
        if vector.expect == "ok":
            found[f"{name}.json"] = vector.encode_json()
    return found


def main(arguments: list[str]) -> int:
    """Run the script."""
    if arguments not in ([], ["--verify"]):
        print("usage: python make_vectors.py [--verify]", file=sys.stderr)
        return 2
    wanted = files()
    there = {
        str(p.relative_to(HERE).as_posix()): p
        for folder in ("good", "bad")
        for p in (HERE / folder).glob("*")
        if p.is_file()
    }
    wrong = sorted(name for name, data in wanted.items() if name not in there or there[name].read_bytes() != data)
    extra = sorted(set(there) - set(wanted))
    if arguments:
        for name in wrong:
            print(f"{name}: {'differs' if name in there else 'is missing'}", file=sys.stderr)
        for name in extra:
            print(f"{name}: is not made by the generator", file=sys.stderr)
    else:
        for name in wrong:
            (HERE / name).parent.mkdir(exist_ok=True)
            (HERE / name).write_bytes(wanted[name])
        for name in extra:
            there[name].unlink()
    good = sum(name.startswith("good/") and name.endswith(".vec") for name in wanted)
    bad = sum(name.startswith("bad/") for name in wanted)
    print(
        f"{good} good and {bad} bad vectors, {sum(map(len, wanted.values())):,} bytes, {len(wrong) + len(extra)} differ"
    )
    return 1 if arguments and (wrong or extra) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
