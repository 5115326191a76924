/* test_tokenizer_hostile.c: files that are refused, by which status and with which name in the message; limits; memory
 * that runs out. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text_support.h"

#define MODEL "'model':{'type':'BPE','vocab':{'a':0,'b':1,'ab':2},'merges':['a b']}"

static void expect_refused(const char *json, tempera_status status, const char *words) {
    tempera_error err;
    tempera_status found = parse_status(json, &err);
    cr_expect_eq(found, status, "%.200s: expected %d, found %d: %s", json, status, found, err.message);
    cr_expect(strstr(err.message, words), "%.200s: expected \"%s\" in \"%s\"", json, words, err.message);
    cr_expect(strstr(err.message, "test/tokenizer.json"), "the message names no file: %s", err.message);
}

static void expect_component_refused(const char *part, tempera_status status, const char *words) {
    char json[2000];
    snprintf(json, sizeof json, "{%s," MODEL "}", part);
    expect_refused(json, status, words);
}

Test(hostile, kinds_that_are_refused_by_name) {
    expect_refused("{'model':{'type':'Unigram','vocab':[['a',0.5]],'unk_id':0}}", TEMPERA_UNSUPPORTED,
                   "model type \"Unigram\" is not supported (BPE is)");
    expect_refused("{'model':{'vocab':[['a',0.5]],'unk_id':0}}", TEMPERA_UNSUPPORTED, "\"Unigram\"");
    expect_refused("{'model':{'type':'WordPiece','vocab':{'a':0},'unk_token':'a'}}", TEMPERA_UNSUPPORTED, "WordPiece");
    expect_refused("{'model':{'type':'WordLevel','vocab':{'a':0},'unk_token':'a'}}", TEMPERA_UNSUPPORTED, "WordLevel");
    expect_refused("{'model':{'vocab':{'a':0},'unk_token':'a'}}", TEMPERA_UNSUPPORTED, "without type and merges");
    expect_refused("{'model':{'type':'BPE','dropout':0.1,'vocab':{'a':0},'merges':[]}}", TEMPERA_UNSUPPORTED,
                   "dropout");
    expect_refused("{'version':'2.0'," MODEL "}", TEMPERA_UNSUPPORTED, "version");
    static const char *const normalizers[] = {"BertNormalizer", "Precompiled", "Nmt", "Xyz"};
    static const char *const cutters[] = {"BertPreTokenizer", "UnicodeScripts", "CharDelimiterSplit", "Xyz"};
    static const char *const decoders[] = {"BPEDecoder", "WordPiece", "CTC", "Xyz"};
    for (size_t i = 0; i < 4; i++) {
        char part[200];
        snprintf(part, sizeof part, "'normalizer':{'type':'%s'}", normalizers[i]);
        expect_component_refused(part, TEMPERA_UNSUPPORTED, normalizers[i]);
        snprintf(part, sizeof part, "'pre_tokenizer':{'type':'Sequence','pretokenizers':[{'type':'%s'}]}", cutters[i]);
        expect_component_refused(part, TEMPERA_UNSUPPORTED, cutters[i]);
        snprintf(part, sizeof part, "'decoder':{'type':'%s'}", decoders[i]);
        expect_component_refused(part, TEMPERA_UNSUPPORTED, decoders[i]);
    }
    expect_component_refused("'post_processor':{'type':'Xyz'}", TEMPERA_UNSUPPORTED, "post_processor: type \"Xyz\"");
}

Test(hostile, models) {
    expect_refused("", TEMPERA_FORMAT, "expected");
    expect_refused("[]", TEMPERA_FORMAT, "an object");
    expect_refused("{}", TEMPERA_FORMAT, "model is missing");
    expect_refused("{'model':null}", TEMPERA_FORMAT, "model is missing");
    expect_refused("{" MODEL "," MODEL "}", TEMPERA_FORMAT, "once");
    expect_refused("{" MODEL "} x", TEMPERA_FORMAT, "the end");
    expect_refused("{'model':{'type':'BPE','merges':[]}}", TEMPERA_FORMAT, "vocab is missing");
    expect_refused("{'model':{'type':'BPE','vocab':{}}}", TEMPERA_FORMAT, "merges is missing");
    expect_refused("{'model':{'type':'BPE','vocab':{},'vocab':{},'merges':[]}}", TEMPERA_FORMAT, "once");
    expect_refused("{'model':{'vocab':{'a':-1},'merges':[]}}", TEMPERA_FORMAT, "\"a\": expected an id from 0");
    expect_refused("{'model':{'vocab':{'a':1.5},'merges':[]}}", TEMPERA_FORMAT, "\"a\"");
    expect_refused("{'model':{'vocab':{'a':1e3},'merges':[]}}", TEMPERA_FORMAT, "\"a\"");
    expect_refused("{'model':{'vocab':{'a':'0'},'merges':[]}}", TEMPERA_FORMAT, "\"a\"");
    expect_refused("{'model':{'vocab':{'a':4194304},'merges':[]}}", TEMPERA_FORMAT, "4194303");
    expect_refused("{'model':{'vocab':{'a':18446744073709551617},'merges':[]}}", TEMPERA_FORMAT, "\"a\"");
    expect_refused("{'model':{'vocab':{'a':0,'b':0},'merges':[]}}", TEMPERA_FORMAT, "\"a\" and \"b\" both have id 0");
    expect_refused("{'model':{'vocab':{'a':0,'a':1},'merges':[]}}", TEMPERA_FORMAT, "\"a\" appears twice");
    expect_refused("{'model':{'vocab':{'a':0},'merges':['a b']}}", TEMPERA_FORMAT, "\"a\" and \"b\": the second is");
    expect_refused("{'model':{'vocab':{'a':0,'b':1},'merges':['a b']}}", TEMPERA_FORMAT, "the two joined are not");
    expect_refused("{'model':{'vocab':{'a':0,'b':1},'merges':[['b','c']]}}", TEMPERA_FORMAT, "\"b\" and \"c\"");
    expect_refused("{'model':{'vocab':{'a':0},'merges':['a']}}", TEMPERA_FORMAT, "merge 0: \"a\"");
    expect_refused("{'model':{'vocab':{'a':0},'merges':['']}}", TEMPERA_FORMAT, "merge 0");
    expect_refused("{'model':{'vocab':{'a':0},'merges':[['a']]}}", TEMPERA_FORMAT, "a piece");
    expect_refused("{'model':{'vocab':{'a':0},'merges':[['a','a','a']]}}", TEMPERA_FORMAT, "two pieces");
    expect_refused("{'model':{'vocab':{'a':0},'merges':[7]}}", TEMPERA_FORMAT, "a merge");
    expect_refused("{'model':{'vocab':{'##':0,'#':1},'merges':[['##','#']],'continuing_subword_prefix':'##'}}",
                   TEMPERA_FORMAT, "merge 0");
    expect_refused("{'model':{'vocab':{'a':0},'merges':[],'fuse_unk':'yes'}}", TEMPERA_FORMAT, "fuse_unk");
}

Test(hostile, components) {
    static const char deep[] = "'pre_tokenizer':{'type':'Sequence','pretokenizers':[{'type':'Sequence'}]}";
    expect_component_refused("'normalizer':[]", TEMPERA_FORMAT, "normalizer: expected an object");
    expect_component_refused("'normalizer':{}", TEMPERA_FORMAT, "type is missing");
    expect_component_refused("'normalizer':{'type':7}", TEMPERA_FORMAT, "type");
    expect_component_refused("'normalizer':{'type':'Replace','content':'a'}", TEMPERA_FORMAT, "pattern");
    expect_component_refused("'normalizer':{'type':'Replace','pattern':{'String':'a'}}", TEMPERA_FORMAT, "content");
    expect_component_refused("'normalizer':{'type':'Replace','pattern':{'String':'a','Regex':'a'},'content':'a'}",
                             TEMPERA_FORMAT, "pattern");
    expect_component_refused("'normalizer':{'type':'Replace','pattern':{'Regex':'(a'},'content':'a'}",
                             TEMPERA_UNSUPPORTED, "normalizer: expression \"(a\"");
    expect_component_refused(deep, TEMPERA_FORMAT, "pretokenizers");
    expect_component_refused("'pre_tokenizer':{'type':'Split','pattern':{'String':'a'}}", TEMPERA_FORMAT, "behavior");
    expect_component_refused("'pre_tokenizer':{'type':'Split','pattern':{'String':'a'},'behavior':'Odd'}",
                             TEMPERA_UNSUPPORTED, "\"Odd\"");
    expect_component_refused("'pre_tokenizer':{'type':'Metaspace','replacement':'ab'}", TEMPERA_FORMAT,
                             "one character");
    expect_component_refused("'pre_tokenizer':{'type':'Metaspace','prepend_scheme':'maybe'}", TEMPERA_UNSUPPORTED,
                             "maybe");
    expect_component_refused("'pre_tokenizer':{'type':'Metaspace','prepend_scheme':'first','add_prefix_space':false}",
                             TEMPERA_FORMAT, "contradicts");
    expect_component_refused("'decoder':{'type':'Strip','content':'ab'}", TEMPERA_FORMAT, "one character");
    expect_component_refused("'decoder':{'type':'Strip','start':1000}", TEMPERA_FORMAT, "start");
    expect_component_refused("'decoder':{'type':'Sequence','decoders':[{'type':'Fuse'},{'type':'Strip','stop':1}]}",
                             TEMPERA_UNSUPPORTED, "at the end");
    expect_component_refused("'decoder':{'type':'Sequence','decoders':[{'type':'Fuse'},{'type':'Replace','pattern':"
                             "{'String':'a'},'content':'b'}]}",
                             TEMPERA_UNSUPPORTED, "Replace on the whole text");
}

Test(hostile, added_tokens) {
    expect_component_refused("'added_tokens':{}", TEMPERA_FORMAT, "a list");
    expect_component_refused("'added_tokens':[7]", TEMPERA_FORMAT, "content is missing");
    expect_component_refused("'added_tokens':[{'content':'x'}]", TEMPERA_FORMAT, "\"x\": id is missing");
    expect_component_refused("'added_tokens':[{'content':'x','id':-1}]", TEMPERA_FORMAT, "id");
    expect_component_refused("'added_tokens':[{'content':'x','id':4194304}]", TEMPERA_FORMAT, "id");
    expect_component_refused("'added_tokens':[{'content':'x','id':1}]", TEMPERA_FORMAT, "\"b\" and \"x\"");
    expect_component_refused("'added_tokens':[{'content':'x','id':9},{'content':'y','id':9}]", TEMPERA_FORMAT, "id 9");
    expect_component_refused("'added_tokens':[{'content':'x','id':9,'special':1}]", TEMPERA_FORMAT, "special");
    char part[4000] = "";
    snprintf(part, sizeof part, "{'added_tokens':[{'content':'%01500d','id':9}]," MODEL "}", 0);
    expect_refused(part, TEMPERA_UNSUPPORTED, "at most 1024");
}

Test(hostile, post_processors) {
    expect_component_refused("'post_processor':{'type':'BertProcessing','cls':['a',0]}", TEMPERA_FORMAT, "sep");
    expect_component_refused("'post_processor':{'type':'BertProcessing','cls':['a',0],'sep':['b',77]}", TEMPERA_FORMAT,
                             "77 is not an id");
    expect_component_refused("'post_processor':{'type':'BertProcessing','cls':['a',0],'sep':['b',0.5]}", TEMPERA_FORMAT,
                             "0.5 is not an id");
    expect_component_refused("'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'<s>'}},"
                             "{'Sequence':{'id':'A'}}],'special_tokens':{}}",
                             TEMPERA_FORMAT, "\"<s>\", which special_tokens does not have");
    expect_component_refused("'post_processor':{'type':'TemplateProcessing','single':[]}", TEMPERA_UNSUPPORTED,
                             "0 times");
    expect_component_refused("'post_processor':{'type':'TemplateProcessing','single':[{'Sequence':{'id':'A'}},"
                             "{'Sequence':{'id':'A'}}]}",
                             TEMPERA_UNSUPPORTED, "2 times");
    expect_component_refused("'post_processor':{'type':'TemplateProcessing','single':['$A']}", TEMPERA_FORMAT,
                             "SpecialToken or Sequence");
}

/* A Sequence with `count` members, or nested `count` deep around one. */
static void repeat_component(struct buf *json, const char *part, const char *list, const char *member, int count,
                             bool nested) {
    *json = (struct buf){.max = 1 << 24};
    buf_printf(json, NULL, "{'%s':", part);
    for (int i = 0; nested && i < count; i++) buf_printf(json, NULL, "{'type':'Sequence','%s':[", list);
    if (!nested) buf_printf(json, NULL, "{'type':'Sequence','%s':[", list);
    for (int i = 0; i < (nested ? 1 : count); i++) buf_printf(json, NULL, "%s%s", i ? "," : "", member);
    for (int i = 0; i < (nested ? count : 1); i++) buf_append_text(json, "]}", NULL);
    buf_append_text(json, "," MODEL "}", NULL);
}

