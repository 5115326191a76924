// simt_race.cpp: finds races and reads of unwritten memory in kernels, exactly and at once. Kernel files are compiled with
// -fsanitize=thread and linked without its runtime: the compiler's calls for every access come here.
//
// SHADOW. A page of 4 KiB that kernels may access has a state byte for every byte, and, once a kernel touched it, a cell
// for every byte (neighbours of one word are not a race): the last write and the last reads of two threads, each with
// block, thread, clock and program counter. A report is made once for a pair of places in the code.
//
// Environment: TEMPERA_SIMT_PREEMPT=n lets another thread run first at one in n accesses, at random.
#ifdef SIMT_RACE

#include "simt_race.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <unistd.h>
#include <unordered_map>
#include <vector>

#include "simt_emu.h" // preempt

namespace {

enum : uint8_t { ACCESSIBLE = 1, WRITTEN = 2, PENDING = 4, SHARED_MEMORY = 8 };

enum { PAGE_BITS = 12, PAGE = 1 << PAGE_BITS, LANES = 32, WARPS = 32 };

struct Access {
    uint32_t unit; // a block of a launch, numbered on from launch to launch; 0: none
    uint32_t clock;
    uint32_t place; // in the code
    uint16_t thread;
    bool atomic;
};

struct Cell {
    Access write, read[2];
};

struct Page {
    uint8_t state[PAGE] = {};
    std::unique_ptr<Cell[]> cells;
};

struct Clocks {
    uint32_t warp[WARPS] = {};
    void join(const Clocks &other) {
        for (int w = 0; w < WARPS; w++) warp[w] = std::max(warp[w], other.warp[w]);
    }
};

using ClocksByUnit = std::unordered_map<uint32_t, Clocks>;

} // namespace

struct simt::RaceBlock {
    uint32_t unit;
    Clocks knows[WARPS]; // row w: what warp w knows of each warp; knows[w].warp[w] is its own clock
    ClocksByUnit blocks; // what it knows of other blocks, by acquiring
};

