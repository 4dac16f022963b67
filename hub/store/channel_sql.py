"""The DDL that the channel registry stands for: columns of `telemetry_chunks` and the views that show them as rows.

Migrations are frozen text; this prints that text when a channel is appended to shared.channels:
`python -m hub.store.channel_sql`. A test holds catalogue and registry together.
"""

from collections.abc import Sequence

from shared.channels import CHANNELS, GRID_HZ, Channel

STEP_US = 1_000_000 // GRID_HZ
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(c.group for c in CHANNELS))


def chunk_columns(channels: Sequence[Channel] = CHANNELS) -> str:
    """One array column per channel: n stored integers; of a sized channel n per element, element after element."""
    return ",\n".join(f"    {c.name} {c.sql_type}[]" for c in channels)


def views() -> dict[str, tuple[Channel, ...]]:
    """Every view over the chunks, with the channels that it shows."""
    groups = {f"flight_{g}": tuple(c for c in CHANNELS if c.group == g) for g in GROUPS}
    return {"flight_telemetry": CHANNELS} | groups


def view(name: str, channels: Sequence[Channel]) -> str:
    """A security_invoker view: one row per (session_id, timestamp), physical values, arrays for sized channels."""
    calls, names, shown = [], [], []
    for c in channels:
        parts = [c.name] if c.size == 1 else [f"{c.name}_{k}" for k in range(1, c.size + 1)]
        names += parts
        calls += [f"c.{c.name}"] if c.size == 1 else [f"c.{c.name}[{k} * c.n + 1:{k + 1} * c.n]" for k in range(c.size)]
        shown.append(_physical(c, [f"u.{p}" for p in parts]))
    select = ",\n".join(f"    {s}" for s in shown)
    return (
        f"CREATE VIEW {name} WITH (security_invoker = true) AS\nSELECT\n"
        "    c.org_id, c.session_id, c.aircraft_id,\n"
        f"    timestamptz 'epoch' + (c.t0_utc_us + (u.i - 1) * {STEP_US}) * interval '1 microsecond'"
        ' AS "timestamp",\n'
        f"{select}\nFROM telemetry_chunks c CROSS JOIN LATERAL unnest(\n"
        + ",\n".join(f"    {c}" for c in calls)
        + ") WITH ORDINALITY AS u(\n    "
        + ", ".join(names)
        + ", i);\n"
    )


def _physical(c: Channel, parts: list[str]) -> str:
    # Dividing by the whole reciprocal rounds correctly: 473977418 / 1e7 is 47.3977418, times 1e-7 it is not.
    scale = "" if c.scale == 1 else f" / {round(1 / c.scale)}::float8"
    if c.size == 1:
        return f"{parts[0]}{scale} AS {c.name}"
    return f"ARRAY[{', '.join(p + scale for p in parts)}] AS {c.name}"


def main() -> None:
    """Print the text for a migration."""
    print(chunk_columns())
    for name, channels in views().items():
        print(view(name, channels))


if __name__ == "__main__":
    main()
