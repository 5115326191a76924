/* test_tokenizer_files.c: model folders: which files are read, and what the smaller ones add. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "support.h"
#include "text_support.h"

static void write_text(const char *folder, const char *name, const char *text) {
    struct buf out = {.max = 1 << 20};
    for (const char *c = text; *c; c++) cr_assert_eq(buf_append(&out, *c == '\'' ? "\"" : c, 1, NULL), TEMPERA_OK);
    char *path = test_write(folder, name, out.data ? out.data : "", out.length);
    cr_assert_not_null(path);
    mem_free(path);
    buf_free(&out);
}

static struct tokenizer *open_folder(const char *folder) {
    struct tokenizer *t;
    tempera_error err = {0};
    cr_assert_eq(tokenizer_open(&t, folder, &err), TEMPERA_OK, "%s", err.message);
    return t;
}

static void expect_open_fails(const char *folder, tempera_status status, const char *words) {
    struct tokenizer *t;
    tempera_error err = {0};
    cr_expect_eq(tokenizer_open(&t, folder, &err), status, "%s", err.message);
    cr_expect_null(t);
    cr_expect(strstr(err.message, words), "%s", err.message);
    cr_expect(strstr(err.message, folder), "%s", err.message);
}

static const char tiny[] =
    "{'added_tokens':[{'id':2,'content':'<s>','special':true},{'id':3,'content':'</s>','special':"
    "true}],'model':{'type':'BPE','vocab':{'a':0,'b':1},'merges':[]}}";

Test(files, nothing_to_open) {
    char *folder = test_folder_create();
    expect_open_fails(folder, TEMPERA_IO, "no tokenizer.json");
    write_text(folder, "vocab.json", "{'a':0}");
    expect_open_fails(folder, TEMPERA_IO, "no tokenizer.json");
    test_folder_remove(folder);
    struct tokenizer *t;
    tempera_error err;
    cr_expect_eq(tokenizer_open(&t, "/does/not/exist", &err), TEMPERA_IO);
}

Test(files, errors_name_the_file) {
    char *folder = test_folder_create();
    write_text(folder, "tokenizer.json", "{'model':{'type':'Unigram'}}");
    expect_open_fails(folder, TEMPERA_UNSUPPORTED, "/tokenizer.json: model type \"Unigram\" is not supported (BPE is)");
    write_text(folder, "tokenizer.json", tiny);
    write_text(folder, "tokenizer_config.json", "{'bos_token':");
    expect_open_fails(folder, TEMPERA_FORMAT, "tokenizer_config.json");
    test_folder_remove(folder);
}

Test(files, bos_and_eos) {
    char *folder = test_folder_create();
    write_text(folder, "tokenizer.json", tiny);
    struct tokenizer *t = open_folder(folder);
    cr_expect_eq(tokenizer_bos(t), -1);
    cr_expect_eq(tokenizer_eos(t), -1);
    tokenizer_free(t);
    write_text(folder, "special_tokens_map.json", "{'bos_token':{'content':'<s>'},'eos_token':'b'}");
    write_text(folder, "tokenizer_config.json", "{'bos_token':null,'eos_token':{'content':'</s>','lstrip':false}}");
    t = open_folder(folder);
    cr_expect_eq(tokenizer_bos(t), 2); /* from the map */
    cr_expect_eq(tokenizer_eos(t), 3); /* the config goes first */
    tokenizer_free(t);
    write_text(folder, "tokenizer_config.json", "{'bos_token':'missing','eos_token':7}");
    t = open_folder(folder);
    cr_expect_eq(tokenizer_bos(t), 2);
    cr_expect_eq(tokenizer_eos(t), 1);
    tokenizer_free(t);
    test_folder_remove(folder);
}

