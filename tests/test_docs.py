"""The docs name every setting of a recipe and every option of training, where it belongs."""

import re
from pathlib import Path
from typing import get_args

import pytest
import typer

from clip_italian.cli import distil, train
from clip_italian.corpus import plan
from clip_italian.corpus.duplicates.plan import Likeness
from clip_italian.models.towers import tower_settings, tower_types
from clip_italian.training import distil_recipe
from clip_italian.training import recipe as training_recipe

DOCS = Path(__file__).parents[1] / "docs"
# A class of settings, the document and the heading under which they are told.
PLACES = [
    (training_recipe.Recipe, "training", "A recipe"),
    (training_recipe.Pictures, "training", "A recipe"),
    (training_recipe.Texts, "training", "A recipe"),
    (training_recipe.Loss, "training", "A recipe"),
    (training_recipe.Head, "training", "Heads"),
    (training_recipe.Stage, "training", "Stages"),
    (training_recipe.Classes, "training", "Classes"),
    (distil_recipe.DistilRecipe, "distillation", "A recipe"),
    (distil_recipe.Blockwise, "distillation", "Blockwise"),
    (distil_recipe.Reading, "distillation", "Reading"),
    (distil_recipe.Views, "distillation", "Views"),
    (distil_recipe.StudentTexts, "distillation", "Texts"),
    (distil_recipe.Weights, "distillation", "Loss"),
]
# The same of the tables of a corpus plan.
CORPUS = [
    (plan.CorpusPlan, "corpus", "The corpus"),
    (plan.SimilarityPlan, "corpus", "The corpus"),
    (plan.ShardPlan, "corpus", "The corpus"),
    (plan.RunPlan, "corpus", "The corpus"),
    (plan.FilterPlan, "corpus-filters", "Filters of the corpus"),
    (plan.FetchPlan, "corpus-fetching", "Settings"),
    (plan.DuplicatePlan, "corpus-duplicates", "Settings (`[duplicates]`)"),
    (Likeness, "corpus-duplicates", "Settings (`[duplicates]`)"),
    (plan.TranslationPlan, "corpus-translation", "Translation"),
    (plan.QualityPlan, "corpus-quality", "Settings: table `[quality]`"),
]


def section(document, heading):
    """Return what stands under a heading, up to the next one."""
    text = (DOCS / f"{document}.md").read_text("utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{document}.md has no heading {heading!r}"
    return found[1]


def named(text):
    """Return the words in a text's code spans."""
    return {word for span in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"[\w-]+", span)}


@pytest.mark.parametrize(
    ("settings", "document", "heading"), PLACES + CORPUS, ids=lambda value: getattr(value, "__name__", "")
)
def test_every_setting_is_named(settings, document, heading):
    missing = set(settings.model_fields) - named(section(document, heading))
    assert not missing, f"docs/{document}.md, {heading}: say what {', '.join(sorted(missing))} means"


def test_no_class_of_settings_is_forgotten():
    found = {
        value
        for module in (training_recipe, distil_recipe)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, training_recipe._Settings) and value.model_fields
    }
    # A tower's settings are its own, told below; a text's head takes what any head takes.
    assert found - {training_recipe.Tower, training_recipe.TextHead} == {settings for settings, _, _ in PLACES}


@pytest.mark.parametrize(("side", "kind"), [(side, kind) for side in ("image", "text") for kind in tower_types(side)])
def test_every_setting_of_a_tower_is_named(side, kind):
    tables = section("training", "Towers").split("| `[text_tower]`")
    rows = [line for line in tables[side == "text"].splitlines() if line.startswith(f"| `{kind}` |")]
    assert len(rows) == 1, f"docs/training.md, Towers: the {side} tower {kind} has {len(rows)} rows"
    text = rows[0]
    if "as above" in text and kind == "huggingface":
        text += next(line for line in tables[0].splitlines() if line.startswith(f"| `{kind}` |"))
    missing = set(tower_settings(side, kind)) - named(text)
    assert not missing, f"docs/training.md, Towers, {kind}: say what {', '.join(sorted(missing))} means"


@pytest.mark.parametrize(("command", "document", "heading"), [
    (train, "training", "Options"),
    (distil, "distillation", "Distillation"),
], ids=["train", "distil"])  # fmt: skip
def test_every_option_is_named(command, document, heading):
    app = typer.Typer(add_completion=False)
    command.register(app)
    options = {name for parameter in typer.main.get_command(app).params for name in parameter.opts}
    assert len(options) > 8
    missing = options - set(re.findall(r"--[\w-]+", section(document, heading))) - {"--help"}
    assert not missing, f"docs/{document}.md, {heading}: say what {', '.join(sorted(missing))} means"


def test_every_recipe_we_ship_is_named():
    text = section("training", "Recipes")
    for path in (DOCS.parent / "recipes").glob("*.toml"):
        assert f"`recipes/{path.name}`" in text, f"docs/training.md, Recipes: say what {path.name} is for"


def test_every_plan_we_ship_is_named_and_can_be_read():
    for path in (DOCS.parent / "plans").glob("*.toml"):
        assert plan.read_plan(path).sources
        assert f"plans/{path.name}" in section("corpus", "The corpus")


def test_every_source_of_a_corpus_is_named():
    kinds = {
        kind
        for source in get_args(get_args(plan.SourcePlan)[0])
        for kind in get_args(source.model_fields["kind"].annotation)
    }
    assert len(kinds) > 7 and not kinds - named(section("corpus-sources", "Sources of the corpus"))
