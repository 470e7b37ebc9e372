"""The node's process, its command line and life cycle as they are, with the fingerprint pipeline.

FINGERPRINT_DELAY_S, FINGERPRINT_LOAD_S: how long a frame and the loading take.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from fingerprint import FingerprintPipeline

from aqr_perception.cli import node as command
from aqr_perception.ros import node, topics


def load(config):
    print("loading", flush=True)
    time.sleep(float(os.environ.get("FINGERPRINT_LOAD_S", "0")))
    return FingerprintPipeline(float(os.environ.get("FINGERPRINT_DELAY_S", "0")))


parser = argparse.ArgumentParser()
command.add_arguments(parser)
args = parser.parse_args()
sys.exit(node.run(command.ros_arguments(args), load,
                  node.no_defaults if args.no_remap else topics.input_topics))
