"""The quick version of each proof, for `make check`; `make proof` runs the long
ones.  See docs/proof.md."""
import os
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
PARTS = ["models", "step", "inject", "power", "stale", "hammer", "hostile",
         "fuzz", "mutants"]


def is_there(part):
    return part not in ("inject", "power", "stale") or \
        os.path.exists(os.path.join(HERE, part + ".py"))


@pytest.mark.parametrize("part", [p for p in PARTS if is_there(p)])
def test_quick(part):
    done = subprocess.run(["sh", os.path.join(HERE, "run"), "--quick", part],
                          stdin=subprocess.DEVNULL, text=True,
                          errors="replace", timeout=550,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-6000:]
