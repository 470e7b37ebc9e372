"""Which sweeps are kept and joined; random streams against what must hold of any."""

from dataclasses import replace

import numpy as np
import pytest

from aqr_perception.geometry import rigid
from aqr_perception.runtime.sweeps import (
    AS_IT_CAME,
    WITHOUT_POSE,
    KeptSweep,
    SweepAccumulator,
    joined,
)
from aqr_perception.types import LidarCloud, SensorFrame, SweepSettings

START_NS = 1_700_000_000_000_000_000
TENTH_NS = 100_000_000
PILLAR = np.array([[30.0, 5.0, 0.0], [30.0, 5.0, 1.0]])
"""Points of a thing that stands, in the fixed frame [m]."""


def pose(stamp_ns):
    """15 m/s ahead in a bend, far from the origin as maps are."""
    seconds = (stamp_ns - START_NS) * 1e-9
    return rigid.from_xyz_yaw(400 + 15 * seconds, 1200 + 2 * seconds, 1.8, 0.4 + 0.5 * seconds)


def sweep(stamp_ns, where=pose):
    """What the LiDAR sees of the pillar, which stands before the car's first place."""
    points = np.zeros((len(PILLAR), 5), np.float32)
    fixed = rigid.transform_points(pose(START_NS), PILLAR)
    points[:, :3] = rigid.transform_points(rigid.inverse(pose(stamp_ns)), fixed)
    points[:, 3] = 0.5
    return KeptSweep(stamp_ns, points, where(stamp_ns) if where else None)


def kept(stamps, settings=None):
    accumulator = SweepAccumulator(settings or SweepSettings())
    for stamp_ns in stamps:
        accumulator.keep(sweep(int(stamp_ns)))
    return accumulator


