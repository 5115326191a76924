#!/usr/bin/env bash
# test.sh [--quick]: every test that this machine can run; installs what is missing. The last line is
#     N passed, N failed, N skipped
# and the exit status 0 when nothing failed. --quick: only the optimised build's tests.
#
# Steps: release build (with nvcc, of the CUDA module too) and tests; layers; format (where clang-format is installed); with
# nvcc, the kernels' static report; the same tests under the address and undefined-behaviour sanitizers; with the CUDA
# toolkit's headers, the kernels' tests under the race checker; the thread sanitizer's programs; each fuzz target for
# TEMPERA_FUZZ_SECONDS (15).
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

quick=false
case ${1-} in
"") ;;
--quick) quick=true ;;
-h | --help)
    sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
*)
    echo "test: unknown argument $1 (see --help)" >&2
    exit 2
    ;;
esac

. tools/setup.sh
passed=0
failed=0
skipped=0
jobs=$(setup_jobs)
logs=build/test-logs
mkdir -p "$logs"

say() { printf '\n== %s\n' "$*"; }
pass() { passed=$((passed + 1)); }
fail() {
    failed=$((failed + 1))
    echo "FAILED: $*"
}
skip() {
    skipped=$((skipped + 1))
    echo "skipped: $*"
}

# Configures and builds a preset; counts only a failure.
build() { # preset [options]
    local preset=$1 log=$logs/build-$1.log
    shift
    if { cmake --preset "$preset" "$@" && cmake --build "build/$preset" -j "$jobs"; } >"$log" 2>&1; then return 0; fi
    grep -E 'error|Error|FAILED' "$log" | cut -c1-200 | head -20
    fail "build of $preset (whole log: $log)"
    return 1
}

