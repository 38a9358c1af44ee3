"""The names of protocols say height and width, and nothing else is one."""

from __future__ import annotations

import pytest

from modnet.errors import ConfigError
from modnet.workloads.matting.data.protocols import letterbox, letterbox_shape


@pytest.mark.parametrize(("shape", "name"), [((512, 512), "device-512"), ((480, 320), "device-480x320")])
def test_a_letterbox_has_the_name_of_its_shape(shape: tuple[int, int], name: str) -> None:
    assert letterbox(shape) == name
    assert letterbox_shape(name) == shape


@pytest.mark.parametrize("name", ["modelcompression", "aspect"])
def test_protocols_of_any_size_have_no_shape(name: str) -> None:
    assert letterbox_shape(name) is None


@pytest.mark.parametrize("name", ["device-", "device-480X320", "device-480x", "letterbox", "", "device-5e2"])
def test_what_is_no_protocol_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(ConfigError, match=f"got '{name}', wanted modelcompression, aspect, or a letterbox"):
        letterbox_shape(name)


@pytest.mark.parametrize("name", ["device-0512", "device-512x512"])
def test_a_shape_has_one_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"got '{name}', wanted 'device-512'"):
        letterbox_shape(name)


@pytest.mark.parametrize("shape", [(500, 512), (0, 32), (32, 8192)])
def test_a_letterbox_of_sides_that_no_network_reads_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=f"no letterbox of {shape[0]}×{shape[1]} pixels"):
        letterbox(shape)
