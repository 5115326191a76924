/* gguf_pre.c: the table. Expressions are those of the models' own tokenizer.json, which llama.cpp's converter recognises by
 * their hash and turns into a name (llama-vocab.cpp has the same table). */
#include "text/gguf_pre.h"

#include <stddef.h>

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS(digits)                                                                                                  \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                                                              \
                 "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* Words with a capital inside are cut before it. */
#define CASED(suffix, digits)                                                                                          \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" suffix                 \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" suffix "|" digits     \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const char *const llama3[] = {WORDS("\\p{N}{1,3}"), NULL};
static const char *const qwen2[] = {WORDS("\\p{N}"), NULL};
static const char *const digits[] = {"\\p{N}", GPT2, NULL};
static const char *const tekken[] = {CASED("", "\\p{N}"), NULL};
static const char *const gpt4o[] = {CASED(CONTRACTIONS "?", "\\p{N}{1,3}"), NULL};
static const char *const falcon[] = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]", NULL};
static const char *const basic[] = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]", NULL};
static const char *const bloom[] = {" ?[^(\\s|.,!?…。，、।۔،)]+", NULL};
static const char *const viking[] = {" ?[^(\\s|.,!?…。，、।۔،)]+", "\\p{N}", NULL};
static const char *const deepseek_coder[] = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+",
                                             "\\p{N}",   NULL};
static const char *const deepseek_v3[] = {
    "\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    NULL};
/* clang-format off */
/* Cased letters but those that came later or have no case of their own; escapes where Unicode knows another spelling. */
static const char *const deepseek_llm[] = {
    "[\\r\\n]",
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-"
    "ὗὙὛὝὟ-\u1F7Dᾀ-ᾴᾶ-ᾼ\u1FBEῂ-ῄ"
    "ῆ-ῌῐ-\u1FD3ῖ-\u1FDBῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212A-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-"
    "Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
    "\\s?[!-/:-~！-／：-～‘-‟　-。]+",
    "\\s+$",
    "[一-龥ࠀ-一가-퟿]+",
    "\\p{N}+",
    NULL};
/* clang-format on */

static const struct {
    const char *name;
    struct gguf_pre pre;
} table[] = {
    {"gpt-2", {.expressions = NULL}},
    {"phi-2", {.expressions = NULL}},
    {"mpt", {.expressions = NULL}},
    {"olmo", {.expressions = NULL}},
    {"jais", {.expressions = NULL}},
    {"exaone4", {.expressions = NULL}},
    {"llama-bpe", {.expressions = llama3, .ignore_merges = true, .add_bos = true}},
    {"llama3", {.expressions = llama3, .ignore_merges = true, .add_bos = true}},
    {"llama-v3", {.expressions = llama3, .ignore_merges = true, .add_bos = true}},
    {"falcon3", {.expressions = llama3, .ignore_merges = true, .add_bos = true}},
    {"dbrx", {.expressions = llama3}},
    {"smaug-bpe", {.expressions = llama3}},
    {"qwen2", {.expressions = qwen2, .nfc = true}},
    {"deepseek-r1-qwen", {.expressions = qwen2, .nfc = true}},
    {"megrez", {.expressions = qwen2, .nfc = true}},
    {"stablelm2", {.expressions = qwen2}},
    {"stablelm", {.expressions = qwen2}},
    {"starcoder", {.expressions = digits}},
    {"refact", {.expressions = digits}},
    {"command-r", {.expressions = digits}},
    {"smollm", {.expressions = digits}},
    {"codeshell", {.expressions = digits}},
    {"exaone", {.expressions = digits}},
    {"minerva-7b", {.expressions = digits}},
    {"falcon", {.expressions = falcon}},
    {"default", {.expressions = basic}},
    {"bloom", {.expressions = bloom}},
    {"poro-chat", {.expressions = bloom}},
    {"gpt3-finnish", {.expressions = bloom}},
    {"viking", {.expressions = viking}},
    {"tekken", {.expressions = tekken, .ignore_merges = true, .add_bos = true}},
    {"gpt-4o", {.expressions = gpt4o}},
    {"llama4", {.expressions = gpt4o}},
    {"deepseek-coder", {.expressions = deepseek_coder}},
    {"deepseek-llm", {.expressions = deepseek_llm}},
    {"deepseek-v3", {.expressions = deepseek_v3}},
};

const struct gguf_pre *gguf_pre_find(struct gguf_text name) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (gguf_text_is(name, table[i].name)) return &table[i].pre;
    return NULL;
}
