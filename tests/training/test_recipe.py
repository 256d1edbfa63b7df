"""Recipes: what is read, what is refused and with which words, what a stored run belongs to."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import HEADS, STAGE, recipe

from clip_italian.errors import BadRecipe
from clip_italian.training.distil_recipe import read_distil_recipe
from clip_italian.training.recipe import Recipe, read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
MINIMAL = """
name = "prova"
[image_tower]
type = "scratch-image"
[text_tower]
type = "scratch-text"
[[stages]]
name = "all"
learn = { heads = 1e-3 }
epochs = 3
"""


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "prova.toml"
    path.write_text(MINIMAL)
    return path


TRAINED = sorted(path for path in RECIPES.glob("*.toml") if "[[stages]]" in path.read_text())  # others: distilled


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_the_recipes_we_ship_can_be_read_and_read_back(path):
    settings = read_recipe(path)
    assert Recipe.model_validate(settings.stored()) == settings


def test_settings_are_changed_one_by_one(written):
    changes = ["stages.0.epochs=7", "name=altra prova", "stages.0.learn.scale=1e-4", "texts.languages={en=1.0}",
               "image_tower.width=32", "stages.0.learn={heads=0.5}"]  # fmt: skip
    settings = read_recipe(written, changes)
    assert settings.stages[0].epochs == 7 and settings.name == "altra prova"
    assert settings.stages[0].learn == {"heads": 0.5} and settings.texts.languages == {"en": 1.0}
    assert settings.image_tower.model_dump() == {"type": "scratch-image", "width": 32}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("stages.0.epoch=3", "stages.0.epoch is not a setting; did you mean epochs?"),
        ("stage.0.epochs=3", "stage is not a setting; did you mean stages?"),
        ("sede=3", "sede is not a setting; did you mean seed?"),
        ("texts.max_lenght=3", "texts.max_lenght is not a setting; did you mean max_length?"),
        ("loss.zzzz=1", "loss.zzzz is not a setting; the keys there are type, smoothing, margin, bias"),
        ("stages.0.batch=1", "stages.0.batch: Input should be greater than or equal to 2, not 1"),
        ("stages.0.epochs=molte", "stages.0.epochs: Input should be a valid integer"),
        ("stages.0.learn={}", "stages.0.learn: "),
        ("stages.0.learn={headz=1e-3}", "stages.0.learn.headz is not a setting; did you mean heads?"),
        (
            "stages.0.learn={zzzz=1e-3}",
            "stages.0.learn.zzzz is not a setting; the keys there are image_tower, text_tower, heads, scale",
        ),
        ("image_tower.widht=3", "image_tower.widht is not a setting; did you mean width?"),
        ("text_tower.poling='mean'", "text_tower.poling is not a setting; did you mean pooling?"),
        ("text_tower.vocabulary=9", "the keys there are max_length, width, depth, heads, dropout, pooling"),
        ("image_tower.width=x", "image_tower.width: Input should be a valid integer, not 'x'"),
        ("image_tower.width='3'", "image_tower.width: Input should be a valid integer, not '3'"),
        ("text_tower.pooling=cls", "text_tower.pooling: Input should be 'mean' or 'attention', not 'cls'"),
        ("image_tower.type=scratch-imag", "there is no image tower 'scratch-imag'; did you mean scratch-image?"),
        ("text_tower.type=zzz", "the types there are multilingual-e5-small, huggingface, scratch-text, gated-text"),
        ("text_tower={type='bag-of-words', dropuot=0.1}", "text_tower.dropuot is not a setting; did you mean dropout?"),
        ("text_tower={type='huggingface', sorce='x'}", "text_tower.sorce is not a setting; did you mean source?"),
        ("image_tower={type='huggingface', tokenizer='x'}", "the keys there are source, config, architecture, pooling"),
        ("image_tower={type='huggingface', config='x'}", "image_tower.config: Input should be a valid dictionary"),
        ("image_tower={type='efficientnet-lite2', cutt=3}", "image_tower.cutt is not a setting; did you mean cut?"),
        ("text_tower={type='multilingual-e5-small', lowrank=3}", "did you mean low_rank?"),
        (
            'stages.0={name="a", learn={heads=1e-3}, epochs=1, augment="crop", window=0.7}',
            "stages.0: window shows parts of maps that are kept: give views, or no augmentation",
        ),
        ("stages.0.views=2", "stages.0: views needs an augmentation: without one, all views are the same"),
        ("stages.1.epochs=3", "--set stages.1.epochs=3: 1 is not one of 0 to 0"),
        ("stages.x.epochs=3", "--set stages.x.epochs=3: x is not one of 0 to 0"),
        ("name.it=3", "--set name.it=3: name is a value, nothing lies under it"),
        ("epochs", "--set epochs: write key=value, such as stages.0.epochs=3"),
        ("=3", "--set =3: write key=value"),
        ("image_tower={width=3}", "image_tower.type: is missing"),
        ("image_head={type='linear', hidden=3}", "image_head: a linear head has no hidden"),
        ("text_head={type='mlp', heads=3}", "text_head: a mlp head has no heads"),
        ("text_head={type='places'}", "text_head.type: places is a head for image towers only; take linear, mlp or"),
        ("text_head={type='places', blocks=2}", "text_head.type: places is a head for image towers only"),
        ("texts.languages={it=0}", "texts: languages needs one with a weight above 0"),
        ("precision=float16", "precision: Input should be 'float32' or 'bfloat16', not 'float16'"),
    ],
)
def test_what_is_wrong_is_said(written, change, message):
    with pytest.raises(BadRecipe, match=re.escape(message)) as caught:
        read_recipe(written, [change])
    assert "pydantic" not in str(caught.value) and "[key]" not in str(caught.value)


def test_places_is_a_head_for_image_towers_in_every_kind_of_recipe(written):
    assert read_recipe(written, ["image_head={type='places', blocks=2}"]).image_head.type == "places"
    with pytest.raises(BadRecipe, match=r"text_head\.type: places is a head for image towers only"):
        read_distil_recipe(RECIPES / "small-it.toml", ["text_head={type='places'}"])


def test_every_setting_of_a_tower_may_be_given(written):
    for change in (
        "text_tower={type='huggingface', source='a', tokenizer='b', pooling='cls'}",
        "text_tower={type='gated-text', width=32, depth=1, kernel=3, dropout=0}",
        "text_tower={type='scratch-text', max_length=9, width=32, depth=1, heads=2, dropout=0.1, pooling='mean'}",
        "text_tower={type='multilingual-e5-small', cut=8, low_rank=4, dropout=0.1}",
        "image_tower={type='efficientnet-lite2', cut=8, end=11, drop=0.1}",
        "image_tower={type='huggingface', config={model_type='vit'}, architecture='ViTModel'}",
    ):
        side, _, _ = change.partition("=")
        tower = getattr(read_recipe(written, [change]), side)
        assert len(tower.model_dump()) == change.count("=") - change.count("model_type=") - 1


def test_a_file_that_is_no_recipe(tmp_path):
    with pytest.raises(BadRecipe, match=r"manca\.toml: cannot be read \(No such file"):
        read_recipe(tmp_path / "manca.toml")
    broken = tmp_path / "rotta.toml"
    broken.write_bytes(b"name = \xff")
    with pytest.raises(BadRecipe, match="is not TOML"):
        read_recipe(broken)
    broken.write_text("name = ")
    with pytest.raises(BadRecipe, match="is not TOML"):
        read_recipe(broken)
    broken.write_text("")
    with pytest.raises(BadRecipe, match=r"name: is missing.*stages: is missing"):
        read_recipe(broken)


@given(st.text(max_size=30))
def test_no_override_ends_in_another_error(text):
    path = RECIPES / "photos-it.toml"
    for change in (text, f"stages.{text}=1", f"name={text}"):
        try:
            read_recipe(path, [change])
        except BadRecipe:
            continue


def test_what_a_stored_run_belongs_to():
    base = recipe(HEADS, STAGE)
    assert base.identity() == recipe(HEADS, STAGE, workers=3).identity(), "workers change no result"
    for other in (
        recipe(HEADS),
        recipe(HEADS, STAGE | {"epochs": 9}),
        recipe(HEADS, STAGE, seed=1),
        recipe(HEADS, STAGE, texts={"max_length": 24, "vocabulary": 300, "hard_negatives": 1}),
    ):
        assert other.identity() != base.identity()
    assert b"hard_negatives" not in base.identity(), "runs from before that setting go on"
