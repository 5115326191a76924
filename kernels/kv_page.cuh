// kv_page.cuh: where one token's keys and values lie in the pages of a layer (kernels.h, KV PAGES).
#pragma once

#include "kernels/device.cuh"
#include "kernels/kernels.h"

namespace dev {

// Element offset of token `slot` and KV head h in K pages (rows of W), and of its column in V pages (W rows).
DEV int64_t key_row(int32_t slot, int32_t h, int32_t Hkv, int32_t W) {
    return (((int64_t)(slot / KV_PAGE_TOKENS) * Hkv + h) * KV_PAGE_TOKENS + slot % KV_PAGE_TOKENS) * W;
}
DEV int64_t value_column(int32_t slot, int32_t h, int32_t Hkv, int32_t W) {
    return ((int64_t)(slot / KV_PAGE_TOKENS) * Hkv + h) * W * KV_PAGE_TOKENS + slot % KV_PAGE_TOKENS;
}

} // namespace dev
