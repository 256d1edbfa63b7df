"""Train the tagger: python -m clip_italian.corpus.filters.train_tagger TREEBANK.conllu.gz… [--dev FILE] --out FILE.

The weights of the package were made from UD Italian PUD (it_pud-ud-test, CC BY-SA 3.0) and MarkIT (it_markit-ud-train,
CC BY 4.0), in this order, with the defaults; the same files and seed give the same weights. --dev prints the accuracy
after each round and chooses nothing.

Public names: train, accuracy.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...files import atomic_write
from .examples import examples
from .features import Sentence, features, fixed_tag, sentence
from .lexicon import lexicon
from .tagger import TAGS, Tagger, save_weights
from .treebank import TaggedSentence, read_treebank

ROUNDS = 6
LEAST = 2  # a feature seen more rarely is left out
HIDDEN = 0.25  # share of words whose list marks are hidden in a round, so that words no list has are learned, too


@dataclass
class _Perceptron:
    """Weights and their running sums: the average over all steps is what is kept (Freund and Schapire 1999)."""

    rows: dict[str, int]
    weights: np.ndarray = field(init=False)
    totals: np.ndarray = field(init=False)
    step: int = 0

    def __post_init__(self) -> None:
        self.weights = np.zeros((len(self.rows), len(TAGS)), np.float32)
        self.totals = np.zeros_like(self.weights, dtype=np.float64)

    def learn(self, names: list[str], right: int) -> int:
        """Guess, and where the guess is wrong move the weights; returns the guess."""
        self.step += 1
        found = [self.rows[name] for name in names if name in self.rows]
        guess = int(self.weights[found].sum(axis=0).argmax())
        if guess != right:
            self.weights[found, right] += 1
            self.weights[found, guess] -= 1
            self.totals[found, right] += self.step
            self.totals[found, guess] -= self.step
        return guess

    def averaged(self) -> np.ndarray:
        """Return the mean of the weights over all steps."""
        return (self.weights - self.totals / max(self.step, 1)).astype(np.float32)


def train(
    treebanks: Sequence[TaggedSentence], *, seed: int = 0, rounds: int = ROUNDS, dev: Sequence[TaggedSentence] = ()
) -> Tagger:
    """Train on sentences, and on what `examples` makes of them."""
    rng = np.random.default_rng(seed)
    lists = lexicon()
    made = examples(list(treebanks), rng)
    model = _Perceptron(_rows([sentence([word for word, _ in one], lists.marks) for one in made], made))
    for turn in range(rounds):
        for place in rng.permutation(len(made)):
            _learn_sentence(model, made[place], rng)
        if dev:
            right = accuracy(Tagger(model.rows, model.averaged(), lists), dev)
            sys.stderr.write(f"round {turn + 1} of {rounds}: accuracy {right:.4f} on {len(dev)} sentences\n")
    return Tagger(model.rows, model.averaged(), lists)


def accuracy(tagger: Tagger, sentences: Sequence[TaggedSentence]) -> float:
    """Return the share of words and signs that get the treebank's tag."""
    right = total = 0
    for one in sentences:
        tags = tagger.tag_tokens([word for word, _ in one])
        right += sum(tag == wanted for tag, (_, wanted) in zip(tags, one, strict=True))
        total += len(one)
    return right / total


def _learn_sentence(model: _Perceptron, one: TaggedSentence, rng: np.random.Generator) -> None:
    tokens = [word for word, _ in one]
    text = sentence(tokens, lexicon().marks)
    hidden = rng.random(len(tokens)) < HIDDEN
    marks = ["" if hide else mark for hide, mark in zip(hidden, text.marks, strict=True)]
    text = Sentence(text.words, text.shapes, marks, text.mode)
    before = earlier = ""
    for i, (token, right) in enumerate(one):
        tag = fixed_tag(token) or TAGS[model.learn(features(text, i, before, earlier), TAGS.index(right))]
        before, earlier = tag, before


def _rows(texts: list[Sentence], made: list[TaggedSentence]) -> dict[str, int]:
    """Number the features that stand with the treebank's own tags often enough."""
    counts: Counter[str] = Counter()
    for text, one in zip(texts, made, strict=True):
        tags = ["", "", *(tag for _, tag in one)]
        for i, (token, _) in enumerate(one):
            if not fixed_tag(token):
                counts.update(features(text, i, tags[i + 1], tags[i]))
    kept = sorted(name for name, count in counts.items() if count >= LEAST)
    return {name: row for row, name in enumerate(kept)}


def main() -> None:
    """Read the treebanks, train, and write the weights."""
    parser = argparse.ArgumentParser(description="Train the tagger of parts of speech.")
    parser.add_argument("treebanks", nargs="+", type=Path, help="CoNLL-U files to train on, gzipped or not")
    parser.add_argument("--dev", type=Path, help="a CoNLL-U file to watch the accuracy on")
    parser.add_argument("--out", required=True, type=Path, help="where the weights go, such as tagger.npz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    sentences = [one for path in given.treebanks for one in read_treebank(path)]
    dev = read_treebank(given.dev) if given.dev else ()
    tagger = train(sentences, seed=given.seed, rounds=given.rounds, dev=dev)
    with atomic_write(given.out) as stream:
        save_weights(stream, tagger.rows, tagger.weights)


if __name__ == "__main__":
    main()
