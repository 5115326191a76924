/* cuda_draw.c: draws on the device: a step's branches become device structs, their lists and histories are copied with
 * them, and integer sums that come back become log-probabilities.
 *
 * What a step copies is small: the structs, and, for branches that edit scores, the tokens that count of the history.
 * Branches of a row share its history (one pointer), so histories take at most max_logits * (context + 1) tokens; these and
 * usual lists of biases and suppressed tokens are planned. A step of longer lists, or of rows whose branches have histories
 * of their own, is given a larger block. */
#include <string.h>

#include "backend/cuda/cuda.h"
#include "backend/draw_check.h"
#include "backend/draw_log.h"
#include "base/mem.h"
#include "base/num.h"
#include "kernels/sample.h"

_Static_assert((int)SAMPLE_TOP_MAX == (int)DRAW_TOP_MAX && (int)SAMPLE_STAGES == (int)TEMPERA_STAGE_COUNT,
               "sample.h has the sizes of backend.h and sampling.h");
_Static_assert((int)SAMPLE_PENALTIES == (int)TEMPERA_STAGE_PENALTIES && (int)SAMPLE_BIAS == (int)TEMPERA_STAGE_BIAS &&
                   (int)SAMPLE_TEMPERATURE == (int)TEMPERA_STAGE_TEMPERATURE &&
                   (int)SAMPLE_TOP_K == (int)TEMPERA_STAGE_TOP_K && (int)SAMPLE_TOP_P == (int)TEMPERA_STAGE_TOP_P &&
                   (int)SAMPLE_MIN_P == (int)TEMPERA_STAGE_MIN_P &&
                   (int)SAMPLE_TYPICAL_P == (int)TEMPERA_STAGE_TYPICAL_P,
               "sample.h numbers the stages as sampling.h does");
_Static_assert((int)SAMPLE_NAN == (int)DRAW_NAN && (int)SAMPLE_EMPTY == (int)DRAW_EMPTY, "and the flags as backend.h");
_Static_assert(sizeof(struct sample_bias) == sizeof(tempera_logit_bias), "biases are copied as they are");

enum {
    ALIGN = 256,
    PLANNED_LISTS = 1 << 20,      /* bytes of biases and suppressed tokens that are planned for a step, */
    PLANNED_BRANCH_LISTS = 1 << 9 /* and for each branch besides */
};

/* A part of some host array that branches point into, and where it goes in the step's data. */
struct piece {
    const void *source; /* NULL: free */
    int32_t first, end; /* elements */
    uint32_t element;   /* bytes */
    uint32_t step;      /* the piece is of that step */
    bool copied;
    size_t at;
};

/* Host memory of one step in flight. */
struct slot {
    unsigned char *head, *data;           /* pinned copies of what goes to the device */
    size_t data_bytes;                    /* room */
    struct sample_result *result;         /* pinned [max_branches] */
    struct sample_statistics *statistics; /* pinned [max_branches] */
    struct sample_row *row;               /* pinned [max_logits] */
    int32_t *logprobs;                    /* [max_branches] */
    int32_t R;                            /* rows whose statistics come back; 0: none */
};

struct cuda_draw {
    int32_t V, max_branches, max_logits;
    size_t head_bytes, branch_at; /* head: row_top [max_logits], branches */
    struct sample_args args;      /* but logits and the sizes of a launch */
    unsigned char *head;          /* device */
    unsigned char *data;          /* device */
    size_t data_bytes;            /* room */
    void *grown;                  /* owns `data` when it is not the workspace's */
    struct slot slot[CUDA_STEPS];
    struct piece *piece; /* [piece_count] a hash table, a power of two */
    uint32_t piece_count, steps;
};

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

struct carver {
    unsigned char *base; /* NULL: only add up */
    size_t used;
    bool overflow;
};
static void *carve(struct carver *c, size_t count, size_t size) {
    const size_t at = c->used;
    size_t bytes;
    if (!size_mul(count, size, &bytes) || !size_add(bytes, ALIGN - 1, &bytes) ||
        !size_add(at, bytes / ALIGN * ALIGN, &c->used))
        c->overflow = true;
    return c->base && !c->overflow ? c->base + at : NULL;
}

