"""A model bundle: signed, loaded once, judges feature vectors. The only module here that needs onnxruntime.

One file: a COSE_Sign1 envelope (BUNDLE_TYPE) around the CBOR map {"manifest", "onnx" (zstd)}; docs/models.md lists the
manifest. How a vector is judged: each feature's distance from its class's nominal median, as a share of the farthest
that
healthy flights went (its *ratio*; 1 = as far as healthy flights ever were). The score is the mean of the two largest
ratios of different families of signals: one sensor that contradicts all others by far, or two quantities at once. What
kind of fault it looks like says a forest over the ratios; where that is not sure, the kind is "novelty".
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
from shared.features import FEATURE_VERSION, FEATURES, NAMES, Vector
from shared.ids import key_id, new_id
from shared.persistence import Episode, Rule
from shared.records import Finding

PACKAGED = Path(__file__).resolve().parent.parent / "models" / "bundles"
EDGE_BUNDLE = PACKAGED / "edge_v2.bundle"
RELEASE_KEYS = PACKAGED / "release.pub"
"""Public keys, one per line in hexadecimal, that sign bundles which aircraft and hub trust."""
FORMAT = 2
NOVELTY = "novelty"
"""The kind of a finding that looks like no fault that the model was shown."""
MAX_BUNDLE_BYTES = 4 << 20
MAX_ONNX_BYTES = 32 << 20
CAP = 20.0
"""Ratios beyond count as this."""
_KIND_CAP = 8.0
EVIDENCE_FROM = 0.7
MAX_EVIDENCE = 8
RANKS = 4
"""How many of the largest ratios, whichever features they are of, the kinds' forest is given besides."""
_RECEIVER = ("gps_satellites", "gps_fix", "gps_hdop", "gps_hacc", "gps_sacc")
_FAMILY_OF = ["receiver" if f.signal in _RECEIVER else f.signal.split("_")[0].rstrip("2") for f in FEATURES]
FAMILIES: tuple[str, ...] = tuple(sorted(set(_FAMILY_OF)))
FAMILY: NDArray[np.intp] = np.array([FAMILIES.index(f) for f in _FAMILY_OF])
"""Of each feature: signals of one family look at the same thing."""
_HIGH = np.array([f.side in ("high", "both") for f in FEATURES])
_LOW = np.array([f.side in ("low", "both") for f in FEATURES])


@dataclass(frozen=True, slots=True, eq=False)
class Nominal:
    """What is nominal for one class of aircraft.

    medians, high, low: float32 [features]; high, low: how far above and below the median healthy flights went, infinity
    where a feature says nothing for this class. threshold: scores above it are abnormal; critical: by far.
    """

    medians: Vector
    high: Vector
    low: Vector
    threshold: float
    critical: float


def ratios(vectors: Vector, nominal: Nominal) -> Vector:
    """[n, features] -> signed shares of the nominal range [n, features]; 0 where a feature is absent or on a side where
    it is never abnormal."""
    with np.errstate(invalid="ignore"):
        off = np.where(np.isfinite(vectors), vectors - nominal.medians, 0)
        share = np.where(off > 0, off / nominal.high * _HIGH, off / nominal.low * _LOW)
    return np.asarray(np.clip(share, -CAP, CAP), np.float32)


def score_of(shares: Vector) -> NDArray[np.float64]:
    """[n, features] of ratios -> [n]: mean of the two largest magnitudes of different families."""
    magnitude = np.abs(shares).astype(np.float64)
    rows = np.arange(len(magnitude))
    first = magnitude.argmax(axis=1) if len(magnitude) else np.zeros(0, np.intp)
    others = np.where(FAMILY[None, :] == FAMILY[first][:, None], 0, magnitude)
    return np.asarray((magnitude[rows, first] + others.max(axis=1, initial=0)) / 2)


def kind_inputs(shares: Vector) -> Vector:
    """[n, features] of ratios -> the kinds' forest's input [n, features + RANKS]: signed logarithms of 1 + ratio, and
    the largest whichever they are of."""
    magnitude = np.log1p(np.minimum(np.abs(shares), _KIND_CAP))
    largest = -np.sort(-magnitude, axis=1)[:, :RANKS]
    return np.concatenate([np.sign(shares) * magnitude, largest], axis=1).astype(np.float32)


