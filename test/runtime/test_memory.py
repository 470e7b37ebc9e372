import mmap
import os

import pytest

from aqr_perception.runtime.memory import (
    MemoryReport,
    growth_mib_per_minute,
    own_mib,
    report_of,
)


def test_memory_that_is_taken_is_seen():
    before = own_mib()
    # From the system: the allocator may hold as much of what earlier tests gave back.
    with mmap.mmap(-1, 64 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as taken:
        for page in range(0, len(taken), mmap.PAGESIZE):
            taken[page] = 1
        assert 60 < own_mib(os.getpid()) - before < 80


def test_memory_that_is_shared_is_none_of_its_own():
    before = own_mib()
    with mmap.mmap(-1, 64 * 2**20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) as shared:
        for page in range(0, len(shared), mmap.PAGESIZE):
            shared[page] = 1
        assert own_mib() - before < 20


def test_a_process_that_is_none_is_named():
    with pytest.raises(ValueError, match="/proc/0/statm does not tell"):
        own_mib(0)


def test_growth_is_that_of_the_second_half():
    warming_up = [(3.0 * k, 100.0 + 50 * k) for k in range(20)]
    growing = [(60.0 + 3 * k, 1100.0 + 2 * 3 * k / 60 + (-1) ** k * 0.1) for k in range(20)]
    report = report_of(warming_up + growing)
    assert report.memory_growth_mib_per_minute == pytest.approx(2.0, abs=0.2)
    assert (report.memory_first_mib, report.memory_last_mib) == (100.0, growing[-1][1])
    assert report.memory_minutes == pytest.approx(117 / 60)
    assert growth_mib_per_minute([(k, 7.0) for k in range(10)]) == pytest.approx(0.0, abs=1e-9)


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="2 samples of memory are too few"):
        growth_mib_per_minute([(0.0, 1.0), (1.0, 1.0)])


def test_growth_is_broken_where_the_run_was_long_enough():
    (words,) = MemoryReport(30.0, 700.0, 760.0, 2.0).broken()
    assert words == "memory grows by 2.00 MiB a minute; at most 1"
    assert MemoryReport(30.0, 700.0, 715.0, 0.5).broken() == []
    short = MemoryReport(2.0, 700.0, 704.0, 2.0)
    assert short.broken() == []
    assert "+2.00 MiB a minute" in short.line()
