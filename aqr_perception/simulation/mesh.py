"""Triangles with material and colour, and the few shapes that everything is put together from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aqr_perception.geometry import rigid
from aqr_perception.simulation.materials import Material

Color = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True)
class Mesh:
    """N triangles.

    Attributes:
        triangles: (N, 3, 3) float32 corners [m].
        material: (N,) uint8 `Material`.
        color: (N, 3) float32 linear RGB.
        style: (N,) uint16 variant of the texture; 0 where the material has one only.
    """

    triangles: NDArray[np.float32]
    material: NDArray[np.uint8]
    color: NDArray[np.float32]
    style: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.triangles)

    def moved(self, dst_from_src: rigid.Matrix) -> Mesh:
        """The same triangles in another frame."""
        return Mesh(rigid.transform_points(dst_from_src, self.triangles),
                    self.material, self.color, self.style)

    def bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lowest and highest x, y, z (3,) [m]."""
        corners = self.triangles.reshape(-1, 3)
        return corners.min(axis=0), corners.max(axis=0)

    def fitted(self, size: ArrayLike) -> Mesh:
        """Stretched so that it fills a box of ``size`` (l, w, h) [m] around the origin exactly."""
        low, high = self.bounds()
        scale = (np.asarray(size) / (high - low)).astype(np.float32)
        return Mesh((self.triangles - (low + high) / 2) * scale, self.material, self.color,
                    self.style)

    @staticmethod
    def joined(meshes: Sequence[Mesh]) -> Mesh:
        """All triangles of several meshes, in order."""
        if not meshes:
            return Mesh(np.zeros((0, 3, 3), np.float32), np.zeros(0, np.uint8),
                        np.zeros((0, 3), np.float32), np.zeros(0, np.uint16))
        return Mesh(*(np.concatenate([getattr(mesh, name) for mesh in meshes])
                      for name in ("triangles", "material", "color", "style")))


_BOX = np.array([[0, 1, 2], [0, 2, 3], [4, 6, 5], [4, 7, 6], [0, 4, 1], [1, 4, 5], [1, 5, 2],
                 [2, 5, 6], [2, 6, 3], [3, 6, 7], [3, 7, 0], [0, 7, 4]])
_BOX_CORNERS = np.array([[-1, -1, -1], [-1, 1, -1], [1, 1, -1], [1, -1, -1],
                         [-1, -1, 1], [-1, 1, 1], [1, 1, 1], [1, -1, 1]], np.float64) / 2


