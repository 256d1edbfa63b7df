"""chrF: how alike two sentences are by their character n-grams.

Public names: chrf.
"""

from collections import Counter

_ORDER, _BETA = 6, 2


def chrf(hypothesis: str, reference: str) -> float:
    """Return chrF2 in [0, 1]: n-grams of 1 to 6 characters without blanks, recall counting twice as much as precision.

    Precision and recall are averaged over the lengths that both sentences have. 0 when they share no length, such as
    when one is empty. Source: Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation"; averages as
    sacrebleu takes them.

    >>> chrf("due cani", "due cani"), round(chrf("due cani", "due gatti"), 3)
    (1.0, 0.185)
    """
    hypothesis, reference = ("".join(text.split()) for text in (hypothesis, reference))
    lengths = range(1, min(_ORDER, len(hypothesis), len(reference)) + 1)
    if not lengths:
        return 0.0
    precision = recall = 0.0
    for n in lengths:
        ours, theirs = _grams(hypothesis, n), _grams(reference, n)
        shared = (ours & theirs).total()
        precision += shared / ours.total()
        recall += shared / theirs.total()
    if not precision or not recall:
        return 0.0
    precision, recall = precision / len(lengths), recall / len(lengths)
    return (1 + _BETA**2) * precision * recall / (_BETA**2 * precision + recall)


def _grams(text: str, n: int) -> Counter[str]:
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))
