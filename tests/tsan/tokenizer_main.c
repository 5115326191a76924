/* tokenizer_main.c: one tokenizer used by several threads at once, under ThreadSanitizer: encoding, decoding and searching
 * share nothing that is written. Returns 0 when every thread got what a single one gets. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/tokenizer.h"

enum { THREADS = 4, ROUNDS = 200 };

static const char json[] =
    "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":"
    "\"Split\","
    "\"pattern\":{\"Regex\":\"[0-9]|\\\\s+(?!\\\\S)\"},\"behavior\":\"Isolated\"},{\"type\":\"Whitespace\"}]},"
    "\"decoder\":{\"type\":\"Fuse\"},\"added_tokens\":[{\"id\":9,\"content\":\"<s>\",\"special\":true}],"
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"b\":2,\"ab\":3,\"\xC3\xA9\":4},"
    "\"merges\":[\"a b\"]}}";

struct job {
    const struct tokenizer *tokenizer;
    const struct ids *expected;
    const char *text;
    int wrong;
};

static void *run(void *arg) {
    struct job *job = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct ids ids = {0};
        struct buf out = {.max = 1 << 20};
        tokenizer_encode(job->tokenizer, job->text, strlen(job->text), 0, &ids, NULL);
        tokenizer_decode(job->tokenizer, ids.data, ids.count, true, &out, NULL);
        job->wrong += ids.count != job->expected->count ||
                      memcmp(ids.data, job->expected->data, ids.count * sizeof *ids.data) != 0;
        ids_free(&ids);
        buf_free(&out);
    }
    return NULL;
}

int main(void) {
    struct tokenizer *tokenizer;
    struct ids expected = {0};
    struct job jobs[THREADS];
    pthread_t threads[THREADS];
    char text[4096] = "";
    int wrong = 0;
    tempera_error err;
    for (int i = 0; i < 100; i++) strcat(text, "ab ba 12  <s>e\xCC\x81 abab? \xFF");
    if (tokenizer_parse(&tokenizer, json, sizeof json - 1, "test", &err) != TEMPERA_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    tokenizer_encode(tokenizer, text, strlen(text), 0, &expected, NULL);
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){.tokenizer = tokenizer, .expected = &expected, .text = text};
        pthread_create(&threads[i], NULL, run, &jobs[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        wrong += jobs[i].wrong;
    }
    if (wrong || expected.count < 500) fprintf(stderr, "%d of %d texts differ\n", wrong, THREADS * ROUNDS);
    wrong += expected.count < 500;
    ids_free(&expected);
    tokenizer_free(tokenizer);
    return wrong != 0;
}
