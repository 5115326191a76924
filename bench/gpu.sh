#!/usr/bin/env bash
# gpu.sh: everything that is worth knowing from the first ten minutes of a GPU, with one command and no network.
#
#     bench/gpu.sh [--build DIR] [--out DIR] [--minutes N] [--only PART,PART]
#     bench/gpu.sh --pack FILE.tar [--build DIR]     on the machine that builds: programs, their libraries, test data
#     bench/gpu.sh --simt [--build DIR] [--out DIR]  the script itself, on the emulated device with tiny sizes
#
# Without --build it configures and builds the checkout for this machine's GPU; DIR is a build folder, or a folder where a
# pack was unpacked. The parts run one after another, the most important first; each has a limit of its own, and none
# needs another to have passed. The whole takes at most N minutes (9). DIR of --out gets gpu.md and gpu.json, rewritten
# after every part, so that what was measured is there even when the machine goes away, and parts/ with the logs.
#
# Exit status: 0 when no part failed (parts may be skipped, with a reason), 1 otherwise and where there is no GPU.
# shellcheck disable=SC2317 # parts are called by their names
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly SKIPPED=77 # a part's exit status; the last line it printed says why

# Limits in seconds, in the order of running.
readonly PARTS=(
    "facts 15" "smoke 60" "ops 90" "probes 45" "cublas 45" "kernels 100" "engine 130" "tests 60" "sanitizer 90"
    "torch 80"
)

# Test programs of the engine and of whole models that take their device from TEMPERA_TEST_DEVICE.
readonly MODEL_TESTS=(test_invariance test_engine test_run_ahead test_vectors test_real_models)

die() {
    echo "gpu.sh: $*" >&2
    exit 1
}

