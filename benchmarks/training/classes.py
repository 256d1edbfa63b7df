"""What the classifier's knowledge, told in Italian names, adds to captions: heads alone, the towers frozen.

python benchmarks/training/classes.py DATA [--photos 5000] [--epochs 8]

DATA holds flickr8k-it, coco-photos, mscoco-it, album and album-queries.tsv. The first stage of recipes/photos-it.toml
is run twice, on the same photos, with [classes] and without; the rows are measured alike. Takes ten minutes on one
core.
"""

import argparse
import tempfile
from pathlib import Path

from clip_italian import load
from clip_italian.cli.reporting import ConsoleReporter
from clip_italian.data.readers import read, read_all
from clip_italian.evaluation.retrieval import evaluate_queries, evaluate_retrieval
from clip_italian.training.recipe import Recipe, read_recipe
from clip_italian.training.trainer import train

RECIPE = Path(__file__).parents[2] / "recipes" / "photos-it.toml"


def main() -> None:
    """Train twice, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", type=int, default=5000, help="from the 3,001st on, so that both sources are in")
    parser.add_argument("--epochs", type=int, default=8)
    args = parser.parse_args()
    changes = [f"stages.0.epochs={args.epochs}", f"stages.0.validate_every={args.epochs}", "workers=0"]
    whole = read_recipe(RECIPE, [*changes, "pictures.size=224"])
    recipe = whole.model_copy(update={"stages": whole.stages[:1]})
    samples = read_all([args.data / name / "train.jsonl" for name in ("flickr8k-it", "coco-photos")])
    samples = samples[3000 : 3000 + args.photos]
    for name, settings in (("captions alone", recipe.model_copy(update={"classes": None})), ("with [classes]", recipe)):
        print(f"{name}: {'  '.join(_measured(settings, samples, args.data))}", flush=True)


def _measured(recipe: Recipe, samples: list, data: Path) -> list[str]:
    valid = {name: read(data / name / "dev.jsonl") for name in ("flickr8k-it", "mscoco-it")}
    with tempfile.TemporaryDirectory() as folder, ConsoleReporter() as reporter:
        out = Path(folder) / "run"
        train(recipe, samples, valid, out, reporter=reporter)
        encoder = load(str(out))
        results = {f"{name} MRR@10": evaluate_retrieval(encoder, part) for name, part in valid.items()}
        scores = {name: result.parts[0].metrics["mrr@10"] for name, result in results.items()}
        queries = evaluate_queries(encoder, data / "album", data / "album-queries.tsv")
        scores |= {f"album-queries {part.name} MRR@10": part.metrics["mrr@10"] for part in queries.parts}
    return [f"{name} {score.value:.3f} ({score.low:.3f}–{score.high:.3f})" for name, score in scores.items()]


if __name__ == "__main__":
    main()