static size_t planned_data(const struct backend_limits *l) {
    size_t tokens, bytes;
    if (!size_mul((size_t)l->max_logits, (size_t)l->context + 1, &tokens) ||
        !size_mul(tokens, sizeof(int32_t), &bytes) ||
        !size_add(bytes, PLANNED_LISTS + (size_t)l->max_branches * PLANNED_BRANCH_LISTS, &bytes))
        return SIZE_MAX;
    return bytes;
}

/* Lays the device memory out; SIZE_MAX when the sizes are absurd. */
static size_t lay_out(struct cuda_draw *d, const struct cuda_backend *b, const struct backend_limits *l,
                      void *workspace) {
    struct carver c = {workspace, 0, false};
    struct sample_args *a = &d->args;
    const size_t rows = (size_t)l->max_logits, branches = (size_t)l->max_branches, V = (size_t)l->V;
    const size_t jobs = rows + branches, processors = b->processors > 0 ? (size_t)b->processors : 1;
    d->branch_at = round_up(rows * sizeof(int32_t), ALIGN);
    d->head_bytes = d->branch_at + branches * sizeof(struct sample_branch);
    d->data_bytes = planned_data(l);
    d->head = carve(&c, d->head_bytes, 1);
    d->data = carve(&c, d->data_bytes, 1);
    a->scratch_rows = (int32_t)(processors < jobs ? processors : jobs);
    a->tokens = carve(&c, branches, sizeof *a->tokens);
    a->result = carve(&c, branches, sizeof *a->result);
    a->statistics = carve(&c, branches, sizeof *a->statistics);
    a->row = carve(&c, rows, sizeof *a->row);
    a->block_max = carve(&c, rows * ceil_div(V, SAMPLE_BLOCK), sizeof *a->block_max);
    a->nan = carve(&c, rows * ceil_div(V, SAMPLE_WARP_IDS), sizeof *a->nan);
    a->fed = carve(&c, branches, sizeof *a->fed);
    a->rest = carve(&c, jobs, sizeof *a->rest);
    a->rest_count = carve(&c, 1, sizeof *a->rest_count);
    a->scratch = carve(&c, (size_t)a->scratch_rows * V, sizeof *a->scratch);
    a->mark = carve(&c, (size_t)a->scratch_rows * V, sizeof *a->mark);
    a->row_top = (const int32_t *)(const void *)d->head;
    a->branch = workspace ? (const struct sample_branch *)(const void *)(d->head + d->branch_at) : NULL;
    return c.overflow ? SIZE_MAX : c.used;
}

size_t cuda_draw_workspace(const struct cuda_backend *b, const struct backend_limits *limits) {
    struct cuda_draw sizes = {0};
    return lay_out(&sizes, b, limits, NULL);
}

/* ---- create ------------------------------------------------------------------------------------------------------ */

static tempera_status pin(struct cuda_backend *b, void *pointer, size_t bytes, tempera_error *err) {
    void *memory = NULL;
    CUDA_TRY(b, cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), "pinned memory");
    memset(memory, 0, bytes);
    memcpy(pointer, &memory, sizeof memory); /* whatever kind of pointer it is */
    return TEMPERA_OK;
}

static tempera_status create_slot(struct cuda_backend *b, struct cuda_draw *d, struct slot *s, tempera_error *err) {
    const size_t branches = (size_t)d->max_branches;
    s->logprobs = mem_array(branches, sizeof *s->logprobs);
    if (!s->logprobs) return fail_memory(err, branches * sizeof *s->logprobs, "the sampler");
    TRY(pin(b, &s->head, d->head_bytes, err));
    TRY(pin(b, &s->data, d->data_bytes, err));
    s->data_bytes = d->data_bytes;
    TRY(pin(b, &s->result, branches * sizeof *s->result, err));
    TRY(pin(b, &s->statistics, branches * sizeof *s->statistics, err));
    return pin(b, &s->row, (size_t)d->max_logits * sizeof *s->row, err);
}

