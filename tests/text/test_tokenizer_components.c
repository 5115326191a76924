/* test_tokenizer_components.c: every component of tokenizer.json on small tokenizers written here. Expected pieces are
 * what Hugging Face's tokenizers gives for the same files (tests/text/vectors.json compares many more texts). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "text_support.h"

#define BYTE_LEVEL      "{'type':'ByteLevel','add_prefix_space':false,'trim_offsets':true,'use_regex':true}"
#define BYTE_LEVEL_ONLY "{'type':'ByteLevel','add_prefix_space':false,'use_regex':false}"

static void expect_all(const struct spec *spec, const char *const cases[][2], size_t count) {
    struct tokenizer *t = spec_open(spec);
    for (size_t i = 0; i < count; i++) expect_pieces(t, cases[i][0], 0, cases[i][1]);
    tokenizer_free(t);
}
#define EXPECT_ALL(spec, cases) expect_all(spec, cases, sizeof cases / sizeof *cases)

/* --- BPE --- */

static const struct spec byte_level = {.byte_alphabet = true,
                                       .pre_tokenizer = BYTE_LEVEL,
                                       .decoder = BYTE_LEVEL,
                                       .merges = "h e|l l|he ll|hell o|Ġ w|Ġw o|o r|Ã ©|Ġ Ġ|a a|aa aa"};

Test(components, byte_level_bpe) {
    static const char *const cases[][2] = {
        {"", ""},
        {"hello", "hello"},
        {"hello world", "hello|Ġwo|r|l|d"},
        {"hellhell", "hell|hell"},
        {"don't", "d|o|n|'|t"},
        {"é", "Ã©"},
        {"  x", "Ġ|Ġ|x"},
        {"   x", "ĠĠ|Ġ|x"},
        {"x   ", "x|ĠĠ|Ġ"},
        {"aaaaaaa", "aaaa|aa|a"},
        {"\n\t", "Ċ|ĉ"},
    };
    EXPECT_ALL(&byte_level, cases);
}

/* A piece longer than the short merging handles takes the heap, and must give the same. */
Test(components, long_pieces_merge_as_short_ones) {
    struct tokenizer *t = spec_open(&byte_level);
    for (size_t n = 1; n < 300; n++) {
        char text[300] = "", expected[2000] = "";
        memset(text, 'a', n);
        for (size_t i = 0; i < n / 4; i++) strcat(expected, "|aaaa");
        if (n % 4 >= 2) strcat(expected, "|aa");
        if (n % 2) strcat(expected, "|a");
        expect_pieces(t, text, 0, expected + 1);
    }
    tokenizer_free(t);
}

Test(components, merge_order_is_rank_then_position) {
    static const struct spec spec = {.byte_alphabet = true, .pre_tokenizer = BYTE_LEVEL, .merges = "b c|a b|ab c|b b"};
    static const char *const cases[][2] = {
        {"abc", "a|bc"}, {"ab", "ab"}, {"abb", "ab|b"}, {"bbb", "bb|b"}, {"abbc", "ab|bc"}};
    EXPECT_ALL(&spec, cases);
}

Test(components, ignore_merges_takes_whole_pieces) {
    static const struct spec spec = {
        .byte_alphabet = true, .pre_tokenizer = BYTE_LEVEL, .pieces = "abc|Ġx", .model = "'ignore_merges':true"};
    static const char *const cases[][2] = {{"abc", "abc"}, {"abcd", "a|b|c|d"}, {"abc x", "abc|Ġx"}};
    EXPECT_ALL(&spec, cases);
}

Test(components, merges_as_pairs) {
    struct spec spec = byte_level;
    struct buf json;
    spec.merges = NULL;
    spec_json(&json, &spec);
    cr_assert(strstr(json.data, "\"merges\":[]"));
    buf_free(&json);
    static const char pairs[] = "{'model':{'type':'BPE','vocab':{'a':0,' ':1,'b':2,'a b':3,' b':4,'a ':5},"
                                "'merges':[[' ','b'],['a',' b']]}}";
    tempera_error err;
    cr_expect_eq(parse_status(pairs, &err), TEMPERA_OK, "%s", err.message);
}

