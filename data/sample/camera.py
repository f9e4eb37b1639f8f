"""The pinhole camera that both images of a scene are taken with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 640, 512
NEAR = 0.35  # metres; nothing closer is drawn


@dataclass(frozen=True)
class Camera:
    """World axes: x right, y up, z along the street, metres. Pixels: u right, v down, from the top left corner."""

    position: np.ndarray
    rotation: np.ndarray  # [3, 3], rows are right, up and forward in the world
    focal: float  # pixels

    @staticmethod
    def looking(position: tuple[float, float, float], yaw: float, pitch: float, roll: float, focal: float) -> Camera:
        """A camera at position (m), turned right by yaw, up by pitch and clockwise by roll (rad)."""
        cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
        forward = np.array([sy * cp, sp, cy * cp])
        right = np.array([cy, 0.0, -sy])
        up = np.cross(forward, right)
        return Camera(
            np.asarray(position, float),
            np.stack([cr * right - sr * up, sr * right + cr * up, forward]),
            focal,
        )

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """points: [N, 3] in the world -> [N, 3] right, up and forward of the camera."""
        return (points - self.position) @ self.rotation.T

    def to_pixels(self, local: np.ndarray) -> np.ndarray:
        """local: [N, 3] from to_camera, forward > 0 -> [N, 2] pixels."""
        scale = self.focal / local[:, 2]
        return np.stack([WIDTH / 2 + local[:, 0] * scale, HEIGHT / 2 - local[:, 1] * scale], axis=1)

    def rays(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Pixels [N], [N] -> [3, N] world directions whose forward part is 1, so depth times ray is a place."""
        right, up, forward = self.rotation.astype(np.float32)
        x, y = (u - WIDTH / 2) / self.focal, (HEIGHT / 2 - v) / self.focal
        return right[:, None] * x + up[:, None] * y + forward[:, None]

    def plane_maps(self, origin: np.ndarray, along: np.ndarray, up: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Maps of F planes, all inputs [F, 3] -> [F, 3, 3].

        Applied to (u - WIDTH/2, v - HEIGHT/2, 1), the rows give a/depth, b/depth and 1/depth, where a and b are
        the products of (place - origin) with along and up.
        """
        right, top, forward = self.rotation
        pixel_to_ray = np.stack([right / self.focal, -top / self.focal, forward], axis=1)
        reach = np.einsum("fk,fk->f", normal, origin - self.position)
        reach = np.where(np.abs(reach) < 1e-6, 1e-6, reach)
        inverse_depth = (normal @ pixel_to_ray) / reach[:, None]
        offset = self.position - origin
        rows = [
            np.einsum("fk,fk->f", offset, axis)[:, None] * inverse_depth + axis @ pixel_to_ray for axis in (along, up)
        ]
        return np.stack([*rows, inverse_depth], axis=1)


def clip_near(local: np.ndarray) -> np.ndarray:
    """The part of a polygon [n, 3] in camera axes that lies beyond the near plane, [m, 3], m may be 0."""
    kept = []
    for here, there in zip(local, np.roll(local, -1, axis=0), strict=True):
        if here[2] >= NEAR:
            kept.append(here)
        if (here[2] >= NEAR) != (there[2] >= NEAR):
            kept.append(here + (there - here) * (NEAR - here[2]) / (there[2] - here[2]))
    return np.array(kept).reshape(-1, 3)
