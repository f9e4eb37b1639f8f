"""The bodies of vehicles: cross sections joined along the length, a cabin on top, and what is fixed to them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from data.sample.mesh import Look, Mesh, polygons
from data.sample.shapes import SHAPES, Shape


@dataclass
class _Parts:
    """Faces as they are collected, in drawing order."""

    shapes: list[np.ndarray] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    bulge: list[tuple[float, float]] = field(default_factory=list)

    def add(self, points: np.ndarray | list, name: str, bulge: tuple[float, float] = (0.0, 0.0)) -> None:
        """One flat face with the look of that name."""
        self.shapes.append(np.asarray(points, float))
        self.names.append(name)
        self.bulge.append(bulge)

    def both(
        self, points: list[tuple[float, float, float]], name: str, bulge: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """The face and its mirror image on the other side."""
        shape = np.array(points)
        self.add(shape, name, bulge)
        self.add(shape * [-1, 1, 1], name, bulge)


def _across(z0: float, y0: float, z1: float, y1: float, w0: float, w1: float) -> list[tuple[float, float, float]]:
    """A face across the vehicle between two points (z, y), half widths w0 and w1."""
    return [(-w0, y0, z0), (w0, y0, z0), (w1, y1, z1), (-w1, y1, z1)]


def _patch(x0: float, x1: float, y0: float, y1: float, z: float) -> list[tuple[float, float, float]]:
    return [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]


def _half_width(shape: Shape, z: float) -> float:
    past = max(0.0, abs(z) / shape.length - 0.36) / 0.14
    return shape.width / 2 * (1 - shape.taper * past**2.2)


def _section(shape: Shape, z: float) -> np.ndarray:
    """Right half of the cross section at z: [5, 2] x and y, from the sill up."""
    w = _half_width(shape, z)
    deck = shape.height * float(np.interp(z / shape.length, *zip(*shape.deck, strict=True)))
    tall = deck - shape.sill
    share = np.array([[0.86, 0.0], [0.97, 0.13], [1.0, 0.52], [0.975, 0.86], [0.90, 1.0]])
    return share * [w, tall] + [0, shape.sill]


def _body(parts: _Parts, shape: Shape) -> None:
    ends = [z for z, _ in shape.deck]
    stations = sorted({*ends, -0.44, -0.36, 0.0, 0.32, 0.36, 0.45})
    sections = [(z * shape.length, _section(shape, z * shape.length)) for z in stations]
    for (z0, a), (z1, b) in zip(sections, sections[1:], strict=False):
        for k, bend in zip(range(4), (0.1, 0.15, 0.2, 0.2), strict=True):
            quad = [(*a[k], z0), (*a[k + 1], z0), (*b[k + 1], z1), (*b[k], z1)]
            parts.both(quad, "paint", (0.0, bend))
        front = (z0 + z1) / 2 > 0.14 * shape.length and shape.box is None
        parts.add(_across(z0, a[4, 1], z1, b[4, 1], a[4, 0], b[4, 0]), "bonnet" if front else "paint", (0.15, 0.0))
    for (z, s), name in ((sections[0], "tail"), (sections[-1], "nose")):
        ring = [(*p, z) for p in s] + [(-x, y, z) for x, y in s[::-1]]
        parts.add(ring, name, (0.25, 0.25))


def _cabin(parts: _Parts, shape: Shape) -> None:
    (rz, ry), (rtz, rty), (ftz, fty), (fz, fy) = [(z * shape.length, y * shape.height) for z, y in shape.cabin]
    low, high = 0.90 * shape.width / 2, shape.width / 2 - shape.inset
    rear_low = min(low, _half_width(shape, rz) * 0.92)
    parts.add(_across(rz, ry, rtz, rty, rear_low, high * 0.96), "paint", (0.2, 0.1))
    parts.add(_across(fz, fy, ftz, fty, low, high * 0.96), "paint", (0.2, 0.1))
    parts.both([(rear_low, ry, rz), (high, rty, rtz), (high, fty, ftz), (low, fy, fz)], "paint", (0.0, 0.25))
    parts.add(_across(rtz, rty, ftz, fty, high, high), "paint", (0.25, 0.15))

    def pane(t0: float, t1: float, s: float = 1.0) -> list[tuple[float, float, float]]:
        corners = []
        for t, share in ((t0, 0.08), (t1, 0.08), (t1, 0.87), (t0, 0.87)):
            foot, top = rz + (fz - rz) * t, rtz + (ftz - rtz) * t
            side = rear_low + (low - rear_low) * t
            x = side + (high - side) * share + 0.008
            corners.append((s * x, ry + (fy - ry) * t + (rty - ry) * share, foot + (top - foot) * share))
        return corners

    count = {"bus": 8, "truck": 1}.get(shape.category, 2)
    for k in range(count):
        if not (shape.solid and k == 0 and count > 1):
            parts.both(pane((k + 0.07) / count, (k + 0.95) / count), "glass", (0.0, 0.2))
    for z0, y0, z1, y1, w0, rear in ((fz, fy, ftz, fty, low, False), (rz, ry, rtz, rty, rear_low, True)):
        if rear and shape.category == "truck":
            continue
        s0, s1 = (0.06, 0.90) if not rear else (0.12, 0.84)
        w_low, w_high = (w0 + (high - w0) * s0) * 0.93, (w0 + (high - w0) * s1) * 0.92
        out = -0.012 if rear else 0.012
        a, b = z0 + (z1 - z0) * s0 + out, z0 + (z1 - z0) * s1 + out
        parts.add(
            _across(a, y0 + (y1 - y0) * s0 + 0.006, b, y0 + (y1 - y0) * s1 + 0.006, w_low, w_high), "glass", (0.2, 0.1)
        )
    at = fz - 0.35
    parts.both(_patch(low, low + 0.26, fy + 0.05, fy + 0.20, at), "trim")
    parts.both(
        [
            (low + 0.26, fy + 0.05, at),
            (low + 0.26, fy + 0.20, at),
            (low + 0.22, fy + 0.20, at + 0.12),
            (low + 0.22, fy + 0.05, at + 0.12),
        ],
        "trim",
    )


def _ends(parts: _Parts, shape: Shape) -> None:
    front, back = shape.length / 2 + 0.012, -shape.length / 2 - 0.012
    nose, tail = _section(shape, shape.length / 2), _section(shape, -shape.length / 2)
    for s, z, sign in ((nose, front, 1.0), (tail, back, -1.0)):
        low, high, half = s[0, 1], s[4, 1], s[2, 0]
        tall = high - low
        parts.add(_patch(-half * 0.96, half * 0.96, low - 0.06, low + tall * 0.20, z + sign * 0.03), "trim", (0.1, 0.2))
        if sign > 0:
            parts.add(_patch(-half * 0.60, half * 0.60, low + tall * 0.48, low + tall * 0.86, z), "grille")
            parts.add(_patch(-half * 0.72, half * 0.72, low + tall * 0.10, low + tall * 0.32, z + 0.035), "grille")
            parts.both(
                [
                    (half * 0.60, low + tall * 0.62, z),
                    (half * 0.98, low + tall * 0.66, z - 0.05),
                    (half * 0.97, low + tall * 0.92, z - 0.08),
                    (half * 0.62, low + tall * 0.86, z),
                ],
                "head",
            )
            parts.add(_patch(-0.26, 0.26, low + tall * 0.34, low + tall * 0.34 + 0.11, z + 0.02), "plate")
        else:
            top = 0.97 if shape.category == "car" else 0.6
            parts.add(_patch(-half * 0.80, half * 0.80, low + tall * 0.30, low + tall * 0.32, z), "trim")
            parts.both(
                [
                    (half * 0.66, low + tall * 0.58, z),
                    (half * 0.985, low + tall * 0.55, z + 0.03),
                    (half * 0.96, low + tall * top, z + 0.03),
                    (half * 0.72, low + tall * (top - 0.06), z),
                ],
                "rear",
            )
            parts.add(_patch(-0.26, 0.26, low + tall * 0.40, low + tall * 0.40 + 0.11, z), "plate")
            parts.add(_patch(half * 0.42, half * 0.54, low - 0.05, low + 0.03, z - 0.02), "pipe")


def _running_gear(parts: _Parts, shape: Shape) -> None:
    half, r, length = shape.width / 2, shape.wheel, shape.length
    parts.add(
        [(x * half * 0.9, shape.sill - 0.03, z * length * 0.46) for x, z in ((-1, -1), (1, -1), (1, 1), (-1, 1))],
        "under",
    )
    for z in (-length * 0.42, length * 0.42):
        parts.add(_patch(-half * 0.80, half * 0.80, shape.sill * 0.62, shape.sill + 0.08, z), "under")
    for axle in shape.axles:
        for z in (axle * length - r * 0.95, axle * length + r * 0.95):
            parts.both(_patch(half - 0.25, half - 0.03, 0.0, r * 1.2, z), "tyre", (0.3, 0.6))


def _sides(parts: _Parts, shape: Shape) -> None:
    half, length, r = shape.width / 2, shape.length, shape.wheel
    turn = np.linspace(0, 2 * np.pi, 22, endpoint=False)

    def disc(x: float, z: float, radius: float) -> list[tuple[float, float, float]]:
        return [(x, r + radius * c, z + radius * s) for c, s in zip(np.cos(turn), np.sin(turn), strict=True)]

    if shape.category == "car":
        deck = shape.cabin[3][1] * shape.height
        first, last = shape.cabin[0][0] * length, shape.cabin[3][0] * length
        for z in (first * 0.72, (first + last) / 2, last * 0.92):
            parts.both([(half * 1.004, shape.sill + 0.10, z), (half * 1.004, shape.sill + 0.10, z + 0.015),
                        (half * 0.985, deck - 0.06, z + 0.015), (half * 0.985, deck - 0.06, z)], "trim")  # fmt: skip
        for z in ((first + last) / 2 - 0.25, last * 0.92 - 1.15):
            parts.both(
                [
                    (half * 1.01, deck - 0.20, z),
                    (half * 1.01, deck - 0.20, z + 0.18),
                    (half * 1.01, deck - 0.16, z + 0.18),
                    (half * 1.01, deck - 0.16, z),
                ],
                "trim",
            )
    for axle in shape.axles:
        width = max(_half_width(shape, axle * length), half * 0.97)
        parts.both(disc(width + 0.004, axle * length, r * 1.17), "under")
        parts.both(disc(width + 0.012, axle * length, r), "wheel")


@cache
def _template(name: str) -> tuple[Mesh, tuple[str, ...]]:
    shape, parts = SHAPES[name], _Parts()
    _running_gear(parts, shape)
    if shape.box is not None:
        z0, z1, top = shape.box[0] * shape.length, shape.box[1] * shape.length, shape.box[2]
        half, low = shape.width / 2, shape.height * 0.36
        for z in (z0, z1):
            parts.add(_patch(-half, half, low, top, z), "cargo")
        parts.both([(half, low, z0), (half, low, z1), (half, top, z1), (half, top, z0)], "cargo")
        parts.add(_across(z0, top, z1, top, half, half), "cargo")
        band, back = (low + (top - low) * 0.42, low + (top - low) * 0.52), z0 - 0.01
        parts.both([(half + 0.01, y, z) for y, z in zip((*band, *band[::-1]), (z0, z0, z1, z1), strict=True)], "paint")
        for x in (-half * 0.96, -0.03, half * 0.92):
            parts.add(_patch(x, x + 0.07, low + 0.05, top - 0.05, back), "trim")
        for share in (0.25, 0.75):
            y = low + (top - low) * share
            parts.add(_patch(-half * 0.9, half * 0.9, y, y + 0.03, back), "pipe")
    _body(parts, shape)
    _cabin(parts, shape)
    _ends(parts, shape)
    _sides(parts, shape)
    middle = np.array([0.0, shape.height * 0.42, 0.0])
    blank = Look((0.0, 0.0, 0.0), 0.0)
    return polygons(parts.shapes, [blank] * len(parts.names), parts.bulge, outward_from=middle), tuple(parts.names)


def body(name: str, looks: dict[str, Look]) -> Mesh:
    """The mesh of a vehicle of that name in SHAPES, which stands at the origin and drives toward +z.

    looks: paint, bonnet, nose, tail, grille, glass, trim, under, tyre, wheel, head, rear, plate, pipe, cargo.
    """
    mesh, names = _template(name)
    return replace(mesh, looks=[looks[n] for n in names])
