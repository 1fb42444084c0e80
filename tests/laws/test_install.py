"""What make install lays down works for those who never saw the tree."""
import os
import re
import shutil

import pytest

from lawlib import ROOT, compiler, run, text
from test_law_library import declared
import test_law_memcached

PROGRAM = """
#include <mcshm.h>
#include <stdio.h>
int main(void)
{
	struct mcshm *m;
	int err = mcshm_open(&m, "/nowhere/none.mcshm", 0);
	puts(mcshm_strerror(err));
	return err == MCSHM_ENOENT ? 0 : 1;
}
"""
FILES = """
etc/mc-checkerd/mc-checkerd.ini
usr/bin/mc-shmdump
usr/sbin/mc-checkerd
usr/include/mcshm.h
usr/lib/here/libmcshm.a
usr/lib/here/libmcshm.so
usr/lib/here/libmcshm.so.0
usr/lib/here/pkgconfig/mcshm.pc
usr/include/mcshm-memcached.h
usr/lib/here/libmcshm-memcached.so
usr/lib/here/libmcshm-memcached.so.0
usr/lib/here/pkgconfig/mcshm-memcached.pc
usr/share/man/man3/mcshm_memcached.3
usr/lib/systemd/system/mc-checkerd.service
usr/lib/sysusers.d/mc-checkerd.conf
usr/lib/tmpfiles.d/mc-checkerd.conf
usr/share/man/man1/mc-shmdump.1
usr/share/man/man3/libmcshm.3
usr/share/man/man5/mc-checkerd.ini.5
usr/share/man/man5/mcshm.5
usr/share/man/man8/mc-checkerd.8
usr/share/doc/mc-checkerd/LICENSE
usr/share/doc/mc-checkerd/README.md
usr/share/doc/mc-checkerd/CHANGELOG.md
usr/share/doc/mc-checkerd/architecture.md
usr/share/doc/mc-checkerd/mc-checkerd.ini
usr/share/doc/mc-checkerd/fast-lan.ini
""".split()

pytestmark = [pytest.mark.plain, pytest.mark.takes(20),
              pytest.mark.xdist_group("install")]


def listing(dest):
    return {p.relative_to(dest).as_posix() for p in dest.rglob("*")
            if not p.is_dir() or p.is_symlink()}


def pkg_config(dest, *arguments):
    env = {"PKG_CONFIG_PATH": f"{dest}/usr/lib/here/pkgconfig",
           "PKG_CONFIG_SYSROOT_DIR": str(dest)}
    command = os.environ.get("PKG_CONFIG", "pkg-config")
    return run(command, *arguments, "mcshm", env=env).stdout.split()


def test_files(installed):
    links = {f"usr/share/man/man3/{f}.3"
             for f in declared() | test_law_memcached.mapped()}
    docs = {p for p in listing(installed)
            if re.fullmatch(r"usr/share/doc/mc-checkerd/[\w-]+\.md", p)}
    assert listing(installed) == set(FILES) | links | docs


def test_modes(installed):
    """Whatever the umask was."""
    modes = {p: (installed / p).stat().st_mode & 0o777
             for p in listing(installed)}
    assert modes == {p: 0o755 if "bin/" in p else 0o644 for p in modes}


def test_programs_start(installed):
    for program in ("sbin/mc-checkerd", "bin/mc-shmdump"):
        out = run(installed / "usr" / program, "--version").stdout
        assert re.search(r"\b\d+\.\d+\.\d+\b", out)


def test_daemon_takes_the_installed_ini(installed):
    ini = installed / "etc/mc-checkerd/mc-checkerd.ini"
    run(installed / "usr/sbin/mc-checkerd", "--check-config", "-c", ini)


def test_daemon_knows_where_its_ini_is(installed):
    told = run(installed / "usr/sbin/mc-checkerd", "--help").stdout
    assert "/etc/mc-checkerd/mc-checkerd.ini" in told


