"""The step itself: texts in, translations out in the same order, through the cache.

Public names: open_translator, Translator, Estimate.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ...errors import shortened
from ...files import lock
from .cache import Cache
from .deepl_api import DeepL
from .engine import Engine, EngineStopped, Untranslated
from .local import LocalModel
from .plan import TranslationPlan
from .wording import join, parts

Progress = Callable[[int, int], None]  # texts done, texts in all
_CHUNK = 5000  # texts looked up, translated and put together before the next


@dataclass(frozen=True)
class Estimate:
    """What translating would take; texts that are the same count once.

    texts: different parts of at most 1,000 characters, which for nearly all texts are the texts themselves. cached:
    how many of these are translated already. characters: code points of the others, as DeepL counts them. cost: of
    these characters, in `currency`.
    """

    texts: int
    characters: int
    cached: int
    cost: float
    currency: str


class Translator:
    """An engine behind its cache, a context manager. `engine` names it, the same in every run."""

    def __init__(self, engine: Engine, cache: Cache, *, price_per_million: float = 0.0, currency: str = "EUR"):
        self.engine = engine.name
        self._engine, self._cache = engine, cache
        self._price, self._currency = price_per_million, currency

    def close(self) -> None:
        """Close the cache; the translator cannot be used afterwards."""
        self._cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def translate(self, texts: Sequence[str], progress: Progress | None = None) -> list[str]:
        """Translate texts, order kept; blank ones give "".

        What was paid for is on the disk before this returns or raises. A text is sent once, however often it stands
        here, and never again once it is in the cache. progress: is told how many of the texts are done, and of how
        many. Raises EngineStopped, of which QuotaExceeded is a kind: run again to go on from there; Untranslated, after
        all others are done, when some texts cannot be translated; MissingExtra, BadModel, CannotWrite, Busy.
        """
        tell = progress or (lambda done, total: None)
        done: list[str] = []
        refused: dict[str, str] = {}
        try:
            for start in range(0, len(texts), _CHUNK):
                some = texts[start : start + _CHUNK]
                done += self._chunk(some, refused, lambda n, start=start: tell(start + n, len(texts)))  # type: ignore[misc]
        except EngineStopped as error:
            raise type(error)(f"{error} (what was translated is kept in {self._cache.path})") from error
        if refused:
            raise self._untranslated(texts, done, refused)
        return done

    def estimate(self, texts: Iterable[str]) -> Estimate:
        """Count what `translate` would send and cost, without sending anything; needs no key."""
        wanted = list(dict.fromkeys(part for text in texts for part in parts(text)))
        cached, characters = 0, 0
        for start in range(0, len(wanted), _CHUNK):
            some = wanted[start : start + _CHUNK]
            found = self._cache.get(self.engine, some)
            cached += len(found)
            characters += sum(len(part) for part in some if part not in found)
        return Estimate(len(wanted), characters, cached, characters * self._price / 1e6, self._currency)

    def forget(self, texts: Iterable[str]) -> int:
        """Remove texts and their translations, by whichever engine, from the cache; returns how many translations."""
        return self._cache.forget(list(dict.fromkeys(part for text in texts for part in parts(text))))

    def _chunk(self, texts: Sequence[str], refused: dict[str, str], tell: Callable[[int], None]) -> list[str]:
        """Translate some texts; parts that cannot be are added to `refused`, and their texts give ""."""
        cut = [parts(text) for text in texts]
        wanted = list(dict.fromkeys(part for some in cut for part in some))
        found = self._cache.get(self.engine, wanted)
        missing = [part for part in wanted if part not in found and part not in refused]

        def settled() -> int:
            return sum(all(part in found or part in refused for part in some) for some in cut)

        tell(settled())
        for batch in self._engine.batches(missing):
            with self._turn(batch) as left:
                for answer in self._engine.translate(left) if left else ():
                    self._cache.put(self.engine, answer.translations)
                    refused |= answer.refused
            found |= self._cache.get(self.engine, batch)
            tell(settled())
        return [join([found[part] for part in some]) if all(part in found for part in some) else "" for some in cut]

    @contextlib.contextmanager
    def _turn(self, batch: list[str]) -> Iterator[list[str]]:
        """Yield what of a batch is still to be translated; while an engine is paid, other processes wait.

        Two processes with the same texts thus never pay for both: the second finds them in the cache.
        """
        if not self._engine.paid:
            yield batch
            return
        with lock(self._cache.path.with_name(f"{self._cache.path.name}.lock"), "translating", wait=True):
            found = self._cache.get(self.engine, batch)
            self._cache.check_room()
            yield [part for part in batch if part not in found]

    def _untranslated(self, texts: Sequence[str], done: list[str], refused: dict[str, str]) -> Untranslated:
        why = {
            text: next(refused[part] for part in parts(text) if part in refused)
            for text, translation in zip(texts, done, strict=True)
            if not translation and parts(text)
        }
        text, reason = next(iter(why.items()))
        return Untranslated(
            f"{len(why)} of {len(texts)} texts cannot be translated, such as “{shortened(text)}”: {reason}; all others "
            f"are in {self._cache.path}; leave these out and run again",
            done,
            why,
        )


def open_translator(plan: TranslationPlan, cache: Path, root: Path) -> Translator:
    """Open the engine of a plan and its cache, which is made if absent. root: what `plan.model` is relative to.

    Raises BadModel, CannotWrite, Busy, ClipItalianError when the cache is another kind of file.
    """
    if plan.engine == "deepl":
        return Translator(DeepL(plan), Cache(cache), price_per_million=plan.price_per_million, currency=plan.currency)
    return Translator(LocalModel(plan, root / plan.model), Cache(cache), currency=plan.currency)
