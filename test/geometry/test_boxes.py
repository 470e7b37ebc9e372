import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqr_perception.geometry import rigid
from aqr_perception.geometry.boxes import EDGES, Boxes3D, points_in_boxes


def one(yaw=0.0, velocity=(1.0, 0.0)):
    return Boxes3D([[10.0, 5, 1]], [[4.0, 2, 1.5]], [yaw], [velocity])


def test_corners_start_at_the_lower_front_left_and_go_counter_clockwise():
    np.testing.assert_allclose(one().corners()[0, :4],
                               [[12, 6, .25], [8, 6, .25], [8, 4, .25], [12, 4, .25]])
    np.testing.assert_allclose(one().corners()[0, 4:, 2], 1.75)
    np.testing.assert_allclose(one(np.pi / 2).corners()[0, 0], [9, 7, .25], atol=1e-6)


def test_edges_have_the_lengths_of_the_box():
    corners = one(0.7).corners()[0]
    lengths = sorted(np.linalg.norm(corners[a] - corners[b]) for a, b in EDGES)
    np.testing.assert_allclose(lengths, [1.5] * 4 + [2] * 4 + [4] * 4, atol=1e-5)


def test_moving_a_box_moves_its_corners_and_turns_its_velocity():
    matrix = rigid.from_xyz_yaw(3, -2, 1, 0.8)
    box = one(0.3, (2.0, 1.0))
    moved = box.transformed(matrix)
    np.testing.assert_allclose(
        moved.corners()[0], rigid.transform_points(matrix, box.corners()[0].astype(float)),
        atol=1e-5)
    np.testing.assert_allclose(moved.velocity[0],
                               (matrix[:3, :3] @ [2.0, 1.0, 0])[:2], atol=1e-6)


def test_points_are_in_where_they_should_be():
    points = np.array([[10, 5, 1], [11.99, 5, 1], [12.01, 5, 1], [10, 6.01, 1], [10, 5, 1.76],
                       [8, 4, 0.25]])
    assert points_in_boxes(points, one()).tolist() == [[True, True, False, False, False, True]]
    assert points_in_boxes(points, one(), margin=0.1).all()
    turned = points_in_boxes(np.array([[10, 6.9, 1], [11.9, 5, 1]]), one(np.pi / 2))
    assert turned.tolist() == [[True, False]]


def test_selection_and_emptiness():
    assert len(Boxes3D.empty()) == 0
    assert Boxes3D.empty().corners().shape == (0, 8, 3)
    assert len(one()[np.array([True])]) == 1
    assert len(one()[:0]) == 0


ANGLES = st.floats(-10, 10)
LENGTHS = st.floats(-50, 50)


@given(ANGLES, ANGLES, LENGTHS, LENGTHS)
def test_moving_there_and_back_changes_nothing(yaw, turn, x, y):
    there = rigid.from_xyz_yaw(x, y, 2.0, turn)
    box = one(yaw, (3.0, -1.0))
    back = box.transformed(there).transformed(rigid.inverse(there))
    np.testing.assert_allclose(back.corners(), box.corners(), atol=1e-4)
    np.testing.assert_allclose(back.velocity, box.velocity, atol=1e-5)
    np.testing.assert_allclose(np.exp(1j * back.yaw), np.exp(1j * box.yaw), atol=1e-5)


@given(ANGLES, st.floats(0, 0.499), st.floats(0, 0.499), st.booleans())
def test_a_point_is_in_a_box_as_it_is_in_the_boxs_own_axes(yaw, along, across, outside):
    # In shares of length and width from the centre; half is the face.
    local = np.array([(along + outside * 0.51) * 4, across * 2, 0.0, 1.0])
    world = rigid.from_xyz_yaw(10, 5, 1, yaw) @ local
    assert points_in_boxes(world[None, :3], one(yaw))[0, 0] != outside


def test_an_unknown_velocity_stays_unknown():
    moved = one(velocity=(np.nan, np.nan)).transformed(rigid.from_xyz_yaw(1, 2, 3, 0.4))
    assert np.isnan(moved.velocity).all()
    assert np.isfinite(moved.center).all()


def test_boxes_stay_upright_in_a_tilted_frame():
    tilt = rigid.from_translation_quaternion([0, 0, 1], [np.sin(0.01), 0, 0, np.cos(0.01)])
    moved = one(0.3).transformed(tilt)
    np.testing.assert_array_equal(moved.size, one().size)
    heights = moved.corners()[0, :, 2]
    assert np.ptp(heights[:4]) == np.ptp(heights[4:]) == 0


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"boxes\.size"):
        Boxes3D(np.zeros((2, 3)), np.zeros((1, 3)), np.zeros(2), np.zeros((2, 2)))
