"""Builds mcshm._mcshm; everything else is in pyproject.toml.

libmcshm is found by pkg-config, or in the source tree that this directory is a
part of.  What is made goes to a temporary directory, not beside the sources.
"""
import atexit
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from setuptools import Extension, setup

os.chdir(os.path.dirname(os.path.abspath(__file__)))
TREE = os.path.join(os.pardir, os.pardir)


def pkg_config(*what):
    command = [os.environ.get("PKG_CONFIG", "pkg-config"), *what, "mcshm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.split() if done.returncode == 0 else None


def in_the_tree():
    build = os.environ.get("BUILD", os.path.join(TREE, "build"))
    if os.path.exists(os.path.join(TREE, "include", "mcshm.h")) and \
            os.path.exists(os.path.join(build, "libmcshm.so")):
        return (["-I" + os.path.join(TREE, "include")],
                ["-L" + build, "-lmcshm"])
    sys.exit("mcshm: libmcshm is not installed (pkg-config does not know it): "
             "run \"make install\" in its source tree, or set "
             "PKG_CONFIG_PATH to where mcshm.pc is")


def version(flags):
    """That of the library's header."""
    places = [f[2:] for f in flags if f.startswith("-I")] + [
        "/usr/local/include", "/usr/include"]
    header = next(h for p in places
                  if os.path.exists(h := os.path.join(p, "mcshm.h")))
    with open(header) as f:
        number = dict(re.findall(r"MCSHM_VERSION_(\w+) (\d+)", f.read()))
    return ".".join(number[n] for n in ("MAJOR", "MINOR", "PATCH"))


cflags, libs = pkg_config("--cflags"), pkg_config("--libs")
if cflags is None or libs is None:
    cflags, libs = in_the_tree()
number = version(cflags)
work = tempfile.mkdtemp(prefix="mcshm-")
atexit.register(shutil.rmtree, work, ignore_errors=True)

setup(
    version=number,
    packages=["mcshm"], package_data={"mcshm": ["py.typed", "*.pyi"]},
    ext_modules=[Extension(
        "mcshm._mcshm", sorted(glob.glob("src/*.c")),
        depends=glob.glob("src/*.h"), py_limited_api=True,
        extra_compile_args=["-std=c11", "-D_GNU_SOURCE", "-fvisibility=hidden",
                            f'-DVERSION="{number}"', *cflags],
        extra_link_args=libs)],
    options={"build": {"build_base": work}, "egg_info": {"egg_base": work},
             "bdist_wheel": {"py_limited_api": "cp310"}},
)
