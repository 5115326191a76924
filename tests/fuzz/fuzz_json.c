/* fuzz_json.c: json_check, json_parse and the reader on any bytes. Whatever passes the check must parse,
 * unless it is one of the documented refusals, and print back to text that passes again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "load/json.h"
#include "load/json_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition) abort();
}

/* Reads all tokens, resolving every string. */
static tempera_status drain(const char *text, size_t size) {
    struct json_reader r = json_reader_start(text, size, "fuzz");
    struct json_token t;
    struct arena arena = {0};
    tempera_status status;
    do {
        TRY_GOTO(json_next(&r, &t, NULL));
        size_t length = 0;
        if (t.kind == JSON_KEY || t.kind == JSON_STRING) {
            require(json_text(&arena, &t, &length) != NULL);
            require(length <= t.length);
        }
        uint64_t value;
        if (json_digits(&t, UINT64_MAX, &value)) require(t.kind == JSON_NUMBER);
    } while (t.kind != JSON_END);
cleanup:
    arena_free(&arena);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    struct mem_stats before = mem_stats_get();
    tempera_error err;
    tempera_status plain = json_check(text, size, false, "fuzz", &err);
    tempera_status unique = json_check(text, size, true, "fuzz", &err);
    require(drain(text, size) == plain);
    require(unique == plain || (plain == TEMPERA_OK && unique == TEMPERA_FORMAT));

    cJSON *root;
    tempera_status parsed = json_parse(&root, text, size, false, "fuzz", &err);
    require((root != NULL) == (parsed == TEMPERA_OK));
    require(parsed == plain || (plain == TEMPERA_OK && parsed == TEMPERA_UNSUPPORTED));
    char *printed = root ? cJSON_PrintUnformatted(root) : NULL;
    if (printed) require(json_check(printed, strlen(printed), false, "fuzz", NULL) == TEMPERA_OK);
    cJSON_free(printed);
    cJSON_Delete(root);
    require(mem_stats_get().live == before.live);
    return 0;
}
