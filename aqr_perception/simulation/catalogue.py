"""The ten classes: how large they are, and a mesh of one of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqr_perception.simulation import palette, people, vehicles, works
from aqr_perception.simulation.mesh import Mesh
from aqr_perception.types import CLASS_NAMES

_SIZES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    # Mean and standard deviation of length, width, height [m], near those of nuScenes.
    "car": ((4.62, 1.95, 1.70), (.38, .13, .18)),
    "truck": ((6.9, 2.45, 2.85), (1.8, .30, .60)),
    "construction_vehicle": ((6.4, 2.8, 3.1), (1.4, .40, .50)),
    "bus": ((10.8, 2.92, 3.45), (1.8, .12, .35)),
    "trailer": ((11.5, 2.85, 3.7), (2.6, .20, .45)),
    "barrier": ((.55, 2.3, 1.02), (.10, .35, .10)),
    "motorcycle": ((2.1, .78, 1.45), (.20, .10, .12)),
    "bicycle": ((1.72, .62, 1.25), (.12, .08, .12)),
    "pedestrian": ((.75, .68, 1.75), (.16, .10, .11)),
    "traffic_cone": ((.41, .41, .95), (.07, .07, .22)),
}


@dataclass(frozen=True)
class Model:
    """One object's look.

    Attributes:
        label: Index into `CLASS_NAMES`.
        size: (3,) length, width, height of its box [m].
        mesh: Triangles around the box's centre, x forward.
    """

    label: int
    size: NDArray[np.float64]
    mesh: Mesh


def draw_size(rng: np.random.Generator, name: str) -> NDArray[np.float64]:
    """Length, width, height [m] of one of a class; long ones tend to be tall."""
    mean, spread = (np.array(values) for values in _SIZES[name])
    common = rng.normal()
    return np.asarray(mean + spread * np.clip(.6 * common + .8 * rng.normal(size=3), -2.2, 2.2))


def draw_model(rng: np.random.Generator, name: str, moving: bool = False) -> Model:
    """One object of a class.

    Args:
        rng: Source of everything about it.
        name: Class.
        moving: It walks, rides or drives: people stride, cycles carry a rider.
    """
    size = draw_size(rng, name)
    if name == "car":
        mesh = vehicles.car(rng, size)
    elif name == "truck":
        if rng.random() < .25:
            size[2] = rng.uniform(1.9, 2.3)
            size[0] = rng.uniform(5.2, 6.2)
            size[1] = rng.uniform(1.95, 2.2)
        mesh = vehicles.truck(rng, size)
    elif name == "bus":
        if rng.random() < .12:
            size[2] = rng.uniform(4.0, 4.4)
        mesh = vehicles.bus(rng, size)
    elif name == "trailer":
        mesh = vehicles.trailer(rng, size)
    elif name == "construction_vehicle":
        mesh = works.construction_vehicle(rng, size)
    elif name == "pedestrian":
        if rng.random() < .06:
            size *= rng.uniform(.55, .85)  # children
        stride = rng.uniform(-1, 1) if moving else rng.normal(0, .12)
        mesh = people.pedestrian(rng, size, stride)
    elif name in ("bicycle", "motorcycle"):
        rider = moving or rng.random() < .1
        if rider:
            size[2] = rng.uniform(1.55, 1.85)
        shape = people.bicycle if name == "bicycle" else people.motorcycle
        mesh = shape(rng, size, rider)
    elif name == "barrier":
        mesh = works.barrier(rng, size, *draw_barrier_kind(rng))
    else:
        size[1] = size[0]
        mesh = works.cone(rng, size)
    return Model(CLASS_NAMES.index(name), size, mesh)


def draw_barrier_kind(rng: np.random.Generator) -> tuple[int, NDArray[np.float64]]:
    """Kind and colour that the barriers of one line share."""
    kind = int(rng.choice(3, p=[.5, .25, .25]))
    if kind == 1:
        return kind, palette.varied(rng, palette.rgb(165, 160, 150), .2)
    return kind, palette.pick(rng, ((palette.rgb(215, 75, 35), 3.), (palette.rgb(225), 2.),
                                    (palette.rgb(225, 180, 40), 1.)))


def tractor_model(rng: np.random.Generator, trailer: Model) -> Model:
    """The lorry that pulls a trailer."""
    size = np.array([rng.uniform(5.2, 6.6), min(trailer.size[1], 2.6),
                     min(trailer.size[2], rng.uniform(3.0, 3.7))])
    return Model(CLASS_NAMES.index("truck"), size, vehicles.tractor(rng, size))
