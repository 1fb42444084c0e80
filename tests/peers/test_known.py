"""Known answers, where there is nobody on this machine to ask: hashes as they
are where chars are unsigned (ARM, PowerPC), and libhashkit's hsieh, which
Debian's build leaves out."""
import struct

import pytest

from peerlib import Question

pytestmark = pytest.mark.xdist_group("peers-libmemcached")

HASHES = ("one_at_a_time md5 crc fnv1_64 fnv1a_64 fnv1_32 fnv1a_32 hsieh "
          "murmur murmur3 jenkins").split()
SIGNED = {
    b"a": "ca2e9442 b975c10c 000068b7 8601b7be 8601ec8c 050c5d7e e40c292c "
          "93642e87 4b41757c 8872dbc8 e0a38690",
    b"foo": "238678dd db18bdac 00000c73 6ba13533 fed9d577 408f5e13 a9f37ed7 "
            "76d4d427 c4e0338f a5f500b2 99f84f99",
    b"bar": "80409109 191db537 000076ff 6bad3880 1339461a 1e99b620 76b77d1a "
            "82f73143 1ecb8583 08dd6829 779604bb",
    b"user:42": "303f6fea 18dfda56 0000646f f2829cd0 dcd221c2 f7f67db0 "
                "2f6b7b82 ae4b9fa9 5f6eb68a 8d19b667 c4c6bc92",
    b"session:abc": "c360bd00 0d7b6032 00004405 3665126d 7b271d79 a9a42d8d "
                    "24740259 105de493 30cf58dc 86fe2472 941eeee2",
    b"0123456789abcdef": "f02202c7 8daf3240 000068c4 3b82ecc1 e5ad677d "
                         "9e1b6f41 87bc333d b89ff08b 02923d2d 62b4d995 "
                         "e022e949",
    b"caf\xc3\xa9": "d99c709e e47f1107 000018ad 8a06fef1 cef6bb89 d682f171 "
                    "7572c049 de3f8855 da11981f 235552a0 cb6225ad",
}
UNSIGNED = SIGNED | {
    b"caf\xc3\xa9": "9096adf2 e47f1107 000018ad 8a0640f1 cfa40d89 6683d371 "
                    "a82b5049 de3f8855 da11981f 235552a0 cb6225ad",
}


@pytest.mark.parametrize("chars, table", [("signed", SIGNED),
                                          ("unsigned", UNSIGNED)])
def test_hashes(driver, tmp_path, chars, table):
    file = tmp_path / "known"
    file.write_bytes(b"".join(struct.pack("<H", len(k)) + k for k in table))
    got = {key: [] for key in table}
    for hash in HASHES:
        settings = {"scheme": "libmemcached-modula", "hash": hash,
                    "digest": None}
        if chars == "unsigned":
            settings["unsigned"] = None
        ours = driver("ours")
        ours.send(Question([], {}, {}).lines(settings))
        ours.ask(file, 0, len(table), 2)
        halves = ours.answer(2 * len(table))
        for key, low, high in zip(table, halves[::2], halves[1::2]):
            got[key].append(f"{high << 16 | low:08x}")
    assert {k: " ".join(v) for k, v in got.items()} == table
