"""From a model directory to ONNX files that run without torch (extra `export`).

What trains well is rewritten into what runs well, with the same function: texts dense instead of packed, low-rank
changes added to their weights, batch norms folded, pointwise products as 1 × 1 convolutions.

Public names: export_model, Check, LEAST_COSINE.
"""

import contextlib
import copy
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F

from ..encoder import Encoder, PatchEncoder
from ..errors import BadModel, CannotWrite, MissingExtra
from ..files import atomic_write, sha256_file, whole_folder, write_json
from ..preprocess import Preprocess
from .checkpoint import Checkpoint, load_checkpoint
from .dual import DualEncoder
from .layers import split_heads
from .lowrank import LowRankLinear
from .onnx_encoder import (
    DESCRIPTION,
    FILES,
    FORMAT,
    IMAGE,
    PATCHES,
    TEXT,
    TOKENIZER,
    VECTORS,
    OnnxEncoder,
    fingerprint,
    is_exported,
    open_exported,
)  # fmt: skip
from .onnx_weights import FLOAT32, Weights, stored_as
from .torch_encoder import TorchEncoder, patch_preprocess
from .towers.base import TextTower
from .towers.e5 import HEADS, WIDTH, E5Tower, Layer
from .towers.lite import Pointwise, SameConv

LEAST_COSINE = 0.999
CARD, SOURCE_CARD = "README.md", "source-README.md"
REPORTED = "## Quality before and after"  # the check's report in a card
OPSET = 18

# Given the model before and after, returns what model.json keeps and Markdown for the card, or raises to refuse.
Check = Callable[[Encoder, Encoder], tuple[dict[str, Any], str]]

SENTENCES = (
    "gatto", "un cane corre sulla spiaggia", "a dog runs on the beach", "", "è più bello l'altro",
    "due bambine con il cappello rosso giocano a palla in un prato verde mentre un uomo anziano le guarda da lontano",
    "日本語 и кириллица", "parole " * 200,
)  # fmt: skip


def export_model(directory: Path, out: Path, *, weights: Weights = FLOAT32, check: Check | None = None) -> OnnxEncoder:
    """Write the model of `directory` to `out`, which must not hold anything yet, and return it opened from there.

    weights: how they are stored; computing is float32 always. With float32 weights, built-in pictures and sentences
    must get vectors of cosine ≥ 0.999 to the model's own. check: a further condition, such as the gate, which
    `clip-italian export` always gives. What training noted of the model goes along, as `notes`.
    `out` comes into being whole and last: when anything is refused or fails, nothing is left there. Raises BadModel,
    MissingExtra, CannotWrite, and what `check` raises.
    """
    _need_libraries()
    directory, out = Path(directory), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CannotWrite(f"{out}: already there; name a new folder, nothing is overwritten")
    if is_exported(directory):
        raise BadModel(f"{directory}: is exported already; give the directory that training wrote")
    checkpoint = load_checkpoint(directory)
    before = TorchEncoder(checkpoint.model, checkpoint.tokenizer, checkpoint.preprocess, name=checkpoint.name)
    try:
        with whole_folder(out) as draft:
            _write_networks(draft, checkpoint, weights)
            with atomic_write(draft / TOKENIZER) as stream:
                stream.write(checkpoint.tokenizer.backend.to_str().encode("utf-8"))
            description = _describe(draft, checkpoint, before.fingerprint, weights)
            write_json(draft / DESCRIPTION, description)
            report = _judged(before, open_exported(draft), description, check)
            write_json(draft / DESCRIPTION, description)
            _write_cards(draft, directory, description, report)
    except OSError as error:
        raise CannotWrite(f"{out}: cannot be written ({error.strerror or error}); nothing is left there") from error
    return open_exported(out)


def _judged(before: Encoder, after: Encoder, description: dict[str, Any], check: Check | None) -> str:
    """Note in the description how the exported model compares; returns the check's report. Raises to refuse it."""
    description["check"] = cosines = _compare(before, after)
    if description["weights"] == FLOAT32 and not min(cosines.values()) >= LEAST_COSINE:
        raise BadModel(
            f"{before.name}: its ONNX form gives other vectors (cosines from {min(cosines.values()):.4f}, at least "
            f"{LEAST_COSINE} is asked for); nothing was written"
        )
    if check is None:
        return ""
    description["gate"], report = check(before, after)
    return report


