// simt_cudart.cpp: the CUDA runtime on the CPU, linked instead of libcudart. The prototypes are the toolkit's, so that a
// wrong signature does not compile. simt_runtime.h says how time and memory behave.
//
// The state never refers to what it handed out by plain addresses, but by their complements: the leak checker then sees a
// stream or a buffer as lost when the program lost it.
#include "simt_runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "simt_race.h"

#if defined(SIMT_SANITIZE) || defined(__SANITIZE_ADDRESS__)
#define SIMT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIMT_ASAN 1
#endif
#endif
#ifdef SIMT_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace {

using simt::Operation;

// How far a stream is: operations are numbered from 1 in the order of their enqueueing.
struct Progress {
    uint64_t enqueued = 0, done = 0;
};

// "That stream has done its first `position` operations."
struct Target {
    std::shared_ptr<Progress> progress;
    uint64_t position = 0;
    bool reached() const { return !progress || progress->done >= position; }
};

struct Queued {
    std::shared_ptr<const Operation> operation;
    std::vector<Target> after;
};

struct Record { // of an event
    Target target;
    int64_t nanoseconds = 0;
};

uintptr_t hidden(const void *p) {
    return ~reinterpret_cast<uintptr_t>(p);
}

template <typename T> T *shown(uintptr_t key) {
    return reinterpret_cast<T *>(~key);
}

} // namespace

struct CUstream_st {
    std::shared_ptr<Progress> progress = std::make_shared<Progress>();
    std::deque<Queued> queue;
    bool blocking = true; // takes turns with the null stream
    bool capturing = false;
};

struct CUevent_st {
    std::shared_ptr<Record> record; // none: never recorded
    bool timing = true;
    bool captured = false; // the record was captured: it is part of a graph
};

struct CUgraphNode_st {
    std::shared_ptr<const Operation> operation;
    cudaGraphNodeType type;
};

struct CUgraph_st {
    std::vector<std::unique_ptr<CUgraphNode_st>> nodes;
};

struct CUgraphExec_st {
    std::vector<std::shared_ptr<const Operation>> operations;
};

