/* fuzz_config.c: config.json and generation_config.json. Whatever is accepted must lie in the ranges of
 * config.h. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "load/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition) abort();
}

static int is_switch(int value) {
    return value == CONFIG_ABSENT || value == 0 || value == 1;
}

static void check_rope(const struct rope_config *r) {
    require(r->theta >= 0 && isfinite(r->theta) && r->partial >= 0 && r->partial <= 1 && isfinite(r->factor));
    require(r->factors >= 0 && r->factors <= ROPE_MAX_FACTORS && is_switch(r->truncate));
    require(r->scaling != ROPE_SCALING_LONGROPE || r->factors > 0);
    require(r->scaling != ROPE_SCALING_LINEAR || r->factor > 0);
    require(r->scaling != ROPE_SCALING_LLAMA3 || (r->low_freq_factor > 0 && r->original_context > 0));
}

static void check_model(const struct model_config *c) {
    require(c->model_type[0] && memchr(c->model_type, 0, sizeof c->model_type) != NULL);
    require(memchr(c->architecture, 0, sizeof c->architecture) != NULL);
    require(memchr(c->activation, 0, sizeof c->activation) != NULL);
    require(c->vocab_size >= 0 && c->vocab_size <= 1 << 22 && c->layers >= 0 && c->layers <= CONFIG_MAX_LAYERS);
    require(c->width >= 0 && c->heads >= 0 && c->kv_heads >= 0 && c->head_width >= 0 && c->ff_width >= 0);
    require(c->context >= 0 && c->sliding_window >= 0 && c->norm_eps >= 0 && c->norm_eps <= 1);
    require(c->layer_types >= 0 && c->layer_types <= CONFIG_MAX_LAYERS && c->max_window_layers >= CONFIG_ABSENT);
    require(c->eos_count >= 0 && c->eos_count <= CONFIG_MAX_EOS && c->bos >= CONFIG_ABSENT);
    for (int i = 0; i < c->eos_count; i++) require(c->eos[i] >= 0);
    require(is_switch(c->tied) && is_switch(c->attention_bias) && is_switch(c->use_sliding_window));
    check_rope(&c->rope);
    check_rope(&c->rope_local);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct mem_stats before = mem_stats_get();
    struct model_config model;
    struct generation_config generation;
    tempera_error err;
    const char *text = (const char *)data;
    if (config_parse(&model, text, size, "fuzz", &err) == TEMPERA_OK) check_model(&model);
    if (generation_config_parse(&generation, text, size, "fuzz", &err) == TEMPERA_OK) {
        require(generation.top_k >= 0 && generation.top_p >= 0 && generation.top_p <= 1);
        require(is_switch(generation.do_sample) && generation.eos_count <= CONFIG_MAX_EOS);
    }
    require(mem_stats_get().live == before.live);
    return 0;
}
