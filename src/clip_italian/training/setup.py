"""From a recipe and its captions to a model ready to train.

Public names: build, begin_from, check_device, hold, learnable.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from ..errors import BadModel, BadRecipe
from ..models.checkpoint import Checkpoint, learned_tensors, load_checkpoint, load_learned
from ..models.dual import DualEncoder
from ..models.heads import LinearHead
from ..models.tokenizer import Tokenizer
from ..models.towers import build_image_tower, build_text_tower
from ..models.towers.base import ImageTower, TextTower
from ..preprocess import OPENAI_CLIP, Preprocess
from .recipe import Head, Part, Recipe, Stage

SCRATCH = ("scratch-text", "gated-text", "bag-of-words")


def build(
    recipe: Recipe,
    captions: Sequence[str],
    note: Callable[[str], None] = lambda text: None,
    *,
    tokenizer: Tokenizer | None = None,
) -> Checkpoint:
    """Make the recipe's model, seeded; a text tower from scratch gets `tokenizer`, or one trained on `captions`.

    note: hears of steps that take a while. Raises BadRecipe, BadModel, MissingExtra.
    """
    torch.manual_seed(recipe.seed)
    image_tower = build_image_tower(recipe.image_tower.model_dump())
    text_tower, tokenizer = _text_side(recipe, captions, note, tokenizer)
    model = DualEncoder(
        image_tower,
        text_tower,
        dim=recipe.dim,
        image_head=_spec(recipe.image_head),
        text_head=_spec(recipe.text_head),
        scale=recipe.scale,
    )
    _take_visual_projection(recipe, model)
    _try_out(recipe, model)
    return Checkpoint(model, tokenizer, _preprocess(recipe), recipe.name, {"recipe": recipe.stored()})


def begin_from(checkpoint: Checkpoint, directory: Path, blend: float | None = None) -> None:
    """Take up the weights of a finished model of the same architecture and tokenizer.

    blend: how far the image tower goes from the weights that it was built with (0) to the finished ones (1). What lies
    between knows almost as much of either's field as they do. Source: Wortsman 2022, robust fine-tuning. Raises
    BadModel, BadRecipe.
    """
    model, start = checkpoint.model, load_checkpoint(directory)
    for name in ("image_tower", "text_tower"):
        mine, theirs = (_architecture(getattr(which, name).spec) for which in (model, start.model))
        if mine != theirs:
            raise BadRecipe(f"--init {directory}: its {name} is {theirs}, but the recipe's is {mine}")
    if checkpoint.tokenizer.backend.get_vocab() != start.tokenizer.backend.get_vocab():
        raise BadRecipe(
            f"--init {directory}: its tokenizer has other pieces than the one trained on these captions; "
            "begin anew, or train on the captions that it was trained on"
        )
    before = {name: tensor.clone() for name, tensor in model.image_tower.state_dict().items()}
    load_learned(model, learned_tensors(start.model), str(directory))
    if blend is not None:
        for name, tensor in model.image_tower.state_dict().items():
            tensor.lerp_(before[name], 1 - blend)


def _architecture(spec: dict[str, Any]) -> dict[str, Any]:
    """Leave out what only training uses."""
    return {name: value for name, value in spec.items() if name not in ("drop", "dropout")}


def check_device(device: str) -> None:
    """Raise BadRecipe when torch cannot compute on `device`."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise BadRecipe(
            f"--device {device}: cannot be used here ({reason}); leave it out to train on the CPU"
        ) from error


def learnable(model: DualEncoder, stage: Stage) -> dict[Part, list[nn.Parameter]]:
    """Let the stage's parts learn and hold everything else; return each part's parameters. Raises BadRecipe."""
    model.requires_grad_(False)
    parts: dict[Part, list[nn.Parameter]] = {part: model.part(part) for part in get_args(Part) if part in stage.learn}
    if stage.held and "image_tower" in parts:
        held = hold(model, stage.held)
        parts["image_tower"] = [parameter for name, parameter in held.named_parameters() if name not in held.fixed]
    for part, parameters in parts.items():
        if not parameters:
            raise BadRecipe(f"stage {stage.name!r}: {part} has nothing to learn; it is cut off whole")
        for parameter in parameters:
            parameter.requires_grad_(True)
    return parts


def hold(model: DualEncoder, blocks: int) -> ImageTower:
    """Return the image tower with its first `blocks` as a stem that does not learn. Raises BadRecipe."""
    from ..models.towers.lite import HeldBlocks, LiteTower

    if not isinstance(model.image_tower, LiteTower):
        raise BadRecipe("held: only the image tower efficientnet-lite2 has blocks that can be held; leave it out")
    try:
        return HeldBlocks(model.image_tower, blocks)
    except BadModel as error:
        raise BadRecipe(f"held: {error}") from error


def _spec(head: Head) -> dict[str, Any]:
    return head.model_dump(exclude_none=True)


def _preprocess(recipe: Recipe) -> Preprocess:
    pictures, default = recipe.pictures, _tower_preprocess(recipe.image_tower.model_dump())
    mean, std = pictures.mean or default.mean, pictures.std or default.std
    return Preprocess(pictures.size, pictures.resize, mean=mean, std=std)


