from __future__ import annotations

import errno

import pytest

from infra.device.errors import DiskFullError, SettingsError
from infra.device.files.local_errors import local_errors


@pytest.mark.parametrize(
    ("number", "wanted"),
    [(errno.ENOSPC, DiskFullError), (errno.EDQUOT, DiskFullError), (errno.EACCES, SettingsError), (errno.EIO, OSError)],
)
def test_local_errors_says_what_the_file_system_refused(number: int, wanted: type[Exception]) -> None:
    with pytest.raises(wanted, match="broken") as caught, local_errors("model.bin"):
        raise OSError(number, "broken")
    assert ("model.bin" in str(caught.value)) == (wanted is not OSError)
