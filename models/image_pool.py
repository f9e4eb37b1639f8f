"""A pool of generated images, so that discriminators also see older ones (Shrivastava et al., CVPR 2017)."""

from __future__ import annotations

from typing import Any

import torch


class ImagePool:
    """Gives back, for each image of a batch, that image or (every second time, once full) an older one."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[torch.Tensor] = []

    def query(self, batch: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, C, H, W], without gradient."""
        batch = batch.detach()
        if not self.size:
            return batch
        if self.images and self.images[0].device != batch.device:  # a checkpoint's are on the CPU
            self.images = [image.to(batch.device) for image in self.images]
        answer = []
        for image in batch.split(1):
            if len(self.images) < self.size:
                self.images.append(image.clone())
                answer.append(image)
                continue
            swap, place = bool(torch.rand(()) < 0.5), int(torch.randint(self.size, ()))
            old = self.images[place]
            # A run may change its crop size when it goes on; older images then no longer fit the batch.
            if swap and old.shape == image.shape:
                answer.append(old.to(image.dtype))
                self.images[place] = image.clone()
            else:
                answer.append(image)
        return torch.cat(answer)

    def state_dict(self) -> dict[str, Any]:
        """The images held."""
        return {"images": list(self.images)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the images held by another pool; TypeError where they are none."""
        images = list(state["images"])
        if not all(isinstance(image, torch.Tensor) for image in images):
            raise TypeError("an image pool holds what is no image")
        self.images = images