Test(components, merge_lines_with_spaces_in_their_pieces) {
    static const struct spec spec = {.pieces = "a|b| |  ", .merges = NULL, .model = NULL};
    tempera_error err;
    cr_expect_eq(spec_status(&spec, &err), TEMPERA_OK, "%s", err.message);
    cr_expect_eq(parse_status("{'model':{'vocab':{' ':0,'  ':1,'   ':2},'merges':['   ']}}", &err), TEMPERA_OK, "%s",
                 err.message); /* one space and one */
    cr_expect_eq(parse_status("{'model':{'vocab':{' ':0,'  ':1,'   ':2},'merges':['    ']}}", &err), TEMPERA_FORMAT);
    cr_expect(strstr(err.message, "merge 0: \"    \""), "%s", err.message); /* one and two, or two and one */
}

Test(components, unknown_tokens) {
    static const struct spec apart = {.byte_tokens = true, .pieces = "a|b", .model = "'unk_token':'<unk>'"};
    static const struct spec fused = {
        .byte_tokens = true, .pieces = "a|b", .model = "'unk_token':'<unk>','fuse_unk':true"};
    static const struct spec none = {.byte_tokens = true, .pieces = "a|b"};
    static const struct spec fallback = {
        .byte_tokens = true, .pieces = "a|b", .model = "'unk_token':'<unk>','byte_fallback':true"};
    static const char *const apart_cases[][2] = {{"axyb", "a|<unk>|<unk>|b"}, {"\xFF", "<unk>"}};
    static const char *const fused_cases[][2] = {{"axyb", "a|<unk>|b"}, {"xaéy", "<unk>|a|<unk>"}};
    static const char *const none_cases[][2] = {{"axyb", "a|b"}, {"x", ""}};
    static const char *const fallback_cases[][2] = {{"aéb", "a|<0xC3>|<0xA9>|b"}, {"\xC3(", "<0xC3>|<0x28>"}};
    EXPECT_ALL(&apart, apart_cases);
    EXPECT_ALL(&fused, fused_cases);
    EXPECT_ALL(&none, none_cases);
    EXPECT_ALL(&fallback, fallback_cases);
}

/* Where only some byte tokens exist, a character falls back whole or not at all, and byte tokens overtake the unknown. */
Test(components, partial_byte_fallback) {
    static const struct spec spec = {.pieces = "<unk>|a|<0xC3>|<0xA9>",
                                     .model = "'unk_token':'<unk>','byte_fallback':true,'fuse_unk':true"};
    static const char *const cases[][2] = {{"aéè", "a|<0xC3>|<0xA9>|<unk>"}, {"xéya", "<0xC3>|<0xA9>|<unk>|a"}};
    EXPECT_ALL(&spec, cases);
}

Test(components, subword_prefix_and_word_suffix) {
    static const struct spec prefix = {.pre_tokenizer = "{'type':'Whitespace'}",
                                       .pieces = "<unk>|a|b|##b|##c|ab|abc",
                                       .model = "'unk_token':'<unk>','continuing_subword_prefix':'##'"};
    static const char *const cases[][2] = {{"abc", "a|##b|##c"}, {"b c", "b|<unk>"}};
    EXPECT_ALL(&prefix, cases);
    static const struct spec suffix = {.pre_tokenizer = "{'type':'Whitespace'}",
                                       .pieces = "<unk>|a|b</w>|ab</w>",
                                       .model = "'unk_token':'<unk>','end_of_word_suffix':'</w>'"};
    static const char *const suffix_cases[][2] = {{"ab", "a|b</w>"}, {"ba", "<unk>|<unk>"}};
    EXPECT_ALL(&suffix, suffix_cases);
}

/* --- normalizers --- */

#define SP_MODEL "'unk_token':'<unk>','fuse_unk':true,'byte_fallback':true"
#define LLAMA_NORMALIZER                                                                                               \
    "{'type':'Sequence','normalizers':[{'type':'Prepend','prepend':'▁'},"                                            \
    "{'type':'Replace','pattern':{'String':' '},'content':'▁'}]}"
