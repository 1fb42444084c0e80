/*
 * keys.c - keys such as sites have them: "user:" and a number of 5 to 15
 * digits.
 */
#include "keys.h"

#include <stdio.h>

#include "scheme_inline.h"

void
keys_make(struct keys_one *key, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint64_t r = scheme_mix(i);
		const int digits = 5 + (int)(r % 11);

		key[i].len = (uint32_t)snprintf(key[i].text,
		    sizeof key[i].text, "user:%0*u", digits,
		    (unsigned)(r >> 32) % 100000);
	}
}
