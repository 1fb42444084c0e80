"""The house of the system tests, for clients that are not ours."""
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))

from harness import House  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "takes(seconds): on an idle machine; "
                            "what takes long is started early")


@pytest.fixture
def house(request):
    house = House(request.node.name)
    try:
        yield house
    finally:
        house.close()
    if house.problems:
        pytest.fail("\n".join(house.problems), pytrace=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows ini, log and file of each daemon."""
    report = (yield).get_result()
    house = getattr(item, "funcargs", {}).get("house")
    if report.when == "call" and report.failed and house:
        report.sections += house.story()
