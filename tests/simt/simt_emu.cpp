// simt_emu.cpp: fibers, scheduler, barriers, warp functions, shared memory and atomics of the emulation (simt_emu.h).
//
// A thread gets a stack when it first runs. A thread that ends hands its stack to the next one that begins, without a
// switch; one that waits switches straight to the next that can run, without a trip through a main loop.
//
// This file is never instrumented by a sanitizer. It tells the address sanitizer, where there is one, of every
// switch and of the gaps in shared memory, and checks by itself what it reads and writes for kernels.
#include "simt_emu.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "simt_race.h"

#if !defined(__x86_64__) || defined(SIMT_UCONTEXT)
#include <ucontext.h>
#endif

// The address sanitizer's interface, where the program has it.
extern "C" {
__attribute__((weak)) void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t size);
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom, size_t *size);
__attribute__((weak)) void __asan_poison_memory_region(void const volatile *p, size_t size);
__attribute__((weak)) void __asan_unpoison_memory_region(void const volatile *p, size_t size);
__attribute__((weak)) void *__asan_region_is_poisoned(void *p, size_t size);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));
}

namespace {

// ---- switching: a context is a stopped computation with its stack ----

#if defined(__x86_64__) && !defined(SIMT_UCONTEXT)

struct Context {
    void *stack_pointer = nullptr;
};

extern "C" void simt_switch(void **save, void *load) __attribute__((visibility("hidden")));
asm(R"(
.text
.p2align 4
.hidden simt_switch
.type simt_switch, @function
simt_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size simt_switch, . - simt_switch
)");

inline void switch_context(Context &from, const Context &to) {
    simt_switch(&from.stack_pointer, to.stack_pointer);
}

// Its first switch enters `entry`, which expects what a call leaves: a stack that is 8 off a multiple of 16.
inline void prepare_context(Context &context, uint8_t *bottom, uint8_t *top, void (*entry)()) {
    (void)bottom;
    void **frame = reinterpret_cast<void **>(top - 8) - 7;
    memset(frame, 0, 6 * sizeof(void *));
    memcpy(&frame[6], &entry, sizeof entry);
    frame[7] = nullptr; // where a caller's return address would be: the end for whoever walks the stack
    context.stack_pointer = frame;
}

#else

struct Context {
    ucontext_t context;
};

inline void switch_context(Context &from, const Context &to) {
    swapcontext(&from.context, &to.context);
}

inline void prepare_context(Context &context, uint8_t *bottom, uint8_t *top, void (*entry)()) {
    getcontext(&context.context);
    context.context.uc_stack.ss_sp = bottom;
    context.context.uc_stack.ss_size = (size_t)(top - bottom);
    context.context.uc_link = nullptr;
    makecontext(&context.context, entry, 0);
}

#endif

// ---- state ----

enum {
    MAX_RESIDENT = 4, // blocks at a time
    MAX_RANKS = MAX_RESIDENT * simt::MAX_WARPS,
    MAX_STACKS = MAX_RESIDENT * simt::MAX_THREADS,
    NAMED_BARRIERS = 16,
    REDZONE = 64,               // bytes of shared memory between two arrays
    SHARED_DEFAULT = 48 * 1024, // static, and in all when no more was asked for
    SHARED_SLOT = 1024 * 1024,  // address space of a resident block
    STACK_BYTES = 128 * 1024,   // of a thread
    STACK_BYTES_ASAN = 512 * 1024,
    ATOMICS_IN_A_ROW = 1024, // after so many a thread is taken to wait for another one
};

const uint32_t ALL_LANES = 0xFFFFFFFFu;

enum class Order { fwd, rev, warpfwd, warprev, warprand, chaos };
const char *const ORDER_NAMES[] = {"fwd", "rev", "warpfwd", "warprev", "warprand", "chaos"};

struct Block;
struct Warp;

struct Stack {
    uint8_t *bottom = nullptr, *top = nullptr;
    Stack *next_free = nullptr;
};

struct Copy { // an asynchronous one that was not waited for
    uint64_t *to;
    const uint64_t *from; // none: zeros
    uint32_t group;
    simt::Site site;
};

struct Fiber : simt::Thread {
    uint32_t number = 0, lane = 0; // in the block, in the warp
    Warp *warp = nullptr;
    Context context;
    Stack *stack = nullptr; // none: has not begun, or has exited
    void *fake_stack = nullptr;
    bool exited = false;
    const char *waits_in = nullptr; // none: can run
    simt::Site waits_at;
    std::vector<Copy> copies;
    uint32_t groups = 0; // of copies, closed
};

struct Warp {
    Block *block = nullptr;
    uint32_t number = 0, rank = 0;
    uint32_t ready = 0, arrived = 0, exited = 0; // masks of lanes
    const char *collective = nullptr;
    simt::Site site;
    void *contexts[simt::WARP_LANES] = {};
    Fiber *fibers = nullptr;
    uint32_t passes = 0;
};

struct NamedBarrier {
    int threads = 0, arrived = 0;
    uint32_t lanes[simt::MAX_WARPS] = {};
};

struct Block {
    uint64_t number = 0; // in the grid
    uint3 index = {0, 0, 0};
    uint32_t threads = 0, warps = 0, exited = 0;
    uint32_t arrived = 0; // at the block barrier
    simt::Site site;
    bool last = false;
    NamedBarrier named[NAMED_BARRIERS];
    uint8_t *shared = nullptr;
    simt::RaceBlock *race = nullptr;
    Warp warp[simt::MAX_WARPS];
    Fiber fiber[simt::MAX_THREADS];
};

struct SharedArray {
    size_t offset, bytes;
    const char *name;
};

// Lives until the process ends.
struct Emulator {
    // settings
    Order order = Order::warpfwd;
    uint64_t random = 1;
    bool late_copies = true;
    uint32_t pass_limit = 1u << 24;
    // the grid
    uint64_t launch_number = 0;
    uint64_t blocks = 0, next_block = 0, live_blocks = 0;
    std::vector<uint32_t> block_order; // none: ascending or descending
    uint32_t residents = 0;
    Block block[MAX_RESIDENT];
    std::vector<SharedArray> arrays; // of shared memory; the dynamic one first
    size_t shared_end = 0, static_bytes = 0;
    std::string error;
    bool failed = false;
    // scheduler. fwd and rev: a queue of warps. Others: those that can run, by rank.
    uint64_t runnable[MAX_RANKS / 64] = {};
    Warp *by_rank[MAX_RANKS] = {};
    Warp *queue[MAX_RANKS] = {};
    uint32_t queue_head = 0, queue_tail = 0;
    uint32_t atomics = 0; // since the last switch
    // stacks
    Context host;
    void *host_fake_stack = nullptr;
    const void *host_bottom = nullptr;
    size_t host_size = 0;
    size_t stack_bytes = 0, stacks = 0;
    Stack stack[MAX_STACKS];
    Stack *free_stacks = nullptr;
    uint8_t *stacks_begin = nullptr;
    bool asan = false;
};

Emulator *emulator;

inline Fiber *running() {
    return static_cast<Fiber *>(simt::current);
}

uint64_t random_below(uint64_t count) {
    uint64_t z = emulator->random += 0x9E3779B97F4A7C15u; // splitmix64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint64_t)((unsigned __int128)(z ^ (z >> 31)) * count >> 64);
}

uint32_t random_bit(uint64_t mask) {
    for (uint64_t skip = random_below((uint64_t)__builtin_popcountll(mask)); skip > 0; skip--) mask &= mask - 1;
    return (uint32_t)__builtin_ctzll(mask);
}

bool poisoned(const void *p, size_t bytes) {
    return emulator->asan && __asan_region_is_poisoned(const_cast<void *>(p), bytes);
}

// ---- who runs next ----

inline void make_ready(Warp &warp, uint32_t lanes) {
    Emulator &e = *emulator;
    if (!warp.ready) {
        if (e.order == Order::fwd || e.order == Order::rev)
            e.queue[e.queue_tail++ % MAX_RANKS] = &warp;
        else
            e.runnable[warp.rank / 64] |= (uint64_t)1 << warp.rank % 64;
    }
    warp.ready |= lanes;
}

inline Fiber *take(Warp &warp, uint32_t lane) {
    Emulator &e = *emulator;
    warp.ready &= ~(1u << lane);
    if (!warp.ready) {
        if (e.order == Order::fwd || e.order == Order::rev)
            e.queue_head++; // the warp at its head
        else
            e.runnable[warp.rank / 64] &= ~((uint64_t)1 << warp.rank % 64);
    }
    return &warp.fibers[lane];
}

// Removes a thread from those that can run; none: nobody can.
inline Fiber *pick() {
    Emulator &e = *emulator;
    if (e.order == Order::fwd || e.order == Order::rev) {
        if (e.queue_head == e.queue_tail) return nullptr;
        Warp &warp = *e.queue[e.queue_head % MAX_RANKS];
        return take(warp,
                    (uint32_t)(e.order == Order::fwd ? __builtin_ctz(warp.ready) : 31 - __builtin_clz(warp.ready)));
    }
    uint32_t word = e.runnable[0] ? 0 : 1;
    static_assert(MAX_RANKS == 128, "two words");
    if (!e.runnable[word]) return nullptr;
    if (e.order == Order::chaos) {
        if (word == 0 && e.runnable[1] && random_below(2)) word = 1;
        Warp &warp = *e.by_rank[word * 64 + random_bit(e.runnable[word])];
        return take(warp, random_bit(warp.ready));
    }
    Warp &warp = *e.by_rank[word * 64 + (uint32_t)__builtin_ctzll(e.runnable[word])];
    switch (e.order) {
    case Order::warpfwd: return take(warp, (uint32_t)__builtin_ctz(warp.ready));
    case Order::warprev: return take(warp, (uint32_t)(31 - __builtin_clz(warp.ready)));
    default: return take(warp, random_bit(warp.ready));
    }
}

// ---- fibers ----

void end_of_block(Block &block);
bool begin_block(Block &block);

Stack *take_stack() {
    Emulator &e = *emulator;
    if (Stack *stack = e.free_stacks) {
        e.free_stacks = stack->next_free;
        return stack;
    }
    Stack *stack = &e.stack[e.stacks];
    const size_t page = 4096;
    uint8_t *base = e.stacks_begin + e.stacks * (e.stack_bytes + page);
    mprotect(base + page, e.stack_bytes, PROT_READ | PROT_WRITE); // the page below stays closed
    stack->bottom = base + page;
    // Tops at the same place of a page would share the few cache lines that a page's start maps to.
    stack->top = stack->bottom + e.stack_bytes - e.stacks % 64 * 64;
    e.stacks++;
    return stack;
}

void give_stack(Stack *stack) {
    stack->next_free = emulator->free_stacks;
    emulator->free_stacks = stack;
}

void set_running(Fiber *fiber) {
    simt::current = fiber;
    if (fiber)
        simt::race_running(fiber->warp->block->race, (int)fiber->number);
    else
        simt::race_running(nullptr, 0);
}

void fiber_main();

// Leaves `from` for `to`. fake_stack is the sanitizer's part of `from`; none: `from` never runs again.
void leave(Context &from, void **fake_stack, Fiber *to) {
    Emulator &e = *emulator;
    if (!to->stack) {
        to->stack = take_stack();
        prepare_context(to->context, to->stack->bottom, to->stack->top, fiber_main);
    }
    set_running(to);
    e.atomics = 0;
    if (e.asan) {
        const size_t size = (size_t)(to->stack->top - to->stack->bottom);
        __sanitizer_start_switch_fiber(fake_stack, to->stack->bottom, size);
        switch_context(from, to->context);
        if (fake_stack) __sanitizer_finish_switch_fiber(*fake_stack, nullptr, nullptr);
    } else {
        switch_context(from, to->context);
    }
}

[[noreturn]] void leave_for_host() {
    Emulator &e = *emulator;
    Context unused;
    set_running(nullptr);
    if (e.asan) __sanitizer_start_switch_fiber(nullptr, e.host_bottom, e.host_size);
    switch_context(unused, e.host);
    __builtin_unreachable();
}

// The running thread stops until make_ready() on its lane.
void wait(const char *where, simt::Site site) {
    Fiber *self = running();
    self->waits_in = where;
    self->waits_at = site;
    Fiber *next = pick();
    if (!next) simt::fail(site, "nobody can run: every thread that is left waits for another one");
    if (next != self) leave(self->context, &self->fake_stack, next);
    self->waits_in = nullptr;
}

void exit_thread(Fiber &fiber) {
    Warp &warp = *fiber.warp;
    Block &block = *warp.block;
    if (!fiber.copies.empty())
        simt::fail({}, "a thread exits with %zu asynchronous copies that it did not wait for", fiber.copies.size());
    fiber.exited = true;
    warp.exited |= 1u << fiber.lane;
    block.exited++;
    if (warp.arrived) simt::fail({}, "a thread exits while others of its warp wait for it in %s", warp.collective);
    if (block.arrived) simt::fail({}, "a thread exits while others of its block wait for it in block_sync");
}

void fiber_main() {
    Emulator &e = *emulator;
    if (e.asan) {
        const void *bottom;
        size_t size;
        __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
        if (!e.host_bottom) { // the first of a grid comes from the host's stack
            e.host_bottom = bottom;
            e.host_size = size;
        }
    }
    for (;;) {
        simt::launch->call(simt::launch->args);
        Fiber *self = running();
        exit_thread(*self);
        Block &block = *self->warp->block;
        Stack *stack = self->stack;
        self->stack = nullptr;
        if (block.exited == block.threads) {
            end_of_block(block);
            if (!begin_block(block) && e.live_blocks == 0) {
                give_stack(stack);
                leave_for_host();
            }
        }
        Fiber *next = pick();
        if (!next) simt::fail({}, "nobody can run: every thread that is left waits for another one");
        if (!next->stack) {
            next->stack = stack;
            set_running(next);
            e.atomics = 0;
            continue;
        }
        give_stack(stack); // nobody takes it before the switch
        Context unused;
        leave(unused, nullptr, next);
    }
}

// ---- shared memory ----
//
// Each array has its exact size and exact alignment (an address that is a multiple of the type's alignment but not
// of twice as much), and gaps around it. It starts as 0xFF bytes, and so do the gaps: what is different there at the
// end was written.

void fill_array(Block &block, const SharedArray &array) {
    uint8_t *p = block.shared + array.offset;
    if (emulator->asan) __asan_unpoison_memory_region(p, array.bytes);
    memset(p, 0xFF, array.bytes);
    simt::race_shared(p, array.bytes);
}

// A place for an array behind the ones there are.
size_t place_array(size_t bytes, size_t alignment, const char *name) {
    Emulator &e = *emulator;
    size_t offset = e.shared_end + REDZONE;
    offset = (offset + 2 * alignment - 1) / (2 * alignment) * (2 * alignment) + alignment;
    e.shared_end = offset + bytes;
    e.arrays.push_back({offset, bytes, name});
    return offset;
}

void check_gaps(Block &block) {
    Emulator &e = *emulator;
    size_t from = 0;
    for (size_t i = 0; i <= e.arrays.size(); i++) {
        size_t to = i < e.arrays.size() ? e.arrays[i].offset : e.shared_end + REDZONE;
        if (e.asan) __asan_unpoison_memory_region(block.shared + from, to - from);
        for (size_t at = from; at < to; at++) {
            if (block.shared[at] == 0xFF) continue;
            const SharedArray &array = e.arrays[i > 0 && (at - from < REDZONE || i == e.arrays.size()) ? i - 1 : i];
            bool before = at < array.offset;
            size_t distance = before ? array.offset - at : at - (array.offset + array.bytes) + 1;
            memset(block.shared, 0xFF, SHARED_SLOT / 2);
            simt::fail({}, "block %llu wrote to shared memory %zu bytes %s '%s' of %zu bytes",
                       (unsigned long long)block.number, distance, before ? "before" : "behind the end of", array.name,
                       array.bytes);
        }
        if (e.asan) __asan_poison_memory_region(block.shared + from, to - from);
        if (i < e.arrays.size()) from = to + e.arrays[i].bytes;
    }
}

// ---- blocks ----

uint64_t next_block_number() {
    Emulator &e = *emulator;
    uint64_t n = e.next_block++;
    if (!e.block_order.empty()) return e.block_order[n];
    return e.order == Order::rev || e.order == Order::warprev ? e.blocks - 1 - n : n;
}

// The next block of the grid takes this block's place; false: there is none.
bool begin_block(Block &block) {
    Emulator &e = *emulator;
    if (e.next_block == e.blocks) return false;
    const simt::Launch &launch = *simt::launch;
    const uint32_t slot = (uint32_t)(&block - e.block);
    block.number = next_block_number();
    block.index.x = (unsigned)(block.number % launch.grid.x);
    block.index.y = (unsigned)(block.number / launch.grid.x % launch.grid.y);
    block.index.z = (unsigned)(block.number / launch.grid.x / launch.grid.y);
    block.threads = launch.block.x * launch.block.y * launch.block.z;
    block.warps = block.threads / simt::WARP_LANES;
    block.exited = block.arrived = 0;
    for (NamedBarrier &barrier : block.named) barrier = NamedBarrier();
    block.race = simt::race_block_begin((uint32_t)block.number, (int)block.threads);
    for (const SharedArray &array : e.arrays) fill_array(block, array);

    uint32_t places[simt::MAX_WARPS];
    for (uint32_t w = 0; w < block.warps; w++) places[w] = w;
    if (e.order == Order::warprand)
        for (uint32_t w = block.warps; w > 1; w--) std::swap(places[w - 1], places[random_below(w)]);
    for (uint32_t i = 0; i < block.warps; i++) {
        Warp &warp = block.warp[e.order == Order::rev ? block.warps - 1 - i : i];
        const uint32_t rank = slot * simt::MAX_WARPS + places[warp.number];
        warp.rank = e.order == Order::warprev ? MAX_RANKS - 1 - rank : rank;
        e.by_rank[warp.rank] = &warp;
        warp.ready = warp.arrived = warp.exited = warp.passes = 0;
        for (uint32_t lane = 0; lane < simt::WARP_LANES; lane++) {
            Fiber &fiber = warp.fibers[lane];
            fiber.index.x = fiber.number % launch.block.x;
            fiber.index.y = fiber.number / launch.block.x % launch.block.y;
            fiber.index.z = fiber.number / launch.block.x / launch.block.y;
            fiber.block = block.index;
            fiber.exited = false;
            fiber.waits_in = nullptr;
            fiber.copies.clear();
            fiber.groups = 0;
        }
        make_ready(warp, ALL_LANES);
    }
    e.live_blocks++;
    return true;
}

void end_of_block(Block &block) {
    Emulator &e = *emulator;
    check_gaps(block);
    for (const SharedArray &array : e.arrays) {
        simt::race_shared_end(block.shared + array.offset, array.bytes);
        memset(block.shared + array.offset, 0xFF, array.bytes); // another grid's gaps may be here
    }
    simt::race_block_end(block.race);
    block.race = nullptr;
    e.live_blocks--;
}

// ---- errors ----

void append(std::string &text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void append(std::string &text, const char *format, ...) {
    char part[1024];
    va_list values;
    va_start(values, format);
    vsnprintf(part, sizeof part, format, values);
    va_end(values);
    text += part;
}

bool same_site(simt::Site a, simt::Site b) {
    return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

// " at norm.cu:17". A string would be lost with the stack of a thread that fails.
struct SiteText {
    char text[256] = "";
    explicit SiteText(simt::Site site) {
        if (!site.file) return;
        const char *slash = strrchr(site.file, '/');
        snprintf(text, sizeof text, " at %s:%d", slash ? slash + 1 : site.file, site.line);
    }
};

std::string where_thread_stands(const Fiber &fiber) {
    std::string text;
    if (fiber.exited)
        text = "exited";
    else if (fiber.waits_in) {
        append(text, "waiting in %s%s", fiber.waits_in, SiteText(fiber.waits_at).text);
    } else if (&fiber == simt::current)
        text = "running";
    else
        text = fiber.stack ? "about to go on" : "not begun";
    return text;
}

// "threads 0-95: exited; 96-127: waiting in shfl_xor at x.cuh:74"
std::string where_threads_stand(const Block &block) {
    std::string text = "threads ";
    for (uint32_t first = 0; first < block.threads;) {
        std::string state = where_thread_stands(block.fiber[first]);
        uint32_t end = first + 1;
        while (end < block.threads && where_thread_stands(block.fiber[end]) == state) end++;
        append(text, end - first > 1 ? "%u-%u: " : "%u: ", first, end - 1);
        text += state;
        if (end < block.threads) text += "; ";
        if (text.size() > 3000) return text + "...";
        first = end;
    }
    return text;
}

std::string who_runs() {
    std::string text, name = simt::launch->kernel;
    if (name.size() > 2 && name.front() == '(') name = name.substr(1, name.size() - 2);
    append(text, "kernel %s", name.c_str());
    if (!running()) return text;
    const uint3 b = running()->block;
    if (simt::launch->grid.y * simt::launch->grid.z == 1)
        append(text, ", block %u", b.x);
    else
        append(text, ", block (%u, %u, %u)", b.x, b.y, b.z);
    append(text, ", thread %u", running()->number);
    return text;
}

void before_a_sanitizer_ends_it() {
    if (simt::current) fprintf(stderr, "emulated: %s\n", who_runs().c_str());
}

// ---- the life of a grid ----

void create_emulator() {
    Emulator &e = *(emulator = new Emulator);
    e.asan = __sanitizer_start_switch_fiber && __asan_region_is_poisoned;
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(before_a_sanitizer_ends_it);
    e.stack_bytes = e.asan ? STACK_BYTES_ASAN : STACK_BYTES;
    const size_t stacks = MAX_STACKS * (e.stack_bytes + 4096), shared = (size_t)MAX_RESIDENT * SHARED_SLOT;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *stack_memory = mmap(nullptr, stacks, PROT_NONE, flags, -1, 0);
    void *shared_memory = mmap(nullptr, shared, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (stack_memory == MAP_FAILED || shared_memory == MAP_FAILED) {
        fprintf(stderr, "the SIMT emulation found no address space for %zu bytes of stacks\n", stacks);
        abort();
    }
    e.stacks_begin = static_cast<uint8_t *>(stack_memory);
    simt::race_ignored(stack_memory, stacks, true);
    simt::shared_begin = static_cast<uint8_t *>(shared_memory);
    simt::shared_end = simt::shared_begin + shared;
    for (uint32_t slot = 0; slot < MAX_RESIDENT; slot++) {
        Block &block = e.block[slot];
        block.shared = simt::shared_begin + (size_t)slot * SHARED_SLOT;
        memset(block.shared, 0xFF, SHARED_SLOT / 2);
        for (uint32_t w = 0; w < simt::MAX_WARPS; w++) {
            Warp &warp = block.warp[w];
            warp.block = &block;
            warp.number = w;
            warp.fibers = &block.fiber[w * simt::WARP_LANES];
            for (uint32_t lane = 0; lane < simt::WARP_LANES; lane++) {
                Fiber &fiber = warp.fibers[lane];
                fiber.warp = &warp;
                fiber.lane = lane;
                fiber.number = w * simt::WARP_LANES + lane;
            }
        }
    }
    if (const char *order = getenv("TEMPERA_SIMT_ORDER"))
        if (!simt::set_order(order)) {
            fprintf(stderr, "TEMPERA_SIMT_ORDER=%s is no order of the SIMT emulation\n", order);
            abort();
        }
    if (const char *copy = getenv("TEMPERA_SIMT_COPY")) e.late_copies = strcmp(copy, "early") != 0;
}

void begin_grid(const simt::Launch &launch) {
    Emulator &e = *emulator;
    simt::launch = &launch;
    simt::race_launch(launch.kernel);
    simt::race_ignored(launch.args, launch.args_bytes, true);
    e.launch_number++;
    e.blocks = (uint64_t)launch.grid.x * launch.grid.y * launch.grid.z;
    e.next_block = e.live_blocks = 0;
    e.block_order.clear();
    if (e.order == Order::warprand || e.order == Order::chaos) {
        e.block_order.resize((size_t)e.blocks);
        for (size_t b = 0; b < e.blocks; b++) e.block_order[b] = (uint32_t)b;
        for (size_t b = (size_t)e.blocks; b > 1; b--) std::swap(e.block_order[b - 1], e.block_order[random_below(b)]);
    }
    memset(e.runnable, 0, sizeof e.runnable);
    e.queue_head = e.queue_tail = 0;
    e.residents = (uint32_t)std::min<uint64_t>(e.order == Order::chaos ? MAX_RESIDENT : 1, e.blocks);
    e.arrays.clear();
    e.shared_end = e.static_bytes = 0;
    if (e.asan)
        for (uint32_t slot = 0; slot < e.residents; slot++)
            __asan_poison_memory_region(e.block[slot].shared, SHARED_SLOT);
    place_array(launch.shared_bytes, 16, "dynamic shared memory");
    e.failed = false;
    e.error.clear();
    e.host_bottom = nullptr;
}

// After an error threads are left where they stood; their stacks are taken back.
void abandon_grid() {
    Emulator &e = *emulator;
    e.free_stacks = nullptr;
    for (size_t i = e.stacks; i > 0; i--) give_stack(&e.stack[i - 1]);
    if (e.asan) __asan_unpoison_memory_region(e.stacks_begin, e.stacks * (e.stack_bytes + 4096));
    for (uint32_t slot = 0; slot < e.residents; slot++) {
        Block &block = e.block[slot];
        for (uint32_t t = 0; t < block.threads; t++) block.fiber[t].stack = nullptr;
        if (e.asan) __asan_unpoison_memory_region(block.shared, SHARED_SLOT);
        memset(block.shared, 0xFF, e.shared_end + REDZONE);
        if (!block.race) continue;
        for (const SharedArray &array : e.arrays) simt::race_shared_end(block.shared + array.offset, array.bytes);
        simt::race_block_end(block.race);
        block.race = nullptr;
    }
}

// One more meeting or turn of this warp.
inline void count_pass(Warp &warp, simt::Site site) {
    if (++warp.passes > emulator->pass_limit)
        simt::fail(site, "a warp met or took turns %u times: an endless loop?", warp.passes - 1);
}

} // namespace

namespace simt {

Thread *current;
const Launch *launch;
uint8_t *shared_begin, *shared_end;

bool set_order(const char *name_and_seed) {
    if (!emulator) create_emulator();
    const char *colon = strchr(name_and_seed, ':');
    const size_t length = colon ? (size_t)(colon - name_and_seed) : strlen(name_and_seed);
    for (size_t i = 0; i < sizeof ORDER_NAMES / sizeof *ORDER_NAMES; i++)
        if (strlen(ORDER_NAMES[i]) == length && strncmp(ORDER_NAMES[i], name_and_seed, length) == 0) {
            emulator->order = (Order)i;
            emulator->random = colon ? strtoull(colon + 1, nullptr, 10) : 1;
            return true;
        }
    return false;
}

void set_late_copies(bool late) {
    if (!emulator) create_emulator();
    emulator->late_copies = late;
}

void set_pass_limit(uint32_t passes) {
    if (!emulator) create_emulator();
    emulator->pass_limit = passes;
}

cudaError_t run(const Launch &config) {
    if (!emulator) create_emulator();
    Emulator &e = *emulator;
    const uint64_t threads = (uint64_t)config.block.x * config.block.y * config.block.z;
    if (threads == 0 || threads > MAX_THREADS || threads % WARP_LANES || config.shared_bytes > shared_memory_limit() ||
        (uint64_t)config.grid.x * config.grid.y * config.grid.z == 0) {
        explain("kernel %s: blocks of %llu threads (a multiple of 32, at most 1024) with %zu bytes of shared memory",
                config.kernel, (unsigned long long)threads, config.shared_bytes);
        return cudaErrorInvalidConfiguration;
    }
    begin_grid(config);
    for (uint32_t slot = 0; slot < e.residents; slot++) begin_block(e.block[slot]);
    leave(e.host, &e.host_fake_stack, pick());
    if (e.failed) abandon_grid();
    race_ignored(config.args, config.args_bytes, false);
    launch = nullptr;
    if (!e.failed) return cudaSuccess;
    explain("%s", e.error.c_str());
    return cudaErrorLaunchFailure;
}

void fail(Site site, const char *format, ...) {
    Emulator &e = *emulator;
    char reason[1024];
    va_list values;
    va_start(values, format);
    vsnprintf(reason, sizeof reason, format, values);
    va_end(values);
    e.error = who_runs();
    e.error += SiteText(site).text + std::string(": ") + reason + ". " + where_threads_stand(*running()->warp->block);
    e.failed = true;
    leave_for_host();
}

void preempt() {
    Fiber *self = running();
    Emulator &e = *emulator;
    Warp &warp = *self->warp;
    count_pass(warp, {});
    Fiber *next;
    if (e.order == Order::fwd || e.order == Order::rev) {
        // The warp's lanes behind this one, and when there are none the warp steps behind the others.
        const uint32_t upper = self->lane == 31 ? 0 : ALL_LANES << (self->lane + 1), lower = (1u << self->lane) - 1;
        const uint32_t lanes = warp.ready & (e.order == Order::fwd ? upper : lower);
        if (warp.ready && !lanes) {
            e.queue_head++;
            e.queue[e.queue_tail++ % MAX_RANKS] = &warp;
        }
        make_ready(warp, 1u << self->lane);
        next = lanes ? take(warp, (uint32_t)(e.order == Order::fwd ? __builtin_ctz(lanes) : 31 - __builtin_clz(lanes)))
                     : pick();
    } else {
        make_ready(warp, 1u << self->lane);
        const Order order = e.order; // by ranks the same thread would go on
        e.order = Order::chaos;
        next = pick();
        e.order = order;
    }
    if (next != self) leave(self->context, &self->fake_stack, next);
}

void *shared_memory(SharedSite &site, size_t bytes, size_t alignment, const char *name, const char *file, int line) {
    Emulator &e = *emulator;
    Block &block = *running()->warp->block;
    if (site.launch != e.launch_number) {
        e.static_bytes += bytes;
        const size_t dynamic = launch->shared_bytes, all = e.static_bytes + dynamic;
        if (e.static_bytes > SHARED_DEFAULT)
            fail({file, line}, "%zu bytes of static shared memory; a block has %d", e.static_bytes,
                 (int)SHARED_DEFAULT);
        const size_t limit = dynamic > SHARED_DEFAULT ? shared_memory_limit() : (size_t)SHARED_DEFAULT;
        if (all > limit)
            fail({file, line}, "%zu bytes of static and %zu of dynamic shared memory: more than %zu together",
                 e.static_bytes, dynamic, limit);
        site.offset = place_array(bytes, alignment, name);
        site.launch = e.launch_number;
        for (uint32_t slot = 0; slot < e.residents; slot++) fill_array(e.block[slot], e.arrays.back());
    }
    return block.shared + site.offset;
}

void *shared_dynamic() {
    return running()->warp->block->shared + emulator->arrays[0].offset;
}

// ---- meetings of a warp ----

void warp_collective(Completer complete, void *context, const char *name, Site site) {
    Fiber &self = *running();
    Warp &warp = *self.warp;
    if (warp.exited) fail(site, "%s by a warp of which threads have exited", name);
    if (!warp.arrived) {
        warp.collective = name;
        warp.site = site;
    } else if (warp.collective != name || !same_site(warp.site, site)) {
        fail(site, "%s, and other threads of the warp are in %s%s", name, warp.collective, SiteText(warp.site).text);
    }
    warp.contexts[self.lane] = context;
    warp.arrived |= 1u << self.lane;
    if (warp.arrived == ALL_LANES) {
        count_pass(warp, site);
        warp.arrived = 0;
        complete(warp.contexts);
        make_ready(warp, ALL_LANES);
    }
    wait(name, site);
}

} // namespace simt

namespace {

struct ShuffleContext {
    uint64_t value;
    int operand;
};

template <simt::Shuffle KIND> void complete_shuffle(void *const contexts[simt::WARP_LANES]) {
    uint64_t values[simt::WARP_LANES];
    for (int lane = 0; lane < simt::WARP_LANES; lane++)
        values[lane] = static_cast<ShuffleContext *>(contexts[lane])->value;
    for (int lane = 0; lane < simt::WARP_LANES; lane++) {
        ShuffleContext &c = *static_cast<ShuffleContext *>(contexts[lane]);
        int from = c.operand & 31;
        if (KIND == simt::Shuffle::exclusive_or) from ^= lane;
        if (KIND == simt::Shuffle::up) from = lane < from ? lane : lane - from;
        if (KIND == simt::Shuffle::down) from = lane + from > 31 ? lane : lane + from;
        c.value = values[from];
    }
}

uint64_t shuffle(simt::Shuffle kind, uint64_t value, int operand, simt::Site site) {
    ShuffleContext context = {value, operand};
    if (kind != simt::Shuffle::index && (operand < 0 || operand > 31)) // hardware looks at five bits only
        simt::fail(site, "a shuffle by %d lanes", operand);
    switch (kind) {
    case simt::Shuffle::index:
        simt::warp_collective(complete_shuffle<simt::Shuffle::index>, &context, "shfl", site);
        break;
    case simt::Shuffle::exclusive_or:
        simt::warp_collective(complete_shuffle<simt::Shuffle::exclusive_or>, &context, "shfl_xor", site);
        break;
    case simt::Shuffle::up:
        simt::warp_collective(complete_shuffle<simt::Shuffle::up>, &context, "shfl_up", site);
        break;
    case simt::Shuffle::down:
        simt::warp_collective(complete_shuffle<simt::Shuffle::down>, &context, "shfl_down", site);
        break;
    }
    return context.value;
}

void complete_ballot(void *const contexts[simt::WARP_LANES]) {
    uint32_t mask = 0;
    for (int lane = 0; lane < simt::WARP_LANES; lane++) mask |= *static_cast<uint32_t *>(contexts[lane]) << lane;
    for (int lane = 0; lane < simt::WARP_LANES; lane++) *static_cast<uint32_t *>(contexts[lane]) = mask;
}

void complete_match(void *const contexts[simt::WARP_LANES]) {
    uint32_t values[simt::WARP_LANES];
    for (int lane = 0; lane < simt::WARP_LANES; lane++) values[lane] = *static_cast<uint32_t *>(contexts[lane]);
    for (int lane = 0; lane < simt::WARP_LANES; lane++) {
        uint32_t mask = 0;
        for (int other = 0; other < simt::WARP_LANES; other++)
            mask |= (uint32_t)(values[other] == values[lane]) << other;
        *static_cast<uint32_t *>(contexts[lane]) = mask;
    }
}

struct Sum {
    template <typename T> static T of(T mine, T other) { return mine + other; }
};
struct Max {
    template <typename T> static T of(T mine, T other) { return other > mine ? other : mine; }
};

// What the five shuffles of a butterfly do, all lanes at a time.
template <typename T, typename Operation> void complete_butterfly(void *const contexts[simt::WARP_LANES]) {
    T values[2][simt::WARP_LANES];
    for (int lane = 0; lane < simt::WARP_LANES; lane++) values[0][lane] = *static_cast<T *>(contexts[lane]);
    int now = 0;
    for (int mask = 16; mask > 0; mask >>= 1, now ^= 1)
        for (int lane = 0; lane < simt::WARP_LANES; lane++)
            values[now ^ 1][lane] = Operation::of(values[now][lane], values[now][lane ^ mask]);
    for (int lane = 0; lane < simt::WARP_LANES; lane++) *static_cast<T *>(contexts[lane]) = values[now][lane];
}

void complete_nothing(void *const *) {}

template <typename T> T butterfly_sum(T value, simt::Site site) {
    simt::warp_collective(complete_butterfly<T, Sum>, &value, "warp_sum", site);
    return value;
}

template <typename T> T butterfly_max(T value, simt::Site site) {
    simt::warp_collective(complete_butterfly<T, Max>, &value, "warp_max", site);
    return value;
}

// ---- tensor cores ----
//
// Products are exact, and their sum with the accumulator is one of doubles, cut (not rounded) to fp32 at its end.
// Hardware aligns the terms of a sum and drops the bits far below the largest; those are the bits in which it may
// differ from this.

struct MmaContext {
    float *d;
    const uint32_t *a, *b;
};

typedef double Double4 __attribute__((vector_size(32)));
typedef float Float4 __attribute__((vector_size(16)));
typedef uint32_t Word4 __attribute__((vector_size(16)));
typedef int64_t Long4 __attribute__((vector_size(32)));

struct MmaTile {
    alignas(32) uint32_t a[16][8]; // words of a's rows
    alignas(32) uint32_t b[8][8];  // [word of k][column]
    alignas(32) float d[16][8];
};

enum class Operand { bf16, f16, tf32 };

inline __attribute__((always_inline)) void widen_f16(Word4 &half) { // in the low 16 bits, to fp32
    Word4 magnitude = (half & 0x7FFFu) << 13, sign = (half & 0x8000u) << 16;
    Float4 scaled = (Float4)magnitude * 0x1p112f;                    // also right for subnormals
    Word4 special = (Word4)(magnitude >= 0x0F800000u) & 0x7F800000u; // infinity and NaN
    half = (Word4)scaled | special | sign;
}

// Column order of k is free: all even ones come before all odd ones.
template <Operand TYPE>
inline __attribute__((always_inline)) void widen(const uint32_t words[8], double *low, double *high) {
    for (int i = 0; i < 8; i += 4) {
        Word4 w;
        memcpy(&w, words + i, sizeof w);
        Word4 l, h;
        if (TYPE == Operand::tf32) {
            l = w & 0xFFFFE000u;
            h = l;
        } else if (TYPE == Operand::bf16) {
            l = w << 16;
            h = w & 0xFFFF0000u;
        } else {
            l = w & 0xFFFFu;
            h = w >> 16;
            widen_f16(l);
            widen_f16(h);
        }
        Double4 wide = __builtin_convertvector((Float4)l, Double4);
        memcpy(low + i, &wide, sizeof wide);
        if (TYPE == Operand::tf32) continue;
        wide = __builtin_convertvector((Float4)h, Double4);
        memcpy(high + i, &wide, sizeof wide);
    }
}

float cut(double x) {
    float y = (float)x;
    if (__builtin_fabs((double)y) > __builtin_fabs(x) && __builtin_fabs(x) < 0x1p128) y = __builtin_nextafterf(y, 0);
    return y;
}

template <Operand TYPE> inline __attribute__((always_inline)) void multiply(MmaTile &tile) {
    enum { K = TYPE == Operand::tf32 ? 8 : 16 };
    alignas(32) double a[16][K], b[K][8];
    for (int row = 0; row < 16; row++) widen<TYPE>(tile.a[row], a[row], a[row] + K / 2);
    for (int word = 0; word < 8; word++) widen<TYPE>(tile.b[word], b[word], b[K == 16 ? word + 8 : word]);
    Long4 tiny = {0, 0, 0, 0};
    alignas(32) double sums[16][8];
    for (int row = 0; row < 16; row += 2) { // two rows of two halves: additions that do not wait for each other
        Double4 sum[4];
        for (int i = 0; i < 4; i++) {
            Float4 before;
            memcpy(&before, &tile.d[row + i / 2][i % 2 * 4], sizeof before);
            sum[i] = __builtin_convertvector(before, Double4);
        }
        for (int k = 0; k < K; k++) {
            Double4 low, high;
            memcpy(&low, &b[k][0], sizeof low);
            memcpy(&high, &b[k][4], sizeof high);
            sum[0] += a[row][k] * low;
            sum[1] += a[row][k] * high;
            sum[2] += a[row + 1][k] * low;
            sum[3] += a[row + 1][k] * high;
        }
        for (int i = 0; i < 4; i++) {
            memcpy(&sums[row + i / 2][i % 2 * 4], &sum[i], sizeof sum[i]);
            tiny |= (sum[i] < 0x1p-126) & (sum[i] > -0x1p-126) & (sum[i] != 0.0);
            Double4 shortened = (Double4)((Long4)sum[i] & ~(int64_t)0x1FFFFFFF); // 24 bits are left, which fp32 holds
            Float4 after = __builtin_convertvector(shortened, Float4);
            memcpy(&tile.d[row + i / 2][i % 2 * 4], &after, sizeof after);
        }
    }
    if (tiny[0] | tiny[1] | tiny[2] | tiny[3]) // subnormal results have fewer bits
        for (int row = 0; row < 16; row++)
            for (int column = 0; column < 8; column++) tile.d[row][column] = cut(sums[row][column]);
}

#ifdef __x86_64__
template <Operand TYPE> __attribute__((target("avx2"))) void multiply_avx2(MmaTile &tile) {
    multiply<TYPE>(tile);
}
#endif

template <Operand TYPE> void multiply_plain(MmaTile &tile) {
    multiply<TYPE>(tile);
}

// K in words: 16 16-bit elements are 8 words, 8 tf32 elements too. Lane 4 g + t as device.cuh has it, where a pair of
// 16-bit elements 2t, 2t + 1 is the word t, and the tf32 element t as well.
template <Operand TYPE> void complete_mma(void *const contexts[simt::WARP_LANES]) {
    MmaTile tile;
    for (int lane = 0; lane < simt::WARP_LANES; lane++) {
        const MmaContext &c = *static_cast<MmaContext *>(contexts[lane]);
        const int g = lane / 4, t = lane % 4;
        tile.a[g][t] = c.a[0];
        tile.a[g + 8][t] = c.a[1];
        tile.a[g][t + 4] = c.a[2];
        tile.a[g + 8][t + 4] = c.a[3];
        tile.b[t][g] = c.b[0];
        tile.b[t + 4][g] = c.b[1];
        tile.d[g][2 * t] = c.d[0];
        tile.d[g][2 * t + 1] = c.d[1];
        tile.d[g + 8][2 * t] = c.d[2];
        tile.d[g + 8][2 * t + 1] = c.d[3];
    }
#ifdef __x86_64__
    static const bool avx2 = __builtin_cpu_supports("avx2");
    avx2 ? multiply_avx2<TYPE>(tile) : multiply_plain<TYPE>(tile);
#else
    multiply_plain<TYPE>(tile);
#endif
    for (int lane = 0; lane < simt::WARP_LANES; lane++) {
        const MmaContext &c = *static_cast<MmaContext *>(contexts[lane]);
        const int g = lane / 4, t = lane % 4;
        c.d[0] = tile.d[g][2 * t];
        c.d[1] = tile.d[g][2 * t + 1];
        c.d[2] = tile.d[g + 8][2 * t];
        c.d[3] = tile.d[g + 8][2 * t + 1];
    }
}

} // namespace

namespace simt {

uint32_t shuffle32(Shuffle kind, uint32_t value, int operand, Site site) {
    return (uint32_t)shuffle(kind, value, operand, site);
}

uint64_t shuffle64(Shuffle kind, uint64_t value, int operand, Site site) {
    return shuffle(kind, value, operand, site);
}

uint32_t ballot(bool predicate, Site site) {
    uint32_t context = predicate;
    warp_collective(complete_ballot, &context, "ballot", site);
    return context;
}

uint32_t match_any(uint32_t value, Site site) {
    warp_collective(complete_match, &value, "match_any", site);
    return value;
}

float warp_sum(float value, Site site) {
    return butterfly_sum(value, site);
}
double warp_sum(double value, Site site) {
    return butterfly_sum(value, site);
}
int32_t warp_sum(int32_t value, Site site) {
    return (int32_t)butterfly_sum((uint32_t)value, site);
}
uint32_t warp_sum(uint32_t value, Site site) {
    return butterfly_sum(value, site);
}
uint64_t warp_sum(uint64_t value, Site site) {
    return butterfly_sum(value, site);
}
float warp_max(float value, Site site) {
    return butterfly_max(value, site);
}
double warp_max(double value, Site site) {
    return butterfly_max(value, site);
}
int32_t warp_max(int32_t value, Site site) {
    return butterfly_max(value, site);
}
uint32_t warp_max(uint32_t value, Site site) {
    return butterfly_max(value, site);
}
int64_t warp_max(int64_t value, Site site) {
    return butterfly_max(value, site);
}
uint64_t warp_max(uint64_t value, Site site) {
    return butterfly_max(value, site);
}

void mma16_bf16(float *d, const uint32_t *a, const uint32_t *b, Site site) {
    MmaContext context = {d, a, b};
    warp_collective(complete_mma<Operand::bf16>, &context, "mma16<bf16>", site);
}

void mma16_f16(float *d, const uint32_t *a, const uint32_t *b, Site site) {
    MmaContext context = {d, a, b};
    warp_collective(complete_mma<Operand::f16>, &context, "mma16<f16>", site);
}

void mma8_tf32(float *d, const uint32_t *a, const uint32_t *b, Site site) {
    MmaContext context = {d, a, b};
    warp_collective(complete_mma<Operand::tf32>, &context, "mma8_tf32", site);
}

// ---- barriers ----

void warp_sync(Site site) {
    Warp &warp = *running()->warp;
    const bool last = (warp.arrived | 1u << running()->lane) == ALL_LANES;
    if (last) race_warp_sync(warp.block->race, (int)warp.number);
    warp_collective(complete_nothing, nullptr, "warp_sync", site);
}

void block_sync(Site site) {
    Emulator &e = *emulator;
    Fiber &self = *running();
    Block &block = *self.warp->block;
    if (block.exited) fail(site, "block_sync by a block of which threads have exited");
    if (!block.arrived) {
        block.site = site;
    } else if (!same_site(block.site, site)) {
        fail(site, "block_sync, and other threads of the block are in the one%s", SiteText(block.site).text);
    }
    if (++block.arrived == block.threads) {
        block.arrived = 0;
        race_barrier(block.race, block.warps == 32 ? ALL_LANES : (1u << block.warps) - 1);
        for (uint32_t i = 0; i < block.warps; i++) {
            Warp &warp = block.warp[e.order == Order::rev ? block.warps - 1 - i : i];
            count_pass(warp, site);
            make_ready(warp, ALL_LANES);
        }
    }
    wait("block_sync", site);
}

void named_sync(int id, int threads, Site site) {
    Emulator &e = *emulator;
    Fiber &self = *running();
    Block &block = *self.warp->block;
    if (id < 1 || id >= NAMED_BARRIERS) fail(site, "named barrier %d; there are 1 to 15", id);
    if (threads <= 0 || threads % WARP_LANES || (uint32_t)threads > block.threads)
        fail(site, "a named barrier for %d of %u threads", threads, block.threads);
    if (self.warp->exited) fail(site, "named_sync by a warp of which threads have exited");
    NamedBarrier &barrier = block.named[id];
    if (barrier.arrived && barrier.threads != threads)
        fail(site, "named barrier %d for %d threads, and others wait there for %d", id, threads, barrier.threads);
    barrier.threads = threads;
    barrier.lanes[self.warp->number] |= 1u << self.lane;
    if (++barrier.arrived == threads) {
        uint32_t warps = 0;
        for (uint32_t w = 0; w < block.warps; w++) {
            if (!barrier.lanes[w]) continue;
            if (barrier.lanes[w] != ALL_LANES)
                fail(site, "named barrier %d is full, but of warp %u only the lanes %08x are there", id, w,
                     barrier.lanes[w]);
            warps |= 1u << w;
        }
        race_barrier(block.race, warps);
        barrier = NamedBarrier();
        for (uint32_t i = 0; i < block.warps; i++) {
            Warp &warp = block.warp[e.order == Order::rev ? block.warps - 1 - i : i];
            if (!(warps >> warp.number & 1)) continue;
            count_pass(warp, site);
            make_ready(warp, ALL_LANES);
        }
    }
    wait("named_sync", site);
}

// ---- asynchronous copies ----

} // namespace simt

namespace {

void finish_copy(const Copy &copy) {
    if (emulator->asan) __asan_unpoison_memory_region(copy.to, 16);
    simt::race_async_done(copy.to, 16, copy.site);
    if (copy.from) simt::race_access(copy.from, 16, simt::RACE_READ, copy.site);
    const uint64_t low = copy.from ? copy.from[0] : 0, high = copy.from ? copy.from[1] : 0;
    copy.to[0] = low;
    copy.to[1] = high;
}

void check_atomic(void *p, size_t bytes, simt::Site site) {
    Emulator &e = *emulator;
    if (reinterpret_cast<uintptr_t>(p) % bytes) simt::misaligned(p, bytes, site);
    if (poisoned(p, bytes)) simt::fail(site, "an atomic at %p, which is no memory of the kernel's", p);
    if (e.order == Order::chaos) {
        simt::preempt();
    } else if (++e.atomics > ATOMICS_IN_A_ROW) {
        running()->warp->passes += ATOMICS_IN_A_ROW;
        e.atomics = 0;
        simt::preempt();
    }
    simt::race_access(p, bytes, simt::RACE_ATOMIC, site);
}

} // namespace

namespace simt {

void copy_async16(void *shared, const void *global, bool valid, Site site) {
    Emulator &e = *emulator;
    Fiber &self = *running();
    const uint8_t *base = self.warp->block->shared;
    if (reinterpret_cast<uintptr_t>(shared) % 16) misaligned(shared, 16, site);
    if (valid && reinterpret_cast<uintptr_t>(global) % 16) misaligned(global, 16, site);
    if (valid && in_shared(global)) not_global(global, site);
    const size_t offset = (size_t)(static_cast<uint8_t *>(shared) - base);
    if (std::none_of(e.arrays.begin(), e.arrays.end(), [offset](const SharedArray &array) {
            return offset >= array.offset && offset + 16 <= array.offset + array.bytes;
        }))
        fail(site, "an asynchronous copy to %p, which is no shared memory of the block's", shared);
    if (valid && poisoned(global, 16))
        fail(site, "an asynchronous copy from %p, which is no memory of the kernel's", global);
    Copy copy = {static_cast<uint64_t *>(shared), valid ? static_cast<const uint64_t *>(global) : nullptr, self.groups,
                 site};
    if (valid) race_access(global, 16, RACE_READ, site);
    race_async_issued(shared, 16, site);
    self.copies.push_back(copy);
    if (e.late_copies) {
        copy.to[0] = copy.to[1] = ~(uint64_t)0;
        if (e.asan) __asan_poison_memory_region(shared, 16);
    } else {
        copy.to[0] = valid ? copy.from[0] : 0;
        copy.to[1] = valid ? copy.from[1] : 0;
    }
}

void copy_async_commit() {
    running()->groups++;
}

void copy_async_wait(int groups) {
    Fiber &self = *running();
    size_t kept = 0;
    for (const Copy &copy : self.copies)
        if (copy.group + (uint64_t)groups < self.groups)
            finish_copy(copy);
        else
            self.copies[kept++] = copy;
    self.copies.resize(kept);
}

// ---- atomics ----

uint32_t atomic_add(uint32_t *p, uint32_t value, Site site) {
    check_atomic(p, sizeof *p, site);
    uint32_t old = *p;
    *p = old + value;
    return old;
}

uint64_t atomic_add(uint64_t *p, uint64_t value, Site site) {
    check_atomic(p, sizeof *p, site);
    uint64_t old = *p;
    *p = old + value;
    return old;
}

uint32_t atomic_max(uint32_t *p, uint32_t value, Site site) {
    check_atomic(p, sizeof *p, site);
    uint32_t old = *p;
    *p = std::max(old, value);
    return old;
}

uint64_t atomic_max(uint64_t *p, uint64_t value, Site site) {
    check_atomic(p, sizeof *p, site);
    uint64_t old = *p;
    *p = std::max(old, value);
    return old;
}

uint32_t atomic_or(uint32_t *p, uint32_t value, Site site) {
    check_atomic(p, sizeof *p, site);
    uint32_t old = *p;
    *p = old | value;
    return old;
}

uint32_t atomic_cas(uint32_t *p, uint32_t expected, uint32_t value, Site site) {
    check_atomic(p, sizeof *p, site);
    uint32_t old = *p;
    if (old == expected) *p = value;
    return old;
}

void fence() {
    if (emulator->order == Order::chaos) preempt();
}

bool last_block(uint32_t *counter, uint32_t count, Site site) {
    Block &block = *running()->warp->block;
    block_sync(site);
    if (running()->number == 0) {
        race_release(counter);
        check_atomic(counter, sizeof *counter, site);
        if (*counter >= count) fail(site, "last_block: the counter is %u, and there are %u blocks", *counter, count);
        block.last = *counter == count - 1;
        *counter = block.last ? 0 : *counter + 1;
    }
    block_sync(site);
    if (block.last) race_acquire(counter);
    return block.last;
}

void misaligned(const void *p, size_t alignment, Site site) {
    fail(site, "the address %p is not a multiple of %zu", p, alignment);
}

void not_global(const void *p, Site site) {
    fail(site, "the address %p is shared memory, and global memory is needed", p);
}

uint3 called_thread_index() {
    return thread_index();
}

uint3 called_block_index() {
    return block_index();
}

dim3 called_block_size() {
    return block_size();
}

dim3 called_grid_size() {
    return grid_size();
}

} // namespace simt
