"""Files in a store as an export leaves them there: what releases are copied from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from infra.device.documents.file_digest import FileDigest
from infra.device.documents.manifest import Manifest, TargetFiles
from infra.device.stores.object_store import ObjectStore
from infra.publishing.releases import publish_release
from tests.signing import publisher_of


def digests(files: Mapping[str, Path]) -> dict[str, FileDigest]:
    """Path in the release -> digest, of local files by their path in the release."""
    return {path: FileDigest.of(local) for path, local in files.items()}


def exported(store: ObjectStore, files: Mapping[str, Path]) -> dict[str, str]:
    """Path in the release -> key in the store, of local files that are put there."""
    keys = {path: f"exports/{digest.sha256[:12]}/{path}" for path, digest in digests(files).items()}
    for path, key in keys.items():
        store.upload_file(key, files[path])
    return keys


def three_releases(store: ObjectStore, folder: Path) -> list[str]:
    """Ids of published releases for two targets, the oldest first; their files are put into `folder`."""
    files = {name: folder / name for name in ("modnet.xml", "modnet.bin")}
    target = TargetFiles("modnet.xml", "modnet.bin", "input", (1, 3, 480, 320), "fp32")
    made = []
    for day in (1, 2, 3):
        for path in files.values():
            path.write_bytes(b"content of day %d" % day)
        targets, created_at = {"cpu-fp32": target, "cpu-int8": target}, f"2026110{day}T063000.000000Z"
        manifest = Manifest("matting", "c" * 12, targets, digests(files), {"mse": day}, {}, created_at=created_at)
        made.append(publish_release(publisher_of(store), manifest, exported(store, files)))
    return made
