from __future__ import annotations

import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from infra.deploy.ray_certificate import main, write_certificate


def authority(folder: Path) -> Path:
    """As make_secrets.sh makes it."""
    folder.mkdir()
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", folder / "ray-authority.key", "-out", folder / "ray-authority.pem"]
    subprocess.run([*command, "-days", "2", "-subj", "/CN=ray", *files], check=True, capture_output=True)
    return folder


def test_a_node_has_a_certificate_of_the_authority_for_its_names(tmp_path: Path) -> None:
    made = authority(tmp_path / "authority")
    write_certificate(made, tmp_path, ["10.0.0.7", "modnet-head-svc"])
    issuer = x509.load_pem_x509_certificate((tmp_path / "authority.pem").read_bytes())
    node = x509.load_pem_x509_certificate((tmp_path / "node.pem").read_bytes())
    node.verify_directly_issued_by(issuer)
    names = node.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("10.0.0.7")]
    assert names.get_values_for_type(x509.DNSName) == ["modnet-head-svc"]
    assert node.not_valid_after_utc == issuer.not_valid_after_utc
    assert (tmp_path / "node.key").stat().st_mode & 0o777 == 0o600


def test_a_key_of_another_authority_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = authority(tmp_path / "one"), authority(tmp_path / "other")
    (one / "ray-authority.key").write_bytes((other / "ray-authority.key").read_bytes())
    monkeypatch.setattr("sys.argv", ["x", "--authority", str(one), "--folder", str(tmp_path), "10.0.0.7"])
    assert main() == 3
    assert "ray-authority.key is not that of ray-authority.pem" in capsys.readouterr().err
    assert not (tmp_path / "node.pem").exists()
