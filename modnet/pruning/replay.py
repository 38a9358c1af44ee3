"""Running a network again when only a part of what it computes has changed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_PLAIN = (int, float, str, type(None), type(...), torch.dtype, torch.device)


class Replay(TorchFunctionMode):
    """Within the block, a torch function called on the tensors of the recorded run gives the recorded result.

    So only what follows from a change is computed. Two tensors are the same when they are one object that was not
    written to in between. Whatever is not recognised is computed: a network that works in place gains nothing, and
    loses nothing. What the network computes must follow from its arguments alone, as in evaluation mode.

    `given` is what the recorded run starts from: images, parameters, buffers. Every tensor of that run is kept until
    this object goes.
    """

    def __init__(self, given: Iterable[Tensor]) -> None:
        super().__init__()
        self._known: dict[int, tuple[Tensor, int]] = {}
        self._results: dict[object, tuple[Tensor, int]] = {}
        self._is_recording = False
        for tensor in given:
            self._remember(tensor)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """A block whose calls are remembered."""
        self._is_recording = True
        try:
            with self:
                yield
        finally:
            self._is_recording = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        try:
            call = (func, self._identity(args), self._identity(named))
        except LookupError:
            return func(*args, **named)
        recorded, version = self._results.get(call, (None, 0))
        if recorded is not None and recorded._version == version:
            return recorded
        result = func(*args, **named)
        if self._is_recording and isinstance(result, Tensor):
            self._remember(result)
            self._results[call] = result, result._version
        return result

    def _remember(self, tensor: Tensor) -> None:
        self._known[id(tensor)] = (tensor, tensor._version)

    def _identity(self, value: object) -> object:
        """What tells `value` from others; raises LookupError for what the recorded run did not know."""
        if isinstance(value, Tensor):
            known = self._known.get(id(value))
            if known is None or known[1] != value._version:
                raise LookupError
            return id(value)
        if isinstance(value, list | tuple):
            return tuple(self._identity(one) for one in value)
        if isinstance(value, dict):
            return tuple((name, self._identity(one)) for name, one in value.items())
        if isinstance(value, slice):
            return tuple(self._identity(one) for one in (value.start, value.stop, value.step))
        if isinstance(value, _PLAIN):
            return type(value), value  # 1 and 1.0 are equal, but not to every function
        raise LookupError
