"""Scenes: captions are exactly true of the boxes, splits hold what they promise, contrasts differ in one thing."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_reader import COLOURS, OPPOSITE, SHAPES, read_caption, true_of

from clip_italian.data import scenes as drawn

SEEDS = st.integers(0, 2**31)
SPLITS = st.sampled_from(drawn.SPLITS)


def combinations(scene):
    """What a scene combines, counted without the package's own rule."""
    groups, relation = read_caption(scene.captions[0])
    found = {("colour", shape, colour) for _, shape, colour, _ in groups}
    found |= {("count", shape, count) for count, shape, _, _ in groups if count > 1}
    if relation:
        pair = tuple(sorted(shape for _, shape, _, _ in groups))
        found.add(("relation", pair, relation in ("sopra", "sotto")))
    return found


@pytest.fixture(scope="module")
def seen():
    train = list(drawn.scenes(6000, split="train", seed=1)) + list(drawn.scenes(2000, split="valid", seed=1))
    return set().union(*(combinations(scene) for scene in train))


@settings(max_examples=300, deadline=None)
@given(SPLITS, SEEDS, st.integers(0, 10**6), st.integers(32, 512))
def test_every_caption_is_exactly_what_the_boxes_show(split, seed, index, size):
    scene = drawn.make(index, split=split, seed=seed)
    objects = scene.objects(size)
    readings = [read_caption(text) for text in scene.captions]
    assert len(set(scene.captions)) == len(scene.captions) >= 2
    assert all(true_of(reading, objects, size) for reading in readings)
    assert all(0 <= side <= size for thing in objects for side in thing["box"])
    plain, relation = readings[0]
    assert all(reading in ((plain, relation), (plain[::-1], OPPOSITE.get(relation))) for reading in readings)


@settings(max_examples=200, deadline=None)
@given(SPLITS, SEEDS, st.integers(0, 10**6))
def test_contrasts_differ_from_the_truth_in_what_is_asked_and_are_false(split, seed, index):
    scene = drawn.make(index, split=split, seed=seed)
    truth = read_caption(scene.captions[0])
    for kind, n in (("colour", 11), ("count", 6), ("left_right", 2), ("above_below", 2)):
        relations = {"left_right": ("a sinistra di", "a destra di"), "above_below": ("sopra", "sotto")}.get(kind)
        if relations and scene.relation not in relations:
            with pytest.raises(ValueError, match="to ask about"):
                drawn.contrasts(scene, kind)
            continue
        texts, right = drawn.contrasts(scene, kind)
        assert len(set(texts)) == n
        assert texts[right] == scene.captions[0]
        readings = [read_caption(text) for text in texts]
        assert [true_of(reading, scene.objects(224), 224) for reading in readings] == [i == right for i in range(n)]
        for groups, relation in readings:
            flat, true_flat = [*sum(groups, ()), relation], [*sum(truth[0], ()), truth[1]]
            changed = [place for place, (a, b) in enumerate(zip(flat, true_flat, strict=True)) if a != b]
            assert len(changed) <= 1
            assert all({"colour": place % 4 == 2, "count": place % 4 == 0}.get(kind, True) for place in changed)


def test_contrasts_ask_about_the_new_combination():
    for scene in drawn.scenes(300, split="test", seed=3):
        for kind, place in (("colour", 2), ("count", 0)):
            groups = [read_caption(text)[0] for text in drawn.contrasts(scene, kind)[0]]
            asked = next(i for i in range(len(scene.groups)) if len({group[i][place] for group in groups}) > 1)
            new = [kind in drawn.held_out((group,), None) for group in scene.groups]
            assert new[asked] or not any(new)


def test_contrasts_of_an_unknown_kind_are_refused():
    with pytest.raises(ValueError, match="not a contrast"):
        drawn.contrasts(drawn.make(0), "taste")


