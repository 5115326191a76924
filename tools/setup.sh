# setup.sh: to be sourced by bash scripts: finds what the build needs and installs what is missing.
#
#     . tools/setup.sh
#     setup_build            # compiler, cmake, ninja, libraries
#     setup_tests            # and Criterion
#     setup_fuzz             # and clang with libFuzzer
#
# Each returns 0 when everything is there, or 1 after one line on stderr. What is missing comes from the distribution
# (apt-get; sudo when not root); what is there already, from wherever, is left alone.

setup_missing=()

setup_say() { printf '%s\n' "$*" >&2; }

setup_tool() { # command package...
    command -v "$1" >/dev/null 2>&1 || setup_missing+=("${@:2}")
}

setup_library() { # pkg-config-name package
    pkg-config --exists "$1" 2>/dev/null || setup_missing+=("$2")
}

# True when CC FLAGS... compiles and links a program on standard input.
setup_compiles() {
    "$@" -x c - -o /dev/null >/dev/null 2>&1
}

# Installs setup_missing, with the list's words said first.
setup_install() {
    [ ${#setup_missing[@]} -eq 0 ] && return 0
    local packages="${setup_missing[*]}" log
    local -a admin=()
    setup_missing=()
    if ! command -v apt-get >/dev/null 2>&1; then
        setup_say "setup: missing: $packages (Debian's names); this system has no apt-get, install them by hand"
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            setup_say "setup: missing: $packages; run as root: apt-get install $packages"
            return 1
        fi
        admin=(sudo)
    fi
    setup_say "setup: installing $packages"
    log=$(mktemp)
    # Package lists may be absent or old: the second try has fresh ones.
    if ! "${admin[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages >"$log" 2>&1; then
        if ! { "${admin[@]}" apt-get update && "${admin[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends $packages; } >"$log" 2>&1; then
            setup_say "setup: apt-get install $packages failed: $(grep -E '^(E:|sudo:)' "$log" | head -1)"
            rm -f "$log"
            return 1
        fi
    fi
    rm -f "$log"
}

setup_build() {
    setup_tool cmake cmake
    setup_tool ninja ninja-build
    setup_tool pkg-config pkg-config
    echo 'int main(void) { return 0; }' | setup_compiles cc || setup_missing+=(gcc libc6-dev)
    setup_install || return 1 # pkg-config must be there before it is asked
    setup_library libcjson libcjson-dev
    setup_library libpcre2-8 libpcre2-dev
    setup_library libutf8proc libutf8proc-dev
    setup_library sqlite3 libsqlite3-dev
    setup_library libxxhash libxxhash-dev
    setup_library zlib zlib1g-dev
    [ -e /usr/share/javascript/d3/d3.min.js ] || setup_missing+=(libjs-d3) # for the pages of reports
    setup_install
}

# Whether the CUDA toolkit's headers are here: they come from NVIDIA, and nothing installs them.
setup_has_cuda_headers() {
    [ -e /usr/local/cuda/include/cuda_runtime_api.h ] || command -v nvcc >/dev/null 2>&1 || [ -e /usr/include/cuda_runtime_api.h ]
}

setup_tests() {
    setup_build || return 1
    setup_library criterion libcriterion-dev
    setup_tool mpirun openmpi-bin # a test of sweep's parts
    if setup_has_cuda_headers; then # the emulated CUDA module
        setup_tool c++ g++
        pkg-config --exists openblas || pkg-config --exists openblas-pthread || setup_missing+=(libopenblas-dev)
    fi
    # For the tests of the report's pages, which skip themselves without it. Ubuntu's package of that name is a snap.
    if ! command -v chromium chromium-browser google-chrome >/dev/null 2>&1 && grep -qs '^ID=debian' /etc/os-release; then
        setup_missing+=(chromium)
    fi
    setup_install
}

# Whether clang links libFuzzer. Its runtime is a package of its own, named after clang's version.
setup_clang_fuzzes() {
    echo '#include <stddef.h>
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) { return data && size ? 0 : 0; }' |
        setup_compiles clang -fsanitize=fuzzer,address,undefined
}

setup_fuzz() {
    setup_build || return 1
    setup_tool clang clang
    setup_install || return 1
    setup_clang_fuzzes && return 0
    local version
    version=$(clang --version | sed -nE 's/.*version ([0-9]+).*/\1/p' | head -1)
    setup_missing+=("libclang-rt-$version-dev")
    setup_install || return 1
    setup_clang_fuzzes && return 0
    setup_say "setup: clang $version does not link libFuzzer programs"
    return 1
}

# Processors for the build.
setup_jobs() { nproc 2>/dev/null || echo 2; }
