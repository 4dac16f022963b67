"""Verdicts on findings as training examples: the hub's export (`GET /v1/feedback/export`), one JSON object per line.

A confirmed finding is a flight of nothing but its fault; a rejected one a healthy flight, a hard negative. Those of an
organisation are a site of their own, so that no figure is measured on what a model has seen.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.dataset import CLASSES, Flight
from shared.features import FEATURE_VERSION, FEATURES, HOP_S
from shared.scoring import Nominal

MOST_LINE_BYTES = 4 << 20
MOST_WIDER, _BEYOND = 3.0, 1.2
"""What rejected findings may widen a nominal range by; how far they end below the threshold."""
_SEVERITY = 0.5
"""A person says that there was a fault, not how severe it was."""


def read_feedback(path: str | Path, kinds: Collection[str]) -> tuple[list[Flight], int]:
    """(examples, lines left out). kinds: those that the labelled flights have; a confirmed finding of another kind is
    left out (what it is has no name yet), and so is what was made with other features. OSError; ValueError:
    the line that is no example."""
    flights, left_out = [], 0
    with Path(path).open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MOST_LINE_BYTES), b""), 1):
            if not line.strip():
                continue
            try:
                flight = _example(json.loads(line), kinds, number)
            except (KeyError, TypeError, ValueError, RecursionError) as e:
                raise ValueError(f"{path}, line {number}: no example of feedback ({type(e).__name__})") from None
            if flight is None:
                left_out += 1
            else:
                flights.append(flight)
    return flights, left_out


def _example(said: Any, kinds: Collection[str], number: int) -> Flight | None:
    verdict, kind = said["verdict"], str(said["kind"])
    is_known = said["aircraft_class"] in CLASSES.values() and said["feature_version"] == FEATURE_VERSION
    if verdict not in ("confirmed", "rejected"):
        raise ValueError(verdict)
    if not is_known or (verdict == "confirmed" and kind not in kinds):
        return None
    vectors = np.array(said["vectors"], np.float32)  # null: absent
    if vectors.ndim != 2 or vectors.shape[1] != len(FEATURES) or not len(vectors):
        raise ValueError("vectors")
    vectors[~np.isfinite(vectors)] = np.nan
    end_us = np.arange(1, len(vectors) + 1, dtype=np.int64) * HOP_S * 1_000_000
    is_fault = verdict == "confirmed"
    return Flight(
        f"feedback {said['flight']} {number}", said["aircraft_class"], "feedback", f"feedback {said['organisation']}",
        kind if is_fault else "", _SEVERITY if is_fault else 0.0, "", "" if is_fault else "feedback",
        (0, int(end_us[-1])) if is_fault else None, end_us, vectors, np.ones(len(vectors), bool),
    )  # fmt: skip


def widen(limits: Mapping[str, Nominal], feedback: Sequence[Flight]) -> dict[str, Nominal]:
    """Nominal ranges that reach as far as rejected findings did, so that those are not raised again; each at most
    MOST_WIDER of what labelled flights say, so that no verdict blinds the model to a quantity."""
    wider = dict(limits)
    for flight in feedback:
        if flight.fault or flight.aircraft not in wider:
            continue
        nominal = wider[flight.aircraft]
        known = limits[flight.aircraft]
        off = (flight.vectors - nominal.medians) * (_BEYOND / nominal.threshold)
        above, below = (np.fmax.reduce(x, axis=0, initial=0.0) for x in (off, -off))
        wider[flight.aircraft] = replace(
            nominal,
            high=np.fmax(nominal.high, np.minimum(above, MOST_WIDER * known.high)).astype(np.float32),
            low=np.fmax(nominal.low, np.minimum(below, MOST_WIDER * known.low)).astype(np.float32),
        )
    return wider
