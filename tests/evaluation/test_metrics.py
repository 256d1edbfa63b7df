import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clip_italian.errors import BadModel
from clip_italian.evaluation import metrics

MATRIX = np.array(
    [
        [0.9, 0.1, 0.2],  # caption of picture 0: first
        [0.5, 0.4, 0.3],  # of picture 1: second
        [0.3, 0.2, 0.1],  # of picture 2: third
        [0.1, 0.8, 0.8],  # of picture 2, tied with picture 1: second
    ]
)
OWNER = np.array([0, 1, 2, 2])


def naive_ranked(scores, right):
    """Sort one query's answers by hand: best first, of equals the wrong first."""
    return [bool(r) for _, r in sorted(zip(scores, right, strict=True), key=lambda pair: (-pair[0], pair[1]))]


@st.composite
def tied_problems(draw):
    """A matrix of few different values, and groups such that every query has an answer."""
    q, g = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    similarity = draw(arrays(np.float32, (q, g), elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0])))
    gallery_groups = draw(arrays(np.int64, g, elements=st.integers(0, 3)))
    query_groups = gallery_groups[draw(arrays(np.int64, q, elements=st.integers(0, g - 1)))]
    return similarity, query_groups, gallery_groups


def test_text_to_image_by_hand():
    ranks = metrics.ranks_from_similarity(MATRIX, OWNER, np.arange(3))
    assert ranks.tolist() == [1, 2, 3, 2]
    assert metrics.mrr_at_k(ranks, 1) == 1 / 4
    assert metrics.mrr_at_k(ranks, 2) == pytest.approx((1 + 1 / 2 + 0 + 1 / 2) / 4)
    assert metrics.mrr_at_k(ranks, 10) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert [metrics.recall_at_k(ranks, k) for k in (1, 2, 3)] == [0.25, 0.75, 1.0]


def test_image_to_text_takes_the_best_caption():
    # Picture 0: its caption .9 is first. Picture 1: its .4 stands behind .8. Picture 2: of its .1 and .8, .8 is first.
    ranks = metrics.ranks_from_similarity(MATRIX.T, np.arange(3), OWNER)
    assert ranks.tolist() == [1, 2, 1]


def test_a_model_that_cannot_tell_is_last_everywhere():
    assert metrics.ranks_from_similarity(np.ones((3, 7)), np.arange(3), np.arange(7)).tolist() == [7, 7, 7]
    # Four of seven answers are right: the three wrong ones stand before them.
    groups = np.array([0, 1, 0, 1, 0, 1, 0])
    assert metrics.ranks_from_similarity(np.ones((1, 7)), np.array([0]), groups).tolist() == [4]


@given(tied_problems())
def test_ranks_agree_with_sorting_by_hand(problem):
    similarity, query_groups, gallery_groups = problem
    expected = [
        naive_ranked(row, gallery_groups == group).index(True) + 1
        for row, group in zip(similarity, query_groups, strict=True)
    ]
    assert metrics.ranks_from_similarity(similarity, query_groups, gallery_groups).tolist() == expected


@given(tied_problems())
def test_relevance_agrees_with_sorting_by_hand(problem):
    similarity, query_groups, gallery_groups = problem
    relevant = query_groups[:, None] == gallery_groups
    expected = [naive_ranked(*pair) for pair in zip(similarity, relevant, strict=True)]
    ranked = metrics.ranked_relevance(similarity, relevant)
    assert ranked.tolist() == expected
    assert (ranked.argmax(1) + 1).tolist() == metrics.ranks_from_similarity(*problem).tolist()


@given(tied_problems(), st.randoms(use_true_random=False))
def test_no_rank_depends_on_the_order_of_the_gallery(problem, random):
    similarity, query_groups, gallery_groups = problem
    order = list(range(len(gallery_groups)))
    random.shuffle(order)
    before = metrics.ranks_from_similarity(similarity, query_groups, gallery_groups)
    after = metrics.ranks_from_similarity(similarity[:, order], query_groups, gallery_groups[order])
    assert before.tolist() == after.tolist()