#define LLAMA_DECODER                                                                                                  \
    "{'type':'Sequence','decoders':[{'type':'Replace','pattern':{'String':'▁'},'content':' '},"                      \
    "{'type':'ByteFallback'},{'type':'Fuse'},{'type':'Strip','content':' ','start':1,'stop':0}]}"

static const struct spec llama = {
    .byte_tokens = true,
    .normalizer = LLAMA_NORMALIZER,
    .decoder = LLAMA_DECODER,
    .model = SP_MODEL,
    .pieces = "▁|h|i|t|e|é",
    .merges = "▁ t|h i|▁t h|▁ ▁|▁th e|▁ hi",
    .added = "{'id':1,'content':'<s>','special':true,'normalized':false},"
             "{'id':2,'content':'</s>','special':true,'normalized':false}",
    .post_processor = "{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'<s>','type_id':0}},"
                      "{'Sequence':{'id':'A','type_id':0}}],'pair':[],"
                      "'special_tokens':{'<s>':{'id':'<s>','ids':[1],'tokens':['<s>']}}}"};

Test(components, sentencepiece_style) {
    static const char *const cases[][2] = {
        {"", ""},
        {"the hi", "▁the|▁hi"},
        {" hi", "▁▁|hi"},
        {"hi  the", "▁hi|▁|▁the"},
        {"é\n", "▁|é|<0x0A>"},
        {"hi</s>hi", "▁hi|</s>|▁hi"},
        {"\xFFhi", "▁|<0xFF>|hi"},
    };
    EXPECT_ALL(&llama, cases);
}

/* A vocabulary in which some merge reaches across "x▁" may not be cut into words first. */
Test(components, merges_across_word_starts) {
    struct spec spec = llama;
    spec.merges = "▁ t|h i|hi ▁t|▁ hi";
    static const char *const cases[][2] = {{"hi the", "▁|hi▁t|h|e"}, {"hi hi", "▁hi|▁hi"}};
    EXPECT_ALL(&spec, cases);
}

static void expect_normalized(const char *normalizer, const char *text, const char *normalized) {
    struct spec spec = {.byte_alphabet = true, .pre_tokenizer = BYTE_LEVEL_ONLY, .decoder = BYTE_LEVEL};
    spec.normalizer = normalizer;
    struct tokenizer *t = spec_open(&spec);
    struct ids ids = {0};
    struct buf out = {.max = 1000};
    cr_assert_eq(buf_reserve(&out, 1, NULL), TEMPERA_OK);
    cr_assert_eq(tokenizer_encode(t, text, strlen(text), 0, &ids, NULL), TEMPERA_OK);
    cr_assert_eq(tokenizer_decode(t, ids.data, ids.count, true, &out, NULL), TEMPERA_OK);
    cr_expect_str_eq(out.data, normalized, "%s: expected \"%s\", found \"%s\"", normalizer, normalized, out.data);
    ids_free(&ids);
    buf_free(&out);
    tokenizer_free(t);
}

Test(components, normalizers) {
    expect_normalized("{'type':'NFC'}", "e\u0301", "\u00E9");
    expect_normalized("{'type':'NFD'}", "\u00E9", "e\u0301");
    expect_normalized("{'type':'NFKC'}", "\uFB01\u2460", "fi1");
    expect_normalized("{'type':'NFKD'}", "\uFB03\u00E9", "ffie\u0301");
    expect_normalized("{'type':'Lowercase'}", "ÀΣİß", "àσi̇ß");
    expect_normalized("{'type':'Prepend','prepend':'> '}", "a", "> a");
    expect_normalized("{'type':'Strip','strip_left':true,'strip_right':false}", " \u3000a \n", "a \n");
    expect_normalized("{'type':'Strip','strip_left':false,'strip_right':true}", " a \n", " a");
    expect_normalized("{'type':'Strip'}", " \n ", "");
    expect_normalized("{'type':'StripAccents'}", "e\u0301\u00E9", "e\u00E9");
    expect_normalized("{'type':'Replace','pattern':{'String':'ab'},'content':'\\\\'}", "xabaab", "x\\a\\");
    expect_normalized("{'type':'Replace','pattern':{'Regex':'[0-9]+'},'content':'#'}", "a12b3", "a#b#");
    expect_normalized("{'type':'Replace','pattern':{'Regex':'x*'},'content':'-'}", "axb", "-a-b-");
    expect_normalized("{'type':'Replace','pattern':{'String':''},'content':'-'}", "ab", "-a-b-");
    expect_normalized("{'type':'Sequence','normalizers':[]}", "Ab", "Ab");
    expect_normalized("{'type':'Sequence','normalizers':[{'type':'NFD'},{'type':'Sequence','normalizers':"
                      "[{'type':'StripAccents'},{'type':'Lowercase'}]}]}",
                      "É", "e");
}

