"""What lies in a run's folder: which files are the run's own, and that nobody else's are touched.

Public names: STATE, FEATURES, best_of, writing, claim, tidy.
"""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from ..errors import BadRecipe, CannotWrite
from ..models.checkpoint import DESCRIPTION, TOKENIZER, WEIGHTS
from .feeds import remove_kept

STATE, FEATURES = "state.pt", ".features"
_FULL_OR_CLOSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
_WRITTEN = (STATE, "stage-*.pt", "log.jsonl", DESCRIPTION, f"{WEIGHTS}.next", f"{TOKENIZER}.next")


def best_of(number: int) -> str:
    """Return the file of the best weights of stage `number`, counted from 0."""
    return f"stage-{number + 1}.pt"


def claim(out: Path, *, resume: bool) -> None:
    """See that a run may write in `out`, and remove what one that was killed left half-written there.

    Raises BadRecipe when the folder holds a run that is not to be resumed, or a model without a run to go on with,
    which training would overwrite.
    """
    if (out / STATE).exists():
        if not resume:
            raise BadRecipe(f"{out}: holds an unfinished or finished run; add --resume, or choose another --out")
    elif held := [name for name in (DESCRIPTION, WEIGHTS, TOKENIZER) if (out / name).exists()]:
        raise BadRecipe(
            f"{out}: holds a model ({held[0]}) but no {STATE} of a run to go on with; training would overwrite it: "
            "choose another --out"
        )
    for name in _WRITTEN:
        for path in out.glob(f".{name}.????????.part"):
            path.unlink()
    remove_kept(out / FEATURES, only_parts=True)


def tidy(out: Path, stages: int) -> None:
    """Remove what a finished run of so many stages needs no more: kept features and each stage's best weights."""
    for number in range(stages):
        (out / best_of(number)).unlink(missing_ok=True)
    remove_kept(out / FEATURES)


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Make the run's folder, and say what a person can do when something cannot be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno not in _FULL_OR_CLOSED and not isinstance(error, FileExistsError | NotADirectoryError):
            raise
        state = "the last saved state is whole; add --resume" if (out / STATE).exists() else "then start again"
        raise CannotWrite(
            f"{out}: cannot be written ({error.strerror}); make room or choose another place, {state}"
        ) from error
