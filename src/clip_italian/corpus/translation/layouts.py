"""The folders of converted models: which family, which sentence pieces, which tokens go before and after.

Public names: Layout, recognise, model_files.

Families: Marian (opus-mt: Tiedemann 2020), NLLB (NLLB Team 2022: the source begins with its language, the translation
with its own), MADLAD (Kudugunta 2023: the source begins with <2it>).
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import BadModel, MissingExtra
from .plan import TranslationPlan

_NLLB = {"en": "eng_Latn", "it": "ita_Latn"}
_MARIAN = {"en": (">>eng<<", ">>en<<"), "it": (">>ita<<", ">>it<<")}
_VOCABULARIES = ("shared_vocabulary", "source_vocabulary", "target_vocabulary", "vocabulary")
_ONE_SIDE_OF_MARIAN = ("source.spm", "target.spm")


@dataclass(frozen=True)
class Layout:
    """How texts become a model's tokens and its tokens a text.

    spoken: goes before the text itself, before it is cut into pieces. before, after: tokens around a text's pieces.
    begins: tokens that a translation is made to begin with. special: tokens that are no part of a text.
    """

    family: str
    source_pieces: Path
    target_pieces: Path
    spoken: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    begins: tuple[str, ...]
    special: frozenset[str]


def recognise(folder: Path, plan: TranslationPlan) -> Layout:
    """Tell a converted model's family from its files, or take the one that the plan names.

    Raises BadModel: files are missing, belong to different models, or to no known family; MissingExtra.
    """
    config = _config(folder)
    source_words, target_words = _vocabulary(folder, "source"), _vocabulary(folder, "target")
    family = _family(folder, source_words) if plan.layout == "auto" else plan.layout
    source_pieces, target_pieces = _pieces(folder, family)
    source_model = _check(source_pieces, source_words)
    _check(target_pieces, target_words)
    ends = "" if config.get("add_source_eos") else str(config.get("eos_token") or "</s>")
    token = plan.target_token or _target_token(folder, family, plan, source_words)
    if token and token not in (target_words if family == "nllb" else source_words):
        raise BadModel(f"{folder}: the model knows no token {token}; choose another model, or set target_token")
    spoken = token if family == "madlad" and token in source_model else ""
    before = [_NLLB[plan.source]] if family == "nllb" else [token] if token and not spoken else []
    special = {"<s>", "</s>", "<unk>", "<pad>", *(str(word) for key, word in config.items() if key.endswith("_token"))}
    begins = (token,) if family == "nllb" else ()
    after = (ends,) if ends else ()
    return Layout(
        family, source_pieces, target_pieces, spoken, tuple(before), after, begins, frozenset({*special, *begins})
    )


def model_files(folder: Path) -> list[Path]:
    """Return the files that decide what a converted model gives, sorted by name. Raises BadModel when it is none."""
    if not (folder / "model.bin").is_file():
        raise BadModel(
            f"{folder}: is no model converted for CTranslate2, it has no model.bin; convert one with "
            "ct2-transformers-converter --model MODEL --output_dir DIR --copy_files source.spm target.spm"
        )
    names = {f"{stem}{suffix}" for stem in _VOCABULARIES for suffix in (".json", ".txt")}
    return sorted(
        file
        for file in folder.iterdir()
        if file.is_file() and (file.name in names | {"model.bin", "config.json"} or file.suffix in (".spm", ".model"))
    )


def _family(folder: Path, words: Collection[str]) -> str:
    if set(_NLLB.values()) & set(words):
        return "nllb"
    if any(f"<2{language}>" in words for language in _NLLB):
        return "madlad"
    if any((folder / name).is_file() for name in (*_ONE_SIDE_OF_MARIAN, "vocab.spm")):
        return "marian"
    raise BadModel(
        f"{folder}: is of no known family: it has no source.spm (Marian), and its vocabulary neither ita_Latn (NLLB) "
        "nor <2it> (MADLAD); copy its sentencepiece files into the folder, or set layout"
    )


def _target_token(folder: Path, family: str, plan: TranslationPlan, words: Collection[str]) -> str:
    if family == "nllb":
        return _NLLB[plan.target]
    if family == "madlad":
        return f"<2{plan.target}>"
    known = [word for word in words if word.startswith(">>") and word.endswith("<<")]
    for token in _MARIAN[plan.target]:
        if token in known:
            return token
    if known:
        raise BadModel(
            f"{folder}: translates into several languages, none of them called {_MARIAN[plan.target][0]}; set "
            f"target_token to one of {' '.join(sorted(known)[:5])} …"
        )
    return ""


def _pieces(folder: Path, family: str) -> tuple[Path, Path]:
    """Return the sentencepiece models of the source and the target."""
    two = [folder / name for name in _ONE_SIDE_OF_MARIAN]
    if family == "marian" and any(file.is_file() for file in two):
        for file in two:
            if not file.is_file():
                raise BadModel(f"{folder}: has no {file.name}; copy it from the model that was converted")
        return two[0], two[1]
    found = sorted(file for file in folder.iterdir() if file.suffix in (".model", ".spm"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise BadModel(f"{folder}: a {family} model has one sentencepiece file, and there are: {names}; leave its own")
    return found[0], found[0]


def _check(pieces: Path, words: Collection[str]) -> frozenset[str]:
    """Return the pieces of a sentencepiece model. Raises BadModel when a vocabulary does not know half of them."""
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise MissingExtra(
            "a local translation model needs sentencepiece, which is not installed; run: pip install "
            "'clip-italian[corpus]'"
        ) from error
    try:
        model = SentencePieceProcessor(model_file=str(pieces))
    except (OSError, RuntimeError) as error:
        raise BadModel(f"{pieces}: is no sentencepiece model, or damaged ({error}); copy it again") from error
    known = frozenset(model.id_to_piece(i) for i in range(model.get_piece_size()))
    if len(known & frozenset(words)) < len(known) / 2:
        raise BadModel(f"{pieces}: its pieces are not those of the model in that folder; copy the file of that model")
    return known


def _vocabulary(folder: Path, side: str) -> frozenset[str]:
    for stem in (f"{side}_vocabulary", "shared_vocabulary", "vocabulary"):
        for suffix in (".json", ".txt"):
            file = folder / f"{stem}{suffix}"
            if file.is_file():
                return _words(file)
    raise BadModel(f"{folder}: has no shared_vocabulary.json; convert the model again")


def _words(file: Path) -> frozenset[str]:
    try:
        text = file.read_text("utf-8")
        words = json.loads(text) if file.suffix == ".json" else text.splitlines()
        return frozenset(map(str, words))
    except (OSError, ValueError, TypeError) as error:
        raise BadModel(f"{file}: cannot be read ({error}); convert the model again") from error


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        return {}
    try:
        config = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadModel(f"{file}: cannot be read ({error}); convert the model again") from error
    if not isinstance(config, dict):
        raise BadModel(f"{file}: holds no settings; convert the model again")
    return config
