/* test_blocks.c: quantised blocks against the numbers of another program (make_blocks.py), and by hand. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "load/blocks.h"
#include "support.h"

static void check(const struct tensor_set *set, enum dtype dtype) {
    char name[32];
    snprintf(name, sizeof name, "%s.blocks", dtype_name(dtype));
    const struct tensor_view *blocks = tensor_set_find(set, name);
    snprintf(name, sizeof name, "%s.values", dtype_name(dtype));
    const struct tensor_view *values = tensor_set_find(set, name);
    cr_assert(blocks && values, "%s", name);
    const size_t elements = values->shape[0];
    cr_assert_eq(blocks->bytes / dtype_block_bytes(dtype) * dtype_block_elements(dtype), elements);
    float *found = mem_array(elements, sizeof *found), expected;
    blocks_decode(found, dtype, blocks->data, elements);
    for (size_t i = 0; i < elements; i++) { /* -0 counts as 0: the scale of a block may be either */
        memcpy(&expected, values->data + 4 * i, 4);
        cr_expect_eq(found[i], expected, "%s: element %zu is %.9g, expected %.9g", dtype_name(dtype), i,
                     (double)found[i], (double)expected);
    }
    mem_free(found);
}

Test(blocks, as_another_program_reads_them) {
    struct tensor_set *set;
    tempera_error err;
    char *path = path_join(test_source(), "unit/fixtures/blocks.safetensors");
    cr_assert_eq(tensor_set_open_file(&set, path, &err), TEMPERA_OK, "%s", err.message);
    check(set, DTYPE_Q8_0);
    check(set, DTYPE_Q4_0);
    check(set, DTYPE_Q4_K);
    check(set, DTYPE_Q6_K);
    tensor_set_free(set);
    mem_free(path);
}

Test(blocks, by_hand) {
    unsigned char block[34] = {0x00, 0x3C, 1, 0xFF, 127, 0x80}; /* d = 1 */
    float x[32];
    blocks_decode(x, DTYPE_Q8_0, block, 32);
    cr_expect(x[0] == 1 && x[1] == -1 && x[2] == 127 && x[3] == -128 && x[4] == 0);
    unsigned char four[18] = {0x00, 0x40, 0xF0}; /* d = 2 */
    blocks_decode(x, DTYPE_Q4_0, four, 32);
    cr_expect(x[0] == -16 && x[16] == 14 && x[1] == -16);
}

Test(blocks, sizes) {
    cr_expect(dtype_is_block(DTYPE_Q4_K) && !dtype_is_block(DTYPE_BF16) && !dtype_is_block(DTYPE_COUNT));
    cr_expect(dtype_block_elements(DTYPE_Q4_K) == 256 && dtype_block_elements(DTYPE_F32) == 1);
    cr_expect(dtype_block_bytes(DTYPE_Q6_K) == 210 && dtype_block_bytes(DTYPE_F16) == 2);
    cr_expect(dtype_size(DTYPE_Q8_0) == 0);
    cr_expect_str_eq(dtype_name(DTYPE_Q8_0), "Q8_0");
    cr_expect_str_eq(dtype_name(DTYPE_END), "?");
}
