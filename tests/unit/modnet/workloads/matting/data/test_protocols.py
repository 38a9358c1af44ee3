"""Letterboxes are named after their side."""

from typing import get_args

import pytest

from modnet.configs import ExportConfig
from modnet.errors import ConfigError
from modnet.workloads.matting.data.protocols import DeviceProtocol, device_protocol, device_side


def test_every_size_of_an_export_has_its_protocol_and_the_other_way_round() -> None:
    sizes = get_args(ExportConfig.model_fields["size"].annotation)
    assert tuple(device_protocol(size) for size in sizes) == get_args(DeviceProtocol)
    assert tuple(device_side(protocol) for protocol in get_args(DeviceProtocol)) == sizes


def test_device_protocol_names_what_there_is_when_there_is_none_of_that_side() -> None:
    with pytest.raises(ConfigError, match=r"squares of 500 pixels, allowed: device-256, .*device-640"):
        device_protocol(500)
