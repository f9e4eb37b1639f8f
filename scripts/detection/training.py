"""Train a detector on labelled images and test it on others, the same way whatever the images are."""

from __future__ import annotations

import torch

from data.detection import Labelled, draw_batch, standardise
from models.detection.detectors import DETECTORS, Detector
from options.detection import DetectionOptions
from util.device import Device
from util.metrics.detection import Boxes
from util.training.progress import Counting

WARM_UP = 0.15  # of the steps
WEIGHT_DECAY = 1e-2
CLIP = 5.0  # norm of the gradient


def train_detector(
    data: Labelled, classes: int, seed: int, options: DetectionOptions, device: Device, name: str = ""
) -> Detector:
    """A detector trained for options.steps. The seed alone decides initialisation, and flips, zooms, shifts and grey
    levels of every step, so that two training sets get the same; the order of images depends on their number too."""
    torch.manual_seed(seed)
    detector = DETECTORS[options.detector](classes, options.size, device)
    network = detector.network.train()
    optimizer = torch.optim.AdamW(network.parameters(), options.lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.lr, total_steps=options.steps + 1, pct_start=WARM_UP
    )
    order, changes = torch.Generator().manual_seed(seed + 1), torch.Generator().manual_seed(seed + 2)
    waiting: list[int] = []
    with Counting(options.steps, name, "step") as counting:
        for _ in range(options.steps):
            while len(waiting) < options.batch_size:
                waiting += torch.randperm(len(data), generator=order).tolist()
            places, waiting = waiting[: options.batch_size], waiting[options.batch_size :]
            draws = torch.rand(options.batch_size, 5, generator=changes)
            batch = draw_batch(data, places, draws, device.device)
            loss = torch.stack(
                list(detector.losses(batch.images, batch.boxes, batch.labels, batch.ignored).values())
            ).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            counting.update()
    return detector


def scaled(data: Labelled, place: int) -> torch.Tensor:
    """What takes boxes [n, 4] of an image as the detector sees it to the pixels of its labels: factors [4]."""
    height, width = data.images.shape[-2:]
    across, down = data.sizes[place][1] / width, data.sizes[place][0] / height
    return torch.tensor([across, down, across, down])


def truth_of(data: Labelled) -> list[Boxes]:
    """The labels, in their own pixels."""
    return [
        Boxes((boxes * scaled(data, k)).numpy(), data.labels[k].numpy(), data.ignored[k].numpy())
        for k, boxes in enumerate(data.boxes)
    ]


def find_all(detector: Detector, data: Labelled, options: DetectionOptions, device: Device) -> list[Boxes]:
    """What a detector finds in every image, in the pixels of its labels."""
    detector.network.eval()
    found = []
    with torch.inference_mode():
        for first in range(0, len(data), options.batch_size):
            images = data.images[first : first + options.batch_size].to(device.device).float() / 255
            for k, (boxes, scores, labels) in enumerate(detector.find(standardise(images)), start=first):
                corners = boxes.float().cpu() * scaled(data, k)
                found.append(Boxes(corners.numpy(), labels.cpu().numpy(), scores.float().cpu().numpy()))
    return found
