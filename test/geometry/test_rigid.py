import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqr_perception.geometry import rigid

ANGLES = st.floats(-np.pi, np.pi)
LENGTHS = st.floats(-100, 100)


@st.composite
def transforms(draw):
    quaternion = np.array([draw(st.floats(-1, 1)) for _ in range(4)])
    if np.linalg.norm(quaternion) < 1e-3:
        quaternion = np.array([0.0, 0, 0, 1])
    return rigid.from_translation_quaternion([draw(LENGTHS) for _ in range(3)], quaternion)


def test_a_quarter_turn_takes_x_to_y():
    matrix = rigid.from_xyz_yaw(1, 2, 3, np.pi / 2)
    np.testing.assert_allclose(rigid.transform_points(matrix, np.array([[1.0, 0, 0]])),
                               [[1, 3, 3]], atol=1e-12)
    np.testing.assert_allclose(rigid.rotate_vectors(matrix, np.array([[1.0, 0, 0]])),
                               [[0, 1, 0]], atol=1e-12)


@given(transforms())
def test_inverse_undoes(matrix):
    np.testing.assert_allclose(matrix @ rigid.inverse(matrix), np.eye(4), atol=1e-9)


@given(transforms())
def test_quaternion_round_trip(matrix):
    translation, quaternion = rigid.to_translation_quaternion(matrix)
    assert quaternion[3] >= 0
    assert np.linalg.norm(quaternion) == pytest.approx(1)
    np.testing.assert_allclose(rigid.from_translation_quaternion(translation, quaternion), matrix,
                               atol=1e-9)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns_have_the_quaternion_that_they_should(axis):
    wanted = np.zeros(4)
    wanted[axis] = 1
    matrix = rigid.from_translation_quaternion([0, 0, 0], wanted)
    np.testing.assert_allclose(np.abs(rigid.to_translation_quaternion(matrix)[1]), wanted,
                               atol=1e-12)


@given(ANGLES, ANGLES, st.floats(0, 1))
def test_interpolation_turns_evenly_the_short_way_round(start, end, fraction):
    difference = float(rigid.wrap_angle(end - start))
    if abs(abs(difference) - np.pi) < 1e-3:
        return  # both ways are as short
    between = rigid.interpolate(rigid.from_xyz_yaw(0, 0, 0, start),
                                rigid.from_xyz_yaw(10, 0, 0, end), fraction)
    turned = float(rigid.wrap_angle(rigid.yaw_of(between) - start))
    assert turned == pytest.approx(fraction * difference, abs=1e-6)
    assert between[0, 3] == pytest.approx(10 * fraction)


def test_points_keep_their_type_and_the_input_is_untouched():
    points = np.ones((5, 3), np.float32)
    moved = rigid.transform_points(rigid.from_xyz_yaw(1, 0, 0, 0), points)
    assert moved.dtype == np.float32
    assert (points == 1).all()


@given(transforms(), transforms())
def test_adjacent_names_cancel(a_from_b, b_from_c):
    point = np.array([[1.0, -2, 3]])
    np.testing.assert_allclose(
        rigid.transform_points(a_from_b @ b_from_c, point),
        rigid.transform_points(a_from_b, rigid.transform_points(b_from_c, point)), atol=1e-9)


@given(transforms())
def test_distances_stay(matrix):
    points = np.array([[1.0, 2, 3], [-4, 0, 2]])
    moved = rigid.transform_points(matrix, points)
    assert np.linalg.norm(moved[0] - moved[1]) == pytest.approx(np.sqrt(30))


@given(transforms(), transforms())
def test_interpolation_begins_and_ends_at_its_ends(start, end):
    np.testing.assert_allclose(rigid.interpolate(start, end, 0.0), start, atol=1e-7)
    np.testing.assert_allclose(rigid.interpolate(start, end, 1.0), end, atol=1e-7)


def test_interpolation_goes_on_beyond_its_ends():
    start, end = rigid.from_xyz_yaw(0, 0, 0, 0.0), rigid.from_xyz_yaw(1, 0, 0, 0.2)
    np.testing.assert_allclose(rigid.interpolate(start, end, 1.5),
                               rigid.from_xyz_yaw(1.5, 0, 0, 0.3), atol=1e-12)


@given(st.floats(-1e4, 1e4))
def test_wrapped_angles_lie_in_the_half_open_turn(angle):
    wrapped = float(rigid.wrap_angle(angle))
    assert -np.pi <= wrapped < np.pi
    assert np.cos(wrapped) == pytest.approx(np.cos(angle), abs=1e-9)


@pytest.mark.parametrize(("matrix", "words"), [
    (np.eye(3), "4×4"), (np.diag([1.0, 1, -1, 1]), "rigid"), (2 * np.eye(4), "rigid"),
    (np.full((4, 4), np.nan), "finite"), ("x", "4×4"), (None, "4×4"), ([[1], [1, 2]], "4×4")])
def test_what_is_no_rigid_transform_is_named(matrix, words):
    with pytest.raises(ValueError, match=f"lidar2cam.*{words}"):
        rigid.check_rigid(matrix, "lidar2cam")


def test_a_quaternion_without_direction_is_refused():
    with pytest.raises(ValueError, match="direction"):
        rigid.from_translation_quaternion([0, 0, 0], [0, 0, 0, 0])


@pytest.mark.parametrize("rows", [0, 1, rigid.BLOCK - 1, rigid.BLOCK, 2 * rigid.BLOCK + 7])
def test_the_product_of_many_rows_is_that_of_each(rows):
    rng = np.random.default_rng(rows)
    points = rng.normal(size=(rows, 5)).astype(np.float32)
    matrix = rng.normal(size=(3, 4)).astype(np.float32)
    expected = np.einsum("nc,ck->nk", points[:, :3].astype(np.float64), matrix)
    found = rigid.rows_times(points[:, :3], matrix)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    wide = np.zeros((rows, 6), np.float32)
    rigid.rows_times(points[:, :3], matrix, wide[:, 1:5])
    assert np.array_equal(wide[:, 1:5], found)
    assert not wide[:, [0, 5]].any()