def ages(accumulator, stamp_ns):
    """Ages of what is chosen [ms]."""
    return [(stamp_ns - one.stamp_ns) // 1_000_000 for one in accumulator.chosen(stamp_ns)]


def at(*milliseconds):
    return [START_NS + 1_000_000 * ms for ms in milliseconds]


@pytest.mark.parametrize(("stamps", "expected"), [
    (at(0), [0]),
    (at(0, 100, 200, 300, 400), [0, 100, 200, 300]),
    (at(*range(0, 1000, 50)), [0, 100, 200, 300]),
    (at(0, 205, 290, 400), [0, 110, 195]),
    (at(0, 100, 300, 400), [0, 100, 300]),
    (at(0, 200, 400), [0, 200]),
    (at(0, 400), [0]),
    (at(0, 149, 300), [0, 151, 300]),
    (at(0, 100, 200, 199, 300), [0, 100, 200, 300]),
])
def test_the_sweep_nearest_to_each_age_is_chosen_once(stamps, expected):
    assert ages(kept(stamps), stamps[-1]) == expected


def test_what_is_newer_than_the_set_is_not_for_it():
    accumulator = kept(at(*range(0, 700, 100)))
    assert ages(accumulator, at(400)[0]) == [0, 100, 200, 300]
    assert accumulator.chosen(at(450)[0]) == ()


def test_a_set_that_waits_long_finds_its_sweeps_where_that_is_known():
    accumulator = SweepAccumulator(SweepSettings(), wait_s=5.0)
    for stamp_ns in at(*range(0, 6000, 100)):
        accumulator.keep(KeptSweep(stamp_ns))
    assert ages(accumulator, at(1000)[0]) == [0, 100, 200, 300]


@pytest.mark.parametrize("stamps", [at(0, 100, 200, 99_000), at(5000, 5100, 5200, 0)])
def test_a_gap_and_a_jump_back_begin_anew(stamps):
    accumulator = kept(stamps)
    assert len(accumulator) == 1
    assert ages(accumulator, stamps[-1]) == [0]


def test_a_sweep_that_was_overtaken_finds_its_place_and_one_that_comes_twice_has_none():
    accumulator = kept(at(0, 200, 100, 300))
    assert ages(accumulator, at(300)[0]) == [0, 100, 200, 300]
    accumulator.keep(KeptSweep(at(300)[0]))
    assert len(accumulator) == 4
    assert accumulator.chosen(at(300)[0])[0].points is not None


def test_one_sweep_is_none_kept():
    accumulator = kept(at(0, 100), SweepSettings(1))
    assert len(accumulator) == 0
    assert accumulator.chosen(at(100)[0]) == ()


def test_the_car_itself_is_in_a_sweeps_own_set_and_in_no_later_one():
    near = np.array([[0.5, 0.5, 0.0, 0.1, 0.0]], np.float32)
    sweeps = [replace(one, points=np.vstack([one.points, near]))
              for one in map(sweep, at(0, 100, 200))]
    for index, newest in enumerate(sweeps):
        points = joined(newest, sweeps[:index][::-1]).points
        is_near = np.linalg.norm(points[:, :3], axis=1) < 1
        assert points[is_near].tolist() == near.tolist()
        assert len(points) == len(near) + (1 + index) * len(PILLAR)


@pytest.mark.parametrize("seed", range(20))
def test_random_streams(seed):
    """Jitter, gaps, jumps, copies and messages that overtook each other, at any rate."""
    rng = np.random.default_rng(seed)
    settings = SweepSettings(int(rng.integers(1, 11)), float(rng.uniform(0.02, 1.0)))
    interval_s, period_s = settings.interval_s, rng.uniform(0.01, 0.3)
    most = (settings.interval_s * (settings.count + 0.5) + 0.5) * 20 + 3
    accumulator, now_ns, last = SweepAccumulator(settings), START_NS, []
    for _ in range(400):
        event = rng.random()
        if event < 0.02:
            now_ns += int(rng.uniform(-20, 20) * 1e9)
        now_ns += int(period_s * rng.uniform(0.7, 1.3) * 1e9)
        stamp_ns = now_ns
        if event > 0.95 and last:
            stamp_ns = int(rng.choice(last))
        elif event > 0.9:
            stamp_ns -= int(rng.uniform(0, 2 * period_s) * 1e9)
        last = [*last[-3:], stamp_ns]
        accumulator.keep(sweep(stamp_ns))
        assert len(accumulator) <= most
        chosen = accumulator.chosen(stamp_ns)
        if settings.count == 1 or not chosen:
            assert chosen == ()
            continue
        stamps = [one.stamp_ns for one in chosen]
        assert stamps[0] == stamp_ns
        assert len(set(stamps)) == len(stamps) <= settings.count
        assert stamps == sorted(stamps, reverse=True)
        for one in stamps[1:]:
            number = max(1, round((stamp_ns - one) * 1e-9 / interval_s))
            assert number < settings.count + 1
            assert abs((stamp_ns - one) * 1e-9 - number * interval_s) <= interval_s / 2 + 1e-6
        cloud = joined(chosen[0], chosen[1:])
        assert cloud.sweeps == len(chosen)
        assert_on_the_pillar(cloud.points, stamp_ns)


def assert_on_the_pillar(points, stamp_ns):
    count = len(points) // len(PILLAR)
    np.testing.assert_allclose(points[:, :3], np.tile(sweep(stamp_ns).points[:, :3], (count, 1)),
                               atol=2e-3)


def test_what_stands_is_one_thing_and_dt_is_each_sweeps_age():
    stamps = at(0, 101, 199, 300)
    chosen = kept(stamps).chosen(stamps[-1])
    cloud = joined(chosen[0], chosen[1:])
    assert (cloud.sweeps, cloud.remark) == (4, "")
    assert_on_the_pillar(cloud.points, stamps[-1])
    np.testing.assert_allclose(cloud.points[:, 4],
                               np.repeat([0, 0.101, 0.199, 0.3], len(PILLAR)), atol=1e-6)
    assert chosen[0].points.shape == (len(PILLAR), 5), "what is kept is untouched"


def test_without_its_pose_the_newest_stays_alone_and_says_so():
    accumulator = kept(at(0, 100, 200))
    newest = sweep(at(300)[0], where=None)
    accumulator.keep(newest)
    own, *earlier = accumulator.chosen(at(300)[0])
    cloud = joined(own, earlier)
    assert (len(cloud.points), cloud.sweeps, cloud.remark) == (len(PILLAR), 1, WITHOUT_POSE)


def test_earlier_sweeps_are_left_out_of_which_too_little_is_known():
    newest = sweep(at(300)[0])
    unread = KeptSweep(at(200)[0], None, pose(at(200)[0]))
    unplaced = sweep(at(100)[0], where=None)
    jumped = sweep(at(0)[0], where=lambda stamp_ns: pose(stamp_ns + 10 ** 10))
    assert joined(newest, [unread, unplaced, jumped]).sweeps == 1

    def complete(one):
        one.points = sweep(one.stamp_ns).points
        one.fixed_from_lidar = pose(one.stamp_ns)

    assert joined(newest, [unread, unplaced, jumped], complete).sweeps == 4


def test_what_is_joined_already_is_left_as_it_is():
    newest, earlier = sweep(at(300)[0]), sweep(at(200)[0])
    newest.points[1, 4] = 0.05
    cloud = joined(newest, [earlier])
    assert cloud.points is newest.points
    assert (cloud.sweeps, cloud.remark) == (1, AS_IT_CAME)
    assert joined(earlier, [newest]).sweeps == 1


def frame_of(one):
    return SensorFrame(one.stamp_ns, "lidar", LidarCloud(one.stamp_ns, one.points), (), (),
                       one.fixed_from_lidar)


def test_consecutive_frames_are_joined_and_the_given_ones_are_untouched():
    accumulator = SweepAccumulator(SweepSettings())
    for number, stamp_ns in enumerate(at(*range(0, 1000, 100))):
        frame = frame_of(sweep(stamp_ns))
        found = accumulator.frame(frame)
        assert len(found.lidar.points) == len(PILLAR) * min(4, number + 1)
        assert (found.stamp_ns, found.lidar.stamp_ns) == (stamp_ns, stamp_ns)
        assert len(frame.lidar.points) == len(PILLAR)
        assert_on_the_pillar(found.lidar.points, stamp_ns)
    blind = replace(frame, lidar=None)
    assert accumulator.frame(blind) is blind


@pytest.mark.parametrize(("values", "words"), [
    ({"count": 0}, "lidar.sweeps is 0; expected 1 to 10"), ({"count": 11}, "lidar.sweeps is 11"),
    ({"interval_s": 0.0}, "lidar.sweep_interval is 0.0"),
    ({"interval_s": float("nan")}, "lidar.sweep_interval is nan")])
def test_settings_out_of_range_are_named(values, words):
    with pytest.raises(ValueError, match=words):
        SweepSettings(**values)
