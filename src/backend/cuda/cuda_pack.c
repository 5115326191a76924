/* cuda_pack.c: weights onto the device. Rows are gathered into pinned memory a chunk at a time, one chunk while the one before
 * it is copied, and go to their place as they are or, where type or layout differ, through a kernel that converts them.
 * Random weights are made in place. */
#include <string.h>

#include "backend/cuda/cuda.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/scatter.h"

enum { CHUNK = CUDA_PACK_BYTES };

struct cuda_pack {
    struct {
        unsigned char *memory; /* [CHUNK], pinned */
        cudaEvent_t copied;    /* it may be filled again */
    } staging[2];
    int next;
    void *raw; /* [CHUNK] on the device: a chunk before its conversion, or a table; kernels and copies take turns */
};

static const char WHAT[] = "copying weights to the device";

size_t cuda_linear_bytes(const struct backend *backend, enum weight_type type, int32_t N, int32_t K) {
    (void)backend;
    size_t bytes;
    if (!size_mul((size_t)N, (size_t)operand_stride(K) * weight_type_size(type), &bytes)) return SIZE_MAX;
    return bytes;
}

void cuda_pack_free(struct cuda_pack *pack) {
    if (!pack) return;
    for (int i = 0; i < 2; i++) {
        if (pack->staging[i].copied) {
            cudaEventSynchronize(pack->staging[i].copied);
            cudaEventDestroy(pack->staging[i].copied);
        }
        if (pack->staging[i].memory) cudaFreeHost(pack->staging[i].memory);
    }
    if (pack->raw) cudaFree(pack->raw);
    mem_free(pack);
}

static tempera_status fill_pack(struct cuda_backend *b, struct cuda_pack *pack, tempera_error *err) {
    for (int i = 0; i < 2; i++) {
        CUDA_TRY(b, cudaHostAlloc((void **)&pack->staging[i].memory, CHUNK, cudaHostAllocDefault), WHAT);
        CUDA_TRY(b, cudaEventCreateWithFlags(&pack->staging[i].copied, cudaEventDisableTiming), WHAT);
    }
    return cuda_check(b, cudaMalloc(&pack->raw, CHUNK), WHAT, err);
}

static tempera_status open_pack(struct cuda_backend *b, tempera_error *err) {
    if (b->pack) return TEMPERA_OK;
    struct cuda_pack *pack = mem_array(1, sizeof *pack);
    if (!pack) return fail_memory(err, sizeof *pack, WHAT);
    tempera_status status = fill_pack(b, pack, err);
    if (status == TEMPERA_OK)
        b->pack = pack;
    else
        cuda_pack_free(pack);
    return status;
}

/* The next staging buffer, free to be filled. */
static tempera_status take_staging(struct cuda_backend *b, unsigned char **memory, tempera_error *err) {
    CUDA_TRY(b, cudaEventSynchronize(b->pack->staging[b->pack->next].copied), WHAT);
    *memory = b->pack->staging[b->pack->next].memory;
    return TEMPERA_OK;
}

/* Copies what was written to it. */
static tempera_status send_staging(struct cuda_backend *b, void *to, size_t bytes, tempera_error *err) {
    const int i = b->pack->next;
    CUDA_TRY(b, cudaMemcpyAsync(to, b->pack->staging[i].memory, bytes, cudaMemcpyHostToDevice, b->stream), WHAT);
    CUDA_TRY(b, cudaEventRecord(b->pack->staging[i].copied, b->stream), WHAT);
    b->pack->next = 1 - i;
    return TEMPERA_OK;
}

/* A run of consecutive source rows among `count` rows of the piece from row n on: its first, and how many. */
static size_t next_run(const struct weight_piece *p, size_t n, size_t count, size_t *row) {
    const size_t in_group = n % p->group, left = p->group - in_group;
    *row = p->first + n / p->group * p->stride + in_group;
    return left < count ? left : count;
}

