"""Networks small enough to test with, as fixtures."""

from __future__ import annotations

import pytest
import torch
from thin_networks import THIN

from aqr_perception.model.checkpoint import untrained

torch.set_num_threads(1)  # networks this small spend their time waiting for a second thread


@pytest.fixture(params=THIN)
def thin_config(request):
    return THIN[request.param]()


@pytest.fixture
def thin(thin_config):
    return untrained(thin_config)
