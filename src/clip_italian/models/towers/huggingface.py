"""Image and text towers from transformers: any vision or text model, CNNs included.

Public names: HFImageTower, HFTextTower, image_tower, text_tower, visual_projection.
"""

import json
from typing import Any, Literal

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from ...errors import BadModel
from .. import hub
from .base import ImageTower, TextTower, TowerOutput, mean_over

Pooling = Literal["pooler", "cls", "mean"]

# A checkpoint without a trained pooler (a classifier's ViT, a masked language model) is pooled by its mean instead.
_POOLER = ("pooler.", "logit_scale")
# Configuration keys that tell where the model came from, not what it is.
_PROVENANCE = ("_name_or_path", "transformers_version", "architectures", "dtype")
_SETTINGS = {"type", "source", "config", "architecture", "pooling"}
_MOST_PREFIX_TOKENS = 8


class HFImageTower(ImageTower):
    """A transformers vision model: ViT, Swin, CLIP's vision part, or a CNN (ResNet, MobileNetV2, ConvNeXt, …).

    model: taken as it is, not copied. pooling: "pooler" is the model's own pooled output, "mean" the mean over the map,
    "cls" the first token; None takes the model's own where it has one, else the mean. Raises BadModel when the model
    reads no pixels.
    """

    def __init__(self, model: Any, pooling: Pooling | None = None) -> None:
        super().__init__()
        self.model: Any = model
        side = _image_side(model.config)
        self.pooling, self.dim = _probe(model, pooling, pixel_values=torch.zeros(1, 3, side, side))
        self.spec = _spec(model, self.pooling)

    def body(self, hidden: Tensor) -> TowerOutput:
        """Run the model on (n, 3, h, w) pixels; tokens of its class or registers are left out of the map."""
        output = self.model(pixel_values=hidden, return_dict=True)
        states = output.last_hidden_state
        grid, tokens = _places(states, hidden, self.model.config)
        if self.pooling == "pooler":
            pooled = output.pooler_output.flatten(1)
        else:
            pooled = tokens.mean(1) if self.pooling == "mean" else states[:, 0]
        return TowerOutput(tokens, pooled, grid=grid)


class HFTextTower(TextTower):
    """A transformers text model: BERT, RoBERTa, DistilBERT, CLIP's text part.

    model: taken as it is, not copied. pooling: as for HFImageTower; the mean is over the pieces that the mask keeps.
    Raises BadModel when the model reads no text.
    """

    def __init__(self, model: Any, pooling: Pooling | None = None) -> None:
        super().__init__()
        self.model: Any = model
        self.pooling, self.dim = _probe(model, pooling, input_ids=torch.ones(1, 4, dtype=torch.int64))
        self.spec = _spec(model, self.pooling)

    @property
    def vocabulary(self) -> int:
        """How many different piece ids the tower can read."""
        return self.model.get_input_embeddings().num_embeddings

    def body(self, hidden: Tensor, mask: Tensor) -> TowerOutput:
        """Run the model on (n, t) int64 ids and their (n, t) bool mask."""
        output = self.model(input_ids=hidden, attention_mask=mask.long(), return_dict=True)
        tokens = output.last_hidden_state
        if self.pooling == "pooler":
            pooled = output.pooler_output
        else:
            pooled = mean_over(tokens, mask) if self.pooling == "mean" else tokens[:, 0]
        return TowerOutput(tokens, pooled, mask=mask)


def image_tower(spec: dict[str, Any]) -> HFImageTower:
    """Make an image tower from {"source": directory or hub id} with its weights, or {"config": {…}} with random ones.

    Of a whole CLIP the vision part is taken. "pooling" may be given too. `tower.spec` makes the same architecture again
    without any download. Raises BadModel.

    >>> tower = image_tower({"config": {"model_type": "mobilenet_v2", "depth_multiplier": 0.35, "image_size": 96}})
    >>> tower.dim
    1280
    """
    model, pooling = _model(spec, "vision")
    return HFImageTower(model, pooling)


def text_tower(spec: dict[str, Any]) -> HFTextTower:
    """Make a text tower from {"source": directory or hub id} with its weights, or {"config": {…}} with random ones.

    As `image_tower`. Raises BadModel.
    """
    model, pooling = _model(spec, "text")
    return HFTextTower(model, pooling)


def visual_projection(source: str) -> Tensor | None:
    """Return CLIP's own (projection_dim, dim) visual projection from a directory or hub id; None where it has none.

    The paper starts its image head from it [clip-italian, modeling_hybrid_clip.py]. Raises BadModel.
    """
    return hub.module_weights(hub.fetch(source), "visual_projection.weight")