usage() {
    sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

# ---- finding things ----------------------------------------------------------------------------------------------------

# The path of a program of the build, or nothing.
program_of() { # name
    find -L "$GPU_BUILD" -type f -name "$1" -perm -u+x 2>/dev/null | head -n 1
}

# Ends the part when a program is not there: skipped, or failed without the one that everything is about.
need() { # name; sets $program
    program=$(program_of "$1")
    [ -n "$program" ] && return
    echo "$1 is not in $GPU_BUILD"
    [ "$1" != tempera ] || exit 1
    exit "$SKIPPED"
}

skip() {
    echo "$*"
    exit "$SKIPPED"
}

# Folders of the CUDA libraries, for modules that were linked elsewhere.
cuda_library_path() {
    local toolkit=/usr/local/cuda folder path='' found=false
    command -v nvcc >/dev/null 2>&1 && toolkit=$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")
    ldconfig -p 2>/dev/null | grep -q libcublasLt && found=true
    for folder in "$toolkit"/lib{64,} /usr/local/cuda*/lib{64,}; do
        [ -d "$folder" ] || continue
        path=$path:$folder
        compgen -G "$folder/libcublasLt.so*" >/dev/null && found=true
    done
    if ! $found; then # as PyTorch brings it
        folder=$(timeout 10 find / -xdev -name 'libcublasLt.so.1*' -not -path '*/stubs/*' 2>/dev/null | head -n 1)
        [ -n "$folder" ] && path=$path:$(dirname "$folder")
    fi
    echo "${path#:}"
}

have_gpu() {
    command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q '^GPU '
}

is_simt() {
    [ "$GPU_DEVICE" = simt ]
}

real_gpu_only() {
    is_simt && skip "needs a real GPU"
    return 0
}

# ---- small tools -------------------------------------------------------------------------------------------------------

json_text() {
    local s
    s=$(printf '%s' "$1" | tr -d '\000-\010\013-\037' | tr '\n\t' '  ')
    s=${s//\\/\\\\}
    printf '"%s"' "${s//\"/\\\"}"
}

# A field of one JSON line without nesting.
json_field() { # name line
    sed -n 's/.*"'"$1"'": *\("\([^"]*\)"\|\([^,}]*\)\).*/\2\3/p' <<<"$2"
}

result() { # what value unit remark: a row of the part's table, and of its JSON
    printf '| %s | %s | %s | %s |\n' "$1" "$2" "$3" "$(tr '|\n' '/ ' <<<"${4-}")" >>"$GPU_PART.md"
    printf '{"what": %s, "value": %s, "unit": %s, "remark": %s}\n' "$(json_text "$1")" "$2" "$(json_text "$3")" \
        "$(json_text "${4-}")" >>"$GPU_PART.jsonl"
}

table() {
    printf '\n| what | value | unit | remark |\n|---|---:|---|---|\n' >>"$GPU_PART.md"
}

note() {
    printf '\n%s\n' "$*" >>"$GPU_PART.md"
}

# Runs a program that prints Markdown and appends JSON lines; its tables join the part's even when it fails midway.
tables() { # program, arguments …
    "$@" --json "$GPU_PART.jsonl" >>"$GPU_PART.md"
}

# ---- parts -------------------------------------------------------------------------------------------------------------

part_facts() {
    local fields=name,driver_version,compute_cap,memory.total,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu,mig.mode.current
    note "$(uname -sr), $(nproc) processors, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
    local program
    program=$(program_of tempera)
    [ -n "$program" ] && note "$("$program" --version | head -n 1)"
    is_simt && return 0
    note '```'
    {
        nvidia-smi --query-gpu="$fields" --format=csv || nvidia-smi
        nvidia-smi -q -d CLOCK,PERFORMANCE,ECC | sed -n '1,60p'
        nvidia-smi --query-compute-apps=pid,name,used_memory --format=csv
    } | tee -a "$GPU_PART.md"
    echo '```' >>"$GPU_PART.md"
    command -v nvcc >/dev/null 2>&1 && note "$(nvcc --version | tail -n 2 | head -n 1)"
    return 0
}

# The same text from the device and from the CPU, greedily; and a sample that does not depend on its company.
part_smoke() {
    local bad=0 program tokens=48 prompt cpu device alone among
    need tempera
    is_simt && tokens=12
    "$program" info --device "$GPU_DEVICE" || true
    table
    for prompt in "Once upon a time" "One day, a small dog" "The king"; do
        cpu=$("$program" generate --device cpu -p "$prompt" --temperature 0 --max-tokens "$tokens" -q) || bad=1
        device=$("$program" generate --device "$GPU_DEVICE" -p "$prompt" --temperature 0 --max-tokens "$tokens" -q) || bad=1
        if [ -n "$cpu" ] && [ "$cpu" = "$device" ]; then
            result "greedy text, $prompt" 1 equal "$tokens tokens as on the CPU"
        else
            bad=1
            result "greedy text, $prompt" 0 equal "cpu: $cpu; $GPU_DEVICE: $device"
        fi
    done
    local one=(generate --device "$GPU_DEVICE" -p "One day" --max-tokens "$tokens" --seed 7 --format jsonl -q)
    alone=$("$program" "${one[@]}" --setting temperature=0.9,top_p=0.95) || bad=1
    among=$("$program" "${one[@]}" --setting temperature=0.9,top_p=0.95 --setting temperature=0.2 --setting temperature=1.5 \
        --setting temperature=1,top_k=40) || bad=1
    alone=$(sed -n 's/.*"token_ids": *\[\([^]]*\)\].*/\1/p' <<<"$alone")
    among=$(sed -n 's/.*"token_ids": *\[\([^]]*\)\].*/\1/p' <<<"${among%%$'\n'*}")
    if [ -n "$alone" ] && [ "$alone" = "$among" ]; then
        result "a sample alone and among others" 1 equal
    else
        bad=1
        result "a sample alone and among others" 0 equal "$alone and $among"
    fi
    return "$bad"
}

# Test programs of these names, each under its own limit; Criterion's counts make the rows.
run_tests() { # seconds for each, patterns …
    local limit=$1 bad=0 found=0 pattern file name summary log status passing failing crashing
    shift
    for pattern in "$@"; do
        while read -r file; do
            [ -n "$file" ] || continue
            [ "$found" -eq 1 ] || table
            name=$(basename "$file")
            log=$GPU_PART.$name.log
            found=1
            TEMPERA_TEST_DEVICE=$GPU_DEVICE timeout "$limit" "$file" -j4 >"$log" 2>&1
            status=$?
            summary=$(sed 's/\x1b\[[0-9;]*m//g' "$log" | grep 'Synthesis:' | tail -n 1)
            passing=$(sed -n 's/.*Passing: *\([0-9]*\).*/\1/p' <<<"$summary")
            failing=$(sed -n 's/.*Failing: *\([0-9]*\).*/\1/p' <<<"$summary")
            crashing=$(sed -n 's/.*Crashing: *\([0-9]*\).*/\1/p' <<<"$summary")
            if grep -q "^skipped: device $GPU_DEVICE" "$log"; then
                bad=1
                result "$name" "${passing:-0}" passed "$(grep -m 1 "^skipped: device $GPU_DEVICE" "$log")"
            elif [ "$status" -eq 0 ]; then
                result "$name" "${passing:-0}" passed
            else
                bad=1
                result "$name" "${passing:-0}" passed "exit status $status, ${failing:-?} failed, ${crashing:-?} crashed"
                sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E '\[FAIL\]|\[----\]' | head -n 12 | tee -a "$GPU_PART.failures"
            fi
        done < <(find -L "$GPU_BUILD" -type f -name "$pattern" -perm -u+x 2>/dev/null | sort)
    done
    if [ -s "$GPU_PART.failures" ]; then
        note '```'
        cat "$GPU_PART.failures" >>"$GPU_PART.md"
        echo '```' >>"$GPU_PART.md"
    fi
    [ "$found" -eq 1 ] || skip "no test programs in $GPU_BUILD (built without Criterion?)"
    return "$bad"
}

part_ops() {
    if is_simt; then run_tests 120 test_row_kernels; else run_tests 60 'test_*ops' 'test_sampler_*'; fi
}

part_tests() {
    if is_simt; then skip "the emulated device has them in its own test run"; fi
    run_tests 40 "${MODEL_TESTS[@]}"
}

part_probes() {
    local bad=0 name program
    real_gpu_only
    need gpu_probes
    for name in read mma launch draw; do timeout 20 "$program" "$name" --json "$GPU_PART.jsonl" >>"$GPU_PART.md" || bad=1; done
    return "$bad"
}

part_cublas() {
    local program
    real_gpu_only
    need gpu_probe_cublas
    tables "$program" --quick
}

part_kernels() {
    local bad=0 name program
    if is_simt; then
        need gpu_kernels_simt
        tables "$program" --tiny
        return
    fi
    need gpu_kernels
    for name in linear attention sample rows load; do
        timeout 40 "$program" "$name" --json "$GPU_PART.jsonl" >>"$GPU_PART.md" || bad=1
    done
    return "$bad"
}

# One engine benchmark; its rows, with their share of what the same run measured.
speed() { # title, seconds, flags …
    local title=$1 limit=$2 line rows status
    shift 2
    rows=$(timeout "$limit" "$program" bench --device "$GPU_DEVICE" "$@" --format json -q)
    status=$?
    while read -r line; do
        [[ $line == \{* ]] || continue
        line=${line%,}
        printf '%s\n' "$line" >>"$GPU_PART.jsonl"
        printf '| %s %s | %s | tok/s | %s of %s, read %s GB/s |\n' "$title" "$(json_field test "$line")" \
            "$(json_field tokens_per_second "$line")" "$(json_field share_of_roofline "$line")" \
            "$(json_field roofline "$line")" \
            "$(json_field measured_read_bytes_per_second "$line" | awk '{printf "%.0f", $1 * 1e-9}')" >>"$GPU_PART.md"
    done <<<"$rows"
    [ "$status" -eq 0 ] || result "$title" null tok/s "tempera bench $*: exit status $status"
    return "$status"
}

part_engine() {
    local bad=0 program sampled=(--sampler "temperature=0.8,top_p=0.95")
    need tempera
    table
    if is_simt; then
        speed "demo model" 120 -p 4 -n 2 -b 1,2 -r 1 -w 0 || bad=1
        return "$bad"
    fi
    speed "124M bf16" 40 --random gpt2 --dtype bf16 -p 512 -n 256 -b 1 -d 0,512 -r 3 "${sampled[@]}" || bad=1
    speed "8B bf16" 60 --random llama-8b -p 2048 -n 64 -b 1,16 -d 0 -r 2 || bad=1
    speed "124M bf16, context 512" 40 --random gpt2 --dtype bf16 -p 0 -n 64 -b 16,64,256 -d 480 -r 2 "${sampled[@]}" || bad=1
    speed "1.5B bf16" 40 --random gpt2-xl --dtype bf16 -p 512 -n 64 -b 1,64 -r 2 || bad=1
    if "$program" bench --help | grep -q -- --fast; then
        speed "8B bf16 --fast" 60 --random llama-8b --fast -p 2048 -n 64 -b 1,64 -r 2 || bad=1
        speed "124M bf16 --fast" 40 --random gpt2 --dtype bf16 --fast -p 512 -n 64 -b 1,64 -r 2 || bad=1
    fi
    speed "8B bf16, more rows" 60 --random llama-8b -p 0 -n 32 -b 64,256 -d 480 -r 1 || bad=1
    speed "124M f32" 30 --random gpt2 --dtype f32 -p 512 -n 64 -b 1,64 -r 2 || bad=1
    return "$bad"
}

# One program under one tool of compute-sanitizer.
sanitize() { # name, tool, program, arguments …
    local name=$1 tool=$2 log=$GPU_PART.$1.$2.log status
    shift 2
    timeout 30 "$checker" --tool "$tool" --error-exitcode 9 "$@" >"$log" 2>&1
    status=$?
    case $status in
    0) result "$tool, $name" 0 errors ;;
    124) result "$tool, $name" null errors "took longer than its 30 s" ;;
    *)
        result "$tool, $name" null errors "exit status $status: $(grep -E '^========= +(Error|Invalid|Race|Barrier|Uninit)' "$log" | head -n 2)"
        return 1
        ;;
    esac
}

