"""Things to samples: which face is seen where, four samples a pixel along edges and one inside faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from data.sample.camera import HEIGHT, NEAR, WIDTH, Camera, clip_near
from data.sample.leaves import leaf_mask
from data.sample.mesh import Mesh, Thing, join

FINE = 2  # sub-pixels along each side of a pixel
_SOLID = [0] * 110 + [255] * 146  # leaf mask to leaf or no leaf


@dataclass
class Raster:
    """faces: [HEIGHT, WIDTH, 4] face under each sub-pixel, 0 is sky; owner: [faces] index of the thing, -1 sky.

    mesh: all faces, face k at k - 1; shapes: the same in pixels; first: the first face of each thing.
    u, v, face: the samples [N]; inside, edge: flat pixel indices of the samples.
    """

    faces: np.ndarray
    owner: np.ndarray
    mesh: Mesh
    shapes: list[np.ndarray | None]
    first: np.ndarray
    u: np.ndarray
    v: np.ndarray
    face: np.ndarray
    inside: np.ndarray
    edge: np.ndarray

    def resolve(self, values: np.ndarray) -> np.ndarray:
        """Samples [..., N] to an image [..., HEIGHT, WIDTH]: the mean of what a pixel sees."""
        image = np.empty((*values.shape[:-1], HEIGHT * WIDTH), np.float32)
        n = len(self.inside)
        image[..., self.inside] = values[..., :n]
        image[..., self.edge] = values[..., n:].reshape(*values.shape[:-1], -1, FINE**2).mean(axis=-1)
        return image.reshape(*values.shape[:-1], HEIGHT, WIDTH)


def screen_polygons(mesh: Mesh, camera: Camera) -> list[np.ndarray | None]:
    """Each face as pixels [n, 2], None where it is turned away, behind the camera, outside the view or tiny."""
    local = camera.to_camera(mesh.points)
    ends = np.cumsum(mesh.counts)
    starts = ends - mesh.counts
    ahead = local[:, 2] >= NEAR
    pixels = camera.to_pixels(np.where(ahead[:, None], local, [0.0, 0.0, 1.0]))
    whole = np.logical_and.reduceat(ahead, starts)
    low, high = np.minimum.reduceat(pixels, starts), np.maximum.reduceat(pixels, starts)
    seen = (high[:, 0] > 0) & (low[:, 0] < WIDTH) & (high[:, 1] > 0) & (low[:, 1] < HEIGHT)
    seen &= (high - low).max(axis=1) > 0.35  # pixels; what is smaller is lost in its neighbours
    turned = np.einsum("fk,fk->f", mesh.normal, camera.position - mesh.origin) > 0
    facing = turned | np.array(mesh.two_sided)
    shapes: list[np.ndarray | None] = []
    for start, end, is_whole, is_seen, is_facing in zip(starts, ends, whole, seen, facing, strict=True):
        shape = None
        if is_facing and is_whole and is_seen:
            shape = pixels[start:end]
        elif is_facing and not is_whole:
            clipped = clip_near(local[start:end])
            shape = camera.to_pixels(clipped) if len(clipped) >= 3 else None
        shapes.append(shape)
    return shapes


def _stamp(image: Image.Image, shape: np.ndarray, stamp: int, value: int, scale: float, origin: np.ndarray) -> None:
    low, high = (shape.min(axis=0) - origin) * scale, (shape.max(axis=0) - origin) * scale
    first = np.clip(np.floor(low), 0, image.size).astype(int)
    last = np.clip(np.ceil(high), 0, image.size).astype(int)
    size = (last - first).tolist()
    if min(size) > 0:
        mask = leaf_mask(stamp)
        part = np.clip(np.stack([first - low, last - low]) / (high - low), 0, 1) * mask.size
        leaves = mask.resize(size, Image.Resampling.BILINEAR, box=tuple(part.ravel().tolist()))
        image.paste(value, (*first.tolist(), *last.tolist()), leaves.point(_SOLID, "1"))


def draw(
    image: Image.Image, shapes: list, stamps: list[int], values: list[int], scale: float, origin: np.ndarray
) -> None:
    """Paint screen polygons in order with their values, origin (pixels) at the corner of image."""
    pen = ImageDraw.Draw(image)
    for shape, stamp, value in zip(shapes, stamps, values, strict=True):
        if shape is None:
            continue
        if stamp >= 0:
            _stamp(image, shape, stamp, value, scale, origin)
        else:
            pen.polygon(((shape - origin) * scale - 0.5).ravel().tolist(), fill=value)


def rasterise(things: list[Thing], camera: Camera) -> Raster:
    """things in drawing order, far to near."""
    mesh = join([t.mesh for t in things])
    sizes = [len(t.mesh.counts) for t in things]
    owner = np.repeat(np.arange(-1, len(things), dtype=np.int16), [1, *sizes])
    image = Image.new("I", (WIDTH * FINE, HEIGHT * FINE), 0)
    shapes = screen_polygons(mesh, camera)
    draw(image, shapes, mesh.stamps, list(range(1, len(shapes) + 1)), FINE, np.zeros(2))
    fine = np.asarray(image).reshape(HEIGHT, FINE, WIDTH, FINE).transpose(0, 2, 1, 3).reshape(HEIGHT * WIDTH, FINE**2)
    same = (fine[:, 0] == fine[:, 1]) & (fine[:, 2] == fine[:, 3]) & (fine[:, 0] == fine[:, 2])
    inside, edge = np.flatnonzero(same), np.flatnonzero(~same)
    steps = (np.arange(FINE, dtype=np.float32) + 0.5) / FINE
    du, dv = np.tile(steps, FINE), np.repeat(steps, FINE)
    column, row = (edge % WIDTH).astype(np.float32), (edge // WIDTH).astype(np.float32)
    u = np.concatenate([(inside % WIDTH).astype(np.float32) + 0.5, (column[:, None] + du).ravel()])
    v = np.concatenate([(inside // WIDTH).astype(np.float32) + 0.5, (row[:, None] + dv).ravel()])
    face = np.concatenate([fine[inside, 0], fine[edge].ravel()])
    return Raster(
        fine.reshape(HEIGHT, WIDTH, FINE**2), owner, mesh, shapes, np.cumsum([0, *sizes]), u, v, face, inside, edge
    )
