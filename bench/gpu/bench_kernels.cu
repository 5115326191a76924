// bench_kernels.cu: the kernels at the shapes of real models, through the same launchers as the backend.
//
//     gpu_kernels [--json FILE] [--tiny] [rows] [linear] [attention] [sample] [load]        default: all
//
// Every time is that of one launch among many captured into a graph, by events, so no host is in it. Weights and pages
// rotate through more memory than the L2 holds, as the layers of a model do; activations stay where the kernel before left
// them. Shares are of what this run measured itself: a streaming read of 1 GiB, and cuBLASLt's fastest 8192^3 product. A
// product's remark has the time of cuBLASLt's fastest algorithm for the same shape and weights, its epilogue not included.
// --tiny cuts every dimension, so that the emulated device can run all cases (gpu_kernels_simt).
#include "gpu_blas.h"

#include "kernels/kernels.h"
#include "kernels/sample.h"

namespace {

enum { COLD_BYTES = 192 << 20, MOST_COPIES = 64 };

gpu::Device device;
cudaStream_t stream;
double read_rate, matrix_rate; // bytes/us, flop/us

std::string share(double bytes, double us) {
    return gpu::text("%.0f GB/s, %.0f%% of read", bytes / us * 1e-3, 100 * bytes / us / read_rate);
}

// How many copies of something of this size no L2 holds.
int copies_of(double bytes) {
    return std::max(1, std::min((int)MOST_COPIES, (int)(COLD_BYTES / bytes) + 1));
}

// With --tiny no more than `most`.
int cut(int n, int most) {
    return gpu::tiny ? std::min(n, most) : n;
}

int32_t *device_ints(const std::vector<int32_t> &host) {
    return gpu::device_copy(host);
}

template <typename T> T *device_random(size_t count, int spread = 1) {
    T *p = gpu::device_new<T>(count);
    gpu::fill(p, count, 1, spread);
    return p;
}

void measure_ceilings() {
    gpu::begin("ceilings", "What the shares below are shares of.");
    const size_t bytes = (size_t)1 << (gpu::tiny ? 16 : 30), matrix = (size_t)cut(8192 * 8192, 64 * 64);
    uint32_t *memory = gpu::device_new<uint32_t>(bytes / 4 + 4096);
    for (int blocks = device.sms; blocks <= 8 * device.sms && blocks <= 4096; blocks *= 2) {
        const read_args args = {memory, bytes / 4, memory + bytes / 4, blocks};
        const double us = gpu::time_us(
            stream, [&] { CHECK(read_launch(&args, stream)); }, 5);
        read_rate = std::max(read_rate, (double)bytes / us);
    }
    CHECK(cudaFree(memory));
    gpu::result("streaming read", read_rate * 1e-3, "GB/s");
    auto *in = device_random<__nv_bfloat16>(matrix), *weight = device_random<__nv_bfloat16>(matrix);
    float *out = gpu::device_new<float>(matrix);
    matrix_rate = gpu::ceiling_flops(stream, in, weight, out) * 1e-6;
    CHECK(cudaFree(in));
    CHECK(cudaFree(weight));
    CHECK(cudaFree(out));
    gpu::result("bf16 product", matrix_rate * 1e-6, "TFLOP/s", "cuBLASLt, 8192^3");
}

// ---- rows ------------------------------------------------------------------------------------------------------------

void bench_rows() {
    gpu::begin("rows", "Norm, gate, rope + store: one launch after another, activations in L2 where they fit.");
    enum { COUNT = 50 };
    const int MOST = cut(2048, 33), WIDEST = cut(4096, 6144), FEED = cut(14336, 6144);
    float *residual = device_random<float>((size_t)MOST * WIDEST), *add = device_random<float>((size_t)MOST * WIDEST);
    float *weight = device_random<float>(WIDEST), *up = device_random<float>((size_t)MOST * 2 * FEED);
    auto *out = gpu::device_new<__nv_bfloat16>((size_t)MOST * FEED);
    for (int D : {768, 1600, 4096})
        for (int most : {1, 64, 2048}) {
            const int T = std::min(most, MOST);
            norm_args args = {};
            args.out = out, args.out_element = ELEMENT_BF16;
            args.residual = residual, args.weight = weight, args.bias = weight;
            args.kind = KERNEL_LAYER_NORM, args.eps = 1e-5f, args.T = T, args.D = D;
            double us = gpu::time_graph_us(stream, COUNT, [&](int) { CHECK(norm_launch(&args, stream)); });
            gpu::result(gpu::text("layer norm D=%d T=%d", D, T), us, "us", share(6.0 * T * D, us));
            args.kind = KERNEL_RMS_NORM, args.bias = nullptr, args.add = add;
            us = gpu::time_graph_us(stream, COUNT, [&](int) { CHECK(norm_launch(&args, stream)); });
            gpu::result(gpu::text("add, rms norm D=%d T=%d", D, T), us, "us", share(14.0 * T * D, us));
        }
    for (int most : {1, 64, 2048}) {
        const int T = std::min(most, MOST);
        gate_args args = {};
        args.out = out, args.out_element = ELEMENT_BF16, args.in = up, args.activation = KERNEL_SILU, args.T = T,
        args.F = FEED;
        const double us = gpu::time_graph_us(stream, COUNT, [&](int) { CHECK(gate_launch(&args, stream)); });
        gpu::result(gpu::text("gate F=%d T=%d", FEED, T), us, "us", share(10.0 * T * FEED, us));
    }
    for (int most : {1, 64, 2048}) {
        const int T = std::min(most, MOST);
        enum { H = 32, HKV = 8, DH = 128, CONTEXT = 2048 };
        const size_t pages = ((size_t)MOST / KV_PAGE_TOKENS + 1) * HKV * KV_PAGE_TOKENS * DH;
        std::vector<int32_t> position((size_t)MOST);
        for (int i = 0; i < MOST; i++) position[(size_t)i] = i;
        rope_store_args args = {};
        args.qkv = up; // as good as any
        args.table = device_random<float>((size_t)CONTEXT * DH), args.rotary = DH;
        args.k = gpu::device_new<__nv_bfloat16>(pages), args.v = gpu::device_new<__nv_bfloat16>(pages);
        args.element = ELEMENT_BF16, args.T = T, args.H = H, args.Hkv = HKV, args.Dh = DH;
        int32_t *at = device_ints(position);
        args.step.position = at, args.step.slot = at;
        const double us = gpu::time_graph_us(stream, COUNT, [&](int) { CHECK(rope_store_launch(&args, stream)); });
        gpu::result(gpu::text("rope, store 32+8 heads of 128 T=%d", T), us, "us",
                    share((8.0 * (H + HKV) + 4.0 * HKV + 4.0 * HKV) * T * DH, us));
        CHECK(cudaFree(const_cast<float *>(args.table)));
        CHECK(cudaFree(args.k));
        CHECK(cudaFree(args.v));
        CHECK(cudaFree(at));
    }
    for (void *p : {(void *)residual, (void *)add, (void *)weight, (void *)up, (void *)out}) CHECK(cudaFree(p));
}

// ---- linear ----------------------------------------------------------------------------------------------------------

struct LinearShape {
    const char *name;
    int N, K;
    bool gated, normed; // a norm comes before it
};
/* clang-format off */
const LinearShape linear_shapes[] = {
    {"124M qkv",   2304,   768,   false, true},
    {"124M out",   768,    768,   false, false},
    {"124M up",    3072,   768,   false, true},
    {"124M down",  768,    3072,  false, false},
    {"124M head",  50257,  768,   false, false},
    {"XL qkv",     4800,   1600,  false, true},
    {"XL up",      6400,   1600,  false, true},
    {"XL down",    1600,   6400,  false, false},
    {"8B qkv",     6144,   4096,  false, true},
    {"8B out",     4096,   4096,  false, false},
    {"8B gate up", 14336,  4096,  true,  true},
    {"8B down",    4096,   14336, false, false},
    {"8B head",    128256, 4096,  false, false},
};
/* clang-format on */

linear_args product_args(const LinearShape &s, int T, const __nv_bfloat16 *in, float *out) {
    linear_args args = {};
    args.out = out, args.out_element = s.gated ? ELEMENT_BF16 : ELEMENT_F32, args.out_stride = s.N;
    args.in = in, args.element = ELEMENT_BF16, args.activation = s.gated ? KERNEL_SILU : KERNEL_NONE;
    args.gated = s.gated, args.scale = 1, args.T = T, args.N = s.N, args.K = s.K;
    return args;
}

// The first product of a block with its norm in the same launch, at the few rows where that is possible.
void bench_fused(const LinearShape &s, int T, float *residual, const float *norm_weight, const __nv_bfloat16 *weights,
                 size_t elements, int copies, float *out) {
    linear_args args = product_args(s, T, nullptr, out);
    norm_args norm = {};
    norm.residual = residual, norm.weight = norm_weight, norm.kind = KERNEL_RMS_NORM, norm.eps = 1e-5f;
    norm.out_element = ELEMENT_BF16, norm.T = T, norm.D = s.K;
    if (!s.normed || !linear_norm_fits(&args, &norm)) return;
    const double us = gpu::time_graph_us(
        stream, cut(std::max(copies, 16), 1),
        [&](int i) {
            args.weight = weights + (size_t)(i % copies) * elements;
            CHECK(linear_fused_launch(&args, &norm, nullptr, stream));
        },
        7);
    gpu::result(gpu::text("norm, %s T=%d", s.name, T), us, "us", share(2.0 * (double)elements, us));
}

// One shape at one T: `launcher` against cuBLASLt.
void bench_product(const LinearShape &s, int T, const __nv_bfloat16 *in, const __nv_bfloat16 *weights, size_t elements,
                   int copies, float *out, cudaError_t (*launcher)(const linear_args *, cudaStream_t)) {
    const int rows = s.gated ? 2 * s.N : s.N;
    linear_args args = product_args(s, T, in, out);
    const int count = cut(std::max(copies, 16), 1);
    auto ours = [&](int i) {
        args.weight = weights + (size_t)(i % copies) * elements;
        CHECK(launcher(&args, stream));
    };
    const double us = gpu::time_graph_us(stream, count, ours, 7);
    cublasLtMatmulAlgo_t algorithm;
    double library =
        gpu::fastest_us(gpu::Product<__nv_bfloat16>(in, weights, out, T, rows, s.K), stream, 4, 5, &algorithm);
    library = gpu::time_graph_us(
        stream, count,
        [&](int i) {
            gpu::Product<__nv_bfloat16>(in, weights + (size_t)(i % copies) * elements, out, T, rows, s.K)
                .run(algorithm, stream);
        },
        7);
    const double bytes = 2.0 * rows * s.K, flop = 2.0 * T * rows * s.K;
    const std::string name = gpu::text("%s T=%d", s.name, T);
    if (T <= LINEAR_SKINNY_MAX)
        gpu::result(name, us, "us", share(bytes, us) + gpu::text("; cuBLASLt %.2f us", library));
    else
        gpu::result(name, us, "us",
                    gpu::text("%.0f TFLOP/s, %.0f%% of the ceiling; cuBLASLt %.1f us", flop / us * 1e-6,
                              100 * flop / us / matrix_rate, library));
}

void bench_linear() {
    const int MOST = cut(2048, 129);
    auto *in = device_random<__nv_bfloat16>((size_t)MOST * (size_t)cut(14336, 256));
    float *out = gpu::device_new<float>((size_t)MOST * (size_t)cut(28672, 512));
    float *residual = device_random<float>(LINEAR_NORM_MAX * 14336), *norm_weight = device_random<float>(14336);
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 0)
            gpu::begin("skinny linear", "bf16 weights from DRAM; bytes are the weights'.");
        else
            gpu::begin("tile linear", "bf16, against cuBLASLt's choice.");
        for (LinearShape s : linear_shapes) {
            if (pass == 1 && s.N > 50000) continue; // prompts want the logits of one token
            s.N = cut(s.N, 88), s.K = cut(s.K, 208);
            const size_t elements = (size_t)(s.gated ? 2 * s.N : s.N) * (size_t)s.K;
            const int copies = pass == 0 && !gpu::tiny ? copies_of(2.0 * (double)elements) : 1;
            auto *weights = device_random<__nv_bfloat16>(elements * (size_t)copies);
            if (pass == 0)
                for (int T : {1, 4, 16, 64}) {
                    bench_product(s, T, in, weights, elements, copies, out, linear_skinny_launch);
                    bench_fused(s, T, residual, norm_weight, weights, elements, copies, out);
                }
            else
                for (int T : {128, 512, 2048})
                    bench_product(s, std::min(T, MOST), in, weights, elements, copies, out, linear_tile_launch);
            CHECK(cudaFree(weights));
        }
    }
    for (void *p : {(void *)in, (void *)out, (void *)residual, (void *)norm_weight}) CHECK(cudaFree(p));
}

