"""Queries as data: SQL text with $1, $2, ... and the type of its rows. `$1` is always the organisation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from psycopg import Connection, RawCursor

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Query(Generic[Row]):
    """One statement. name: unique, the prepared statement's name. row: called with a row's columns in order."""

    name: str
    sql: str
    row: Callable[..., Row]


def scalar(value: Any) -> Any:
    """The row type of a query of one column."""
    return value


def run(conn: Connection[Any], query: Query[Row], *params: Any) -> list[Row]:
    """Execute inside the caller's transaction; typed rows."""
    cursor: RawCursor[Any] = RawCursor(conn)
    with cursor:
        cursor.execute(query.sql.encode(), params)
        rows: Sequence[Sequence[Any]] = cursor.fetchall() if cursor.description else []
    return [query.row(*r) for r in rows]