# A short generation, and every kernel but the linear layers' (which that has) at small sizes.
part_sanitizer() {
    local bad=0 tool program kernels checker
    real_gpu_only
    need tempera
    kernels=$(program_of gpu_kernels)
    checker=$(command -v compute-sanitizer || find /usr/local/cuda*/ -name compute-sanitizer -type f 2>/dev/null | head -n 1)
    [ -n "$checker" ] || skip "compute-sanitizer is not installed"
    table
    for tool in memcheck racecheck synccheck initcheck; do
        sanitize generate "$tool" "$program" generate --device "$GPU_DEVICE" -p "One day" --max-tokens 4 --logprobs 3 \
            --setting temperature=0.8,top_p=0.9 --setting temperature=0.7,top_k=20,typical_p=0.9 \
            --setting min_p=0.1,repetition_penalty=1.1 || bad=1
        if [ -n "$kernels" ]; then
            sanitize kernels "$tool" "$kernels" --tiny attention sample rows load || bad=1
        fi
    done
    return "$bad"
}

part_torch() {
    real_gpu_only
    command -v python3 >/dev/null 2>&1 || skip "no python3"
    python3 -c 'import torch; assert torch.cuda.is_available()' >/dev/null 2>&1 || skip "PyTorch with CUDA is not installed"
    # The library path is for our programs; PyTorch brings libraries of its own.
    LD_LIBRARY_PATH='' tables python3 "$GPU_ROOT/bench/gpu/compare_torch.py"
}

