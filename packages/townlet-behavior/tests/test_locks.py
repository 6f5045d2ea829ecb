from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from townlet_behavior.possession.locks import CallbackLock


def test_callbacks_are_called_in_order_when_the_last_hold_ends() -> None:
    lock, called = CallbackLock(), list[int]()
    with lock:
        lock.call_when_free(called.append, 1)
        with lock:
            lock.call_when_free(called.append, 2)
        assert called == []
    assert called == [1, 2]
    with lock:
        pass
    assert called == [1, 2]


def test_without_a_hold_a_callback_is_called_at_once() -> None:
    lock, called = CallbackLock(), list[int]()
    lock.call_when_free(called.append, 1)
    assert called == [1]


def test_a_callback_may_take_the_lock_and_have_others_called() -> None:
    lock, called = CallbackLock(), list[str]()

    def first() -> None:
        with lock:
            lock.call_when_free(called.append, "second")
            called.append("first")
        called.append("done")

    with lock:
        lock.call_when_free(first)
        lock.call_when_free(called.append, "third")
    assert called == ["first", "second", "done", "third"]


def test_other_threads_get_the_lock_while_a_callback_runs() -> None:
    lock, got = CallbackLock(), list[bool]()

    def take() -> bool:
        with lock:
            return True

    def wait_for_another_thread() -> None:
        got.append(pool.submit(take).result(timeout=60))

    with ThreadPoolExecutor(1) as pool:
        with lock:
            lock.call_when_free(wait_for_another_thread)
        assert got == [True]


def test_a_thread_calls_its_own_callbacks_alone() -> None:
    lock, called = CallbackLock(), list[str]()
    inside, go = Event(), Event()

    def slow() -> None:
        inside.set()
        assert go.wait(timeout=60)
        called.append("slow")

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lock.call_when_free, slow)
        assert inside.wait(timeout=60)
        lock.call_when_free(called.append, "mine")
        assert called == ["mine"]
        go.set()
        running.result(timeout=60)
    assert called == ["mine", "slow"]


def raising(*errors: Exception) -> Callable[[], None]:
    def call() -> None:
        raise errors[0]

    return call


def test_an_error_of_a_callback_is_logged_and_hinders_nobody(caplog: pytest.LogCaptureFixture) -> None:
    lock, called = CallbackLock(), list[int]()
    with lock:
        lock.call_when_free(raising(ValueError("not today")))
        lock.call_when_free(called.append, 1)
    assert called == [1]
    assert "ValueError: not today" in caplog.text
    with lock:
        lock.call_when_free(called.append, 2)
    assert called == [1, 2]


def test_the_lock_is_released_and_callbacks_are_called_after_an_error() -> None:
    lock, called = CallbackLock(), list[int]()

    def fail() -> None:
        with lock:
            lock.call_when_free(called.append, 1)
            raise KeyError(1)

    with pytest.raises(KeyError):
        fail()
    assert called == [1]
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lock.call_when_free, called.append, 2).result(timeout=60)
    assert called == [1, 2]
