"""The dual encoder: two towers, two heads, one scale.

Public names: DualEncoder, PARTS.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .heads import build_head
from .towers.base import ImageTower, TextTower, TowerOutput

PARTS = ("image_tower", "text_tower", "heads", "scale")
MAX_SCALE = 100.0


class DualEncoder(nn.Module):
    """Puts pictures and texts on one unit sphere; a pair's logit is `scale` times its cosine. Source: Radford 2021.

    image_head, text_head: specs as `heads.build_head` reads them. scale: 20 and fixed in the paper (temperature 0.05);
    learned, it moves in the logarithm and is read as 100 at most, as in CLIP. Raises BadModel.
    """

    def __init__(
        self,
        image_tower: ImageTower,
        text_tower: TextTower,
        *,
        dim: int = 512,
        image_head: dict[str, Any] | None = None,
        text_head: dict[str, Any] | None = None,
        scale: float = 20.0,
    ) -> None:
        super().__init__()
        self.image_tower, self.text_tower, self.dim = image_tower, text_tower, dim
        self.image_head_spec = image_head or {"type": "linear"}
        self.text_head_spec = text_head or {"type": "linear"}
        self.image_head = build_head(self.image_head_spec, image_tower.dim, dim)
        self.text_head = build_head(self.text_head_spec, text_tower.dim, dim)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=False)

    @property
    def scale(self) -> Tensor:
        """The multiplier of cosines, a scalar."""
        return self.log_scale.exp().clamp(max=MAX_SCALE)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """pixels: (n, 3, h, w), normalised. Returns (n, dim) float32 unit rows."""
        return self.project_image(self.image_tower(pixels))

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """pixels: (n, 3, h, w), normalised. Returns (n, grid_h, grid_w, dim) float32 unit vectors: what is where."""
        return self.project_patches(self.image_tower(pixels))

    def encode_texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids: (n, t) int64; mask: (n, t) bool. Returns (n, dim) float32 unit rows."""
        return self.project_text(self.text_tower(ids, mask))

    def project_image(self, output: TowerOutput) -> Tensor:
        """Turn an image tower's reading into (n, dim) float32 unit rows."""
        return F.normalize(self.image_head(output).float(), dim=-1)

    def project_patches(self, output: TowerOutput) -> Tensor:
        """Turn an image tower's reading into (n, grid_h, grid_w, dim) float32 unit vectors, one a place.

        Raises ValueError when the tower's places form no grid.
        """
        if output.grid is None:
            raise ValueError("this image tower does not tell where its places are in the picture")
        places: Tensor = self.image_head.dense(output)  # type: ignore[operator]
        return F.normalize(places.float(), dim=-1).unflatten(1, output.grid)

    def project_text(self, output: TowerOutput) -> Tensor:
        """Turn a text tower's reading into (n, dim) float32 unit rows."""
        return F.normalize(self.text_head(output).float(), dim=-1)

    def part(self, name: str) -> list[nn.Parameter]:
        """Return the parameters of one of PARTS that may learn; those the towers hold fixed are left out."""
        if name == "scale":
            return [self.log_scale]
        if name == "heads":
            return [*self.image_head.parameters(), *self.text_head.parameters()]
        tower: ImageTower | TextTower = getattr(self, name)
        return [parameter for key, parameter in tower.named_parameters() if key not in tower.fixed]
