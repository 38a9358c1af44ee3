"""Files in a store as an export leaves them there: what releases are copied from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from infra.device.documents.file_digest import FileDigest
from infra.device.stores.object_store import ObjectStore


def digests(files: Mapping[str, Path]) -> dict[str, FileDigest]:
    """Path in the release -> digest, of local files by their path in the release."""
    return {path: FileDigest.of(local) for path, local in files.items()}


def exported(store: ObjectStore, files: Mapping[str, Path]) -> dict[str, str]:
    """Path in the release -> key in the store, of local files that are put there."""
    keys = {path: f"exports/{digest.sha256[:12]}/{path}" for path, digest in digests(files).items()}
    for path, key in keys.items():
        store.upload_file(key, files[path])
    return keys
