"""Hostile bytes for the package: damaged and forged files of every kind, read as a user would read them.

``cd tests && python -m fuzz --help`` says how it is run; `make fuzz` and `.ci/run` do. Only a `TokstoreError` may come
out, or values: the good ones where checksums are in force, and otherwise such as the type of the column allows, the
same from every way of reading. Memory and time are bounded in every case.
"""

from __future__ import annotations
