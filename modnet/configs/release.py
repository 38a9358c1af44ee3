"""What people say of a release, and who gets it first."""

from __future__ import annotations

from typing import Annotated

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


Share = Annotated[float, Field(gt=0, le=1)]
"""Of the devices of a target."""


class ReleaseConfig(Config):
    """What people say of a release, and who gets it first."""

    licence: str | None = Field(
        None,
        max_length=200,
        description="Under which the network may be used: an SPDX identifier as Apache-2.0, LicenseRef-NAME for one of "
        "your own, or an expression of these. Empty: Apache-2.0 where nothing but the project's own networks and "
        "rendered images is in it, else the release states none.",
    )
    share: Share = Field(
        1.0,
        description="So many of a target's devices get the release at first, as 0.2. The flow rollout gives it to all, "
        "or stops it by what devices report. 1: all get it at once.",
    )

    @field_validator("licence")
    @classmethod
    def _known(cls, licence: str | None) -> str | None:
        return None if licence is None else spdx_expression(licence)
