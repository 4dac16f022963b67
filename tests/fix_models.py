"""Bundles of a release key of the tests' own: the packaged one under another name, or made to cry wolf."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2
import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.envelope import BUNDLE_TYPE, seal
from shared.ids import key_id
from shared.scoring import EDGE_BUNDLE, load_bundle, read_keys


@dataclass
class Released:
    """A bundle file, its bytes and its digest."""

    path: Path
    data: bytes
    digest: bytes
    name: str


@dataclass
class ReleaseKey:
    """A key of one's own, and the file that trusts it."""

    folder: Path
    key: Ed25519PrivateKey

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    @property
    def trusted(self) -> Path:
        path = self.folder / "further.pub"
        path.write_text(f"# of the tests\n{self.public.hex()}\n")
        return path

    def bundle(self, version: str, threshold: float | None = None, **changes: Any) -> Released:
        """The packaged model as another version; threshold: of all classes."""
        packaged = load_bundle(EDGE_BUNDLE, read_keys())
        manifest = packaged.manifest | {"version": version} | changes
        if threshold is not None:
            limits = {"threshold": threshold, "critical": max(threshold, 2.0)}
            manifest["classes"] = {name: body | limits for name, body in manifest["classes"].items()}
        payload = cbor2.dumps({"manifest": manifest, "onnx": zstandard.compress(packaged.onnx)})
        data = seal(payload, self.key, key_id(self.public), BUNDLE_TYPE)
        path = self.folder / f"edge-{version}.bundle"
        path.write_bytes(data)
        return Released(path, data, hashlib.sha256(data).digest(), f"edge {version}")


@pytest.fixture(scope="session")
def release_key(tmp_path_factory: pytest.TempPathFactory) -> ReleaseKey:
    """A key that releases bundles in tests."""
    return ReleaseKey(tmp_path_factory.mktemp("release"), Ed25519PrivateKey.generate())
