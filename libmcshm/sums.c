/*
 * sums.c - the checksums of a pool file; pure, over private copies only.
 *
 * All are XXH3-64.  Where a sum covers several ranges, the sum of one is the
 * seed of the next.  A section's is that of its front plus, modulo 2^64, those
 * of its entries: who changes one of thousands need not sum up the others.
 */
#include <string.h>

#include "hash_xxh3.h"
#include "mcshm_format.h"

uint64_t
mcshm_header_sum(const struct mcshm_header *h)
{
	const unsigned char *p = (const unsigned char *)h;
	const uint64_t a = hash_xxh3(p + MCSHM_SUM_A_OFF, MCSHM_SUM_A_LEN, 0);

	return hash_xxh3(p + MCSHM_SUM_B_OFF, MCSHM_SUM_B_LEN, a);
}

uint64_t
mcshm_sum(const void *p, size_t len, uint64_t seed)
{
	return hash_xxh3(p, len, seed);
}

uint64_t
mcshm_table_sum(const void *file, const struct mcshm_header *h)
{
	const unsigned char *p = file;
	uint64_t sum = hash_xxh3(p + h->buckets_off, 2ull * h->buckets, 0);

	if (h->ring_points == 0)
		return sum;
	sum = hash_xxh3(p + h->ring_off,
	    h->ring_points * sizeof(struct mcshm_point), sum);
	if (h->ring_index_bits == 0)
		return sum;
	return hash_xxh3(p + h->ring_index_off,
	    mcshm_index_size(h->ring_index_bits), sum);
}

/* All but the entries; the sum itself is taken as 0. */
uint64_t
mcshm_front_sum(const void *section, uint64_t size, const uint64_t file_id[2])
{
	const unsigned char *p = section;
	struct mcshm_section head;
	uint64_t sum;

	memcpy(&head, p, sizeof head);
	head.sum = 0;
	sum = hash_xxh3(file_id, 2 * sizeof file_id[0], 0);
	sum = hash_xxh3(&head, sizeof head, sum);
	return hash_xxh3(p + sizeof head, size - sizeof head, sum);
}

uint64_t
mcshm_entry_sum(const void *entry, uint64_t stride, uint32_t slot)
{
	return hash_xxh3(entry, stride, slot);
}

uint64_t
mcshm_section_sum(const void *section, const struct mcshm_header *h,
    const uint64_t file_id[2])
{
	const unsigned char *p = section;
	const uint64_t stride = h->entry_stride;
	const uint64_t front = h->entries_off < h->section_size ?
	    h->entries_off : h->section_size;
	uint64_t at = front, sum;

	if (front < sizeof(struct mcshm_section))
		return 0;
	sum = mcshm_front_sum(p, front, file_id);
	for (uint32_t i = 0; i < h->servers && stride > 0 &&
	     stride <= h->section_size - at; i++, at += stride)
		sum += mcshm_entry_sum(p + at, stride, i);
	return sum;
}
