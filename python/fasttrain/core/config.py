"""Settings: one frozen model beside the code it configures, filled from TOML, refusing what it does not know.

Values are validated as JSON would be in strict mode: 3 is a float, [1, 2] is a tuple, but "3" is never a number and an
unknown key is an error that names the nearest known one.
"""

import difflib
import hashlib
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from fasttrain.core.errors import ConfigError


class Settings(BaseModel):
    """Base of every configuration: frozen, keyword-only, documented by a sentence under each field."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    @classmethod
    def load(cls, data: Mapping[str, Any], where: str = "") -> Self:
        """Build from plain data (a TOML table). Raises ConfigError naming `where` + key and the remedy."""
        try:
            return cls.model_validate_json(json.dumps(data))
        except ValidationError as error:
            raise ConfigError("; ".join(_explain(cls, data, where, e) for e in error.errors())) from None
        except TypeError as error:  # a TOML date, say
            raise ConfigError(f"{where or 'recipe'}: {error}; use text, numbers, lists and tables only") from None

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `load` takes back."""
        return self.model_dump(mode="json")

    def fingerprint(self) -> str:
        """128 bits of the content, in hex: equal settings have equal fingerprints on every machine."""
        return fingerprint(self.to_dict())


def fingerprint(data: Any) -> str:
    """128 bits of plain data, in hex; keys may come in any order."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """TOML text as plain data. Raises ConfigError with the line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from None


def override(data: dict[str, Any], assignments: typing.Iterable[str]) -> dict[str, Any]:
    """Return `data` with each `a.b.c=value` applied; the value is TOML, or plain text when it is not valid TOML."""
    result: dict[str, Any] = json.loads(json.dumps(data))
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {assignment!r}: must read a.b.c=value")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        table: Any = result
        *path, last = key.strip().split(".")
        for step in path:
            if isinstance(table, list) and step.isdigit() and int(step) < len(table):
                table = table[int(step)]
            elif isinstance(table, dict):
                table = table.setdefault(step, {})
            else:
                raise ConfigError(f"--set {assignment!r}: {step!r} is not a table of the recipe")
        if isinstance(table, list) and last.isdigit() and int(last) < len(table):
            table[int(last)] = value
        elif isinstance(table, dict):
            table[last] = value
        else:
            raise ConfigError(f"--set {assignment!r}: {key!r} is not a key of a table")
    return result


def _explain(cls: type[BaseModel], data: Mapping[str, Any], where: str, error: Any) -> str:
    location = [str(step) for step in error["loc"]]
    name = ".".join([where, *location] if where else location) or "recipe"
    if error["type"] == "extra_forbidden":
        known = _fields_at(cls, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known)) or 'none'}"
        return f"{name}: unknown key; {remedy}"
    if error["type"] == "missing":
        return f"{name}: this key must be given"
    message = error["msg"].removeprefix("Value error, ")
    came = error.get("input")
    shown = f", got {came!r}" if not isinstance(came, Mapping) else ""
    return f"{name}: {message}{shown}"


def _fields_at(cls: Any, location: list[str]) -> list[str]:
    """Field names of the model that `location` leads to."""
    for step in location:
        if step.isdigit():
            continue
        field = getattr(cls, "model_fields", {}).get(step)
        cls = _model_in(field.annotation) if field is not None else None
        if cls is None:
            return []
    return list(getattr(cls, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((m for a in typing.get_args(annotation) if (m := _model_in(a)) is not None), None)
