"""One driver a peer and worker: its tests all go to one worker."""
import pytest

from peerlib import Drivers, Keys, Pair


def pytest_configure(config):
    config.addinivalue_line("markers", "takes(seconds): on an idle machine; "
                            "what takes long is started early")


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """driver("dalli"): started once."""
    drivers = Drivers(tmp_path_factory)
    yield drivers.get
    drivers.close()


@pytest.fixture
def pair(driver):
    return lambda name: Pair(driver("ours"), driver(name))


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """keys("protocol"), keys("text"), keys("any")"""
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = Keys(kind, tmp_path_factory.mktemp("keys"))
        return made[kind]

    yield get
    for one in made.values():
        one.forget()