# ---- the report --------------------------------------------------------------------------------------------------------

device_line() {
    if is_simt; then
        echo "emulated device"
    else
        nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1
    fi
}

# Both reports from what parts/ holds; called after every part.
write_report() {
    local line name status seconds reason first=1 md=$out/gpu.md json=$out/gpu.json
    {
        echo "# $(device_line)"
        echo
        echo "bench/gpu.sh, $(date -u '+%Y-%m-%d %H:%M UTC'), $SECONDS s${commit:+, commit $commit}."
        printf '\n| part | result | s | |\n|---|---|---:|---|\n'
        while IFS=$'\t' read -r name status seconds reason; do
            printf '| %s | %s | %s | %s |\n' "$name" "$status" "$seconds" "$reason"
        done <"$out/parts/status.tsv"
        clocks_line
        while IFS=$'\t' read -r name status seconds reason; do
            [ -s "$out/parts/$name.md" ] || continue
            printf '\n## %s\n' "$name"
            cat "$out/parts/$name.md"
        done <"$out/parts/status.tsv"
    } >"$md"
    {
        printf '{"device": %s, "commit": %s, "seconds": %d, "parts": [' "$(json_text "$(device_line)")" "$(json_text "$commit")" "$SECONDS"
        while IFS=$'\t' read -r name status seconds reason; do
            [ "$first" -eq 1 ] || printf ','
            first=0
            printf '\n {"name": "%s", "status": "%s", "seconds": %d, "reason": %s, "results": [' "$name" "$status" "$seconds" \
                "$(json_text "$reason")"
            if [ -s "$out/parts/$name.jsonl" ]; then
                line=$(sed 's/$/,/' "$out/parts/$name.jsonl")
                printf '\n  %s' "${line%,}"
            fi
            printf ']}'
        done <"$out/parts/status.tsv"
        printf '\n]}\n'
    } >"$json"
}

# The SM clock while the parts ran: whether a figure was taken at full speed.
clocks_line() {
    [ -s "$out/parts/clocks.csv" ] || return 0
    printf '\nSM clock in MHz, median over busy seconds: %s (log: parts/clocks.csv).\n' \
        "$(awk -F', *' '$5 + 0 > 10 {print $1 + 0}' "$out/parts/clocks.csv" | sort -n | awk '{v[NR] = $1} END {print NR ? v[int((NR + 1) / 2)] " (lowest " v[1] ", highest " v[NR] ")" : "never busy"}')"
}

