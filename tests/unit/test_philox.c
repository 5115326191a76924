/* test_philox.c: the known answers of the Random123 distribution. */
#include <criterion/criterion.h>

#include "base/philox.h"

Test(philox, known_answers) {
    static const struct {
        uint32_t key[2], counter[4], words[4];
    } cases[] = {
        {{0, 0}, {0, 0, 0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0xa4093822, 0x299f31d0},
         {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint32_t *c = cases[i].counter;
        struct philox_words out = philox4x32(cases[i].key[0], cases[i].key[1], c[0], c[1], c[2], c[3]);
        for (int k = 0; k < 4; k++) cr_assert_eq(out.w[k], cases[i].words[k], "case %zu word %d", i, k);
    }
}
