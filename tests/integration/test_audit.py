"""The audit log: what people and processes change, with a chain that shows any later change."""

import json

from hub.store.audit import verify_chain
from hub.store.tenant import tenant
from tests.fix_hub_database import HubDatabase


def test_a_change_is_recorded_with_actor_and_values(hub_database: HubDatabase) -> None:
    org_id = hub_database.new_organisation("Before")
    with hub_database.connect("dbx_api") as api:
        with tenant(api, org_id, actor="key 1", request_id="r1", address="127.0.0.1"):
            api.execute("UPDATE organizations SET name = 'After' WHERE org_id = %s", (org_id,))
        with tenant(api, org_id):
            row = api.execute(
                "SELECT actor, request_id, address, database_role, action, old_values ->> 'name', new_values ->> 'name'"
                " FROM audit_log WHERE org_id = %s ORDER BY audit_no DESC LIMIT 1",
                (org_id,),
            ).fetchone()
    assert row == ("key 1", "r1", "127.0.0.1", "dbx_api", "UPDATE", "Before", "After")


def test_the_log_never_holds_a_keys_digest(hub_database: HubDatabase) -> None:
    org_id = hub_database.new_organisation()
    with hub_database.connect("dbx_api") as api, tenant(api, org_id):
        api.execute(
            "INSERT INTO api_keys (org_id, key_id, name, role, key_digest)"
            " VALUES (%s, gen_random_uuid(), 'x', 'viewer', encrypt_api_key('dbx_secret'))",
            (org_id,),
        )
        rows = api.execute("SELECT new_values FROM audit_log WHERE table_name = 'api_keys'").fetchall()
    assert len(rows) == 1
    assert "digest" not in json.dumps(rows)


def test_an_untouched_chain_holds_and_a_changed_or_missing_entry_is_found(hub_database: HubDatabase) -> None:
    org_id = hub_database.new_organisation()
    for name in ("a", "b", "c"):
        hub_database.new_aircraft(org_id, name)
    with hub_database.connect("dbx_auditor") as auditor, tenant(auditor, org_id):
        assert verify_chain(auditor, org_id) == (4, None)
    with hub_database.connect() as admin:
        admin.execute("UPDATE audit_log SET actor = 'somebody else' WHERE org_id = %s AND audit_no = 3", (org_id,))
    with hub_database.connect("dbx_auditor") as auditor, tenant(auditor, org_id):
        assert verify_chain(auditor, org_id) == (4, 3)
    with hub_database.connect() as admin:
        admin.execute("DELETE FROM audit_log WHERE org_id = %s AND audit_no >= 3", (org_id,))
    with hub_database.connect("dbx_auditor") as auditor, tenant(auditor, org_id):
        assert verify_chain(auditor, org_id) == (2, 3)
