"""The package as others get it: installed offline, typed, and as the README
says."""
import ast
import inspect
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

import pytest
from harness import BUILD

import mcshm
from mcshm import _mcshm

ROOT = pathlib.Path(__file__).resolve().parents[3]
HERE = ROOT / "clients/python"


def run(*command, ok=True, **env):
    foreign = ("PYTHONPATH", "LD_LIBRARY_PATH", "BUILD", "MC_BUILD",
               "PKG_CONFIG_PATH", "MAKEFLAGS", "PIP_USER")
    env = {k: v for k, v in os.environ.items() if k not in foreign} | env
    done = subprocess.run([str(c) for c in command], env=env, text=True,
                          capture_output=True, stdin=subprocess.DEVNULL,
                          timeout=120, cwd="/")
    assert not ok or done.returncode == 0, done.stdout + done.stderr
    return done


# Installed.

@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """libmcshm as make install lays it down."""
    prefix = tmp_path_factory.mktemp("usr")
    for directory in ("include", "lib/pkgconfig"):
        (prefix / directory).mkdir(parents=True)
    shutil.copy(ROOT / "include/mcshm.h", prefix / "include")
    shutil.copy(BUILD / "libmcshm.so.0", prefix / "lib")
    (prefix / "lib/libmcshm.so").symlink_to("libmcshm.so.0")
    text = (ROOT / "libmcshm/mcshm.pc.in").read_text()
    for name, value in (("prefix", prefix), ("libdir", prefix / "lib"),
                        ("includedir", prefix / "include"),
                        ("version", "0")):
        text = text.replace(f"@{name}@", str(value))
    (prefix / "lib/pkgconfig/mcshm.pc").write_text(text)
    return prefix


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """This directory somewhere else, not in the tree."""
    source = tmp_path_factory.mktemp("source") / "python"
    shutil.copytree(HERE, source, ignore=shutil.ignore_patterns(
        "tests", "__pycache__", "build", "*.egg-info"))
    return source


def pip(python, source, **env):
    return run(python, "-m", "pip", "install", "--no-index", "--no-deps",
               "--no-build-isolation", "--no-cache-dir",
               "--disable-pip-version-check", source, ok=False, **env)


@pytest.fixture(scope="module")
def installed(tmp_path_factory, prefix, source):
    """The python of a virtual environment that has the package."""
    venv = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip",
        "--system-site-packages", venv)
    python = venv / "bin/python"
    before = sorted(source.rglob("*"))
    done = pip(python, source, PKG_CONFIG_PATH=f"{prefix}/lib/pkgconfig")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(source.rglob("*")) == before
    return python


def test_installed_offline(installed, prefix, file):
    told = run(installed, "-c", "import sys, mcshm, mcshm.pymemcache; "
               "print(mcshm.__file__); p = mcshm.Pool(sys.argv[1]); "
               "print(p.pick('user:42').server.name)", file.path,
               LD_LIBRARY_PATH=f"{prefix}/lib").stdout.split()
    assert str(installed.parents[1]) in told[0]
    assert told[1] == mcshm.Pool(file.path).pick("user:42").server.name
    package = pathlib.Path(told[0]).parent
    assert {p.name for p in package.iterdir()} - {"__pycache__"} == {
        "__init__.py", "_errors.py", "_records.py", "pymemcache.py",
        "_mcshm.pyi", "py.typed", "_mcshm.abi3.so"}
    about = next(package.parent.glob("mcshm-*.dist-info"))
    assert about.name == f"mcshm-{mcshm.__version__}.dist-info"


