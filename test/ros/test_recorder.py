from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from aqr_perception.ros.recorder import stage_times


def diagnostics(name, **values):
    return DiagnosticArray(status=[
        DiagnosticStatus(name="detector: LiDAR", values=[KeyValue(key="rate", value="10")]),
        DiagnosticStatus(name=name, values=[KeyValue(key=key, value=value)
                                            for key, value in values.items()])])


def test_stage_times_are_those_of_the_latency_status():
    values = {"wait.p50_ms": "1.5", "wait.p90_ms": "2", "wait.p99_ms": "3",
              "inference.p50_ms": "80", "inference.p90_ms": "81.25", "inference.p99_ms": "99"}
    assert stage_times(diagnostics("detector: latency", **values)) == {
        "wait": (1.5, 2.0, 3.0), "inference": (80.0, 81.25, 99.0)}


def test_a_message_without_latency_says_nothing():
    assert stage_times(diagnostics("detector: output", x="1")) == {}
    assert stage_times(diagnostics("detector: latency")) == {}
    assert stage_times(DiagnosticArray()) == {}
