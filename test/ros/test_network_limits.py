"""Run-time parameters that the loaded network has no use for, on the node's life cycle."""

import pytest
from fingerprint import FingerprintPipeline
from live_rig import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

SUCCESS = TransitionCallbackReturn.SUCCESS
REASON = "the network's aqr.mode is 'gate'"


class Gate(FingerprintPipeline):
    def check(self, controls):
        if controls.weight_map.residual_weight is not None:
            raise ValueError(REASON)


@pytest.fixture
def context():
    made = Context()
    yield made
    made.close()


def test_they_are_refused_from_configure_to_cleanup(context, capfd):
    node = context.detector(Gate(), aqr__preset="aggressive")

    def set_preset(name):
        return node.set_parameters([Parameter("aqr.preset", value=name)])[0]

    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.failure == REASON
    assert f"cannot be configured: {REASON}" in capfd.readouterr().err
    assert set_preset("as_trained").successful
    assert node.trigger_configure() == SUCCESS
    refused = set_preset("aggressive")
    assert (refused.successful, refused.reason) == (False, REASON)
    assert node.get_parameter("aqr.residual_weight").value == -1.0
    assert node.trigger_cleanup() == SUCCESS
    assert set_preset("aggressive").successful
