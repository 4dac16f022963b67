"""The kinds' forest as ONNX, and proof that it computes what scikit-learn computes; the signed bundle."""

import hashlib
import importlib.metadata
import os
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import ExtraTreesClassifier

from shared.envelope import BUNDLE_TYPE, seal
from shared.ids import key_id

OPSET = {"": 17, "ai.onnx.ml": 3}
PARITY_LIMIT = 1e-5
LIBRARIES = ("numpy", "scikit-learn", "skl2onnx", "onnx", "onnxruntime")


def to_onnx(forest: ExtraTreesClassifier, width: int, name: str = "ratios") -> bytes:
    """ONNX with input `name` float32 [n, width] and output "probabilities" float32 [n, classes]."""
    inputs = [(name, FloatTensorType([None, width]))]
    options = {id(forest): {"zipmap": False}}
    return bytes(convert_sklearn(forest, "edge", inputs, target_opset=OPSET, options=options).SerializeToString())


def parity(
    forest: ExtraTreesClassifier, onnx: bytes, inputs: np.ndarray[Any, np.dtype[np.float32]], name: str = "ratios"
) -> float:
    """Largest difference between scikit-learn's and ONNX's probabilities. ValueError above PARITY_LIMIT."""
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    found = session.run(["probabilities"], {name: inputs})[0]
    difference = float(np.abs(found - forest.predict_proba(inputs)).max())
    if difference > PARITY_LIMIT:
        raise ValueError(f"ONNX and scikit-learn differ by {difference:.2g}, at most {PARITY_LIMIT:g} is allowed")
    return difference


def pack(manifest: dict[str, Any], onnx: bytes, key: Ed25519PrivateKey) -> bytes:
    """The signed bundle."""
    body = {
        "manifest": manifest | {"onnx_sha256": hashlib.sha256(onnx).digest()},
        "onnx": zstandard.ZstdCompressor(level=19).compress(onnx),
    }
    return seal(cbor2.dumps(body), key, key_id(public_raw(key)), BUNDLE_TYPE)


def public_raw(key: Ed25519PrivateKey) -> bytes:
    """The raw 32-byte public half."""
    return key.public_key().public_bytes_raw()


def release_key(folder: Path) -> Ed25519PrivateKey:
    """The release key in a folder outside the repository: `release.key`, 32 raw bytes, 0600; made when absent."""
    path = folder / "release.key"
    if path.exists():
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes_raw())
    return key


def library_versions() -> dict[str, str]:
    """What the bundle was made with."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}