namespace {

struct Checker {
    std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
    std::vector<std::pair<uintptr_t, uintptr_t>> images; // segments of loaded objects: static storage
    std::vector<simt::Site> sites;                       // places that the emulator names
    std::unordered_map<uint32_t, std::string> lines;     // of places that were reported
    std::string kernel;
    uint32_t launch_unit = 1, next_unit = 1;                 // first unit of this launch, first free one
    std::unordered_map<const void *, ClocksByUnit> released; // by counter
    std::map<uintptr_t, uintptr_t> ignored;                  // begin -> end
    std::set<std::tuple<int, uint32_t, uint32_t>> reported;
    std::string text; // of the reports
    uint64_t reports = 0;
    uint64_t preempt = 0, random = 1;
};

// The last pages that were looked up, by page number.
struct Cached {
    uintptr_t number;
    Page *page;
};
enum { CACHE = 4096 };
Cached cache[CACHE];

simt::RaceBlock *running; // none: accesses are not looked at
uint32_t running_thread;
uintptr_t big_ignored, big_ignored_bytes; // the largest ignored range, where most accesses go

bool inside; // what the checker itself calls may be an instrumented copy of an inline function

Checker &checker() {
    static Checker *c = [] {
        auto *created = new Checker; // lives as long as the process
        if (const char *v = getenv("TEMPERA_SIMT_PREEMPT")) created->preempt = strtoull(v, nullptr, 10);
        return created;
    }();
    return *c;
}

Page *find_page(uintptr_t number) {
    Cached &slot = cache[number % CACHE];
    if (slot.number == number) return slot.page;
    auto at = checker().pages.find(number);
    if (at == checker().pages.end()) return nullptr;
    slot = {number, at->second.get()};
    return slot.page;
}

Page *make_page(uintptr_t number) {
    if (Page *page = find_page(number)) return page;
    return (checker().pages[number] = std::make_unique<Page>()).get();
}

// f(page, first byte in it, count) for the pages of a range.
template <typename F> void for_pages(const void *p, size_t bytes, F f) {
    uintptr_t at = reinterpret_cast<uintptr_t>(p);
    while (bytes) {
        size_t offset = at % PAGE, count = std::min<size_t>(bytes, PAGE - offset);
        f(make_page(at >> PAGE_BITS), offset, count);
        at += count;
        bytes -= count;
    }
}

void set_state(const void *p, size_t bytes, uint8_t state) {
    for_pages(p, bytes, [&](Page *page, size_t offset, size_t count) {
        memset(page->state + offset, state, count);
        if (page->cells) std::fill_n(&page->cells[offset], count, Cell{});
    });
}

// ---- where ----

uintptr_t image_base() {
    static const uintptr_t base = [] {
        Dl_info info;
        return dladdr(reinterpret_cast<void *>(&image_base), &info) ? reinterpret_cast<uintptr_t>(info.dli_fbase) : 0;
    }();
    return base;
}

// A place is a program counter of this image, or the number of a site that the emulator named.
enum : uint32_t { SITE = 1u << 31 };

uint32_t place_of(const void *pc) {
    return (uint32_t)(reinterpret_cast<uintptr_t>(pc) - image_base()) & ~SITE;
}

uint32_t place_of(const simt::Site &site) {
    std::vector<simt::Site> &sites = checker().sites;
    auto at = std::find_if(sites.begin(), sites.end(),
                           [&](const simt::Site &s) { return s.line == site.line && s.file == site.file; });
    uint32_t number = (uint32_t)(at - sites.begin());
    if (at == sites.end()) sites.push_back(site);
    return SITE | number;
}

// The last two parts of a path.
std::string short_path(const std::string &path) {
    size_t slash = path.rfind('/');
    if (slash == std::string::npos || slash == 0) return path;
    slash = path.rfind('/', slash - 1);
    return slash == std::string::npos ? path : path.substr(slash + 1);
}

bool is_wrapper(const std::string &line) {
    return line.find("/simt_") != std::string::npos || line.find("device.cuh") != std::string::npos;
}

// "file:line" of the kernel's code, which may have been inlined into several functions.
std::string find_line(uint32_t place) {
    if (place & SITE) {
        const simt::Site &site = checker().sites[place & ~SITE];
        return short_path(site.file ? site.file : "?") + ":" + std::to_string(site.line);
    }
    uintptr_t pc = image_base() + place - 1; // the call, not what comes after it
    Dl_info info;
    struct link_map *image = nullptr;
    if (!dladdr1(reinterpret_cast<void *>(pc), &info, reinterpret_cast<void **>(&image), RTLD_DL_LINKMAP)) return "?";
    const auto *header = static_cast<const ElfW(Ehdr) *>(info.dli_fbase);
    uintptr_t address = header->e_type == ET_EXEC ? pc : pc - reinterpret_cast<uintptr_t>(info.dli_fbase);
    char program[4096] = "";
    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0) return "?";
    const char *path = image->l_name[0] ? image->l_name : program; // the program itself has no name here
    char command[4096], line[4096];
    snprintf(command, sizeof command, "addr2line -i -e '%s' %#lx 2>/dev/null", path, (unsigned long)address);
    std::string first, chosen;
    if (FILE *pipe = popen(command, "r")) {
        while (fgets(line, sizeof line, pipe)) {
            std::string text(line, strcspn(line, " \n"));
            if (first.empty()) first = text;
            if (chosen.empty() && !is_wrapper(text)) chosen = text;
        }
        pclose(pipe);
    }
    return short_path(chosen.empty() ? first : chosen);
}

const std::string &where(uint32_t place) {
    auto [at, fresh] = checker().lines.try_emplace(place);
    if (fresh) at->second = find_line(place);
    return at->second;
}

std::string who(uint32_t unit, uint32_t thread) {
    return "block " + std::to_string(unit - checker().launch_unit) + " thread " + std::to_string(thread);
}

// ---- reports ----

enum Fault { RACE, UNWRITTEN, PENDING_COPY, OUTSIDE, MISALIGNED };
enum Kind { READ, WRITE, ATOMIC };

enum { PRINTED_REPORTS = 50 };

const char *kind_name(Kind kind) {
    return kind == READ ? "read" : kind == WRITE ? "write" : "atomic";
}

