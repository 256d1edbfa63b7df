"""All evidence together: who is one with whom, why, and who stays."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from clip_italian.corpus.duplicates.combine import Pictures, find_duplicates
from clip_italian.corpus.duplicates.perceptual import mirrored
from clip_italian.corpus.duplicates.plan import DuplicatePlan, Likeness

PLAN = DuplicatePlan()


def pictures(n, **columns):
    """Return n pictures that have nothing in common, but for the columns given."""
    rng = np.random.default_rng(0)
    given = {
        "ids": [f"id{place:03}" for place in range(n)],
        "addresses": [f"https://example.org/{place}.jpg" for place in range(n)],
        "sha256": [f"{place:064x}" for place in range(n)],
        "hashes": rng.integers(0, 2**64, n, dtype=np.uint64),
        "pixels": np.full(n, 1000),
        "captions": np.ones(n, int),
    }
    return Pictures(**{**given, **columns})


def turned(value, *bits):
    return np.uint64(int(value) ^ sum(1 << bit for bit in bits))


def test_every_kind_of_evidence_and_its_reason():
    some = pictures(12)
    addresses, digests, hashes = list(some.addresses), list(some.sha256), some.hashes.copy()
    addresses[1] = "http://www.example.org/0.jpg#x"
    digests[3] = digests[2]
    hashes[5] = turned(hashes[4], 1, 20, 40)
    hashes[7] = mirrored(turned(hashes[6], 3, 63))
    hashes[9] = turned(hashes[8], *range(12))
    hashes[11] = turned(hashes[10], *range(12))
    vectors = np.eye(12, 16, dtype=np.float32)
    vectors[9] = 0.92 * vectors[8] + np.sqrt(1 - 0.92**2) * np.eye(12, 16, 3, dtype=np.float32)[9]
    vectors[11] = 0.85 * vectors[10] + np.sqrt(1 - 0.85**2) * np.eye(12, 16, 3, dtype=np.float32)[11]
    some = pictures(12, addresses=addresses, sha256=digests, hashes=hashes, vectors=vectors)
    seen = []
    found = find_duplicates(some, PLAN, seen.append)
    assert seen == ["same address", "same bytes", "near hash", "near hash and vector"]
    assert found.keeper.tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 11]
    assert [found.reason(place, some.ids) for place in range(12)] == [
        "", "same address as id000", "", "same bytes as id002", "", "near hash as id004", "", "near hash as id006",
        "", "near hash and vector as id008", "", "",
    ]  # fmt: skip
    assert found.kept.tolist() == [True, False] * 5 + [True, True]


def test_what_the_plan_does_not_want_is_no_evidence():
    some = pictures(4, addresses=["http://a/1", "http://a/1", "b", "c"])
    hashes = some.hashes.copy()
    hashes[3] = mirrored(hashes[2])
    some = pictures(4, addresses=some.addresses, hashes=hashes)
    assert find_duplicates(some, PLAN).keeper.tolist() == [0, 0, 2, 2]
    plan = DuplicatePlan(addresses=False, same=Likeness(mirrored=False))
    assert find_duplicates(some, plan).kept.all()


def test_a_cosine_alone_is_no_evidence():
    """Two zebras: the vectors of a model that pairs pictures with words are alike, the pictures are not."""
    some = pictures(2, vectors=np.tile(np.eye(1, 8, dtype=np.float32), (2, 1)))
    assert find_duplicates(some, PLAN).kept.all()


def test_missing_values_are_not_equal():
    some = pictures(3, addresses=["", "", ""], sha256=["", "", ""])
    assert find_duplicates(some, PLAN).kept.all()


def test_who_stays():
    same = np.full(5, 77, np.uint64)
    largest = pictures(5, hashes=same, pixels=np.array([5, 9, 9, 9, 1]), captions=np.array([9, 1, 2, 2, 9]))
    assert set(find_duplicates(largest, PLAN).keeper.tolist()) == {2}
    by_id = pictures(5, hashes=same, ids=["d", "c", "b", "a", "e"], pixels=np.full(5, 4, np.uint32))
    assert set(find_duplicates(by_id, PLAN).keeper.tolist()) == {3}


@given(st.lists(st.integers(0, 7), min_size=1, max_size=14), st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_order_does_not_matter(kinds, random):
    rng = np.random.default_rng(1)
    roots = rng.integers(0, 2**64, 3, dtype=np.uint64)
    hashes = np.array([turned(roots[kind % 3], *range(0, kind * 2, 2)) for kind in kinds], np.uint64)
    digests = [f"{kind:064x}" for kind in kinds]
    some = pictures(len(kinds), hashes=hashes, sha256=digests, pixels=np.array(kinds) % 2, captions=np.array(kinds) % 3)
    order = list(range(len(kinds)))
    random.shuffle(order)
    columns = {name: [column[place] for place in order] for name, column in vars(some).items() if column is not None}
    arrays = {name: np.array(columns[name]) for name in ("hashes", "pixels", "captions")}
    one, other = find_duplicates(some, PLAN), find_duplicates(Pictures(**{**columns, **arrays}), PLAN)
    assert {(some.ids[a], some.ids[b]) for a, b in enumerate(one.keeper)} == {
        (columns["ids"][a], columns["ids"][b]) for a, b in enumerate(other.keeper)
    }


def test_nothing_and_columns_of_different_lengths():
    assert find_duplicates(pictures(0), PLAN).kept.tolist() == []
    with pytest.raises(ValueError, match="lengths"):
        pictures(3, captions=np.ones(2))


def test_the_likeness_is_what_it_says():
    likeness = Likeness()
    bits, cosine = np.array([6, 7, 7, 20, 21]), np.array([-1, 0.80, 0.81, 1.0, 1.0])
    assert likeness.alike(bits, cosine).tolist() == [True, False, True, True, False]
    assert likeness.alike(bits).tolist() == [True, False, False, False, False]
    assert likeness.least_cosine == pytest.approx(0.805)


@pytest.mark.parametrize("values", [{"bits": 13}, {"cosine": 1.2}, {"per_bit": -1}, {"similarity": 0.9}])
def test_senseless_settings_are_refused(values):
    with pytest.raises(ValidationError):
        DuplicatePlan(same=values)
    with pytest.raises(ValidationError):
        DuplicatePlan(sets=("imagenet",))


def test_the_page_names_every_setting():
    page = (Path(__file__).parents[3] / "docs" / "corpus-duplicates.md").read_text("utf-8")
    for name in (*DuplicatePlan.model_fields, *Likeness.model_fields):
        assert f"`{name}`" in page
