/* gguf_arch.c: the names are those of gguf-py's constants.py (MODEL_TENSORS). */
#include "model/gguf_arch.h"

#include <string.h>

/* A bias is there when the file has it: its keys do not say. */
static enum bias_rule by_file(enum bias_rule rule) {
    return rule == BIAS_ATTENTION || rule == BIAS_MLP ? BIAS_OPTIONAL : rule;
}

void gguf_arch(struct arch *row, const struct arch *family, const struct tensor_set *set) {
    struct arch r = *family;
    const bool fused_qkv = tensor_set_find(set, "blk.0.attn_qkv.weight");
    const bool split_up = r.up[1] != NULL;
    r.prefix = "";
    r.layer = "blk.";
    memset(r.head, 0, sizeof r.head);
    r.head[0] = "output";
    r.embed = "token_embd";
    r.positions = "position_embd";
    r.final_norm = "output_norm";

    r.attention_norm = "attn_norm";
    if (r.mlp_norm) r.mlp_norm = "ffn_norm";
    if (r.attention_post_norm) r.attention_post_norm = "post_attention_norm";
    if (r.mlp_post_norm) r.mlp_post_norm = "post_ffw_norm";
    if (r.q_norm) r.q_norm = "attn_q_norm";
    if (r.k_norm) r.k_norm = "attn_k_norm";
    r.attention_out = "attn_output";
    r.up[0] = split_up ? "ffn_gate" : "ffn_up";
    if (split_up) r.up[1] = "ffn_up";
    r.down = "ffn_down";

    r.qkv_layout = fused_qkv ? QKV_ROWS : QKV_SPLIT;
    memcpy(r.qkv, fused_qkv ? (const char *const[3]){"attn_qkv"} : (const char *const[3]){"attn_q", "attn_k", "attn_v"},
           sizeof r.qkv);
    r.qk_woven = strcmp(r.family, "llama") == 0;

    memset(r.ignored, 0, sizeof r.ignored);
    r.ignored[0] = "attn_rot_embd.weight"; /* of old files */
    r.elsewhere[0] = "rope_freqs.weight";
    r.elsewhere[1] = "rope_factors_long.weight";
    r.elsewhere[2] = "rope_factors_short.weight";

    r.transposed = false;
    r.norm_plus_one = false;
    r.qkv_bias = by_file(r.qkv_bias);
    r.attention_out_bias = by_file(r.attention_out_bias);
    r.mlp_bias = by_file(r.mlp_bias);
    *row = r;
}
