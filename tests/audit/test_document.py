import pytest

from audit import small_run
from fasttrain.audit import document
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.formats.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run.build(tmp_path_factory.mktemp("run") / "small")


@pytest.mark.parametrize(
    ("index", "outcome"),
    [
        (0, "in the training set"),
        (1, "dropped by dedup: near:jaccard"),
        (2, "dropped by filter: c4:lorem_ipsum"),
        (4, "dropped by decontam: benchmark:humaneval"),
        (6, "held out: in the probe set"),
    ],
)
def test_every_end_is_told(run, index, outcome):
    (trail,) = document.find(run, small_run.doc_id(index).hex())
    assert trail.outcome == outcome
    assert (trail.source, trail.origin, trail.licence) == small_run.DOCS[index][:3]
    assert trail.num_bytes == len(small_run.DOCS[index][3])
    assert trail.match == "id"


def test_a_duplicate_names_its_survivor(run):
    (trail,) = document.find(run, "https://a.example/two")
    assert [d.stage for d in trail.decisions] == ["filter", "dedup"]
    assert trail.decisions[-1].evidence == {"survivor": small_run.doc_id(0).hex(), "jaccard": 0.93}
    assert trail.related == {small_run.doc_id(0).hex(): "https://a.example/one"}
    assert trail.handed_on == ("corpus", "filter")
    assert trail.tokens == {}


def test_a_trained_document_names_its_shard(run):
    (trail,) = document.find(run, "src/hello.py")
    assert trail.tokens == {"train/code": len(small_run.DOCS[3][3]) + 1}
    assert trail.handed_on == ("corpus", "filter", "dedup", "passages", "decontam", "split/train")
    assert trail.language == "en"


@pytest.mark.parametrize(
    ("text", "match", "index"),
    [
        (small_run.DOCS[3][3], "text (exact)", 3),
        ("  CALL me " + small_run.DOCS[5][3][8:], "text (case and space ignored)", 5),
        ("driving off the spleen", "passage (exact)", 6),
        ("DRIVING off\nthe spleen", "passage (case and space ignored)", 6),
    ],
)
def test_found_by_text(run, text, match, index):
    (trail,) = document.find(run, text, by="text")
    assert (trail.match, trail.doc_id) == (match, small_run.doc_id(index).hex())


def test_found_by_part_of_the_origin(run):
    trails = document.find(run, "a.example")
    assert [t.origin for t in trails] == ["https://a.example/one", "https://a.example/two"]
    assert len(document.find(run, "a.example", limit=1)) == 1


@pytest.mark.parametrize("key", ["never written anywhere", "f" * 32, "%", "'; DROP VIEW ledger; --"])
def test_what_was_not_read_is_not_found(run, key):
    assert document.find(run, key) == []


def test_refusals(run, tmp_path):
    with pytest.raises(ConfigError, match="must not be empty"):
        document.find(run, "  ")
    with pytest.raises(FormatError, match="no such run folder"):
        document.find(RunFolder(tmp_path / "none"), "x")


def test_a_folder_without_stages_knows_nothing(tmp_path):
    (tmp_path / "prepare").mkdir()
    assert document.find(RunFolder(tmp_path), "anything") == []
