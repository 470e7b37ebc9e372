"""The demo, from rendering to the page, between its own processes."""

import re

import cv2
from processes import Process


def test_the_demo_shows_what_came_back(tmp_path):
    """Slowed down, so that on a busy machine, too, no frame is passed over for the next one."""
    with Process("-m", "aqr_perception", "demo", "--frames", "2", "--rate", "0.1",
                 "--out", str(tmp_path)) as demo:
        assert demo.wait(300.0) == 0, demo.output
    assert "2 of 2 frames came back over DDS (missed: none)" in demo.output
    assert re.search(r"mAP \d\.\d+, NDS \d\.\d+; near", demo.output)
    assert re.search(r"\d+ at the median, \d+ at the 90th percentile", demo.output)
    assert cv2.imread(str(tmp_path / "picture.png")) is not None
    page = (tmp_path / "index.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert ("not trained" in demo.output) == ("not trained" in page)