/* --- pre-tokenizers: with the whole alphabet as single pieces, pieces show only through ignore_merges --- */

#define CUT_PIECES                                                                                                     \
    "ab|Ġab|ab.|.ab|12|Ġ12|...|ab12|▁ab|▁12|ab▁|▁ab▁12|Ġ|.|.12|12.|ab.12|ab...|...12|1|2|ab-|-12|-|ab-12|▁▁ab"

static void expect_cut(const char *pre_tokenizer, const char *text, const char *pieces) {
    struct spec spec = {.model = "'ignore_merges':true,'unk_token':'<unk>','fuse_unk':true", .byte_tokens = true};
    spec.pre_tokenizer = pre_tokenizer;
    spec.pieces = CUT_PIECES;
    struct tokenizer *t = spec_open(&spec);
    expect_pieces(t, text, 0, pieces);
    tokenizer_free(t);
}

#define SPLIT(pattern, behavior, invert)                                                                               \
    "{'type':'Split','pattern':" pattern ",'behavior':'" behavior "','invert':" invert "}"

Test(components, split_behaviors) {
    expect_cut(SPLIT("{'String':'.'}", "Removed", "false"), "ab.12", "ab|12");
    expect_cut(SPLIT("{'String':'.'}", "Isolated", "false"), "ab.12", "ab|.|12");
    expect_cut(SPLIT("{'String':'.'}", "MergedWithPrevious", "false"), "ab.12", "ab.|12");
    expect_cut(SPLIT("{'String':'.'}", "MergedWithNext", "false"), "ab.12", "ab|.12");
    expect_cut(SPLIT("{'String':'.'}", "Contiguous", "false"), "ab...12", "ab|...|12");
    expect_cut(SPLIT("{'Regex':'[.]'}", "MergedWithPrevious", "false"), "ab..12", "ab.|.|12");
    expect_cut(SPLIT("{'Regex':'[a-z0-9]+'}", "Removed", "true"), "ab.12", "ab|12");
    expect_cut(SPLIT("{'Regex':'[a-z0-9]+'}", "Isolated", "true"), "ab.12", "ab|.|12");
    expect_cut(SPLIT("{'Regex':'[a-z]+|[0-9]+'}", "Contiguous", "false"), "ab12", "ab12");
    expect_cut(SPLIT("{'Regex':'(?=[0-9])'}", "Isolated", "false"), "ab12", "ab|1|2");
}

Test(components, other_cuts) {
    expect_cut("{'type':'Whitespace'}", "ab... 12", "ab|...|12");
    expect_cut("{'type':'WhitespaceSplit'}", " ab...\t\n12\u3000", "ab...|12");
    expect_cut("{'type':'Digits','individual_digits':true}", "ab12", "ab|1|2");
    expect_cut("{'type':'Digits','individual_digits':false}", "ab12", "ab|12");
    expect_cut("{'type':'Digits'}", "ab12ab", "ab|12|ab");
    expect_cut("{'type':'Punctuation'}", "ab-12", "ab|-|12");
    expect_cut("{'type':'Punctuation','behavior':'Contiguous'}", "ab...12", "ab|...|12");
    expect_cut("{'type':'Punctuation','behavior':'Removed'}", "ab-12", "ab|12");
    expect_cut("{'type':'Sequence','pretokenizers':[{'type':'Punctuation'},{'type':'Digits'}]}", "ab-ab12",
               "ab|-|ab|12");
    expect_cut("{'type':'Sequence','pretokenizers':[]}", "ab12", "ab12");
}

