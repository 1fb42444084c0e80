"""Laws about libmcshm-memcached: symbols, header, page, example, install."""
import os
import re

import pytest

from lawlib import BUILD, ROOT, SAN, code, compiler, run, text
from test_law_manual import displays

HERE = "clients/libmemcached"
PAGE = f"{HERE}/mcshm_memcached.3"
LIBRARY = BUILD / "libmcshm-memcached.so.0"
HEADER = f"{HERE}/mcshm-memcached.h"


def shape(types):
    return re.sub(r"\s*\*\s*", " *", re.sub(r"\s+", " ", types)).strip()


def prototypes():
    """{function: (type, [argument, ...])} of the header."""
    return {m.group(2): (shape(m.group(1)),
                         [shape(a) for a in m.group(3).split(",")])
            for m in re.finditer(r"^((?:\w+\s+)+\**)(mcshm_\w+)\((.*?)\);",
                                 code(HEADER), re.M | re.S)}


def mapped():
    globals_ = re.search(r"global:(.*?)local:",
                         code(f"{HERE}/libmcshm-memcached.map"), re.S)
    return set(re.findall(r"(\S+);", globals_.group(1)))


def test_header_and_map_are_equal():
    assert len(mapped()) >= 4
    assert set(prototypes()) == mapped()


@pytest.mark.plain
def test_library_and_map_are_equal():
    out = run("nm", "-D", "--defined-only", LIBRARY).stdout
    rows = [line.split() for line in out.splitlines()]
    assert {r[2].split("@")[0] for r in rows if r[1] != "A"} == mapped()
    assert all("@@MCSHM_MEMCACHED_" in r[2] for r in rows if r[1] == "T")


@pytest.mark.plain
def test_who_needs_whom():
    """libmcshm never needs libmemcached."""
    out = run("objdump", "-p", LIBRARY).stdout
    needed = set(re.findall(r"NEEDED\s+(\S+)", out))
    assert {"libmcshm.so.0", "libc.so.6"} < needed
    assert all(re.match(r"lib(mcshm|memcached|hashkit|c)\.so", n)
               for n in needed)
    assert re.findall(r"SONAME\s+(\S+)", out) == [LIBRARY.name]
    assert "RUNPATH" not in out and "RPATH" not in out


def test_the_page_has_no_lint():
    done = run("mandoc", "-T", "lint", "-W", "warning", ROOT / PAGE, ok=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_page_has_each_function():
    page = text(PAGE)
    synopsis = page.split(".Sh SYNOPSIS")[1].split(".Sh DESCRIPTION")[0]
    found = {}
    for m in re.finditer(r"^\.Ft (.*)\n\.F(?:n (\w+) (.*)|o (\w+)\n"
                         r"((?:\.Fa .*\n)*)\.Fc)", synopsis, re.M):
        arguments = re.findall(r'"([^"]*)"', m.group(3) or m.group(5))
        found[m.group(2) or m.group(4)] = (shape(m.group(1)),
                                           [shape(a) for a in arguments])
    assert found == prototypes()
    assert set(re.findall(r"^\.Nm (\w+)", page.split(".Sh LIB")[0], re.M)) \
        == mapped()
    described = page.split(".Sh DESCRIPTION")[1].split(".Sh EXAMPLES")[0]
    assert mapped() <= set(re.findall(r"^\.Fn (\w+)", described, re.M))


@pytest.mark.parametrize("language, options", [
    ("c", ["-std=c11"]), ("c++", ["-std=c++11"])])
def test_header_compiles_alone(tmp_path, language, options):
    source = tmp_path / "alone"
    source.write_text('#include "mcshm-memcached.h"\n' * 2)
    run(*compiler(language), *options, "-Wall", "-Wextra", "-Werror",
        "-fsyntax-only", "-I", ROOT / "include", "-I", ROOT / HERE, "-x",
        language, source)


def test_the_example_works(tmp_path, pool):
    source, = [d for d in displays(PAGE) if "\nmain(" in d]
    (tmp_path / "example.c").write_text(source)
    san = [f"-fsanitize={SAN}"] if SAN else []
    run(*compiler(), "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra",
        "-Werror", *san, "-I", ROOT / "include", "-I", ROOT / HERE, "-o",
        tmp_path / "example", tmp_path / "example.c", "-L", BUILD,
        "-lmcshm-memcached", "-lmcshm", "-lmemcached")
    env = {"MCSHM_DIR": str(pool.directory), "LD_LIBRARY_PATH": str(BUILD)}
    out = run(tmp_path / "example", "web", "user:42", env=env).stdout
    assert out == "user:42: NOT FOUND\n"
    import socket
    for port in pool.ports:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.sendall(b"set user:42 0 0 5\r\nhello\r\n")
            assert s.recv(100) == b"STORED\r\n"
    out = run(tmp_path / "example", "web", "user:42", env=env).stdout
    assert out == "user:42: hello\n"
    done = run(tmp_path / "example", "none", "user:42", env=env, ok=False)
    assert done.returncode == 1 and "no such pool file" in done.stderr


# Installed ------------------------------------------------------------------

@pytest.mark.plain
@pytest.mark.xdist_group("install")
def test_installed_files_are_enough_for_a_program(installed, tmp_path):
    lib = installed / "usr/lib/here"
    env = {"PKG_CONFIG_PATH": f"{lib}/pkgconfig"}
    told = run(os.environ.get("PKG_CONFIG", "pkg-config"), "--cflags",
               "--libs", "mcshm-memcached", env=env).stdout
    # Its own paths are under DESTDIR; those of others are not.
    options = [re.sub(r"^-([IL])/usr/(lib/here|include)$",
                      rf"-\1{installed}/usr/\2", o) for o in told.split()]
    assert {"-lmcshm-memcached", "-lmcshm", "-lmemcached"} <= set(options)
    (tmp_path / "p.c").write_text(
        "#include <mcshm-memcached.h>\nint main(void) { return "
        "mcshm_memcached_attach(NULL, \"web\", 0) != MCSHM_EINVAL; }\n")
    run(*compiler(), "-o", tmp_path / "p", tmp_path / "p.c",
        "-I", installed / "usr/include", "-L", lib, *options)
    run(tmp_path / "p", env={"LD_LIBRARY_PATH": str(lib)})
    for name in mapped():
        page = installed / f"usr/share/man/man3/{name}.3"
        assert page.read_text() == ".so man3/mcshm_memcached.3\n"


@pytest.mark.plain
def test_make_says_what_it_leaves_out(tmp_path):
    """Where there is no libmemcached all else is built, and one line says
    it."""
    done = run("make", "-C", ROOT, "-n", "all", f"B={tmp_path}/b",
               "memc_h=not/there.h")
    assert re.search(r"clients/libmemcached: left out, no libmemcached",
                     done.stdout)
    assert "mcshm-memcached.so" not in done.stdout
    assert "libmcshm.so" in done.stdout
