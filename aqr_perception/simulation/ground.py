"""The ground: carriageway, kerbs and blocks as triangles, and a picture of what covers them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from aqr_perception.simulation import palette
from aqr_perception.simulation.materials import Material
from aqr_perception.simulation.mesh import Mesh, MeshBuilder, grid_triangles
from aqr_perception.simulation.roadmap import KERB_HEIGHT, RoadMap

RESOLUTION = 8.0
"""Pixels a metre of the surface picture."""
_LEVELS = 4


class Surface(IntEnum):
    """What covers the ground; an index into `Ground.colors` and `Ground.reflectivity`."""

    ASPHALT = 0
    PATCH = 1
    WHITE = 2
    YELLOW = 3
    PAVING = 4
    GRASS = 5
    SOIL = 6
    CONCRETE = 7
    BRICK = 8
    RED = 9


ROUGHNESS = np.array([0, 0, 0, 0, 0, .05, .04, 0, 0, 0], np.float32)
"""Standard deviation of the height of each cover [m]: blades of grass, lumps of soil."""


@dataclass(frozen=True)
class Ground:
    """What covers the ground, as a picture in road coordinates.

    Attributes:
        roadmap: The streets.
        surface: (rows along d, columns along s) uint8 `Surface`.
        pictures: The same in colour (…, 3) uint8, square roots of linear RGB, each level half
            the size of the one before.
        reflectivity: (surfaces,) LiDAR reflectivity 0..255.
    """

    roadmap: RoadMap
    surface: NDArray[np.uint8]
    pictures: tuple[NDArray[np.uint8], ...]
    reflectivity: NDArray[np.float32]

    def surface_at(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Cover at world x, y."""
        row, column = self._pixel(x, y, 0)
        return self.surface[row, column]

    def color_at(self, x: NDArray[np.floating], y: NDArray[np.floating],
                 footprint: NDArray[np.floating]) -> NDArray[np.float32]:
        """Linear RGB (N, 3) at world x, y, averaged over about ``footprint`` (N,) [m]."""
        level = np.clip(np.log2(np.maximum(footprint * RESOLUTION, 1.0)), 0, _LEVELS - 1)
        level = level.astype(np.int8)
        s, d = self.roadmap.frame.road(x, y)
        out = np.empty((len(s), 3), np.float32)
        for k in range(_LEVELS):
            here = np.flatnonzero(level == k)
            if len(here):
                row, column = self._road_pixel(s[here], d[here], k)
                out[here] = self.pictures[k][row, column]
        out *= np.float32(1 / 255)
        return out * out

    def _pixel(self, x: NDArray[np.floating], y: NDArray[np.floating], level: int
               ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        return self._road_pixel(*self.roadmap.frame.road(x, y), level)

    def _road_pixel(self, s: NDArray[np.floating], d: NDArray[np.floating], level: int
                    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        rows, columns = self.pictures[level].shape[:2]
        scale = RESOLUTION / 2 ** level
        row = ((d + self.roadmap.reach) * scale).astype(np.int32)
        column = ((s - self.roadmap.start) * scale).astype(np.int32)
        return np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)


@dataclass
class SurfacePainter:
    """Paints covers into the picture, in road coordinates."""

    roadmap: RoadMap
    surface: NDArray[np.uint8]

    @staticmethod
    def blank(roadmap: RoadMap) -> SurfacePainter:
        """All asphalt."""
        shape = (int(2 * roadmap.reach * RESOLUTION),
                 int((roadmap.end - roadmap.start) * RESOLUTION))
        return SurfacePainter(roadmap, np.zeros(shape, np.uint8))

    def rectangle(self, s0: float, s1: float, d0: float, d1: float, surface: Surface) -> None:
        """Cover s0..s1 × d0..d1; d0 and d1 in either order."""
        d0, d1 = min(d0, d1), max(d0, d1)
        rows, columns = self.surface.shape
        r0, r1 = (np.clip(round((d + self.roadmap.reach) * RESOLUTION), 0, rows) for d in (d0, d1))
        c0, c1 = (np.clip(round((s - self.roadmap.start) * RESOLUTION), 0, columns)
                  for s in (s0, s1))
        self.surface[r0:r1, c0:c1] = surface

    def polygon(self, corners: NDArray[np.floating], surface: Surface) -> None:
        """Cover a polygon of (N, 2) s, d."""
        pixels = (corners - [self.roadmap.start, -self.roadmap.reach]) * RESOLUTION
        cv2.fillPoly(self.surface, [np.round(pixels).astype(np.int32)], int(surface))

    def dashes(self, s0: float, s1: float, d: float, dash: float, gap: float, width: float,
               surface: Surface = Surface.WHITE) -> None:
        """A broken line along s; a gap of 0 makes it whole."""
        if gap <= 0:
            self.rectangle(s0, s1, d - width / 2, d + width / 2, surface)
            return
        for s in np.arange(s0, s1, dash + gap):
            self.rectangle(s, min(s + dash, s1), d - width / 2, d + width / 2, surface)


def paint_roads(painter: SurfacePainter, rng: np.random.Generator) -> None:
    """Markings, crossings and pavements."""
    plan = painter.roadmap
    for _ in range(int(rng.integers(2, 14))):  # mended places
        s, d = rng.uniform(plan.start, plan.end), rng.uniform(plan.right, plan.left)
        painter.rectangle(s, s + rng.uniform(1, 25), d, d + rng.uniform(.6, 3.5), Surface.PATCH)
    line = Surface.WHITE if rng.random() < .75 else Surface.YELLOW
    dash, gap = (3.0, 9.0) if rng.random() < .5 else (2.0, 4.0)
    edges = [plan.start]
    for road in plan.crossings:
        edges += [road.center - road.half_width - 3.5, road.center + road.half_width + 3.5]
    edges.append(plan.end)
    for s0, s1 in zip(edges[::2], edges[1::2]):
        _paint_lanes(painter, s0, s1, line, dash, gap, rng)
    for road in plan.crossings:
        for low, high, there in ((-plan.reach, plan.right, road.right),
                                 (plan.left, plan.reach, road.left)):
            if there and road.half_width > 2.8:
                for d in np.arange(low, high, 6.0):
                    painter.rectangle(road.center - .07, road.center + .07, d, d + 3, Surface.WHITE)
        if rng.random() < .6:
            for edge in (road.center - road.half_width - 2.8, road.center + road.half_width + .2):
                _zebra(painter, edge, plan.right, plan.left, rng)
    paving = Surface(int(rng.choice([Surface.PAVING, Surface.CONCRETE, Surface.BRICK],
                                    p=[.5, .35, .15])))
    for s0, s1, d0, d1 in plan.blocks():
        painter.rectangle(s0, s1, d0, d1, Surface.GRASS if rng.random() < .6 else Surface.CONCRETE)
        edge = plan.pavement
        verge = rng.uniform(0, 2.5) if rng.random() < .4 else 0.0
        painter.rectangle(s0, s0 + edge, d0, d1, paving)
        painter.rectangle(s1 - edge, s1, d0, d1, paving)
        low, high = (d0, d0 + edge + verge) if d0 > 0 else (d1 - edge - verge, d1)
        painter.rectangle(s0, s1, low, high, paving)
        if verge:
            low, high = (d0 + .2, d0 + verge) if d0 > 0 else (d1 - verge, d1 - .2)
            painter.rectangle(s0 + 1, s1 - 1, low, high, Surface.GRASS)
    for s0, s1, d0, d1 in plan.median_strips():
        painter.rectangle(s0, s1, d0, d1, Surface.GRASS if rng.random() < .6 else Surface.CONCRETE)


def _paint_lanes(painter: SurfacePainter, s0: float, s1: float, line: Surface, dash: float,
                 gap: float, rng: np.random.Generator) -> None:
    plan = painter.roadmap
    for first, second in zip(plan.lanes, plan.lanes[1:]):
        d = (first.center + first.width / 2 + second.center - second.width / 2) / 2
        if first.direction * second.direction < 0:
            if plan.median is None:
                for shift in (-.12, .12):
                    painter.dashes(s0, s1, d + shift, dash, 0, .12, line)
        elif first.direction == 0 or second.direction == 0:
            if rng.random() < .7:
                painter.dashes(s0, s1, d, 1, 0, .12)
        else:
            painter.dashes(s0, s1, d, dash, gap, .15)
    if rng.random() < .5:
        for d in (plan.right + .3, plan.left - .3):
            painter.dashes(s0, s1, d, 1, 0, .12, line)
            if rng.random() < .5:
                painter.dashes(s0, s1, d + np.sign(-d) * .25, 1, 0, .12, line)
    for lane in plan.lanes:
        if lane.direction and rng.random() < .5:
            tip = s1 - 6 if lane.direction > 0 else s0 + 6
            _arrow(painter, tip, lane.center, lane.direction)
        if lane.direction:  # stop line
            s = s1 if lane.direction > 0 else s0
            painter.rectangle(s - .2, s + .2, lane.center - lane.width / 2 + .1,
                              lane.center + lane.width / 2 - .1, Surface.WHITE)


def _arrow(painter: SurfacePainter, s: float, d: float, direction: int) -> None:
    shaft = np.array([[0, -.1], [-3, -.1], [-3, .1], [0, .1]])
    head = np.array([[0, -.45], [1.5, 0], [0, .45]])
    for part in (shaft, head):
        painter.polygon(part * [direction, 1] + [s, d], Surface.WHITE)


def _zebra(painter: SurfacePainter, s: float, low: float, high: float, rng: np.random.Generator
           ) -> None:
    if rng.random() < .6:
        for d in np.arange(low + .4, high - .4, 1.0):
            painter.rectangle(s, s + 2.6, d, d + .5, Surface.WHITE)
    else:
        for edge in (s, s + 2.4):
            painter.rectangle(edge, edge + .2, low + .3, high - .3, Surface.WHITE)


def finish(painter: SurfacePainter, rng: np.random.Generator, wet: float) -> Ground:
    """Choose colours and reflectivities; ``wet`` 0..1 darkens both."""
    asphalt = palette.rgb(rng.uniform(48, 130)) * (1 + rng.normal(0, .02, 3))
    colors = np.stack([
        asphalt, asphalt * rng.uniform(.6, 1.25), palette.rgb(rng.uniform(180, 235)),
        palette.rgb(215, 165, 40), palette.varied(rng, palette.rgb(132, 128, 122), .2),
        _grass(rng), palette.varied(
            rng, palette.rgb(140, 115, 85), .2),
        palette.varied(rng, palette.rgb(142, 140, 134), .15), palette.varied(
            rng, palette.rgb(140, 85, 70), .2), palette.rgb(150, 50, 45)])
    colors = np.clip(colors * (1 - .45 * wet), .004, .9)
    reflectivity = np.array([10, 9, 55, 45, 26, 38, 22, 26, 20, 24], np.float64)
    reflectivity *= np.exp(rng.normal(0, .4, len(reflectivity))) * (1 - .6 * wet)
    picture = (255 * np.sqrt(colors)).round().astype(np.uint8)[painter.surface]
    pictures = [picture]
    for _ in range(_LEVELS - 1):
        rows, columns = pictures[-1].shape[:2]
        pictures.append(np.asarray(cv2.resize(pictures[-1], (columns // 2, rows // 2),
                                              interpolation=cv2.INTER_AREA)))
    return Ground(painter.roadmap, painter.surface, tuple(pictures),
                  reflectivity.astype(np.float32))


def _grass(rng: np.random.Generator) -> NDArray[np.float64]:
    """A lawn, from green to dry."""
    green, dry = palette.foliage(rng) * rng.uniform(.8, 1.4), palette.rgb(120, 105, 70)
    share = rng.beta(1.2, 2.0)
    return np.asarray(green * (1 - share) + dry * share)


def ground_mesh(plan: RoadMap, rng: np.random.Generator) -> Mesh:
    """Carriageway, raised blocks and kerbs."""
    build = MeshBuilder()
    _patch(build, plan, plan.start, plan.end, -plan.reach, plan.reach, 0.0, 4.0)
    _surroundings(build, plan)
    painted = rng.random() < .4
    for s0, s1, d0, d1 in plan.blocks() + plan.median_strips():
        _patch(build, plan, s0, s1, d0, d1, KERB_HEIGHT, 4.0)
        inner = [d for d in (d0, d1) if abs(d) < plan.reach]
        for d in inner:
            _kerb(build, plan, [(s0, d), (s1, d)], painted)
        for s in (s0, s1):
            if plan.start < s < plan.end:
                near, far = sorted((d0, d1), key=abs)
                _kerb(build, plan, [(s, near), (s, far)], painted)
    return build.build()


def _patch(build: MeshBuilder, plan: RoadMap, s0: float, s1: float, d0: float, d1: float,
           lift: float, step: float) -> None:
    s = np.linspace(s0, s1, max(2, int(np.ceil((s1 - s0) / step)) + 1))
    d = np.linspace(d0, d1, max(2, int(np.ceil((d1 - d0) / step)) + 1))
    xy = plan.frame.world(np.stack(np.meshgrid(s, d, indexing="ij"), -1))
    points = np.concatenate([xy, (plan.terrain.height(xy) + lift)[..., None]], -1)
    build.add(grid_triangles(points), Material.GROUND, palette.rgb(120))


def _surroundings(build: MeshBuilder, plan: RoadMap) -> None:
    """The land beyond the streets, coarse and a little lower."""
    middle, reach = plan.frame.world([(plan.start + plan.end) / 2, 0.0]), plan.end - plan.start
    axis = np.linspace(-reach, reach, 25)
    xy = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1) + middle
    points = np.concatenate([xy, (plan.terrain.height(xy) - .6)[..., None]], -1)
    build.add(grid_triangles(points), Material.GROUND, palette.rgb(120))


def _kerb(build: MeshBuilder, plan: RoadMap, ends: list[tuple[float, float]], painted: bool
          ) -> None:
    """A vertical face along a line of road coordinates, in pieces of about a metre."""
    start, end = np.array(ends)
    pieces = max(1, round(float(np.abs(end - start).max())))
    xy = plan.frame.world(start + np.linspace(0, 1, pieces + 1)[:, None] * (end - start))
    z = plan.terrain.height(xy)
    points = np.stack([np.column_stack([xy, z - .05]), np.column_stack([xy, z + KERB_HEIGHT])], 1)
    color = np.full((pieces, 3), palette.rgb(150))
    if painted:
        color[::2], color[1::2] = palette.rgb(30), palette.rgb(215)
    build.add(grid_triangles(points), Material.CONCRETE, np.repeat(color, 2, axis=0))
