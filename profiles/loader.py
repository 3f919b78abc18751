"""Profiles: what a machine is, what runs there, and which pipelines are worth trying on it."""

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
    """A machine, as a TOML file describes it; the file's keys are these fields."""

    machine: Annotated[str, Field(min_length=1)]
    """What the machine is, in words."""
    target: Annotated[str, Field(min_length=1)]
    """The target that runs there."""
    pipelines: Annotated[tuple[str, ...], Field(min_length=1)]
    """What to try when the user names no pipeline, most promising first."""
    threads: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Threads to run with; all physical cores where it isn't said."""
    price_per_hour: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | None = None
    """What an hour of the machine costs, in any money: reports then tell what a million tokens cost."""


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
        known = profiles()
        if name not in known:
            raise unknown("profile", name, known)
        path = known[name]
    try:
        profile = Profile(**tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"can't read the profile {path} ({error.strerror})") from error
    except ValidationError as error:
        raise UsageError(f"profile {path}: {_first(error)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"profile {path} is no TOML ({error})") from error
    for pipeline in profile.pipelines:
        try:
            Pipeline.parse(pipeline)
        except UsageError as error:
            raise UsageError(f"profile {path}, pipeline {pipeline!r}: {error}") from error
    return profile


def _first(error: ValidationError) -> str:
    """The first thing wrong, with the field that it is wrong in."""
    details = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in details["loc"])
    return f"{where}: {details['msg'][0].lower()}{details['msg'][1:]}"
