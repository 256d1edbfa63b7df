"""Which texts a batch is told by: seeded, mirrored with their pictures, never one that was not announced."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from clip_italian.data.captions import swap_left_right
from clip_italian.data.sample import Caption, ImageRef, Sample
from clip_italian.preprocess import Preprocess
from clip_italian.training.feeds import Squares, Views
from clip_italian.training.recipe import Texts
from clip_italian.training.texts import draw_texts, possible_texts

WORDS = st.sampled_from(["un gatto a destra", "un cane a sinistra", "due case", "a cat on the left", "il mare"])
SAMPLES = st.lists(
    st.builds(
        lambda key, captions, english, queries, wrong: Sample(
            str(key),
            ImageRef("x"),
            (*map(Caption, captions), *(Caption(text, "en") for text in english)),
            tuple(queries),
            extra={"hard_negatives": wrong} if wrong else {},
        ),
        st.integers(0, 99),
        st.lists(WORDS, min_size=1, max_size=3),
        st.lists(WORDS, max_size=2),
        st.lists(WORDS, max_size=2),
        st.lists(WORDS, max_size=4),
    ),
    min_size=1,
    max_size=5,
)
SETTINGS = st.builds(
    lambda weight, queries, photo, hard: Texts(
        languages={"it": 0.5, "en": weight}, queries=queries, per_photo=photo, hard_negatives=hard
    ),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([0.0, 0.4]),
    st.integers(1, 3),
    st.integers(0, 3),
)


@given(SAMPLES, SETTINGS, st.integers(0, 3), st.data())
def test_drawn_texts_are_possible_ones_and_the_same_again(samples, settings, epoch, data):
    mirrored = data.draw(st.lists(st.booleans(), min_size=len(samples), max_size=len(samples)))
    texts, owners = draw_texts(settings, samples, mirrored, seed=1, epoch=epoch)
    assert (texts, owners) == draw_texts(settings, samples, mirrored, seed=1, epoch=epoch)
    assert set(texts) <= possible_texts(settings, samples, mirrored=any(mirrored))
    told = len(samples) * settings.per_photo
    assert owners[:told] == [sample.key for sample in samples] * settings.per_photo
    assert owners[told:] == [None] * (len(texts) - told)
    wrong = sum(min(settings.hard_negatives, len(s.extra.get("hard_negatives", ()))) for s in samples)
    assert len(texts) - told == wrong


@given(SAMPLES, SETTINGS, st.integers(0, 3))
def test_a_mirrored_picture_gets_every_text_mirrored(samples, settings, epoch):
    straight, _ = draw_texts(settings, samples, [False] * len(samples), seed=1, epoch=epoch)
    mirrored, _ = draw_texts(settings, samples, [True] * len(samples), seed=1, epoch=epoch)
    assert mirrored == [swap_left_right(text) for text in straight]


def test_a_picture_told_of_in_a_language_without_known_sides_is_never_mirrored():
    told = [(Caption("a destra"),), (Caption("a destra"), Caption("on the left", "en")), (Caption("à droite", "fr"),),
            (Caption("a destra"), Caption("a la derecha", "es"))]  # fmt: skip
    samples = [Sample(str(number), ImageRef("x"), captions) for number, captions in enumerate(told)]
    assert Squares(samples, Preprocess(), Views("crop")).mirrorable.tolist() == [True, True, False, False]


def test_every_caption_of_a_picture_has_its_turn():
    sample = Sample("a", ImageRef("x"), (Caption("uno"), Caption("due"), Caption("a", "en")), ("tre",))
    settings = Texts(languages={"it": 0.6, "en": 0.4}, queries=0.25)
    seen = Counter(draw_texts(settings, [sample], [False], seed=3, epoch=epoch)[0][0] for epoch in range(2000))
    expected = {"tre": 0.25, "a": 0.75 * 0.4, "uno": 0.75 * 0.3, "due": 0.75 * 0.3}
    assert set(seen) == set(expected)
    for text, share in expected.items():
        assert abs(seen[text] / 2000 - share) < 0.05
