import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aqr_perception.runtime.latency import STAGES, LatencyWindow, Percentiles, percentile


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=60), st.floats(0, 1))
def test_percentiles_are_numpys(values, share):
    np.testing.assert_allclose(percentile(sorted(values), share), np.quantile(values, share),
                               rtol=1e-9, atol=1e-9)


def test_the_window_holds_the_last_frames():
    window = LatencyWindow(100)
    for k in range(1000):
        window.add({"inference": float(k)})
    assert window.summary() == {"inference": Percentiles(100, 949.5, 989.1, 998.01)}


def test_stages_come_in_their_order_and_a_frame_may_lack_some():
    window = LatencyWindow()
    assert window.summary() == {}
    window.add({stage: 1.0 for stage in reversed(STAGES)})
    window.add({"wait": 3.0, "other": 2.0})
    summary = window.summary()
    assert tuple(summary) == (*STAGES, "other")
    assert (summary["wait"].count, summary["wait"].p50) == (2, 2.0)
    assert summary["publish"].count == 1


def test_it_is_read_while_it_grows():
    window, stop = LatencyWindow(50), threading.Event()

    def add():
        while not stop.is_set():
            window.add({stage: 1.0 for stage in STAGES})

    thread = threading.Thread(target=add)
    thread.start()
    for _ in range(200):
        assert all(found.p99 == 1.0 for found in window.summary().values())
    stop.set()
    thread.join()
