import gc
import weakref

import pytest

from aqr_perception.runtime import garbage


class Ring:
    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def unfrozen():
    yield
    garbage.take_back()


def test_what_was_set_aside_is_passed_over_until_it_is_taken_back():
    ring = Ring()
    gone = weakref.ref(ring)
    garbage.set_aside()
    del ring
    gc.collect()
    assert gone() is not None
    garbage.take_back()
    gc.collect()
    assert gone() is None


def test_what_comes_later_is_collected_as_ever():
    garbage.set_aside()
    gone = weakref.ref(Ring())
    gc.collect()
    assert gone() is None


def test_no_garbage_is_set_aside():
    gone = weakref.ref(Ring())
    garbage.set_aside()
    assert gone() is None
