import numpy as np
from training_frames import make_frame

from aqr_perception.geometry.boxes import Boxes3D
from aqr_perception.types import LidarCloud, Mounting
from aqr_perception.visualization.birdseye import BACKGROUND, BirdsEyeView
from aqr_perception.visualization.camera_view import DrawnBoxes

VIEW = BirdsEyeView(200, 50.0, Mounting())
RED = (0, 0, 255)


def cloud(*rows):
    return LidarCloud(0, np.array(rows, np.float32).reshape(-1, 5))


def test_forward_is_up_and_right_is_right_in_both_conventions():
    np.testing.assert_allclose(VIEW.pixels(np.array([[0, 10, 0], [10, 0, 0.0]])),
                               [[100, 80], [120, 100]])
    rep103 = BirdsEyeView(200, 50.0, Mounting("x", 0.0))
    np.testing.assert_allclose(rep103.pixels(np.array([[10, 0, 0], [0, -10, 0.0]])),
                               [[100, 80], [120, 100]], atol=1e-9)


def test_points_are_drawn_where_they_are_and_the_highest_on_top():
    out = VIEW.draw(cloud((20, 30, 2, 0, 0), (20, 30, -1.8, 0, 0), (900, 0, 0, 0, 0),
                          (np.nan, 0, 0, 0, 0)), [], [])
    low = VIEW.draw(cloud((20, 30, -1.8, 0, 0)), [], [])
    assert tuple(out[40, 140]) != BACKGROUND
    assert out[40, 140].astype(int).sum() > low[40, 140].astype(int).sum()


def test_boxes_have_heading_and_motion_the_truth_only_outlines():
    def drawn(velocity, outline=False):
        boxes = Boxes3D([[20.0, 20, 0]], [[8.0, 6, 1.5]], [0.0], [velocity])
        return VIEW.draw(None, [], [DrawnBoxes(boxes, [RED], [""], outline)])

    empty = VIEW.draw(None, [], [])
    still, moving = drawn((0.0, 0.0)), drawn((10.0, 0.0))
    assert (still != empty).any(axis=2)[60, 133:147].all()
    assert (moving != still).any(axis=2)[60, 151:158].any(), "ahead of the box, which ends at 148"
    assert (drawn((np.nan, np.nan)) == still).all()
    outlined = drawn((10.0, 0.0), outline=True)
    assert not (outlined != empty).any(axis=2)[60, 151:158].any()
    assert (outlined == empty)[57, 136].all(), "the inside is not shaded"
    assert (still != empty)[57, 136].any()


def test_where_cameras_look_is_shown():
    frame, _ = make_frame(0)
    ahead = VIEW.draw(None, [frame.images[0], None], [])
    empty = VIEW.draw(None, [], [])
    changed = (ahead != empty).any(axis=2)
    assert changed[85:95, 95:105].any()
    assert not changed[110:].any()
