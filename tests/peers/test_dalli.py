"""dalli, Ruby's client: its ring and its tries."""
import pytest

from peerlib import KEYS, Question, ask_all, downs, mixed, plain, weighted

pytestmark = [pytest.mark.xdist_group("peers-dalli"), pytest.mark.takes(8)]

LISTS = [plain(1), plain(2), mixed(3), plain(7, 11212), mixed(10), mixed(25),
         plain(47), mixed(100), plain(1000), weighted(mixed(3)),
         weighted(plain(10)), weighted(mixed(25), most=100),
         weighted(mixed(100))]
TRIES = 20


def question(servers, down=()):
    return Question(servers, {"scheme": "dalli"}, {}, down)


@pytest.fixture
def peer(pair):
    return pair("dalli")


def test_home(peer, keys):
    ask_all(peer, keys("any"), [question(v) for v in LISTS])


def test_chain(peer, keys):
    """Every try of every key."""
    ask_all(peer, keys("any"), [question(v) for v in LISTS
                                 if 1 < len(v) <= 100],
            tries=TRIES, total=KEYS // 2)


def test_past_the_dead(peer, keys):
    """Where it gives up, we still find a server that lives."""
    asked = [question(v, down) for v in LISTS if len(v) <= 100
             for down in downs(v)]
    given_up = ask_all(peer, keys("any"), asked, gives_up=True,
                       total=KEYS // 2)
    assert given_up > 0
