"""`Schema`: the columns of a store <-> column records (format.md 6)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tokstore.column_types import COLUMN_TYPES, ColumnType, Mask, Tokens, UnknownType, expect
from tokstore.errors import ColumnError, CorruptError, suggest

__all__ = ["Column", "Schema"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_MAX_COLUMNS = 65_535


@dataclass(frozen=True)
class Column:
    """One column of a store: its id, name, type and the level that new blocks get.

    Attributes:
        is_primary: It stays the primary one, whatever columns were added since (format.md 6.2).
    """

    column_id: int
    name: str
    type: ColumnType
    level: str | None = None
    is_primary: bool = False

    def record(self) -> dict[int, object]:
        """Return the column record (format.md 6.1)."""
        number = self.type.type_number if isinstance(self.type, UnknownType) else self.type.number
        record: dict[int, object] = {1: self.column_id, 2: self.name, 3: number, 4: self.type.parameters()}
        record[5] = self.type.optional
        if self.level is not None:
            record[6] = self.level
        if self.is_primary:
            record[7] = True
        return record


class Schema(Mapping[str, ColumnType]):
    """The columns of a store, by name, in the order they were given.

    Args:
        columns: Column types by name. Names match ``[A-Za-z_][A-Za-z0-9_]*`` and have at most 128 characters.
            ``sample_id`` is taken: every batch carries the sample ids under that name.

    Raises:
        ValueError: A name or the number of columns breaks the rules.
        TypeError: A value is no column type.

    Example:
        >>> schema = Schema(tokens=Tokens(256), quality=Score(optional=True))
        >>> schema
        Schema(tokens=Tokens(256), quality=Score('float32', optional=True))
        >>> schema.names
        ('tokens', 'quality')
    """

    def __init__(self, columns: Mapping[str, ColumnType] | None = None, /, **named: ColumnType) -> None:
        given = dict(columns or {}) | named
        if not given:
            raise ValueError("a schema has at least one column")
        for name, kind in given.items():
            if not isinstance(kind, ColumnType):
                raise TypeError(f"column {name!r} is a column type such as Tokens(50_257), not {kind!r}")
            _check_name(name)
            if name == "sample_id":
                raise ValueError("no column is named 'sample_id': batches carry the sample ids under that name")
        for name, kind in given.items():
            if not isinstance(kind, Mask) or kind.of is None:
                continue
            if kind.of == name or kind.of not in given or not given[kind.of].ragged:
                raise ValueError(f"column {name!r} masks {kind.of!r}, which is no column of values: name one, or None")
        self._set([Column(i, name, kind) for i, (name, kind) in enumerate(given.items())])

    def _set(self, columns: list[Column]) -> None:
        if len(columns) > _MAX_COLUMNS:
            raise ValueError(f"a schema has at most {_MAX_COLUMNS} columns (format.md 11)")
        self.columns: tuple[Column, ...] = tuple(columns)
        self._by_name = {column.name: column for column in columns}

    @classmethod
    def from_columns(cls, columns: list[Column]) -> Schema:
        """Make a schema of columns that have ids already."""
        made = cls.__new__(cls)
        made._set(columns)
        return made

    @classmethod
    def from_records(cls, records: object) -> Schema:
        """Make a schema again from column records (format.md 6.1).

        Raises:
            CorruptError: The records break the spec. Types this version does not know become `UnknownType`.
        """
        try:
            columns = [_column(record) for record in expect(records, list)]
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise CorruptError(f"a column record is wrong: {error}", rule="format.md 6.1") from error
        if not columns:
            raise CorruptError("a schema has no column", rule="format.md 6.1")
        ids, names = [c.column_id for c in columns], [c.name for c in columns]
        if ids != sorted(set(ids)) or len(set(names)) != len(names):
            raise CorruptError("column ids are not ascending, or names come twice", rule="format.md 6.1")
        if sum(c.is_primary for c in columns) > 1:
            raise CorruptError("two columns are the primary one", rule="format.md 6.2")
        return cls.from_columns(columns)

    def records(self) -> list[dict[int, object]]:
        """Return the column records (format.md 6.1)."""
        return [column.record() for column in self.columns]

    def with_level(self, level: str) -> Schema:
        """Return the schema with the level that new blocks of every column get."""
        return Schema.from_columns([replace(column, level=level) for column in self.columns])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._by_name)

    @property
    def primary(self) -> Column:
        """The column whose blocks define the spans (format.md 6.2)."""
        kinds = (
            (lambda c: c.is_primary),
            (lambda c: isinstance(c.type, Tokens)),
            (lambda c: c.type.ragged),
            (lambda c: True),
        )
        return next(column for wanted in kinds for column in self.columns if wanted(column))

    def column(self, name: str) -> Column:
        """Return a column by name, or raise `ColumnError` with what was probably meant."""
        if not isinstance(name, str):
            raise TypeError(f"a column name is a string, not {name!r}")
        found = self._by_name.get(name)
        if found is None:
            raise ColumnError(f"no column {name!r}", hint=suggest(name, self._by_name))
        return found

    def __getitem__(self, name: str) -> ColumnType:
        return self.column(name).type

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self.columns)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __eq__(self, other: object) -> bool:
        return self.columns == other.columns if isinstance(other, Schema) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.columns)

    def __repr__(self) -> str:
        return f"Schema({', '.join(f'{c.name}={c.type!r}' for c in self.columns)})"


def _column(record: object) -> Column:
    """Make one column from its record."""
    fields = expect(record, dict)
    unknown = sorted(key for key in set(fields) - set(range(1, 8)) if key < 128)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]}")
    column_id, name, number = expect(fields[1], int), expect(fields[2], str), expect(fields[3], int)
    if not 0 <= column_id <= 2**32 - 2 or not 0 <= number < 1 << 16:
        raise ValueError(f"column id {column_id}, type {number}")
    _check_name(name)
    parameters, optional = expect(fields[4], dict), expect(fields[5], bool)
    kind = COLUMN_TYPES.get(number)
    made = (
        UnknownType(type_number=number, raw_parameters=tuple(parameters.items()), optional=optional)
        if kind is None
        else kind.from_parameters(parameters, optional)
    )
    if 7 in fields and fields[7] is not True:
        raise ValueError("key 7 is there and not true")
    return Column(column_id, name, made, expect(fields[6], str) if 6 in fields else None, 7 in fields)


def _check_name(name: str) -> None:
    """Refuse a column name that the format does not allow."""
    if not _NAME.match(name):
        raise ValueError(f"column name {name!r} is not [A-Za-z_][A-Za-z0-9_]* of 1 to 128 characters (format.md 6.1)")
