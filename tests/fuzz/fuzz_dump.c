/*
 * fuzz_dump.c - a pool file from the fuzzer (see fuzz_file.c), in front of all
 * views of mc-shmdump.
 */
#include "fuzz_file.h"

#include "../proof/hostile.h"
#include "dump_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* With its ring in the header, the table's sum covers itself. */
static bool
sums_itself(const struct mcshm_header *h)
{
	return h->ring_points != 0 && h->ring_off < h->header_size;
}

/* A fuzzer whose sums do not fit stops there, and sees nothing of what comes
 * behind them; it would not even know. */
static void
check_sums(const char *path)
{
	struct dump_trouble t;
	struct dump_parts parts;
	struct dump_file f;

	if (dump_file_read(&f, path, &t) < 0)
		return;
	parts = dump_check_parts(&f);
	must(parts.roster != DUMP_PART_SUM, "the roster's sum does not fit");
	must(parts.table != DUMP_PART_SUM || sums_itself(&f.h),
	    "the table's sum does not fit");
	must(parts.section[f.active] != DUMP_PART_SUM ||
	    dump_file_section(&f, f.active)->generation == 0,
	    "the section's sum does not fit");
	dump_file_free(&f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = fuzz_file_path();

	if (!fuzz_file_write(path, data, size))
		return 0;
	hostile_case("from the fuzzer");
	if (fuzz_file_fits(data[0]))
		check_sums(path);
	hostile_dump(path, (enum hostile_view)(data[size - 1] % VIEWS));
	return 0;
}
