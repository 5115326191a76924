/* hash.h: what a database's samples were made of, in 128 bits: XXH3-128 (xxhash), which tells files apart that differ by
 * accident; it is no defence against forgery. */
#ifndef SWEEP_HASH_H
#define SWEEP_HASH_H

#include <stddef.h>

enum { HASH_TEXT = 33 }; /* hexadecimal and a terminator */

struct hash; /* a running hash */
struct hash *hash_start(void);
/* Each piece goes in with its length, so that no two sequences of pieces run together alike. NULL is a piece of its own. */
void hash_bytes(struct hash *hash, const void *bytes, size_t length);
void hash_text(struct hash *hash, const char *text);
void hash_end(struct hash *hash, char text[HASH_TEXT]); /* frees it */

/* The files of a model's folder that its samples depend on: config, tokenizer, weights; or a GGUF file. 0 or the exit
 * status. */
int hash_model(const char *folder, char text[HASH_TEXT]);

#endif