Test(components, byte_level_cuts) {
    expect_cut("{'type':'ByteLevel','add_prefix_space':true,'use_regex':true}", "ab 12", "Ġab|Ġ12");
    expect_cut("{'type':'ByteLevel','add_prefix_space':false,'use_regex':true}", "ab 12", "ab|Ġ12");
    expect_cut("{'type':'ByteLevel','add_prefix_space':true,'use_regex':false}", "ab", "Ġab");
    expect_cut("{'type':'Sequence','pretokenizers':[{'type':'Digits'},{'type':'ByteLevel','add_prefix_space':true}]}",
               "ab12", "Ġab|Ġ12");
}

Test(components, metaspace) {
    expect_cut("{'type':'Metaspace','replacement':'▁','prepend_scheme':'always','split':true}", "ab 12", "▁ab|▁12");
    expect_cut("{'type':'Metaspace','replacement':'▁','prepend_scheme':'always','split':false}", "ab 12", "▁ab▁12");
    expect_cut("{'type':'Metaspace','replacement':'▁','prepend_scheme':'never'}", "ab 12", "ab|▁12");
    expect_cut("{'type':'Metaspace','replacement':'▁','add_prefix_space':true}", " ab", "▁ab");
    expect_cut("{'type':'Metaspace','replacement':'▁','add_prefix_space':false}", "ab", "ab");
    expect_cut("{'type':'Sequence','pretokenizers':[{'type':'WhitespaceSplit'},"
               "{'type':'Metaspace','replacement':'▁','prepend_scheme':'first'}]}",
               "ab 12", "▁ab|12");
}

/* --- added tokens --- */

#define TOKEN(id, content, flags) "{'id':" #id ",'content':'" content "'" flags "}"

static const char added_list[] =
    TOKEN(256, "<s>", ",'special':true") "," TOKEN(257, "<|", ",'normalized':false") "," TOKEN(
        258, "<|end|>",
        ",'special':true") "," TOKEN(259, "<l>",
                                     ",'lstrip':true") "," TOKEN(260, "<r>",
                                                                 ",'rstrip':true") "," TOKEN(261, "word",
                                                                                             ",'single_word':"
                                                                                             "true") "," TOKEN(262,
                                                                                                               "  ",
                                                                                                               "");

static const struct spec added = {
    .byte_alphabet = true, .pre_tokenizer = BYTE_LEVEL, .decoder = BYTE_LEVEL, .added = added_list};

Test(components, added_tokens) {
    static const char *const cases[][2] = {
        {"a<s>b", "a|<s>|b"},       {"<s><s>", "<s>|<s>"},
        {"<|end|>", "<|end|>"},     {"<|end", "<||e|n|d"},
        {"a \n<l> b", "a|<l>|Ġ|b"}, {"a <r> \n b", "a|Ġ|<r>|b"},
        {"word", "word"},           {"words sword a-word", "w|o|r|d|s|Ġ|s|w|o|r|d|Ġ|a|-|word"},
        {"x     y", "x|  |  |Ġ|y"}, {"<r>  <l>", "<r>|  |<l>"},
    };
    EXPECT_ALL(&added, cases);
}

Test(components, plain_text_ignores_special_tokens) {
    struct tokenizer *t = spec_open(&added);
    expect_pieces(t, "a<s>b", ENCODE_PLAIN_TEXT, "a|<|s|>|b");
    expect_pieces(t, "<|x<|end|>", ENCODE_PLAIN_TEXT,
                  "<||x|<|||e|n|d|||>"); /* the longest match counts, even if ignored */
    cr_expect(tokenizer_is_special(t, 256) && !tokenizer_is_special(t, 257) && !tokenizer_is_special(t, 0));
    cr_expect(!tokenizer_is_special(t, -1) && !tokenizer_is_special(t, 1 << 30));
    tokenizer_free(t);
}

Test(components, normalized_tokens_are_found_in_normalized_text) {
    static const struct spec spec = {
        .byte_alphabet = true,
        .normalizer = "{'type':'Lowercase'}",
        .pre_tokenizer = BYTE_LEVEL,
        .decoder = BYTE_LEVEL,
        .added = TOKEN(256, "Day", ",'normalized':true") "," TOKEN(257, "Night", ",'normalized':false")};
    static const char *const cases[][2] = {{"DAY day", "Day|Ġ|Day"}, {"Night night", "Night|Ġ|n|i|g|h|t"}};
    EXPECT_ALL(&spec, cases);
}

