from pathlib import Path

import pytest

from fasttrain.formats import package_path


@pytest.mark.parametrize(
    ("path", "whole"),
    [
        ("lake/a.txt", Path("/recipes/lake/a.txt")),
        ("../lake/*", Path("/recipes/../lake/*")),
        ("/elsewhere/a", Path("/elsewhere/a")),
        ("package:demo_lake/books", package_path.DATA / "demo_lake/books"),
    ],
)
def test_a_path_is_relative_to_the_recipe_or_ours(path, whole):
    assert package_path.resolve(path, Path("/recipes")) == whole
    root, rest = package_path.split(path, Path("/recipes"))
    assert root / rest == whole
    assert package_path.is_in_package(path) == path.startswith("package:")


def test_what_ships_is_there():
    assert package_path.resolve("package:benchmarks/HumanEval.jsonl.gz", Path()).is_file()