tempera_status cuda_draw_create(struct cuda_backend *b, const struct backend_limits *limits, void *workspace,
                                tempera_error *err) {
    if (limits->V < 1 || limits->V > SAMPLE_MAX_VOCABULARY)
        return fail(err, TEMPERA_UNSUPPORTED, "sampler: expected a vocabulary of 1 to %d tokens, found %" PRId32,
                    SAMPLE_MAX_VOCABULARY, limits->V);
    struct cuda_draw *d = mem_array(1, sizeof *d);
    if (!d) return fail_memory(err, sizeof *d, "the sampler");
    b->draw = d; /* freed with the backend, whatever happens below */
    d->V = limits->V;
    d->max_branches = limits->max_branches;
    d->max_logits = limits->max_logits;
    lay_out(d, b, limits, workspace);
    d->piece_count = 1;
    while (d->piece_count < 6 * (uint32_t)limits->max_branches) d->piece_count *= 2; /* half full at most */
    d->piece = mem_array(d->piece_count, sizeof *d->piece);
    if (!d->piece) return fail_memory(err, d->piece_count * sizeof *d->piece, "the sampler");
    for (int i = 0; i < CUDA_STEPS; i++) TRY(create_slot(b, d, &d->slot[i], err));
    const size_t marks = (size_t)d->args.scratch_rows * (size_t)d->V * sizeof *d->args.mark;
    CUDA_TRY(b, cudaMemsetAsync(d->args.mark, 0, marks, b->stream), "clearing the sampler's memory");
    return cuda_check(b, cudaMemsetAsync(d->args.tokens, 0xFF, (size_t)d->max_branches * sizeof(int32_t), b->stream),
                      "clearing the sampler's memory", err);
}

void cuda_draw_free(struct cuda_draw *d) {
    if (!d) return;
    for (int i = 0; i < CUDA_STEPS; i++) {
        struct slot *s = &d->slot[i];
        void *pinned[] = {s->head, s->data, s->result, s->statistics, s->row};
        for (size_t j = 0; j < sizeof pinned / sizeof pinned[0]; j++)
            if (pinned[j]) cudaFreeHost(pinned[j]);
        mem_free(s->logprobs);
    }
    if (d->grown) cudaFree(d->grown);
    mem_free(d->piece);
    mem_free(d);
}

const int32_t *cuda_draw_tokens(const struct cuda_draw *d) {
    return d->args.tokens;
}

/* ---- pieces of host arrays --------------------------------------------------------------------------------------- */

static struct piece *find_piece(struct cuda_draw *d, const void *source) {
    const uint32_t mask = d->piece_count - 1;
    uint32_t i = (uint32_t)(((uint64_t)(uintptr_t)source * 0x9E3779B97F4A7C15u) >> 32) & mask;
    while (d->piece[i].step == d->steps && d->piece[i].source != source) i = (i + 1) & mask;
    return &d->piece[i];
}

/* Elements [first, end) of an array will be wanted. */
static void want(struct cuda_draw *d, const void *source, int32_t first, int32_t end, size_t element) {
    struct piece *p = find_piece(d, source);
    if (p->step != d->steps) {
        *p = (struct piece){source, first, end, (uint32_t)element, d->steps, false, SIZE_MAX};
        return;
    }
    p->first = first < p->first ? first : p->first;
    p->end = end > p->end ? end : p->end;
}

/* Gives a wanted piece its place in the data, which ends at *used. */
static void place(struct cuda_draw *d, const void *source, size_t *used) {
    struct piece *p = find_piece(d, source);
    if (p->at != SIZE_MAX) return;
    p->at = round_up(*used, 16);
    *used = p->at + (size_t)(p->end - p->first) * p->element;
}

/* The device address of element `first` of a piece; the first to ask copies the piece. */
static const void *device_address(struct cuda_draw *d, struct slot *s, const void *source, int32_t first) {
    struct piece *p = find_piece(d, source);
    const size_t skip = (size_t)p->first * p->element, bytes = (size_t)(p->end - p->first) * p->element;
    if (!p->copied) memcpy(s->data + p->at, (const unsigned char *)source + skip, bytes);
    p->copied = true;
    return d->data + p->at + (size_t)(first - p->first) * p->element;
}

/* ---- branches ---------------------------------------------------------------------------------------------------- */

static int32_t window_start(int32_t first, int32_t count, int32_t window) {
    return window > 0 && count - first > window ? count - window : first;
}

