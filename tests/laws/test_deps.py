"""tests/deps never runs apt-get where it should not, and as it should."""
import os
import signal
import subprocess

import pytest

from lawlib import ROOT, run, wait_until


@pytest.fixture
def deps(tmp_path):
    """Runs tests/deps with an apt-get that only tells that it was called."""
    stub, told = tmp_path / "apt-get", tmp_path / "called"
    stub.write_text(f"#!/bin/sh\necho \"$@\" >>{told}\nexit 100\n")
    stub.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"

    def call(*arguments, **environment):
        env = {"PATH": path, "NO_DEPS": "0"} | environment
        done = run("sh", ROOT / "tests/deps", *arguments, ok=False, env=env)
        assert not told.exists()
        return done

    return call


def test_nothing_is_missing(deps):
    done = deps("check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("environment", [
    {"NO_DEPS": "1"}, {"DEB_BUILD_OPTIONS": ""}])
def test_forbidden(deps, environment):
    done = deps("check", CXX="no-such-compiler", **environment)
    assert done.returncode == 69
    assert done.stderr.splitlines()[-1].endswith(
        "run: apt-get install --no-install-recommends g++")


def test_looking_installs_nothing(deps):
    done = deps("look", "build", CPPFLAGS="-nostdinc")
    assert done.returncode == 69
    assert "libev-dev is missing: run make deps, or apt-get install " \
        "libev-dev\n" in done.stderr


def test_make_says_which_package_is_missing(tmp_path):
    done = run("make", "-C", ROOT, f"B={tmp_path}/b", "CPPFLAGS=-nostdinc",
               ok=False)
    assert done.returncode != 0
    assert "libxxhash-dev is missing: run make deps" in done.stderr
    assert "error:" not in done.stderr


def test_wrong_use(deps):
    assert deps("everything").returncode == 64


# Installing: an apt-get that notes how it was called, and obeys.

APT_GET = """#!/bin/sh
{ echo "$DEBIAN_FRONTEND: $*"; "$DEPS_POLICY"; echo "policy: $?"; } >>called
echo "E: told to fail"
while [ -e wait ]; do sleep 0.02; done
case $*:$(cat will) in
*install*:*fail*)	sed -i s/fail// will; exit 100 ;;
*install*:*work*)	printf '#!/bin/sh\\n' >compiler; chmod 755 compiler ;;
esac
"""
INSTALL = "noninteractive: -q -y -o DPkg::Lock::Timeout=120 " \
    "--no-install-recommends install g++"
UPDATE = "noninteractive: -q -y -o DPkg::Lock::Timeout=120 update"


class Machine:
    """Where a compiler is missing, and apt-get's installs end as told."""

    def __init__(self, directory):
        self.directory = directory
        self.policy = directory / "policy-rc.d"
        (directory / "tmp").mkdir()
        for name, text in ("apt-get", APT_GET), ("id", "#!/bin/sh\necho 0\n"):
            (directory / name).write_text(text)
            (directory / name).chmod(0o755)

    def start(self, will):
        (self.directory / "will").write_text(will)
        env = {k: v for k, v in os.environ.items()
               if k not in ("NO_DEPS", "DEB_BUILD_OPTIONS")} | {
            "PATH": f"{self.directory}:{os.environ['PATH']}",
            "CXX": str(self.directory / "compiler"),
            "TMPDIR": str(self.directory / "tmp"),
            "DEPS_POLICY": str(self.policy)}
        return subprocess.Popen(
            ["sh", ROOT / "tests/deps", "check"], env=env, text=True,
            cwd=self.directory, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish(self, process):
        """Its exit code and stderr; it has left nothing behind."""
        try:
            stderr = process.communicate(timeout=20)[1]
        finally:
            process.kill()
        assert list((self.directory / "tmp").iterdir()) == []
        return process.returncode, stderr

    def deps(self, will):
        return self.finish(self.start(will))

    def called(self, policy=101):
        told = (self.directory / "called").read_text().splitlines()
        assert set(told[1::2]) == {f"policy: {policy}"}
        return told[::2]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_installing(machine):
    """No service starts meanwhile, and no list is fetched for nothing."""
    assert machine.deps("work") == (0, "")
    assert machine.called() == [INSTALL]
    assert not machine.policy.exists()


def test_lists_are_fetched_after_a_failed_install_only(machine):
    assert machine.deps("fail work") == (0, "")
    assert machine.called() == [INSTALL, UPDATE, INSTALL]
    assert not machine.policy.exists()


def test_installing_fails(machine):
    code, stderr = machine.deps("fail fail")
    assert code == 69 and "E: told to fail" in stderr
    assert stderr.splitlines()[-1] == "deps: apt-get failed (no network?); " \
        "run: apt-get install --no-install-recommends g++"
    assert machine.called() == [INSTALL, UPDATE, INSTALL]
    assert not machine.policy.exists()


def test_installed_and_still_missing(machine):
    code, stderr = machine.deps("nothing")
    assert code == 69 and "still missing after apt-get" in stderr
    assert not machine.policy.exists()


def test_a_policy_of_the_site_stays(machine):
    machine.policy.write_text("#!/bin/sh\nexit 7\n")
    machine.policy.chmod(0o755)
    assert machine.deps("work") == (0, "")
    assert machine.called(policy=7) == [INSTALL]
    assert machine.policy.read_text() == "#!/bin/sh\nexit 7\n"
    # Also one that leads nowhere now.
    (machine.directory / "compiler").unlink()
    machine.policy.unlink()
    machine.policy.symlink_to("nowhere")
    assert machine.deps("work") == (0, "")
    assert machine.policy.is_symlink()
    assert not (machine.directory / "nowhere").exists()


def test_terminated_while_installing(machine):
    """Packages are not left half installed; after that it is over."""
    wait, called = machine.directory / "wait", machine.directory / "called"
    wait.touch()
    process = machine.start("fail work")
    try:
        wait_until(lambda: called.exists() and "policy:" in called.read_text(),
                   "apt-get runs")
        assert machine.policy.exists()
        process.send_signal(signal.SIGTERM)
    finally:
        wait.unlink()
    assert machine.finish(process)[0] == 69
    assert machine.called() == [INSTALL]
    assert not machine.policy.exists()
