// elements.cuh: groups of consecutive elements of a row, in as few memory accesses as its alignment allows.
//
// ALIGNED: the row's length is a multiple of four floats, so that every group of a row-major fp32 array starts at 16 bytes.
// Operand rows are always aligned: their stride is a multiple of 16 elements, and what is beyond the row's length is zero.
#pragma once

#include "kernels/device.cuh"
#include "kernels/kernels.h"

namespace dev {

// Elements from one row to the next of an output that is fp32 or an operand.
template <typename Out> DEV int32_t row_stride(int32_t D) {
    return sizeof(Out) == 4 ? D : operand_stride(D);
}

// COUNT (a multiple of 4) floats of a row from element d, itself a multiple of COUNT; 0 beyond D.
template <bool ALIGNED, int COUNT> DEV void load_floats(float (&x)[COUNT], const float *row, int32_t d, int32_t D) {
    for (int i = 0; i < COUNT; i += 4) {
        if (ALIGNED) {
            word4 word = {{0, 0, 0, 0}};
            if (d + i < D) word = ld128(row + d + i);
            for (int j = 0; j < 4; j++) x[i + j] = from_bits(word.w[j]);
        } else {
            for (int j = 0; j < 4; j++) x[i + j] = d + i + j < D ? row[d + i + j] : 0.0f;
        }
    }
}

template <bool ALIGNED, int COUNT> DEV void store_row(float *row, const float (&x)[COUNT], int32_t d, int32_t D) {
    for (int i = 0; i < COUNT; i += 4) {
        if (ALIGNED) {
            if (d + i < D) st128(row + d + i, {{bits(x[i]), bits(x[i + 1]), bits(x[i + 2]), bits(x[i + 3])}});
        } else {
            for (int j = 0; j < 4; j++)
                if (d + i + j < D) row[d + i + j] = x[i + j];
        }
    }
}

// Four or eight elements of an operand row, and zeros from D to its stride.
template <bool ALIGNED, int COUNT, typename Out>
DEV void store_row(Out *row, const float (&x)[COUNT], int32_t d, int32_t D) {
    static_assert(COUNT == 4 || COUNT == 8, "one access of 8 or 16 bytes");
    if (d >= operand_stride(D)) return;
    uint32_t word[COUNT / 2];
    for (int i = 0; i < COUNT; i += 2)
        word[i / 2] = pack2<Out>(d + i < D ? x[i] : 0.0f, d + i + 1 < D ? x[i + 1] : 0.0f);
    if constexpr (COUNT == 8)
        st128(row + d, {{word[0], word[1], word[2], word[3]}});
    else
        st64(row + d, {{word[0], word[1]}});
}

// 16 bytes of elements as floats.
template <typename T> struct elements16 {
    static constexpr int COUNT = 16 / (int)sizeof(T);
    float x[COUNT];
};
template <typename T> DEV elements16<T> unpack16(word4 word) {
    elements16<T> e;
    T raw[elements16<T>::COUNT];
    memcpy(raw, &word, sizeof raw);
    for (int i = 0; i < elements16<T>::COUNT; i++) e.x[i] = to_float(raw[i]);
    return e;
}

} // namespace dev