/* Adds a stage when it does something. */
static void put_stage(struct sample_branch *to, const struct branch_draw *branch, enum tempera_stage stage) {
    const struct branch_params *p = branch->params;
    const int32_t count = branch->history_count;
    const bool filters = p->temperature > 0.0f;
    bool active = false;
    switch (stage) {
    case TEMPERA_STAGE_PENALTIES:
        if (p->no_repeat_ngram > 0 && count >= p->no_repeat_ngram) to->options |= SAMPLE_NGRAMS;
        if (p->repetition_penalty != 1.0f && count > 0) to->options |= SAMPLE_REPETITION;
        if ((p->frequency_penalty != 0.0f || p->presence_penalty != 0.0f) && count > 0) to->options |= SAMPLE_FREQUENCY;
        active = to->options & (SAMPLE_NGRAMS | SAMPLE_REPETITION | SAMPLE_FREQUENCY);
        break;
    case TEMPERA_STAGE_BIAS:
        active = p->bias_count > 0;
        if (active) to->bias_count = p->bias_count;
        break;
    case TEMPERA_STAGE_TEMPERATURE:
        if (filters && p->dynatemp_spread > 0.0f) to->options |= SAMPLE_DYNATEMP;
        active = filters && (p->inv_temperature != 1.0f || p->dynatemp_spread > 0.0f);
        break;
    case TEMPERA_STAGE_TOP_K: active = filters && p->top_k > 0; break;
    case TEMPERA_STAGE_TOP_P: active = filters && p->top_p < 1.0f; break;
    case TEMPERA_STAGE_MIN_P: active = filters && p->min_p > 0.0f; break;
    case TEMPERA_STAGE_TYPICAL_P: active = filters && p->typical_p < 1.0f; break;
    case TEMPERA_STAGE_COUNT: break;
    }
    if (active) to->stage[to->stage_count++] = (uint8_t)stage;
}

/* Everything but the addresses. */
static void put_branch(struct sample_branch *to, const struct batch_view *view, const struct branch_draw *branch) {
    const struct branch_params *p = branch->params;
    const int32_t count = branch->history_count, first = p->order.penalize_prompt ? 0 : branch->prompt_count;
    *to = (struct sample_branch){
        .seed = p->seed,
        .row = branch->row,
        .forced = branch->forced >= 0 ? branch->forced : -1,
        .position = count,
        .sample = p->sample,
        .repetition_first = window_start(0, count, p->penalty_window),
        .frequency_first = window_start(first, count, p->penalty_window),
        .ngram = p->no_repeat_ngram,
        .fed_draw = -1,
        .top_k = p->top_k,
        .inv_temperature = p->inv_temperature,
        .top_p = p->top_p,
        .min_p_distance = p->min_p_distance,
        .typical_p = p->typical_p,
        .dynatemp_least = p->dynatemp_least,
        .dynatemp_spread = p->dynatemp_spread,
        .dynatemp_exponent = p->dynatemp_exponent,
        .repetition_penalty = p->repetition_penalty,
        .frequency_penalty = p->frequency_penalty,
        .presence_penalty = p->presence_penalty,
    };
    if (p->temperature == 0.0f) to->options |= SAMPLE_GREEDY;
    if (p->logprobs >= 0) to->options |= SAMPLE_STATISTICS;
    if (p->order.keep_ties) to->options |= SAMPLE_KEEP_TIES;
    for (int i = 0; i < p->order.count; i++) put_stage(to, branch, (enum tempera_stage)p->order.stage[i]);
    if (count - branch->prompt_count < p->min_tokens) to->suppress_count = p->suppress_count;
    const uint32_t reads = to->options & (SAMPLE_NGRAMS | SAMPLE_REPETITION | SAMPLE_FREQUENCY);
    if (reads || to->bias_count > 0 || to->suppress_count > 0) to->options |= SAMPLE_EDITS;
    to->history_first = count;
    if (to->options & SAMPLE_REPETITION) to->history_first = to->repetition_first;
    if ((to->options & SAMPLE_FREQUENCY) && to->frequency_first < to->history_first)
        to->history_first = to->frequency_first;
    if (to->options & SAMPLE_NGRAMS) to->history_first = 0;
    if (reads && branch->feedback && count > 0) {
        const int32_t token = view->token[view->logit_token[branch->row]];
        to->options |= SAMPLE_FEEDBACK;
        to->fed_token = token;
        if (token < 0) to->fed_draw = FEEDBACK(token);
    }
}

/* The end of what is known of a history. */
static int32_t history_end(const struct sample_branch *to) {
    return to->position - (to->options & SAMPLE_FEEDBACK ? 1 : 0);
}
static bool reads_history(const struct sample_branch *to) {
    return to->options & (SAMPLE_NGRAMS | SAMPLE_REPETITION | SAMPLE_FREQUENCY) && to->history_first < history_end(to);
}

