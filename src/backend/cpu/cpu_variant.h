/* cpu_variant.h: one instruction set's kernels. Included by cpu_portable.c, cpu_avx2.c and cpu_avx512.c after they have
 * chosen the set and named the tables. */
#include "backend/cpu/cpu_attend.h"
#include "backend/cpu/cpu_pack_kernel.h"
#include "backend/cpu/cpu_probe.h"
#include "backend/cpu/cpu_quant_kernel.h"
#include "backend/cpu/cpu_row_kernels.h"
#include "backend/cpu/cpu_tile.h"

const struct cpu_kernels CPU_TABLE = {
    .name = CPU_NAME,
    .tile_rows = TILE_ROWS,
    .stream = {TILE_STREAM_TABLE},
    .block = {TILE_BLOCK_TABLE},
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
    .multiply_add = probe_multiply_add,
    .multiply_add_flops = PROBE_FLOPS,
    .quant = &QUANT_TABLE,
};
