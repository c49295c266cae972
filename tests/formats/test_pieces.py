"""Parts that ranks make together, piece by piece."""

import threading
import time
from pathlib import Path

import pytest

from comm.thread_ranks import on_ranks
from fasttrain.comm.group import SoloGroup
from fasttrain.core.config import Settings
from fasttrain.core.errors import FormatError
from fasttrain.formats import document
from fasttrain.formats.pieces import Cut
from fasttrain.formats.stage import run_stage
from formats.batches import documents
from formats.test_stage import tree


class Config(Settings):
    """Nothing."""


class Large:
    """Items that are numbers: so many pieces. Remembers who made what."""

    def __init__(self, made=lambda item, number: None, bytes_of_piece=10):
        self.by = {}
        self.most_files = 0
        self._made, self._bytes = made, bytes_of_piece

    def cut(self):
        return Cut(lambda item: item > 1, self._pieces, self._work, self._done, self._join, lambda *_: None)

    def _pieces(self, item, folder):
        for number in range(item):
            path = folder / f"{number}.txt"
            path.write_bytes(b"x" * self._bytes)
            self.most_files = max(self.most_files, len(list(folder.iterdir())))
            yield {"number": number, "path": str(path)}

    def _work(self, item, piece, writer):
        assert len(Path(piece["path"]).read_bytes()) == self._bytes
        self.by.setdefault(item, {})[piece["number"]] = threading.get_ident()
        self._made(item, piece["number"])
        writer.write(documents([f"{item}-{piece['number']}"]))
        writer.kept += 1
        writer.extra = {"number": piece["number"]}

    def _done(self, piece):
        Path(piece["path"]).unlink()

    def _join(self, extras):
        return {"numbers": [extra["number"] for extra in extras]}


def run(folder, large, items, world=None):
    def whole(item, writer):
        writer.write(documents([f"{item}"]))
        writer.kept += 1

    def body(stage):
        reports = stage.map_parts("docs", items, whole, cut=large.cut())
        stage.extra = {"numbers": [report.extra.get("numbers") for report in reports]}

    return run_stage("demo", folder=folder, config=Config(), inputs=[], world=world or SoloGroup(), body=body)


def test_one_rank_makes_every_piece_in_order(tmp_path):
    large = Large()
    done = run(tmp_path, large, [1, 4, 0, 2])
    names = [f.path for f in done.files]
    pieces = [f"docs/part-00001-{n:05d}.parquet" for n in range(4)]
    assert names[:6] == ["docs/part-00000.parquet", *pieces, "docs/part-00002.parquet"]
    assert names[6:] == ["docs/part-00003-00000.parquet", "docs/part-00003-00001.parquet"]
    texts = [t for name in names for t in document.read_documents(tmp_path / name)["text"].to_pylist()]
    assert texts == ["1", "4-0", "4-1", "4-2", "4-3", "0", "2-0", "2-1"]
    assert done.extra == {"numbers": [None, [0, 1, 2, 3], None, [0, 1]]}
    assert done.report.kept == 8
    assert large.most_files == 1, "a piece is gone before the next one is cut"
    stems = [f"part-0000{i}" for i in range(4)] + [Path(name).stem for name in names if "-" in Path(name).stem[5:]]
    assert sorted(p.stem for p in (tmp_path / "docs").glob("*.json")) == sorted(stems)


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_that_wait_help(tmp_path, size):
    large = Large(lambda item, number: time.sleep(0.05))
    done = on_ranks(size, lambda world: run(tmp_path / "more", large, [12, 1, 1], world))
    assert not [d for d in done if isinstance(d, Exception)], done
    assert len(set(large.by[12].values())) == size
    assert large.most_files <= 2 * size
    run(tmp_path / "one", Large(), [12, 1, 1])
    left, right = tree(tmp_path / "more"), tree(tmp_path / "one")
    del left["manifest.json"], right["manifest.json"]
    assert left == right


def test_a_rank_that_waits_for_nothing_ends(tmp_path):
    done = on_ranks(3, lambda world: run(tmp_path, Large(), [1, 1], world).report.kept)
    assert done == [2, 2, 2]


def test_pieces_that_are_there_are_not_made_again(tmp_path):
    def dies(item, number):
        if number == 2:
            raise FormatError("disk")

    with pytest.raises(FormatError, match="disk"):
        run(tmp_path / "a", Large(dies), [5])
    assert sorted(p.name for p in (tmp_path / "a/docs").glob("*.json")) == [
        "part-00000-00000.json",
        "part-00000-00001.json",
    ]
    (tmp_path / "a/docs/part-00000-00001.parquet").write_bytes(b"cut off")
    large = Large()
    run(tmp_path / "a", large, [5])
    assert sorted(large.by[5]) == [1, 2, 3, 4]
    run(tmp_path / "b", Large(), [5])
    left, right = tree(tmp_path / "a"), tree(tmp_path / "b")
    del left["manifest.json"], right["manifest.json"]
    assert left == right


def test_one_piece_alone_is_made_again(tmp_path):
    run(tmp_path, Large(), [3, 1])
    before = tree(tmp_path / "docs")
    (tmp_path / "docs/part-00000-00001.json").unlink()
    (tmp_path / "docs/part-00000.json").unlink()
    (tmp_path / "manifest.json").unlink()
    large = Large()
    run(tmp_path, large, [3, 1])
    assert sorted(large.by[3]) == [1]
    assert tree(tmp_path / "docs") == before


@pytest.mark.parametrize("items", [[1, 1], [4], [2, 5, 1], [5, 2]])
def test_of_other_items_nothing_stays(tmp_path, items):
    run(tmp_path / "a", Large(), [3, 4])
    (tmp_path / "a/manifest.json").unlink()
    run(tmp_path / "a", Large(), items)
    run(tmp_path / "b", Large(), items)
    assert tree(tmp_path / "a/docs") == tree(tmp_path / "b/docs")
