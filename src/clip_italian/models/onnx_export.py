"""From a model directory to ONNX files that run without torch (extra `export`).

What trains well is rewritten into what runs well, with the same function: texts dense instead of packed, low-rank
changes added to their weights, pointwise products as 1 × 1 convolutions.

Public names: export_model, Check, LEAST_COSINE.
"""

import contextlib
import copy
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F

from ..encoder import Encoder
from ..errors import BadModel, CannotWrite, MissingExtra
from ..files import atomic_write, sha256_file, write_json
from .checkpoint import Checkpoint, load_checkpoint
from .dual import DualEncoder
from .layers import split_heads
from .lowrank import LowRankLinear
from .onnx_encoder import (
    DESCRIPTION,
    FILES,
    FLOAT,
    FORMAT,
    IMAGE,
    INT8,
    TEXT,
    TOKENIZER,
    OnnxEncoder,
    fingerprint,
    is_exported,
    open_exported,
)  # fmt: skip
from .torch_encoder import TorchEncoder
from .towers.base import TextTower
from .towers.e5 import HEADS, WIDTH, E5Tower, Layer
from .towers.lite import Pointwise

LEAST_COSINE = 0.999
CARD, SOURCE_CARD = "README.md", "source-README.md"
OPSET = 18
QUANTISED = ("MatMul", "Gemm")  # int8 convolutions are three to four times slower than float ones on CPUs

# Given the model before and after, returns what model.json keeps and Markdown for the card, or raises to refuse.
Check = Callable[[Encoder, Encoder], tuple[dict[str, Any], str]]

SENTENCES = (
    "gatto", "un cane corre sulla spiaggia", "a dog runs on the beach", "", "è più bello l'altro",
    "due bambine con il cappello rosso giocano a palla in un prato verde mentre un uomo anziano le guarda da lontano",
    "日本語 и кириллица", "parole " * 200,
)  # fmt: skip


def export_model(directory: Path, out: Path, *, int8: bool = False, check: Check | None = None) -> OnnxEncoder:
    """Write the model of `directory` to `out`, which must not hold anything yet, and return it opened from there.

    int8: weights of matrix products in 8 bits; convolutions stay float. A float export must give built-in pictures and
    sentences vectors of cosine ≥ 0.999 to the model's own. check: a further condition, such as the quantisation gate.
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
    with _draft(out) as draft:
        _write_networks(draft, checkpoint, int8)
        with atomic_write(draft / TOKENIZER) as stream:
            stream.write(checkpoint.tokenizer.backend.to_str().encode("utf-8"))
        description = _describe(draft, checkpoint, before.fingerprint, INT8 if int8 else FLOAT)
        write_json(draft / DESCRIPTION, description)
        after = open_exported(draft)
        description["check"] = cosines = _compare(before, after)
        if not int8 and not min(cosines.values()) >= LEAST_COSINE:
            raise BadModel(
                f"{directory}: its ONNX form gives other vectors (cosines from {min(cosines.values()):.4f}, at least "
                f"{LEAST_COSINE} is asked for); nothing was written"
            )
        report = ""
        if check is not None:
            description["gate"], report = check(before, after)
        write_json(draft / DESCRIPTION, description)
        has_card = (directory / CARD).is_file()
        if has_card:
            shutil.copyfile(directory / CARD, draft / SOURCE_CARD)
        with atomic_write(draft / CARD, "w") as stream:
            stream.write(_card(draft, description, has_card, report))
    return open_exported(out)


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
    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.encode_images(pixels)


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
        for name, child in list(module.named_children()):
            if isinstance(child, LowRankLinear):
                setattr(module, name, _summed(child))
            elif isinstance(child, Pointwise):
                setattr(module, name, _convolution(child))
    return model.requires_grad_(False).eval()


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


def _write_networks(folder: Path, checkpoint: Checkpoint, int8: bool) -> None:
    model, size = exportable(checkpoint.model), checkpoint.preprocess.size
    n = torch.export.Dim("n")
    t = torch.export.Dim("t", max=checkpoint.tokenizer.max_length)
    ids, mask = checkpoint.tokenizer.encode(SENTENCES[:2])
    _write(_ImageSide(model), {"pixels": torch.zeros(2, 3, size, size)}, {"pixels": {0: n}}, folder / IMAGE, int8)
    free = {"ids": {0: n, 1: t}, "mask": {0: n, 1: t}}
    _write(_TextSide(model), {"ids": ids, "mask": mask}, free, folder / TEXT, int8)


def _write(module: nn.Module, inputs: dict[str, Tensor], shapes: dict[str, Any], path: Path, int8: bool) -> None:
    """Export a network whose axes in `shapes` are free, and store its weights in 8 bits where asked."""
    import onnx

    try:
        with _quiet():
            # In two steps: asked for both at once, the exporter fixes an axis it cannot keep free, and says nothing.
            captured = torch.export.export(module.eval(), tuple(inputs.values()), dynamic_shapes=shapes, strict=False)
            program = torch.onnx.export(
                captured, input_names=list(inputs), output_names=["vectors"], opset_version=OPSET, dynamo=True,
                external_data=False, verbose=False,
            )  # fmt: skip
        assert program is not None
        proto = program.model_proto
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise BadModel(f"{path.name}: this model's towers cannot be exported ({first})") from error
    if int8:
        proto = _quantised(proto)
    _strip(proto)
    with atomic_write(path) as stream:
        stream.write(proto.SerializeToString(deterministic=True))
    onnx.checker.check_model(path)


def _quantised(proto: Any) -> Any:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder, "int8.onnx")
        quantize_dynamic(
            proto, path, op_types_to_quantize=list(QUANTISED), nodes_to_exclude=_narrowing(proto), per_channel=True,
            weight_type=QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(path)


def _narrowing(proto: Any) -> list[str]:
    """Name the matrix products with at most half as many outputs as inputs, which stay float.

    They read what an activation function lets through, where a few large values take up the one scale of all: with
    them in 8 bits, E5's texts kept a mean cosine of 0.988, without 0.996.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    found = []
    for node in proto.graph.node:
        weight = shapes.get(node.input[1], ()) if node.op_type in QUANTISED else ()
        if len(weight) != 2:
            continue
        turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        inputs, outputs = weight[::-1] if turned else weight
        if inputs >= 2 * outputs:
            found.append(node.name)
    return found


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