void report(Fault fault, Kind kind, uintptr_t address, uint32_t place, bool shared, const Access *other = nullptr,
            Kind other_kind = READ) {
    Checker &c = checker();
    if (!c.reported.insert({fault, place, other ? other->place : 0}).second) return;
    if (++c.reports > PRINTED_REPORTS) return;
    std::string memory = shared ? "shared memory" : "device memory", text = std::string(kind_name(kind)) + " of ";
    switch (fault) {
    case RACE: text += memory + " races with an earlier " + kind_name(other_kind); break;
    case UNWRITTEN: text += memory + " that was never written"; break;
    case PENDING_COPY: text += "the destination of an asynchronous copy before its wait"; break;
    case OUTSIDE: text += "memory that is not the device's"; break;
    case MISALIGNED: text += "a misaligned address"; break;
    }
    text = "simt race: " + c.kernel + ": " + text + " at " + where(place) + " (" + who(running->unit, running_thread) +
           ")";
    if (other)
        text += std::string(", the ") + kind_name(other_kind) + " at " + where(other->place) + " (" +
                who(other->unit, other->thread) + ")";
    c.text += text + "\n";
    fprintf(stderr, "%s, address %#lx\n", text.c_str(), (unsigned long)address);
}

// ---- accesses ----

bool ordered(const Access &earlier, const Access &now) {
    if (earlier.unit < checker().launch_unit) return true;
    uint32_t warp = earlier.thread / LANES;
    if (earlier.unit == now.unit)
        return earlier.thread == now.thread || earlier.clock < running->knows[now.thread / LANES].warp[warp];
    auto known = running->blocks.find(earlier.unit);
    return known != running->blocks.end() && earlier.clock < known->second.warp[warp];
}

Kind kind_of(const Access &access, Kind plain) {
    return access.atomic ? ATOMIC : plain;
}

bool same_thread(const Access &a, const Access &b) {
    return a.unit == b.unit && a.thread == b.thread;
}

// A read takes the place of its thread's last one, else of one that is ordered before it, else of the older one.
void remember_read(Cell &cell, const Access &now) {
    Access &older = cell.read[0], &newer = cell.read[1];
    if (same_thread(newer, now)) {
        newer = now;
    } else if (same_thread(older, now) || ordered(older, now)) {
        older = newer;
        newer = now;
    } else {
        if (!ordered(newer, now)) older = newer;
        newer = now;
    }
}

void check_cell(Cell &cell, Kind kind, uintptr_t address, const Access &now, bool shared) {
    if (!(now.atomic && cell.write.atomic) && !ordered(cell.write, now))
        report(RACE, kind, address, now.place, shared, &cell.write, kind_of(cell.write, WRITE));
    if (kind == READ) {
        remember_read(cell, now);
        return;
    }
    for (const Access &read : cell.read)
        if (!ordered(read, now)) report(RACE, kind, address, now.place, shared, &read, READ);
    cell.write = now;
}

// Static storage, and what the emulator declared to be its own, is nobody's business.
bool is_foreign(uintptr_t address) {
    Checker &c = checker();
    auto at = c.ignored.upper_bound(address);
    if (at != c.ignored.begin() && address < std::prev(at)->second) return false;
    auto within = [&] {
        return std::any_of(c.images.begin(), c.images.end(),
                           [&](const auto &image) { return address >= image.first && address < image.second; });
    };
    if (within()) return false;
    c.images.clear();
    dl_iterate_phdr(
        [](struct dl_phdr_info *info, size_t, void *data) {
            for (int i = 0; i < info->dlpi_phnum; i++)
                if (info->dlpi_phdr[i].p_type == PT_LOAD) {
                    uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
                    static_cast<Checker *>(data)->images.push_back({begin, begin + info->dlpi_phdr[i].p_memsz});
                }
            return 0;
        },
        &c);
    return !within();
}

enum Change { NO_CHANGE, ISSUE, DONE }; // of the state of an asynchronous copy's destination