def _tower_preprocess(spec: dict[str, Any]) -> Preprocess:
    """Return what the tower was trained with, as far as mean and deviation go."""
    if spec["type"] == "efficientnet-lite2":
        from ..models.towers.lite import LITE2_PREPROCESS

        return LITE2_PREPROCESS
    if spec["type"] != "huggingface":
        return Preprocess()
    from ..models import hub

    if "source" not in spec or not (path := hub.fetch(spec["source"]) / "preprocessor_config.json").is_file():
        return OPENAI_CLIP
    own = hub.read_json(path)
    mean, std = own.get("image_mean", OPENAI_CLIP.mean), own.get("image_std", OPENAI_CLIP.std)
    return Preprocess(mean=tuple(mean), std=tuple(std))


@torch.no_grad()
def _try_out(recipe: Recipe, model: DualEncoder) -> None:
    """Read one black picture and one text of full length, so that what does not fit is told before any work is done."""
    sizes, length = {recipe.pictures.size, recipe.pictures.train_size or recipe.pictures.size}, recipe.texts.max_length
    training = [module for module in model.modules() if module.training]
    model.eval()
    for size in sizes:
        try:
            model.encode_images(torch.zeros(1, 3, size, size))
        except (ValueError, RuntimeError) as error:
            raise BadRecipe(f"pictures.size: the image tower cannot read {size} × {size} pixels ({error})") from error
    try:
        model.encode_texts(torch.ones(1, length, dtype=torch.int64), torch.ones(1, length, dtype=torch.bool))
    except (ValueError, RuntimeError, IndexError) as error:
        raise BadRecipe(f"texts.max_length: the text tower cannot read {length} pieces ({error})") from error
    for module in training:
        module.training = True


def _text_side(
    recipe: Recipe, captions: Sequence[str], note: Callable[[str], None], tokenizer: Tokenizer | None
) -> tuple[TextTower, Tokenizer]:
    spec, length = recipe.text_tower.model_dump(), recipe.texts.max_length
    if spec["type"] == "multilingual-e5-small":
        from ..models.towers import e5

        return build_text_tower(spec), Tokenizer(e5.tokenizer(e5.kept_pieces()), length)
    if spec["type"] == "huggingface":
        from ..models import hub

        if "source" not in spec and "tokenizer" not in spec:
            raise BadRecipe('text_tower: a tower made from "config" needs "tokenizer", a directory or hub id')
        directory = hub.fetch(spec.pop("tokenizer", None) or spec["source"])
        pieces, tower = hub.read_tokenizer(directory), build_text_tower(spec)
        hub.check_vocabulary(directory, pieces, int(getattr(tower, "vocabulary", 0)))
        return tower, Tokenizer(pieces.backend_tokenizer, length)
    if spec["type"] not in SCRATCH:
        return build_text_tower(spec), _never()
    tokenizer = Tokenizer(tokenizer.backend, length) if tokenizer else _trained(recipe, captions, note)
    if spec["type"] == "scratch-text":
        spec.setdefault("max_length", length)
    tower = build_text_tower({**spec, "vocabulary": tokenizer.size})
    if recipe.texts.warm_start:
        _warm_start(recipe, tower, tokenizer, captions, note)
    return tower, tokenizer


def _trained(recipe: Recipe, captions: Sequence[str], note: Callable[[str], None]) -> Tokenizer:
    from ..models.tokenizer_training import train_tokenizer

    note(f"training a tokenizer on {len(captions)} captions")
    return Tokenizer(train_tokenizer(captions, recipe.texts.vocabulary), recipe.texts.max_length)


def _warm_start(
    recipe: Recipe, tower: TextTower, tokenizer: Tokenizer, captions: Sequence[str], note: Callable[[str], None]
) -> None:
    from ..models.towers.scratch import ScratchTextTower
    from .masked_language import warm_start

    if not isinstance(tower, ScratchTextTower):
        raise BadRecipe("texts.warm_start: only a scratch-text tower can learn as a masked language model")
    note(f"warm start: {recipe.texts.warm_start} steps of masked-language training")
    warm_start(tower, tokenizer, captions, steps=recipe.texts.warm_start, batch=128, lr=1e-3, seed=recipe.seed)


def _take_visual_projection(recipe: Recipe, model: DualEncoder) -> None:
    """Start the image head from CLIP's own projection where it fits: in the original only the text head was new."""
    source = recipe.image_tower.model_dump().get("source")
    if recipe.image_tower.type != "huggingface" or recipe.image_head.type != "linear" or source is None:
        return
    from ..models.towers.huggingface import visual_projection

    projection = visual_projection(source)
    assert isinstance(model.image_head, LinearHead)
    weight = model.image_head.projection.weight
    if projection is not None and projection.shape == weight.shape:
        with torch.no_grad():
            weight.copy_(projection)


def _never() -> Tokenizer:
    raise AssertionError("build_text_tower refuses unknown types")
