"""Shared pipelined reads: nobody gets another's rows, errors stay with who made them, broken connections are
replaced."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from hub.api.pipeline import DatabaseGone, QueryFailed, Reader
from hub.store.query import Query
from hub.store.tenant import HUB_ORG

MINE = Query("mine", "SELECT org_id, name FROM organizations WHERE $1::uuid IS NOT NULL", lambda o, n: (o, n))
"""Without the explicit predicate: the policy alone decides."""
FAILS = Query("fails", "SELECT 1 / $2::integer WHERE $1::uuid IS NOT NULL", lambda x: x)
SLOW = Query("slow", "SELECT pg_sleep($2::float8) WHERE $1::uuid IS NOT NULL", lambda x: x)
ARRAYS = Query(
    "arrays",
    "SELECT ARRAY[1, -2]::int2[], ARRAY[70000]::int4[], ARRAY[5000000000]::int8[], '{}'::int2[], NULL::int4[]"
    " WHERE $1::uuid IS NOT NULL",
    lambda *a: a,
)
NULLS = Query("nulls", "SELECT ARRAY[1, NULL]::int4[] WHERE $1::uuid IS NOT NULL", lambda a: a)
WRITES = Query("writes", "INSERT INTO organizations (org_id, name) VALUES ($1, 'x') RETURNING 1", lambda x: x)


def run(database, work: Callable[[Reader], Awaitable[None]], prepared=(MINE, FAILS), size: int = 2) -> None:
    async def main() -> None:
        reader = Reader(database.url("dbx_api"), prepared, size)
        try:
            await work(reader)
        finally:
            reader.close()

    asyncio.run(main())


def test_interleaved_reads_of_many_organisations_with_failures_among_them_never_mix(hub_database) -> None:
    orgs = [hub_database.new_organisation(f"o{i}") for i in range(8)]

    async def work(reader: Reader) -> None:
        async def one(i: int) -> None:
            org = orgs[i % len(orgs)]
            if i % 13 == 0:
                with pytest.raises(QueryFailed, match="22012"):
                    await reader.fetch(org, FAILS, 0)
            else:
                assert [o for o, _ in await reader.fetch(org, MINE)] == [org]

        await asyncio.gather(*(one(i) for i in range(2000)))

    run(hub_database, work)


def test_an_organisation_that_does_not_exist_sees_nothing(hub_database) -> None:
    hub_database.new_organisation()

    async def work(reader: Reader) -> None:
        assert await reader.fetch(uuid.uuid4(), MINE) == []
        assert [o for o, _ in await reader.fetch(HUB_ORG, MINE)] == [HUB_ORG]

    run(hub_database, work)


def test_nothing_can_be_written_through_a_reader(hub_database) -> None:
    async def work(reader: Reader) -> None:
        with pytest.raises(QueryFailed, match="25006"):
            await reader.fetch(uuid.uuid4(), WRITES)

    run(hub_database, work)


def test_a_reader_that_goes_away_does_not_disturb_the_others(hub_database) -> None:
    org = hub_database.new_organisation()

    async def work(reader: Reader) -> None:
        gone = asyncio.create_task(reader.fetch(org, SLOW, 0.3))
        rest = [asyncio.create_task(reader.fetch(org, MINE)) for _ in range(20)]
        await asyncio.sleep(0.1)
        gone.cancel()
        assert all([o for o, _ in rows] == [org] for rows in await asyncio.gather(*rest))

    run(hub_database, work, size=1)


def test_a_killed_connection_is_replaced_and_the_read_tried_again(hub_database) -> None:
    org = hub_database.new_organisation()

    async def work(reader: Reader) -> None:
        assert await reader.fetch(org, MINE)
        with hub_database.connect() as conn:
            conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dbx-api'")
        assert await reader.fetch(org, MINE)

    run(hub_database, work)


def test_a_database_that_cannot_be_reached_is_said_so() -> None:
    async def main() -> None:
        with pytest.raises(DatabaseGone):
            await Reader("postgresql://x@127.0.0.1:1/none", (), 1).fetch(uuid.uuid4(), MINE)

    asyncio.run(main())


def test_integer_arrays_come_as_numpy_and_null_elements_are_refused(hub_database) -> None:
    async def work(reader: Reader) -> None:
        small, middle, large, empty, absent = (await reader.fetch(HUB_ORG, ARRAYS))[0]
        assert small.dtype == np.int16 and small.tolist() == [1, -2]
        assert middle.tolist() == [70000] and large.tolist() == [5_000_000_000] and len(empty) == 0 and absent is None
        with pytest.raises(ValueError, match="NULL"):
            await reader.fetch(HUB_ORG, NULLS)
        assert await reader.fetch(HUB_ORG, MINE)

    run(hub_database, work)
