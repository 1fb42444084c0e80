/*
 * hash_crc.c - CRC32 (IEEE 802.3, as in zlib) and CRC16 (CCITT's polynomial,
 * from 0, as in XMODEM); pure.
 *
 * CRC32 takes four bytes at a time from four tables of 1 KiB: a key touches
 * about as many cache lines of them as it has bytes, and no more tables would
 * make keys of 10 to 40 bytes much faster.  CRC16 needs no table.
 */
#include "hash.h"
#include "hash_inline.h"

/*
 * Both are linear: the entry of a byte is the sum of those of its bits.  Table
 * t is for a byte which has t more behind it.
 */
#define BIT(i, bit, entry) ((i) >> (bit) & 1 ? UINT32_C(entry) : 0)
#define SUM(i, e0, e1, e2, e3, e4, e5, e6, e7)				\
	(BIT(i, 0, e0) ^ BIT(i, 1, e1) ^ BIT(i, 2, e2) ^ BIT(i, 3, e3) ^ \
	    BIT(i, 4, e4) ^ BIT(i, 5, e5) ^ BIT(i, 6, e6) ^ BIT(i, 7, e7))
#define T0(i) SUM(i, 0x77073096, 0xee0e612c, 0x076dc419, 0x0edb8832,	\
    0x1db71064, 0x3b6e20c8, 0x76dc4190, 0xedb88320)
#define T1(i) SUM(i, 0x191b3141, 0x32366282, 0x646cc504, 0xc8d98a08,	\
    0x4ac21251, 0x958424a2, 0xf0794f05, 0x3b83984b)
#define T2(i) SUM(i, 0x01c26a37, 0x0384d46e, 0x0709a8dc, 0x0e1351b8,	\
    0x1c26a370, 0x384d46e0, 0x709a8dc0, 0xe1351b80)
#define T3(i) SUM(i, 0xb8bc6765, 0xaa09c88b, 0x8f629757, 0xc5b428ef,	\
    0x5019579f, 0xa032af3e, 0x9b14583d, 0xed59b63b)

#define TO4(t, i) t(i), t((i) + 1), t((i) + 2), t((i) + 3)
#define TO16(t, i)							\
	TO4(t, i), TO4(t, (i) + 4), TO4(t, (i) + 8), TO4(t, (i) + 12)
#define TO64(t, i)							\
	TO16(t, i), TO16(t, (i) + 16), TO16(t, (i) + 32), TO16(t, (i) + 48)
#define TO256(t) TO64(t, 0), TO64(t, 64), TO64(t, 128), TO64(t, 192)

static const uint32_t table[4][256] = {
	{ TO256(T0) }, { TO256(T1) }, { TO256(T2) }, { TO256(T3) }
};

uint32_t
hash_crc32(uint32_t crc, const void *p, size_t len)
{
	const unsigned char *byte = p;

	crc = ~crc;
	for (; len >= 4; len -= 4, byte += 4) {
		crc ^= hash_load32(byte);
		crc = table[3][crc & 0xff] ^ table[2][crc >> 8 & 0xff] ^
		    table[1][crc >> 16 & 0xff] ^ table[0][crc >> 24];
	}
	for (; len > 0; len--, byte++)
		crc = crc >> 8 ^ table[0][(crc ^ *byte) & 0xff];
	return ~crc;
}

/*
 * As twemproxy has it, which never cuts off what leaves the 16 bits at the
 * top: the low half is the CRC, the high one the first bytes of the two CRCs
 * before.
 */
uint32_t
hash_crc16(const void *p, size_t len)
{
	const unsigned char *byte = p;
	uint32_t crc = 0;

	for (size_t i = 0; i < len; i++) {
		uint32_t v = (crc >> 8 ^ byte[i]) & 0xff;

		v ^= v >> 4;
		crc = crc << 8 ^ ((v << 12 ^ v << 5 ^ v) & 0xffff);
	}
	return crc;
}
