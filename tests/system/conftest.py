"""One house a test, a hard limit for each, the longest ones first.

A test that failed while the whole machine stood still is run again: what it
saw then says nothing about the daemon.  That it was is told at the end.
"""
import pathlib
import signal
import threading
import time
import warnings

import pytest
from _pytest.runner import runtestprotocol

from .harness import House

STALL = 0.4             # s; probes of these tests time out after half of that
TRIES = 3
STALLS = pytest.StashKey()
HERE = pathlib.Path(__file__).resolve().parent


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "takes(seconds): how long the test takes on an idle "
        "machine; it is started early, and ended after three times as long")
    config.stash[STALLS] = Stalls()
    # Who runs in the background of a shell's script ignores it, and so would
    # all that tests start and then interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def seconds(item):
    mark = item.get_closest_marker("takes")
    return mark.args[0] if mark else 2


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=seconds, reverse=True)


class Stalls(threading.Thread):
    """How long a thread that wanted to run every 20 ms had to wait."""

    def __init__(self):
        super().__init__(daemon=True)
        self.longest = 0
        self.start()

    def run(self):
        last = time.monotonic()
        while True:
            time.sleep(0.02)
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            last = now


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    if HERE not in item.path.parents:
        return None             # another directory's: as ever
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid,
                                       location=item.location)
    stalls = item.config.stash[STALLS]
    for turn in range(1, TRIES + 1):
        stalls.longest = 0
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if stalls.longest < STALL or not any(r.failed for r in reports):
            break
        if turn < TRIES:
            warnings.warn(f"{item.name}: run again, the machine stood still "
                          f"for {stalls.longest:.1f} s")
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid,
                                        location=item.location)
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    limit = 3 * seconds(item) + 20

    def over(number, frame):
        pytest.fail(f"still not done after {limit} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows ini, log and file of each daemon."""
    report = (yield).get_result()
    house = getattr(item, "funcargs", {}).get("house")
    if report.when == "call" and report.failed and house:
        for title, text in house.story():
            report.sections.append((title, text))


@pytest.fixture
def house(request):
    house = House(request.node.name)
    try:
        yield house
    finally:
        house.close()
    if house.problems:
        pytest.fail("\n".join(house.problems), pytrace=False)
