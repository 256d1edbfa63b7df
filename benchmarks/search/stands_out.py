"""How often `search` says that no photo stands out: queries with an answer in the album, without one, no words.

For each model: typed queries over the album; the same with their answers taken out of it; strings that are no words,
none of which is among those that the hint compares with. Albums of 1,000, 100 and 36 photos, drawn from the first (seed
0). Prints the share that is flagged, with a 95 % interval by query. The peer is a threshold on the score alone, set on
these very queries so that it flags as many of those with an answer: what a user who looks at the numbers can do at
best.

Run: python benchmarks/search/stands_out.py --album DIR --queries FILE.tsv [MODEL …]     (a line: query, file|file|…)
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import clip_italian
from clip_italian.encoder import Encoder
from clip_italian.evaluation.statistics import bootstrap_means
from clip_italian.images import find_images
from clip_italian.search.query import stands_out

SIZES = {1_000: 1, 100: 10, 36: 20}  # photos → albums drawn
NO_WORDS = (
    "asdfgh qwerty", "zxcvb", "hjkl hjkl", "ploffa", "un brusteno", "stravinco di melupe", "gnorfa", "il tarbecchio",
    "due frunzi", "morvalana", "ciumpo che sbrilla", "la vernucola", "qwop", "trr trr", "ndrumpa", "pistalfo grumo",
    "aaaa bbbb", "una snerpia", "bolfagno", "zirubbe in sdranga",
)  # fmt: skip
KINDS = ("with an answer", "without one", "no words")


class Remembering:
    """An encoder that encodes each text once."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.known: dict[str, np.ndarray] = {}

    def encode_texts(self, texts: Iterable[str]) -> np.ndarray:
        """Return (n, dim) rows."""
        texts = list(texts)
        for text in texts:
            if text not in self.known:
                self.known[text] = self.encoder.encode_texts([text])[0]
        return np.stack([self.known[text] for text in texts])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["clip-italian-base", "clip-italian-small"])
    parser.add_argument("--album", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True)
    given = parser.parse_args()
    photos = list(find_images(given.album))
    with given.queries.open(encoding="utf-8", newline="") as stream:
        asked = {row[0]: set(row[1].split("|")) for row in csv.reader(stream, delimiter="\t")}
    answers = {query: np.array([photo.name in names for photo in photos]) for query, names in asked.items()}
    for model in given.models:
        encoder = Remembering(clip_italian.load(model))
        vectors = encoder.encoder.encode_images(photos)
        table = Table("photos", "queries", "asked", "flagged", "by the score", title=f"{model}: no photo stands out")
        for size, albums in SIZES.items():
            _measure(table, encoder, vectors, answers, size, albums)
        Console().print(table)


def _measure(
    table: Table, encoder: Remembering, vectors: np.ndarray, answers: dict[str, np.ndarray], size: int, albums: int
) -> None:
    rng = np.random.default_rng(0)
    flagged, scores, texts = defaultdict(list), defaultdict(list), defaultdict(list)
    for _ in range(albums):
        drawn = rng.permutation(len(vectors))[:size]
        places = [(query, drawn[right[drawn]], drawn[~right[drawn]]) for query, right in answers.items()]
        tries = [("with an answer", query, drawn) for query, right, _ in places if len(right)]
        tries += [("without one", query, others) for query, _, others in places]
        tries += [("no words", text, drawn) for text in NO_WORDS]
        for kind, text, rows in tries:
            flagged[kind].append(not stands_out(vectors[rows], encoder, text))  # type: ignore[arg-type]
            scores[kind].append(float((vectors[rows] @ encoder.encode_texts([text])[0]).max()))
            texts[kind].append(text)
    threshold = np.quantile(scores[KINDS[0]], np.mean(flagged[KINDS[0]]))
    for kind in KINDS:
        values = {"hint": np.array(flagged[kind], float), "score": (np.array(scores[kind]) < threshold).astype(float)}
        found = bootstrap_means(values, np.array(texts[kind]))
        shown = [f"{one.value:.3f} ({one.low:.3f}-{one.high:.3f})" for one in found.values()]
        table.add_row(str(size), kind, str(len(flagged[kind])), *shown)


if __name__ == "__main__":
    main()
