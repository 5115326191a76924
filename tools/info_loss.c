/* info_loss.c: what quantised weights lose. */
#include "info_loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

bool dtype_is_quantised(const char *dtype) {
    return strcmp(dtype, "q8") == 0 || strcmp(dtype, "q4") == 0;
}

/* ---- measuring ---- */

int weight_losses_measure(struct weight_losses *losses, const struct session *session,
                          const tempera_engine_options *options) {
    tempera_error err;
    *losses = (struct weight_losses){.tied = session->info.tied};
    progress_show("comparing the weights");
    return tempera_weight_errors(session->model, options, losses->matrix, &err) == TEMPERA_OK ? EXIT_DONE
                                                                                              : complain_error(&err);
}

int weight_losses_score(struct weight_losses *losses, struct session *session, const struct common_args *common,
                        const struct score_source *source, struct score_input *input, const char *against) {
    const tempera_plan plan = session->plan;
    struct scored scored = {.session = session, .ids = &input->ids, .rows = 1};
    int status = score_encode(session, source, input);
    if (!status) status = score_start(session, common, common->dtype, 1);
    if (status) return status;
    scored.stats = xarray(input->ids.count, sizeof *scored.stats);
    status = score_all(&scored, source->stride);
    if (!status) status = loss_measure(&losses->loss, &scored, source->stride, common, against);
    losses->scored = input->ids.count - 1;
    losses->perplexity = perplexity_of(scored.stats, input->ids.count);
    free(scored.stats);
    session_stop(session);
    session->plan = plan;
    return status;
}

/* ---- printing ---- */

/* 0 of 0: weights that are all zeros lose nothing. */
static double relative_error(const tempera_weight_error *e) {
    return e->errors > 0 ? sqrt(e->errors / e->squares) : 0;
}

static double signal_to_noise(const tempera_weight_error *e) {
    return e->errors > 0 ? 10 * log10(e->squares / e->errors) : (double)INFINITY;
}

static tempera_weight_error all_kinds(const struct weight_losses *losses) {
    tempera_weight_error all = {.dtype = ""};
    for (int kind = 0; kind < TEMPERA_MATRIX_KINDS; kind++) {
        const tempera_weight_error *e = &losses->matrix[kind];
        all.matrices += e->matrices;
        all.weights += e->weights;
        all.squares += e->squares;
        all.errors += e->errors;
    }
    return all;
}

static void print_row(struct strbuf *out, const char *name, const tempera_weight_error *e) {
    strbuf_printf(out, "  %-17s %-4s %9lld %13lld  %9.4f%%", name, e->dtype, (long long)e->matrices,
                  (long long)e->weights, 100 * relative_error(e));
    if (e->errors > 0)
        strbuf_printf(out, "  %6.2f dB\n", signal_to_noise(e));
    else
        strbuf_text(out, "      exact\n");
}

void weight_losses_print(struct strbuf *out, const struct weight_losses *losses, const char *dtype) {
    const tempera_weight_error all = all_kinds(losses);
    strbuf_printf(out, "\nWhat %s loses\n  %-17s %-4s %9s %13s  %10s  %9s\n", dtype, "weights", "type", "matrices",
                  "elements", "rms error", "signal");
    for (int kind = 0; kind < TEMPERA_MATRIX_KINDS; kind++) {
        if (losses->matrix[kind].matrices == 0) continue;
        bool both = kind == TEMPERA_MATRIX_EMBEDDING && losses->tied;
        print_row(out, both ? "embedding, head" : tempera_matrix_name((tempera_matrix)kind), &losses->matrix[kind]);
    }
    print_row(out, "all", &all);
    if (losses->scored == 0) return;
    strbuf_printf(out, "  %zu tokens scored, perplexity %.4f\n  ", losses->scored, losses->perplexity);
    loss_print(out, &losses->loss, dtype);
}

static void figures_json(struct json *j, const tempera_weight_error *e) {
    json_int(j, "matrices", e->matrices);
    json_int(j, "weights", e->weights);
    json_double(j, "relative_rms_error", relative_error(e));
    json_double(j, "signal_to_noise_db", signal_to_noise(e));
    json_end(j);
}

void weight_losses_json(struct json *j, const struct weight_losses *losses) {
    const tempera_weight_error all = all_kinds(losses);
    json_object(j, "loss");
    json_array(j, "matrices");
    for (int kind = 0; kind < TEMPERA_MATRIX_KINDS; kind++) {
        if (losses->matrix[kind].matrices == 0) continue;
        json_object(j, NULL);
        json_text(j, "kind", tempera_matrix_name((tempera_matrix)kind));
        json_text(j, "dtype", losses->matrix[kind].dtype);
        figures_json(j, &losses->matrix[kind]);
    }
    json_end(j);
    json_object(j, "all");
    figures_json(j, &all);
    if (losses->scored > 0) {
        json_object(j, "text");
        json_uint(j, "count", losses->scored);
        json_double(j, "perplexity", losses->perplexity);
        loss_json(j, &losses->loss);
        json_end(j);
    }
    json_end(j);
}