@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize("kind", ["shared", "static"])
def test_a_program_links(installed, tmp_path, language, kind):
    source = tmp_path / "program"
    source.write_text(PROGRAM)
    options = pkg_config(installed, "--cflags", "--libs")
    if kind == "static":
        options = [o for o in options if o != "-lmcshm"] + [
            "-l:libmcshm.a"]
    run(*compiler(language), "-Wall", "-Wextra", "-Werror", "-o",
        tmp_path / "p", "-x", language, source, "-x", "none", *options)
    env = {"LD_LIBRARY_PATH": f"{installed}/usr/lib/here"}
    run(tmp_path / "p", env=env)
    needed = run("objdump", "-p", tmp_path / "p").stdout
    assert ("libmcshm.so.0" in needed) == (kind == "shared")


def test_version_is_the_header_s(installed):
    header = dict(re.findall(r"MCSHM_VERSION_(\w+) (\d+)",
                             text("include/mcshm.h")))
    version = ".".join(header[k] for k in ("MAJOR", "MINOR", "PATCH"))
    assert pkg_config(installed, "--modversion") == [version]
    changes = text("CHANGELOG.md")
    assert re.search(r"^## %s\b" % re.escape(version), changes, re.M)


def test_pages_and_unit_name_the_installed_paths(tmp_path):
    """With another prefix the unit starts the daemon that is there."""
    commands = run("make", "-C", ROOT, "-n", "install", "prefix=/opt/mc",
                   f"DESTDIR={tmp_path}", f"B={tmp_path}/b").stdout
    edit = re.search(r"sed (-e .*?) conf/mc-checkerd.service",
                     commands.replace("\\\n", "")).group(1)
    unit = run("sh", "-c", f"sed {edit} conf/mc-checkerd.service",
               cwd=ROOT).stdout
    assert "ExecStart=/opt/mc/sbin/mc-checkerd --config " \
        "/opt/mc/etc/mc-checkerd/mc-checkerd.ini" in unit
    assert "/usr/sbin" not in unit and " /etc/" not in unit


def test_link_pages_lead_to_the_manual(installed):
    for name in declared():
        page = installed / f"usr/share/man/man3/{name}.3"
        assert page.read_text() == ".so man3/libmcshm.3\n"


def dead_links(page):
    """Those that lead neither to a file from there nor to the world."""
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    return [link for link in links if not re.match(r"https?:", link)
            and not (page.parent / link).exists()]


def test_links_of_the_documents_lead_somewhere(installed):
    here = [ROOT / p for p in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    here += (ROOT / "docs").glob("*.md")
    there = list((installed / "usr/share/doc/mc-checkerd").glob("*.md"))
    assert len(there) >= 3
    assert {p: dead for p in here + there if (dead := dead_links(p))} == {}
    readme = (installed / "usr/share/doc/mc-checkerd/README.md").read_text()
    assert "libmcshm(3), and the file" in " ".join(readme.split())


def test_uninstall_leaves_the_ini_only(installed, tmp_path):
    dest = tmp_path / "dest"
    shutil.copytree(installed, dest, symlinks=True)
    run("make", "-s", "-C", ROOT, "uninstall", f"DESTDIR={dest}",
        "prefix=/usr", "libdir=/usr/lib/here")
    assert listing(dest) == {"etc/mc-checkerd/mc-checkerd.ini"}


def test_unit_keeps_what_clients_depend_on():
    unit = re.findall(r"^(\w+)=(.*)$", text("conf/mc-checkerd.service"), re.M)
    settings = dict(unit)
    expected = {
        "Type": "notify", "User": "mc-checkerd", "Restart": "always",
        "RestartSec": "500ms", "StartLimitIntervalSec": "0",
        "RuntimeDirectory": "mc-checkerd", "RuntimeDirectoryMode": "0755",
        "RuntimeDirectoryPreserve": "yes", "WatchdogSec": "10s",
        "RestartPreventExitStatus": "78 69", "UMask": "0022",
        "LimitNOFILE": "65536", "OOMScoreAdjust": "-500",
        "CapabilityBoundingSet": "", "NoNewPrivileges": "yes",
        "ProtectSystem": "strict", "MemoryDenyWriteExecute": "yes",
        "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    }
    assert {k: settings.get(k) for k in expected} == expected
    reload = [v for k, v in unit if k == "ExecReload"]
    assert len(reload) == 2
    assert "--check-config" in reload[0] and "-HUP $MAINPID" in reload[1]
    # The boot id is not there with ProcSubset=pid.
    assert "ProcSubset" not in settings
    assert "u mc-checkerd " in text("conf/mc-checkerd.sysusers")
