/* figures.c: drives an engine and says how fast it was. */
#include "figures.h"

#include <sys/resource.h>

#include "output.h"
#include "strbuf.h"

int engine_drive(tempera_engine *engine, struct run_figures *figures, int (*feed)(void *user, bool *more), void *user) {
    tempera_error err;
    tempera_stats before, after;
    bool active = true, more = true;
    *figures = (struct run_figures){0};
    tempera_stats_get(engine, &before);
    while (active || more) {
        int status = feed(user, &more);
        if (status) return status;
        if (tempera_step(engine, &active, &err) != TEMPERA_OK) return complain_error(&err);
        tempera_stats_get(engine, &after);
        if (after.decode_seconds > before.decode_seconds) {
            figures->decode_steps += after.steps - before.steps;
            figures->decode_tokens += after.generated_tokens - before.generated_tokens;
        }
        before = after;
    }
    return EXIT_DONE;
}

/* ---- sizes ---- */

double head_parameters(const struct session *session) {
    return (double)session->info.vocab_size * session->info.width;
}

double layer_parameters(const struct session *session) {
    double tables = head_parameters(session) * (session->info.tied ? 1 : 2);
    return (double)session->info.parameters - tables;
}

/* ---- printing ---- */

static void rate(struct strbuf *line, const char *name, double count, double seconds) {
    if (count > 0 && seconds > 0) strbuf_printf(line, "%s %.1f tok/s, ", name, count / seconds);
}

static void print_bandwidth(const struct session *session, const struct run_figures *figures,
                            const tempera_stats *stats) {
    double read, flops;
    tempera_error err;
    if (figures->decode_steps == 0 || stats->decode_seconds <= 0) return;
    if (tempera_measure(session->engine, &read, &flops, &err) != TEMPERA_OK || read <= 0) {
        complain(EXIT_FAILED, "bandwidth not measured: %s", err.message);
        return;
    }
    double rate_read = (double)session->plan.step_weights * (double)figures->decode_steps / stats->decode_seconds;
    fprintf(stderr, "  weights read   %.2f GB/s in decode steps, %.1f%% of the measured read bandwidth %.2f GB/s%s\n",
            rate_read * 1e-9, 100 * rate_read / read, read * 1e-9, rate_read > read ? " (they fit in a cache)" : "");
}

static void print_memory(const struct session *session, const tempera_stats *stats) {
    struct rusage usage;
    struct strbuf line = {0};
    getrusage(RUSAGE_SELF, &usage);
    strbuf_text(&line, "  memory         peak ");
    show_size(&line, (double)usage.ru_maxrss * 1024);
    strbuf_text(&line, ", planned ");
    show_size(&line, (double)session->plan.total);
    strbuf_printf(&line, "; %d of %d pages of %d tokens used at once", stats->pages_peak, session->plan.pages,
                  session->plan.page_tokens);
    fprintf(stderr, "%s\n", line.data);
    strbuf_free(&line);
}

static void print_more(const struct session *session, const struct run_figures *figures, const tempera_stats *stats) {
    print_memory(session, stats); /* before a measurement needs memory of its own */
    print_bandwidth(session, figures, stats);
    if (stats->row_steps)
        fprintf(stderr, "  sharing        %llu tokens from %llu computed rows (%.2f per row), %llu forks\n",
                (unsigned long long)stats->generated_tokens, (unsigned long long)stats->row_steps,
                (double)stats->generated_tokens / (double)stats->row_steps, (unsigned long long)stats->forks);
    fprintf(stderr, "  prompt         %llu tokens computed, %llu found in earlier pages\n",
            (unsigned long long)stats->prompt_tokens, (unsigned long long)stats->reused_tokens);
    fprintf(stderr, "  preemptions    %llu, %llu tokens computed again\n", (unsigned long long)stats->preemptions,
            (unsigned long long)stats->recomputed_tokens);
}

void figures_print(const struct session *session, const struct run_figures *figures, const char *seed, bool more) {
    tempera_stats stats;
    struct strbuf line = {0};
    const tempera_plan *plan = &session->plan;
    tempera_stats_get(session->engine, &stats);
    strbuf_printf(&line, "tempera: %llu prompt + %llu generated tokens; ", (unsigned long long)stats.prompt_tokens,
                  (unsigned long long)stats.generated_tokens);
    rate(&line, "prefill", (double)stats.prompt_tokens, stats.prefill_seconds);
    rate(&line, "decode", (double)figures->decode_tokens, stats.decode_seconds);
    if (seed) strbuf_printf(&line, "first token %.1f ms; seed %s; ", 1e3 * stats.first_token_seconds, seed);
    strbuf_text(&line, plan->device);
    if (plan->instructions[0]) strbuf_printf(&line, " %s", plan->instructions);
    strbuf_printf(&line, " %s%s", plan->dtype, plan->fast ? " fast" : "");
    if (plan->threads > 0) strbuf_printf(&line, ", %d thread%s", plan->threads, plan->threads == 1 ? "" : "s");
    if (plan->device_note[0]) strbuf_printf(&line, " (%s)", plan->device_note);
    progress_clear();
    fprintf(stderr, "%s\n", line.data);
    strbuf_free(&line);
    if (more) print_more(session, figures, &stats);
}
