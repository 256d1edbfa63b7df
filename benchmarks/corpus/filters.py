"""What the filters of the corpus refuse and keep, and how fast: every table of docs/corpus-filters.md.

Run: OMP_NUM_THREADS=1 python benchmarks/corpus/filters.py [DATA] [--tagger spacy:it_core_news_sm]

DATA: the folder with italian/ud, flickr8k-it, coco-photos and mscoco-it; without it, the labelled captions alone
are measured. Needs the extra corpus. Intervals are Wilson's at 95 %; rates are of processor time on one core.
Peers in the same run: a rule that takes every word with a capital for a proper noun, and py3langid alone.
"""

import argparse
import gzip
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from clip_italian.corpus.filters.check import Filters
from clip_italian.corpus.filters.language import LANGUAGES, LanguageRule
from clip_italian.corpus.filters.lexicon import Lexicon, lexicon
from clip_italian.corpus.filters.names import NameRule, proper_share
from clip_italian.corpus.filters.plan import FilterPlan
from clip_italian.corpus.filters.tagger import Tagger, load_tagger
from clip_italian.corpus.filters.tokens import starts_high, tokenize
from clip_italian.corpus.filters.treebank import TaggedSentence, read_treebank

Result = TypeVar("Result")

LABELLED = Path(__file__).parents[2] / "tests" / "corpus" / "filters" / "captions_labelled.tsv"
TREEBANKS = {
    "MarkIT dev": "it_markit-ud-dev",
    "MarkIT test": "it_markit-ud-test",
    "ISDT test": "it_isdt-ud-test",
    "VIT test": "it_vit-ud-test",
    "ParTUT test": "it_partut-ud-test",
}
WAYS: dict[str, Callable[[str], str]] = {"as written": str, "lower": str.lower, "UPPER": str.upper, "Title": str.title}
SHOWN = 3000  # captions of a set that the language rule is asked about


def wilson(hits: int, total: int) -> str:
    """Return a share with its 95 % interval, in per cent."""
    if not total:
        return "–"
    z, share = 1.96, hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return f"{100 * share:.1f} ({100 * max(centre - half, 0):.1f}–{100 * min(centre + half, 1):.1f})"


def timed(run: Callable[[], Result], count: int) -> tuple[Result, float]:
    """Return what `run` gives, and how many of `count` it does in a second of processor time."""
    begun = time.process_time()
    result = run()
    return result, count / (time.process_time() - begun)


def labelled() -> list[tuple[str, bool, str, str]]:
    """Return the labelled captions: part, to be removed, kind, caption."""
    lines = [line for line in LABELLED.read_text("utf-8").splitlines() if not line.startswith("#")][1:]
    return [(part, remove == "1", kind, text) for part, remove, kind, text in (line.split("\t") for line in lines)]


def scores(refuses: Callable[[str], bool], rows: Iterable[tuple[str, bool, str, str]]) -> str:
    """Return precision, recall and false alarms as cells of a table."""
    counts = Counter((refuses(text), remove) for _, remove, _, text in rows)
    right, alarms, missed = counts[True, True], counts[True, False], counts[False, True]
    kept = counts[False, False]
    return f"{wilson(right, right + alarms)} | {wilson(right, right + missed)} | {wilson(alarms, alarms + kept)}"


def names_table(rule: NameRule) -> None:
    """Print how the proper-noun rule does on the labelled captions, beside its peer and without the lists."""
    rows = labelled()
    tagger = load_tagger()
    bare = Lexicon({}, lexicon().kinds, lexicon().closed)
    without = Tagger(tagger.rows, tagger.weights, bare)
    rules: dict[str, Callable[[str], bool]] = {
        "the rule": rule.refuses,
        "own tagger, word lists hidden": lambda text: proper_share(without.tag([text])[0], bare) >= rule.threshold,
        "peer: every capital": lambda text: capital_share(text) >= rule.threshold,
    }
    print("\n| captions labelled by hand | precision | recall | ordinary ones refused |\n|---|---|---|---|")
    for part in ("dev", "test"):
        chosen = [row for row in rows if row[0] == part]
        for name, refuses in rules.items():
            print(f"| {part}, {len(chosen)}: {name} | {scores(refuses, chosen)} |")
    print("\n| kind, test | right |\n|---|---|")
    for kind in dict.fromkeys(row[2] for row in rows):
        chosen = [row for row in rows if row[0] == "test" and row[2] == kind]
        print(f"| {kind} | {wilson(sum(rule.refuses(row[3]) == row[1] for row in chosen), len(chosen))} |")
    wrong = [row for row in rows if row[0] == "test" and rule.refuses(row[3]) != row[1]]
    print("wrong on test:", "; ".join(f"{'not ' if row[1] else ''}refused: {row[3]}" for row in wrong))


def capital_share(text: str) -> float:
    """Return the share of proper nouns if every word with a capital were one."""
    tagged = [(token, "PROPN" if starts_high(token) else "NOUN") for token in tokenize(text)]
    return proper_share(tagged, lexicon())


