"""Small data sets for the readers' tests, written as people write them."""

import io
import json
import tarfile
from pathlib import Path

from PIL import Image

from clip_italian.data.readers import read

JPEG = io.BytesIO()
Image.new("RGB", (8, 8), (200, 30, 30)).save(JPEG, "JPEG")
PHOTO = JPEG.getvalue()


def write_tar(path: Path, members: dict[str, bytes], *, kind: int = tarfile.USTAR_FORMAT) -> Path:
    mode = "w" if path.name.endswith(".tar") else "w:gz"
    with tarfile.open(path, mode, format=kind) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_lines(path: Path, *records: object) -> Path:
    lines = (r if isinstance(r, bytes) else json.dumps(r, ensure_ascii=False).encode() for r in records)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def skipping(path: Path, **options) -> tuple[list, list[str]]:
    messages: list[str] = []
    return read(path, on_skip=messages.append, **options), messages


GOOD = {"image_path": "a.jpg", "captions": ["Un gatto"]}