/* Rows n … n + count - 1 of the piece: [count, K], or [K, count] when transposed. */
static void gather(unsigned char *to, const struct weight_piece *p, size_t n, size_t count, size_t K) {
    const unsigned char *data = p->data;
    const size_t size = weight_type_size(p->type), line = p->transposed ? size : K * size;
    for (size_t k = 0; k < (p->transposed ? K : 1); k++, data += p->source_rows * size)
        for (size_t i = 0, row, run; i < count; i += run, to += run * line) {
            run = next_run(p, n + i, count - i, &row);
            memcpy(to, data + row * line, run * line);
        }
}

static tempera_status pack_rows(struct cuda_backend *b, const struct linear_weight *w, const struct weight_piece *p,
                                unsigned char *to, tempera_error *err) {
    const size_t K = (size_t)w->K, source = K * weight_type_size(p->type), rows = p->group * p->groups;
    const size_t line = (size_t)operand_stride(w->K) * weight_type_size(w->type), most = CHUNK / source;
    const bool as_it_is = !p->transposed && p->type == w->type && w->K == operand_stride(w->K);
    if (most == 0) return fail(err, TEMPERA_UNSUPPORTED, "a weight of %d inputs: too wide for this device", (int)w->K);
    for (size_t n = 0, count; n < rows; n += count, to += count * line) {
        unsigned char *memory;
        count = rows - n < most ? rows - n : most;
        TRY(take_staging(b, &memory, err));
        gather(memory, p, n, count, K);
        TRY(send_staging(b, as_it_is ? to : b->pack->raw, count * source, err));
        const struct pack_args args = {.to = to,
                                       .to_element = (enum element)w->type,
                                       .from_element = (enum element)p->type,
                                       .from = b->pack->raw,
                                       .transposed = p->transposed,
                                       .rows = count,
                                       .K = w->K};
        if (!as_it_is) CUDA_TRY(b, pack_launch(&args, b->stream), WHAT);
    }
    return TEMPERA_OK;
}

static float element_float(const void *table, enum weight_type type, size_t i) {
    if (type == WEIGHT_F32) return ((const float *)table)[i];
    const uint16_t half = ((const uint16_t *)table)[i];
    return type == WEIGHT_F16 ? f16_to_float(half) : bf16_to_float(half);
}

/* The table in the weight's own type, so that the elements need no conversion. */
static void convert_table(void *to, enum weight_type to_type, const void *from, enum weight_type from_type) {
    for (size_t i = 0; i < PICK_TABLE; i++) {
        const float value = element_float(from, from_type, i);
        if (to_type == WEIGHT_F32)
            ((float *)to)[i] = value;
        else
            ((uint16_t *)to)[i] = to_type == WEIGHT_F16 ? float_to_f16(value) : float_to_bf16(value);
    }
}

static tempera_status make_rows(struct cuda_backend *b, const struct linear_weight *w, const struct weight_piece *p,
                                unsigned char *to, tempera_error *err) {
    unsigned char *memory;
    TRY(take_staging(b, &memory, err));
    convert_table(memory, w->type, p->random->table, p->type);
    TRY(send_staging(b, b->pack->raw, PICK_TABLE * weight_type_size(w->type), err));
    const struct random_args args = {.to = to,
                                     .element = (enum element)w->type,
                                     .table = b->pack->raw,
                                     .stream = p->random->stream,
                                     .transposed = p->transposed,
                                     .source_rows = p->source_rows,
                                     .first = p->first,
                                     .group = p->group,
                                     .groups = p->groups,
                                     .stride = p->stride,
                                     .K = w->K};
    return cuda_check(b, random_launch(&args, b->stream), "making random weights", err);
}

tempera_status cuda_linear_pack(struct backend *backend, const struct linear_weight *weight,
                                const struct weight_piece *pieces, int32_t count, tempera_error *err) {
    struct cuda_backend *b = cuda_backend_of(backend);
    TRY(weight_pieces_check(weight, pieces, count, err));
    TRY(open_pack(b, err));
    unsigned char *to = weight->data;
    for (int32_t i = 0; i < count; i++) {
        const struct weight_piece *p = &pieces[i];
        const size_t rows = p->group * p->groups;
        if (rows == 0) continue;
        TRY(p->random ? make_rows(b, weight, p, to, err) : pack_rows(b, weight, p, to, err));
        to += rows * (size_t)operand_stride(weight->K) * weight_type_size(weight->type);
    }
    return TEMPERA_OK;
}
