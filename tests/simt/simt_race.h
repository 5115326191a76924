// simt_race.h: what the race checker (simt_race.cpp) is told by the runtime and by the emulator, and what tests ask. Without
// SIMT_RACE there is no checker, and every function is empty.
//
// ORDER. Two accesses of one launch are ordered when they are of one thread, or when barriers lead from one to the other.
// Every warp has a clock that ticks when a barrier or a warp_sync lets it go on, and a row that says up to which clock it
// knows the other warps of its block; a barrier merges the rows of the warps that met. A shuffle orders nothing. Blocks
// are ordered by release and acquire of a counter only.
#ifndef SIMT_RACE_H
#define SIMT_RACE_H

#include <cstddef>
#include <cstdint>

namespace simt {

struct RaceBlock; // one resident block
struct Site;      // a place in the source (simt_emu.h)
enum RaceAccess { RACE_READ, RACE_WRITE, RACE_ATOMIC };

#ifdef SIMT_RACE

// ---- told by the runtime ----

void race_allocated(const void *p, size_t bytes, bool written); // kernels may access it from now on
void race_freed(const void *p, size_t bytes);
void race_written(const void *p, size_t bytes);             // by the host, outside of kernels
void race_copied(void *to, const void *from, size_t bytes); // `to` is now written where `from` is

// ---- told by the emulator ----

// Host memory that emulated threads may touch for the emulation's own sake: fiber stacks, launch arguments, block structs.
void race_ignored(const void *p, size_t bytes, bool ignored);
void race_launch(const char *kernel); // a grid begins
RaceBlock *race_block_begin(uint32_t block, int threads);
void race_block_end(RaceBlock *block);
// Which thread runs from now on; block NULL: none, accesses are not looked at (schedulers, completers).
void race_running(RaceBlock *block, int thread);
void race_shared(const void *p, size_t bytes); // fresh shared memory of a block: nothing is written
void race_shared_end(const void *p, size_t bytes);
// All threads of the warps in the mask (bit w: warp w) have met, at a block barrier or a named one.
void race_barrier(RaceBlock *block, uint32_t warps);
void race_warp_sync(RaceBlock *block, int warp);
// An access by the running thread that the compiler did not see, on behalf of the code at site.
void race_access(const void *p, size_t bytes, RaceAccess kind, const Site &site);
// An asynchronous copy into shared memory: from its issue to its wait nobody may touch the destination.
void race_async_issued(const void *to, size_t bytes, const Site &site);
void race_async_done(const void *to, size_t bytes, const Site &site);
// The running thread makes what it knows visible to those who acquire the same counter later in the launch.
void race_release(const void *counter);
void race_acquire(const void *counter);

#else

inline void race_allocated(const void *, size_t, bool) {}
inline void race_freed(const void *, size_t) {}
inline void race_written(const void *, size_t) {}
inline void race_copied(void *, const void *, size_t) {}
inline void race_ignored(const void *, size_t, bool) {}
inline void race_launch(const char *) {}
inline RaceBlock *race_block_begin(uint32_t, int) {
    return nullptr;
}
inline void race_block_end(RaceBlock *) {}
inline void race_running(RaceBlock *, int) {}
inline void race_shared(const void *, size_t) {}
inline void race_shared_end(const void *, size_t) {}
inline void race_barrier(RaceBlock *, uint32_t) {}
inline void race_warp_sync(RaceBlock *, int) {}
inline void race_access(const void *, size_t, RaceAccess, const Site &) {}
inline void race_async_issued(const void *, size_t, const Site &) {}
inline void race_async_done(const void *, size_t, const Site &) {}
inline void race_release(const void *) {}
inline void race_acquire(const void *) {}

#endif

} // namespace simt

// Reports so far, and their lines; a process with reports ends with exit status 86. Taking them leaves none.
extern "C" {
uint64_t simt_race_reports(void);
const char *simt_race_text(void);
uint64_t simt_race_take(void);
}

#endif