@pytest.mark.parametrize("block", [1, 37, 250, 1 << 22])
def test_blocks_change_nothing(monkeypatch, block):
    generator = np.random.default_rng(1)
    queries, gallery = _units(generator, 23, 48), _units(generator, 11, 48)
    owner = generator.integers(11, size=23)
    expected = metrics.ranks_from_similarity(queries @ gallery.T, owner, np.arange(11))
    monkeypatch.setattr(metrics, "_BLOCK", block)
    assert metrics.ranks_from_vectors(queries, gallery, owner, np.arange(11)).tolist() == expected.tolist()


@pytest.mark.parametrize(("q", "g"), [(1, 33), (3, 101), (7, 5), (40, 101)])
def test_equal_vectors_tie_wherever_they_stand(q, g):
    """A float32 product gives the same pair different last bits at different places; ranks must not see that."""
    generator = np.random.default_rng(2)
    for _ in range(30):
        queries, distinct = _units(generator, q, 333), _units(generator, g, 333)
        owner = generator.integers(g, size=q)
        alone = metrics.ranks_from_vectors(queries, distinct, owner, np.arange(g))
        gallery = np.concatenate([distinct, distinct, distinct])
        for copy in range(3):
            thrice = metrics.ranks_from_vectors(queries, gallery, owner + copy * g, np.arange(3 * g))
            assert thrice.tolist() == (3 * alone).tolist()


def test_agrees_with_ranx(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # compiling takes a minute, the sums a moment
    from ranx import Qrels, Run, evaluate

    generator = np.random.default_rng(3)
    similarity = generator.permutation(30 * 50).reshape(30, 50) / 1500  # no ties: there ranx takes any order
    relevant = generator.random((30, 50)) < 0.1
    relevant[np.arange(30), generator.integers(50, size=30)] = True
    qrels = Qrels({f"q{i}": {f"d{j}": 1 for j in np.flatnonzero(row)} for i, row in enumerate(relevant)})
    run = Run({f"q{i}": {f"d{j}": float(s) for j, s in enumerate(row)} for i, row in enumerate(similarity)})
    theirs = evaluate(qrels, run, [f"{m}@{k}" for m in ("mrr", "recall", "precision", "hit_rate") for k in (1, 5, 10)])
    right = metrics.ranked_relevance(similarity, relevant)
    ranks = right.argmax(1) + 1
    for k in (1, 5, 10):
        assert metrics.mrr_at_k(ranks, k) == pytest.approx(theirs[f"mrr@{k}"])
        assert metrics.recall_at_k(ranks, k) == pytest.approx(theirs[f"hit_rate@{k}"])
        assert (right[:, :k].sum(1) / right.sum(1)).mean() == pytest.approx(theirs[f"recall@{k}"])
        assert right[:, :k].mean() == pytest.approx(theirs[f"precision@{k}"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_a_number_is_refused_with_its_place(bad):
    broken = MATRIX.copy()
    broken[2, 1] = bad
    with pytest.raises(BadModel, match=r"query 2 and answer 1.*1 such of 12"):
        metrics.ranks_from_similarity(broken, OWNER, np.arange(3))
    with pytest.raises(BadModel, match="query 2 and answer 1"):
        metrics.ranked_relevance(broken, OWNER[:, None] == np.arange(3))


def test_wrong_shapes_and_unanswered_queries_are_refused():
    with pytest.raises(ValueError, match="4 queries, 2 answers"):
        metrics.ranks_from_similarity(MATRIX, OWNER, np.arange(2))
    with pytest.raises(ValueError, match="query 1 has no right answer"):
        metrics.ranks_from_similarity(MATRIX, OWNER, np.array([0, 2, 2]))
    with pytest.raises(ValueError, match="judgements"):
        metrics.ranked_relevance(MATRIX, np.ones((3, 4), bool))


def _units(generator, n, dim):
    rows = generator.normal(size=(n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
