"""Ranks and what is counted from them: pure numpy, ties always against the model.

Public names: ranks_from_similarity, ranks_from_vectors, ranked_relevance, reciprocal_at_k, found_at_k, mrr_at_k,
recall_at_k, MRR_KS, RECALL_KS.

Every ranking here comes down to groups: a query is answered by the gallery rows of its own group. Text→image: a
caption's group is its picture, a picture's group is itself. Image→text: the same two lists, swapped. Zero-shot: a
picture's group is its class. Of equal scores the wrong ones stand first, so that a model that gives everything the
same vector scores nothing.
"""

import numpy as np

from ..errors import BadModel

MRR_KS = (1, 5, 10)
RECALL_KS = (1, 5, 10, 100)

_BLOCK = 1 << 22  # similarities held at once: 32 MB of float64


def ranks_from_similarity(similarity: np.ndarray, query_groups: np.ndarray, gallery_groups: np.ndarray) -> np.ndarray:
    """Rank the best right answer of each query; 1 is first, ties count against it.

    similarity: (q, g). query_groups: (q,), gallery_groups: (g,): row j answers query i when their groups are equal.
    Returns (q,) int64. Raises ValueError on wrong shapes or a query without an answer, BadModel on NaN or infinity.

    >>> ranks_from_similarity(np.array([[0.9, 0.2, 0.9]]), np.array([0]), np.array([0, 1, 2]))
    array([2])
    """
    query_groups, gallery_groups = np.asarray(query_groups), np.asarray(gallery_groups)
    if similarity.shape != (len(query_groups), len(gallery_groups)):
        raise ValueError(
            f"{similarity.shape} similarities for {len(query_groups)} queries, {len(gallery_groups)} answers"
        )
    _refuse_non_finite(similarity)
    relevant = query_groups[:, None] == gallery_groups[None, :]
    _refuse_unanswered(relevant)
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    return 1 + ((similarity >= best) & ~relevant).sum(axis=1, dtype=np.int64)


def ranks_from_vectors(
    queries: np.ndarray, gallery: np.ndarray, query_groups: np.ndarray, gallery_groups: np.ndarray
) -> np.ndarray:
    """Do the same from (q, dim) and (g, dim) unit rows, in blocks: never more than a few tens of MB of similarities.

    Sums run in float64 and are then rounded to float32: equal vectors get equal scores wherever they stand in a block,
    so ties stay ties and no rank depends on the order of the rows.
    """
    query_groups, gallery_groups = np.asarray(query_groups), np.asarray(gallery_groups)
    columns = np.asarray(gallery, np.float64).T
    step = max(1, _BLOCK // max(1, len(gallery_groups)))
    ranks = np.empty(len(query_groups), np.int64)
    for start in range(0, len(ranks), step):
        rows = slice(start, start + step)
        similarity = (np.asarray(queries[rows], np.float64) @ columns).astype(np.float32)
        ranks[rows] = ranks_from_similarity(similarity, query_groups[rows], gallery_groups)
    return ranks


def ranked_relevance(similarity: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Sort each query's answers by falling similarity, of equal ones the wrong first; returns (q, g) bool: right?

    For queries with several right answers. relevant: (q, g) bool. Raises as `ranks_from_similarity` does.
    """
    if similarity.shape != relevant.shape:
        raise ValueError(f"{similarity.shape} similarities, {relevant.shape} judgements")
    _refuse_non_finite(similarity)
    _refuse_unanswered(relevant)
    order = np.lexsort((relevant, -similarity), axis=1)
    return np.take_along_axis(relevant, order, axis=1)


def reciprocal_at_k(ranks: np.ndarray, k: int) -> np.ndarray:
    """Return each query's share of MRR@k: 1/rank up to rank k, 0 beyond; (q,) float64."""
    return np.where(ranks <= k, 1.0 / ranks, 0.0)


def found_at_k(ranks: np.ndarray, k: int) -> np.ndarray:
    """Return 1.0 where the right answer is among the first k, else 0.0; (q,) float64."""
    return (ranks <= k).astype(np.float64)


def mrr_at_k(ranks: np.ndarray, k: int) -> float:
    """Average `reciprocal_at_k` over the queries."""
    return float(reciprocal_at_k(ranks, k).mean())


def recall_at_k(ranks: np.ndarray, k: int) -> float:
    """Average `found_at_k` over the queries; for classes this is accuracy@k."""
    return float(found_at_k(ranks, k).mean())


def _refuse_non_finite(similarity: np.ndarray) -> None:
    bad = ~np.isfinite(similarity)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise BadModel(
            f"the similarity of query {row} and answer {column} is {similarity[row, column]}, not a number to rank by "
            f"({bad.sum()} such of {bad.size}); the model's weights or its precision are broken"
        )


def _refuse_unanswered(relevant: np.ndarray) -> None:
    unanswered = ~relevant.any(axis=1)
    if unanswered.any():
        raise ValueError(
            f"query {unanswered.argmax()} has no right answer ({unanswered.sum()} such of {len(relevant)})"
        )
