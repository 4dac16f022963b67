"""A model bundle: signed, loaded once, scores feature vectors. The only module here that needs onnxruntime.

One file: a COSE_Sign1 envelope (BUNDLE_TYPE) around the CBOR map {"manifest", "onnx" (zstd)}; docs/models.md lists the
manifest. How a vector is scored: each feature's deviation from what is nominal for the class of aircraft, in robust
standard deviations; the largest of them, in descending order and as logarithms, go into an isolation forest. So the
score asks how far how many quantities are from nominal, whichever they are.
"""

import hashlib
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from numpy.typing import NDArray

from shared.envelope import BUNDLE_TYPE, open_envelope
from shared.errors import MALFORMED, Refused
from shared.features import FEATURE_VERSION, NAMES, WINDOW_S, Vector
from shared.ids import key_id, new_id
from shared.persistence import Episode, Rule
from shared.records import Finding

PACKAGED = Path(__file__).resolve().parent.parent / "models" / "bundles"
EDGE_BUNDLE = PACKAGED / "edge_v1.bundle"
RELEASE_KEYS = PACKAGED / "release.pub"
"""Public keys, one per line in hexadecimal, that sign bundles which aircraft and hub trust."""
FORMAT = 1
KIND = "anomaly"
"""The kind of every finding of this model: it says that something is off, and its evidence what."""
MAX_BUNDLE_BYTES = 1 << 20
MAX_ONNX_BYTES = 4 << 20
CAP = 50.0
"""Deviations beyond this many robust standard deviations count as this many."""
EVIDENCE_FROM = 3.0
MAX_EVIDENCE = 8


@dataclass(frozen=True, slots=True, eq=False)
class Nominal:
    """What is nominal for one class of aircraft.

    medians, scales: float32 [features]; a scale of infinity: the feature says nothing for this class.
    threshold: scores above it are abnormal; critical: above it by far.
    """

    medians: Vector
    scales: Vector
    threshold: float
    critical: float


def deviations(vectors: Vector, nominal: Nominal) -> Vector:
    """[n, features] -> signed robust standard deviations [n, features]; 0 where a feature is absent."""
    with np.errstate(invalid="ignore"):
        z = np.where(np.isfinite(vectors), (vectors - nominal.medians) / nominal.scales, 0)
    return np.clip(z, -CAP, CAP).astype(np.float32)


def tail(z: Vector, ranks: int) -> tuple[NDArray[np.intp], Vector]:
    """The `ranks` largest deviations of each row: (their features [n, ranks], the model's input [n, ranks]: the natural
    logarithm of each magnitude, largest first, magnitudes below one counted as one)."""
    magnitude = np.abs(z)
    order = np.argsort(-magnitude, axis=1, kind="stable")[:, :ranks]
    largest = np.take_along_axis(magnitude, order, axis=1)
    return order, np.log(np.maximum(largest, 1)).astype(np.float32)


class Bundle:
    """A verified model. `manifest` is the signed map; `name` is what findings carry, e.g. "edge 1"."""

    def __init__(self, manifest: dict[str, Any], onnx: bytes, digest: bytes) -> None:
        """Refused: feature_version, bundle_malformed."""
        self.manifest, self.onnx, self.digest = manifest, onnx, digest
        try:
            self._read(manifest)
        except Refused:
            raise
        except MALFORMED as e:
            raise Refused("bundle_malformed", str(e)[:200]) from None
        self._session = _session(onnx, self.ranks)

    def _read(self, manifest: dict[str, Any]) -> None:
        if manifest["format"] != FORMAT:
            raise Refused("bundle_malformed", f"format {manifest['format']!r}, this code reads {FORMAT}")
        if manifest["feature_version"] != FEATURE_VERSION or tuple(manifest["features"]) != NAMES:
            raise Refused("feature_version", f"{manifest['feature_version']!r}, this code computes {FEATURE_VERSION}")
        if hashlib.sha256(self.onnx).digest() != manifest["onnx_sha256"]:
            raise Refused("bundle_malformed", "the model is not the manifest's")
        self.name = f"{manifest['model']} {manifest['version']}"
        self.ranks = int(manifest["ranks"])
        rule = manifest["persistence"]
        self.rule = Rule(int(rule["windows"]), int(rule["of"]), float(rule["quiet_s"]))
        self.classes = {str(name): _nominal(body) for name, body in manifest["classes"].items()}
        if not 1 <= self.ranks <= len(NAMES) or not self.classes:
            raise ValueError("ranks or classes")

    def nominal(self, aircraft: str) -> Nominal | None:
        """What is nominal for a class (copter, plane, helicopter, quadplane); None when the model does not know it."""
        return self.classes.get(aircraft)

    def scores(self, vectors: Vector, nominal: Nominal) -> NDArray[np.float64]:
        """Anomaly scores [n] in (0, 1) of float32 [n, features]; higher is worse."""
        if vectors.ndim != 2 or vectors.shape[1] != len(NAMES):
            raise ValueError(f"vectors [n, {len(NAMES)}] are needed, not {vectors.shape}")
        if not len(vectors):
            return np.zeros(0)
        return self.raw_scores(tail(deviations(vectors, nominal), self.ranks)[1])

    def raw_scores(self, inputs: Vector) -> NDArray[np.float64]:
        """Anomaly scores [n] of the forest's own inputs [n, ranks]: see `tail`."""
        return -np.asarray(self._session.run(["score_samples"], {"tail": inputs})[0], np.float64).ravel()

    def score(self, vector: Vector, nominal: Nominal) -> float:
        """Anomaly score of one feature vector [features]."""
        return float(self.scores(vector[None], nominal)[0])

    def evidence(self, vector: Vector, nominal: Nominal) -> list[dict[str, Any]]:
        """The features that stand out, worst first: feature, value, nominal (median), weight (signed deviations)."""
        z = deviations(vector[None], nominal)[0]
        worst = [int(i) for i in np.argsort(-np.abs(z), kind="stable")[:MAX_EVIDENCE]]
        return [
            {
                "feature": NAMES[i],
                "value": _short(vector[i]),
                "nominal": _short(nominal.medians[i]),
                "weight": round(float(z[i]), 1),
            }
            for i in worst
            if abs(z[i]) >= EVIDENCE_FROM
        ]

    def severity(self, score: float, nominal: Nominal) -> str:
        """warning, or critical from the class's second threshold on."""
        return "critical" if score >= nominal.critical else "warning"

    def finding(self, nominal: Nominal, episode: Episode, worst: Vector, session: uuid.UUID | None) -> Finding:
        """The record of an episode; `worst` is the vector of its worst window."""
        return Finding(
            finding=new_id(),
            session=session,
            kind=KIND,
            severity=self.severity(episode.score, nominal),
            score=round(episode.score, 4),
            threshold=round(nominal.threshold, 4),
            start_us=episode.first_us - WINDOW_S * 1_000_000,
            end_us=episode.last_us,
            model=self.name,
            feature_version=FEATURE_VERSION,
            evidence=self.evidence(worst, nominal),
        )


