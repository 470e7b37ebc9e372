import threading

from aqr_perception.ros.worker import NewestWorker

WAIT_S = 10.0


def test_the_newest_is_taken_and_what_it_replaced_is_counted():
    begun, go, seen, done = threading.Event(), threading.Event(), [], threading.Event()

    def work(item):
        seen.append(item)
        begun.set()
        assert go.wait(WAIT_S)
        if item == 9:
            done.set()

    worker = NewestWorker(work, lambda error: None, "test")
    worker.submit(0)
    assert begun.wait(WAIT_S)
    for item in range(1, 10):
        worker.submit(item)
    go.set()
    assert done.wait(WAIT_S)
    assert worker.stop(WAIT_S)
    assert seen == [0, 9]
    assert worker.passed_over == 8


def test_a_failure_is_reported_and_the_next_item_is_worked_on():
    failures, done = [], threading.Event()

    def work(item):
        if item == "bad":
            raise ValueError("bad item")
        done.set()

    reported = threading.Event()

    def failed(error):
        failures.append(error)
        reported.set()

    worker = NewestWorker(work, failed, "test")
    worker.submit("bad")
    assert reported.wait(WAIT_S)
    worker.submit("good")
    assert done.wait(WAIT_S)
    assert worker.stop(WAIT_S)
    assert [str(error) for error in failures] == ["bad item"]


def test_stop_lets_the_item_at_work_finish_and_takes_no_more():
    begun, go, seen = threading.Event(), threading.Event(), []

    def work(item):
        begun.set()
        assert go.wait(WAIT_S)
        seen.append(item)

    worker = NewestWorker(work, lambda error: None, "test")
    worker.submit(1)
    assert begun.wait(WAIT_S)
    worker.submit(2)
    assert not worker.stop(0.05)
    go.set()
    assert worker.stop(WAIT_S)
    worker.submit(3)
    assert seen == [1]


def test_stop_without_work():
    assert NewestWorker(lambda item: None, lambda error: None, "test").stop(WAIT_S)
