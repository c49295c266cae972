"""Workload: the blocklists in datatrove 0.10.1's wheel (4.56 million domains, 19,600 URLs), read from the packed
archive, and 200,000 origins looked up in them, one thread. Rival: a Python set of the names, asked label by label."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fasttrain.filter import url_list
from fasttrain.filter.urls import UrlConfig, UrlLists, blocks

OP = "url_list"


@pytest.fixture(scope="module")
def archive():
    datatrove = pytest.importorskip("datatrove")
    return next((Path(datatrove.__path__[0]) / "assets").glob("url_filterblacklists*.tar.gz"))


@pytest.fixture(scope="module")
def names(archive):
    return b"\n".join(blocks(archive, "domains", "archive")).decode().split()


@pytest.fixture(scope="module")
def lists(archive):
    return UrlLists(UrlConfig(domain_files=(str(archive),), url_files=(str(archive),)), Path("/"))


@pytest.fixture(scope="module")
def origins(names):
    rng = np.random.default_rng(20261125)
    hosts = [n for n in (names[i] for i in rng.integers(0, len(names), 110_000)) if not n.rpartition(".")[2].isdigit()]
    found = [f"https://{('', 'www.', 'a.b.', 'not')[i % 4]}{n}/x/{i}" for i, n in enumerate(hosts[:100_000])]
    return found + [f"http://w{i}.example{i % 977}.org:8080/a" for i in range(100_000)]


def bench_read(benchmark, note, archive, names):
    config = UrlConfig(domain_files=(str(archive),))
    lists = benchmark.pedantic(lambda: UrlLists(config, Path("/")), rounds=3)
    assert len(lists.domains) == len(set(names))
    note("MB_of_memory", lists.domains.nbytes / 1e6)


def bench_find(benchmark, record, lists, origins):
    column = pa.array(origins, pa.large_string())
    benchmark(lists.find, column, 1)
    record("origins_per_s", len(origins))


def bench_rival_set(benchmark, record, lists, names, origins):
    listed = set(names)

    def above(origin):
        labels = origin.split("/")[2].split(":")[0].split(".")
        return any(".".join(labels[i:]) in listed for i in range(len(labels)))

    found = benchmark.pedantic(lambda: [above(o) for o in origins], rounds=3)
    assert (lists.find(pa.array(origins, pa.large_string()), 1) == url_list.url_list_ref.DOMAIN).tolist() == found
    record("origins_per_s", len(origins))