class Bundle:
    """A verified model. `manifest` is the signed map; `name` is what findings carry, e.g. "edge 2"."""

    def __init__(self, manifest: dict[str, Any], onnx: bytes, digest: bytes) -> None:
        """Refused: feature_version, bundle_malformed."""
        self.manifest, self.onnx, self.digest = manifest, onnx, digest
        try:
            self._read(manifest)
        except Refused:
            raise
        except MALFORMED as e:
            raise Refused("bundle_malformed", str(e)[:200]) from None
        self._session = forest_session(onnx, "ratios", len(NAMES) + RANKS)

    def _read(self, manifest: dict[str, Any]) -> None:
        if manifest["format"] != FORMAT:
            raise Refused("bundle_malformed", f"format {manifest['format']!r}, this code reads {FORMAT}")
        if manifest["feature_version"] != FEATURE_VERSION or tuple(manifest["features"]) != NAMES:
            raise Refused("feature_version", f"{manifest['feature_version']!r}, this code computes {FEATURE_VERSION}")
        if hashlib.sha256(self.onnx).digest() != manifest["onnx_sha256"]:
            raise Refused("bundle_malformed", "the model is not the manifest's")
        self.name = f"{manifest['model']} {manifest['version']}"
        rule = manifest["persistence"]
        self.rule = Rule(int(rule["windows"]), int(rule["of"]), float(rule["quiet_s"]))
        self.kinds = tuple(str(k) for k in manifest["kinds"])
        self.sure = float(manifest["kind_sure"])
        self.classes = {str(name): _nominal(body) for name, body in manifest["classes"].items()}
        knots = np.array(manifest["calibration"], np.float64)
        if (
            not self.classes
            or not self.kinds
            or knots.ndim != 2
            or knots.shape[1] != 2
            or (np.diff(knots, axis=0) < 0).any()
        ):
            raise ValueError("classes, kinds or calibration")
        self._knots = knots

    def let_go(self) -> None:
        """Drop the ONNX bytes, 5 MB, where nobody explains findings by them (onnxruntime keeps them too)."""
        self.onnx = self._session._model_bytes = b""

    def nominal(self, aircraft: str) -> Nominal | None:
        """What is nominal for a class (copter, plane, helicopter, quadplane); None when the model does not know it."""
        return self.classes.get(aircraft)

    def scores(self, vectors: Vector, nominal: Nominal) -> NDArray[np.float64]:
        """Scores [n], >= 0, of float32 [n, features]; higher is worse, 1 is about what healthy flights reach."""
        if vectors.ndim != 2 or vectors.shape[1] != len(NAMES):
            raise ValueError(f"vectors [n, {len(NAMES)}] are needed, not {vectors.shape}")
        return score_of(ratios(vectors, nominal))

    def score(self, vector: Vector, nominal: Nominal) -> float:
        """Score of one feature vector [features]."""
        return float(self.scores(vector[None], nominal)[0])

    def probability(self, scores: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Calibrated probability of a fault, given that such flights as the model was shown are looked at."""
        return np.asarray(np.interp(scores, self._knots[:, 0], self._knots[:, 1]))

    def kind_probabilities(self, vectors: Vector, nominal: Nominal) -> NDArray[np.float64]:
        """[n, kinds]: which of `kinds` the vectors look like, should they be of a fault."""
        if not len(vectors):
            return np.zeros((0, len(self.kinds)))
        inputs = kind_inputs(ratios(vectors, nominal))
        return np.asarray(self._session.run(["probabilities"], {"ratios": inputs})[0], np.float64)

    def kind(self, vectors: Vector, nominal: Nominal) -> tuple[str, float]:
        """(kind, its probability) of an episode's vectors [n, features], weighted by their scores; NOVELTY when
        unsure."""
        weights = np.minimum(self.scores(vectors, nominal), CAP)
        if not len(vectors) or weights.sum() <= 0:
            return NOVELTY, 0.0
        mean = (self.kind_probabilities(vectors, nominal) * weights[:, None]).sum(axis=0) / weights.sum()
        best = int(mean.argmax())
        return (self.kinds[best] if mean[best] >= self.sure else NOVELTY), float(mean[best])

    def evidence(self, vector: Vector, nominal: Nominal) -> list[dict[str, Any]]:
        """The features that stand out, worst first: feature, value, nominal (median), weight (signed ratio)."""
        share = ratios(vector[None], nominal)[0]
        worst = [int(i) for i in np.argsort(-np.abs(share), kind="stable")[:MAX_EVIDENCE]]
        return [
            {
                "feature": NAMES[i],
                "value": _short(vector[i]),
                "nominal": _short(nominal.medians[i]),
                "weight": round(float(share[i]), 2),
            }
            for i in worst
            if abs(share[i]) >= EVIDENCE_FROM
        ]

    def severity(self, score: float, nominal: Nominal) -> str:
        """warning, or critical from the class's second threshold on."""
        return "critical" if score >= nominal.critical else "warning"

    def finding(
        self, nominal: Nominal, episode: Episode, vectors: Vector, worst: Vector, session: uuid.UUID | None,
        finding_id: uuid.UUID | None = None,
    ) -> Finding:  # fmt: skip
        """The record of an episode. vectors: its first seconds', which name the kind; worst: its worst one's."""
        return Finding(
            finding=finding_id or new_id(),
            session=session,
            kind=self.kind(vectors, nominal)[0],
            severity=self.severity(episode.score, nominal),
            score=round(episode.score, 4),
            threshold=nominal.threshold,
            start_us=episode.first_us,
            end_us=episode.last_us,
            model=self.name,
            feature_version=FEATURE_VERSION,
            evidence=self.evidence(worst, nominal),
        )


def load_bundle(path: str | Path, trusted_keys: Sequence[bytes]) -> Bundle:
    """Verify and load a bundle file signed by one of the raw Ed25519 public keys.

    Refused: those of shared.envelope, bundle_malformed, feature_version. OSError when the file cannot be read.
    """
    with Path(path).open("rb") as file:
        return read_bundle(file.read(MAX_BUNDLE_BYTES + 1), trusted_keys)


def read_bundle(data: bytes, trusted_keys: Sequence[bytes]) -> Bundle:
    """The same for a bundle's bytes."""
    return Bundle(*open_bundle(data, trusted_keys))


def open_bundle(data: bytes, trusted_keys: Sequence[bytes]) -> tuple[dict[str, Any], bytes, bytes]:
    """(manifest, ONNX model, envelope digest) of a verified bundle, whatever it models. Refused as load_bundle."""
    found = {key_id(raw): Ed25519PublicKey.from_public_bytes(raw) for raw in trusted_keys}
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
    return manifest, onnx, opened.digest


def read_keys(path: str | Path = RELEASE_KEYS) -> list[bytes]:
    """The raw public keys of a key file: 64 hexadecimal digits a line, lines that begin with # are comments."""
    lines = Path(path).read_text(encoding="ascii").split("\n")
    return [bytes.fromhex(line) for line in map(str.strip, lines) if line and not line.startswith("#")]


def packaged_bundle() -> Bundle:
    """The bundle that comes with the program, verified with the packaged release keys."""
    return load_bundle(EDGE_BUNDLE, read_keys())


def _nominal(body: Mapping[str, Any]) -> Nominal:
    medians, high, low = (np.frombuffer(body[k], "<f4").astype(np.float32) for k in ("medians", "high", "low"))
    threshold, critical = float(body["threshold"]), float(body["critical"])
    shapes = medians.shape == high.shape == low.shape == (len(NAMES),)
    positive = bool((high > 0).all() and (low > 0).all()) if shapes else False
    if not positive or not np.isfinite(medians).all() or not 0 < threshold <= critical:
        raise ValueError("nominal values of the wrong shape or range")
    return Nominal(medians, high, low, threshold, critical)


def forest_session(onnx: bytes, name: str, width: int) -> Any:
    """A session of a forest with the input `name` [n, width] and the output "probabilities". Refused: bundle_malformed.

    One thread, no memory arena: the aircraft's memory counts for more than microseconds.
    """
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
    if inputs != [(name, width)] or "probabilities" not in {o.name for o in session.get_outputs()}:
        raise Refused("bundle_malformed", f"inputs {inputs}")
    return session


def _short(value: np.floating) -> float | None:
    """Five significant digits; None when absent."""
    number = float(value)
    return float(f"{number:.5g}") if math.isfinite(number) else None
