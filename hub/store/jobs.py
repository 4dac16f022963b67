"""Jobs of the worker: at most one waiting per kind and subject, deleted when done.

Whoever runs a job holds an advisory lock on it. The lock goes with the connection, so the job of a killed worker is
free at once, after a pause that doubles with each attempt (a job that kills its worker must not do so without end).
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from shared.ids import new_id

Connection = psycopg.Connection[Any]
Kind = Literal["settle", "log"]
LEASE_S = 1
MOST_BACKOFF_S = 3600


@dataclass(frozen=True, slots=True)
class Job:
    """A job that was claimed. attempts counts this one."""

    org_id: uuid.UUID
    job_id: uuid.UUID
    kind: Kind
    subject_id: uuid.UUID
    attempts: int


def enqueue(conn: Connection, org_id: uuid.UUID, kind: Kind, delays_s: Mapping[uuid.UUID, float]) -> None:
    """Ask for work on each subject after a delay; what waits already is done sooner, if it is now asked for sooner and
    has not failed. Call it once in a transaction: subjects are taken in order, so that two such calls cannot deadlock.
    """
    for subject, delay_s in sorted(delays_s.items()):
        conn.execute(_ENQUEUE, (org_id, new_id(), kind, subject, delay_s))


_ENQUEUE = """
INSERT INTO jobs (org_id, job_id, kind, subject_id, run_after)
VALUES (%s, %s, %s, %s, now() + make_interval(secs => %s))
ON CONFLICT (org_id, kind, subject_id) WHERE started_at IS NULL DO UPDATE SET run_after = excluded.run_after
WHERE jobs.attempts = 0 AND excluded.run_after < jobs.run_after
"""


def due(conn: Connection, most: int = 20) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """(org, job) of jobs that should run, of all organisations; outside any tenant transaction."""
    rows = conn.execute("SELECT org_id, job_id FROM due_jobs(%s, make_interval(secs => %s))", (most, LEASE_S))
    return [(org, job) for org, job in rows.fetchall()]


_LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s::text, 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended(%s::text, 0))"
_CLAIM = """
UPDATE jobs SET started_at = now(), attempts = attempts + 1,
    run_after = now() + make_interval(secs => least(%(most)s, 2.0 ^ least(attempts, 12)))
WHERE org_id = %(org)s AND job_id = %(job)s AND run_after <= now()
RETURNING kind, subject_id, attempts
"""


def claim(conn: Connection, org_id: uuid.UUID, job_id: uuid.UUID) -> Job | None:
    """Take a job, until `finish` or `postpone` on the same connection; None when another worker has it."""
    if conn.execute(_LOCK, (job_id,)).fetchone() != (True,):
        return None
    row = conn.execute(_CLAIM, {"org": org_id, "job": job_id, "most": MOST_BACKOFF_S}).fetchone()
    if row is None:
        conn.execute(_UNLOCK, (job_id,))
        return None
    return Job(org_id, job_id, row[0], row[1], int(row[2]))


def finish(conn: Connection, job: Job) -> None:
    """Done."""
    conn.execute("DELETE FROM jobs WHERE org_id = %s AND job_id = %s", (job.org_id, job.job_id))
    conn.execute(_UNLOCK, (job.job_id,))


def postpone(conn: Connection, job: Job, error: str) -> None:
    """Failed: again later, after twice as long each time; dropped when the same work waits anyway."""
    delay_s = min(MOST_BACKOFF_S, 2.0 ** min(job.attempts, 12))
    conn.execute(
        "DELETE FROM jobs WHERE org_id = %(org)s AND kind = %(kind)s AND subject_id = %(subject)s"
        " AND started_at IS NULL",
        {"org": job.org_id, "kind": job.kind, "subject": job.subject_id},
    )
    conn.execute(
        "UPDATE jobs SET started_at = NULL, run_after = now() + make_interval(secs => %s), last_error = %s"
        " WHERE org_id = %s AND job_id = %s",
        (delay_s, error[:1000].replace("\0", ""), job.org_id, job.job_id),
    )
    conn.execute(_UNLOCK, (job.job_id,))
