"""Paths in a recipe: relative to it, or `package:...` for what ships with us (the demo lake, HumanEval)."""

from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
_PREFIX = "package:"


def is_in_package(path: str) -> bool:
    """Whether the path names something that ships with us."""
    return path.startswith(_PREFIX)


def split(path: str, base: Path) -> tuple[Path, str]:
    """The folder that a recipe's path starts from (`base`, or ours) and the rest, which may be a glob."""
    return (DATA, path.removeprefix(_PREFIX)) if is_in_package(path) else (base, path)


def resolve(path: str, base: Path) -> Path:
    """Where the file or folder lies; whether it exists is for the caller to say."""
    root, rest = split(path, base)
    return root / rest
