"""``python -m fuzz``: run hostile bytes against the package, for a time or a number of cases."""

from __future__ import annotations

import argparse
import sys
from functools import lru_cache
from pathlib import Path

from fuzz.decoders import Decoder, decoders
from fuzz.guided import run_guided
from fuzz.running import Limits, Plan, Run, Tally, Target, case_of, run_case
from fuzz.seeds import Seed, larger, vectors, written
from fuzz.whole import Exact, Forged, Noise

ROOT = Path(__file__).resolve().parents[2]


def all_targets(own: list[Seed], good: list[Seed], large: list[Seed]) -> list[Target]:
    """Return every target: whole stores first, then decoders alone.

    Args:
        own: Small stores that the package writes.
        good: Vectors.
        large: Stores that are too large to flip every bit of them.
    """
    return [Exact([*own, *good]), Noise([*own, *good]), Forged([*own, *good, *large]), *decoders([*own, *good, *large])]


@lru_cache(maxsize=1)
def _usual_targets() -> list[Target]:
    """Return every target with all seeds."""
    return all_targets(written(), vectors(), larger())


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for.

    Returns:
        The exit code: 1 where there was a finding.
    """
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, help="time for all targets together")
    parser.add_argument("--cases", type=int, help="cases of each target; `exact` has an end of its own")
    parser.add_argument("--seed", type=int, default=0, help="chooses the cases")
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each target")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", action="append", help="a target, or several")
    parser.add_argument("--again", metavar="TARGET:NUMBER", help="run one case again and show what comes out")
    parser.add_argument("--decoders", action="store_true", help="the decoders alone, no whole stores")
    parser.add_argument("--stores", action="store_true", help="whole stores alone")
    parser.add_argument("--guided", action="store_true", help="atheris on the decoders, for --seconds")
    parser.add_argument("--memory", type=int, default=512, help="megabytes that a case may hold beside its files")
    parser.add_argument("--findings", type=Path, default=ROOT / "build" / "fuzz" / "findings")
    given = parser.parse_args(arguments)
    if given.guided:
        return run_guided(given.seconds or 60.0, given.seed, given.only or [], given.findings)
    targets = _usual_targets()
    names = [one.name for one in targets]
    wrong = sorted(set(given.only or ()) - set(names))
    if wrong:
        parser.error(f"there is no target {wrong[0]!r}; there are: {', '.join(names)}")
    limits = Limits(memory=given.memory << 20)
    if given.again is not None:
        name, _, number = given.again.rpartition(":")
        target = next(one for one in targets if one.name == name)
        print(case_of(target, given.seed, int(number)).what)
        finding = run_case(target, given.seed, int(number), limits, tally := Tally())
        print(finding.text if finding is not None else dict(tally.outcomes))
        return int(finding is not None)
    if given.seconds is None and given.cases is None:
        given.seconds = 60.0
    plan = Plan(given.seed, given.first, given.cases, given.seconds, given.processes)
    if given.decoders or given.stores:
        targets = [one for one in targets if isinstance(one, Decoder) == given.decoders]
    run = Run([one for one in targets if not given.only or one.name in given.only], plan, limits, given.findings)
    run.go()
    print(run.report())
    return int(bool(run.found))


if __name__ == "__main__":
    sys.exit(main())