Test(hostile, sequences_are_bounded) {
    static const char *const parts[][3] = {{"normalizer", "normalizers", "{'type':'NFC'}"},
                                           {"pre_tokenizer", "pretokenizers", "{'type':'Digits'}"},
                                           {"decoder", "decoders", "{'type':'Fuse'}"},
                                           {"post_processor", "processors", "{'type':'ByteLevel'}"}};
    for (size_t i = 0; i < 4; i++) {
        struct buf json;
        tempera_error err;
        repeat_component(&json, parts[i][0], parts[i][1], parts[i][2], 1000, false);
        expect_refused(json.data, TEMPERA_UNSUPPORTED, "more than 64 steps");
        buf_free(&json);
        repeat_component(&json, parts[i][0], parts[i][1], parts[i][2], 64, false);
        cr_expect_eq(parse_status(json.data, &err), TEMPERA_OK, "%s", err.message);
        buf_free(&json);
        repeat_component(&json, parts[i][0], parts[i][1], parts[i][2], 1000, true);
        expect_refused(json.data, TEMPERA_FORMAT, "nested more than");
        buf_free(&json);
    }
}

/* Steps that double the text 64 times would make 2^64 bytes of one. */
Test(hostile, text_does_not_grow_without_end) {
    static const char doubling[] = "{'type':'Replace','pattern':{'String':'a'},'content':'aa'}";
    static const char spelling[] = "{'type':'ByteLevel','add_prefix_space':true,'use_regex':false}";
    char text[1000];
    memset(text, 'a', sizeof text);
    for (int round = 0; round < 2; round++) {
        struct buf json;
        struct tokenizer *t;
        struct ids ids = {0};
        tempera_error err = {0};
        if (round == 0)
            repeat_component(&json, "normalizer", "normalizers", doubling, 64, false);
        else
            repeat_component(&json, "pre_tokenizer", "pretokenizers", spelling, 64, false);
        for (char *c = json.data; *c; c++)
            if (*c == '\'') *c = '"';
        cr_assert_eq(tokenizer_parse(&t, json.data, json.length, "test", &err), TEMPERA_OK, "%s", err.message);
        cr_expect_eq(tokenizer_encode(t, text, sizeof text, 0, &ids, &err), TEMPERA_TOO_LONG);
        cr_expect_eq(ids.count, 0);
        ids_free(&ids);
        tokenizer_free(t);
        buf_free(&json);
    }
}

