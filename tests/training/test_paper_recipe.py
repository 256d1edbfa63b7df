"""Three steps of the paper's own recipe, on locally made checkpoints of its two architectures."""

import json
import math
from pathlib import Path

import pytest
import torch
from toys import Listener, squares

transformers = pytest.importorskip("transformers")

import clip_italian  # noqa: E402
from clip_italian.errors import BadModel  # noqa: E402
from clip_italian.models import hub  # noqa: E402
from clip_italian.training.plan import plan  # noqa: E402
from clip_italian.training.recipe import read_recipe  # noqa: E402
from clip_italian.training.setup import build  # noqa: E402
from clip_italian.training.trainer import train  # noqa: E402

PAPER = Path(__file__).parents[2] / "recipes" / "paper.toml"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "quadrato", "rosso", "verde", "blu", "giallo", "in", "alto", "basso",
         "a", "destra", "sinistra", "c", "'", "è"]  # fmt: skip


def make_towers(folder: Path, depth: int, vocabulary: int, width: int) -> list[str]:
    """Write CLIP ViT-B/32 and an uncased BERT with random weights; returns the settings that point there."""
    torch.manual_seed(0)
    layers = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": width // 64,
              "intermediate_size": 4 * width}  # fmt: skip
    small = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 64}
    clip = transformers.CLIPConfig(
        vision_config=layers | {"image_size": 224, "patch_size": 32}, text_config=small | {"vocab_size": 60}
    )
    transformers.CLIPModel(clip).save_pretrained(folder / "clip")
    transformers.CLIPImageProcessor().save_pretrained(folder / "clip")
    # As the published one: the embedding has a thousand rows more than there are pieces.
    transformers.BertModel(transformers.BertConfig(vocab_size=vocabulary, **layers)).save_pretrained(folder / "bert")
    pieces = WORDS + [f"[unused{i}]" for i in range(vocabulary - 1000 - len(WORDS))]
    (folder / "bert" / "vocab.txt").write_text("\n".join(pieces) + "\n")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "bert" / "tokenizer_config.json").write_text(json.dumps(settings))
    return [f"image_tower.source={folder / 'clip'}", f"text_tower.source={folder / 'bert'}"]


def three_steps(folder: Path, towers: list[str], batch: int) -> None:
    changes = [*towers, "stages.0.epochs=1", "stages.1.epochs=3"]
    changes += [f"stages.{stage}.batch={batch}" for stage in (0, 1)]
    settings = read_recipe(PAPER, changes)
    samples, dev = squares(folder / "train", batch), squares(folder / "dev", 3, seed=1)
    before = build(settings, []).model.state_dict()
    first = {}

    def keep(step: int) -> None:
        if step == 2:  # the second stage's first
            first.update(torch.load(folder / "out" / "stage-1.pt", weights_only=True))

    listener = Listener(keep)
    train(settings, samples, {"dev": dev}, folder / "out", reporter=listener)
    assert len(listener.losses) == 4 and all(map(math.isfinite, listener.losses))
    projection = hub.module_weights(folder / "clip", "visual_projection.weight")
    assert torch.equal(before["image_head.projection.weight"], projection), "the image head starts from CLIP's own"
    assert all(torch.equal(first[name], before[name]) for name in first if "tower" in name)
    last = torch.load(folder / "out" / "state.pt", weights_only=True)["model"]
    for part in ("image_tower", "text_tower", "image_head", "text_head"):
        assert any(not torch.equal(last[name], first[name]) for name in last if name.startswith(part)), part
    description = json.loads((folder / "out" / "model.json").read_text())
    assert description["scale"] == pytest.approx(20) and description["max_length"] == 96
    rates = [json.loads(line) for line in (folder / "out" / "log.jsonl").read_text().splitlines()]
    assert [entry["lr"] for entry in rates if "lr" in entry] == pytest.approx([5e-5, 1e-5, 7.5e-6, 2.5e-6])
    encoder = clip_italian.load(folder / "out")
    assert encoder.encode_images([dev[0].image.path]).shape == encoder.encode_texts(["un quadrato"]).shape == (1, 512)


def test_three_steps_of_the_paper_with_one_layer_and_a_third_of_its_width(tmp_path):
    three_steps(tmp_path, make_towers(tmp_path, depth=1, vocabulary=1200, width=256), batch=4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_three_steps_of_the_paper_at_its_own_size(tmp_path):
    towers = make_towers(tmp_path, depth=12, vocabulary=32102, width=768)
    model = build(read_recipe(PAPER, towers), []).model
    assert sum(parameter.numel() for parameter in model.parameters()) == 198_938_112 + 1, "the paper's, and the scale"
    three_steps(tmp_path, towers, batch=128)


def test_the_plan_of_the_paper_says_what_learns(tmp_path):
    towers = make_towers(tmp_path, depth=1, vocabulary=1200, width=256)
    settings = read_recipe(PAPER, [*towers, "stages.0.batch=2", "stages.1.batch=2"])
    heads, everything = plan(settings, squares(tmp_path / "train", 5)).stages
    assert [part.name for part in heads.parts if part.learning] == ["heads"]
    assert [part.rate for part in everything.parts] == [1e-5, 1e-5, 1e-5, None]
    assert heads.parts[2].numbers == 2 * 256 * 512 and heads.steps == 2 * 50 and everything.steps == 2 * 15
    assert heads.features == 0, "augmented anew in every epoch, as in the paper"


def test_a_tower_on_a_hub_that_cannot_be_reached_is_named(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(hub, "snapshot_download", unreachable)
    with pytest.raises(
        BadModel, match=r"openai/clip-vit-base-patch32: no such directory, and the hub could not give it"
    ):
        plan(read_recipe(PAPER, ["stages.0.batch=2", "stages.1.batch=2"]), squares(tmp_path, 2))
