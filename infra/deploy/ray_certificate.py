"""The certificate of one of Ray's nodes: `python -m infra.deploy.ray_certificate --authority … --folder … NAME…`.

Ray speaks TLS between machines where each node has a certificate for its own address, which a pod learns when it
starts. Each node asks the others for theirs, so who has none of this authority is not heard.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from infra.device.shown import ShownParser, shown


def main() -> int:
    """Writes the files and returns the exit code."""
    parser = ShownParser(prog="python -m infra.deploy.ray_certificate", description="Makes a node's certificate.")
    parser.add_argument("--authority", type=Path, required=True, help="folder of ray-authority.pem and .key")
    parser.add_argument(
        "--folder", type=Path, required=True, help="where authority.pem, node.pem and node.key are written"
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="host names and IP addresses of the node")
    options = parser.parse_args()
    try:
        write_certificate(options.authority, options.folder, options.names)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{shown(error)}\n")
        return 3
    return 0


def write_certificate(authority: Path, folder: Path, names: Sequence[str]) -> None:
    """Makes a key, and has the authority sign it for as long as the authority itself counts.

    Args:
        authority: folder of `ray-authority.pem` and `ray-authority.key`.
        folder: gets `node.pem`, `node.key`, and a copy of the authority's certificate as `authority.pem`.
        names: host names and IP addresses.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the authority's files are no certificate and its key.
    """
    own = (authority / "ray-authority.pem").read_bytes()
    issuer = x509.load_pem_x509_certificate(own)
    signer = serialization.load_pem_private_key((authority / "ray-authority.key").read_bytes(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey) or signer.public_key() != issuer.public_key():
        raise ValueError(f"{authority}: ray-authority.key is not that of ray-authority.pem, wanted both from one run")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .issuer_name(issuer.subject)
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node of Ray")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))  # other machines' clocks differ
        .not_valid_after(issuer.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem, form, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    written = {
        "authority.pem": own,
        "node.pem": certificate.public_bytes(pem),
        "node.key": key.private_bytes(pem, form, plain),
    }
    for name, content in written.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(content)


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


if __name__ == "__main__":
    sys.exit(main())