static void want_lists(struct cuda_draw *d, const struct sample_branch *to, const struct branch_draw *branch) {
    const struct branch_params *p = branch->params;
    if (reads_history(to)) want(d, branch->history, to->history_first, history_end(to), sizeof(int32_t));
    if (to->bias_count > 0) want(d, p->bias, 0, to->bias_count, sizeof *p->bias);
    if (to->suppress_count > 0) want(d, p->suppress, 0, to->suppress_count, sizeof *p->suppress);
}

static void place_lists(struct cuda_draw *d, const struct sample_branch *to, const struct branch_draw *branch,
                        size_t *used) {
    const struct branch_params *p = branch->params;
    if (reads_history(to)) place(d, branch->history, used);
    if (to->bias_count > 0) place(d, p->bias, used);
    if (to->suppress_count > 0) place(d, p->suppress, used);
}

static void copy_lists(struct cuda_draw *d, struct slot *s, struct sample_branch *to,
                       const struct branch_draw *branch) {
    const struct branch_params *p = branch->params;
    if (reads_history(to)) to->history = device_address(d, s, branch->history, to->history_first);
    if (to->bias_count > 0) to->bias = device_address(d, s, p->bias, 0);
    if (to->suppress_count > 0) to->suppress = device_address(d, s, p->suppress, 0);
}

/* ---- a step ------------------------------------------------------------------------------------------------------ */

/* Room for `bytes` of data, here and on the device. */
static tempera_status grow(struct cuda_backend *b, struct cuda_draw *d, struct slot *s, size_t bytes,
                           tempera_error *err) {
    if (bytes > d->data_bytes) {
        CUDA_TRY(b, cudaStreamSynchronize(b->stream), "waiting to enlarge the sampler's memory");
        if (d->grown) cudaFree(d->grown);
        d->grown = NULL;
        d->data_bytes = 0;
        CUDA_TRY(b, cudaMalloc(&d->grown, bytes + bytes / 2), "memory for biases and histories");
        d->data = d->grown;
        d->data_bytes = bytes + bytes / 2;
    }
    if (bytes > s->data_bytes) {
        if (s->data) cudaFreeHost(s->data);
        s->data = NULL;
        s->data_bytes = 0;
        TRY(pin(b, &s->data, d->data_bytes, err));
        s->data_bytes = d->data_bytes;
    }
    return TEMPERA_OK;
}

static void put_rows(struct cuda_draw *d, struct slot *s, const struct batch_view *view) {
    int32_t *top = (int32_t *)(void *)s->head;
    for (int32_t r = 0; r < d->max_logits; r++) top[r] = SAMPLE_ROW_UNREAD;
    s->R = 0;
    for (int32_t i = 0; i < view->B; i++) {
        const struct branch_draw *branch = &view->branch[i];
        const int32_t wanted = branch->params->logprobs >= 0 ? branch->params->logprobs : -1;
        if (wanted > top[branch->row]) top[branch->row] = wanted;
        if (wanted >= 0 && branch->row >= s->R) s->R = branch->row + 1;
        s->logprobs[i] = wanted;
    }
    for (int32_t r = 0; r < s->R; r++)
        if (top[r] > d->V) top[r] = d->V;
}

tempera_status cuda_draw_stage(struct cuda_backend *b, const struct batch_view *view, int32_t slot, int32_t branches,
                               tempera_error *err) {
    struct cuda_draw *d = b->draw;
    struct slot *s = &d->slot[slot];
    struct sample_branch *to = (struct sample_branch *)(void *)(s->head + d->branch_at);
    TRY(draw_check_view(view, d->V, d->V, d->max_logits, d->max_branches, err));
    put_rows(d, s, view);
    if (++d->steps == 0) { /* the numbers of steps begin anew */
        memset(d->piece, 0, d->piece_count * sizeof *d->piece);
        d->steps = 1;
    }
    for (int32_t i = 0; i < view->B; i++) {
        put_branch(&to[i], view, &view->branch[i]);
        want_lists(d, &to[i], &view->branch[i]);
    }
    for (int32_t i = view->B; i < branches; i++) to[i] = (struct sample_branch){.row = -1};
    size_t used = 0;
    for (int32_t i = 0; i < view->B; i++) place_lists(d, &to[i], &view->branch[i], &used);
    TRY(grow(b, d, s, used, err));
    for (int32_t i = 0; i < view->B; i++) copy_lists(d, s, &to[i], &view->branch[i]);
    const size_t bytes = d->branch_at + (size_t)branches * sizeof *to;
    CUDA_TRY(b, cudaMemcpyAsync(d->head, s->head, bytes, cudaMemcpyHostToDevice, b->stream), "copying settings");
    if (used == 0) return TEMPERA_OK;
    return cuda_check(b, cudaMemcpyAsync(d->data, s->data, used, cudaMemcpyHostToDevice, b->stream),
                      "copying histories", err);
}