def _model(spec: dict[str, Any], part: Literal["vision", "text"]) -> tuple[Any, Pooling | None]:
    if unknown := sorted(set(spec) - _SETTINGS):
        raise BadModel(f"a {part} tower of transformers has no {unknown[0]!r}; it takes {', '.join(sorted(_SETTINGS))}")
    pooling: Pooling | None = spec.get("pooling")
    if pooling not in (None, "pooler", "cls", "mean"):
        raise BadModel(f'a tower\'s pooling is "pooler", "cls" or "mean", not {pooling!r}')
    if "config" in spec:
        model, invented = _from_config(spec), frozenset[str]()
    elif "source" in spec:
        model, invented = hub.read_model(hub.fetch(spec["source"]), may_miss=_POOLER)
    else:
        raise BadModel(f'a {part} tower of transformers needs "source" (a directory or hub id) or "config"')
    if hasattr(model.config, f"{part}_config"):
        model = getattr(model, f"{part}_model")
    if any(name.startswith("pooler.") for name in invented):
        pooling = pooling or "mean"
    if pooling in ("cls", "mean"):
        _drop_pooler(model)
    return model, pooling


def _from_config(spec: dict[str, Any]) -> Any:
    if not isinstance(spec["config"], dict):
        raise BadModel('a tower\'s "config" is the contents of a config.json: {"model_type": …, …}')
    where = f"tower {spec['config'].get('model_type')!r}"
    config = hub.config_from(spec["config"], where)
    architecture = spec.get("architecture")
    kind = getattr(transformers, str(architecture), None)
    if architecture and not (isinstance(kind, type) and issubclass(kind, PreTrainedModel)):
        raise BadModel(f"transformers {transformers.__version__} has no model class {architecture!r}")
    try:
        return (kind(config) if kind else AutoModel.from_config(config)).eval()
    except hub.UNREADABLE as error:
        raise BadModel(f"{where}: cannot be built from its configuration ({error})") from error


def _spec(model: Any, pooling: Pooling) -> dict[str, Any]:
    config = json.loads(model.config.to_json_string(use_diff=False))
    kept = {key: value for key, value in config.items() if key not in _PROVENANCE}
    return {"type": "huggingface", "architecture": type(model).__name__, "config": kept, "pooling": pooling}


def _drop_pooler(model: Any) -> None:
    # An untrained pooler would only be noise, and dead weight for the optimiser.
    if isinstance(getattr(model, "pooler", None), nn.Module) and list(model.pooler.parameters()):
        model.pooler = None


def _probe(model: Any, pooling: Pooling | None, **inputs: Tensor) -> tuple[Pooling, int]:
    """Run one small input through the model to see what it gives; returns (pooling, width)."""
    training = model.training
    model.eval()
    place = next(model.parameters()).device
    try:
        with torch.no_grad():
            output = model(**{name: value.to(place) for name, value in inputs.items()}, return_dict=True)
        pooled, states = getattr(output, "pooler_output", None), output.last_hidden_state
    except (TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        wanted = "pixels" if "pixel_values" in inputs else "text"
        raise BadModel(f"{type(model).__name__} cannot be a tower that reads {wanted} ({error})") from error
    finally:
        model.train(training)
    pooling = pooling or ("mean" if pooled is None else "pooler")
    if pooling == "cls" and states.ndim == 4:
        raise BadModel(f'{type(model).__name__} gives a map and no class token; use pooling "mean"')
    if pooling == "pooler" and pooled is None:
        raise BadModel(f'{type(model).__name__} gives no pooled output; use pooling "mean" or "cls"')
    if pooling == "pooler" and pooled is not None:
        return pooling, int(pooled.shape[1])
    return pooling, int(states.shape[1 if states.ndim == 4 else 2])


def _image_side(config: PreTrainedConfig) -> int:
    size = getattr(config, "image_size", None) or 64
    return int(size[0] if isinstance(size, (list, tuple)) else size)


def _places(states: Tensor, pixels: Tensor, config: PreTrainedConfig) -> tuple[tuple[int, int] | None, Tensor]:
    """Return the grid of a model's last states and the (n, t, dim) states that lie on it, in row order.

    A CNN gives a map, (n, dim, h, w); a transformer (n, t, dim), class and register tokens first. A Swin's map is its
    patches' halved some times.
    """
    if states.ndim == 4:
        return (states.shape[2], states.shape[3]), states.flatten(2).transpose(1, 2)
    patch = getattr(config, "patch_size", None)
    if not isinstance(patch, int):
        return None, states
    height, width = pixels.shape[-2:]
    for halvings in range(6):
        stride = patch << halvings
        grid = (-(-height // stride), -(-width // stride)) if halvings else (height // stride, width // stride)
        prefix = states.shape[1] - grid[0] * grid[1]
        if 0 <= prefix <= _MOST_PREFIX_TOKENS:
            return grid, states[:, prefix:]
    return None, states
