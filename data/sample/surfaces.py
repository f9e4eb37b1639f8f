"""Which surface each sample shows: place on its face, texture, temperature, direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.sample import textures
from data.sample.camera import HEIGHT, WIDTH, Camera
from data.sample.climate import Climate
from data.sample.leaves import look_up
from data.sample.mesh import COLUMNS, Kind, Mesh
from data.sample.road import Road, ground
from data.sample.textures import Surface
from data.sample.walls import facade


@dataclass(frozen=True)
class FaceTable:
    """All faces of a scene as float32 arrays.

    maps: [3, 3, F] of Camera.plane_maps; column: name to [F]; parameters: [8, F]; bulge: [2, F];
    toward: [3, 3, F], for the directions to the sun, the sky and the eye their products with normal, along and up.
    """

    maps: np.ndarray
    column: dict[str, np.ndarray]
    parameters: np.ndarray
    bulge: np.ndarray
    toward: np.ndarray
    kinds: np.ndarray


def face_table(mesh: Mesh, camera: Camera, to_sun: np.ndarray) -> FaceTable:
    """The table of a mesh for a camera and a sun, all in world axes."""
    axes = np.stack([mesh.normal, mesh.along, mesh.up], axis=1)
    axes = axes / (np.linalg.norm(axes, axis=2, keepdims=True) + 1e-12)
    to_eye = camera.position - mesh.origin
    to_eye = to_eye / (np.linalg.norm(to_eye, axis=1, keepdims=True) + 1e-9)
    axes[:, 0] *= np.where((axes[:, 0] * to_eye).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    sky = np.broadcast_to([0.0, 1.0, 0.0], to_eye.shape)
    directions = np.stack([np.broadcast_to(to_sun, to_eye.shape), sky, to_eye], axis=1)
    rows = {id(look): look.row() for look in mesh.looks}
    table = np.array([rows[id(look)] for look in mesh.looks], np.float32).T.copy()
    column = dict(zip(COLUMNS, table, strict=True))
    maps = camera.plane_maps(mesh.origin, mesh.along, mesh.up, mesh.normal)
    return FaceTable(
        maps.transpose(1, 2, 0).astype(np.float32, order="C"), column, table[-8:],
        mesh.bulge.T.astype(np.float32), np.einsum("fik,fjk->jif", axes, directions).astype(np.float32),
        column["kind"].astype(np.int8),
    )  # fmt: skip


def surface(
    table: FaceTable, face: np.ndarray, u: np.ndarray, v: np.ndarray, camera: Camera, climate: Climate, road: Road
) -> Surface:
    """The surfaces of faces [N] seen at pixels u, v [N]."""
    x, y = u - WIDTH / 2, v - HEIGHT / 2
    maps = table.maps
    a, b, inverse = (maps[i][0].take(face) * x + maps[i][1].take(face) * y + maps[i][2].take(face) for i in range(3))
    depth = 1 / np.maximum(inverse, 1e-4)
    a, b = a * depth, b * depth
    column = table.column
    rgb, glow = (np.stack([column[p + c].take(face) for c in ("red", "green", "blue")]) for p in ("", "glow_"))
    others = (column[name].take(face) for name in ("kelvin", "heat", "cool", "emissivity", "gloss"))
    s = Surface(
        a, b, depth, rgb, glow, *others,
        np.ones_like(a),
        np.stack([a * table.bulge[0].take(face), b * table.bulge[1].take(face)]),
    )  # fmt: skip
    kinds = table.kinds[face]
    smooth = np.flatnonzero((kinds == Kind.PLAIN) | (kinds == Kind.PATCH))
    own, texel = face[smooth], 48.0 * 20.0 / np.maximum(depth[smooth], 20.0)
    stagger = own.astype(np.float32)  # no two faces share a texture
    fine = look_up(0.4, a[smooth] * texel + stagger * 37, b[smooth] * texel + stagger * 91)
    s.rgb[:, smooth] *= np.clip(1 + fine * column["grain"][own], 0.2, 2)
    s.kelvin[smooth] += 0.10 * fine
    warm = smooth[column["spot"][own] != 0]
    s.kelvin[warm] += column["spot"][face[warm]] * np.exp(-1.3 * (a[warm] ** 2 + b[warm] ** 2))
    present = np.bincount(kinds, minlength=len(Kind))

    def of(kind: Kind) -> tuple[np.ndarray, np.ndarray]:
        where = np.flatnonzero(kinds == kind)
        return where, table.parameters.take(face[where], axis=1)

    if present[Kind.FACADE]:
        facade(s, *of(Kind.FACADE), climate, camera.focal)
    if present[Kind.ROOF]:
        textures.roof(s, *of(Kind.ROOF), camera.focal)
    if present[Kind.FOLIAGE]:
        textures.foliage(s, *of(Kind.FOLIAGE))
    if present[Kind.WHEEL]:
        textures.wheel(s, *of(Kind.WHEEL))
    if present[Kind.HILL]:
        textures.hill(s, *of(Kind.HILL))
    if present[Kind.GROUND]:
        at = np.flatnonzero(kinds == Kind.GROUND)
        parts = ground(road, climate, a[at], b[at], depth[at], camera.focal, float(camera.position[1]))
        s.rgb[:, at], s.kelvin[at], s.heat[at], s.emissivity[at], s.gloss[at] = parts
    return s


def cosines(table: FaceTable, face: np.ndarray, s: Surface) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosines [N] between the outward direction of each sample and the sun, the sky overhead and the eye."""
    found = tuple(table.toward[k][0].take(face) for k in range(3))
    bent = np.flatnonzero(s.tilt.any(axis=0))
    own, (right, up) = face[bent], s.tilt[:, bent]
    norm = 1 / np.sqrt(1 + right * right + up * up)
    for k, cosine in enumerate(found):
        cosine[bent] = (cosine[bent] + table.toward[k][1].take(own) * right + table.toward[k][2].take(own) * up) * norm
    return found