def load_bundle(path: str | Path, trusted_keys: Sequence[bytes]) -> Bundle:
    """Verify and load a bundle signed by one of the raw Ed25519 public keys.

    Refused: those of shared.envelope, bundle_malformed, feature_version. OSError when the file cannot be read.
    """
    found = {key_id(raw): Ed25519PublicKey.from_public_bytes(raw) for raw in trusted_keys}
    data = Path(path).read_bytes()
    opened = open_envelope(data, found.get, BUNDLE_TYPE, MAX_BUNDLE_BYTES)
    try:
        body = cbor2.loads(opened.payload)
        manifest, packed = body["manifest"], body["onnx"]
        if type(manifest) is not dict or not 0 < zstandard.frame_content_size(packed) <= MAX_ONNX_BYTES:
            raise ValueError("manifest or model of the wrong type or size")
        onnx = zstandard.decompress(packed, max_output_size=MAX_ONNX_BYTES)
    except zstandard.ZstdError as e:
        raise Refused("bundle_malformed", str(e)[:200]) from None
    except MALFORMED as e:
        raise Refused("bundle_malformed", str(e)[:200]) from None
    return Bundle(manifest, onnx, opened.digest)


def read_keys(path: str | Path = RELEASE_KEYS) -> list[bytes]:
    """The raw public keys of a key file: 64 hexadecimal digits a line, lines that begin with # are comments."""
    lines = Path(path).read_text(encoding="ascii").split("\n")
    return [bytes.fromhex(line) for line in map(str.strip, lines) if line and not line.startswith("#")]


def packaged_bundle() -> Bundle:
    """The bundle that comes with the program, verified with the packaged release keys."""
    return load_bundle(EDGE_BUNDLE, read_keys())


def _nominal(body: Mapping[str, Any]) -> Nominal:
    medians, scales = (np.frombuffer(body[k], "<f4").astype(np.float32) for k in ("medians", "scales"))
    threshold, critical = float(body["threshold"]), float(body["critical"])
    shapes = medians.shape == scales.shape == (len(NAMES),)
    if not shapes or not np.isfinite(medians).all() or not (scales > 0).all() or not 0 < threshold <= critical:
        raise ValueError("nominal values of the wrong shape or range")
    return Nominal(medians, scales, threshold, critical)


def _session(onnx: bytes, ranks: int) -> Any:
    """One thread, no memory arena: the aircraft's memory counts for more than microseconds."""
    import onnxruntime  # loaded only where a model is: 30 MB

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as e:  # onnxruntime raises many kinds, none of them public
        raise Refused("bundle_malformed", str(e)[:200]) from None
    inputs = [(i.name, i.shape[-1]) for i in session.get_inputs()]
    if inputs != [("tail", ranks)] or "score_samples" not in {o.name for o in session.get_outputs()}:
        raise Refused("bundle_malformed", f"inputs {inputs}")
    return session


def _short(value: np.floating) -> float | None:
    """Five significant digits; None when absent."""
    number = float(value)
    return float(f"{number:.5g}") if math.isfinite(number) else None