void look_at(uintptr_t address, size_t bytes, Kind kind, uint32_t place, Change change = NO_CHANGE) {
    uint32_t warp = running_thread / LANES;
    Access now = {running->unit, running->knows[warp].warp[warp], place, (uint16_t)running_thread, kind == ATOMIC};
    while (bytes) {
        size_t offset = address % PAGE, count = std::min<size_t>(bytes, PAGE - offset);
        Page *page = find_page(address >> PAGE_BITS);
        for (size_t i = offset; i < offset + count; i++) {
            if (!page || !(page->state[i] & ACCESSIBLE)) {
                if (is_foreign(address + i - offset)) report(OUTSIDE, kind, address + i - offset, place, false);
                return;
            }
            if (!page->cells) page->cells.reset(new Cell[PAGE]());
            uint8_t &state = page->state[i];
            bool shared = state & SHARED_MEMORY;
            if ((state & PENDING) && change != DONE)
                report(PENDING_COPY, kind, address, place, shared);
            else if (kind != WRITE && !(state & WRITTEN))
                report(UNWRITTEN, kind, address, place, shared);
            check_cell(page->cells[i], kind, address, now, shared);
            if (kind != READ && change != ISSUE) state |= WRITTEN;
            if (change == ISSUE) state |= PENDING;
            if (change == DONE) state &= (uint8_t)~PENDING;
        }
        address += count;
        bytes -= count;
    }
}

bool preempts() {
    Checker &c = checker();
    if (c.preempt == 0) return false;
    c.random = c.random * 6364136223846793005u + 1442695040888963407u;
    return (c.random >> 33) % c.preempt == 0;
}

inline void access(const void *p, size_t bytes, Kind kind, const void *pc, size_t alignment) {
    uintptr_t address = reinterpret_cast<uintptr_t>(p);
    if (!running || inside || address - big_ignored < big_ignored_bytes) return;
    inside = true;
    bool yields = preempts();
    inside = false;
    if (yields) simt::preempt();
    inside = true;
    if (address % alignment) report(MISALIGNED, kind, address, place_of(pc), false);
    look_at(address, bytes, kind, place_of(pc));
    inside = false;
}

} // namespace