class DenseE5(E5Tower):
    """The same tower with every layer run over padding too: shapes that do not depend on the values."""

    def _run(self, hidden: Tensor, mask: Tensor, first: int, last: int) -> Tensor:
        # Finite, so that a text without any piece gives zeros, as packed, and not NaN.
        lowest = torch.finfo(torch.float32).min
        bias = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, lowest)[:, None, None]
        for layer in self.layers[first:last]:
            assert isinstance(layer, Layer)
            hidden = _dense(layer, hidden, bias)
        return hidden * mask[..., None]


class _ImageSide(nn.Module):
    """Pictures to vectors and, where they come at no cost, patch vectors."""

    def __init__(self, model: DualEncoder, patches: bool) -> None:
        super().__init__()
        self.model, self.patches = model, patches

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        output = self.model.image_tower(pixels)
        vectors = self.model.project_image(output)
        return (vectors, self.model.project_patches(output)) if self.patches else vectors


class _TextSide(nn.Module):
    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.model.encode_texts(ids, mask)


def exportable(model: DualEncoder) -> DualEncoder:
    """Return a copy in evaluation mode that computes the same with what ONNX and its runtime are good at."""
    model = copy.deepcopy(model).cpu().eval()
    model.text_tower = _dense_tower(model.text_tower)
    for module in list(model.modules()):
        _fold_norm(module)
        for name, child in list(module.named_children()):
            if isinstance(child, LowRankLinear):
                setattr(module, name, _summed(child))
            elif isinstance(child, Pointwise):
                setattr(module, name, _convolution(child))
    return model.requires_grad_(False).eval()


class EvenConv(nn.Module):
    """A SameConv for maps whose sides its stride divides: how it pads does not depend on their size."""

    def __init__(self, same: SameConv) -> None:
        super().__init__()
        self.weight, self.bias, self.stride, self.groups = same.weight, same.bias, same.stride, same.groups
        padding = same.kernel_size[0] - same.stride[0]
        self.before, self.after = padding // 2, padding - padding // 2

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, c, h, w)."""
        padding = self.before
        if self.before != self.after:
            x, padding = F.pad(x, (self.before, self.after) * 2), 0
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)


def _for_any_size(model: DualEncoder) -> None:
    """Let the image tower read pictures of all sides that are multiples of its step."""
    for module in list(model.image_tower.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SameConv):
                setattr(module, name, EvenConv(child))


def _fold_norm(module: nn.Module) -> None:
    """Put the batch norm that follows a sequence's first convolution into its weights."""
    if not isinstance(module, nn.Sequential) or len(module) < 2:
        return
    convolution, norm = module[0], module[1]
    if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
        module[0], module[1] = nn.utils.fuse_conv_bn_eval(convolution, norm), nn.Identity()


def _dense_tower(tower: TextTower) -> TextTower:
    if not isinstance(tower, E5Tower):
        return tower
    spec = {key: value for key, value in tower.spec.items() if key not in ("type", "pieces_sha256")}
    dense = DenseE5(**spec)
    dense.load_state_dict(tower.state_dict())
    return dense


def _dense(layer: Layer, x: Tensor, bias: Tensor) -> Tensor:
    """x: (n, t, width); bias: (n, 1, 1, t)."""
    query, key, value = (split_heads(linear(x), HEADS) for linear in (layer.query, layer.key, layer.value))
    score = query @ key.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5 + bias
    found = (torch.softmax(score, -1) @ value).transpose(1, 2).flatten(2)
    x = layer.attention_norm(x + layer.out(found))
    return layer.output_norm(x + layer.narrow(F.gelu(layer.widen(x))))


def _summed(low: LowRankLinear) -> nn.Linear:
    linear = nn.Linear(low.in_features, low.out_features, low.bias is not None)
    with torch.no_grad():
        linear.weight.copy_(low.weight + low.up @ low.down)
        if low.bias is not None:
            linear.bias.copy_(low.bias)
    return linear


