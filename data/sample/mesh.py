"""Flat faces with a look: what every thing in a scene is made of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cache

import numpy as np

RGB = tuple[float, float, float]


class Kind(IntEnum):
    """How a face is textured; all but PLAIN have a function of their own in shading."""

    PLAIN = 0
    GROUND = 1
    FACADE = 2
    ROOF = 3
    FOLIAGE = 4
    WHEEL = 5
    HILL = 6
    PATCH = 7


@dataclass(frozen=True)
class Look:
    """What a surface shows to both cameras. Colours are linear reflectances in [0, 1], temperatures kelvin."""

    rgb: RGB
    kelvin: float
    heat: float = 0.0
    """Kelvin gained when the sun stands right above the surface."""
    cool: float = 0.0
    """Kelvin lost to a clear sky by a surface that faces up."""
    emissivity: float = 0.95
    gloss: float = 0.0
    """Share of visible light that is mirrored."""
    emission: RGB = (0.0, 0.0, 0.0)
    """Visible light given off, same unit as lit reflectance."""
    grain: float = 0.06
    """Relative standard deviation of the fine texture."""
    spot: float = 0.0
    """Kelvin added at the middle of the face, fading to its rim."""
    kind: Kind = Kind.PLAIN
    params: tuple[float, ...] = ()
    """Up to eight numbers that the function of the kind reads."""

    def row(self) -> tuple[float, ...]:
        """The numbers of the face table, in the order of COLUMNS."""
        fill = (0.0,) * (8 - len(self.params))
        return (
            *self.rgb, self.kelvin, self.heat, self.cool, self.emissivity, self.gloss, *self.emission,
            self.grain, self.spot, float(self.kind), *self.params, *fill,
        )  # fmt: skip


COLUMNS = (
    "red", "green", "blue", "kelvin", "heat", "cool", "emissivity", "gloss", "glow_red", "glow_green", "glow_blue",
    "grain", "spot", "kind", "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7",
)  # fmt: skip


@dataclass
class Mesh:
    """F faces. points: [P, 3], counts: points per face; origin, along, up, normal: [F, 3]; bulge: [F, 2].

    A face has coordinates a and b (see Camera.plane_maps), usually in [-1, 1]; bulge tilts its normal with them.
    A face with a stamp is a rectangle through which only that leaf mask is drawn.
    """

    points: np.ndarray
    counts: list[int]
    origin: np.ndarray
    along: np.ndarray
    up: np.ndarray
    normal: np.ndarray
    bulge: np.ndarray
    looks: list[Look]
    stamps: list[int]
    two_sided: list[bool]

    def placed(self, position: np.ndarray, heading: float = 0.0) -> Mesh:
        """Turned right by heading (rad) about the upright axis, then moved by position (m)."""
        c, s = np.cos(heading), np.sin(heading)
        turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        return replace(
            self,
            points=self.points @ turn + position,
            origin=self.origin @ turn + position,
            along=self.along @ turn,
            up=self.up @ turn,
            normal=self.normal @ turn,
        )


def join(meshes: list[Mesh]) -> Mesh:
    """One mesh with all faces, in order."""
    arrays = [
        np.concatenate([getattr(m, name) for m in meshes])
        for name in ("points", "origin", "along", "up", "normal", "bulge")
    ]
    lists = [[x for m in meshes for x in getattr(m, name)] for name in ("counts", "looks", "stamps", "two_sided")]
    points, origin, along, up, normal, bulge = arrays
    counts, looks, stamps, two_sided = lists
    return Mesh(points, counts, origin, along, up, normal, bulge, looks, stamps, two_sided)


def _frames(points: np.ndarray, counts: np.ndarray, outward_from: np.ndarray | None, metric: bool) -> list[np.ndarray]:
    """Origin, along, up and normal, [F, 3] each, of flat polygons that follow one another in points [P, 3]."""
    ends = np.cumsum(counts)
    starts = ends - counts
    after = np.arange(1, len(points) + 1)
    after[ends - 1] = starts
    here, there = points, points[after]
    crossed = np.empty_like(points)  # np.cross is slow on short arrays
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        crossed[:, i] = here[:, j] * there[:, k] - here[:, k] * there[:, j]
    normal = np.add.reduceat(crossed, starts)
    normal /= np.sqrt((normal * normal).sum(axis=1, keepdims=True)) + 1e-12
    middle = (np.minimum.reduceat(points, starts) + np.maximum.reduceat(points, starts)) / 2
    if outward_from is not None:
        normal *= np.where(((middle - outward_from) * normal).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    nx, ny, nz = normal.T
    zero = np.zeros_like(nx)
    along = np.where((np.abs(ny) < 0.95)[:, None], np.stack([nz, zero, -nx], axis=1), [1.0, 0.0, 0.0])
    along -= normal * (along * normal).sum(axis=1, keepdims=True)
    along /= np.sqrt((along * along).sum(axis=1, keepdims=True))
    ax, ay, az = along.T
    up = np.stack([ny * az - nz * ay, nz * ax - nx * az, nx * ay - ny * ax], axis=1)
    flip = np.where((up[:, 1] < -1e-9) | ((np.abs(up[:, 1]) < 0.05) & (up[:, 2] < 0)), -1.0, 1.0)[:, None]
    along, up = along * flip, up * flip
    face = np.repeat(np.arange(len(counts)), counts)
    offset = points - middle[face]
    a, b = (offset * along[face]).sum(axis=1), (offset * up[face]).sum(axis=1)
    if metric:
        low_a, low_b = np.minimum.reduceat(a, starts)[:, None], np.minimum.reduceat(b, starts)[:, None]
        return [middle + low_a * along + low_b * up, along, up, normal]
    half_a = np.maximum.reduceat(np.abs(a), starts)[:, None] + 1e-6
    half_b = np.maximum.reduceat(np.abs(b), starts)[:, None] + 1e-6
    return [middle, along / half_a, up / half_b, normal]


def polygons(
    shapes: list[np.ndarray],
    looks: list[Look],
    bulge: list[tuple[float, float]] | None = None,
    outward_from: np.ndarray | None = None,
    metric: bool = False,
    two_sided: bool = False,
) -> Mesh:
    """Faces from flat polygons [n, 3]. outward_from: a point that all normals turn away from.

    metric: a and b in metres from the lower corner, instead of -1 to 1.
    """
    n, counts, points = len(shapes), [len(s) for s in shapes], np.concatenate(shapes).astype(float)
    origin, along, up, normal = _frames(points, np.array(counts), outward_from, metric)
    return Mesh(
        points, counts, origin, along, up, normal,
        np.zeros((n, 2)) if bulge is None else np.array(bulge, float), list(looks), [-1] * n, [two_sided] * n,
    )  # fmt: skip


@cache
def _cube() -> Mesh:
    low, high = np.array([-0.5, 0.0, -0.5]), np.array([0.5, 1.0, 0.5])
    corner = [np.where([i & 1, i & 2, i & 4], high, low) for i in range(8)]
    order = [(0, 1, 3, 2), (4, 5, 7, 6), (0, 4, 6, 2), (1, 5, 7, 3), (2, 3, 7, 6)]
    shapes = [np.array([corner[i] for i in face]) for face in order]
    return polygons(shapes, [Look((0.0, 0.0, 0.0), 0.0)] * 5, outward_from=np.array([0.0, 0.5, 0.0]))


def box(x: float, y: float, z: float, looks: list[Look] | Look, base: float = 0.0) -> Mesh:
    """An upright box of size x, y, z standing at base, around the axis; looks: front, back, left, right, top."""
    cube, size, lift = _cube(), np.array([x, y, z]), np.array([0.0, base, 0.0])
    return replace(
        cube,
        points=cube.points * size + lift,
        origin=cube.origin * size + lift,
        along=cube.along / size,
        up=cube.up / size,
        looks=looks if isinstance(looks, list) else [looks] * 5,
    )


@dataclass
class Light:
    """A visible lamp: place (m), colour and strength of the glare, and the ground light it gives."""

    position: np.ndarray
    rgb: RGB
    glare: float
    pool: float = 0.0
    reach: float = 6.0


@dataclass
class Thing:
    """One object of a scene: its faces, what annotators call it, and how it takes part in the drawing order."""

    mesh: Mesh
    distance: float
    """Metres from the camera, for the order of drawing."""
    layer: int = 2
    """0 horizon, 1 buildings, 2 all that stands before them."""
    category: str | None = None
    track: int = -1
    salient: bool = False
    """Hot target: in the salient-target mask."""
    casters: list[np.ndarray] = field(default_factory=list)
    """Convex point sets [n, 3] that throw shadows."""
    lights: list[Light] = field(default_factory=list)
    foot: np.ndarray | None = None
