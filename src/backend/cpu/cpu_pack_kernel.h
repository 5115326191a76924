/* cpu_pack_kernel.h: rows of a weight matrix into a panel. */
#ifndef CPU_PACK_KERNEL_H
#define CPU_PACK_KERNEL_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_simd.h"
#include "backend/cpu/cpu_transpose.h"

enum { PACK_K = 64 }; /* inputs handled at a time */

CPU_INLINE vec vec_load_bytes(const unsigned char *p) {
    vec a;
    memcpy(&a, p, sizeof a);
    return a;
}

/* to [n] = n consecutive source elements, widened; `from` may be unaligned. */
CPU_INLINE void pack_read(float *to, const unsigned char *from, enum weight_type type, int64_t n) {
    if (type == WEIGHT_F32) {
        int64_t i = 0; /* a loop: for a few lines a call of memcpy costs more than the copy */
        for (; i + VEC <= n; i += VEC) vec_store(to + i, vec_load_bytes(from + i * 4));
        if (i < n) memcpy(to + i, from + i * 4, (size_t)(n - i) * 4);
        return;
    }
    for (int64_t i = 0; i < n; i += VEC) {
        uint16_t part[VEC] = {0};
        int lanes = vec_lanes(n - i);
        memcpy(part, from + i * 2, lanes == VEC ? sizeof part : (size_t)lanes * 2);
        vec_store_n(to + i, type == WEIGHT_F16 ? vec_load_f16(part) : vec_load_bf16(part), lanes);
    }
}

/* rows [PANEL][PACK_K] = `count` inputs from k of each lane, then zeros. */
CPU_INLINE void pack_gather(float rows[PANEL][PACK_K], const struct cpu_lane *lanes, int64_t k, int64_t count) {
    for (int lane = 0; lane < PANEL; lane++) {
        const struct cpu_lane *l = &lanes[lane];
        if (!l->data || count < PACK_K) memset(rows[lane], 0, sizeof rows[lane]);
        if (!l->data) continue;
        size_t size = l->type == WEIGHT_F32 ? 4 : 2;
        const unsigned char *from = l->data + (size_t)k * l->step * size;
        if (l->step == 1) {
            const unsigned char *next = from + PACK_K * size; /* what this lane gives next time */
            for (size_t line = 0; line < PACK_K * size; line += 64) __builtin_prefetch(next + line, 0, 2);
            pack_read(rows[lane], from, l->type, count);
            continue;
        }
        for (int64_t i = 0; i < count; i++) pack_read(&rows[lane][i], from + (size_t)i * l->step * size, l->type, 1);
    }
}

/* True when the lanes are 16 neighbours in a transposed source: then each k is one contiguous read. */
CPU_INLINE bool pack_contiguous(const struct cpu_lane *lanes) {
    size_t size = lanes[0].type == WEIGHT_F32 ? 4 : 2;
    for (int i = 0; i < PANEL; i++)
        if (!lanes[i].data || lanes[i].step == 1 || lanes[i].step != lanes[0].step || lanes[i].type != lanes[0].type ||
            lanes[i].data != lanes[0].data + (size_t)i * size)
            return false;
    return true;
}

/* Bytes ahead, in a transposed source's row, of what is fetched while a panel is packed: each row is a stream of its
 * own, and they are more than a processor follows by itself. Into L2: rows a multiple of 4 KiB apart share a set of L1. */
enum { PACK_AHEAD = 256 };

/* columns [count][PANEL] = inputs k … of 16 neighbours in a transposed source. */
CPU_INLINE void pack_columns(float columns[][PANEL], const struct cpu_lane *lanes, int64_t k, int64_t count) {
    const size_t line = lanes[0].step * (lanes[0].type == WEIGHT_F32 ? 4 : 2);
    const unsigned char *from = lanes[0].data + (size_t)k * line;
    for (int64_t i = 0; i < count; i++, from += line) {
        __builtin_prefetch(from + PACK_AHEAD, 0, 2);
        pack_read(columns[i], from, lanes[0].type, PANEL);
    }
}

/* One k (F32, F16) or a pair of k (BF16) of a panel, from 16 floats each. */
CPU_INLINE void pack_write_f16(uint16_t *to, const float *x) {
    for (int v = 0; v < PANEL_VECS; v++) vec_store_f16(to + v * VEC, vec_load(x + v * VEC));
}
CPU_INLINE void pack_write_bf16(uint16_t *to, const float *even, const float *odd) {
    for (int v = 0; v < PANEL; v += VEC) vec_store_bf16_pairs(to + 2 * v, vec_load(even + v), vec_load(odd + v));
}

/* `columns` [count + 1][PANEL], the last one zero, to the panel from input k on. */
CPU_INLINE void pack_write(void *panel, enum weight_type type, float columns[][PANEL], int64_t k, int64_t count) {
    if (type == WEIGHT_F32) {
        float *to = (float *)panel + k * PANEL;
        for (int64_t i = 0; i < count; i++)
            for (int v = 0; v < PANEL_VECS; v++) vec_stream(to + i * PANEL + v * VEC, vec_load(&columns[i][v * VEC]));
        return;
    }
    uint16_t *to = (uint16_t *)panel + k * PANEL;
    if (type == WEIGHT_F16)
        for (int64_t i = 0; i < count; i++) pack_write_f16(to + i * PANEL, columns[i]);
    else
        for (int64_t i = 0; i < count; i += 2) pack_write_bf16(to + i * PANEL, columns[i], columns[i + 1]);
}

static inline void pack_block(void *panel, enum weight_type type, const struct cpu_lane lanes[PANEL], int64_t k,
                              int64_t count) {
    float columns[PACK_K + 1][PANEL];
    const bool contiguous = pack_contiguous(lanes);
    for (int64_t end = k + count; k < end; k += PACK_K) {
        int64_t n = end - k < PACK_K ? end - k : PACK_K;
        if (contiguous) {
            pack_columns(columns, lanes, k, n);
        } else {
            float rows[PANEL][PACK_K];
            pack_gather(rows, lanes, k, n);
            for (int64_t i = 0; i < n; i += 4)
                for (int lane = 0; lane < PANEL; lane += 4)
                    transpose_4x4(&columns[i][lane], PANEL, &rows[lane][i], PACK_K);
        }
        memset(columns[n], 0, sizeof columns[n]);
        pack_write(panel, type, columns, k, n);
    }
}

#endif