namespace simt {

void race_allocated(const void *p, size_t bytes, bool written) {
    set_state(p, bytes, (uint8_t)(ACCESSIBLE | (written ? WRITTEN : 0)));
}

void race_freed(const void *p, size_t bytes) {
    set_state(p, bytes, 0);
}

void race_written(const void *p, size_t bytes) {
    for_pages(p, bytes, [](Page *page, size_t offset, size_t count) {
        for (size_t i = offset; i < offset + count; i++)
            if (page->state[i]) page->state[i] |= WRITTEN;
    });
}

void race_copied(void *to, const void *from, size_t bytes) {
    uintptr_t target = reinterpret_cast<uintptr_t>(to), source = reinterpret_cast<uintptr_t>(from);
    for (size_t i = 0; i < bytes; i++) {
        Page *page = find_page((target + i) >> PAGE_BITS), *source_page = find_page((source + i) >> PAGE_BITS);
        if (!page || !page->state[(target + i) % PAGE]) continue; // host memory
        uint8_t &state = page->state[(target + i) % PAGE];
        uint8_t source_state = source_page ? source_page->state[(source + i) % PAGE] : 0;
        bool written = !(source_state & ACCESSIBLE) || (source_state & WRITTEN);
        state = (uint8_t)(written ? state | WRITTEN : state & ~WRITTEN);
    }
}

void race_ignored(const void *p, size_t bytes, bool ignored) {
    uintptr_t begin = reinterpret_cast<uintptr_t>(p);
    if (ignored)
        checker().ignored[begin] = begin + bytes;
    else
        checker().ignored.erase(begin);
    if (ignored && bytes > big_ignored_bytes) big_ignored = begin, big_ignored_bytes = bytes;
    if (!ignored && begin == big_ignored) big_ignored_bytes = 0;
}

void race_launch(const char *kernel) {
    Checker &c = checker();
    c.kernel = kernel ? kernel : "a kernel";
    c.launch_unit = c.next_unit;
    c.released.clear();
}

RaceBlock *race_block_begin(uint32_t block, int threads) {
    (void)threads;
    auto *begun = new RaceBlock;
    begun->unit = checker().launch_unit + block;
    for (int w = 0; w < WARPS; w++) begun->knows[w].warp[w] = 1;
    checker().next_unit = std::max(checker().next_unit, begun->unit + 1);
    return begun;
}

void race_block_end(RaceBlock *block) {
    if (running == block) running = nullptr;
    delete block;
}

void race_running(RaceBlock *block, int thread) {
    running = block;
    running_thread = (uint32_t)thread;
}

void race_shared(const void *p, size_t bytes) {
    set_state(p, bytes, ACCESSIBLE | SHARED_MEMORY);
}

void race_shared_end(const void *p, size_t bytes) {
    set_state(p, bytes, 0);
}

void race_barrier(RaceBlock *block, uint32_t warps) {
    Clocks merged;
    for (int w = 0; w < WARPS; w++)
        if (warps >> w & 1) {
            block->knows[w].warp[w]++;
            merged.join(block->knows[w]);
        }
    for (int w = 0; w < WARPS; w++)
        if (warps >> w & 1) block->knows[w] = merged;
}

void race_warp_sync(RaceBlock *block, int warp) {
    block->knows[warp].warp[warp]++;
}

void race_access(const void *p, size_t bytes, RaceAccess kind, const Site &site) {
    static const Kind kinds[] = {READ, WRITE, ATOMIC};
    if (running) look_at(reinterpret_cast<uintptr_t>(p), bytes, kinds[kind], place_of(site));
}

void race_async_issued(const void *to, size_t bytes, const Site &site) {
    if (running) look_at(reinterpret_cast<uintptr_t>(to), bytes, WRITE, place_of(site), ISSUE);
}

void race_async_done(const void *to, size_t bytes, const Site &site) {
    if (running) look_at(reinterpret_cast<uintptr_t>(to), bytes, WRITE, place_of(site), DONE);
}

// The clock ticks, so that what the thread did up to now, its atomic on the counter included, is part of it.
void race_release(const void *counter) {
    if (!running) return;
    Clocks &row = running->knows[running_thread / LANES];
    row.warp[running_thread / LANES]++;
    ClocksByUnit &blocks = checker().released[counter];
    for (const auto &[unit, clocks] : running->blocks) blocks[unit].join(clocks);
    blocks[running->unit].join(row);
}

void race_acquire(const void *counter) {
    if (!running) return;
    for (const auto &[unit, clocks] : checker().released[counter]) running->blocks[unit].join(clocks);
}

} // namespace simt

// ---- what the compiler calls ----

#define HERE __builtin_return_address(0)

extern "C" {

void __tsan_init(void) {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void) {}

// The compiler's calls for 8 and 16 bytes are also those for copies of structs that need less alignment; dev::ld128 and its
// like check for themselves.
#define NATURAL(size) (size <= 4 ? size : 1)
#define ACCESS_FUNCTIONS(size)                                                                                         \
    void __tsan_read##size(void *p) {                                                                                  \
        access(p, size, READ, HERE, NATURAL(size));                                                                    \
    }                                                                                                                  \
    void __tsan_write##size(void *p) {                                                                                 \
        access(p, size, WRITE, HERE, NATURAL(size));                                                                   \
    }                                                                                                                  \
    void __tsan_unaligned_read##size(void *p) {                                                                        \
        access(p, size, READ, HERE, 1);                                                                                \
    }                                                                                                                  \
    void __tsan_unaligned_write##size(void *p) {                                                                       \
        access(p, size, WRITE, HERE, 1);                                                                               \
    }                                                                                                                  \
    void __tsan_volatile_read##size(void *p) {                                                                         \
        access(p, size, READ, HERE, NATURAL(size));                                                                    \
    }                                                                                                                  \
    void __tsan_volatile_write##size(void *p) {                                                                        \
        access(p, size, WRITE, HERE, NATURAL(size));                                                                   \
    }                                                                                                                  \
    void __tsan_unaligned_volatile_read##size(void *p) {                                                               \
        access(p, size, READ, HERE, 1);                                                                                \
    }                                                                                                                  \
    void __tsan_unaligned_volatile_write##size(void *p) {                                                              \
        access(p, size, WRITE, HERE, 1);                                                                               \
    }                                                                                                                  \
    void __tsan_read_write##size(void *p) {                                                                            \
        access(p, size, READ, HERE, NATURAL(size));                                                                    \
        access(p, size, WRITE, HERE, NATURAL(size));                                                                   \
    }                                                                                                                  \
    void __tsan_unaligned_read_write##size(void *p) {                                                                  \
        access(p, size, READ, HERE, 1);                                                                                \
        access(p, size, WRITE, HERE, 1);                                                                               \
    }