run_part() { # name limit
    local name=$1 limit=$2 left=$((budget - SECONDS)) start=$SECONDS status word reason=
    is_simt && limit=$((limit * 5))
    [ "$limit" -gt "$left" ] && limit=$left
    rm -f "$out/parts/$name".*
    if [ "$limit" -lt 5 ]; then
        printf '%s\tskipped\t0\tno time left\n' "$name" >>"$out/parts/status.tsv"
        return
    fi
    echo "== $name (at most $limit s)" >&2
    GPU_PART=$out/parts/$name timeout -k 5 "$limit" "${BASH_SOURCE[0]}" --part "$name" >"$out/parts/$name.log" 2>&1
    status=$?
    case $status in
    0) word=ok ;;
    "$SKIPPED") word=skipped reason=$(tail -n 1 "$out/parts/$name.log") ;;
    124 | 137) word=timeout reason="stopped after $limit s" failed=1 ;;
    *) word=failed reason="exit status $status: $(tail -n 1 "$out/parts/$name.log" | cut -c1-160)" failed=1 ;;
    esac
    printf '%s\t%s\t%d\t%s\n' "$name" "$word" $((SECONDS - start)) "${reason//[$'\t|']/ }" >>"$out/parts/status.tsv"
    echo "   $word${reason:+: $reason}" >&2
    write_report
}

# ---- building and packing ----------------------------------------------------------------------------------------------

build_here() {
    local architecture tests=OFF log=$out/build.log
    architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
    pkg-config --exists criterion 2>/dev/null && tests=ON
    echo "building for sm_$architecture (tests: $tests)" >&2
    if ! { cmake -S "$root" -B "$GPU_BUILD" -DCMAKE_BUILD_TYPE=Release -DTEMPERA_CUDA=ON -DTEMPERA_SIMT=OFF \
        -DTEMPERA_CUDA_ARCHITECTURES="$architecture" -DTEMPERA_TESTS=$tests &&
        cmake --build "$GPU_BUILD" -j "$(nproc)" &&
        cmake --build "$GPU_BUILD" -j "$(nproc)" --target gpu_bench; } >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        echo "gpu.sh: not everything was built (log: $log); what is missing is skipped" >&2
    fi
}

# glibc and the driver belong to the machine; cuBLAS is too big to carry and comes with CUDA.
readonly NOT_PACKED='/(ld-linux[^/]*|lib(c|m|dl|pthread|rt|util|resolv|cuda|cublas|cublasLt|nvidia-ml)\.so[^/]*)$'

