/* int_list.c: lists and ranges of whole numbers, "1,4,16-64*2". */
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "strbuf.h"

enum { MOST_NUMBERS = 4096 };

static bool refuse(struct strbuf *why, const char *what) {
    strbuf_text(why, what);
    return false;
}

static bool add_number(struct int_list *list, int64_t number, struct strbuf *why) {
    if (list->count == MOST_NUMBERS) {
        strbuf_printf(why, "at most %d numbers", MOST_NUMBERS);
        return false;
    }
    list->items = xgrow(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = (int32_t)number;
    return true;
}

/* Numbers from first to last; each is the one before it plus `step`, or times it. */
static bool add_range(struct int_list *list, int64_t first, int64_t last, int64_t step, bool times,
                      struct strbuf *why) {
    if (first > last) return refuse(why, "a range whose last number is not below its first");
    if (times && (step < 2 || first < 1)) return refuse(why, "a range from 1 or more with a factor of 2 or more");
    if (!times && step < 1) return refuse(why, "a range with a step of 1 or more");
    for (int64_t number = first; number <= last; number = times ? number * step : number + step)
        if (!add_number(list, number, why)) return false;
    return true;
}

/* Reads digits and moves past them; false when there are none or the number has no business here. */
static bool take_number(const char **at, int64_t low, int64_t high, int64_t *number) {
    size_t length = strspn(*at, "0123456789");
    char *digits = xdup(*at, length);
    bool good = length > 0 && parse_int(digits, low, high, number);
    free(digits);
    *at += length;
    return good;
}

/* FIRST-LAST or FIRST:LAST, then nothing, a step (+STEP or :STEP) or a factor (*FACTOR). */
static bool add_item(struct int_list *list, const char *word, int64_t low, int64_t high, struct strbuf *why) {
    const char *at = word;
    int64_t first, last, step = 1;
    if (take_number(&at, low, high, &first) && !*at) return add_number(list, first, why);
    if (at > word && (*at == '-' || *at == ':') && at[1]) {
        at++;
        if (!take_number(&at, low, high, &last)) return false;
        if (!*at) return add_range(list, first, last, step, false, why);
        bool times = *at == '*';
        if (!times && *at != '+' && *at != ':') return false;
        at++;
        if (!take_number(&at, 0, INT32_MAX, &step) || *at) return false;
        return add_range(list, first, last, step, times, why);
    }
    return false;
}

bool int_list_parse(struct int_list *list, const char *text, int64_t low, int64_t high, struct strbuf *why) {
    free(list->items);
    *list = (struct int_list){0};
    for (const char *at = text;;) {
        size_t length = strcspn(at, ",");
        char *word = xdup(at, length);
        bool good = add_item(list, word, low, high, why);
        free(word);
        if (!good) return false;
        if (!at[length]) return true;
        at += length + 1;
    }
}

void int_list_default(struct int_list *list, const int32_t *values, size_t count) {
    if (list->items) return;
    list->items = xarray(count, sizeof *list->items);
    memcpy(list->items, values, count * sizeof *values);
    list->count = count;
}
