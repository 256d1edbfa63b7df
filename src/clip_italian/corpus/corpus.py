"""A corpus on the disk: its plan, its folder, and what lies there.

Public names: Corpus, Report, open_corpus, corpus_lock.

FOLDER/ledger.db: every sample. pictures/: what was fetched, by hash. translations.db: what was translated.
shards/: what is trained on. card.html: what it is.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..files import lock
from .fetching.store import Store
from .ledger import Ledger
from .plan import CorpusPlan


@dataclass(frozen=True)
class Report:
    """Where progress goes. work: what is done, how many, of how many (None: not known). say: a line."""

    work: Callable[[str, int, int | None], None]
    say: Callable[[str], None]


SILENT = Report(lambda what, done, total: None, lambda line: None)


@dataclass(frozen=True)
class Corpus:
    """A corpus that is open. root: the plan's folder, where the plan's paths begin; folder: where everything goes."""

    plan: CorpusPlan
    root: Path
    folder: Path
    ledger: Ledger
    store: Store

    @property
    def shards(self) -> Path:
        """Where the shards are."""
        return self.folder / "shards"

    @property
    def translations(self) -> Path:
        """Where the cache of translations is."""
        return self.folder / "translations.db"

    @property
    def card(self) -> Path:
        """Where the data card is."""
        return self.folder / "card.html"


@contextmanager
def open_corpus(plan: CorpusPlan, root: Path, folder: Path) -> Iterator[Corpus]:
    """Open the corpus in a folder, beginning one where there is none, for this process alone.

    Raises Busy while another process works there, BadLedger, CannotWrite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with corpus_lock(folder), Ledger.open(folder / "ledger.db", make=True) as ledger:
        store = Store(folder / "pictures")
        store.tidy()
        yield Corpus(plan, root, folder, ledger, store)


def corpus_lock(folder: Path) -> AbstractContextManager[None]:
    """Hold a corpus's folder for one process. Raises Busy."""
    return lock(folder / ".lock", "working on this corpus")
