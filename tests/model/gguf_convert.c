/* gguf_convert.c: folders as GGUF files. */
#include "gguf_convert.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "load/blocks.h"
#include "model/internal.h"
#include "support.h"

/* ---- names ------------------------------------------------------------------------------------------------------- */

static const char *const outside[][2] = {
    {"model.embed_tokens", "token_embd"},
    {"transformer.wte", "token_embd"},
    {"wte", "token_embd"},
    {"gpt_neox.embed_in", "token_embd"},
    {"transformer.wpe", "position_embd"},
    {"wpe", "position_embd"},
    {"model.norm", "output_norm"},
    {"transformer.ln_f", "output_norm"},
    {"ln_f", "output_norm"},
    {"gpt_neox.final_layer_norm", "output_norm"},
    {"model.final_layernorm", "output_norm"},
    {"lm_head", "output"},
    {"embed_out", "output"},
};

static const char *const inside[][2] = {
    {"input_layernorm", "attn_norm"},
    {"ln_1", "attn_norm"},
    {"ln_2", "ffn_norm"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.dense", "attn_output"},
    {"attention.dense", "attn_output"},
    {"attn.c_proj", "attn_output"},
    {"attn.c_attn", "attn_qkv"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"attention.query_key_value", "attn_qkv"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.c_fc", "ffn_up"},
    {"mlp.fc1", "ffn_up"},
    {"mlp.dense_h_to_4h", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.c_proj", "ffn_down"},
    {"mlp.fc2", "ffn_down"},
    {"mlp.dense_4h_to_h", "ffn_down"},
};

static bool is_family(const struct model *m, const char *family) {
    return strcmp(m->hp.family, family) == 0;
}

static bool is_gemma(const struct model *m) {
    return strncmp(m->hp.family, "gemma", 5) == 0;
}

static const char *base_inside(const struct model *m, const char *base) {
    bool four_norms = is_gemma(m) && !is_family(m, "gemma");
    if (strcmp(base, "post_attention_layernorm") == 0) return four_norms ? "post_attention_norm" : "ffn_norm";
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        if (strcmp(inside[i][0], base) == 0) return inside[i][1];
    return NULL;
}

/* "model.layers.3.mlp.up_proj.weight" → "blk.3.ffn_up.weight"; false for masks and rotary tables. */
static bool convert_name(const struct model *m, const char *name, char *out, size_t size) {
    const char *dot = strrchr(name, '.'), *suffix = dot ? dot : "";
    char base[200];
    snprintf(base, sizeof base, "%.*s", (int)(suffix - name), name);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        if (strcmp(outside[i][0], base) == 0) return snprintf(out, size, "%s%s", outside[i][1], suffix) > 0;
    const char *number = strpbrk(name, "0123456789"), *after = number ? strchr(number, '.') : NULL;
    cr_assert(after, "%s", name);
    snprintf(base, sizeof base, "%.*s", suffix > after ? (int)(suffix - after - 1) : 0, after + 1);
    const char *found = base_inside(m, base);
    if (!found) return false;
    return snprintf(out, size, "blk.%.*s.%s%s", (int)(after - number), number, found, suffix) > 0;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static float value_at(const struct tensor_view *v, size_t i) {
    uint16_t half;
    float value;
    if (v->dtype == DTYPE_F32) return memcpy(&value, v->data + 4 * i, 4), value;
    memcpy(&half, v->data + 2 * i, 2);
    return v->dtype == DTYPE_F16 ? f16_to_float(half) : bf16_to_float(half);
}

/* Where row `row` of the GGUF tensor is in the folder's. */
static size_t row_from(const struct model *m, const char *name, size_t row) {
    const size_t Dh = (size_t)m->hp.Dh, H = (size_t)m->hp.H, head = row / Dh, i = row % Dh;
    /* permute(): reshape(heads, 2, Dh / 2), then swap the last two axes */
    if (is_family(m, "llama") && (strstr(name, ".attn_q.") || strstr(name, ".attn_k.")))
        return head * Dh + i % 2 * (Dh / 2) + i / 2;
    /* reshape(heads, 3, Dh), then one of the three below the other */
    if (is_family(m, "gpt_neox") && strstr(name, ".attn_qkv.")) return head % H * 3 * Dh + head / H * Dh + i;
    return row;
}

static bool is_transposed(const struct model *m, const struct tensor_view *v) {
    return is_family(m, "gpt2") && v->rank == 2 && (strstr(v->name, ".c_") || strncmp(v->name, "c_", 2) == 0);
}

static float *convert_values(const struct model *m, const struct tensor_view *v, const char *name, size_t rows,
                             size_t cols) {
    float *values = mem_array(rows * cols, sizeof *values);
    const float add = is_gemma(m) && strstr(name, "norm.weight") ? 1 : 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) {
            size_t from = row_from(m, name, r);
            values[r * cols + c] = value_at(v, is_transposed(m, v) ? c * rows + from : from * cols + c) + add;
        }
    return values;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

enum dtype dtype_of(uint32_t type) {
    switch (type) {
    case W_T_F16: return DTYPE_F16;
    case W_T_BF16: return DTYPE_BF16;
    case W_T_Q4_0: return DTYPE_Q4_0;
    case W_T_Q8_0: return DTYPE_Q8_0;
    case W_T_Q4_K: return DTYPE_Q4_K;
    case W_T_Q6_K: return DTYPE_Q6_K;
    default: return DTYPE_F32;
    }
}

static void put_half(unsigned char *to, float value) {
    uint16_t half = float_to_f16(value);
    memcpy(to, &half, sizeof half);
}

static int clamp(float value, int low, int high) {
    return value < (float)low ? low : value > (float)high ? high : (int)lrintf(value);
}

static float largest(const float *values, size_t n) {
    float most = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(values[i]));
    return most;
}

static float ratio(float a, float b) {
    return b > 0 || b < 0 ? a / b : 0;
}

static void encode_32(unsigned char *block, uint32_t type, const float *x) {
    const bool four = type == W_T_Q4_0;
    const float d = largest(x, 32) / (four ? 7 : 127);
    put_half(block, d);
    for (int i = 0; i < 32; i++) {
        int q = four ? clamp(ratio(x[i], d), -8, 7) + 8 : clamp(ratio(x[i], d), -127, 127);
        if (!four)
            block[2 + i] = (unsigned char)q;
        else if (i < 16)
            block[2 + i] = (unsigned char)q;
        else
            block[2 + i - 16] |= (unsigned char)(q << 4);
    }
}

static void encode_q6_k(unsigned char *block, const float *x) {
    const float d = largest(x, 256) / 31 / 127;
    memset(block, 0, 210);
    put_half(block + 208, d);
    for (int i = 0; i < 256; i++) {
        const int half = i / 128, part = i % 128 / 32, k = i % 32;
        const int scale = clamp(ratio(largest(x + i / 16 * 16, 16) / 31, d), 1, 127);
        const int q = clamp(ratio(x[i], d * (float)scale), -32, 31) + 32;
        block[192 + i / 16] = (unsigned char)scale;
        block[64 * half + part % 2 * 32 + k] |= (unsigned char)((q & 15) << (part < 2 ? 0 : 4));
        block[128 + 32 * half + k] |= (unsigned char)(q >> 4 << 2 * part);
    }
}

static void encode_q4_k(unsigned char *block, const float *x) {
    float low[8], step[8];
    for (int g = 0; g < 8; g++) {
        float most = 0;
        low[g] = 0;
        for (int i = 0; i < 32; i++) low[g] = fmaxf(low[g], -x[32 * g + i]);
        for (int i = 0; i < 32; i++) most = fmaxf(most, x[32 * g + i]);
        step[g] = (most + low[g]) / 15;
    }
    const float d = largest(step, 8) / 63, dmin = largest(low, 8) / 63;
    memset(block, 0, 144);
    put_half(block, d);
    put_half(block + 2, dmin);
    for (int g = 0; g < 8; g++) {
        const int scale = clamp(ratio(step[g], d), 1, 63), min = clamp(ratio(low[g], dmin), 0, 63);
        unsigned char *packed = block + 4;
        if (g < 4) {
            packed[g] |= (unsigned char)scale;
            packed[g + 4] |= (unsigned char)min;
        } else {
            packed[g + 4] |= (unsigned char)((scale & 15) | (min & 15) << 4);
            packed[g - 4] |= (unsigned char)(scale >> 4 << 6);
            packed[g] |= (unsigned char)(min >> 4 << 6);
        }
        for (int i = 0; i < 32; i++) {
            const int q = clamp(ratio(x[32 * g + i] + dmin * (float)min, d * (float)scale), 0, 15);
            block[16 + g / 2 * 32 + i] |= (unsigned char)(q << (g % 2 ? 4 : 0));
        }
    }
}

void encode_blocks(unsigned char *blocks, uint32_t type, const float *values, size_t n) {
    const size_t elements = dtype_block_elements(dtype_of(type)), bytes = dtype_block_bytes(dtype_of(type));
    for (size_t i = 0; i < n; i += elements, blocks += bytes) {
        if (elements == 32) encode_32(blocks, type, values + i);
        if (type == W_T_Q6_K) encode_q6_k(blocks, values + i);
        if (type == W_T_Q4_K) encode_q4_k(blocks, values + i);
    }
}

static void encode(unsigned char *out, uint32_t type, const float *values, size_t n) {
    if (dtype_is_block(dtype_of(type))) {
        encode_blocks(out, type, values, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t half = type == W_T_F16 ? float_to_f16(values[i]) : float_to_bf16(values[i]);
        if (type == W_T_F32)
            memcpy(out + 4 * i, &values[i], 4);
        else
            memcpy(out + 2 * i, &half, 2);
    }
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static void write_values(struct gguf_writer *w, const struct conversion *c, const char *name, int rank, float *values,
                         size_t rows, size_t cols) {
    const size_t elements = dtype_block_elements(dtype_of(c->type)), n = rows * cols;
    uint32_t type = rank == 2 && cols % elements == 0 ? c->type : W_T_F32;
    unsigned char *data = mem_array(n, sizeof(float)); /* room for any type */
    encode(data, type, values, n);
    if (c->decoded && dtype_is_block(dtype_of(type))) {
        blocks_decode(values, dtype_of(type), data, n);
        type = W_T_F32;
        encode(data, type, values, n);
    }
    const enum dtype dtype = dtype_of(type);
    const size_t bytes = n / dtype_block_elements(dtype) * dtype_block_bytes(dtype);
    if (rank == 2)
        write_tensor(w, name, type, 2, (uint64_t[]){cols, rows}, data, bytes);
    else
        write_tensor(w, name, type, 1, (uint64_t[]){rows}, data, bytes);
    mem_free(data);
}

static void convert_tensor(struct gguf_writer *w, const struct model *m, const struct conversion *c,
                           const struct tensor_view *v) {
    char name[256];
    if (v->rank > 2 || !convert_name(m, v->name, name, sizeof name)) return;
    if (c->drop && strcmp(c->drop, name) == 0) {
        if (!c->rename) return;
        snprintf(name, sizeof name, "%s", c->rename);
    }
    if (m->hp.tied && strcmp(name, "output.weight") == 0) return;
    size_t rows = v->shape[0], cols = v->rank == 2 ? v->shape[1] : 1;
    if (is_transposed(m, v)) {
        cols = v->shape[0];
        rows = v->shape[1];
    }
    float *values = convert_values(m, v, name, rows, cols);
    write_values(w, c, name, v->rank, values, rows, cols);
    mem_free(values);
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static const char *architecture_of(const struct model *m) {
    static const char *const names[][2] = {{"gpt_neox", "gptneox"}, {"phi", "phi2"}, {"gemma3_text", "gemma3"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_family(m, names[i][0])) return names[i][1];
    return m->hp.family;
}

static const char *key_of(const char *architecture, const char *name) {
    static char key[128];
    snprintf(key, sizeof key, "%s.%s", architecture, name);
    return key;
}

static void write_factors(struct gguf_writer *w, const char *name, const double *factors, int32_t count) {
    float values[ROPE_MAX_FACTORS];
    for (int32_t i = 0; i < count; i++) values[i] = (float)factors[i];
    write_tensor(w, name, W_T_F32, 1, (uint64_t[]){(uint64_t)count}, values, (size_t)count * sizeof *values);
}

/* LlamaModel.generate_extra_tensors of the converter. */
static void write_llama3_factors(struct gguf_writer *w, const struct model *m) {
    const struct rope_config *r = &m->hp.rope;
    double factors[ROPE_MAX_FACTORS];
    for (int32_t i = 0; i < m->hp.Dh / 2; i++) {
        double wavelength = 2 * acos(-1) * pow(r->theta, 2.0 * i / m->hp.Dh);
        double smooth =
            (r->original_context / wavelength - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
        factors[i] = 1 / ((1 - smooth) / r->factor + smooth);
        if (wavelength < r->original_context / r->high_freq_factor) factors[i] = 1;
        if (wavelength > r->original_context / r->low_freq_factor) factors[i] = r->factor;
    }
    write_factors(w, "rope_freqs.weight", factors, m->hp.Dh / 2);
}

static void write_scaling(struct gguf_writer *w, const struct model *m, const char *a) {
    const struct rope_config *r = &m->hp.rope;
    const bool linear = r->scaling == ROPE_SCALING_LINEAR, yarn = r->scaling == ROPE_SCALING_YARN;
    if (linear || yarn) {
        write_string(w, key_of(a, "rope.scaling.type"), linear ? "linear" : "yarn");
        write_f32(w, key_of(a, "rope.scaling.factor"), (float)r->factor);
    }
    if (yarn) {
        write_u32(w, key_of(a, "rope.scaling.original_context_length"), (uint32_t)r->original_context);
        write_f32(w, key_of(a, "rope.scaling.yarn_beta_fast"), (float)r->beta_fast);
        write_f32(w, key_of(a, "rope.scaling.yarn_beta_slow"), (float)r->beta_slow);
        if (r->attention_factor > 0)
            write_f32(w, key_of(a, "rope.scaling.yarn_attn_factor"), (float)r->attention_factor);
    }
    if (r->scaling == ROPE_SCALING_LLAMA3) write_llama3_factors(w, m);
    if (r->scaling != ROPE_SCALING_LONGROPE) return;
    write_u32(w, key_of(a, "rope.scaling.original_context_length"), (uint32_t)r->original_context);
    write_f32(w, key_of(a, "rope.scaling.attn_factor"), (float)sqrt(1 + log(r->factor) / log(r->original_context)));
    write_factors(w, "rope_factors_long.weight", r->long_factor, r->factors);
    write_factors(w, "rope_factors_short.weight", r->short_factor, r->factors);
}

static void write_rotary(struct gguf_writer *w, const struct model *m, const char *a) {
    if (m->hp.rotary == 0) return;
    write_u32(w, key_of(a, "rope.dimension_count"), (uint32_t)m->hp.rotary);
    write_f32(w, key_of(a, "rope.freq_base"), (float)m->hp.rope.theta);
    if (is_family(m, "gemma3_text"))
        write_f32(w, key_of(a, "rope.freq_base_swa"), (float)m->hp.rope_local_config.theta);
    write_scaling(w, m, a);
}

static void write_window(struct gguf_writer *w, const struct model *m, const char *a) {
    const int32_t window = m->hp.window[0];
    if (window > 0) write_u32(w, key_of(a, "attention.sliding_window"), (uint32_t)window);
    if (is_family(m, "gemma3_text")) write_u32(w, key_of(a, "attention.sliding_window_pattern"), 2);
    if (m->hp.attn_softcap > 0) write_f32(w, key_of(a, "attn_logit_softcapping"), m->hp.attn_softcap);
    if (m->hp.logit_softcap > 0) write_f32(w, key_of(a, "final_logit_softcapping"), m->hp.logit_softcap);
}

static void write_keys(struct gguf_writer *w, const struct model *m, const char *a) {
    const struct hparams *hp = &m->hp;
    const bool rms = hp->norm == NORM_RMS;
    write_string(w, "general.architecture", a);
    write_u32(w, key_of(a, "context_length"), (uint32_t)hp->context);
    write_u32(w, key_of(a, "embedding_length"), (uint32_t)hp->D);
    write_u32(w, key_of(a, "block_count"), (uint32_t)hp->L);
    write_u32(w, key_of(a, "feed_forward_length"), (uint32_t)hp->F);
    write_u32(w, key_of(a, "attention.head_count"), (uint32_t)hp->H);
    if (hp->Hkv != hp->H) write_u32(w, key_of(a, "attention.head_count_kv"), (uint32_t)hp->Hkv);
    if (hp->Dh * hp->H != hp->D) {
        write_u32(w, key_of(a, "attention.key_length"), (uint32_t)hp->Dh);
        write_u32(w, key_of(a, "attention.value_length"), (uint32_t)hp->Dh);
    }
    write_f32(w, key_of(a, rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon"), hp->norm_eps);
    if (is_family(m, "gpt_neox")) write_bool(w, key_of(a, "use_parallel_residual"), hp->parallel_residual);
    write_window(w, m, a);
    write_rotary(w, m, a);
}

struct gguf_file gguf_convert(const char *folder, const struct conversion *c) {
    struct model *m;
    struct gguf_writer w = {0};
    struct buf out = {0};
    struct gguf_file file = {.folder = test_folder_create()};
    tempera_error err;
    cr_assert(model_open(&m, folder, &err) == TEMPERA_OK, "%s", err.message);
    write_keys(&w, m, c->architecture ? c->architecture : architecture_of(m));
    for (size_t i = 0; i < tensor_set_count(m->set); i++) convert_tensor(&w, m, c, tensor_set_at(m->set, i));
    if (c->more) c->more(&w);
    write_finish(&w, &out);
    file.path = test_write(file.folder, "file.gguf", out.data, out.length);
    cr_assert(file.path);
    buf_free(&out);
    model_free(m);
    return file;
}

void gguf_file_remove(struct gguf_file *file) {
    mem_free(file->path);
    test_folder_remove(file->folder);
}