Test(hostile, decoders_do_not_grow_without_end) {
    struct buf json = {.max = 1 << 26};
    tempera_error err;
    buf_append_text(&json, "{'decoder':{'type':'Replace','pattern':{'String':''},'content':'", NULL);
    for (int i = 0; i < 1000; i++) buf_append_text(&json, "0123456789", NULL);
    buf_append_text(&json, "'},'model':{'merges':[],'vocab':{'a':0", NULL);
    for (int i = 1; i < 20000; i++) buf_printf(&json, NULL, ",'%d':%d", i, i);
    buf_append_text(&json, "}}}", NULL);
    cr_expect_neq(parse_status(json.data, &err), TEMPERA_OK);
    cr_expect(strstr(err.message, "decoder"), "%s", err.message);
    buf_free(&json);
}

Test(hostile, far_ids_cost_little) {
    tempera_error err;
    cr_expect_eq(parse_status("{'model':{'vocab':{'a':4194303},'merges':[]}}", &err), TEMPERA_OK, "%s", err.message);
}

Test(hostile, a_hostile_expression_fails_the_text_not_the_program, .timeout = 30) {
    static const struct spec spec = {
        .pieces = "a", .pre_tokenizer = "{'type':'Split','pattern':{'Regex':'(a*)*[bc]'},'behavior':'Isolated'}"};
    struct tokenizer *t = spec_open(&spec);
    char text[5000];
    struct ids ids = {0};
    tempera_error err;
    memset(text, 'a', sizeof text);
    cr_expect_eq(tokenizer_encode(t, text, sizeof text, 0, &ids, &err), TEMPERA_TOO_LONG);
    cr_expect(strstr(err.message, "test/tokenizer.json: pre_tokenizer: the expression needs"), "%s", err.message);
    cr_expect_eq(tokenizer_encode(t, text, 10, 0, &ids, &err), TEMPERA_OK);
    cr_expect_eq(ids.count, 10);
    ids_free(&ids);
    tokenizer_free(t);
}

