"""Words for normal and anomalous images in folder names and tables."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_SPLITS = {
    TRAIN: "train training trainset trainingset trainimages traindata trainingdata trainingsdaten",
    VALIDATION: "val valid validation validationset valset validierung",
    TEST: "test testing testset testimages testdata testdaten testpublic testprivate "
    "testprivatemixed holdout eval evaluation",
}
_SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words.split()}
_SEPARATORS = re.compile(r"[\W_]+")
_TOKENS = re.compile(r"\d+|[^\W\d_]+")
#: A noun at the end of a name, as in good_parts and NG-images.
_NOUN = re.compile(
    r"(images?|imgs?|parts?|samples?|products?|pictures?|pieces?|items?|class"
    r"|teile?|bild|bilder|muster|画像|写真|部品|製品|品|图像|图片|样本|样品|产品|件|이미지|사진|제품)$"
)
# English, German, French, Spanish, Italian, Portuguese, Dutch, Japanese, Chinese, Korean.
_NORMAL_WORDS = """
    normal good ok okay okfront pass passed nondefective nondefect nodefect nodefects nodefectimages
    defectfree withoutdefect withoutdefects undamaged flawless faultless intact healthy nonanomalous
    noanomaly noanomalies accept accepted acceptable conforming conformant
    io inordnung gut gute fehlerfrei einwandfrei unbeschädigt unauffällig
    bon bons bonne bonnes conforme conformes sansdéfaut sansdefaut
    bueno buenos buena buenas normales sindefecto sindefectos correcto
    buono buoni buona buone senzadifetti bom bons boa semdefeito goed goedgekeurd
    良 良品 正常 正常品 合格 合格品 無欠陥 无缺陷 無缺陷 好 정상 정상품 양품 합격
"""
_ANOMALY_WORDS = """
    anomaly anomalous anomalies abnormal bad nok notok notgood ng ko fail failed failure defect
    defects defective defectimages deffront withdefect withdefects damaged flawed reject rejected
    rejects faulty scrap nogood nonconforming nonconformant unacceptable notaccepted notpassed
    nio nichtinordnung schlecht schlechte fehlerhaft fehler defekt defekte ausschuss schrott
    mangelhaft beschädigt auffällig anomalie anomalien
    mauvais mauvaise nonconforme nonconformes défaut défauts defaut defauts défectueux defectueux
    rebut malo malos mala malas noconforme defecto defectos defectuoso anomalía anomalia rechazo
    rechazado scarto scarti difetto difetti difettoso difettosi ruim defeito defeituoso slecht
    afgekeurd
    不良 不良品 異常 異常品 异常 不合格 不合格品 欠陥 欠陥品 缺陷 缺陷品 次品 坏
    불량 불량품 비정상 이상 불합격 결함
"""
#: Least similarity of a misspelling: 'nromal' and 'normal' have 0.83.
_CLOSE = 0.8
#: Fewest letters of a misspelling; shorter names resemble too many words.
_LEAST_CLOSE = 4
_NORMAL = frozenset(_NORMAL_WORDS.split())
_ANOMALY = frozenset(_ANOMALY_WORDS.split())
#: Followed by a number, these name a station or a second try, not a label.
_NOT_NUMBERED = frozenset({"io", "pass"})
_CELLS = {
    **dict.fromkeys(("false", "no", "n", "f", "nein", "non", "nee"), False),
    **dict.fromkeys(("true", "yes", "y", "t", "ja", "j", "oui", "si", "sí", "sim"), True),
}
# Numbers are compared literally, because `plain` would turn -1 into 1.
_NUMBERS = {"0": False, "0.0": False, "1": True, "1.0": True}


def plain(name: str) -> str:
    """Remove case, width and separators: 'Not OK', 'not_ok' and 'ＮotOK' become 'notok'."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", name)).casefold()


@lru_cache(4096)
def split_of_name(name: str) -> str | None:
    """Return TRAIN, VALIDATION or TEST for names like 'test_set' or, with a label, 'train_good'."""
    found = _SPLIT_OF.get(plain(name))
    if found is not None:
        return found
    tokens = _tokens(name)
    splits = {_SPLIT_OF[token] for token in tokens if token in _SPLIT_OF}
    rest = "".join(token for token in tokens if token not in _SPLIT_OF)
    return splits.pop() if len(splits) == 1 and _is_label(rest) else None


def truth_of(cell: str) -> bool | None:
    """Return the boolean of 0, 1, yes or no in a table; None for anything else."""
    return _NUMBERS.get(cell.strip(), _CELLS.get(plain(cell)))


def _tokens(name: str) -> list[str]:
    return _TOKENS.findall(unicodedata.normalize("NFKC", name).casefold())


def _is_label(word: str) -> bool:
    return word in _NORMAL or word in _ANOMALY


def _words(name: str) -> Iterator[str]:
    """Yield candidate words of a folder's name: whole, and without noun, numbers and splits."""
    word = plain(name)
    yield word
    yield _NOUN.sub("", word)
    tokens = [token for token in _tokens(name) if token not in _SPLIT_OF and not token.isdigit()]
    rest = "".join(tokens)
    if rest != word and rest not in _NOT_NUMBERED:
        yield rest
        yield _NOUN.sub("", rest)


@lru_cache(4096)
def _default_meaning(name: str) -> bool | None:
    for word in _words(name):
        if word in _NORMAL:
            return False
        if word in _ANOMALY:
            return True
    return None


@dataclass(frozen=True)
class LabelNames:
    """Names of labels in addition to the usual words, over which they take precedence."""

    normal: frozenset[str] = frozenset()
    anomaly: frozenset[str] = frozenset()

    @classmethod
    def of(cls, normal: Iterable[str] = (), anomaly: Iterable[str] = ()) -> LabelNames:
        """Build from any spelling of the names. Raises ValueError for a name in both groups."""
        names = cls(frozenset(map(plain, normal)), frozenset(map(plain, anomaly)))
        if both := names.normal & names.anomaly:
            raise ValueError(f"{', '.join(sorted(both))} cannot be both normal and anomalous")
        return names

    def given(self, name: str) -> bool | None:
        """Whether one of these names means an anomaly; None for any other name."""
        found = plain(name)
        if found in self.normal:
            return False
        return True if found in self.anomaly else None

    def of_folder(self, name: str) -> bool | None:
        """Whether a folder's name means an anomaly; None if it is not a label."""
        given = self.given(name)
        if given is not None:
            return given
        return _default_meaning(name)

    def of_cell(self, text: str) -> bool | None:
        """Whether a cell of a label column means an anomaly; None if it is not a label."""
        found = self.of_folder(text)
        if found is not None:
            return found
        return truth_of(text)

    def close_to(self, name: str) -> str | None:
        """Return the label word that a name seems to misspell, or None."""
        found = plain(name)
        if len(found) < _LEAST_CLOSE:
            return None
        words = (*_NORMAL_WORDS.split(), *_ANOMALY_WORDS.split(), *self.normal, *self.anomaly)
        return next(iter(get_close_matches(found, words, n=1, cutoff=_CLOSE)), None)


USUAL = LabelNames()
