"""Print what a reader must find in a `.tok` file or a store, as sorted JSON.

    python read.py FILE_OR_FOLDER [VERSION]

Integers are strings, floats the hexadecimal digits of their bits, bytes hexadecimal; README.md of `spec/vectors` says
more.
An error is one line on stderr and exit status 1.
"""

from __future__ import annotations

import sys

from tokread.failure import ReadError
from tokread.printing import as_json
from tokread.store import open_path


def main(arguments: list[str]) -> int:
    """Run the script."""
    if len(arguments) not in (1, 2):
        print("usage: python read.py FILE_OR_FOLDER [VERSION]", file=sys.stderr)
        return 2
    try:
        print(as_json(open_path(arguments[0], int(arguments[1]) if len(arguments) == 2 else None)), end="")
    except ReadError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
