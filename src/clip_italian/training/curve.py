"""A run's training curve as a picture.

Public name: draw_curve.
"""

import json
from pathlib import Path

from ..errors import BadRecord
from ..files import atomic_write

SMOOTHED = 25  # steps that the loss is averaged over


def draw_curve(out: Path) -> Path:
    """Draw loss, validation loss and MRR@10 against steps from a run's `log.jsonl`; returns `out`/curve.png.

    Raises BadRecord when the run has no validated epoch yet.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    steps = {line["step"]: line["loss"] for line in lines if "loss" in line}
    epochs = {line["step"]: line for line in lines if "valid" in line}
    if not epochs:
        raise BadRecord(f"{out / 'log.jsonl'}: no epoch is validated yet; there is no curve to draw")
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    places, losses = zip(*sorted(steps.items()), strict=True)
    smooth = [
        sum(losses[max(0, i - SMOOTHED) : i + 1]) / len(losses[max(0, i - SMOOTHED) : i + 1])
        for i in range(len(losses))
    ]
    left.plot(places, smooth, color="0.6", label="training")
    for name in next(iter(epochs.values()))["valid"]:
        at = sorted(epochs)
        left.plot(at, [epochs[step]["valid"][name]["loss"] for step in at], marker="o", label=name)
        right.plot(at, [epochs[step]["valid"][name]["mrr@10"] for step in at], marker="o", label=name)
    left.set(xlabel="step", ylabel="loss")
    right.set(xlabel="step", ylabel="MRR@10, text to image")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    with atomic_write(out / "curve.png") as stream:
        FigureCanvasAgg(figure).print_png(stream)
    return out / "curve.png"