@contextlib.contextmanager
def _draft(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` that becomes `out` when the block succeeds, and is removed when it does not."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise CannotWrite(f"{out}: cannot be written ({error.strerror}); choose another place") from error
    try:
        yield draft
        draft.chmod(0o755)
        draft.rename(out)
    except OSError as error:
        raise CannotWrite(f"{out}: cannot be written ({error.strerror}); nothing is left there") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _describe(folder: Path, checkpoint: Checkpoint, source: str, precision: str) -> dict[str, Any]:
    description: dict[str, Any] = {
        "format": FORMAT,
        "name": checkpoint.name,
        "dim": checkpoint.model.dim,
        "scale": float(checkpoint.model.scale.detach()),
        "preprocess": checkpoint.preprocess.to_json(),
        "max_length": checkpoint.tokenizer.max_length,
        "precision": precision,
        "files": {name: sha256_file(folder / name) for name in FILES},
        "source": {"name": checkpoint.name, "fingerprint": source},
    }
    return description | {"fingerprint": fingerprint(description)}


def _compare(before: Encoder, after: Encoder) -> dict[str, float]:
    """Return the lowest cosine between a row before and after, over the built-in pictures and sentences."""
    pictures = _pictures()
    pairs = {
        "images": (before.encode_images(pictures), after.encode_images(pictures)),
        "texts": (before.encode_texts(SENTENCES), after.encode_texts(SENTENCES)),
    }
    return {f"lowest_cosine_{name}": float((a * b).sum(1).min()) for name, (a, b) in pairs.items()}


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


def _card(folder: Path, description: dict[str, Any], has_card: bool, report: str) -> str:
    source, check = description["source"], description["check"]
    card = f"its card, with data, terms and results, is `{SOURCE_CARD}` here" if has_card else "it came without a card"
    sizes = "\n".join(f"| `{name}` | {(folder / name).stat().st_size / 1e6:.1f} MB |" for name in FILES)
    text = f"""# {description["name"]}, exported ({description["precision"]})

The model {source["name"]} (fingerprint `{source["fingerprint"][:12]}`) as ONNX networks that run without torch; {card}.
Open it with `clip_italian.load(DIRECTORY)` or give it to any command's `--model`.

| file | |
|---|---:|
{sizes}

Lowest cosine to the source's vectors over built-in drawings and sentences: pictures
{check["lowest_cosine_images"]:.5f}, texts {check["lowest_cosine_texts"]:.5f}.
"""
    return f"{text}\n## Quality before and after\n\n{report}" if report else text


def _need_libraries() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"exporting needs {error.name}, which is not installed; run: pip install 'clip-italian[train,export]'"
        ) from error
