"""The package as `make` has built it, a pool file that obeys, and the house of
the system tests."""
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/system"))

from harness import BUILD, House  # noqa: E402

sys.path.insert(0, str(BUILD / "python"))


class File:
    """A pool file that tests/mkpool writes as it is told."""

    def __init__(self, path, scheme="maglev", servers=4):
        self.path = path
        self.process = subprocess.Popen(
            [BUILD / "tests/mkpool", path, scheme, str(servers)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "ready\n"

    def obey(self, *lines):
        for line in lines:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            assert self.process.stdout.readline() == "ok\n", line

    def verdicts(self, *verdicts):
        """Of all servers, by slot: 1 UP, 2 HELD, 3 DOWN."""
        self.obey(*(f"set {i} {v} 0" for i, v in enumerate(verdicts)),
                  "publish")

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        self.process.stdout.close()


@pytest.fixture
def make_file(tmp_path):
    """make_file(scheme=..., servers=...)"""
    made = []

    def make(path=None, **more):
        made.append(File(path or tmp_path / f"{len(made)}.mcshm", **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def file(make_file):
    return make_file()


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
