"""atheris (libFuzzer for Python) on all decoders; where it cannot be imported, the random mutator for the same time.

libFuzzer ends the process that it runs in, so it has one of its own. The first byte of an input says which decoder
reads the others.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
_MEGABYTES = 2000
_CASE_SECONDS = 10


def run_guided(seconds: float, seed: int, only: list[str], findings: Path) -> int:
    """Run the decoders under atheris.

    Args:
        seconds: Time for all of them together.
        seed: That of libFuzzer.
        only: The names of some of them; empty for all.
        findings: The folder that takes findings; the corpus that libFuzzer gathers lies beside it.

    Returns:
        The exit code: 1 where there was a finding.
    """
    if importlib.util.find_spec("atheris") is None:
        print("atheris cannot be imported here (pip install atheris): the random mutator runs instead")
        command = [sys.executable, "-m", "fuzz", "--decoders", "--seconds", str(seconds), "--seed", str(seed)]
        command += [f"--findings={findings}", *(f"--only={one}" for one in only)]
        return subprocess.run(command, cwd=TESTS, check=False).returncode
    corpus = findings.parent / "corpus"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fuzz.guided", "|".join(only), str(corpus)]
    command += [f"-max_total_time={max(1, int(seconds))}", f"-seed={seed + 1}", f"-timeout={_CASE_SECONDS}"]
    command += [f"-rss_limit_mb={_MEGABYTES}", f"-artifact_prefix={findings}/", "-max_len=20000"]
    command += ["-print_final_stats=1", "-verbosity=1"]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, encoding="utf-8", errors="replace", check=False)
    facts = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    edges = re.findall(r"cov: (\d+)", done.stderr)
    print(
        f"atheris: {int(facts.get('number_of_executed_units', 0)):,d} inputs, {edges[-1] if edges else 0} edges, "
        f"{facts.get('peak_rss_mb', '?')} MB, seed {seed + 1}"
    )
    if done.returncode:
        report = findings / "atheris-report.txt"
        report.write_text(done.stdout + done.stderr, encoding="utf-8")
        print(f"FINDING: exit code {done.returncode}; see {report}", file=sys.stderr)
        print("\n".join((done.stdout + done.stderr).splitlines()[-20:]), file=sys.stderr)
    return int(done.returncode != 0)


def main() -> None:
    """Run under libFuzzer: the child of `run_guided`, which has imported nothing of the package before."""
    import atheris

    with atheris.instrument_imports(include=["tokstore"]):
        from fuzz.decoders import decoders
        from fuzz.seeds import larger, vectors, written
        from tokstore import TokstoreError

    only = set(filter(None, sys.argv.pop(1).split("|")))
    found = [one for one in decoders([*written(), *vectors(), *larger()]) if not only or one.name in only]
    corpus = Path(sys.argv[1])
    for number, target in enumerate(found):
        for i, data in enumerate(target.seeds):
            (corpus / f"seed-{target.name.replace(' ', '-')}-{i}").write_bytes(bytes([number]) + data)

    def run(data: bytes) -> None:
        try:
            found[data[0] % len(found) if data else 0].decode(data[1:])
        except TokstoreError:
            return

    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
