"""Copies in meaning against every pair of vectors compared, and what outside data may look like."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dedup.stages import dedup, dropped, kept, text
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.dedup import embeddings

DOCUMENTS, WIDTH, EPS = 700, 48, 0.05
# Each component is rounded to the grid, by half a step at most: two unit vectors, sqrt(D) / 2 steps each.
TOLERANCE = 2 * WIDTH**0.5 / embeddings.FINE


def vectors():
    """Directions in families: members at angles about the threshold, so that chains and near misses are many."""
    rng = np.random.default_rng(20261125)
    out = []
    while len(out) < DOCUMENTS:
        base = rng.standard_normal(WIDTH)
        base /= np.linalg.norm(base)
        spread = rng.choice([0.0, 0.1, 0.2, 0.25, 0.35])
        for _ in range(rng.choice([1, 1, 2, 5, 12])):
            away = rng.standard_normal(WIDTH)
            out.append((base + spread * away / np.linalg.norm(away)) * rng.uniform(0.1, 20))
    return np.array(out[:DOCUMENTS])


VECTORS = vectors()
UNIT = VECTORS / np.linalg.norm(VECTORS, axis=1)[:, None]
COSINE = UNIT @ UNIT.T
ROWS = [(f"s{i % 3}", f"o{i}", text(i, 60)) for i in range(DOCUMENTS)]
NUMBER = {origin: i for i, (_, origin, _) in enumerate(ROWS)}


def write(folder, order=None, files=1, name="vectors"):
    """The vectors as Parquet files of two row groups each."""
    order = np.arange(DOCUMENTS) if order is None else order
    (folder / name).mkdir(exist_ok=True)
    for f, some in enumerate(np.array_split(order, files)):
        table = pa.table({"id": [ROWS[i][1] for i in some], "embedding": pa.array(VECTORS[some].tolist())})
        pq.write_table(table, folder / name / f"{f}.parquet", row_group_size=-(-len(some) // 2))
    return str(folder / name)


def run(folder, /, name="out", parts=1, clusters=0, **settings):
    own = {"embeddings": "vectors", "clusters": clusters, "eps": EPS, **settings.pop("semantic", {})}
    return dedup(folder, ROWS, parts=parts, name=name, semantic=own, **settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("semantic")
    write(folder)
    return folder, run(folder, clusters=1, semantic={"max_neighbours": DOCUMENTS})


def check_removed(folder):
    """Each removed document is as near as the ledger says to one that stays; the number of the removed."""
    stays, gone = kept(folder), dropped(folder)
    assert len(stays) + len(gone) == DOCUMENTS
    assert stays.isdisjoint(gone)
    for origin, row in gone.items():
        assert row["reason"] == "semantic"
        survivor = json.loads(row["evidence"])["survivor_origin"]
        assert survivor in stays, "no group without one that stays"
        cosine = COSINE[NUMBER[origin], NUMBER[survivor]]
        assert row["score"] == pytest.approx(cosine, abs=TOLERANCE)
        assert row["score"] >= 1 - EPS
        assert cosine >= 1 - EPS - TOLERANCE
    return len(gone)


def test_one_cluster_finds_every_pair(whole):
    folder, m = whole
    assert 150 < check_removed(folder / "out") < 500
    stays = sorted(NUMBER[origin] for origin in kept(folder / "out"))
    left = np.triu(COSINE[np.ix_(stays, stays)], 1)
    assert left.max() < 1 - EPS + TOLERANCE
    found = m.extra["semantic"]
    assert found["clusters"] == 1
    assert found["largest_cluster"] == found["documents"] == DOCUMENTS
    near = np.triu(COSINE, 1)
    assert (near >= 1 - EPS + TOLERANCE).sum() <= found["verified"] <= (near >= 1 - EPS - TOLERANCE).sum()
    assert found["beyond_max_neighbours"] == 0


def test_clusters_only_miss(whole):
    folder, _ = whole
    m = run(folder, name="clusters")
    assert m.extra["semantic"]["clusters"] == round(DOCUMENTS**0.5)
    missed = check_removed(folder / "out") - check_removed(folder / "clusters")
    assert 0 <= missed < 0.1 * DOCUMENTS, "the members of a family lie near one centroid, mostly"


def test_a_bound_on_neighbours_is_counted(whole):
    folder, m = whole
    few = run(folder, name="few", clusters=1, semantic={"max_neighbours": 2}).extra["semantic"]
    assert few["beyond_max_neighbours"] > 0
    assert few["verified"] + few["beyond_max_neighbours"] == m.extra["semantic"]["verified"]
    check_removed(folder / "few")


def test_parts_threads_instructions_files_and_their_order_change_nothing(whole, monkeypatch):
    folder, _ = whole
    want = None
    order = np.random.default_rng(1).permutation(DOCUMENTS)
    for number, (parts, files, threads, impl) in enumerate([(1, 1, "1", "scalar"), (3, 4, "2", ""), (5, 2, "1", "")]):
        monkeypatch.setenv("FASTTRAIN_THREADS", threads)
        monkeypatch.setenv("FASTTRAIN_IMPL", impl)
        write(folder, order if number else None, files, name=f"vectors{number}")
        out = f"same{number}"
        m = run(folder, name=out, parts=parts, clusters=20, semantic={"embeddings": f"vectors{number}"})
        rows = {o: (r["reason"], r["score"], r["evidence"]) for o, r in dropped(folder / out).items()}
        got = kept(folder / out), rows, {k: v for k, v in m.extra["semantic"].items() if k != "groups"}
        want = want or got
        assert got == want


def test_what_is_no_vector_or_no_document_is_counted_and_nothing_goes_for_it(tmp_path):
    values = [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [float("nan"), 1.0], None, [1.0, 0.0]]
    ids = ["o0", "o1", "o2", "o3", "o4", "not there"]
    pq.write_table(pa.table({"id": ids, "embedding": pa.array(values, pa.list_(pa.float32()))}), tmp_path / "v.parquet")
    rows = ROWS[:6]  # o5 has no row
    m = dedup(tmp_path, rows, semantic={"embeddings": "v.parquet"})
    found = m.extra["semantic"]
    assert {k: found[k] for k in ("documents", "documents_without", "embeddings_without_document")} == {
        "documents": 2,
        "documents_without": 4,
        "embeddings_without_document": 1,
    }
    assert found["invalid_embeddings"] == 3
    assert len(dropped(tmp_path / "out")) == 1
    assert set(dropped(tmp_path / "out")) < {"o0", "o1"}


def table_of(values, column="embedding"):
    return pa.table({"id": [f"o{i}" for i in range(len(values))], column: values})


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (None, ConfigError, "no file matches"),
        (table_of([[1.0]], "vector"), FormatError, "must have the column 'embedding'"),
        (table_of([[1.0, 2.0], [1.0]]), FormatError, "must have one length"),
        (table_of([1.0, 2.0]), FormatError, "must hold lists of floats"),
    ],
)
def test_what_cannot_be_read_is_said(table, error, message, tmp_path):
    if table is not None:
        pq.write_table(table, tmp_path / "v.parquet")
    with pytest.raises(error, match=message):
        dedup(tmp_path, ROWS[:3], semantic={"embeddings": "v.parquet"})


def test_a_damaged_file_is_said(tmp_path):
    (tmp_path / "v.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(FormatError, match="not a readable Parquet file"):
        dedup(tmp_path, ROWS[:3], semantic={"embeddings": "v.parquet"})
