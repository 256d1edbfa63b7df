"""Which pictures and captions a run can use: bad ones are counted and left out, leaks into validation refused.

Public names: Intake, take_in, open_pictures, usable, learned_from, check_stage,
validated_language.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..data.sample import Sample
from ..errors import BadRecipe, BadRecord, CorruptImage
from ..images import open_image
from .classes import Labelled
from .feeds import Report
from .recipe import Recipe, Stage
from .validation import ValidSet

CHUNK = 256


@dataclass(frozen=True)
class Intake:
    """What is left to learn from and to validate on.

    skipped: why the rest was left out, one line a picture. labelled: pictures of known classes, where there are any.
    """

    samples: list[Sample]
    valid: list[ValidSet]
    skipped: list[str]
    labelled: Labelled | None = None


def take_in(
    recipe: Recipe,
    samples: Sequence[Sample],
    valid: Mapping[str, Sequence[Sample]],
    report: Report,
    labelled: Labelled | None = None,
) -> Intake:
    """Open every picture once and keep what the recipe can use.

    report: hears of the progress. Raises BadRecord when nothing is left or when a validation picture, told by its
    content, is also learned from; BadRecipe when a batch is larger than the set.
    """
    skipped: list[str] = []
    opened, digests = open_pictures(samples, skipped.append, report)
    learned = usable(recipe, opened, skipped.append)
    for stage in recipe.stages:
        check_stage(learned, stage)
    origin = {digests[sample.key]: sample.key for sample in learned}
    if labelled:
        known, marks = open_pictures(labelled.samples, skipped.append, report)
        labelled = labelled.only(known)
        origin |= {digest: key for key, digest in marks.items()}
    sets = []
    for name, part in valid.items():
        reasons: list[str] = []
        shown, hashes = open_pictures(part, reasons.append, report)
        skipped += [f"{name}: {reason}" for reason in reasons]
        _refuse_leaks(name, hashes, origin)
        sets.append(ValidSet.of(name, shown, validated_language(recipe)))
    return Intake(learned, sets, skipped, labelled)


def open_pictures(
    samples: Sequence[Sample], on_skip: Callable[[str], None], report: Report
) -> tuple[list[Sample], dict[str, bytes]]:
    """Return the samples whose pictures decode, in order, and a hash of each one's file by key.

    The reason why another one does not goes to `on_skip`.
    """
    good: list[Sample] = []
    digests: dict[str, bytes] = {}
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(samples), CHUNK):  # in pieces, so that ^C does not wait for all of them
            chunk = samples[start : start + CHUNK]
            for sample, (digest, problem) in zip(chunk, pool.map(_open, chunk), strict=True):
                if digest is None:
                    on_skip(problem)
                else:
                    good.append(sample)
                    digests[sample.key] = digest
            report("checking pictures", start + len(chunk), len(samples))
    return good, digests


def usable(recipe: Recipe, samples: Sequence[Sample], on_skip: Callable[[str], None]) -> list[Sample]:
    """Return the samples with a caption that the recipe may draw. Raises BadRecord when there is none."""
    wanted = {language for language, weight in recipe.texts.languages.items() if weight > 0}
    good, reasons = [], []
    for sample in samples:
        if wanted & {caption.language for caption in sample.captions}:
            good.append(sample)
        else:
            reasons.append(f"{sample.key}: has no caption in {', '.join(sorted(wanted))}")
            on_skip(reasons[-1])
    if not good:
        raise BadRecord("no training picture is left that can be used: " + ("; ".join(reasons[:3]) or "none opens"))
    return good


def learned_from(samples: Sequence[Sample], stage: Stage) -> np.ndarray:
    """Return the numbers of the samples that a stage learns from, in order."""
    if stage.longest is None:
        return np.arange(len(samples))
    words = [max(len(caption.text.split()) for caption in sample.captions) for sample in samples]
    return np.flatnonzero(np.array(words) <= stage.longest)


def check_stage(samples: Sequence[Sample], stage: Stage) -> None:
    """Raise BadRecipe when the samples that a stage learns from do not fill a batch."""
    if (count := len(learned_from(samples, stage))) < stage.batch:
        short = f" with captions of at most {stage.longest} words" if stage.longest is not None else ""
        raise BadRecipe(
            f"stage {stage.name!r}: a batch of {stage.batch}, but only {count} pictures{short} to learn from "
            "(those kept aside for validation left out); make its batch smaller, such as --set stages.0.batch=8"
        )


def validated_language(recipe: Recipe) -> str:
    """Return the language that is validated: the one drawn most often."""
    return max(recipe.texts.languages, key=lambda language: recipe.texts.languages[language])


def _open(sample: Sample) -> tuple[bytes | None, str]:
    try:
        data = sample.image.read()
        open_image(data, min_side=64)
    except (CorruptImage, BadRecord) as error:
        return None, f"{sample.key}: {error}"
    return hashlib.blake2b(data, digest_size=16).digest(), ""


def _refuse_leaks(name: str, shown: Mapping[str, bytes], origin: Mapping[bytes, str]) -> None:
    leaks = [(key, origin[digest]) for key, digest in shown.items() if digest in origin]
    if leaks:
        mine, learned = leaks[0]
        raise BadRecord(
            f"{name}: {len(leaks)} of its {len(shown)} pictures are also learned from, such as {mine} (in training: "
            f"{learned}); measured on those, a model looks better than it is: take them out of one of the two"
        )
