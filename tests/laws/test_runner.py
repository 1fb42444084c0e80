"""The runner of all tests must itself be able to fail."""
import sys

import pytest

from lawlib import ROOT, run, wait_until

GOOD = 'echo "[ RUN      ] one"; echo "[       OK ] one"\n'
SKIP = 'echo "[ RUN      ] two"; echo "[  SKIPPED ] two"\n'
FAIL = 'echo "[ RUN      ] bad"; echo "[  FAILED  ] bad" >&2; exit 1\n'


def check(tmp_path, script, ci="false"):
    tests = tmp_path / "tests"
    tests.mkdir(exist_ok=True)
    program = tests / "test_fake"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    done = run(sys.executable, ROOT / "tests/check", "--only=", program,
               ok=False, env={"CI": ci})
    return done.returncode, done.stdout.splitlines()[-1], done.stdout


@pytest.mark.parametrize("script, ci, code, line", [
    (GOOD, "true", 0, "check: 1 passed, 0 failed, 0 skipped"),
    (GOOD + SKIP, "false", 0, "check: 1 passed, 0 failed, 1 skipped"),
    (GOOD + SKIP, "true", 1, "check: 1 passed, 0 failed, 1 skipped"),
    (GOOD + FAIL, "true", 1, "check: 1 passed, 1 failed, 0 skipped"),
    (GOOD + "exit 3", "true", 1, "check: 1 passed, 1 failed, 0 skipped"),
    (GOOD + "kill -SEGV $$", "true", 1,
     "check: 1 passed, 1 failed, 0 skipped"),
    ("", "true", 1, "check: 0 passed, 1 failed, 0 skipped"),
])
def test_what_comes_out(tmp_path, script, ci, code, line):
    assert check(tmp_path, script, ci)[:2] == (code, line)


def ended(pid):
    """No such process, or a dead one that init has not looked at."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_process_left_behind_is_found_and_ended(tmp_path):
    """By its environment: it has another name, session and parent."""
    told = tmp_path / "pid"
    code, line, text = check(
        tmp_path, GOOD + "setsid sleep 60 </dev/null >/dev/null 2>&1 &\n"
        f"echo $! >{told}\n")
    assert (code, line) == (1, "check: 1 passed, 1 failed, 0 skipped")
    assert "left behind" in text and "sleep 60" in text
    pid = told.read_text().strip()
    wait_until(lambda: ended(pid), "the end of what was left behind")