Test(components, added_tokens_keep_the_models_ids) {
    struct tokenizer *t =
        spec_open(&(struct spec){.byte_alphabet = true,
                                 .pieces = "<pad>",
                                 .added = TOKEN(999, "<pad>", ",'special':true") "," TOKEN(300, "new", "")});
    cr_expect_eq(tokenizer_find(t, "<pad>", 5), 256);
    cr_expect_eq(tokenizer_find(t, "new", 3), 300);
    cr_expect_eq(tokenizer_vocab_size(t), 301);
    size_t length = 9;
    cr_expect_null(tokenizer_piece(t, 280, &length));
    cr_expect_eq(length, 0);
    cr_expect_eq(tokenizer_find(t, "nothing", 7), -1);
    cr_expect_eq(tokenizer_bos(t), -1);
    tokenizer_free(t);
}

/* --- post-processors --- */

static void expect_processed(const char *post_processor, const char *pieces) {
    struct spec spec = {.pieces = "a|<s>|</s>|<x>"};
    spec.post_processor = post_processor;
    struct tokenizer *t = spec_open(&spec);
    expect_pieces(t, "aa", ENCODE_SPECIAL, pieces);
    expect_pieces(t, "aa", 0, "a|a");
    tokenizer_free(t);
}

Test(components, post_processors) {
    static const char wrapped[] =
        "{'type':'Sequence','processors':[{'type':'ByteLevel'},{'type':'RobertaProcessing','sep':['</s>',2],"
        "'cls':['<s>',1]},{'type':'TemplateProcessing','single':[{'Sequence':{'id':'A','type_id':0}},"
        "{'SpecialToken':{'id':'X','type_id':0}}],'special_tokens':{'X':{'id':'X','ids':[3,3],'tokens':['a','b']}}}]}";
    expect_processed(NULL, "a|a");
    expect_processed("{'type':'ByteLevel','trim_offsets':true}", "a|a");
    expect_processed("{'type':'BertProcessing','sep':['</s>',2],'cls':['<s>',1]}", "<s>|a|a|</s>");
    expect_processed("{'type':'RobertaProcessing','sep':['</s>',2],'cls':['<s>',1],'trim_offsets':true}",
                     "<s>|a|a|</s>");
    expect_processed(wrapped, "<s>|a|a|</s>|<x>|<x>");
}

/* --- decoders --- */

static void expect_decoding(const char *decoder, const char *pieces, const char *text) {
    struct spec spec = {.pieces = "▁|▁a|a|b|▁b▁|-|ab</w>|Ġ|Ã|©|a▁b|  a ", .byte_tokens = true};
    spec.decoder = decoder;
    struct tokenizer *t = spec_open(&spec);
    expect_decoded(t, pieces, true, text);
    tokenizer_free(t);
}

Test(components, decoders) {
    expect_decoding(NULL, "a|b|▁a", "a b ▁a");
    expect_decoding("{'type':'Fuse'}", "a|b|▁a", "ab▁a");
    expect_decoding("{'type':'Sequence','decoders':[]}", "a|b", "ab");
    expect_decoding("{'type':'ByteFallback'}", "a|<0xC3>|<0xA9>|<unk>", "a\u00E9<unk>");
    expect_decoding("{'type':'ByteLevel'}", "Ġ|a|Ã|©|▁", " a\u00E9▁");
    expect_decoding("{'type':'Metaspace','replacement':'▁','prepend_scheme':'always'}", "▁a|▁b▁|▁a", "a b  a");
    expect_decoding("{'type':'Metaspace','replacement':'▁','prepend_scheme':'always'}", "▁b▁|▁", "b ");
    expect_decoding("{'type':'Metaspace','replacement':'▁','prepend_scheme':'never'}", "▁a|▁a", " a a");
    expect_decoding("{'type':'Replace','pattern':{'String':'a'},'content':'--'}", "a▁b|a", "--▁b--");
    expect_decoding("{'type':'Replace','pattern':{'Regex':'[ab]'},'content':'x'}", "a▁b|-", "x▁x-");
    expect_decoding("{'type':'Strip','content':' ','start':1,'stop':2}", "  a |b", " ab");
    expect_decoding(LLAMA_DECODER, "▁a|▁|▁a", "a  a");
    expect_decoding(LLAMA_DECODER, "<0x20>|<0x20>|a", " a");
    expect_decoding(LLAMA_DECODER, "▁|▁|a", " a");
    expect_decoding(
        "{'type':'Sequence','decoders':[{'type':'Fuse'},{'type':'Strip','content':'-','start':3,'stop':0}]}", "-|-|a|-",
        "a-");
}