# Adds up a verbose ctest log. A Criterion program says how many of its tests passed and failed (crashes are among them),
# and names those it skipped; any other test counts as one; so does a Criterion program that failed without a failed test
# (a leak found at its end, a timeout).
count_ctest() { # log
    awk '
        { number = $1 + 0 }
        /^[0-9]+: .*Synthesis: / {
            gsub(/\033\[[0-9;]*m/, "")
            for (i = 1; i < NF; i++) {
                if ($i == "Passing:") good[number] = $(i + 1) + 0
                if ($i == "Failing:") bad[number] = $(i + 1) + 0
            }
        }
        /^[0-9]+: .*\[SKIP\]/ { skipped++ }
        / Test +#[0-9]+: / {
            match($0, /#[0-9]+/)
            number = substr($0, RSTART + 1, RLENGTH - 1) + 0
            if (/ Passed /) { if (!(number in good)) good[number] = 1 }
            else if (/Skipped|Not Run/) skipped++
            else if (bad[number] == 0) bad[number] = 1
        }
        END {
            for (number in good) passed += good[number]
            for (number in bad) failed += bad[number]
            print passed + 0, failed + 0, skipped + 0
        }' "$1"
}

# Old thread sanitizers cannot place their shadow where newer kernels put programs at random; not every container allows
# to turn that off.
steady=()
setarch "$(uname -m)" -R true 2>/dev/null && steady=(setarch "$(uname -m)" -R)

run_ctest() { # preset
    local log=$logs/ctest-$1.log good bad left
    CRITERION_VERBOSITY_LEVEL=1 ${steady[@]+"${steady[@]}"} ctest --test-dir "build/$1" -V -j "$jobs" >"$log" 2>&1 # 1: names skipped tests
    read -r good bad left < <(count_ctest "$log")
    if [ "$((good + bad))" -eq 0 ]; then
        fail "$1: no tests were run (whole log: $log)"
        return
    fi
    grep -E '^[0-9]+: .*\[(FAIL|SKIP)\]' "$log" | sed -E 's/^[0-9]+: //' | sort -u | head -40
    grep -E 'Test +#[0-9]+: .*\*\*\*' "$log"
    [ "$bad" -gt 0 ] && echo "whole log: $log"
    echo "$1: $good passed, $bad failed, $left skipped"
    passed=$((passed + good))
    failed=$((failed + bad))
    skipped=$((skipped + left))
}

finish() {
    say "done in $((SECONDS / 60)) min $((SECONDS % 60)) s"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}

say "release: build and tests"
if ! setup_tests; then
    fail "packages that the tests need"
    finish
fi
build release -DTEMPERA_TESTS=ON -DTEMPERA_CUDA=AUTO "-DTEMPERA_CUDA_ARCHITECTURES=90" && run_ctest release
$quick && finish

say "layers"
if tools/check_layers.sh; then pass; else fail "tools/check_layers.sh"; fi
if tools/check_readme.sh; then pass; else fail "tools/check_readme.sh"; fi

say "format"
# Versions differ in details; the tree is formatted with this one.
if clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
    if find src include kernels tools tests bench \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' \) -print0 2>/dev/null |
        xargs -0 clang-format --dry-run -Werror >"$logs/format.log" 2>&1; then
        pass
    else
        grep -E '^[^ ]+:[0-9]+:[0-9]+: error' "$logs/format.log" | cut -d: -f1 | sort | uniq -c | sort -rn | head -20
        fail "clang-format (whole log: $logs/format.log)"
    fi
else
    skip "clang-format 14 is not installed"
fi

say "CUDA module"
if [ ! -e build/release/libtempera-cuda.so ]; then
    skip "the CUDA module and the static report of its kernels: there is no nvcc"
elif cmake --build build/release --target kernels_static >"$logs/kernels-static.log" 2>&1; then
    pass
else
    tail -5 "$logs/kernels-static.log"
    fail "the static report of the kernels, for compute capability 8.0 and 9.0 (whole log: $logs/kernels-static.log)"
fi
if [ ! -e build/release/libtempera-simt.so ]; then
    skip "bench/gpu.sh on the emulated device: there are no CUDA headers"
elif bench/gpu.sh --simt --build build/release --out build/gpu-simt >"$logs/gpu-simt.log" 2>&1; then
    pass
else
    tail -5 "$logs/gpu-simt.log"
    fail "bench/gpu.sh on the emulated device (whole log: $logs/gpu-simt.log)"
fi

say "address and undefined-behaviour sanitizers"
build asan -DTEMPERA_BENCH=OFF && run_ctest asan

say "race checker"
if [ ! -e build/asan/libtempera-simt.so ]; then
    skip "the emulated CUDA module and its tests: there are no CUDA headers"
else
    build race && run_ctest race
fi

say "thread sanitizer"
build tsan -DTEMPERA_BENCH=OFF && run_ctest tsan

say "fuzzing"
fuzz_seconds=${TEMPERA_FUZZ_SECONDS:-15}
fuzz_one() { # program; its corpus is tests/fuzz/corpus/NAME, new inputs stay in the build folder
    local name=${1##*/} found log
    log=$PWD/$logs/$name.log
    found=$PWD/build/fuzz/found-$name
    local seeds=$PWD/tests/fuzz/corpus/${name#fuzz_}
    local -a corpora=("$found")
    mkdir -p "$found"
    [ -d "$seeds" ] && corpora+=("$seeds")
    local -a words=()
    [ -f "$seeds.dict" ] && words=(-dict="$seeds.dict")
    (cd "$found" && exec "$1" -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$found/" ${words[@]+"${words[@]}"} "${corpora[@]}") >"$log" 2>&1
}
if ! setup_fuzz; then
    skip "fuzz targets"
elif build fuzz; then
    programs=()
    for program in build/fuzz/fuzz_*; do
        [ -f "$program" ] && [ -x "$program" ] && programs+=("$PWD/$program")
    done
    [ ${#programs[@]} -eq 0 ] && skip "no fuzz targets"
    # As many at a time as there are processors; results in the order of their names.
    for ((first = 0; first < ${#programs[@]}; first += jobs)); do
        group=("${programs[@]:first:jobs}")
        ids=()
        for program in "${group[@]}"; do
            fuzz_one "$program" &
            ids+=($!)
        done
        for k in "${!group[@]}"; do
            name=${group[k]##*/}
            if wait "${ids[k]}"; then
                pass
                echo "$name: $(sed -nE 's/^stat::number_of_executed_units: *//p' "$logs/$name.log") inputs"
            else
                grep -E 'ERROR|SUMMARY|Test unit written' "$logs/$name.log" | head -5
                fail "$name (whole log: $logs/$name.log)"
            fi
        done
    done
fi
finish