// ---- attention -------------------------------------------------------------------------------------------------------

struct HeadShape {
    const char *name;
    int H, Hkv, Dh;
};
const HeadShape head_shapes[] = {{"124M", 12, 12, 64}, {"XL", 25, 25, 64}, {"8B", 32, 8, 128}};

// S sequences of `length` tokens each, whose last `count` are queries, on pages of their own.
struct Batch {
    std::vector<int32_t> position, query_start, page_start, page, decode;
    std::vector<query_block> block;
    int pages;
};

Batch make_batch(int S, int length, int count, int block_tokens) {
    Batch b;
    const int each = (length + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    b.pages = S * each;
    for (int s = 0; s < S; s++) {
        b.query_start.push_back(s * count);
        b.page_start.push_back(s * each);
        for (int i = 0; i < count; i++) b.position.push_back(length - count + i);
        for (int i = 0; i < each; i++) b.page.push_back(i * S + s);
        if (count == 1) b.decode.push_back(s);
        for (int i = 0; count > 1 && i < count; i += block_tokens)
            b.block.push_back({s, s * count + i, std::min(block_tokens, count - i)});
    }
    b.query_start.push_back(S * count);
    b.page_start.push_back(S * each);
    return b;
}

void bench_heads(const HeadShape &shape, int S, int length, int count) {
    S = cut(S, 2), count = cut(count, 130), length = cut(length, count > 1 ? 130 : 300);
    const int H = shape.H, Hkv = shape.Hkv, Dh = shape.Dh, chunks = (length + ATTENTION_CHUNK - 1) / ATTENTION_CHUNK;
    const Batch b = make_batch(S, length, count, attention_query_tokens(ELEMENT_BF16, H, Hkv, Dh));
    const size_t half = (size_t)b.pages * (size_t)Hkv * KV_PAGE_TOKENS * (size_t)kv_width(Dh);
    const double kv_bytes = 4.0 * S * length * Hkv * Dh;
    const int layers = count == 1 && !gpu::tiny ? copies_of(kv_bytes) : 1;
    size_t free_bytes, total_bytes;
    CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
    if (half * 4 * (size_t)layers > free_bytes / 2) return;
    auto *k = device_random<__nv_bfloat16>(half * (size_t)layers),
         *v = device_random<__nv_bfloat16>(half * (size_t)layers);

    attention_args args = {};
    const size_t T = (size_t)S * (size_t)count;
    args.out = gpu::device_new<__nv_bfloat16>(T * (size_t)operand_stride(H * Dh)), args.out_element = ELEMENT_BF16;
    args.qkv = device_random<float>(T * (size_t)((H + 2 * Hkv) * Dh));
    args.element = ELEMENT_BF16, args.scale = 0.125f, args.H = H, args.Hkv = Hkv, args.Dh = Dh, args.T = (int)T;
    args.chunks = chunks;
    if (count == 1) {
        args.decode = device_ints(b.decode), args.decode_count = S;
        args.states = reinterpret_cast<float *>(gpu::device_new<char>(attention_state_bytes(S, chunks, H, Hkv, Dh)));
        args.counters = gpu::device_new<uint32_t>((size_t)S * (size_t)Hkv * (size_t)((H / Hkv + 15) / 16));
    } else {
        args.block = gpu::device_copy(b.block), args.block_count = (int)b.block.size();
    }
    args.step.position = device_ints(b.position), args.step.query_start = device_ints(b.query_start);
    args.step.page_start = device_ints(b.page_start), args.step.page = device_ints(b.page);
    const double us = gpu::time_graph_us(stream, count == 1 ? std::max(layers, 8) : 2, [&](int i) {
        args.k = k + half * (size_t)(i % layers), args.v = v + half * (size_t)(i % layers);
        CHECK(count == 1 ? attention_decode_launch(&args, stream) : attention_prefill_launch(&args, stream));
    });
    if (count == 1) {
        gpu::result(gpu::text("decode %s S=%d at %d", shape.name, S, length), us, "us", share(kv_bytes, us));
    } else {
        const double flop = 4.0 * S * H * Dh * count * (length - count / 2.0);
        gpu::result(gpu::text("prefill %s T=%d", shape.name, count), us, "us",
                    gpu::text("%.0f TFLOP/s, %.0f%% of the ceiling", flop / us * 1e-6, 100 * flop / us / matrix_rate));
    }
    for (const void *p :
         {(const void *)k, (const void *)v, (const void *)args.out, (const void *)args.qkv, (const void *)args.decode,
          (const void *)args.states, (const void *)args.counters, (const void *)args.block,
          (const void *)args.step.position, (const void *)args.step.query_start, (const void *)args.step.page_start,
          (const void *)args.step.page})
        CHECK(cudaFree(const_cast<void *>(p)));
}

void bench_attention() {
    gpu::begin("attention",
               "bf16. Decode: one query a sequence, keys and values from DRAM. Prefill: a whole causal prompt.");
    for (const HeadShape &shape : head_shapes) {
        for (int length : {128, 512, 2048, 8192}) bench_heads(shape, 1, length, 1);
        for (int S : {16, 64, 256}) bench_heads(shape, S, 512, 1);
        bench_heads(shape, 64, 2048, 1);
        for (int count : {512, 2048, 8192}) bench_heads(shape, 1, count, count);
    }
}

// ---- sample ----------------------------------------------------------------------------------------------------------

struct Setting {
    const char *name;
    std::vector<uint8_t> stages;
    int32_t top_k;
    float temperature, top_p, min_p, typical_p;
    uint32_t options;
};
const Setting settings[] = {
    {"greedy", {}, 0, 1, 1, 0, 1, SAMPLE_GREEDY},
    {"temperature 0.8", {SAMPLE_TEMPERATURE}, 0, 0.8f, 1, 0, 1, 0},
    {"top_k 50, top_p 0.95", {SAMPLE_TEMPERATURE, SAMPLE_TOP_K, SAMPLE_TOP_P}, 50, 0.8f, 0.95f, 0, 1, 0},
    {"top_p 0.95", {SAMPLE_TOP_P}, 0, 1, 0.95f, 0, 1, 0},
    {"min_p 0.05", {SAMPLE_MIN_P}, 0, 1, 1, 0.05f, 1, 0},
    {"typical_p 0.9", {SAMPLE_TYPICAL_P}, 0, 1, 1, 0, 0.9f, 0},
    {"top_k 50, penalties",
     {SAMPLE_PENALTIES, SAMPLE_TOP_K},
     50,
     1,
     1,
     0,
     1,
     SAMPLE_EDITS | SAMPLE_REPETITION | SAMPLE_FREQUENCY},
    {"top_p 0.95, logprobs", {SAMPLE_TOP_P}, 0, 1, 0.95f, 0, 1, SAMPLE_STATISTICS},
};

// A row shaped like a language model's: a few likely tokens over a wide tail (top_p 0.95 keeps tens); flat: top_p keeps
// most of the vocabulary, which is the worst case of a cut.
std::vector<float> make_row(int V, bool peaked, uint64_t &state) {
    auto uniform = [&] {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return ((double)(state >> 11) + 0.5) * 0x1p-53;
    };
    auto normal = [&] { return sqrt(-2.0 * log(uniform())) * cos(6.283185307179586 * uniform()); };
    std::vector<float> row((size_t)V);
    for (float &x : row) x = (float)(peaked ? 2.2 * normal() - 4.0 : normal());
    for (int i = 0; peaked && i < 200; i++)
        row[(size_t)(uniform() * V)] = (float)(14.0 - 1.5 * log(1.0 + i) + 0.5 * normal());
    return row;
}

void bench_setting(const Setting &s, int V, int R, int B, float *logits, const char *kind) {
    enum { HISTORY = 512 };
    std::vector<int32_t> tokens(HISTORY);
    for (int i = 0; i < HISTORY; i++) tokens[(size_t)i] = i * 37 % 300;
    int32_t *history = device_ints(tokens);
    std::vector<sample_branch> branches((size_t)B);
    for (int b = 0; b < B; b++) {
        sample_branch &branch = branches[(size_t)b];
        branch = {};
        branch.history = history, branch.seed = 1, branch.row = b % R, branch.forced = -1, branch.options = s.options;
        branch.position = HISTORY, branch.sample = b, branch.top_k = s.top_k,
        branch.inv_temperature = 1.0f / s.temperature;
        branch.top_p = s.top_p, branch.typical_p = s.typical_p;
        branch.min_p_distance = s.min_p > 0 ? -logf(s.min_p) : 0.0f;
        branch.repetition_penalty = 1.1f, branch.frequency_penalty = 0.2f;
        branch.stage_count = (uint8_t)s.stages.size();
        std::copy(s.stages.begin(), s.stages.end(), branch.stage);
    }
    const bool statistics = s.options & SAMPLE_STATISTICS;
    const std::vector<int32_t> tops((size_t)R, statistics ? 5 : -1);
    const size_t blocks = ((size_t)V + SAMPLE_BLOCK - 1) / SAMPLE_BLOCK,
                 flags = ((size_t)V + SAMPLE_WARP_IDS - 1) / SAMPLE_WARP_IDS;
    enum { SCRATCH_ROWS = 64 };
    sample_args args = {};
    args.logits = logits, args.R = R, args.B = B, args.V = V, args.row_top = device_ints(tops);
    args.branch = gpu::device_copy(branches);
    args.tokens = gpu::device_new<int32_t>((size_t)B), args.result = gpu::device_new<sample_result>((size_t)B);
    args.statistics = gpu::device_new<sample_statistics>((size_t)B), args.row = gpu::device_new<sample_row>((size_t)R);
    args.block_max = gpu::device_new<uint32_t>((size_t)R * blocks),
    args.nan = gpu::device_new<uint32_t>((size_t)R * flags);
    args.fed = gpu::device_new<int32_t>((size_t)B), args.rest = gpu::device_new<int32_t>((size_t)(R + B));
    args.rest_count = gpu::device_new<uint32_t>(64);
    args.scratch = gpu::device_new<float>((size_t)SCRATCH_ROWS * (size_t)V), args.scratch_rows = SCRATCH_ROWS;
    args.mark = gpu::device_new<uint32_t>((size_t)SCRATCH_ROWS * (size_t)V);
    const double us = gpu::time_graph_us(stream, 5, [&](int) { CHECK(sample_launch(&args, stream)); });
    gpu::result(gpu::text("%s, %s, V=%d, %d rows, %d branches", s.name, kind, V, R, B), us, "us",
                share(4.0 * R * V, us) + "; one reading of the logits");
    for (const void *p :
         {(const void *)history, (const void *)args.row_top, (const void *)args.branch, (const void *)args.tokens,
          (const void *)args.result, (const void *)args.statistics, (const void *)args.row,
          (const void *)args.block_max, (const void *)args.nan, (const void *)args.fed, (const void *)args.rest,
          (const void *)args.rest_count, (const void *)args.scratch, (const void *)args.mark})
        CHECK(cudaFree(const_cast<void *>(p)));
}

void bench_sample() {
    gpu::begin("sample", "All launches of one draw. Goals at V = 128k: 30 us for 64 branches, 140 us for 512.");
    uint64_t state = 1;
    for (int vocabulary : {128256, 50257})
        for (bool peaked : {true, false}) {
            const int DISTINCT = cut(8, 2), MOST = cut(512, 4), V = cut(vocabulary, vocabulary > 100000 ? 3000 : 1025);
            std::vector<float> rows;
            for (int i = 0; i < DISTINCT; i++) {
                const std::vector<float> row = make_row(V, peaked, state);
                rows.insert(rows.end(), row.begin(), row.end());
            }
            float *logits = gpu::device_new<float>((size_t)MOST * (size_t)V);
            for (size_t at = 0; at < (size_t)MOST * (size_t)V; at += rows.size())
                CHECK(cudaMemcpy(logits + at, rows.data(), rows.size() * sizeof(float), cudaMemcpyHostToDevice));
            const char *kind = peaked ? "peaked" : "flat";
            for (const Setting &s : settings) {
                bench_setting(s, V, 1, 1, logits, kind);
                bench_setting(s, V, cut(64, 4), cut(64, 4), logits, kind);
                if (vocabulary > 100000) bench_setting(s, V, MOST, cut(512, 8), logits, kind);
                if (vocabulary > 100000 && peaked) bench_setting(s, V, 1, cut(512, 8), logits, kind);
            }
            CHECK(cudaFree(logits));
        }
}

// ---- load ------------------------------------------------------------------------------------------------------------

void bench_load() {
    gpu::begin("load", "Packing and random weights, one [14336, 4096] matrix; bytes read and written.");
    const int N = cut(14336, 40), K = cut(4096, 96);
    const size_t count = (size_t)N * K;
    float *from = device_random<float>(count);
    auto *to = gpu::device_new<__nv_bfloat16>(count);
    for (bool transposed : {false, true})
        for (element type : {ELEMENT_BF16, ELEMENT_F32}) {
            pack_args args = {};
            args.to = to, args.to_element = ELEMENT_BF16, args.from = from, args.from_element = type;
            args.transposed = transposed, args.rows = (size_t)N, args.K = K;
            const double us = gpu::time_us(stream, [&] { CHECK(pack_launch(&args, stream)); });
            gpu::result(gpu::text("pack %s to bf16, %s", type == ELEMENT_F32 ? "f32" : "bf16",
                                  transposed ? "transposed" : "rows"),
                        us, "us", share((double)count * (type == ELEMENT_F32 ? 6 : 4), us));
        }
    random_args args = {};
    args.to = to, args.element = ELEMENT_BF16, args.table = from, args.stream = 1, args.source_rows = (size_t)N;
    args.group = (size_t)N, args.groups = 1, args.stride = (size_t)N, args.K = K;
    const double us = gpu::time_us(stream, [&] { CHECK(random_launch(&args, stream)); });
    gpu::result("random bf16", us, "us",
                share((double)count * 2, us) + gpu::text("; 8B takes %.2f s", 8.03e9 / (double)count * us * 1e-6));
    CHECK(cudaFree(from));
    CHECK(cudaFree(to));
}

struct Bench {
    const char *name;
    void (*run)();
};
const Bench benches[] = {{"linear", bench_linear},
                         {"attention", bench_attention},
                         {"sample", bench_sample},
                         {"rows", bench_rows},
                         {"load", bench_load}};

} // namespace

int main(int argc, char **argv) {
    device = gpu::open(&argc, argv);
    for (int i = 1; i < argc; i++) {
        bool known = false;
        for (const Bench &b : benches) known |= strcmp(b.name, argv[i]) == 0;
        if (!known) return fprintf(stderr, "gpu_kernels: no benchmark \"%s\"\n", argv[i]), 2;
    }
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    gpu::blas_open();
    kernels_overlap_launches(device.capability >= 90);
    measure_ceilings();
    for (const Bench &b : benches) {
        bool wanted = argc == 1;
        for (int i = 1; i < argc; i++) wanted |= strcmp(b.name, argv[i]) == 0;
        if (wanted) b.run();
    }
    CHECK(cudaDeviceSynchronize());
    return 0;
}
