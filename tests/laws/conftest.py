"""Fixtures of the laws; what they are made of is in lawlib.py."""
import shutil

import pytest

from lawlib import ROOT, SAN, Pool, run


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "plain: a law about the plain build, not a sanitizer's")
    config.addinivalue_line(
        "markers", "takes(seconds): how long; the longest are started first")


def pytest_collection_modifyitems(config, items):
    """With SAN, the library is not what is installed: leave its laws out."""
    if not SAN:
        return
    out = [i for i in items if i.get_closest_marker("plain")]
    config.hook.pytest_deselected(items=out)
    items[:] = [i for i in items if i not in out]


@pytest.fixture
def pool(tmp_path):
    running = Pool(tmp_path)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """A build of its own, with a packager's paths, installed under DESTDIR."""
    base = tmp_path_factory.mktemp("install")
    dest, build = base / "dest", base / "build"
    run("make", "-s", "-C", ROOT, "-j2", "CFLAGS=-O1 -w", f"B={build}",
        "prefix=/usr", "libdir=/usr/lib/here", "install", f"DESTDIR={dest}",
        timeout=150, umask=0o077)
    shutil.rmtree(build)
    return dest