ACCESS_FUNCTIONS(1)
ACCESS_FUNCTIONS(2)
ACCESS_FUNCTIONS(4)
ACCESS_FUNCTIONS(8)
ACCESS_FUNCTIONS(16)

void __tsan_read_range(void *p, size_t bytes) {
    access(p, bytes, READ, HERE, 1);
}
void __tsan_write_range(void *p, size_t bytes) {
    access(p, bytes, WRITE, HERE, 1);
}
void __tsan_vptr_read(void *) {}
void __tsan_vptr_update(void *, void *) {}

void *__tsan_memcpy(void *to, const void *from, size_t bytes) {
    access(from, bytes, READ, HERE, 1);
    access(to, bytes, WRITE, HERE, 1);
    return memcpy(to, from, bytes);
}
void *__tsan_memmove(void *to, const void *from, size_t bytes) {
    access(from, bytes, READ, HERE, 1);
    access(to, bytes, WRITE, HERE, 1);
    return memmove(to, from, bytes);
}
void *__tsan_memset(void *to, int value, size_t bytes) {
    access(to, bytes, WRITE, HERE, 1);
    return memset(to, value, bytes);
}

// std::atomic and the guards of local statics, of host code in a kernel's file: kernels have the emulator's atomics.
#define ATOMIC_FUNCTIONS(bits)                                                                                         \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *p, int) {                                 \
        return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                                   \
    }                                                                                                                  \
    void __tsan_atomic##bits##_store(volatile uint##bits##_t *p, uint##bits##_t v, int) {                              \
        __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                                      \
    }                                                                                                                  \
    uint##bits##_t __tsan_atomic##bits##_exchange(volatile uint##bits##_t *p, uint##bits##_t v, int) {                 \
        return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                                            \
    }                                                                                                                  \
    uint##bits##_t __tsan_atomic##bits##_fetch_add(volatile uint##bits##_t *p, uint##bits##_t v, int) {                \
        return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                                             \
    }                                                                                                                  \
    uint##bits##_t __tsan_atomic##bits##_fetch_sub(volatile uint##bits##_t *p, uint##bits##_t v, int) {                \
        return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);                                                             \
    }                                                                                                                  \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile uint##bits##_t *p, uint##bits##_t *expected,            \
                                                      uint##bits##_t v, int, int) {                                    \
        return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                 \
    }
ATOMIC_FUNCTIONS(8)
ATOMIC_FUNCTIONS(16)
ATOMIC_FUNCTIONS(32)
ATOMIC_FUNCTIONS(64)
void __tsan_atomic_thread_fence(int) {}
void __tsan_atomic_signal_fence(int) {}

__attribute__((visibility("default"))) uint64_t simt_race_reports(void) {
    return checker().reports;
}

__attribute__((visibility("default"))) uint64_t simt_race_take(void) {
    Checker &c = checker();
    c.reported.clear();
    c.text.clear();
    uint64_t reports = c.reports;
    c.reports = 0;
    return reports;
}

__attribute__((visibility("default"))) const char *simt_race_text(void) {
    return checker().text.c_str();
}
}

namespace {

enum { EXIT_RACES = 86 };

// A program whose kernels raced does not end well.
__attribute__((destructor)) void end_with_reports() {
    uint64_t reports = checker().reports;
    if (reports == 0) return;
    fprintf(stderr, "simt race: %llu reports\n", (unsigned long long)reports);
    fflush(nullptr);
    _exit(EXIT_RACES);
}

} // namespace

#else

#include "simt_race.h"

extern "C" {
__attribute__((visibility("default"))) uint64_t simt_race_reports(void) {
    return 0;
}
__attribute__((visibility("default"))) uint64_t simt_race_take(void) {
    return 0;
}
__attribute__((visibility("default"))) const char *simt_race_text(void) {
    return "";
}
}

#endif
