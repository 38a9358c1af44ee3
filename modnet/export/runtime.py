"""The OpenVINO runtime of this process."""

from __future__ import annotations

from functools import cache

import openvino as ov


@cache
def core() -> ov.Core:
    """The one `Core` of this process, kept as long as it lives.

    OpenVINO's CPU plugin gives the calling thread an alternate signal stack and takes it back when its `Core` goes. Of
    two that go in the order in which they came, the second puts back the stack that the first has unmapped, and the
    next signal with a handler (SIGCHLD of a data-loading worker, SIGTERM) kills the process. Seen with 2026.4.1.
    """
    return ov.Core()