def test_without_the_library(installed):
    """What is missing, and what would help."""
    done = run(installed, "-c", "import mcshm", ok=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: libmcshm, the library that mcshm")
    assert "libmcshm.so.0" in last and "make install" in last


def test_building_without_the_library(installed, source, tmp_path):
    if run("pkg-config", "--exists", "mcshm", ok=False,
           PKG_CONFIG_PATH=str(tmp_path)).returncode == 0:
        pytest.skip("libmcshm is installed here")
    done = pip(installed, source, PKG_CONFIG_PATH=str(tmp_path))
    assert done.returncode != 0
    assert "mcshm: libmcshm is not installed (pkg-config does not know it): " \
        "run \"make install\"" in done.stdout + done.stderr


def test_installed_by_make(tmp_path, file):
    run("make", "-s", "-C", ROOT, f"B={BUILD}", "install-python",
        f"DESTDIR={tmp_path}", f"PYTHON={sys.executable}", "prefix=/usr")
    package, = tmp_path.rglob("mcshm")
    assert {p.name: p.stat().st_mode & 0o777 for p in package.iterdir()} == \
        dict.fromkeys(("__init__.py", "_errors.py", "_records.py",
                       "pymemcache.py", "_mcshm.pyi", "py.typed",
                       "_mcshm.abi3.so"), 0o644)
    assert str(package.parent) == str(tmp_path) + "/usr/lib/python3/" \
        "dist-packages" or "site-packages" in str(package)
    needed = run("objdump", "-p", package / "_mcshm.abi3.so").stdout
    assert "NEEDED               libmcshm.so.0" in needed
    assert "RUNPATH" not in needed and "RPATH" not in needed
    run(sys.executable, "-c", "import sys, mcshm; mcshm.Pool(sys.argv[1])",
        file.path, PYTHONPATH=str(package.parent),
        LD_LIBRARY_PATH=str(BUILD))
    run("make", "-s", "-C", ROOT, f"B={BUILD}", "uninstall-python",
        f"DESTDIR={tmp_path}", f"PYTHON={sys.executable}", "prefix=/usr")
    assert not package.exists()


# The binary.

def test_the_extension_keeps_to_the_stable_abi():
    """Of what begins with _Py only what that has promised."""
    extension = BUILD / "python/mcshm/_mcshm.abi3.so"
    undefined = set(re.findall(r" U (_?Py\w+)", run(
        "nm", "-D", "--undefined-only", extension).stdout))
    assert {n for n in undefined if n.startswith("_Py")
            and not n.endswith("_SizeT")} <= {
        "_PyObject_New", "_Py_NoneStruct", "_Py_TrueStruct",
        "_Py_FalseStruct", "_Py_Dealloc"}
    exported = run("nm", "-D", "--defined-only", extension).stdout
    assert re.findall(r" [TDBR] (\S+)", exported) == ["PyInit__mcshm"]


# Typed.

def stub():
    tree = ast.parse((HERE / "mcshm/_mcshm.pyi").read_text())
    return {c.name: {
        getattr(n, "name", None) or n.target.id for n in c.body
        if isinstance(n, (ast.FunctionDef, ast.AnnAssign))}
        for c in tree.body if isinstance(c, ast.ClassDef)}


@pytest.mark.parametrize("kind", [mcshm.Pool, mcshm.Choice])
def test_the_stub_has_what_there_is(kind):
    public = {n for n in vars(kind) if not n.startswith("_")}
    special = {"__new__", "__enter__", "__exit__"} & set(vars(kind))
    assert stub()[kind.__name__] == public | special


def test_everything_has_its_word_of_help():
    for name in mcshm.__all__:
        thing = getattr(mcshm, name)
        assert name == "__version__" or inspect.getdoc(thing), name
    for kind in (_mcshm.Pool, _mcshm.Choice):
        assert kind.__doc__ and kind.__module__ == "mcshm"
        for name in vars(kind):
            if not name.startswith("_"):
                assert getattr(kind, name).__doc__, name


def test_the_version_is_the_header_s():
    header = dict(re.findall(r"MCSHM_VERSION_(\w+) (\d+)",
                             (ROOT / "include/mcshm.h").read_text()))
    assert mcshm.__version__ == ".".join(
        header[k] for k in ("MAJOR", "MINOR", "PATCH"))


# The README.

def test_the_readme_s_programs_work(house, monkeypatch, capsys):
    """In their order, as one."""
    servers = house.memcacheds(2)
    checker = house.checker({"web": [s.line for s in servers]})
    checker.wait_verdicts("UP")
    monkeypatch.setenv("MCSHM_DIR", str(checker.directory))

    def fetch(server, key, timeout=10):
        with socket.create_connection(server.address, timeout) as s:
            s.sendall(f"get {key}\r\n".encode())
            return s.recv(4096)

    space = {"fetch": fetch, "servers": [s.address for s in servers]}
    blocks = re.findall(r"```python\n(.*?)```", (HERE / "README.md")
                        .read_text(), re.S)
    assert len(blocks) == 7
    for block in blocks:
        exec(block, space)
    assert b"Ada" in space["value"] and space["expire"] == 3600
    assert "cache0               UP" in capsys.readouterr().out
