"""What SeaweedFS asks of whoever comes by another door than S3: a certificate, and signatures of ours."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from infra.device.files.atomic_file import atomic_file
from infra.local_stack.ports import LOOPBACK

_LIFE = timedelta(days=3650)  # from each start of the store on, and no store runs that long


def write_store_security(folder: Path) -> None:
    """Makes a fresh key with its certificate, fresh keys of signatures, and the `security.toml` that names them.

    The parts of SeaweedFS speak with one another as clients and servers of this one certificate, which signs itself.
    So there is no authority whose key could make another.

    Args:
        folder: to be given to `weed` as `-config_dir`; made when it is missing.
    """
    # Prefect brings it; `down` and `status` work without.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "modnet-store")])
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, unlocked = serialization.Encoding.PEM, serialization.NoEncryption()
    files = {
        "key.pem": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unlocked),
        "certificate.pem": certificate.public_bytes(pem),
        "security.toml": _security_toml(folder).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        with atomic_file(folder / file) as partial:  # a temporary file is born with mode 0600
            partial.write(content)


def _security_toml(folder: Path) -> str:
    """As `weed scaffold -config=security` describes it."""
    # A string of JSON is one of TOML.
    certificate, key = (json.dumps(str(folder / name), ensure_ascii=False) for name in ("certificate.pem", "key.pem"))
    pair = f"cert = {certificate}\nkey = {key}\n"
    signed = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    text = "".join(f'[{section}]\nkey = "{secrets.token_urlsafe(30)}"\n' for section in signed)
    text += f"[grpc]\nca = {certificate}\n"
    text += "".join(f"[grpc.{part}]\n{pair}" for part in ("master", "volume", "filer", "s3", "client"))
    text += "".join(f"[https.{part}]\n{pair}ca = {certificate}\n" for part in ("master", "volume", "filer", "client"))
    return text + "enabled = true\n"  # of the client, whose section is the last