def test_every_test_scene_combines_known_parts_in_a_way_training_never_does(seen):
    new = Counter()
    shapes, colours = {c[1] for c in seen if c[0] == "colour"}, {c[2] for c in seen if c[0] == "colour"}
    assert shapes == set(SHAPES)
    assert colours == set(COLOURS)
    assert {c[2] for c in seen if c[0] == "count"} == {2, 3, 4, 5, 6}
    n = 900
    for scene in drawn.scenes(n, split="test", seed=5):
        unseen = combinations(scene) - seen
        assert unseen, scene.captions
        new.update({c[0] for c in unseen})
    assert new["colour"] > n / 3
    assert new["count"] > n / 4
    assert new["relation"] > n / 8


def test_held_out_combinations_are_balanced(seen):
    colours = Counter(c[1] for c in seen if c[0] == "colour")
    counts = Counter(c[1] for c in seen if c[0] == "count")
    pairs = Counter(shape for c in seen if c[0] == "relation" for shape in set(c[1]))
    assert set(colours.values()) == {9}
    assert set(counts.values()) == {4}
    assert all(18 <= pairs[shape] <= 20 for shape in SHAPES)
    by_colour = Counter(c[2] for c in seen if c[0] == "colour")
    assert all(9 <= by_colour[colour] <= 10 for colour in COLOURS)


def test_counts_colours_and_relations_are_spread_evenly():
    made = list(drawn.scenes(6000, seed=2))
    kinds = Counter(scene.kind for scene in made)
    assert abs(kinds["relation"] / 6000 - 0.45) < 0.03
    assert min(Counter(scene.relation for scene in made if scene.relation).values()) > 600
    assert min(Counter(scene.groups[0].count for scene in made if scene.kind == "group").values()) > 360
    assert min(Counter(scene.groups[0].colour for scene in made).values()) > 450
    assert min(Counter(scene.groups[0].shape for scene in made).values()) > 400


def test_two_hundred_test_scenes_have_captions_that_fit_no_other():
    made = list(drawn.scenes(200, split="test"))
    texts = [text for scene in made for text in set(scene.captions)]
    assert len(set(texts)) == len(texts)
    readings = {scene.key: read_caption(scene.captions[0]) for scene in made}
    for scene in made:
        fitting = [key for key, reading in readings.items() if true_of(reading, scene.objects(112), 112)]
        assert fitting == [scene.key]


def test_longer_runs_begin_with_shorter_ones_and_splits_and_seeds_differ():
    assert list(drawn.scenes(50, split="test")) == list(drawn.scenes(80, split="test"))[:50]
    runs = [
        [scene.captions for scene in drawn.scenes(20, split=split, seed=seed)]
        for split in ("train", "valid")
        for seed in (0, 1)
    ]
    assert all(a != b for i, a in enumerate(runs) for b in runs[:i])


def test_single_objects_come_class_by_class():
    names = drawn.class_names()
    assert names[:2] == ("un cerchio", "una stella")
    assert names[-1] == "un'onda"
    for split in drawn.SPLITS:
        made = list(drawn.scenes(36, split=split, kind="single"))
        assert [scene.label for scene in made] == [*range(12)] * 3
        for scene in made:
            ((count, shape, _, _),) = read_caption(scene.captions[0])[0]
            assert count == 1
            assert names[scene.label].endswith(shape)


def test_a_wrong_split_or_kind_is_refused():
    for wrong in ({"split": "dev"}, {"kind": "triple"}):
        with pytest.raises(ValueError, match=next(iter(wrong.values()))):
            drawn.make(0, **wrong)


def test_hard_negatives_are_false_by_one_thing_and_never_a_combination_kept_from_training():
    wrong_kinds = set()
    for scene in drawn.scenes(120, seed=11):
        for texts in drawn.hard_negatives(scene):
            for text in texts:
                groups, relation = read_caption(text)
                assert not true_of((groups, relation), scene.objects(112), 112), text
                shown = {(group.count, group.shape, group.colour) for group in scene.groups}
                said = {group[:3] for group in groups}
                wrong_kinds.add("relation" if said == shown else "group")
                again = [drawn.Group(count, shape, colour, size) for count, shape, colour, size in groups]
                assert not drawn.held_out(tuple(again), relation), text
    assert wrong_kinds == {"relation", "group"}
