"""Cyclists and dogs, made of the same tapering limbs as people."""

from __future__ import annotations

import numpy as np

from data.sample.climate import Climate
from data.sample.mesh import RGB, Look, Thing
from data.sample.people import Wardrobe, limbs, standing_figure


def cyclist(
    w: Wardrobe, climate: Climate, rgb: RGB, place: np.ndarray, course: np.ndarray, phase: float, eye: np.ndarray
) -> tuple[Thing, Thing]:
    """A rider and the bicycle, going along course [x, z]: (bicycle, rider)."""
    sight = np.array([place[0] - eye[0], place[2] - eye[2]])
    sight = sight / (np.linalg.norm(sight) + 1e-9)
    along = float(course @ [sight[1], -sight[0]])
    s = along if abs(along) > 0.25 else 0.25 * (1.0 if along >= 0 else -1.0)
    facing = -float(course @ sight)
    tyre, frame = climate.look("rubber", (0.02, 0.02, 0.02), 2.0), climate.look("metal", rgb, 0.5, gloss=0.05)
    parts: list[tuple[float, ...]] = []
    for x in (-0.52, 0.52):
        turn = np.linspace(0, 2 * np.pi, 15)
        rim = [(s * (x + 0.33 * np.cos(t)), 0.34 + 0.33 * np.sin(t)) for t in turn]
        parts += [(*p, 0.022, *q, 0.022) for p, q in zip(rim, rim[1:], strict=False)]
    looks = [tyre] * len(parts)
    pipes = [
        (-0.52, 0.34, -0.12, 0.34),
        (-0.12, 0.34, -0.2, 0.85),
        (-0.2, 0.8, 0.38, 0.85),
        (-0.12, 0.34, 0.38, 0.8),
        (0.52, 0.34, 0.38, 0.98),
        (-0.52, 0.34, -0.2, 0.8),
    ]
    parts += [(s * x0, y0, 0.02, s * x1, y1, 0.02) for x0, y0, x1, y1 in pipes]
    looks += [frame] * len(pipes)
    bicycle = standing_figure(limbs(np.array(parts), looks, place, eye), place, eye, "bike", 0.4, 1.0)

    rider: list[tuple[float, ...]] = []
    dress: list[Look] = []
    for sign in (-1.0, 1.0):
        t = phase + (0 if sign > 0 else np.pi)
        pedal = (s * (-0.12 + 0.16 * np.cos(t)), 0.34 + 0.16 * np.sin(t))
        off = sign * 0.11 * (1 - abs(s))
        knee = (s * (0.16 + 0.05 * np.cos(t)) + off, 0.75 + 0.10 * np.sin(t))
        rider += [
            (pedal[0] + off, pedal[1], 0.04, pedal[0] + off + s * 0.14, pedal[1] - 0.02, 0.03),
            (*knee, 0.062, pedal[0] + off, pedal[1] + 0.05, 0.042),
            (s * -0.2 + off * 0.6, 0.95, 0.095, *knee, 0.066),
        ]
        dress += [w.shoes, w.skin if w.shorts else w.bottom, w.bottom]
    reach = 0.17 * (1 - abs(s))
    rider += [
        (s * -0.18 - 0.05, 1.0, 0.12, s * 0.10 - 0.06, 1.42, 0.125),
        (s * -0.18 + 0.05, 1.0, 0.12, s * 0.10 + 0.06, 1.42, 0.125),
    ]
    dress += [w.top, w.top]
    for sign in (-1.0, 1.0):
        rider += [(s * 0.38 + sign * reach * 1.3, 1.05, 0.045, s * 0.43 + sign * reach * 1.3, 1.04, 0.04),
                  (s * 0.12 + sign * reach * 1.1, 1.42, 0.055, s * 0.38 + sign * reach * 1.3, 1.06, 0.038)]  # fmt: skip
        dress += [w.hands, w.skin if w.short_sleeves else w.top]
    rider += [(s * 0.17, 1.50, 0.055, s * 0.19, 1.58, 0.055), (s * 0.21, 1.63, 0.075, s * 0.21, 1.67, 0.085)]
    dress += [w.skin, w.skin if facing > -0.3 else w.hair]
    rider.append((s * 0.19, 1.71, 0.09, s * 0.19, 1.73, 0.085))
    dress.append(w.hat or w.hair)
    return bicycle, standing_figure(limbs(np.array(rider), dress, place, eye), place, eye, "person", 0.3, 1.8)


def dog(climate: Climate, rgb: RGB, place: np.ndarray, side: float, phase: float, eye: np.ndarray) -> Thing:
    """A dog that trots to the right (side 1) or left (-1)."""
    coat = climate.cloth(rgb, 0.42)
    warm = climate.cloth(rgb, 0.75)
    parts = [(side * (x + 0.07 * np.sin(phase + p)), 0.03, 0.028, side * x, 0.30, 0.05)
             for x, p in ((-0.24, 0.0), (-0.19, 2.6), (0.20, 1.2), (0.25, 3.8))]  # fmt: skip
    parts += [
        (side * -0.22, 0.38, 0.11, side * 0.24, 0.40, 0.125),
        (side * -0.30, 0.43, 0.03, side * -0.46, 0.58, 0.02),
        (side * 0.27, 0.44, 0.085, side * 0.38, 0.58, 0.075),
        (side * 0.40, 0.60, 0.075, side * 0.54, 0.56, 0.04),
    ]
    return standing_figure(limbs(np.array(parts), [coat] * 7 + [warm], place, eye), place, eye, "dog", 0.25, 0.6)
