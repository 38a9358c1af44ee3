"""What people say of a release."""

from __future__ import annotations

from pydantic import Field, field_validator

from modnet.config import Config


def spdx_expression(text: str) -> str:
    """A licence as the SPDX list writes it: `Apache-2.0` for `apache-2.0`.

    Raises:
        ValueError: it is neither an identifier of the list, nor `LicenseRef-…`, nor an expression of these.
    """
    # Here, as machines that only train lack it.
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return canonicalize_license_expression(text)
    except InvalidLicenseExpression as error:
        raise ValueError(
            f"unknown licence: got {text[:80]!r}, wanted an identifier of https://spdx.org/licenses as Apache-2.0, "
            "LicenseRef-NAME for a licence of your own, or an expression of these as MIT OR Apache-2.0"
        ) from error


class ReleaseConfig(Config):
    """What people say of a release."""

    licence: str | None = Field(
        None,
        max_length=200,
        description="Under which the network may be used: an SPDX identifier as Apache-2.0, LicenseRef-NAME for one of "
        "your own, or an expression of these. Empty: Apache-2.0 where nothing but the project's own networks and "
        "rendered images is in it, else the release states none.",
    )

    @field_validator("licence")
    @classmethod
    def _known(cls, licence: str | None) -> str | None:
        return None if licence is None else spdx_expression(licence)