pack() { # FILE.tar
    local file=$1 libraries=() models=() size program
    for program in "${MODEL_TESTS[@]}"; do models+=(-o -name "$program"); done
    [ -d "$GPU_BUILD" ] || die "--pack: no build folder $GPU_BUILD (give one with --build)"
    folder=$(mktemp -d) # not local: the trap runs outside
    trap 'rm -rf "$folder"' EXIT
    mkdir -p "$folder/pack/bin" "$folder/pack/bench/gpu" "$folder/pack/tools/demo" "$folder/pack/tests/text"
    while read -r program; do
        cp "$program" "$folder/pack/bin/"
    done < <(find -L "$GPU_BUILD" -path '*/CMakeFiles' -prune -o -type f -perm -u+x \( -name tempera -o -name 'libtempera*.so*' \
        -o -name 'gpu_*' -o -name 'test_*ops' -o -name 'test_sampler_*' "${models[@]}" \) \
        -print | grep -Ev '/(libtempera-simt|gpu_kernels_simt)')
    [ -x "$folder/pack/bin/tempera" ] || die "--pack: no program tempera in $GPU_BUILD"
    [ -e "$folder/pack/bin/libtempera-cuda.so" ] || echo "gpu.sh: --pack: no libtempera-cuda.so in $GPU_BUILD" >&2
    strip "$folder/pack/bin/"* 2>/dev/null
    mapfile -t libraries < <(for program in "$folder/pack/bin/"*; do ldd "$program" 2>/dev/null; done |
        sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | grep -Ev "$NOT_PACKED" | grep -v '/libtempera' | sort -u)
    [ "${#libraries[@]}" -gt 0 ] && cp -L "${libraries[@]}" "$folder/pack/bin/"
    program=$(find "$folder/pack/bin" -name 'libtempera.so.*' | sort | tail -n 1)
    [ -e "$folder/pack/bin/libtempera.so.0" ] || ln -s "$(basename "$program")" "$folder/pack/bin/libtempera.so.0"
    cp "${BASH_SOURCE[0]}" "$folder/pack/bench/"
    cp "$root"/bench/gpu/*.py "$folder/pack/bench/gpu/" 2>/dev/null
    cp -r "$root/tools/demo/model" "$folder/pack/tools/demo/"
    mkdir -p "$folder/pack/tests/model"
    cp -r "$root/tests/model/fixtures" "$folder/pack/tests/model/"
    cp "$root/tests/text/vectors.json" "$folder/pack/tests/text/" 2>/dev/null
    [ -d "${TEMPERA_TEST_MODELS:-$root/../shared/models}" ] && cp -rL "${TEMPERA_TEST_MODELS:-$root/../shared/models}" "$folder/pack/models"
    chmod -R u+w "$folder/pack"
    git -C "$root" rev-parse --short=12 HEAD >"$folder/pack/COMMIT" 2>/dev/null
    tar -cf "$file" -C "$folder" pack || die "--pack: cannot write $file"
    size=$(($(stat -c %s "$file") / 1000000))
    echo "$file: $size MB; unpack it there and run pack/bench/gpu.sh --build pack"
    [ "$size" -lt 60 ] || die "--pack: $size MB is more than the 60 that are allowed"
}

# ---- the command line --------------------------------------------------------------------------------------------------

if [ "${1-}" = --part ]; then # one part, in the environment that run_part made
    "part_${2:?}"
    exit
fi

out=$root/build/gpu-results
GPU_BUILD=
GPU_DEVICE=cuda
only=
budget=$((9 * 60))
pack_file=
while [ $# -gt 0 ]; do
    case $1 in
    --build) GPU_BUILD=${2:?--build needs a folder} && shift ;;
    --out) out=${2:?--out needs a folder} && shift ;;
    --minutes) budget=$((${2:?--minutes needs a number} * 60)) && shift ;;
    --only) only=${2:?--only needs names of parts} && shift ;;
    --pack) pack_file=${2:?--pack needs a file} && shift ;;
    --simt) GPU_DEVICE=simt ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) die "unknown argument $1 (see --help)" ;;
    esac
    shift
done

if [ -n "$pack_file" ]; then
    GPU_BUILD=${GPU_BUILD:-$root/build/release}
    pack "$pack_file"
    exit 0
fi

is_simt || have_gpu || die "no NVIDIA GPU here (nvidia-smi lists none)"
mkdir -p "$out/parts" || die "cannot write to $out"
out=$(cd "$out" && pwd)
: >"$out/parts/status.tsv"
commit=$(git -C "$root" rev-parse --short=12 HEAD 2>/dev/null || cat "$root/COMMIT" 2>/dev/null || true)
failed=0

if [ -z "$GPU_BUILD" ]; then
    is_simt && die "--simt needs --build DIR with the emulated module"
    GPU_BUILD=$root/build/gpu
    build_here
fi
GPU_BUILD=$(cd "$GPU_BUILD" 2>/dev/null && pwd) || die "no such build folder"
GPU_ROOT=$root
export GPU_BUILD GPU_DEVICE GPU_ROOT
if [ -d "$GPU_BUILD/bin" ]; then # an unpacked pack: the checkout that its programs were built from is elsewhere
    export TEMPERA_TEST_SOURCE=$GPU_BUILD/tests
    [ -d "$GPU_BUILD/models" ] && export TEMPERA_TEST_MODELS=$GPU_BUILD/models
    LD_LIBRARY_PATH=$GPU_BUILD/bin${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
if ! is_simt; then
    LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$(cuda_library_path)
    nvidia-smi --query-gpu=clocks.sm,clocks.mem,power.draw,temperature.gpu,utilization.gpu --format=csv,noheader -lms 500 \
        >"$out/parts/clocks.csv" 2>/dev/null &
    clocks=$!
    trap 'kill "$clocks" 2>/dev/null' EXIT
fi
export LD_LIBRARY_PATH

for part in "${PARTS[@]}"; do
    read -r name limit <<<"$part"
    [ -z "$only" ] || [[ ",$only," == *",$name,"* ]] || continue
    run_part "$name" "$limit"
done
write_report
echo "$out/gpu.md, $out/gpu.json: $SECONDS s" >&2
exit "$failed"
