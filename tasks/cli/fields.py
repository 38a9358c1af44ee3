"""From the fields of a config to flags and back: help cannot say other than what happens, a new field is a new flag.

Nothing heavy is imported here: help shall come at once.
"""

import argparse
from collections.abc import Callable, Collection, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from modnet.configs import ExportConfig, IterationConfig, SparsityConfig, WinnerLimits
from modnet.configs.search import SearchConfig
from modnet.errors import ConfigError
from modnet.workloads.matting.settings import DistillationConfig
from tasks.cli.add_flag import Flags, shown_default
from tasks.cli.values import amount, digest, numbers, texts

_FLAG_OF: Mapping[tuple[type[BaseModel], str], str] = {
    (SparsityConfig, "strength"): "sparsity",
    (SparsityConfig, "schedule"): "sparsity_schedule",
    (DistillationConfig, "features"): "distill_features",
    (IterationConfig, "steps"): "iterations",
    (SearchConfig, "hours"): "search",
    (WinnerLimits, "max_error_ratio"): "max_mse_ratio",
    (ExportConfig, "max_relative_error_increase"): "max_relative_mse_increase",
}
"""Fields whose flag has another name than they."""

_READ_BY: Mapping[str, Callable[[str], object]] = {"max_macs": amount, "max_parameters": amount, "sha256": digest}
"""Fields that people write in another way than configs do."""

_KINDS: Mapping[object, Callable[[str], object]] = {
    int: int,
    float: float,
    str: str,
    tuple[str, ...]: texts,
    tuple[float, ...]: numbers,
}


def add_fields(flags: Flags, config: type[BaseModel], *names: str, without: str | None = None) -> None:
    """Adds a flag for each named field, see `flag_fields`; the value of one that is not typed is None.

    `without` says what happens without the flags, where that is not the fields' defaults.
    """
    for name in names:
        how = _how(name, config.model_fields[name])
        if how is None:
            raise TypeError(f"{config.__name__}.{name} can have no flag: {config.model_fields[name].annotation}")
        flags.add_argument(typed(flag_of(config, name)), help=_field_help(config.model_fields[name], without), **how)


def given_config(kind: type[Any], options: argparse.Namespace, /, **fields: Any) -> Any:
    """A config from `fields`, which no flag gives, and the flags that were typed; the other fields keep their defaults.

    Raises:
        ConfigError: a value that its field does not take; says flag, value and what was wanted.
    """
    flags = {name: flag_of(kind, name) for name in kind.model_fields if name not in fields}
    given = {name: value for name, flag in flags.items() if (value := getattr(options, flag, None)) is not None}
    try:
        return kind(**given, **fields)
    except ValidationError as error:
        raise ConfigError("; ".join(_problem(kind, problem) for problem in error.errors())) from error


def flag_fields(config: type[BaseModel], *, but: Collection[str] = ()) -> tuple[str, ...]:
    """The fields that can have a flag: neither sections of their own, nor with one value to choose from."""
    return tuple(name for name, field in config.model_fields.items() if name not in but and _how(name, field))


def flag_of(config: type[BaseModel], field: str) -> str:
    """The name of the flag of a field, as `image_size` for `--image-size`."""
    return _FLAG_OF.get((config, field), field)


def typed(*flags: str) -> str:
    """`--image-size, --ratio` for `ratio` and `image_size`."""
    return ", ".join(f"--{flag.replace('_', '-')}" for flag in sorted(flags))


def _field_help(field: FieldInfo, without: str | None) -> str:
    said, _, empty = (field.description or "").partition(" Empty:")
    usual = "none, it is needed" if field.is_required() else shown_default(field.default)
    if empty and field.default is None:
        usual = empty.strip().rstrip(".")
    return f"{said} ({'; '.join([*_limits(field), f'default: {without or usual}'])})".replace("%", "%%")


def _how(name: str, field: FieldInfo) -> dict[str, Any] | None:
    """How argparse reads a field; None where it cannot."""
    kind = field.annotation
    if get_origin(kind) in (Union, UnionType):
        kinds = [one for one in get_args(kind) if one is not NoneType]
        kind = kinds[0] if len(kinds) == 1 else None
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return {"choices": choices, "type": type(choices[0])} if len(choices) > 1 else None
    if kind is bool:
        return {"action": "store_const", "const": True}
    read = _READ_BY.get(name) or _KINDS.get(kind)
    return None if read is None else {"type": read}


def _limits(field: FieldInfo) -> list[str]:
    """What the field takes: `1 to 1000`, `above 0`, `a multiple of 32`."""
    bounds = {
        name: f"{value:.9g}"
        for one in field.metadata
        for name in ("ge", "gt", "le", "lt", "multiple_of")
        if (value := getattr(one, name, None)) is not None
    }
    low = bounds.get("ge") or (f"above {bounds['gt']}" if "gt" in bounds else None)
    high = bounds.get("le") or (f"below {bounds['lt']}" if "lt" in bounds else None)
    limits = [f"{low} to {high}" if low and high else f"from {low}" if "ge" in bounds else low or high]
    multiple = bounds.get("multiple_of")
    return [one for one in (*limits, multiple and f"a multiple of {multiple}") if one]


def _problem(kind: type[Any], problem: ErrorDetails) -> str:
    said = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:  # several fields together
        return said
    return f"{typed(flag_of(kind, str(problem['loc'][0])))} {problem['input']}: {said}"
