from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from infra.local_stack.store_security import write_store_security


def test_write_store_security_gives_every_part_a_certificate_that_lives_long(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" ä\\ folder'
    write_store_security(folder)
    content = tomllib.loads((folder / "security.toml").read_text())
    for part in ("master", "volume", "filer", "client"):
        assert content["grpc"][part] == {"cert": str(folder / "certificate.pem"), "key": str(folder / "key.pem")}
        assert content["https"][part]["ca"] == content["grpc"]["ca"] == str(folder / "certificate.pem")
    assert content["https"]["client"]["enabled"]
    certificate = x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())
    assert certificate.not_valid_after_utc - datetime.now(UTC) > timedelta(days=3000)
    certificate.verify_directly_issued_by(certificate)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_write_store_security_makes_other_keys_each_time(tmp_path: Path) -> None:
    kept = []
    for _ in range(2):
        write_store_security(tmp_path)
        signatures = tomllib.loads((tmp_path / "security.toml").read_text())["jwt"]
        kept += [signatures[part]["key"] for part in ("signing", "filer_signing")]
        kept += [signatures[part]["read"]["key"] for part in ("signing", "filer_signing")]
        kept.append((tmp_path / "key.pem").read_text())
    assert len(set(kept)) == 10
    assert min(map(len, kept)) >= 40