def _convolution(pointwise: Pointwise) -> nn.Conv2d:
    convolution = nn.Conv2d(pointwise.in_features, pointwise.out_features, 1)
    with torch.no_grad():
        convolution.weight.copy_(pointwise.weight[..., None, None])
        assert convolution.bias is not None
        convolution.bias.copy_(pointwise.bias)
    return convolution


def _write_networks(folder: Path, checkpoint: Checkpoint, weights: Weights) -> None:
    model = exportable(checkpoint.model)
    _write_image(model, checkpoint.preprocess, folder / IMAGE, weights)
    t = torch.export.Dim("t", max=checkpoint.tokenizer.max_length)
    ids, mask = checkpoint.tokenizer.encode(SENTENCES[:2])
    n = torch.export.Dim("n")
    free = {"ids": {0: n, 1: t}, "mask": {0: n, 1: t}}
    _write(_TextSide(model), {"ids": ids, "mask": mask}, free, folder / TEXT, weights)


def _write_image(model: DualEncoder, preprocess: Preprocess, path: Path, weights: Weights) -> None:
    """Export the image side; for any multiple of the tower's step where patch vectors are made of a larger picture."""
    size, patch_size = preprocess.size, _patch_size(model, preprocess)
    free: dict[int, Any] = {0: torch.export.Dim("n")}
    height, width = size, size
    if patch_size not in (None, size):
        step = model.image_tower.step
        assert step is not None
        _for_any_size(model)
        free |= {2: step * torch.export.Dim("rows"), 3: step * torch.export.Dim("columns")}
        height = max(size, 2 * step)  # a single row would be taken for the only number there is
        width = height + step  # and equal sides for one
    pixels = {"pixels": torch.zeros(2, 3, height, width)}
    _write(_ImageSide(model, patch_size is not None), pixels, {"pixels": free}, path, weights)


def _patch_size(model: DualEncoder, preprocess: Preprocess) -> int | None:
    """Return the side of pictures for patch vectors; None where they are not exported.

    A network always computes all that it can give: patch vectors that cost something would slow every picture down.
    """
    patches = patch_preprocess(model, preprocess) if model.image_head.local else None
    return None if patches is None else patches.size


def _write(module: nn.Module, inputs: dict[str, Tensor], shapes: dict[str, Any], path: Path, weights: Weights) -> None:
    """Export a network whose axes in `shapes` are free, its weights stored as asked."""
    import onnx

    outputs = [VECTORS, PATCHES] if isinstance(module, _ImageSide) and module.patches else [VECTORS]
    try:
        with _quiet():
            # In two steps: asked for both at once, the exporter fixes an axis it cannot keep free, and says nothing.
            captured = torch.export.export(module.eval(), tuple(inputs.values()), dynamic_shapes=shapes, strict=False)
            program = torch.onnx.export(
                captured, input_names=list(inputs), output_names=outputs, opset_version=OPSET, dynamo=True,
                external_data=False, verbose=False,
            )  # fmt: skip
        assert program is not None
        proto = program.model_proto
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise BadModel(f"{path.name}: this model's towers cannot be exported ({first})") from error
    proto = stored_as(proto, weights)
    _strip(proto)
    with atomic_write(path) as stream:
        stream.write(proto.SerializeToString(deterministic=True))
    onnx.checker.check_model(path)


def _strip(proto: Any) -> None:
    """Take out notes of where in whose files the network was written: same model, same bytes, on every machine."""
    for holder in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.initializer,
                   *proto.graph.input, *proto.graph.output):  # fmt: skip
        holder.ClearField("doc_string")
        holder.ClearField("metadata_props")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on libraries that are not needed off the terminal; errors still come through."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def _describe(folder: Path, checkpoint: Checkpoint, source: str, weights: Weights) -> dict[str, Any]:
    description: dict[str, Any] = {
        "format": FORMAT,
        "name": checkpoint.name,
        "dim": checkpoint.model.dim,
        "scale": float(checkpoint.model.scale.detach()),
        "preprocess": checkpoint.preprocess.to_json(),
        "patch_size": _patch_size(checkpoint.model, checkpoint.preprocess),
        "max_length": checkpoint.tokenizer.max_length,
        "weights": weights,
        "files": {name: sha256_file(folder / name) for name in FILES},
        "source": {"name": checkpoint.name, "fingerprint": source},
    }
    return description | {"fingerprint": fingerprint(description), "notes": checkpoint.notes}