namespace {

struct Capture {
    CUstream_st *stream = nullptr; // none: no capture
    cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
    std::unique_ptr<CUgraph_st> graph;
    bool invalid = false;
};

struct State {
    std::recursive_mutex mutex;
    // configuration
    bool eager = false;
    uint64_t random = 1;
    size_t memory = (size_t)1 << 30;
    int devices = 1, major = 8, minor = 0, processors = 4, driver = CUDART_VERSION;
    FILE *call_names = nullptr;
    // what was handed out: hidden address -> bytes
    std::map<uintptr_t, size_t> device, pinned;
    std::set<uintptr_t> streams, events, graphs, graph_execs;
    std::map<const void *, size_t> dynamic_shared; // by cudaFuncSetAttribute
    size_t used = 0;
    CUstream_st null_stream;
    Capture capture;
    int open = 0; // device memory is accessible while > 0
    // faults
    uint64_t calls = 0, fail_at = 0;
    bool fail_sticky = false;
    cudaError_t sticky = cudaSuccess;
    std::string explanation;
};

thread_local cudaError_t last_error = cudaSuccess;

void read_environment(State &s) {
    if (const char *v = getenv("TEMPERA_SIMT_STREAMS")) s.eager = strcmp(v, "eager") == 0;
    if (const char *v = getenv("TEMPERA_SIMT_SEED")) s.random = strtoull(v, nullptr, 10);
    if (const char *v = getenv("TEMPERA_SIMT_MEMORY")) s.memory = (size_t)strtoull(v, nullptr, 10);
    if (const char *v = getenv("TEMPERA_SIMT_DEVICES")) s.devices = atoi(v);
    if (const char *v = getenv("TEMPERA_SIMT_CAPABILITY")) sscanf(v, "%d.%d", &s.major, &s.minor);
    if (const char *v = getenv("TEMPERA_SIMT_PROCESSORS")) s.processors = std::max(1, atoi(v));
    if (const char *v = getenv("TEMPERA_SIMT_DRIVER")) s.driver = atoi(v);
    if (const char *v = getenv("TEMPERA_SIMT_CALLS")) s.call_names = fopen(v, "w");
    if (const char *v = getenv("TEMPERA_SIMT_FAIL")) {
        s.fail_sticky = strncmp(v, "sticky:", 7) == 0;
        s.fail_at = strtoull(s.fail_sticky ? v + 7 : v, nullptr, 10);
    }
}

// Lives until the process ends: streams may outlive static destructors.
State &state() {
    static State *s = [] {
        State *created = new State;
        read_environment(*created);
        return created;
    }();
    return *s;
}

// ---- device memory is closed to the host ----

void poison(const void *p, size_t bytes) {
#ifdef SIMT_ASAN
    __asan_poison_memory_region(p, bytes);
#else
    (void)p, (void)bytes;
#endif
}

void unpoison(const void *p, size_t bytes) {
#ifdef SIMT_ASAN
    __asan_unpoison_memory_region(p, bytes);
#else
    (void)p, (void)bytes;
#endif
}

class OpenMemory {
  public:
    OpenMemory() {
        if (state().open++) return;
        for (auto &[key, bytes] : state().device) unpoison(shown<void>(key), bytes);
    }
    ~OpenMemory() {
        if (--state().open) return;
        for (auto &[key, bytes] : state().device) poison(shown<void>(key), bytes);
    }
    OpenMemory(const OpenMemory &) = delete;
    OpenMemory &operator=(const OpenMemory &) = delete;
};

enum class Place { host, pinned, device, invalid };

enum class Inside { outside, inside, across };

Inside look_up(const std::map<uintptr_t, size_t> &allocations, const void *p, size_t bytes) {
    uintptr_t begin = reinterpret_cast<uintptr_t>(p), end = begin + std::max<size_t>(bytes, 1);
    auto at = allocations.lower_bound(~begin); // keys are complements: the last allocation that begins at or before p
    if (at != allocations.end() && begin < ~at->first + at->second)
        return end <= ~at->first + at->second ? Inside::inside : Inside::across;
    return at != allocations.begin() && ~std::prev(at)->first < end ? Inside::across : Inside::outside;
}

Place place(const void *p, size_t bytes) {
    Inside device = look_up(state().device, p, bytes), pinned = look_up(state().pinned, p, bytes);
    if (!p || device == Inside::across || pinned == Inside::across) return Place::invalid;
    if (device == Inside::inside) return Place::device;
    return pinned == Inside::inside ? Place::pinned : Place::host;
}

const char *place_name(Place where) {
    switch (where) {
    case Place::host: return "pageable host memory";
    case Place::pinned: return "pinned host memory";
    case Place::device: return "device memory";
    default: return "not inside one allocation";
    }
}

// ---- queues ----

uint64_t random_below(uint64_t count) {
    uint64_t z = state().random += 0x9E3779B97F4A7C15u; // splitmix64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (z ^ (z >> 31)) % count;
}

void for_each_stream(const std::function<void(CUstream_st &)> &f) {
    f(state().null_stream);
    for (uintptr_t key : state().streams) f(*shown<CUstream_st>(key));
}

// Runs one operation of a randomly picked stream; false when none can run.
bool run_one() {
    std::vector<CUstream_st *> ready;
    for_each_stream([&](CUstream_st &stream) {
        if (stream.queue.empty()) return;
        const std::vector<Target> &after = stream.queue.front().after;
        if (std::all_of(after.begin(), after.end(), [](const Target &t) { return t.reached(); }))
            ready.push_back(&stream);
    });
    if (ready.empty()) return false;
    CUstream_st &stream = *ready[random_below(ready.size())];
    Queued next = std::move(stream.queue.front());
    stream.queue.pop_front();
    if (state().sticky == cudaSuccess) state().sticky = (*next.operation)(); // a lost device drops what is queued
    stream.progress->done++;
    return true;
}

cudaError_t run_until(const Target &target) {
    OpenMemory open;
    while (!target.reached()) {
        if (run_one()) continue;
        simt::explain("a stream waits for something that cannot happen");
        return cudaErrorUnknown;
    }
    return state().sticky;
}

Target tail(const CUstream_st &stream) {
    return {stream.progress, stream.progress->enqueued};
}

cudaError_t run_all() {
    std::vector<Target> tails;
    for_each_stream([&](CUstream_st &stream) { tails.push_back(tail(stream)); });
    for (const Target &target : tails)
        if (cudaError_t error = run_until(target)) return error;
    return state().sticky;
}

void push(CUstream_st &stream, std::shared_ptr<const Operation> operation, std::vector<Target> after = {}) {
    bool is_null = &stream == &state().null_stream;
    if (stream.blocking)
        for_each_stream([&](CUstream_st &other) {
            bool other_null = &other == &state().null_stream;
            if (&other != &stream && other.blocking && (is_null || other_null)) after.push_back(tail(other));
        });
    stream.progress->enqueued++;
    stream.queue.push_back({std::move(operation), std::move(after)});
    if (state().eager) run_until(tail(stream));
}

// ---- calls ----

cudaError_t finish(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

cudaError_t no_device() {
    if (state().driver / 1000 < CUDART_VERSION / 1000) return cudaErrorInsufficientDriver;
    return state().devices > 0 ? cudaSuccess : cudaErrorNoDevice;
}

using Lock = std::lock_guard<std::recursive_mutex>;

// A call that does nothing when it fails.
template <typename Body> cudaError_t call(const char *name, cudaError_t injected, Body body) {
    Lock lock(state().mutex);
    cudaError_t error = simt::count_call(name, injected);
    if (error == cudaSuccess) error = no_device();
    if (error == cudaSuccess) error = body();
    return finish(error);
}

// A call that gives something back: it does so even when it has an error to report.
template <typename Body> cudaError_t release_call(const char *name, Body body) {
    Lock lock(state().mutex);
    cudaError_t error = simt::count_call(name, cudaErrorUnknown), own = body();
    return finish(error == cudaSuccess ? own : error);
}

cudaError_t invalid(const char *what) {
    simt::explain("%s", what);
    return cudaErrorInvalidValue;
}

// What may not happen while a stream is captured: waiting, allocating, the null stream.
cudaError_t not_in_capture(const char *what) {
    Capture &capture = state().capture;
    if (!capture.stream || capture.mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
    capture.invalid = true;
    simt::explain("%s while a stream is captured", what);
    return cudaErrorStreamCaptureUnsupported;
}

cudaError_t find_stream(cudaStream_t handle, CUstream_st **stream) {
    if (handle == nullptr || handle == cudaStreamLegacy) {
        if (state().capture.stream) {
            state().capture.invalid = true;
            simt::explain("the null stream is used while a stream is captured");
            return cudaErrorStreamCaptureImplicit;
        }
        *stream = &state().null_stream;
        return cudaSuccess;
    }
    if (!state().streams.count(hidden(handle))) {
        simt::explain("not a stream, or one that was destroyed");
        return cudaErrorInvalidResourceHandle;
    }
    *stream = handle;
    return cudaSuccess;
}

cudaError_t find_event(cudaEvent_t event) {
    if (state().events.count(hidden(event))) return cudaSuccess;
    simt::explain("not an event, or one that was destroyed");
    return cudaErrorInvalidResourceHandle;
}

// To the stream, or into the graph that it is captured into.
cudaError_t submit(cudaStream_t handle, Operation operation, cudaGraphNodeType type) {
    CUstream_st *stream;
    if (cudaError_t error = find_stream(handle, &stream)) return error;
    auto shared = std::make_shared<const Operation>(std::move(operation));
    if (!stream->capturing) {
        push(*stream, std::move(shared));
        return cudaSuccess;
    }
    Capture &capture = state().capture;
    if (capture.invalid) return cudaErrorStreamCaptureInvalidated;
    capture.graph->nodes.push_back(std::make_unique<CUgraphNode_st>(CUgraphNode_st{std::move(shared), type}));
    return cudaSuccess;
}

cudaError_t wait_for_stream(CUstream_st &stream) {
    return run_until(tail(stream));
}

} // namespace

// ---- simt_runtime.h ----

namespace simt {

void explain(const char *format, ...) {
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    Lock lock(state().mutex);
    state().explanation = text;
}

cudaError_t count_call(const char *name, cudaError_t injected) {
    State &s = state();
    Lock lock(s.mutex);
    s.calls++;
    if (s.call_names) fprintf(s.call_names, "%s\n", name), fflush(s.call_names);
    if (s.sticky != cudaSuccess) return s.sticky;
    if (s.fail_at == 0 || --s.fail_at != 0) return cudaSuccess;
    explain("call %llu, %s, was made to fail", (unsigned long long)s.calls, name);
    if (s.fail_sticky) return s.sticky = cudaErrorIllegalAddress;
    return injected;
}

bool is_device_memory(const void *p, size_t bytes) {
    Lock lock(state().mutex);
    return place(p, bytes) == Place::device;
}

cudaError_t enqueue(cudaStream_t stream, Operation work) {
    Lock lock(state().mutex);
    return submit(stream, std::move(work), cudaGraphNodeTypeKernel);
}

} // namespace simt

namespace {

struct SharedLimits {
    size_t block, processor; // bytes that a block may ask for, bytes of a multiprocessor
};

SharedLimits shared_limits() {
    int capability = state().major * 10 + state().minor;
    if (capability < 80) return {64 << 10, 64 << 10};
    if (capability == 80 || capability == 87) return {163 << 10, 164 << 10};
    if (capability == 86 || capability == 89 || capability >= 120) return {99 << 10, 100 << 10};
    return {227 << 10, 228 << 10};
}

constexpr size_t DEFAULT_SHARED = 48 << 10;
constexpr int BLOCK_THREADS = 1024, PROCESSOR_THREADS = 2048, PROCESSOR_BLOCKS = 32;

cudaError_t check_launch(const void *kernel, dim3 grid, dim3 block, size_t shared_bytes) {
    size_t threads = (size_t)block.x * block.y * block.z;
    if (threads == 0 || threads > (size_t)BLOCK_THREADS || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
        grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535) {
        simt::explain("a launch of %u x %u x %u blocks of %u x %u x %u threads", grid.x, grid.y, grid.z, block.x,
                      block.y, block.z);
        return cudaErrorInvalidConfiguration;
    }
    auto asked = state().dynamic_shared.find(kernel);
    size_t limit = asked == state().dynamic_shared.end() ? DEFAULT_SHARED : std::max(asked->second, DEFAULT_SHARED);
    if (shared_bytes <= limit) return cudaSuccess;
    simt::explain("a launch with %zu bytes of dynamic shared memory; the kernel was given %zu", shared_bytes, limit);
    return cudaErrorInvalidValue;
}

} // namespace

size_t simt::shared_memory_limit() {
    return shared_limits().block;
}

cudaError_t simt::enqueue_launch(const void *kernel, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                                 Operation work) {
    return call("launch", cudaErrorLaunchOutOfResources, [&] {
        cudaError_t error = check_launch(kernel, grid, block, shared_bytes);
        return error ? error : submit(stream, std::move(work), cudaGraphNodeTypeKernel);
    });
}

extern "C" {

__attribute__((visibility("default"))) uint64_t simt_calls(void) {
    return state().calls;
}

__attribute__((visibility("default"))) void simt_fail_call(uint64_t number, bool sticky) {
    state().fail_at = number;
    state().fail_sticky = sticky;
}

__attribute__((visibility("default"))) void simt_revive(void) {
    state().sticky = last_error = cudaSuccess;
}

__attribute__((visibility("default"))) size_t simt_live_objects(void) {
    const State &s = state();
    return s.device.size() + s.pinned.size() + s.streams.size() + s.events.size() + s.graphs.size() +
           s.graph_execs.size();
}

__attribute__((visibility("default"))) size_t simt_memory_used(void) {
    return state().used;
}

__attribute__((visibility("default"))) const char *simt_last_error(void) {
    return state().explanation.c_str();
}

// ---- versions, devices ----

cudaError_t cudaDriverGetVersion(int *driverVersion) {
    Lock lock(state().mutex);
    *driverVersion = state().driver;
    return finish(simt::count_call(__func__, cudaErrorUnknown));
}

cudaError_t cudaRuntimeGetVersion(int *runtimeVersion) {
    *runtimeVersion = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
    *count = 0;
    return call(__func__, cudaErrorUnknown, [&] {
        *count = state().devices;
        return cudaSuccess;
    });
}

cudaError_t cudaSetDevice(int device) {
    return call(__func__, cudaErrorDevicesUnavailable,
                [&] { return device >= 0 && device < state().devices ? cudaSuccess : cudaErrorInvalidDevice; });
}

cudaError_t cudaGetDevice(int *device) {
    return call(__func__, cudaErrorUnknown, [&] {
        *device = 0;
        return cudaSuccess;
    });
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device) {
    return call(__func__, cudaErrorUnknown, [&] {
        const State &s = state();
        if (device < 0 || device >= s.devices) return cudaErrorInvalidDevice;
        *prop = {};
        snprintf(prop->name, sizeof prop->name, "SIMT emulation");
        prop->totalGlobalMem = s.memory;
        prop->sharedMemPerBlock = DEFAULT_SHARED;
        prop->sharedMemPerBlockOptin = shared_limits().block;
        prop->sharedMemPerMultiprocessor = shared_limits().processor;
        prop->reservedSharedMemPerBlock = 1024;
        prop->regsPerBlock = prop->regsPerMultiprocessor = 65536;
        prop->warpSize = 32;
        prop->maxThreadsPerBlock = BLOCK_THREADS;
        prop->maxThreadsPerMultiProcessor = PROCESSOR_THREADS;
        prop->maxBlocksPerMultiProcessor = PROCESSOR_BLOCKS;
        prop->maxThreadsDim[0] = prop->maxThreadsDim[1] = 1024;
        prop->maxThreadsDim[2] = 64;
        prop->maxGridSize[0] = 0x7FFFFFFF;
        prop->maxGridSize[1] = prop->maxGridSize[2] = 65535;
        prop->totalConstMem = 65536;
        prop->major = s.major;
        prop->minor = s.minor;
        prop->multiProcessorCount = s.processors;
        prop->l2CacheSize = 4 << 20;
        prop->memoryBusWidth = 64;
        prop->asyncEngineCount = 1;
        prop->unifiedAddressing = prop->concurrentKernels = prop->canMapHostMemory = 1;
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int device) {
    return call(__func__, cudaErrorUnknown, [&] {
        const State &s = state();
        if (device < 0 || device >= s.devices) return cudaErrorInvalidDevice;
        switch (attr) {
        case cudaDevAttrMaxThreadsPerBlock: *value = BLOCK_THREADS; break;
        case cudaDevAttrMaxThreadsPerMultiProcessor: *value = PROCESSOR_THREADS; break;
        case cudaDevAttrMaxBlocksPerMultiprocessor: *value = PROCESSOR_BLOCKS; break;
        case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)DEFAULT_SHARED; break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)shared_limits().block; break;
        case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = (int)shared_limits().processor; break;
        case cudaDevAttrMaxRegistersPerBlock:
        case cudaDevAttrMaxRegistersPerMultiprocessor: *value = 65536; break;
        case cudaDevAttrWarpSize: *value = 32; break;
        case cudaDevAttrMultiProcessorCount: *value = s.processors; break;
        case cudaDevAttrComputeCapabilityMajor: *value = s.major; break;
        case cudaDevAttrComputeCapabilityMinor: *value = s.minor; break;
        case cudaDevAttrL2CacheSize: *value = 4 << 20; break;
        case cudaDevAttrGlobalMemoryBusWidth: *value = 64; break;
        case cudaDevAttrClockRate:
        case cudaDevAttrMemoryClockRate: *value = 1000000; break;
        case cudaDevAttrConcurrentKernels:
        case cudaDevAttrUnifiedAddressing:
        case cudaDevAttrCanMapHostMemory:
        case cudaDevAttrAsyncEngineCount: *value = 1; break;
        case cudaDevAttrCooperativeLaunch:
        case cudaDevAttrMemoryPoolsSupported: *value = 0; break;
        default: return invalid("cudaDeviceGetAttribute of an attribute that the emulation does not know");
        }
        return cudaSuccess;
    });
}

// ---- memory ----

cudaError_t cudaMalloc(void **devPtr, size_t size) {
    return call(__func__, cudaErrorMemoryAllocation, [&] {
        State &s = state();
        *devPtr = nullptr;
        if (cudaError_t error = not_in_capture("cudaMalloc")) return error;
        if (size == 0) return cudaSuccess;
        if (size > s.memory - s.used) {
            simt::explain("cudaMalloc of %zu bytes with %zu free", size, s.memory - s.used);
            return cudaErrorMemoryAllocation;
        }
        if (posix_memalign(devPtr, 256, size) != 0) return cudaErrorMemoryAllocation;
        memset(*devPtr, 0xFF, size);
        s.device[hidden(*devPtr)] = size;
        s.used += size;
        simt::race_allocated(*devPtr, size, false);
        if (!s.open) poison(*devPtr, size);
        return cudaSuccess;
    });
}

cudaError_t cudaFree(void *devPtr) {
    return release_call(__func__, [&] {
        State &s = state();
        if (!devPtr) return cudaSuccess;
        auto at = s.device.find(hidden(devPtr));
        if (at == s.device.end()) return invalid("cudaFree of what cudaMalloc did not give");
        if (cudaError_t error = not_in_capture("cudaFree")) return error;
        cudaError_t error = run_all();
        unpoison(devPtr, at->second);
        simt::race_freed(devPtr, at->second);
        s.used -= at->second;
        s.device.erase(at);
        free(devPtr);
        return error;
    });
}

cudaError_t cudaHostAlloc(void **pHost, size_t size, unsigned int flags) {
    (void)flags;
    return call(__func__, cudaErrorMemoryAllocation, [&] {
        *pHost = nullptr;
        if (cudaError_t error = not_in_capture("cudaHostAlloc")) return error;
        if (size == 0) return cudaSuccess;
        if (posix_memalign(pHost, 256, size) != 0) return cudaErrorMemoryAllocation;
        memset(*pHost, 0xFF, size);
        state().pinned[hidden(*pHost)] = size;
        simt::race_allocated(*pHost, size, true);
        return cudaSuccess;
    });
}

cudaError_t cudaMallocHost(void **ptr, size_t size) {
    return cudaHostAlloc(ptr, size, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *ptr) {
    return release_call(__func__, [&] {
        State &s = state();
        if (!ptr) return cudaSuccess;
        auto at = s.pinned.find(hidden(ptr));
        if (at == s.pinned.end()) return invalid("cudaFreeHost of what cudaHostAlloc did not give");
        if (cudaError_t error = not_in_capture("cudaFreeHost")) return error;
        cudaError_t error = run_all();
        simt::race_freed(ptr, at->second);
        s.pinned.erase(at);
        free(ptr);
        return error;
    });
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    return call(__func__, cudaErrorUnknown, [&] {
        *total = state().memory;
        *free = state().memory - state().used;
        return cudaSuccess;
    });
}

} // extern "C"

namespace {

// The kind that the two places are of, or cudaErrorInvalidMemcpyDirection / cudaErrorInvalidValue.
cudaError_t check_copy(Place to, Place from, cudaMemcpyKind *kind) {
    if (to == Place::invalid || from == Place::invalid) {
        simt::explain("a copy to %s from %s", place_name(to), place_name(from));
        return cudaErrorInvalidValue;
    }
    static const cudaMemcpyKind kinds[2][2] = {{cudaMemcpyHostToHost, cudaMemcpyHostToDevice},
                                               {cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice}};
    cudaMemcpyKind actual = kinds[from == Place::device][to == Place::device];
    if (*kind != cudaMemcpyDefault && *kind != actual) {
        simt::explain("a copy of the wrong kind, to %s from %s", place_name(to), place_name(from));
        return cudaErrorInvalidValue;
    }
    *kind = actual;
    return cudaSuccess;
}

cudaError_t move_bytes(void *to, const void *from, size_t bytes) {
    memmove(to, from, bytes);
    simt::race_copied(to, from, bytes);
    return cudaSuccess;
}

cudaError_t copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t handle, bool blocks) {
    CUstream_st *stream;
    if (cudaError_t error = find_stream(handle, &stream)) return error;
    if (bytes == 0) return cudaSuccess;
    Place to_place = place(to, bytes), from_place = place(from, bytes);
    if (cudaError_t error = check_copy(to_place, from_place, &kind)) return error;
    bool pageable = to_place == Place::host || from_place == Place::host;
    if (stream->capturing && pageable) return not_in_capture("a copy of pageable memory on that stream");
    Operation operation;
    if (from_place == Place::host) { // the driver takes a copy before the call returns
        const unsigned char *bytes_from = static_cast<const unsigned char *>(from);
        auto staged = std::make_shared<std::vector<unsigned char>>(bytes_from, bytes_from + bytes);
        operation = [=] { return move_bytes(to, staged->data(), bytes); };
    } else {
        operation = [=] { return move_bytes(to, from, bytes); };
    }
    if (cudaError_t error = submit(handle, std::move(operation), cudaGraphNodeTypeMemcpy)) return error;
    return blocks || to_place == Place::host ? wait_for_stream(*stream) : cudaSuccess;
}

cudaError_t set_memory(void *to, int value, size_t bytes, cudaStream_t stream) {
    if (bytes == 0) return cudaSuccess;
    if (place(to, bytes) != Place::device) return invalid("a memset of what is not inside one device allocation");
    return submit(
        stream,
        [=] {
            memset(to, value, bytes);
            simt::race_written(to, bytes);
            return cudaSuccess;
        },
        cudaGraphNodeTypeMemset);
}

} // namespace

extern "C" {

cudaError_t cudaMemcpy(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind) {
    return call(__func__, cudaErrorUnknown, [&] { return copy(dst, src, count, kind, nullptr, true); });
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind, cudaStream_t stream) {
    return call(__func__, cudaErrorUnknown, [&] { return copy(dst, src, count, kind, stream, false); });
}

cudaError_t cudaMemset(void *devPtr, int value, size_t count) {
    return call(__func__, cudaErrorUnknown, [&] { return set_memory(devPtr, value, count, nullptr); });
}

cudaError_t cudaMemsetAsync(void *devPtr, int value, size_t count, cudaStream_t stream) {
    return call(__func__, cudaErrorUnknown, [&] { return set_memory(devPtr, value, count, stream); });
}

// ---- streams ----

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *pStream, unsigned int flags) {
    return call(__func__, cudaErrorMemoryAllocation, [&] {
        *pStream = new CUstream_st;
        (*pStream)->blocking = !(flags & cudaStreamNonBlocking);
        state().streams.insert(hidden(*pStream));
        return cudaSuccess;
    });
}

cudaError_t cudaStreamCreate(cudaStream_t *pStream) {
    return cudaStreamCreateWithFlags(pStream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    return release_call(__func__, [&] {
        if (!state().streams.count(hidden(stream))) return cudaErrorInvalidResourceHandle;
        if (stream->capturing) state().capture = Capture();
        cudaError_t error = wait_for_stream(*stream);
        state().streams.erase(hidden(stream));
        delete stream;
        return error;
    });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return call(__func__, cudaErrorUnknown, [&] {
        CUstream_st *found;
        if (cudaError_t error = find_stream(stream, &found)) return error;
        if (cudaError_t error = not_in_capture("cudaStreamSynchronize")) return error;
        return wait_for_stream(*found);
    });
}

// A query also runs one operation, so that a program that polls comes to an end.
cudaError_t cudaStreamQuery(cudaStream_t stream) {
    return call(__func__, cudaErrorUnknown, [&] {
        CUstream_st *found;
        if (cudaError_t error = find_stream(stream, &found)) return error;
        if (cudaError_t error = not_in_capture("cudaStreamQuery")) return error;
        bool reached = tail(*found).reached();
        OpenMemory open;
        run_one();
        return state().sticky ? state().sticky : reached ? cudaSuccess : cudaErrorNotReady;
    });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags) {
    (void)flags;
    return call(__func__, cudaErrorUnknown, [&] {
        CUstream_st *found;
        if (cudaError_t error = find_stream(stream, &found)) return error;
        if (cudaError_t error = find_event(event)) return error;
        if (!event->record && !event->captured) return cudaSuccess;
        if (found->capturing != event->captured) {
            simt::explain("a stream waits for an event, and one of the two is captured (a capture covers one stream)");
            state().capture.invalid = true;
            return cudaErrorStreamCaptureUnsupported;
        }
        if (found->capturing) return cudaSuccess; // the nodes of a capture are in order
        push(*found, std::make_shared<const Operation>([] { return cudaSuccess; }), {event->record->target});
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceSynchronize(void) {
    return call(__func__, cudaErrorUnknown, [&] {
        cudaError_t error = not_in_capture("cudaDeviceSynchronize");
        return error ? error : run_all();
    });
}

// ---- events ----

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags) {
    return call(__func__, cudaErrorMemoryAllocation, [&] {
        *event = new CUevent_st;
        (*event)->timing = !(flags & cudaEventDisableTiming);
        state().events.insert(hidden(*event));
        return cudaSuccess;
    });
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    return release_call(__func__, [&] {
        if (!state().events.erase(hidden(event))) return cudaErrorInvalidResourceHandle;
        delete event;
        return cudaSuccess;
    });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    return call(__func__, cudaErrorUnknown, [&] {
        CUstream_st *found;
        if (cudaError_t error = find_stream(stream, &found)) return error;
        if (cudaError_t error = find_event(event)) return error;
        event->captured = found->capturing;
        event->record.reset();
        if (found->capturing) return cudaSuccess;
        auto record = std::make_shared<Record>();
        record->target = {found->progress, found->progress->enqueued + 1};
        event->record = record;
        push(*found, std::make_shared<const Operation>([record] {
            record->nanoseconds = std::chrono::steady_clock::now().time_since_epoch().count();
            return cudaSuccess;
        }));
        return cudaSuccess;
    });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return call(__func__, cudaErrorUnknown, [&] {
        if (cudaError_t error = find_event(event)) return error;
        if (event->captured) return cudaErrorCapturedEvent;
        if (cudaError_t error = not_in_capture("cudaEventSynchronize")) return error;
        return event->record ? run_until(event->record->target) : cudaSuccess;
    });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    return call(__func__, cudaErrorUnknown, [&] {
        if (cudaError_t error = find_event(event)) return error;
        if (event->captured) return cudaErrorCapturedEvent;
        if (cudaError_t error = not_in_capture("cudaEventQuery")) return error;
        bool reached = !event->record || event->record->target.reached();
        OpenMemory open;
        run_one();
        return state().sticky ? state().sticky : reached ? cudaSuccess : cudaErrorNotReady;
    });
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end) {
    return call(__func__, cudaErrorUnknown, [&] {
        if (cudaError_t error = find_event(start)) return error;
        if (cudaError_t error = find_event(end)) return error;
        if (!start->timing || !end->timing || !start->record || !end->record) return cudaErrorInvalidResourceHandle;
        if (!start->record->target.reached() || !end->record->target.reached()) return cudaErrorNotReady;
        *ms = (float)(end->record->nanoseconds - start->record->nanoseconds) * 1e-6f;
        return cudaSuccess;
    });
}

// ---- capture and graphs: a capture covers one stream, its nodes run in order ----

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    return call(__func__, cudaErrorUnknown, [&] {
        Capture &capture = state().capture;
        if (!stream || stream == cudaStreamLegacy) return cudaErrorStreamCaptureUnsupported;
        if (!state().streams.count(hidden(stream))) return cudaErrorInvalidResourceHandle;
        if (capture.stream) return cudaErrorIllegalState;
        capture.stream = stream;
        capture.mode = mode;
        capture.graph = std::make_unique<CUgraph_st>();
        capture.invalid = false;
        stream->capturing = true;
        return cudaSuccess;
    });
}

// Ends the capture even when it has an error to report, so that the stream is usable again.
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *pGraph) {
    *pGraph = nullptr;
    Lock lock(state().mutex);
    cudaError_t error = simt::count_call(__func__, cudaErrorUnknown);
    Capture ended = std::move(state().capture);
    if (!ended.stream || ended.stream != stream) {
        state().capture = std::move(ended);
        return finish(error ? error : cudaErrorIllegalState);
    }
    state().capture = Capture();
    stream->capturing = false;
    if (error == cudaSuccess && ended.invalid) error = cudaErrorStreamCaptureInvalidated;
    if (error != cudaSuccess) return finish(error);
    *pGraph = ended.graph.release();
    state().graphs.insert(hidden(*pGraph));
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *pCaptureStatus) {
    return call(__func__, cudaErrorUnknown, [&] {
        CUstream_st *found;
        if (cudaError_t error = find_stream(stream, &found)) return error;
        *pCaptureStatus = !found->capturing         ? cudaStreamCaptureStatusNone
                          : state().capture.invalid ? cudaStreamCaptureStatusInvalidated
                                                    : cudaStreamCaptureStatusActive;
        return cudaSuccess;
    });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *numNodes) {
    return call(__func__, cudaErrorUnknown, [&] {
        if (!state().graphs.count(hidden(graph))) return invalid("not a graph, or one that was destroyed");
        size_t count = graph->nodes.size();
        if (nodes)
            for (size_t i = 0; i < *numNodes; i++) nodes[i] = i < count ? graph->nodes[i].get() : nullptr;
        *numNodes = nodes ? std::min(*numNodes, count) : count;
        return cudaSuccess;
    });
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, enum cudaGraphNodeType *pType) {
    return call(__func__, cudaErrorUnknown, [&] {
        *pType = node->type;
        return cudaSuccess;
    });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *pGraphExec, cudaGraph_t graph, unsigned long long flags) {
    (void)flags;
    return call(__func__, cudaErrorMemoryAllocation, [&] {
        *pGraphExec = nullptr;
        if (!state().graphs.count(hidden(graph))) return invalid("not a graph, or one that was destroyed");
        *pGraphExec = new CUgraphExec_st;
        for (auto &node : graph->nodes) (*pGraphExec)->operations.push_back(node->operation);
        state().graph_execs.insert(hidden(*pGraphExec));
        return cudaSuccess;
    });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t graphExec, cudaStream_t stream) {
    return call(__func__, cudaErrorUnknown, [&] {
        CUstream_st *found;
        if (!state().graph_execs.count(hidden(graphExec))) return invalid("not a graph, or one that was destroyed");
        return find_stream(stream, &found);
    });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graphExec, cudaStream_t stream) {
    return call(__func__, cudaErrorUnknown, [&] {
        CUstream_st *found;
        if (!state().graph_execs.count(hidden(graphExec))) return invalid("not a graph, or one that was destroyed");
        if (cudaError_t error = find_stream(stream, &found)) return error;
        if (found->capturing) return not_in_capture("cudaGraphLaunch on that stream");
        for (auto &operation : graphExec->operations) push(*found, operation);
        return cudaSuccess;
    });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graphExec) {
    return release_call(__func__, [&] {
        if (!state().graph_execs.erase(hidden(graphExec))) return invalid("not a graph, or one that was destroyed");
        delete graphExec;
        return cudaSuccess;
    });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    return release_call(__func__, [&] {
        if (!state().graphs.erase(hidden(graph))) return invalid("not a graph, or one that was destroyed");
        delete graph;
        return cudaSuccess;
    });
}

// ---- kernels ----

cudaError_t cudaFuncSetAttribute(const void *func, enum cudaFuncAttribute attr, int value) {
    return call(__func__, cudaErrorUnknown, [&] {
        if (attr != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess; // the others are hints
        if (value < 0 || (size_t)value > shared_limits().block) {
            simt::explain("%d bytes of dynamic shared memory; a block has at most %zu", value, shared_limits().block);
            return cudaErrorInvalidValue;
        }
        state().dynamic_shared[func] = (size_t)value;
        return cudaSuccess;
    });
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attr, const void *func) {
    return call(__func__, cudaErrorUnknown, [&] {
        auto asked = state().dynamic_shared.find(func);
        *attr = {};
        attr->maxThreadsPerBlock = BLOCK_THREADS;
        attr->numRegs = 32;
        attr->ptxVersion = attr->binaryVersion = state().major * 10 + state().minor;
        attr->maxDynamicSharedSizeBytes = (int)(asked == state().dynamic_shared.end() ? DEFAULT_SHARED : asked->second);
        return cudaSuccess;
    });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *numBlocks, const void *func, int blockSize,
                                                          size_t dynamicSMemSize) {
    return call(__func__, cudaErrorUnknown, [&] {
        (void)func;
        if (blockSize <= 0 || blockSize > BLOCK_THREADS) return invalid("the occupancy of a block of that size");
        size_t by_shared = shared_limits().processor / (dynamicSMemSize + 1024);
        *numBlocks = (int)std::min({(size_t)(PROCESSOR_THREADS / blockSize), (size_t)PROCESSOR_BLOCKS, by_shared});
        return cudaSuccess;
    });
}

// ---- errors ----

cudaError_t cudaPeekAtLastError(void) {
    return state().sticky ? state().sticky : last_error;
}

cudaError_t cudaGetLastError(void) {
    cudaError_t error = cudaPeekAtLastError();
    last_error = cudaSuccess;
    return error;
}

} // extern "C"

namespace {

struct ErrorText {
    cudaError_t error;
    const char *name, *text;
};

const ErrorText *error_text(cudaError_t error) {
#define ENTRY(name, text)                                                                                              \
    { name, #name, text }
    static const ErrorText table[] = {
        ENTRY(cudaSuccess, "no error"),
        ENTRY(cudaErrorInvalidValue, "invalid argument"),
        ENTRY(cudaErrorMemoryAllocation, "out of memory"),
        ENTRY(cudaErrorInvalidConfiguration, "invalid configuration argument"),
        ENTRY(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
        ENTRY(cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable"),
        ENTRY(cudaErrorNoDevice, "no CUDA-capable device is detected"),
        ENTRY(cudaErrorInvalidDevice, "invalid device ordinal"),
        ENTRY(cudaErrorInvalidResourceHandle, "invalid resource handle"),
        ENTRY(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
        ENTRY(cudaErrorNotReady, "device not ready"),
        ENTRY(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
        ENTRY(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
        ENTRY(cudaErrorLaunchFailure, "unspecified launch failure"),
        ENTRY(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
        ENTRY(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"),
        ENTRY(cudaErrorStreamCaptureImplicit,
              "operation would make the legacy stream depend on a capturing blocking stream"),
        ENTRY(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream"),
        ENTRY(cudaErrorUnknown, "unknown error"),
    };
#undef ENTRY
    for (const ErrorText &entry : table)
        if (entry.error == error) return &entry;
    static const ErrorText none = {cudaErrorUnknown, "unrecognized error code", "unrecognized error code"};
    return &none;
}

} // namespace

extern "C" {

const char *cudaGetErrorName(cudaError_t error) {
    return error_text(error)->name;
}

const char *cudaGetErrorString(cudaError_t error) {
    return error_text(error)->text;
}
}
