// test_attention_kernels.cpp: the attention kernels by themselves: contract A (decode, prefill in any pieces, launch sizes,
// pages and neighbours give the same bits), and the distance to double precision. Runs on the emulation, and built with the
// real runtime on a GPU.
#include "kernel_test.h"

namespace {

const char *const NAMES[] = {"f32", "f16", "bf16"};

// Of one rounding to the element, relative.
double unit_of(element e) {
    return e == ELEMENT_F32 ? 0x1p-24 : e == ELEMENT_F16 ? 0x1p-11 : 0x1p-8;
}

struct Heads {
    int32_t H, Hkv, Dh, window;
    float softcap;
};

// Queries, keys and values of `length` tokens; keys and values are rounded to the element already.
struct Sequence {
    int32_t length;
    std::vector<float> q, k, v; // [length, H, Dh], [length, Hkv, Dh]
    Sequence(const Heads &h, element e, int32_t tokens, uint64_t seed) : length(tokens) {
        Random random = {seed};
        for (int32_t i = 0; i < length * h.H * h.Dh; i++) q.push_back(random.normal());
        for (int32_t i = 0; i < length * h.Hkv * h.Dh; i++) k.push_back(rounded(e, random.normal()));
        for (int32_t i = 0; i < length * h.Hkv * h.Dh; i++) v.push_back(rounded(e, random.normal()));
    }
};

// A piece of a sequence in a step: queries first … first + count - 1. Keys of later tokens are garbage, as they would be.
struct Piece {
    int32_t sequence, first, count;
    bool decode;
};

// How a step is launched: what must not show.
struct Launch {
    uint64_t page_seed;
    int32_t padding, more_chunks;
};

int32_t pages_of(int32_t tokens) {
    return (tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
}

// The outputs [T][H Dh] of a step of pieces, as bytes without an operand's padding. Pages hold NaN and infinity in every slot
// that no visible token owns.
std::vector<uint8_t> attend(const Heads &h, element e, element out_element, const std::vector<Sequence> &sequences,
                            const std::vector<Piece> &pieces, Launch launch = {1, 0, 0}) {
    const int32_t W = kv_width(h.Dh), S = (int32_t)pieces.size();
    const size_t row = (size_t)(h.H + 2 * h.Hkv) * (size_t)h.Dh;
    int32_t T = 0, pages = 1;
    for (const Piece &p : pieces) T += p.count, pages += pages_of(p.first + p.count);
    std::vector<int32_t> order((size_t)pages);
    Random random = {launch.page_seed};
    for (int32_t i = 0; i < pages; i++) order[(size_t)i] = i;
    for (size_t i = order.size() - 1; i > 0; i--)
        std::swap(order[i], order[(size_t)(random.uniform() * (double)(i + 1))]);

    std::vector<uint8_t> k((size_t)(pages * h.Hkv * KV_PAGE_TOKENS * W) * size_of(e)), v(k.size());
    for (int32_t head = 0; head < pages * h.Hkv; head++)
        for (int32_t t = 0; t < KV_PAGE_TOKENS; t++)
            for (int32_t d = 0; d < h.Dh; d++) {
                const float garbage = (t + d) % 3 ? NAN : INFINITY;
                put(k, e, (size_t)((head * KV_PAGE_TOKENS + t) * W + d), garbage);
                put(v, e, (size_t)((head * W + d) * KV_PAGE_TOKENS + t), garbage);
            }
    std::vector<int32_t> position, slot, query_start = {0}, page_start = {0}, page, decode;
    std::vector<query_block> blocks;
    std::vector<float> qkv;
    const int32_t tokens = attention_query_tokens(e, h.H, h.Hkv, h.Dh);
    int32_t chunks = 1;
    for (int32_t s = 0; s < S; s++) {
        const Piece &p = pieces[(size_t)s];
        const Sequence &from = sequences[(size_t)p.sequence];
        for (int32_t i = 0; i < pages_of(p.first + p.count); i++) page.push_back(order[page.size()]);
        for (int32_t t = 0; t < p.first + p.count; t++)
            for (int32_t g = 0; g < h.Hkv; g++)
                for (int32_t d = 0; d < h.Dh; d++) {
                    const int32_t head = page[(size_t)(page_start.back() + t / KV_PAGE_TOKENS)] * h.Hkv + g;
                    const size_t at = (size_t)((t * h.Hkv + g) * h.Dh + d);
                    put(k, e, (size_t)((head * KV_PAGE_TOKENS + t % KV_PAGE_TOKENS) * W + d), from.k[at]);
                    put(v, e, (size_t)((head * W + d) * KV_PAGE_TOKENS + t % KV_PAGE_TOKENS), from.v[at]);
                }
        if (p.decode) {
            decode.push_back(s);
            chunks = std::max(chunks, (p.first + ATTENTION_CHUNK) / ATTENTION_CHUNK);
        } else {
            for (int32_t at = 0; at < p.count; at += tokens)
                blocks.push_back({s, (int32_t)position.size() + at, std::min(tokens, p.count - at)});
        }
        for (int32_t t = p.first; t < p.first + p.count; t++) {
            position.push_back(t);
            slot.push_back(page[(size_t)(page_start.back() + t / KV_PAGE_TOKENS)] * KV_PAGE_TOKENS +
                           t % KV_PAGE_TOKENS);
            const size_t at = qkv.size();
            qkv.resize(at + row, NAN); // k and v of qkv are not looked at
            std::copy_n(&from.q[(size_t)(t * h.H * h.Dh)], h.H * h.Dh, &qkv[at]);
        }
        query_start.push_back((int32_t)position.size());
        page_start.push_back((int32_t)page.size());
    }
    for (int32_t i = 0; i < launch.padding; i++) {
        decode.push_back(-1);
        blocks.push_back({-1, 0, 0});
        position.push_back(-1);
        slot.push_back(-1);
        query_start.push_back(query_start.back());
        page_start.push_back(page_start.back());
    }
    chunks += launch.more_chunks;

    const int32_t width = h.H * h.Dh, stride = out_element == ELEMENT_F32 ? width : operand_stride(width);
    const size_t out_row = (size_t)stride * size_of(out_element),
                 counters = decode.size() * (size_t)(h.Hkv * ((h.H / h.Hkv + 15) / 16));
    Stream stream;
    Device d_k(k), d_v(v), d_qkv(qkv), d_position(position), d_slot(slot), d_query(query_start), d_start(page_start),
        d_page(page), d_decode(decode), d_blocks(blocks), d_counters(std::vector<uint32_t>(counters, 0u)),
        d_states(attention_state_bytes((int32_t)decode.size(), chunks, h.H, h.Hkv, h.Dh)),
        d_out(std::vector<uint8_t>((size_t)T * out_row, 0xFF));
    attention_args args = {};
    args.out = d_out.data, args.out_element = out_element;
    args.qkv = d_qkv.as<float>(), args.k = d_k.data, args.v = d_v.data, args.element = e;
    args.scale = 1 / std::sqrt((float)h.Dh), args.softcap = h.softcap, args.window = h.window;
    args.H = h.H, args.Hkv = h.Hkv, args.Dh = h.Dh, args.T = T + launch.padding;
    args.decode = d_decode.as<int32_t>(), args.decode_count = (int32_t)decode.size(), args.chunks = chunks;
    args.states = d_states.as<float>(), args.counters = d_counters.as<uint32_t>();
    args.block = d_blocks.as<query_block>(), args.block_count = (int32_t)blocks.size();
    args.step.position = d_position.as<int32_t>(), args.step.slot = d_slot.as<int32_t>();
    args.step.query_start = d_query.as<int32_t>(), args.step.page_start = d_start.as<int32_t>();
    args.step.page = d_page.as<int32_t>();
    ok(attention_decode_launch(&args, stream.stream));
    ok(attention_prefill_launch(&args, stream.stream));
    ok(cudaStreamSynchronize(stream.stream));
    for (uint32_t count : d_counters.read<uint32_t>()) cr_assert_eq(count, 0u, "a counter was left at %u", count);

    const std::vector<uint8_t> all = d_out.read<uint8_t>();
    std::vector<uint8_t> out;
    for (int32_t t = 0; t < T; t++) {
        const auto first = all.begin() + (std::ptrdiff_t)((size_t)t * out_row);
        out.insert(out.end(), first, first + (std::ptrdiff_t)((size_t)width * size_of(out_element)));
        for (size_t i = (size_t)width * size_of(out_element); i < out_row; i++)
            cr_assert_eq(first[(std::ptrdiff_t)i], 0, "an operand's row is not zero beyond H Dh");
    }
    return out;
}

void same(const std::vector<uint8_t> &got, const uint8_t *want, size_t bytes, const char *what, const Heads &h,
          element e) {
    cr_assert_eq(got.size(), bytes);
    cr_assert(memcmp(got.data(), want, bytes) == 0, "%s, %s, %d heads over %d of width %d, window %d: other bits", what,
              NAMES[e], h.H, h.Hkv, h.Dh, h.window);
}

// One query in double precision, and what the kernel may differ by: scores are sums of steps of 16 products (F32: 8, thrice),
// each within 2^-22 of the absolute sum; then a few roundings of fp32 (the cap: 8); weights are rounded to the element, their
// exponential is within 2 units, and each rise of the maximum scales what came before (two roundings a tile); the result is
// rounded to the output's element. `query` is rounded to the element by the kernel.
struct Bounded {
    std::vector<double> value, bound;
};
Bounded reference(const Heads &h, element e, element out_element, const Sequence &s, int32_t t, int32_t head) {
    const double u = 0x1p-24, scale = 1 / std::sqrt((double)h.Dh);
    const int32_t first = h.window > 0 ? std::max(0, t - h.window + 1) : 0, kv_head = head / (h.H / h.Hkv);
    const auto steps = [&](int32_t n) {
        return e == ELEMENT_F32 ? 3.0 * (n / 8 + 1) * 0x1p-22 + 0x1p-20 : (n / 16 + 1) * 0x1p-22;
    };
    std::vector<double> score;
    double most = -INFINITY, error = 0;
    for (int32_t j = first; j <= t; j++) {
        double dot = 0, size = 0;
        for (int32_t d = 0; d < h.Dh; d++) {
            const double product = (double)rounded(e, s.q[(size_t)((t * h.H + head) * h.Dh + d)]) *
                                   (double)s.k[(size_t)((j * h.Hkv + kv_head) * h.Dh + d)];
            dot += product, size += std::fabs(product);
        }
        double x = dot * scale, off = size * scale * (steps(h.Dh) + 4 * u);
        if (h.softcap > 0) x = (double)h.softcap * std::tanh(x / (double)h.softcap), off += 8 * u * std::fabs(x);
        off += 4 * u * std::fabs(x);
        score.push_back(x);
        most = std::max(most, x);
        error = std::max(error, off);
    }
    double sum = 0;
    for (double &x : score) sum += x = std::exp(x - most);
    const int32_t keys = t - first + 1;
    const double relative =
        2 * error + u * (60 + 4 * keys / 64.0 + 24) + steps(keys) + (e == ELEMENT_F32 ? 0 : unit_of(e));
    const double tiny = e == ELEMENT_F16 ? 0x1p-25 : 0; // weights below 2^-14 are subnormal
    Bounded r;
    for (int32_t d = 0; d < h.Dh; d++) {
        double o = 0, size = 0, rest = 0;
        for (int32_t j = first; j <= t; j++) {
            const double v = s.v[(size_t)((j * h.Hkv + kv_head) * h.Dh + d)], p = score[(size_t)(j - first)];
            o += p * v, size += std::fabs(p * v), rest += std::fabs(v);
        }
        r.value.push_back(o / sum);
        r.bound.push_back(2 * relative * size / sum + tiny * rest / sum + unit_of(out_element) * std::fabs(o / sum));
    }
    return r;
}

struct Distance {
    double error = 0, bound = 0; // root mean square error; largest share of the bound
    double square = 0, value = 0;
    int64_t count = 0;
};
// Every `stride`-th query of out, all of a sequence's.
void check_queries(const Heads &h, element e, element out_element, const Sequence &s, const std::vector<uint8_t> &out,
                   int32_t first, int32_t count, int32_t stride, Distance &distance) {
    for (int32_t t = count - 1; t >= 0; t -= stride)
        for (int32_t head = 0; head < h.H; head++) {
            const Bounded want = reference(h, e, out_element, s, first + t, head);
            for (int32_t d = 0; d < h.Dh; d++) {
                const double got = get(out.data(), out_element, (size_t)((t * h.H + head) * h.Dh + d));
                const double off = std::fabs(got - want.value[(size_t)d]);
                cr_assert(off <= want.bound[(size_t)d],
                          "%s, %d heads over %d of width %d, query %d, head %d, dim %d: %.9g, not %.9g ± %.2g",
                          NAMES[e], h.H, h.Hkv, h.Dh, first + t, head, d, got, want.value[(size_t)d],
                          want.bound[(size_t)d]);
                distance.bound = std::max(distance.bound, off / want.bound[(size_t)d]);
                distance.error = std::max(distance.error, off);
                distance.square += off * off, distance.value += want.value[(size_t)d] * want.value[(size_t)d];
                distance.count++;
            }
        }
}

enum { C = ATTENTION_CHUNK };
struct Case {
    Heads heads;
    int32_t length;
};
// Every width of pages and a head narrower than its pages; groups of 1, 3, 4, 8 and 70.
const Case CASES[] = {
    {{1, 1, 1, 0, 0}, 3},    {{2, 2, 8, 0, 0}, 1},        {{3, 1, 16, 0, 0}, 33},
    {{4, 1, 32, 0, 0}, 65},  {{4, 2, 29, 0, 0}, 64},      {{3, 3, 48, 0, 0}, 63},
    {{6, 2, 45, 0, 0}, 70},  {{2, 2, 64, 0, 0}, C + 1},   {{8, 1, 80, 0, 0}, 65},
    {{4, 4, 96, 0, 0}, 33},  {{8, 1, 128, 0, 0}, 130},    {{2, 1, 256, 0, 0}, 67},
    {{70, 1, 8, 0, 0}, 9},   {{40, 2, 20, 0, 0}, 13},     {{3, 1, 16, 0, 0}, 3 * C + 17},
    {{1, 1, 64, 1, 0}, 100}, {{2, 1, 64, 37, 0}, C + 40}, {{3, 1, 16, 300, 0}, 3 * C},
    {{2, 1, 32, 0, 5}, 80},  {{4, 2, 80, 50, 30}, 140},   {{1, 1, 16, C, 0}, 2 * C + 5},
    {{3, 1, 130, 0, 0}, 20},
};

} // namespace

// |error| stays within the bound of reference() for one-shot prefill.
Test(attention_kernels, close_to_double_precision) {
    for (element e : ELEMENTS) {
        Distance all;
        for (const Case &c : CASES) {
            const std::vector<Sequence> s = {Sequence(c.heads, e, c.length, 7 + (uint64_t)c.heads.Dh)};
            const std::vector<uint8_t> out = attend(c.heads, e, e, s, {{0, 0, c.length, false}});
            check_queries(c.heads, e, e, s[0], out, 0, c.length, c.length > 100 ? 13 : 1, all);
        }
        fprintf(stderr, "attention, %s: largest error %.2g, %.2f of its bound; relative (rms) %.2g\n", NAMES[e],
                all.error, all.bound, std::sqrt(all.square / all.value));
        cr_expect(e != ELEMENT_F32 || std::sqrt(all.square / all.value) < 1e-5);
    }
}

// A query alone has the bits that it has in a prompt; so has a prompt in pieces, in other pages, among others, in a launch that
// is larger than the step, and with its result as fp32 and rounded.
Test(attention_kernels, decode_is_prefill) {
    for (element e : ELEMENTS)
        for (const Case &c : CASES) {
            const Heads &h = c.heads;
            const size_t row = (size_t)(h.H * h.Dh) * size_of(e);
            std::vector<Sequence> s = {Sequence(h, e, c.length, 11), Sequence(h, e, c.length, 12)};
            for (size_t i = 0; i < s[1].q.size(); i += 5) s[1].q[i] = NAN;
            for (size_t i = 0; i < s[1].k.size(); i += 7) s[1].k[i] = NAN, s[1].v[i] = INFINITY;
            const std::vector<uint8_t> whole = attend(h, e, e, s, {{0, 0, c.length, false}});
            const int32_t queries[] = {0, 1, 62, 63, 64, C - 1, C, C + 1, c.length / 2, c.length - 2, c.length - 1};
            for (int32_t t : queries) {
                if (t < 0 || t >= c.length) continue;
                same(attend(h, e, e, s, {{0, t, 1, true}}, {5, 0, 0}), &whole[(size_t)t * row], row, "decode", h, e);
            }
            const int32_t last = c.length - 1, middle = c.length / 2;
            std::vector<uint8_t> out = attend(
                h, e, e, s, {{1, middle, 1, true}, {0, middle, 1, true}, {1, 0, last, false}, {0, last, 1, true}},
                {8, 3, 2});
            out.erase(out.begin(), out.begin() + (std::ptrdiff_t)row);
            same({out.begin(), out.begin() + (std::ptrdiff_t)row}, &whole[(size_t)middle * row], row, "among others", h,
                 e);
            same({out.end() - (std::ptrdiff_t)row, out.end()}, &whole[(size_t)last * row], row, "among others", h, e);
            for (int32_t first : {1, 17, 63, 64, 65, C - 1, C + 1, 2 * C}) {
                if (first >= c.length) continue;
                const int32_t count = std::min(c.length - first, 100);
                same(attend(h, e, e, s, {{0, first, count, false}}, {9, 1, 0}), &whole[(size_t)first * row],
                     (size_t)count * row, "a later piece", h, e);
            }
            const std::vector<uint8_t> wide =
                attend(h, e, ELEMENT_F32, s, {{0, middle, 1, true}, {0, 0, middle + 1, false}});
            for (size_t i = 0; i < wide.size() / 4; i++) {
                const size_t at =
                    i < (size_t)(h.H * h.Dh) ? (size_t)(middle * h.H * h.Dh) + i : i - (size_t)(h.H * h.Dh);
                const float x = rounded(e, get(wide.data(), ELEMENT_F32, i)), y = get(whole.data(), e, at);
                cr_assert(memcmp(&x, &y, 4) == 0, "%s: fp32 and rounded results differ at %zu", NAMES[e], i);
            }
        }
}

// With one visible key the result is its value.
Test(attention_kernels, one_key_gives_its_value) {
    for (element e : ELEMENTS) {
        const Heads h = {4, 2, 40, 1, 0};
        const std::vector<Sequence> s = {Sequence(h, e, 150, 3)};
        const std::vector<uint8_t> out = attend(h, e, e, s, {{0, 0, 150, false}});
        for (int32_t i = 0; i < 150 * 160; i++) {
            const int32_t t = i / 160, head = i / 40 % 4, d = i % 40;
            const float value = s[0].v[(size_t)((t * 2 + head / 2) * 40 + d)], got = get(out.data(), e, (size_t)i);
            cr_assert(std::fabs(got - value) <= (e == ELEMENT_F32 ? 0x1p-21f : 0) * std::fabs(value), "%s: %g, not %g",
                      NAMES[e], (double)got, (double)value);
        }
    }
}

Test(attention_kernels, refuses_what_it_cannot_do) {
    attention_args args = {};
    args.H = args.Hkv = 1, args.Dh = 257, args.decode_count = args.chunks = args.block_count = 1;
    cr_expect_eq(attention_decode_launch(&args, nullptr), cudaErrorInvalidValue);
    cr_expect_eq(attention_prefill_launch(&args, nullptr), cudaErrorInvalidValue);
    args.decode_count = args.block_count = 0;
    cr_expect_eq(attention_decode_launch(&args, nullptr), cudaSuccess);
    cr_expect_eq(attention_prefill_launch(&args, nullptr), cudaSuccess);
    cr_expect_eq(attention_query_tokens(ELEMENT_BF16, 8, 1, 64), 16);
    cr_expect_eq(attention_query_tokens(ELEMENT_BF16, 300, 1, 64), 1);
}

#ifdef TEMPERA_SIMT
// No order of threads and blocks or of asynchronous copies shows in the bits.
Test(attention_kernels, orders) {
    const Case cases[] = {{{3, 1, 16, 0, 0}, 3 * C + 17},
                          {{2, 1, 256, 0, 0}, C + 9},
                          {{4, 2, 45, 70, 9}, C + 30},
                          {{20, 1, 64, 0, 0}, 70}};
    for (element e : ELEMENTS)
        for (const Case &c : cases) {
            const size_t row = (size_t)(c.heads.H * c.heads.Dh) * size_of(e);
            const std::vector<Sequence> s = {Sequence(c.heads, e, c.length, 21)};
            const int32_t last = c.length - 1;
            const std::vector<Piece> pieces = {{0, last - 20, 21, false}, {0, last, 1, true}, {0, last / 2, 1, true}};
            simt::set_order("fwd:1");
            const std::vector<uint8_t> want = attend(c.heads, e, e, s, pieces);
            cr_expect(memcmp(&want[20 * row], &want[21 * row], row) == 0);
            for (const char *order : {"fwd:2", "rev:1", "warpfwd:1", "warprev:1", "warprand:1", "warprand:2",
                                      "warprand:3", "chaos:1", "chaos:2", "chaos:3"})
                for (bool late : {true, false}) {
                    cr_assert(simt::set_order(order));
                    simt::set_late_copies(late);
                    same(attend(c.heads, e, e, s, pieces), want.data(), want.size(), order, c.heads, e);
                }
        }
}
#endif
