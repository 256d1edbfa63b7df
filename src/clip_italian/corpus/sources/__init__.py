"""Sources: each reads one kind of public data, streaming, and yields records.

Owns: WIT (wit.py), MSCOCO-IT (mscoco_it.py), Conceptual Captions (conceptual_captions.py), La Foto del Giorno
(foto_del_giorno.py, its pages in foto_page.py, how they are fetched in polite.py), Wikimedia Commons (commons.py),
Flickr8k and 30k (flickr.py), folders (sidecars.py), JSON lines (json_lines.py); what they share (source.py), lines of
any file (streams.py), quoted tab-separated rows (tsv.py).

Every source has settings, `kind`, and `records(root, on_skip)`. Public names: SourcePlan.
"""

from typing import Annotated

from pydantic import Field

from .commons import Commons
from .conceptual_captions import ConceptualCaptions
from .flickr import Flickr
from .foto_del_giorno import FotoDelGiorno
from .json_lines import JsonLines
from .mscoco_it import MscocoIt
from .sidecars import Folder
from .wit import Wit

SourcePlan = Annotated[
    Wit | MscocoIt | ConceptualCaptions | FotoDelGiorno | Commons | Flickr | Folder | JsonLines,
    Field(discriminator="kind"),
]