@dataclass
class MeshBuilder:
    """Collects shapes; x is forward, y left, z up. Every method adds triangles to the mesh."""

    parts: list[tuple[NDArray[np.float32], int, NDArray[np.float32], int]] = field(
        default_factory=list)

    def add(self, triangles: NDArray[np.floating], material: Material, color: Color,
            style: int = 0) -> None:
        """Add (N, 3, 3) triangles of one material and colour; (N, 3) colours are allowed too."""
        self.parts.append((np.asarray(triangles, np.float32), int(material),
                           np.asarray(color, np.float32), style))

    def add_mesh(self, mesh: Mesh) -> None:
        """Add a finished mesh, triangle by triangle as it is."""
        for material in np.unique(mesh.material):
            for style in np.unique(mesh.style[mesh.material == material]):
                chosen = (mesh.material == material) & (mesh.style == style)
                self.add(mesh.triangles[chosen], Material(int(material)), mesh.color[chosen],
                         int(style))

    def box(self, center: ArrayLike, size: ArrayLike, material: Material, color: Color,
            yaw: float = 0.0, pitch: float = 0.0, style: int = 0) -> None:
        """A box; ``yaw`` turns it about z, ``pitch`` lifts its front before."""
        corners = _BOX_CORNERS * np.asarray(size, np.float64)
        if pitch:
            cosine, sine = np.cos(pitch), np.sin(pitch)
            x, z = corners[:, 0].copy(), corners[:, 2].copy()
            corners[:, 0], corners[:, 2] = cosine * x - sine * z, sine * x + cosine * z
        if yaw:
            cosine, sine = np.cos(yaw), np.sin(yaw)
            x, y = corners[:, 0].copy(), corners[:, 1].copy()
            corners[:, 0], corners[:, 1] = cosine * x - sine * y, sine * x + cosine * y
        self.add((corners + np.asarray(center, np.float64))[_BOX], material, color, style)

    def tube(self, start: ArrayLike, end: ArrayLike, radius: float, end_radius: float | None,
             material: Material, color: Color, sides: int = 6, caps: bool = True) -> None:
        """A cylinder or cone frustum between two points; ``end_radius`` None: as ``radius``."""
        start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
        circle, faces = _tube_faces(sides, caps)
        ring = circle @ _across(end - start)
        points = np.empty((2 * sides + 2, 3))
        points[:sides] = start + radius * ring
        points[sides:2 * sides] = end + (radius if end_radius is None else end_radius) * ring
        points[-2], points[-1] = start, end
        self.add(points[faces], material, color)

    def disc(self, center: ArrayLike, axis: ArrayLike, radius: float, material: Material,
             color: Color, sides: int = 8) -> None:
        """A flat disc across an axis."""
        circle, faces = _tube_faces(sides, True)
        points = np.empty((sides + 1, 3))
        points[:sides] = radius * (circle @ _across(np.asarray(axis, np.float64)))
        points[sides] = 0
        points += np.asarray(center, np.float64)
        cap = faces[2 * sides:3 * sides].copy()
        cap[cap == 2 * sides] = sides  # a tube's start is the disc's middle
        self.add(points[cap], material, color)

    def quad(self, corners: ArrayLike, material: Material, color: Color, style: int = 0) -> None:
        """A flat patch of four corners (4, 3), in order around it."""
        a, b, c, d = np.asarray(corners, np.float64)
        self.add(np.array([[a, b, c], [a, c, d]]), material, color, style)

    def loft(self, profile: ArrayLike, half_widths: ArrayLike, material: Material, color: Color
             ) -> None:
        """A body of mirror symmetry about y = 0.

        Args:
            profile: (P, 2) outline x, z [m], counter-clockwise seen from the right; star-shaped
                seen from its middle.
            half_widths: (P,) half width [m] at each outline point.
            material: Of all its faces.
            color: Of all its faces.
        """
        outline, half = np.asarray(profile, np.float64), np.asarray(half_widths, np.float64)
        left = np.stack([outline[:, 0], half, outline[:, 1]], 1)
        right = left * [1, -1, 1]
        following = np.arange(1, len(left) + 1) % len(left)
        left_next, right_next = left[following], right[following]
        faces = [np.stack([left, left_next, right_next], 1),
                 np.stack([left, right_next, right], 1)]
        for ring, ring_next in ((left, left_next), (right, right_next)):
            middle = ring.mean(axis=0)
            middle[1] = np.sign(middle[1]) * half.max()
            faces.append(np.stack([np.broadcast_to(middle, ring.shape), ring, ring_next], 1))
        self.add(np.concatenate(faces), material, color)

    def ball(self, center: ArrayLike, radii: ArrayLike, material: Material, color: Color,
             sides: int = 8, rings: int = 5) -> None:
        """An ellipsoid."""
        polar = np.linspace(0, np.pi, rings + 1)
        around = np.arange(sides + 1) * (2 * np.pi / sides)
        grid = np.stack([np.sin(polar)[:, None] * np.cos(around), np.sin(polar)[:, None]
                         * np.sin(around), np.repeat(np.cos(polar)[:, None], sides + 1, 1)], -1)
        grid = grid * np.asarray(radii, np.float64) + np.asarray(center, np.float64)
        a, b = grid[:-1, :-1].reshape(-1, 3), grid[:-1, 1:].reshape(-1, 3)
        c, d = grid[1:, 1:].reshape(-1, 3), grid[1:, :-1].reshape(-1, 3)
        upper, lower = np.stack([a, d, c], 1), np.stack([a, c, b], 1)
        self.add(np.concatenate([upper[sides:], lower[:-sides]]), material, color)

    def build(self) -> Mesh:
        """The mesh of all that was added."""
        if not self.parts:
            return Mesh.joined([])
        counts = [len(part[0]) for part in self.parts]
        return Mesh(
            triangles=np.concatenate([part[0] for part in self.parts]),
            material=np.repeat(np.array([part[1] for part in self.parts], np.uint8), counts),
            color=np.concatenate([np.broadcast_to(part[2], (count, 3))
                                  for part, count in zip(self.parts, counts)]),
            style=np.repeat(np.array([part[3] for part in self.parts], np.uint16), counts))


@lru_cache(maxsize=64)
def _tube_faces(sides: int, caps: bool) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Of a tube: its unit circle (sides, 2), and the corners of its triangles (N, 3).

    Corners count the start's ring, the end's ring, the start's middle, the end's middle.
    """
    angle = np.arange(sides) * (2 * np.pi / sides) + np.pi / sides
    low = np.arange(sides)
    following = np.roll(low, -1)
    high, start, end = low + sides, np.full(sides, 2 * sides), np.full(sides, 2 * sides + 1)
    faces = [(low, following, following + sides), (low, following + sides, high)]
    if caps:
        faces += [(start, following, low), (end, high, following + sides)]
    return (np.stack([np.cos(angle), np.sin(angle)], 1),
            np.concatenate([np.stack(corners, 1) for corners in faces]))


def _across(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two unit vectors (2, 3) across an axis and across each other; plain floats are quickest."""
    x, y, z = (float(value) for value in axis)
    length = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    if abs(z) < .9:  # axis × z
        flat = math.hypot(x, y)
        a, b, c = y / flat, -x / flat, 0.0
    else:  # axis × x
        flat = math.hypot(y, z)
        a, b, c = 0.0, z / flat, -y / flat
    return np.array([[a, b, c], [y * c - z * b, z * a - x * c, x * b - y * a]])


def at(x: float, y: float, z: float) -> NDArray[np.float64]:
    """An offset (3,) [m]."""
    return np.array([x, y, z], np.float64)


def grid_triangles(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Two triangles a cell, (2·(R-1)·(C-1), 3, K), of a grid of points (R, C, K)."""
    a, b = points[:-1, :-1], points[1:, :-1]
    c, d = points[1:, 1:], points[:-1, 1:]
    width = points.shape[-1]
    return np.stack([np.stack([a, b, c], -2), np.stack([a, c, d], -2)], 2).reshape(-1, 3, width)