def treebank_tables(folder: Path, rule: NameRule) -> None:
    """Print the tagger's scores on treebanks, and the rule's on names and phrases cut out of them."""
    tagger = load_tagger()
    print("\n| treebank | sentences | words and signs | accuracy | PROPN precision | PROPN recall |")
    print("|---|---|---|---|---|---|")
    names: set[str] = set()
    phrases: set[str] = set()
    for name, file in TREEBANKS.items():
        sentences = read_treebank(folder / f"{file}.conllu.gz")
        pairs = [
            (tag, right)
            for one in sentences
            for tag, (_, right) in zip(tagger.tag_tokens([word for word, _ in one]), one, strict=True)
        ]
        hits = sum(tag == right for tag, right in pairs)
        both = sum(tag == right == "PROPN" for tag, right in pairs)
        said, true = (sum(pair[side] == "PROPN" for pair in pairs) for side in (0, 1))
        print(
            f"| {name} | {len(sentences)} | {len(pairs)} | {wilson(hits, len(pairs))} | {wilson(both, said)} "
            f"| {wilson(both, true)} |"
        )
        if name.endswith("test"):
            for one in sentences:
                names.update(runs(one))
                phrases.update(noun_phrases(one))
    print("\n| cut out of the test treebanks | " + " | ".join(WAYS) + " |\n|---|" + "---|" * len(WAYS))
    for label, texts in (("names of two words or more: refused", names), ("noun and adjective: refused", phrases)):
        cells = [wilson(sum(rule.refuses(way(text)) for text in texts), len(texts)) for way in WAYS.values()]
        print(f"| {label}, of {len(texts)} | " + " | ".join(cells) + " |")


def runs(one: TaggedSentence) -> list[str]:
    """Return the runs of two or more proper nouns of a sentence, as text."""
    found, run = [], []
    for word, tag in [*one, ("", "")]:
        if tag == "PROPN":
            run.append(word)
            continue
        if len(run) > 1:
            found.append(" ".join(run).replace("' ", "'"))
        run = []
    return found


def noun_phrases(one: TaggedSentence) -> list[str]:
    """Return the pairs of noun and adjective of a sentence, with a capital at the beginning."""
    return [
        f"{a} {b}".capitalize() for (a, noun), (b, adjective) in pairwise(one) if (noun, adjective) == ("NOUN", "ADJ")
    ]


def captions(data: Path) -> dict[str, tuple[str, list[str]]]:
    """Return the real captions: name → (language, texts)."""
    sets: dict[str, tuple[str, list[str]]] = {}
    for folder, files in {"flickr8k-it": ("dev", "train"), "coco-photos": ("train",)}.items():
        lines = [json.loads(line) for file in files for line in (data / folder / f"{file}.jsonl").open("rb")]
        for language in ("it", "en"):
            texts = [one[language] for line in lines for one in line["captions"] if language in one]
            sets[f"{folder}, {language}"] = language, texts
        queries = [query for line in lines for query in line.get("queries", [])]
        if queries:
            sets[f"{folder}, queries of 1–4 words (looked at)"] = "it", queries
    originals = []
    for path in sorted((data / "mscoco-it" / "original").glob("*.json.gz")):
        with gzip.open(path, "rb") as stream:
            originals += [one["caption"] for one in json.load(stream)["annotations"]]
    sets["mscoco-it, machine-translated for the most part"] = "it", originals
    return sets


def caption_tables(data: Path, filters: Filters) -> None:
    """Print what the filters refuse of ordinary captions, the language rule alone, and the rates."""
    sets = captions(data)
    print("\n| ordinary captions | captions | proper nouns | language | other rules | captions/s |")
    print("|---|---|---|---|---|---|")
    for name, (language, texts) in sets.items():
        verdicts, speed = timed(lambda texts=texts, language=language: filters.check(texts, language), len(texts))
        reasons = Counter(verdict.reason for verdict in verdicts)
        others = {rule: count for rule, count in reasons.items() if rule not in ("", "proper nouns", "language")}
        said = ", ".join(f"{rule} {count}" for rule, count in others.items()) or "0"
        print(
            f"| {name} | {len(texts)} | {reasons['proper nouns']} | {reasons['language']} | {said} | {speed:,.0f} |",
            flush=True,
        )
    language_table(sets, filters.plan)


def language_table(sets: dict[str, tuple[str, list[str]]], plan: FilterPlan) -> None:
    """Print the language rule beside py3langid alone: what it loses, what it lets through, how fast it is."""
    rule = LanguageRule(threshold=plan.language_threshold, known_words=plan.language_words)
    print(f"\n| first {SHOWN} captions | wanted | refused by the rule | by py3langid alone | rule/s | to py3langid |")
    print("|---|---|---|---|---|---|")
    for name, (_, texts) in sets.items():
        texts = texts[:SHOWN]
        for wanted in LANGUAGES[:2]:
            refused, ours = timed(
                lambda texts=texts, wanted=wanted: sum(rule.refuses(text, wanted) for text in texts), len(texts)
            )
            other, theirs = timed(
                lambda texts=texts, wanted=wanted: sum(rule.guess(text)[0] != wanted for text in texts), len(texts)
            )
            print(
                f"| {name} | {wanted} | {wilson(refused, len(texts))} | {wilson(other, len(texts))} "
                f"| {ours:,.0f} | ×{ours / theirs:.1f} |",
                flush=True,
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--tagger", default="own")
    given = parser.parse_args(arguments)
    filters = Filters(FilterPlan(tagger=given.tagger))
    rule = NameRule(given.tagger, threshold=filters.plan.proper_nouns)
    names_table(rule)
    if given.data:
        treebank_tables(given.data / "italian" / "ud", rule)
        caption_tables(given.data, filters)


if __name__ == "__main__":
    main()
