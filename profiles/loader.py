"""Machine profiles: a machine, its target runtime, and the pipelines worth trying on it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from compress.errors import UsageError, unknown
from compress.pipeline.parse import Pipeline

_SUFFIX = ".toml"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Profile:
    """A machine profile; the keys of its TOML file are these fields."""

    machine: Annotated[str, Field(min_length=1)]
    """A description of the machine."""
    target: Annotated[str, Field(min_length=1)]
    """The target runtime."""
    pipelines: Annotated[tuple[str, ...], Field(min_length=1)]
    """Pipelines to try when the user names none, most promising first."""
    threads: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Number of threads; None takes all physical cores."""
    price_per_hour: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | None = None
    """Price of an hour of the machine in any currency; reports then show the cost of a million tokens."""


def profiles() -> dict[str, Path]:
    """The profiles that come with the program, by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob(f"*{_SUFFIX}"))}


def load_profile(name: str) -> Profile:
    """A packaged profile by name, or any by the path of its TOML file.

    Raises UsageError, in one line, for an unknown name, a file that can't be read, a missing, unknown or bad field, and
    a pipeline that can't work.
    """
    path = Path(name)
    if path.suffix != _SUFFIX:
        packaged = profiles()
        if name not in packaged:
            raise unknown("profile", name, packaged)
        path = packaged[name]
    try:
        profile = Profile(**tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"can't read the profile {path} ({error.strerror})") from error
    except ValidationError as error:
        raise UsageError(f"profile {path}: {_first(error)}") from error
    except RecursionError:
        raise UsageError(f"profile {path} is not valid TOML (nested too deep)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"profile {path} is not valid TOML ({error})") from error
    for pipeline in profile.pipelines:
        try:
            Pipeline.parse(pipeline)
        except UsageError as error:
            raise UsageError(f"profile {path}, pipeline {pipeline!r}: {error}") from error
    return profile


def _first(error: ValidationError) -> str:
    """The first validation error, after its field's name."""
    details = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in details["loc"])
    return f"{where}: {details['msg'][0].lower()}{details['msg'][1:]}"