def _compare(before: Encoder, after: Encoder) -> dict[str, float]:
    """Return the lowest cosine between a row before and after, over the built-in pictures and sentences."""
    pictures = _pictures()
    pairs = {
        "images": (before.encode_images(pictures), after.encode_images(pictures)),
        "texts": (before.encode_texts(SENTENCES), after.encode_texts(SENTENCES)),
    }
    if isinstance(before, PatchEncoder) and isinstance(after, PatchEncoder):
        one, other = (
            np.stack([encoder.encode_patches(picture) for picture in pictures]) for encoder in (before, after)
        )
        pairs["patches"] = (one, other)
    return {f"lowest_cosine_{name}": float((a * b).sum(-1).min()) for name, (a, b) in pairs.items()}


def _pictures() -> list[Image.Image]:
    """Draw pictures of several sizes: shapes on colours, a slope of light, noise."""
    drawn = []
    for number, (width, height) in enumerate([(320, 240), (200, 300), (64, 64), (500, 120)]):
        image = Image.new("RGB", (width, height), ((60 * number + 40) % 256, 170, 230 - 50 * number))
        pen = ImageDraw.Draw(image)
        pen.rectangle((0, height * 2 // 3, width, height), fill=(220, 200, 120))
        pen.ellipse((width // 4, height // 5, width // 2, height // 2), fill=(200, 30, 30 + 60 * number))
        drawn.append(image)
    slope = np.linspace(0, 255, 256, dtype=np.uint8)
    drawn.append(Image.fromarray(np.stack([np.broadcast_to(slope, (256, 256))] * 3, -1)))
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    return [*drawn, Image.fromarray(noise)]


def _write_cards(folder: Path, source: Path, description: dict[str, Any], report: str) -> None:
    """Write the exported model's card, and lay the source's beside it where there is one."""
    has_card = (source / CARD).is_file()
    if has_card:
        shutil.copyfile(source / CARD, folder / SOURCE_CARD)
    with atomic_write(folder / CARD, "w") as stream:
        stream.write(_card(folder, description, has_card, report))


def _card(folder: Path, description: dict[str, Any], has_card: bool, report: str) -> str:
    source = description["source"]
    card = f"its card, with data, terms and results, is `{SOURCE_CARD}` here" if has_card else "it came without a card"
    files = "\n".join(
        f"| `{name}` | {(folder / name).stat().st_size / 1e6:.1f} MB | `{digest}` |"
        for name, digest in description["files"].items()
    )
    cosines = ", ".join(f"{name.rpartition('_')[2]} {value:.5f}" for name, value in description["check"].items())
    text = f"""# {description["name"]}, exported, weights in {description["weights"]}

The model {source["name"]} (fingerprint `{source["fingerprint"][:12]}`) as ONNX networks that run without torch; {card}.
Open it with `clip_italian.load(DIRECTORY)` or give it to any command's `--model`.

| file | size | SHA-256 |
|---|---:|---|
{files}

{_settings(description)}

Lowest cosine to the source's vectors over built-in drawings and sentences: {cosines}.
"""
    return f"{text}\n{REPORTED}\n\n{report}" if report else text


def _settings(description: dict[str, Any]) -> str:
    """Say in words how pictures and texts are made ready."""
    preprocess, patch_size = description["preprocess"], description["patch_size"]
    mean, std = (" ".join(f"{value:.4g}" for value in preprocess[key]) for key in ("mean", "std"))
    where = f"patch vectors from {patch_size} × {patch_size} pixels" if patch_size else "no patch vectors"
    how = {"squash": "both sides scaled", "crop": "the shorter side scaled, the middle square cut out"}
    return (
        f"Pictures: RGB, {preprocess['size']} × {preprocess['size']} pixels ({how[preprocess['resize']]}, bicubic), "
        f"from 0 to 1, less {mean}, over {std}; {where}. Texts: up to {description['max_length']} pieces. Vectors: "
        f"{description['dim']} dimensions, cosines times {description['scale']:.4g} for logits. Fingerprint "
        f"`{description['fingerprint']}`."
    )


def _need_libraries() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"exporting needs {error.name}, which is not installed; run: pip install 'clip-italian[train,export]'"
        ) from error
