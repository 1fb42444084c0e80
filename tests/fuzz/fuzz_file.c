/*
 * fuzz_file.c - a pool file from the fuzzer, in front of all that the library
 * does.
 *
 * The input, after one byte of ways (fuzz_input.c): either the file, or changes
 * to a good one:
 *
 *	offset (2 bytes, in words of 8), length (1 byte, 1 to 16), bytes
 *
 * Half of the ways make the header's sum fit, half the others, so that what is
 * behind them is reached.
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
	hostile_read(path, true);
	return 0;
}
