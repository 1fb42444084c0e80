/*
 * fuzz_dump.c - a pool file from the fuzzer (see fuzz_file.c), in front of all
 * views of mc-shmdump.
 */
#include "fuzz_file.h"

#include "../proof/hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = fuzz_file_path();

	if (!fuzz_file_write(path, data, size))
		return 0;
	hostile_case("from the fuzzer");
	hostile_dump(path, (enum hostile_view)(data[size - 1] % VIEWS));
	return 0;
}
