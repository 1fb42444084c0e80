"""Laws about libmcshm as others see it: symbols, dependencies, header."""
import re

import pytest

from lawlib import BUILD, ROOT, code, compiler, run, text

LIBRARY = BUILD / "libmcshm.so.0"


def declared():
    """The functions of the public header."""
    return set(re.findall(r"^(?!typedef)(?:\w+\s+\**)+?\*?(mcshm_\w+)\(",
                          code("include/mcshm.h"), re.M))


def mapped():
    """The symbols that the map file lists; it may have no pattern."""
    globals_ = re.search(r"global:(.*?)local:", code("libmcshm/libmcshm.map"),
                         re.S).group(1)
    names = set(re.findall(r"(\S+);", globals_))
    assert all(re.fullmatch(r"mcshm_\w+", n) for n in names), names
    return names


def exported():
    lines = run("nm", "-D", "--defined-only", LIBRARY).stdout.splitlines()
    return {line.split()[2].split("@")[0] for line in lines
            if line.split()[1] in "TWBDRVi"}


def test_header_and_map_are_equal():
    assert len(declared()) >= 10
    assert declared() == mapped()


@pytest.mark.plain
def test_library_and_map_are_equal():
    assert exported() == mapped()


@pytest.mark.plain
def test_each_symbol_has_a_version():
    out = run("nm", "-D", "--defined-only", LIBRARY).stdout
    assert all(re.search(r"mcshm_\w+@@MCSHM_\d", line)
               for line in out.splitlines() if " T " in line)


@pytest.mark.plain
def test_library_needs_libc_only():
    out = run("objdump", "-p", LIBRARY).stdout
    assert re.findall(r"NEEDED\s+(\S+)", out) == ["libc.so.6"]
    assert re.findall(r"SONAME\s+(\S+)", out) == ["libmcshm.so.0"]
    assert "TEXTREL" not in out


@pytest.mark.plain
def test_library_is_small():
    size = run("size", LIBRARY).stdout.splitlines()[1].split()
    assert int(size[0]) <= 100 * 1024


@pytest.mark.plain
def test_library_starts_no_thread_and_handles_no_signal():
    undefined = run("nm", "-D", "--undefined-only", LIBRARY).stdout
    assert not re.search(r"\b(pthread_create|sigaction|signal|fork|exit|abort"
                         r"|printf|fprintf|syslog)(@|\b)", undefined)


@pytest.mark.parametrize("language, options", [
    ("c", ["-std=c11", "-pedantic"]),
    ("c", ["-std=c99"]),
    ("c", ["-std=c11", "-Wc++-compat"]),
    ("c++", ["-std=c++11", "-pedantic"]),
    ("c++", ["-std=c++20"]),
])
def test_header_compiles_alone(tmp_path, language, options):
    source = tmp_path / "alone"
    source.write_text('#include "mcshm.h"\n#include "mcshm.h"\n')
    run(*compiler(language), *options, "-Wall", "-Wextra", "-Werror",
        "-fsyntax-only", "-I", ROOT / "include", "-x", language, source)


def test_public_header_is_only_interface():
    """No inline code, no layout of the file, no header of ours."""
    header = code("include/mcshm.h")
    assert "inline" not in header
    assert re.findall(r'#include\s+"', text("include/mcshm.h")) == []
    assert "_Atomic" not in header
