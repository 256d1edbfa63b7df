"""MSCOCO-IT: COCO's captions in Italian, by Microsoft's translator, some checked by people (Scaiella et al. 2019).

Public names: MscocoIt.

Six files in COCO's layout: captions_ita_trainingset_{train2014,val2014}, captions_ita_devset_{unvalidated,validated}
and captions_ita_testset_{unvalidated,validated}, each .json or .json.gz.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from ...data.readers import coco
from ...data.sample import Sample
from ...errors import BadRecord
from ..record import OnSkip, Record, SourceCaption
from .source import Source, checked_address, find_files, good_captions, relative_name

Split = Literal["train", "dev", "test"]
_SPLIT = re.compile(r"(training|dev|test)set")
_FOLDER = re.compile(r"COCO_(train|val|test)2014_")
_FLICKR = re.compile(r"https?://farm\d+\.staticflickr\.com/\d+/(\d+)_")
# The numbers are the same in all of COCO's files.
_LICENCES = {
    1: "CC-BY-NC-SA-2.0",
    2: "CC-BY-NC-2.0",
    3: "CC-BY-NC-ND-2.0",
    4: "CC-BY-2.0",
    5: "CC-BY-SA-2.0",
    6: "CC-BY-ND-2.0",
    7: "https://www.flickr.com/commons/usage/",
    8: "http://www.usa.gov/copyright.shtml",
}


class MscocoIt(Source):
    """Pictures of the wanted parts with their captions; `validated` says whether a person has checked them.

    The licence is the photo's, as COCO lists it. A file is one JSON text and is read whole (about 0.4 GB of memory for
    the 83,000 pictures of train2014); one that is damaged or cut short is an error, as nothing of it can be trusted.
    """

    kind: Literal["mscoco-it"] = "mscoco-it"
    files: tuple[str, ...] = Field(
        default=("captions_ita_*set_*.json*",), description="files, or patterns, under the corpus's folder"
    )
    splits: tuple[Split, ...] = Field(
        default=("train",), min_length=1, description="dev and test are what evaluation uses: take them for that alone"
    )
    images: str | None = Field(
        default=None, description="folder or tar with the pictures under the corpus's folder; without it addresses"
    )
    address: Literal["file", "cocodataset"] = Field(
        default="file",
        description="file: coco_url, url or flickr_url as the file gives it (Flickr's go dead); cocodataset: "
        "images.cocodataset.org, which has them all",
    )

    def records(self, root: Path, on_skip: OnSkip) -> Iterator[Record]:
        """Yield the records of the wanted files in order. Raises BadRecord for missing or damaged files."""
        found = find_files(root, self.files)
        # A file that lies there both plain and compressed is read once.
        files = [(path, _split(path)) for path in found if path.suffix != ".gz" or path.with_suffix("") not in found]
        wanted = [(path, split) for path, split in files if split in self.splits]
        if not wanted:
            parts = ", ".join(sorted({split for _, split in files}))
            raise BadRecord(f"{root}: has files of {parts} alone, not of {', '.join(self.splits)}; see `splits`")
        for path, split in wanted:
            missing: Literal["keep", "skip"] = "keep" if self.images is None else "skip"
            images = None if self.images is None else root / self.images
            if images is not None and not images.exists():
                raise BadRecord(f"{images}: no such folder or tar; put the pictures there or leave out `images`")
            for sample in coco.read(path, images=images, missing=missing, on_skip=on_skip):
                try:
                    yield self._record(sample, path, split, root, on_skip)
                except BadRecord as error:
                    on_skip(str(error))

    def _record(self, sample: Sample, path: Path, split: Split, root: Path, on_skip: OnSkip) -> Record:
        extra = sample.extra
        where = f"{path}: picture {extra['image_id']}"
        validated = "_validated" in path.name
        values = [(caption.text, where, "a caption") for caption in sample.captions]
        texts = good_captions(values, longest=self.longest_caption, on_skip=on_skip)
        address = _address(extra, sample.key, self.address)
        if self.images is None:
            image = checked_address(address, where)
        else:
            member = f"#{sample.image.member}" if sample.image.member else ""
            image = relative_name(sample.image.path, root) + member
        flickr = _FLICKR.match(str(extra.get("flickr_url") or extra.get("url") or ""))
        known = {key: extra[key] for key in ("width", "height") if isinstance(extra.get(key), int)}
        return Record(
            source=self.kind,
            key=str(extra["image_id"]),
            image=image,
            captions=tuple(
                SourceCaption(text, "it", "translated", engine="microsoft", validated=validated) for text in texts
            ),
            licence=_LICENCES.get(extra.get("license", 0), ""),
            attribution=f"Flickr photo {flickr[1]}" if flickr else "COCO",
            page=f"https://www.flickr.com/photo.gne?id={flickr[1]}" if flickr else "",
            extra={"coco_id": extra["image_id"], "file_name": sample.key, "split": split, **known},
        )


def _split(path: Path) -> Split:
    match = _SPLIT.search(path.name)
    if not match:
        raise BadRecord(f"{path}: its name tells no part (trainingset, devset or testset); give it its original name")
    return "train" if match[1] == "training" else "dev" if match[1] == "dev" else "test"


def _address(extra: Mapping[str, Any], name: str, way: str) -> str:
    folder = _FOLDER.match(PurePosixPath(name).name)
    if way == "cocodataset" and folder:
        return f"http://images.cocodataset.org/{folder[1]}2014/{PurePosixPath(name).name}"
    return next((str(extra[key]) for key in ("coco_url", "url", "flickr_url") if extra.get(key)), "")
