"""What a run leaves to look at: one JSON line a step and epoch, and the same for TensorBoard.

Public name: Log.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from torch.utils.tensorboard import SummaryWriter

from ..files import atomic_write


class Log:
    """Appends to `log.jsonl` and `tensorboard/` in a run's folder."""

    def __init__(self, lines: IO[str], board: SummaryWriter) -> None:
        self.lines, self.board = lines, board

    @classmethod
    @contextlib.contextmanager
    def open(cls, out: Path, steps: int, epochs: int) -> Iterator["Log"]:
        """Go on with a log after `steps` steps and `epochs` validations; what was noted of later ones is dropped."""
        path = out / "log.jsonl"
        kept = _lines_until(path, steps, epochs)
        with atomic_write(path, "w") as stream:
            stream.writelines(kept)
        board = SummaryWriter(str(out / "tensorboard"), purge_step=steps + 1, flush_secs=30)
        with path.open("a", encoding="utf-8") as lines, contextlib.closing(board):
            yield cls(lines, board)

    def step(self, step: int, loss: float, lr: float, rate: float) -> None:
        """Note one training step. rate: pairs a second."""
        self._line({"step": step, "loss": round(loss, 5), "lr": lr, "pairs_per_second": round(rate, 1)})
        self.board.add_scalar("train/loss", loss, step)
        self.board.add_scalar("train/lr", lr, step)

    def epoch(self, entry: dict[str, Any]) -> None:
        """Note one validation."""
        self._line(entry)
        for name, figures in entry["valid"].items():
            for key, value in figures.items():
                self.board.add_scalar(f"valid/{name}/{key}", value, entry["step"])
        self.flush()

    def flush(self) -> None:
        """Bring all that was noted to the disk. Raises OSError when it is full."""
        self.lines.flush()
        os.fsync(self.lines.fileno())
        self.board.flush()

    def _line(self, values: dict[str, Any]) -> None:
        self.lines.write(json.dumps(values, ensure_ascii=False) + "\n")


def _lines_until(path: Path, steps: int, epochs: int) -> list[str]:
    """Return the log's lines up to a place in the run; a last line cut short by an end without warning is dropped."""
    kept: list[str] = []
    if not path.is_file():
        return kept
    for line in path.read_text("utf-8").splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        epochs -= "valid" in entry
        if entry["step"] <= steps and ("valid" not in entry or epochs >= 0):
            kept.append(line)
    return kept