Test(components, special_tokens_while_decoding) {
    struct tokenizer *t = spec_open(&llama);
    expect_decoded(t, "<s>|▁hi|▁the|</s>", true, "<s> hi the</s>");
    expect_decoded(t, "<s>|▁hi|▁the|</s>", false, "hi the");
    const int32_t ids[] = {-5, 1, 100000, 2, INT32_MAX};
    expect_stream(t, ids, 5, true);
    expect_stream(t, ids, 5, false);
    tokenizer_free(t);
}

/* An added token is text: it comes back as it is, even where its letters are in the byte alphabet. */
Test(components, added_tokens_decode_to_themselves) {
    static const struct spec spec = {.byte_alphabet = true,
                                     .pre_tokenizer = BYTE_LEVEL,
                                     .decoder = BYTE_LEVEL,
                                     .added = TOKEN(256, "éa", "") "," TOKEN(257, "\\t\\t", "")};
    struct tokenizer *t = spec_open(&spec);
    expect_round_trip(t, "caf\u00E9a\t\tx", 9);
    expect_pieces(t, "caf\u00E9a", 0, "c|a|f|éa");
    tokenizer_free(t);
}

/* --- whole texts --- */

Test(components, any_bytes_come_back) {
    struct tokenizer *byte = spec_open(&byte_level), *sentence = spec_open(&llama);
    unsigned state = 1;
    for (int round = 0; round < 3000; round++) {
        unsigned char text[64];
        size_t length = (state >> 8) % sizeof text;
        for (size_t i = 0; i < length; i++) {
            state = state * 1103515245u + 12345u;
            text[i] = (unsigned char)(state >> 16);
            if (round % 2) text[i] = (unsigned char)"he l\xC3\xA9\xE2\x96\xF0\x9F\xFF"[(state >> 16) % 12];
        }
        state = state * 1103515245u + 12345u;
        expect_round_trip(byte, text, length);
        for (size_t i = 0; i + 2 < length; i++) /* ▁ is SentencePiece's space and does not come back as ▁ */
            if (memcmp(text + i, "▁", 3) == 0) text[i] = 'x';
        expect_round_trip(sentence, text, length);
    }
    expect_round_trip(byte, "nul\0inside\0", 11);
    expect_round_trip(sentence, "\0", 1);
    tokenizer_free(byte);
    tokenizer_free(sentence);
}

/* Long texts go through the word cache; short ones do not. */
Test(components, the_word_cache_changes_nothing) {
    struct tokenizer *t = spec_open(&byte_level);
    struct ids whole = {0}, parts = {0};
    struct buf text = {.max = 1 << 20};
    unsigned state = 7;
    for (int i = 0; i < 20000; i++) {
        char word[24];
        state = state * 1103515245u + 12345u;
        int n = snprintf(word, sizeof word, " %.*s%u", (int)(state >> 24) % 6, "hellowo", (state >> 16) % 100);
        cr_assert_eq(buf_append(&text, word, (size_t)n, NULL), TEMPERA_OK);
        cr_assert_eq(tokenizer_encode(t, word, (size_t)n, 0, &parts, NULL), TEMPERA_OK);
    }
    cr_assert_eq(tokenizer_encode(t, text.data, text.length, 0, &whole, NULL), TEMPERA_OK);
    cr_assert_eq(whole.count, parts.count);
    cr_expect_eq(memcmp(whole.data, parts.data, whole.count * sizeof *whole.data), 0);
    ids_free(&whole);
    ids_free(&parts);
    buf_free(&text);
    tokenizer_free(t);
}
