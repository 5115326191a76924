/* cpu_variant.h: one instruction set's kernels. Included by cpu_portable.c, cpu_avx2.c, cpu_avx512.c and cpu_avx512bf16.c
 * after they have chosen the set and named the tables. */
#include "backend/cpu/cpu_attend.h"
#include "backend/cpu/cpu_pack_kernel.h"
#include "backend/cpu/cpu_probe.h"
#if defined(QUANT_NAME)
#include "backend/cpu/cpu_quant_kernel.h"
#else
#include "backend/cpu/cpu_quant.h"
#endif
#include "backend/cpu/cpu_row_kernels.h"
#include "backend/cpu/cpu_tile.h"

const struct cpu_kernels CPU_TABLE = {
    .name = CPU_NAME,
    .tile_rows = TILE_ROWS,
    .stream = TILE_TABLE(TILE_STREAM_ENTRY, TILE_OF_BF16),
    .block = TILE_TABLE(TILE_BLOCK_ENTRY, TILE_OF_BF16),
#if defined(CPU_DOTS)
    .pack_pairs = tile_pack_pairs,
    .pairs = {probe_pairs, PROBE_PAIR_FLOPS},
#endif
    .widen = tile_widen,
    .finish = row_finish,
    .norm = row_norm,
    .gate = row_gate,
    .narrow = attend_narrow,
    .attend = attend_run,
    .attend_chunk = attend_chunk,
    .attend_merge = attend_merge,
    .pack = pack_block,
    .read_memory = probe_read,
    .fp32 = {probe_multiply_add, PROBE_FLOPS},
    .quant = &QUANT_TABLE,
};