tempera_status cuda_draw_launch(struct cuda_backend *b, const float *logits, int32_t V, tempera_error *err) {
    const struct cuda_draw *d = b->draw;
    if (V != d->V) TRY(draw_check_view(b->view, V, d->V, d->max_logits, d->max_branches, err));
    struct sample_args args = d->args;
    args.logits = logits;
    args.R = b->R;
    args.B = b->B;
    args.V = V;
    return cuda_check(b, sample_launch(&args, b->stream), "draw", err);
}

tempera_status cuda_draw_fetch(struct cuda_backend *b, int32_t slot, int32_t B, tempera_error *err) {
    const struct cuda_draw *d = b->draw;
    const struct slot *s = &d->slot[slot];
    const struct {
        void *to;
        const void *from;
        size_t bytes;
    } copies[] = {
        {s->result, d->args.result, (size_t)B * sizeof *s->result},
        {s->statistics, d->args.statistics, s->R > 0 ? (size_t)B * sizeof *s->statistics : 0},
        {s->row, d->args.row, (size_t)s->R * sizeof *s->row},
    };
    for (size_t i = 0; i < sizeof copies / sizeof copies[0]; i++)
        if (copies[i].bytes > 0)
            CUDA_TRY(b,
                     cudaMemcpyAsync(copies[i].to, copies[i].from, copies[i].bytes, cudaMemcpyDeviceToHost, b->stream),
                     "copying results");
    return TEMPERA_OK;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

/* The row's best tokens. Those at -inf, which the device leaves out, follow by ascending id. */
static void put_tops(struct draw_result *out, const struct sample_row *row, double log_total, int32_t count) {
    out->top_count = count;
    int32_t id = 0;
    for (int32_t i = 0; i < count; i++) {
        if (i < row->top_count) {
            out->top_token[i] = row->top_token[i];
            out->top_logprob[i] = (float)draw_log_probability(row->best, row->top_score[i], log_total);
            continue;
        }
        for (bool taken = true; taken; id += taken) {
            taken = false;
            for (int32_t j = 0; j < row->top_count; j++) taken |= row->top_token[j] == id;
        }
        out->top_token[i] = id++;
        out->top_logprob[i] = -INFINITY;
    }
}

static void put_statistics(struct draw_result *out, const struct sample_statistics *s, const struct sample_row *row,
                           bool greedy, int32_t tops) {
    const bool any = row->total > 0;
    const double log_total = any ? draw_log_mass(row->total) : 0.0;
    out->entropy = any ? draw_entropy(row->high, row->low, row->total) : 0.0f;
    put_tops(out, row, log_total, tops);
    out->logprob = out->final_logprob = -INFINITY;
    if (out->token >= 0) out->logprob = (float)draw_log_probability(row->best, s->token_logit, log_total);
    out->kept = s->kept;
    if (s->kept == 0) return;
    if (greedy) {
        out->kept_mass = (float)exp(draw_log_probability(row->best, s->greedy_logit, log_total));
        out->final_logprob = out->token == s->greedy_token ? 0.0f : -INFINITY;
    } else {
        out->kept_mass = any ? (float)((double)s->kept_mass / (double)row->total) : 0.0f;
        out->final_logprob = (float)draw_log_probability(s->final_best, s->token_score, draw_log_mass(s->final_mass));
    }
}

void cuda_draw_results(const struct cuda_backend *b, int32_t slot, int32_t B, struct draw_result *results) {
    const struct cuda_draw *d = b->draw;
    const struct slot *s = &d->slot[slot];
    const struct sample_branch *branch = (const struct sample_branch *)(const void *)(s->head + d->branch_at);
    for (int32_t i = 0; i < B; i++) {
        struct draw_result *out = &results[i];
        *out = (struct draw_result){.token = s->result[i].token, .flags = s->result[i].flags};
        if (s->logprobs[i] < 0) continue;
        const int32_t tops = s->logprobs[i] < d->V ? s->logprobs[i] : d->V;
        put_statistics(out, &s->statistics[i], &s->row[branch[i].row], branch[i].options & SAMPLE_GREEDY, tops);
    }
}
