"""Our shipped models beside the published model's shape (ViT-B/32 and BERT base), all in onnxruntime, on one core.

Every contender runs in a process of its own with one thread: milliseconds of a picture once decoded (its resizing
included) and of a query as typed, in alternating rounds, and the process's memory. The peer has random weights, which
change no time: CLIP's ViT-B/32 at 224 pixels and a BERT base with 31,102 pieces at a query's own length.

Run: python benchmarks/models/shipped.py [MODEL …]   (a name or an exported directory; default: both shipped models)
Needs Linux, and torch, transformers and onnx for the peer.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ROUNDS, CALLS = 9, 12
PEER = "ViT-B/32 + BERT base"
QUERY = "due bambini giocano a pallone sulla spiaggia"
PIECES = 12  # of the query in BERT's tokenizer, markers included


def write_peer(folder: Path) -> None:
    """Write the peer's two networks as ONNX files."""
    import torch
    from transformers import BertConfig, BertModel, CLIPVisionConfig, CLIPVisionModelWithProjection

    class Text(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = BertModel(BertConfig(vocab_size=31_102), add_pooling_layer=True)
            self.projection = torch.nn.Linear(768, 512, bias=False)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.projection(self.bert(ids).pooler_output)

    class Vision(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.clip = CLIPVisionModelWithProjection(CLIPVisionConfig(patch_size=32, projection_dim=512))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.clip(pixels).image_embeds

    for name, network, example in (
        ("image", Vision(), torch.zeros(1, 3, 224, 224)),
        ("text", Text(), torch.ones(1, PIECES, dtype=torch.int64)),
    ):
        torch.onnx.export(network.eval(), (example,), str(folder / f"{name}.onnx"), dynamo=False, opset_version=18)


def peer(folder: Path) -> tuple[Callable[[Image.Image], object], Callable[[str], object]]:
    """Return the peer's two calls: a decoded picture to a vector, a query to a vector."""
    import onnxruntime

    from clip_italian.preprocess import OPENAI_CLIP

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    image, text = (
        onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
        for name in ("image", "text")
    )
    (pixels,), (ids,) = image.get_inputs(), text.get_inputs()
    # Its tokenizer's time, some hundredths of a millisecond, is given to it.
    pieces = np.arange(5, 5 + PIECES, dtype=np.int64)[None]
    return (
        lambda picture: image.run(None, {pixels.name: OPENAI_CLIP(picture)[None]}),
        lambda query: text.run(None, {ids.name: pieces}),
    )


def ours(name: str) -> tuple[Callable[[Image.Image], object], Callable[[str], object]]:
    """Return a model's two calls."""
    from clip_italian import load

    encoder = load(name)
    return lambda picture: encoder.encode_images([picture]), lambda query: encoder.encode_texts([query])


def peak_memory() -> float:
    """Return the most memory that this process has held, in MB; getrusage's figure would count its parent's, too."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def serve(name: str, folder: Path) -> None:
    """Time a round for every line read: picture and query, milliseconds; then memory in MB."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (375, 500, 3)).astype(np.uint8))
    image, text = peer(folder) if name == PEER else ours(name)
    for _ in range(3):
        image(picture), text(QUERY)
    for _ in sys.stdin:
        figures = {}
        for kind, call in (("image", lambda: image(picture)), ("text", lambda: text(QUERY))):
            times = []
            for _ in range(CALLS):
                begun = time.perf_counter()
                call()
                times.append(time.perf_counter() - begun)
            figures[kind] = 1000 * statistics.median(times)
        figures["memory"] = peak_memory()
        print(json.dumps(figures), flush=True)


def main() -> None:
    """Print each contender's medians over rounds and how many times as fast as the peer it is (median ratio of rounds).

    In brackets the second smallest and second largest ratio.
    """
    names = [PEER, *(sys.argv[1:] or ["clip-italian-base", "clip-italian-small"])]
    with tempfile.TemporaryDirectory() as found:
        folder = Path(found)
        write_peer(folder)
        processes = [
            subprocess.Popen(
                [sys.executable, __file__, "--serve", name, str(folder)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for name in names
        ]  # fmt: skip
        rounds: list[list[dict[str, float]]] = []
        for _ in range(ROUNDS):
            row = []
            for process in processes:  # one after another: never two at once
                assert process.stdin and process.stdout
                process.stdin.write("\n")
                process.stdin.flush()
                row.append(json.loads(process.stdout.readline()))
            rounds.append(row)
        for process in processes:
            assert process.stdin
            process.stdin.close()
            process.wait()
    print("| one core | a picture | pictures/s, ratio | a query | queries/s, ratio | memory |")
    print("|---|---|---|---|---|---|")
    for number, name in enumerate(names):
        cells = []
        for kind in ("image", "text"):
            own = [row[number][kind] for row in rounds]
            ratios = sorted(row[0][kind] / row[number][kind] for row in rounds)
            low, high = ratios[1], ratios[-2]
            middle = statistics.median(own)
            cells += [
                f"{middle:.1f} ms",
                f"{1000 / middle:.0f}/s, ×{statistics.median(ratios):.1f} ({low:.1f}–{high:.1f})",
            ]
        memory = max(row[number]["memory"] for row in rounds)
        print(f"| {name} | {' | '.join(cells)} | {memory:.0f} MB |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
