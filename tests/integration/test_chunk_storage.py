"""How chunks lie on disk: rows of up to half a page, in every partition."""

import datetime as dt

from tests.fix_hub_database import HubDatabase

_OPTIONS = """
SELECT c.relname, c.reloptions FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'telemetry_chunks'::regclass
"""


def test_every_partition_keeps_rows_of_up_to_half_a_page_in_one_piece(hub_database: HubDatabase) -> None:
    today = dt.datetime.now(dt.UTC).date()
    with hub_database.connect("dbx_worker") as worker:
        assert worker.execute("SELECT create_telemetry_day(%s)", (today,)).fetchone() == (True,)
    with hub_database.connect() as admin:
        found = dict(admin.execute(_OPTIONS).fetchall())
    assert len(found) >= 2
    assert set(map(tuple, found.values())) == {("toast_tuple_target=4080",)}
