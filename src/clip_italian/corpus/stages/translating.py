"""Give every sample its Italian captions: its own, those of its copies, and translations where there are none.

Public names: run, waiting.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..corpus import Corpus, Report
from ..ledger import FETCHED, FILTERED, TRANSLATED, UNIQUE, Entry, Told
from ..record import SourceCaption
from ..translation.engine import Untranslated
from ..translation.translator import Translator

_BATCH = 200


def run(corpus: Corpus, report: Report, translator: Translator | None) -> None:
    """Settle all samples that stay. Raises QuotaExceeded when an engine will do no more today; what it did is kept."""
    total, done = corpus.ledger.standing(UNIQUE), 0
    for entries in corpus.ledger.batches(UNIQUE, _BATCH):
        whole = [_with_copies(corpus, entry) for entry in entries]
        english = list(dict.fromkeys(text for entry in whole for text in _english(entry)))
        translated = _translated(english, translator) if translator else {}
        engine = translator.engine if translator else ""
        corpus.ledger.settle(
            [
                replace(_settled(entry, translated, engine), captions=own.captions)
                for own, entry in zip(entries, whole, strict=True)
            ]
        )
        done += len(entries)
        report.work("translating", done, total)


def waiting(corpus: Corpus) -> Iterator[str]:
    """Yield the texts that the samples of this stage, and of those before it, would have translated."""
    for stage in (FILTERED, FETCHED, UNIQUE):
        for entries in corpus.ledger.batches(stage, _BATCH):
            yield from (text for entry in entries for text in _english(entry))


def _english(entry: Entry) -> list[str]:
    """Return the texts of a sample that would have to be translated: none where a caption is Italian already."""
    kept = [one.caption for one in entry.captions if not one.dropped]
    if any(caption.language == "it" for caption in kept):
        return []
    return [caption.text for caption in kept if caption.language == "en"]


def _translated(english: list[str], translator: Translator) -> dict[str, str]:
    """Return English → Italian, "" for what the engine refuses."""
    try:
        return dict(zip(english, translator.translate(english), strict=True))
    except Untranslated as fault:
        return dict(zip(english, fault.translations, strict=True))


def _with_copies(corpus: Corpus, entry: Entry) -> Entry:
    """Return the sample with the captions of those that show the same picture, byte for byte."""
    captions = list(entry.captions)
    known = {(one.caption.language, one.caption.text) for one in captions}
    for copy in corpus.ledger.same_picture(entry):
        for one in copy.captions:
            name = (one.caption.language, one.caption.text)
            if not one.dropped and name not in known:
                captions.append(one)
                known.add(name)
    return replace(entry, captions=tuple(captions))


def _settled(entry: Entry, translated: dict[str, str], engine: str) -> Entry:
    kept = [one.caption for one in entry.captions if not one.dropped]
    italian = [caption for caption in kept if caption.language == "it"]
    if not italian:
        italian = _translations([caption for caption in kept if caption.text in translated], translated, engine)
    refused = "" if italian else "translation: no Italian caption"
    return replace(entry, stage=TRANSLATED, refused=refused, italian=tuple(map(Told, italian)))


def _translations(english: Sequence[SourceCaption], translated: dict[str, str], engine: str) -> list[SourceCaption]:
    return [
        SourceCaption(translated[one.text], "it", "translated", engine, one.text)
        for one in english
        if translated[one.text]
    ]
