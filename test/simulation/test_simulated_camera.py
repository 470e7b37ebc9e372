from __future__ import annotations

import numpy as np
import pytest
from worlds import actor, exact_rig, world_of

from aqr_perception.geometry import rigid
from aqr_perception.simulation.camera import Exposure, PictureTaker
from aqr_perception.simulation.drive import Drive, DriveSettings
from aqr_perception.simulation.mesh import Mesh
from aqr_perception.simulation.motion import Motion, Profile
from aqr_perception.simulation.rig import load_rig
from aqr_perception.simulation.tracing import NO_HIT, TracedWorld
from aqr_perception.simulation.truth import boxes_at
from aqr_perception.simulation.world import World, draw_world

PLAIN = Exposure(gain=1.0, balance=np.ones(3, np.float32), saturation=1.0, contrast=1.0,
                 vignette=0.0, noise=0.0, blur=0.0)


def masks(world: World, taker: PictureTaker, t: float) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) track number that each pixel shows, -1 for anything else; and the camera's pose."""
    traced = TracedWorld(world, np.random.default_rng(0))
    moment, pose = taker.moment(traced, t)
    directions = taker.rays @ pose[:3, :3].T.astype(np.float32)
    origins = np.broadcast_to(pose[:3, 3].astype(np.float32), directions.shape).copy()
    hits = moment.trace(origins, directions)
    shown = np.where(hits.distance < NO_HIT, hits.surface("actor"), -1)
    return shown.reshape(taker.camera.height, taker.camera.width), pose


def test_projected_boxes_lie_on_their_objects_in_all_six_pictures():
    rig = load_rig().resized(352, 128)
    world = draw_world(np.random.default_rng(3), 4.0)
    checked = dict.fromkeys(rig.camera_names, 0)
    t = 2.0
    for camera in rig.cameras:
        taker = PictureTaker(camera, Mesh.joined([]))
        shown, pose = masks(world, taker, t)
        when = t + camera.delay_s
        boxes = boxes_at(world, world.actors, when, rigid.inverse(world.world_from_ego(when)
                                                                   @ rig.lidar.ego_from_lidar))
        camera_from_lidar = (rigid.inverse(pose) @ world.world_from_ego(when)
                             @ rig.lidar.ego_from_lidar)
        for k, corners in enumerate(boxes.corners().astype(np.float64)):
            mask = shown == world.actors[k].track_id
            local = rigid.transform_points(camera_from_lidar, corners)
            if mask.sum() < 25 or local[:, 2].min() < .5:
                continue
            pixels = (local @ camera.camera.intrinsics.T)[:, :2] / local[:, 2:]
            row, column = np.nonzero(mask)
            low, high = pixels.min(0), pixels.max(0)
            # The LiDAR frame leans by 1.4°, in which boxes stand upright: a pixel or two.
            room = 1.5 + .03 * (high - low).max()
            assert column.min() >= low[0] - room
            assert column.max() <= high[0] + room
            assert row.min() >= low[1] - room
            assert row.max() <= high[1] + room
            checked[camera.name] += 1
    assert min(checked.values()) >= 1
    assert sum(checked.values()) >= 15


def test_an_unhidden_box_fills_its_projection():
    rig = exact_rig()
    size = (4.0, 2.0, 1.6)
    world = world_of(actor("car", size, Motion(14.0, -2.0), 0))
    taker = PictureTaker(rig.cameras[0], Mesh.joined([]))
    shown, pose = masks(world, taker, 0.0)
    pose_of_box, _ = world.world_from_actor(world.actors[0], 0.0)
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T / 2
    corners = rigid.transform_points(rigid.inverse(pose) @ pose_of_box, signs * size)
    pixels, visible = taker.camera.project(corners)
    assert visible.all()
    row, column = np.nonzero(shown == 0)
    found = np.array([column.min(), column.max(), row.min(), row.max()], float)
    expected = np.array([pixels[:, 0].min(), pixels[:, 0].max(), pixels[:, 1].min(),
                         pixels[:, 1].max()])
    assert np.abs(found - expected).max() <= 1.0  # pixel centres against edges


def test_a_moving_car_is_drawn_where_it_is_at_the_exposure():
    rig = exact_rig()
    speed = 20.0
    world = world_of(actor("car", (4.0, 2.0, 1.6),
                           Motion(12.0, -10.0, np.pi / 2, Profile(speed)), 0))
    camera = rig.cameras[0]
    taker = PictureTaker(camera, Mesh.joined([]))
    shown, pose = masks(world, taker, .5)
    middle = np.mean(np.nonzero(shown == 0)[1])

    def column(t: float) -> float:
        center = world.world_from_actor(world.actors[0], t)[0][:3, 3]
        local = rigid.transform_points(rigid.inverse(pose), center[None])
        return float(taker.camera.project(local)[0][0, 0])
    at_exposure, at_stamp = column(.5 + camera.delay_s), column(.5)
    assert abs(at_stamp - at_exposure) > 5
    assert abs(middle - at_exposure) < 3


def test_shadows_darken_the_road():
    world = world_of(actor("car", (4.0, 2.0, 1.6), Motion(10.0, -2.0), 0))
    taker = PictureTaker(exact_rig().cameras[0], Mesh.joined([]))
    traced = TracedWorld(world, np.random.default_rng(0))
    moment, pose = taker.moment(traced, 0.0)
    # The sun stands to the left and ahead, so the shadow falls to the right and back.
    points = np.array([[9.5, -3.25, .01], [9.5, -.3, .01]], np.float32)
    sun = np.tile(world.weather.sun, (2, 1))
    assert moment.blocked(points, sun).tolist() == [True, False]
    picture = taker.take(world, moment, pose, PLAIN, np.random.default_rng(0))
    pixels, _ = taker.camera.project(rigid.transform_points(rigid.inverse(pose),
                                                            points.astype(np.float64)))
    (u0, v0), (u1, v1) = np.round(pixels).astype(int)
    assert picture[v0, u0].mean() < .8 * picture[v1, u1].mean()


def test_pictures_of_another_size_show_the_same_view():
    world = draw_world(np.random.default_rng(8), 2.0)
    settings = DriveSettings(jitter_rig=False)
    pictures = []
    for width, height in ((176, 64), (352, 128)):
        rng = np.random.default_rng(0)
        rig = load_rig().resized(width, height)
        drive = Drive(world, rig, rng, np.random.default_rng(1))
        frame, _ = drive.frame(0.0, np.random.default_rng(2), settings)
        assert frame.images[0] is not None
        pictures.append(frame.images[0])
    small, large = pictures
    assert large.calibration.camera.intrinsics[0, 0] == pytest.approx(
        2 * small.calibration.camera.intrinsics[0, 0])
    halved = large.pixels.reshape(64, 2, 176, 2, 3).mean((1, 3))
    difference = np.abs(halved - small.pixels).mean()
    assert difference < np.abs(halved[:, ::-1] - small.pixels).mean() / 2