Test(hostile, long_runs_are_not_quadratic, .timeout = 60) {
    static const struct spec spec = {.byte_alphabet = true,
                                     .pre_tokenizer = "{'type':'ByteLevel','use_regex':true}",
                                     .merges = "a a|aa aa|Ġ Ġ|ĠĠ ĠĠ",
                                     .added = "{'id':999,'content':' ','lstrip':true,'rstrip':true}"};
    enum { LENGTH = 1 << 20 };
    struct tokenizer *t = spec_open(&spec);
    char *text = mem_alloc(LENGTH);
    struct ids ids = {0};
    for (const char *c = "a \n\xFF"; *c; c++) {
        memset(text, *c, LENGTH);
        cr_expect_eq(tokenizer_encode(t, text, LENGTH, 0, &ids, NULL), TEMPERA_OK);
    }
    mem_free(text);
    ids_free(&ids);
    tokenizer_free(t);
}

/* Every allocation of opening, encoding and decoding fails once. */
Test(hostile, memory_that_runs_out, .timeout = 120) {
    static const struct spec spec = {
        .byte_alphabet = true,
        .normalizer = "{'type':'Sequence','normalizers':[{'type':'NFC'},{'type':'Lowercase'}]}",
        .pre_tokenizer = "{'type':'Sequence','pretokenizers':[{'type':'Split','pattern':{'Regex':'[0-9]'},'behavior':"
                         "'Isolated'},{'type':'ByteLevel','add_prefix_space':true,'use_regex':true},"
                         "{'type':'Digits'}]}",
        .decoder = "{'type':'Sequence','decoders':[{'type':'Replace','pattern':{'Regex':'x+'},'content':'y'},"
                   "{'type':'ByteLevel'}]}",
        .post_processor = "{'type':'BertProcessing','cls':['!',0],'sep':['!',0]}",
        .merges = "a b|ab c",
        .added = "{'id':900,'content':'<s>','special':true},{'id':901,'content':'Tok','normalized':true}"};
    static const char text[] =
        "abc e\xCC\x81 Tok<s> \xFF 12 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct buf json;
    spec_json(&json, &spec);
    size_t live = mem_stats_get().live;
    for (long n = 0, done = 0; !done; n++) {
        struct tokenizer *t = NULL;
        struct ids ids = {0};
        struct buf out = {.max = 1000};
        tempera_error err;
        mem_fail_after(n);
        tempera_status status = tokenizer_parse(&t, json.data, json.length, "test", &err);
        if (status == TEMPERA_OK) status = tokenizer_encode(t, text, sizeof text, ENCODE_SPECIAL, &ids, &err);
        if (status == TEMPERA_OK) status = tokenizer_decode(t, ids.data, ids.count, true, &out, &err);
        mem_fail_after(-1);
        cr_expect(status == TEMPERA_OK || status == TEMPERA_OUT_OF_MEMORY, "allocation %ld: %s", n, err.message);
        done = status == TEMPERA_OK;
        tokenizer_free(t);
        ids_free(&ids);
        buf_free(&out);
        cr_assert_eq(mem_stats_get().live, live, "allocation %ld leaks", n);
    }
    buf_free(&json);
}
