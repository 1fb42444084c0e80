/*
 * hash_one_at_a_time.c - Jenkins' one-at-a-time hash as libmemcached has it;
 * pure.
 *
 * libmemcached adds plain chars, which are signed on x86: bytes from 0x80 on
 * are sign-extended there, and not on ARM or POWER.  Here they are everywhere,
 * so that a file means the same on every machine, and the same as on the
 * machines of nearly every fleet.
 */
#include "hash_one_at_a_time.h"

static uint32_t
sign_extended(unsigned char byte)
{
	return byte < 0x80 ? byte : byte | UINT32_C(0xffffff00);
}

uint32_t
hash_one_at_a_time(const void *p, size_t len)
{
	const unsigned char *byte = p;
	uint32_t v = 0;

	for (size_t i = 0; i < len; i++) {
		v += sign_extended(byte[i]);
		v += v << 10;
		v ^= v >> 6;
	}
	v += v << 3;
	v ^= v >> 11;
	v += v << 15;
	return v;
}