Test(files, bos_and_eos_added_as_the_class_does) {
    static const struct {
        const char *config, *pieces;
    } cases[] = {
        {"{'bos_token':'<s>','eos_token':'</s>','add_bos_token':true,'tokenizer_class':'LlamaTokenizer'}", "<s>|a"},
        {"{'bos_token':'<s>','eos_token':'</s>','add_bos_token':true,'add_eos_token':true,'tokenizer_class':"
         "'GemmaTokenizerFast'}",
         "<s>|a|</s>"},
        {"{'bos_token':'<s>','eos_token':'</s>','add_bos_token':false,'tokenizer_class':'LlamaTokenizerFast'}", "a"},
        {"{'bos_token':'<s>','tokenizer_class':'LlamaTokenizer'}", "b|a|b"},
        {"{'bos_token':'<s>','add_bos_token':true,'tokenizer_class':'GPT2Tokenizer'}", "b|a|b"},
    };
    char *folder = test_folder_create();
    write_text(folder, "tokenizer.json",
               "{'added_tokens':[{'id':2,'content':'<s>'},{'id':3,'content':'</s>'}],'model':{'type':'BPE','vocab':"
               "{'a':0,'b':1},'merges':[]},'post_processor':{'type':'BertProcessing','cls':['b',1],'sep':['b',1]}}");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(folder, "tokenizer_config.json", cases[i].config);
        struct tokenizer *t = open_folder(folder);
        expect_pieces(t, "a", ENCODE_SPECIAL, cases[i].pieces);
        expect_pieces(t, "a", 0, "a");
        tokenizer_free(t);
    }
    test_folder_remove(folder);
}

Test(files, tokens_that_only_the_config_has) {
    char *folder = test_folder_create();
    write_text(folder, "tokenizer.json", tiny);
    write_text(
        folder, "tokenizer_config.json",
        "{'added_tokens_decoder':{'7':{'content':'<x>','special':true},'3':{'content':'<y>'},'x':{'content':'z'},"
        "'2':{'content':'<s>','special':false},'99999999999':{'content':'far'}}}");
    struct tokenizer *t = open_folder(folder);
    cr_expect_eq(tokenizer_find(t, "<x>", 3), 7);
    cr_expect(tokenizer_is_special(t, 7));
    cr_expect(tokenizer_is_special(t, 2)); /* tokenizer.json holds */
    cr_expect_eq(tokenizer_find(t, "<y>", 3), -1);
    cr_expect_eq(tokenizer_vocab_size(t), 8);
    tokenizer_free(t);
    test_folder_remove(folder);
}

Test(files, vocab_and_merges) {
    char *folder = test_folder_create();
    write_text(folder, "encoder.json", "{'a':0,'b':1,'ab':2,'Ġ':3,'Ġab':4,'<|endoftext|>':5,'!':6,'<pad>':7,'c':8}");
    write_text(folder, "vocab.bpe", "#version: 0.2\na b\r\n\nĠ ab\n");
    struct tokenizer *t = open_folder(folder);
    expect_pieces(t, "ab ab!<|endoftext|>ab", 0, "ab|Ġab|!|<|endoftext|>|ab");
    expect_decoded(t, "ab|Ġab|!", false, "ab ab!");
    cr_expect(tokenizer_is_special(t, 5) && !tokenizer_is_special(t, 7));
    cr_expect_eq(tokenizer_bos(t), 5);
    cr_expect_eq(tokenizer_eos(t), 5);
    tokenizer_free(t);

    write_text(folder, "added_tokens.json", "{'<new>':10}");
    write_text(folder, "special_tokens_map.json", "{'pad_token':'<pad>','eos_token':'<new>'}");
    write_text(folder, "tokenizer_config.json", "{'tokenizer_class':'GPT2Tokenizer','add_prefix_space':true}");
    t = open_folder(folder);
    expect_pieces(t, "ab<new>", 0, "Ġab|<new>");
    cr_expect(tokenizer_is_special(t, 7) && tokenizer_is_special(t, 10));
    cr_expect_eq(tokenizer_eos(t), 10);
    tokenizer_free(t);

    write_text(folder, "tokenizer_config.json", "{'tokenizer_class':'CLIPTokenizer'}");
    expect_open_fails(folder, TEMPERA_UNSUPPORTED, "\"CLIPTokenizer\"");
    write_text(folder, "tokenizer_config.json", "{}");
    write_text(folder, "vocab.bpe", "a b c\n");
    expect_open_fails(folder, TEMPERA_FORMAT, "vocab.bpe: merge 0: \"a b c\"");
    write_text(folder, "vocab.bpe", "a z\n");
    expect_open_fails(folder, TEMPERA_FORMAT, "\"z\"");
    write_text(folder, "encoder.json", "[1]");
    expect_open_fails(folder, TEMPERA_FORMAT, "encoder.json");
    test_folder_remove(folder);
}
