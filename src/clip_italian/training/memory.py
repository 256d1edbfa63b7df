"""How the process deals with memory that large batches take and give back.

Public names: keep_memory.
"""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # glibc's malloc.h
_NEVER = 2**31 - 1
_SPARE = 512 * 2**20


def keep_memory() -> bool:
    """Keep what was allocated once for the next batch instead of returning it to the system; tells whether it did.

    Maps of a convolutional tower are tens of megabytes, which glibc asks the kernel for and gives back one by one; each
    time the kernel fills them with zeros, which takes as long as the convolutions themselves. The process's memory then
    only grows, to its largest batch. Elsewhere than on glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no such call: another C library, or Windows
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _SPARE))
    return all([mallopt(name, value) == 1 for name, value in settings])
