"""A simulated drive: frames of seven sensors and the truth about each, all from one seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aqr_perception.geometry import rigid
from aqr_perception.geometry.sweeps import far_points, join_sweeps
from aqr_perception.simulation import vehicles
from aqr_perception.simulation.camera import Exposure, PictureTaker
from aqr_perception.simulation.lidar import POINT_GRID, SpinningLidar
from aqr_perception.simulation.rig import SensorRig
from aqr_perception.simulation.tracing import TracedWorld
from aqr_perception.simulation.truth import SAMPLES, SightLines, annotate
from aqr_perception.simulation.world import EGO_MIDDLE, EGO_SIZE, World, draw_world
from aqr_perception.types import Annotations, Calibration, CameraImage, LidarCloud, SensorFrame

START_NS = 1_600_000_000_000_000_000
"""Stamp of every drive's first frame [ns]."""


@dataclass(frozen=True)
class DriveSettings:
    """What may be chosen about a drive.

    Attributes:
        rate_hz: Frames a second.
        jitter_rig: Whether the sensors sit a little differently in each drive (and are known to).
        reach: Objects farther away than this are not annotated [m].
        images: False leaves the pictures out, which is several times faster.
        sweeps: Sweeps that a frame's cloud is made of, the newest and those before it, joined by
            the car's true motion.
        sweep_interval_s: Time between those [s].
    """

    rate_hz: float = 2.0
    jitter_rig: bool = True
    reach: float = 100.0
    images: bool = True
    sweeps: int = 1
    sweep_interval_s: float = 0.1

    def __post_init__(self) -> None:
        if not .1 <= self.rate_hz <= 50:
            raise ValueError(f"rate is {self.rate_hz} Hz; expected 0.1 to 50")
        if not 1 <= self.sweeps <= 10:
            raise ValueError(f"sweeps is {self.sweeps}; expected 1 to 10")
        if not .02 <= self.sweep_interval_s <= 1:
            raise ValueError(f"sweep interval is {self.sweep_interval_s} s; expected 0.02 to 1")


Frame = tuple[SensorFrame, Annotations]


def simulate_drive(seed: int, frames: int, rig: SensorRig, settings: DriveSettings = DriveSettings()
                   ) -> Iterator[Frame]:
    """Drive through a world.

    The same seed, number of frames, rig and settings give the same bytes, in any process.

    Args:
        seed: 0 or more; the drive's number, as it were.
        frames: How many.
        rig: The car's sensors.
        settings: The rest.

    Yields:
        One frame at a time, with its truth.
    """
    streams = [np.random.Generator(np.random.PCG64(child))
               for child in np.random.SeedSequence(seed).spawn(5)]
    world_rng, rig_rng, sensor_rng, truth_rng, past_rng = streams
    world = draw_world(world_rng, (frames - 1) / settings.rate_hz)
    if settings.jitter_rig:
        rig = rig.jittered(rig_rng)
    drive = Drive(world, rig, rig_rng, truth_rng)
    for k in range(frames):
        frame, truth = drive.frame(k / settings.rate_hz, sensor_rng, settings)
        yield drive.with_past(frame, k / settings.rate_hz, past_rng, settings), truth


class Drive:
    """A world with a rig in it."""

    def __init__(self, world: World, rig: SensorRig, rig_rng: np.random.Generator,
                 truth_rng: np.random.Generator) -> None:
        self.world, self.rig = world, rig
        ego = vehicles.ego(EGO_SIZE).moved(rigid.from_xyz_yaw(EGO_MIDDLE, 0, 0, 0))
        self.traced = TracedWorld(world, truth_rng)
        self.sight = SightLines(world, truth_rng)
        self.lidar = SpinningLidar(rig.lidar, ego)
        self.takers = [PictureTaker(camera, ego) for camera in rig.cameras]
        self.exposures = [Exposure.drawn(rig_rng) for _ in rig.cameras]

    def frame(self, t: float, rng: np.random.Generator, settings: DriveSettings) -> Frame:
        """Frame whose LiDAR stamp is t [s]."""
        stamp = START_NS + round(t * 1e9)
        world_from_lidar = self._world_from_lidar(t)
        sweep = self.lidar.sweep(self.traced, t, rng)
        seen = np.zeros((len(self.sight.actors), SAMPLES), bool)
        images: list[CameraImage | None] = []
        for taker, exposure in zip(self.takers, self.exposures):
            image, found = self._picture(taker, exposure, t, stamp, world_from_lidar, rng,
                                         settings.images)
            images.append(image)
            seen |= found
        frame = SensorFrame(
            stamp_ns=stamp, frame_id=self.rig.lidar.name, lidar=LidarCloud(stamp, sweep.points),
            images=tuple(images), camera_names=self.rig.camera_names,
            fixed_from_lidar=_settled(world_from_lidar))
        return frame, annotate(self.world, self.sight, seen, t, rigid.inverse(world_from_lidar),
                               sweep.points, settings.reach)

    def with_past(self, frame: SensorFrame, t: float, rng: np.random.Generator,
                  settings: DriveSettings) -> SensorFrame:
        """The frame of t [s] with the sweeps before it joined to its cloud.

        They draw from a stream of their own: the rest is the same with and without them.
        """
        if frame.lidar is None or settings.sweeps == 1:
            return frame
        lidar_from_world = rigid.inverse(self._world_from_lidar(t))
        older = []
        for number in range(1, settings.sweeps):
            age = number * settings.sweep_interval_s
            sweep = self.lidar.sweep(self.traced, t - age, rng)
            older.append((far_points(sweep.points),
                          lidar_from_world @ self._world_from_lidar(t - age), age))
        points = join_sweeps(frame.lidar.points, older)
        points[:, :3] = np.round(points[:, :3] * POINT_GRID) / POINT_GRID
        return replace(frame, lidar=replace(frame.lidar, points=points))

    def _world_from_lidar(self, t: float) -> rigid.Matrix:
        return self.world.world_from_ego(t) @ self.rig.lidar.ego_from_lidar

    def _picture(self, taker: PictureTaker, exposure: Exposure, t: float, stamp: int,
                 world_from_lidar: rigid.Matrix, rng: np.random.Generator, render: bool
                 ) -> tuple[CameraImage | None, NDArray[np.bool_]]:
        moment, world_from_camera = taker.moment(self.traced, t)
        seen = self.sight.seen(self.world, moment, taker.camera, world_from_camera)
        if not render:
            return None, seen
        pixels = taker.take(self.world, moment, world_from_camera, exposure, rng)
        name = taker.rig_camera.name
        return CameraImage(
            name=name, stamp_ns=stamp + round(taker.rig_camera.delay_s * 1e9), pixels=pixels,
            calibration=Calibration(taker.camera,
                                    _settled(rigid.inverse(world_from_camera) @ world_from_lidar),
                                    name)), seen


def _settled(pose: rigid.Matrix) -> rigid.Matrix:
    """A pose rounded to 2⁻²⁶ (15 nm): libraries of linear algebra differ in the last bit."""
    return np.round(pose * 2 ** 26) / 2 ** 26
