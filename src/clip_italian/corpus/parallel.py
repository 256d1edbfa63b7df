"""The same work over processes of this machine or over many machines with Ray, in order and in bounded memory.

Public names: map_batches, Where.
"""

import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Literal, TypeVar

from ..errors import ClipItalianError, MissingExtra

Where = Literal["processes", "ray"]
Batch = TypeVar("Batch")
Result = TypeVar("Result")
_AHEAD = 2  # batches a worker that are under way or finished and not taken


def map_batches(
    function: Callable[[Batch], Result], batches: Iterable[Batch], *, jobs: int, where: Where = "processes"
) -> Iterator[tuple[Batch, Result]]:
    """Yield each batch with what `function` makes of it, in order.

    function: of a module's top level; what it needs again and again it keeps itself (functools.lru_cache). jobs:
    workers; 1 does the work here. where: "ray" takes a running cluster (RAY_ADDRESS) or starts one on this machine.
    Batches are taken from the iterable only as results are taken from here. Raises what `function` raises, and
    MissingExtra without Ray.
    """
    if where == "ray":
        yield from _over_ray(function, batches, jobs)
    elif jobs == 1:
        yield from ((batch, function(batch)) for batch in batches)
    else:
        # Not forked: the parent has threads (SQLite's, onnxruntime's), which a fork would leave without their owner.
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_live_with, initargs=(os.getpid(),)) as pool:
            waiting: deque[tuple[Batch, Future[Result]]] = deque()
            try:
                for batch in batches:
                    waiting.append((batch, pool.submit(function, batch)))
                    if len(waiting) > _AHEAD * jobs:
                        first, future = waiting.popleft()
                        yield first, future.result()
                for batch, future in waiting:
                    yield batch, future.result()
            except BrokenProcessPool as error:
                raise ClipItalianError(
                    "a worker process ended, perhaps for want of memory; run again with fewer: run.jobs in the plan"
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)


def _live_with(parent: int) -> None:
    """Leave ^C to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while True:
            time.sleep(1)
            try:
                os.kill(parent, 0)
            except ProcessLookupError:
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _over_ray(
    function: Callable[[Batch], Result], batches: Iterable[Batch], jobs: int
) -> Iterator[tuple[Batch, Result]]:
    try:
        import ray
    except ImportError as error:
        raise MissingExtra(
            "a plan that runs over Ray needs ray, which is not installed; run: pip install 'clip-italian[ray]', or set "
            'run.where = "processes"'
        ) from error
    if not ray.is_initialized():
        local: dict[str, Any] = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": jobs, "include_dashboard": False}
        ray.init(log_to_driver=False, **local)
    remote = ray.remote(function)
    waiting: deque[tuple[Batch, Any]] = deque()
    source = iter(batches)
    try:
        for batch in itertools.islice(source, _AHEAD * jobs):
            waiting.append((batch, remote.remote(batch)))
        while waiting:
            batch, reference = waiting.popleft()
            yield batch, ray.get(reference)
            waiting.extend((more, remote.remote(more)) for more in itertools.islice(source, 1))
    finally:
        for _, reference in waiting:
            ray.cancel(reference, force=False)
