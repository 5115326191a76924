#!/usr/bin/env bash
# Measures the CPU backend and writes bench/results/NAME.md (tables) and NAME.db (every row, SQLite).
#     bench/cpu.sh NAME [program]
# Every table is one run of `tempera bench`, which measures the machine's read bandwidth and rate of products first: quote the
# shares, not the absolute figures, when machines differ. Wants an otherwise idle machine and time: some ten minutes,
# and as much again for each build of llama.cpp.
#
# What more can be measured is named in the environment:
#   LLAMA="FOLDER …"   builds of llama.cpp, folders with llama-bench and llama-batched-bench: ratios, interleaved
#   LLAMA_MODELS=DIR   holds gpt2-f32.gguf, gpt2-bf16.gguf, gpt2-q8.gguf and gpt2-q4.gguf for them; those that are
#                      missing are left out
#   MODEL=DIR          a model folder of GPT-2's shape: start to the first token, and the tokenizer with TEXT=FILE
#   STORIES=DIR        the folder of stories260K: one thread
#   RUNS=N             repetitions, and rounds of comparisons (5)
set -euo pipefail

name=${1:?usage: bench/cpu.sh NAME [program]}
program=$(realpath "${2:-build/release/tempera}")
cd "$(dirname "$0")/.."
out=bench/results/$name.md
rows=bench/results/$name.db
runs=${RUNS:-5}
notes=$(mktemp)
trap 'rm -f "$notes"' EXIT

# One table. What cannot be measured says why in its place.
table() { # title, words after `tempera bench` …
    local title=$1 status=0
    shift
    echo "measuring: $title" >&2
    printf '\n## %s\n\n`tempera bench %s`\n\n' "$title" "$*" >>"$out"
    "$program" bench "$@" -q --format markdown --out "$rows" >"$notes" 2>&1 || status=$?
    case $status in
    0) cat "$notes" >>"$out" ;;
    130) exit 130 ;; # Ctrl-C
    *) echo "Not measured: $(tail -n 1 "$notes")" >>"$out" ;;
    esac
}

# Every build of llama.cpp on the same test.
compare() { # title, dtype, flags …
    local title=$1 dtype=$2 folder model
    shift 2
    model=${LLAMA_MODELS:-.}/gpt2-$dtype.gguf
    for folder in ${LLAMA:-}; do
        [ -e "$model" ] || continue
        table "$title against llama.cpp ($folder)" compare --random gpt2 --dtype "$dtype" --with-model "$model" \
            --with "llama-bench=$folder/llama-bench" --with "llama-batched-bench=$folder/llama-batched-bench" \
            -r "$runs" "$@"
    done
}

rm -f "$rows"
{
    echo "# $name"
    echo
    processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
    echo "$("$program" --version | head -1); $processor, $(nproc) processors."
    echo "Rates are tokens per second, greedy, sampling included; a share is of what the ceilings measured in the same"
    echo "run allow."
    echo "Milliseconds in the second table of a test, microseconds in those of draws."
} >"$out"

for dtype in f32 bf16 q8 q4; do
    gpt2=(--random gpt2 --dtype "$dtype" -r "$runs")
    table "GPT-2 124M, $dtype" "${gpt2[@]}" -p 512 -n 128 -b 1
    table "GPT-2 124M, $dtype, at depth" "${gpt2[@]}" -p 0 -n 64 -b 1 -d 0,896
    table "GPT-2 124M, $dtype, batches" "${gpt2[@]}" -p 0 -n 32 -b 2-64*2 -d 16
    compare "GPT-2 124M, $dtype" "$dtype" -p 512 -n 128
    compare "GPT-2 124M, $dtype, at depth" "$dtype" -p 0 -n 64 -d 0,896
    compare "GPT-2 124M, $dtype, 64 rows" "$dtype" -p 0 -n 32 -b 64 -d 16
done
table "GPT-2 124M, bf16, top_p 0.95" --random gpt2 --dtype bf16 -p 0 -n 128 -b 1,16 -r "$runs" \
    --sampler temperature=0.8,top_p=0.95
table "GPT-2 medium, bf16" --random gpt2-medium --dtype bf16 -p 512 -n 64 -b 1,16 -r "$runs"
table "TinyLlama 1.1B, bf16" --random llama-1b --dtype bf16 -p 256 -n 32 -b 1,16 -r "$runs"
table "Draws" sampler -t 1 -b 1 -V 50257,128256 --setting top_p=0.95 --setting temperature=0.8,top_p=0.95 \
    --setting greedy
table "Requests over time, GPT-2 124M, bf16" serve-like --random gpt2 --dtype bf16 --rate 4 --requests 64 \
    --prompt-tokens 64 --output-tokens 64 --slo-ttft 500 --slo-tpot 100
if [ -n "${STORIES:-}" ]; then
    table "stories260K, one thread" --model "$STORIES" -t 1 -p 0 -n 128 -b 1 -r "$runs"
fi
if [ -n "${MODEL:-}" ]; then
    table "Start to first token, warm" --model "$MODEL" -p 0 -n 0 --startup -r "$runs"
    [ -z "${TEXT:-}" ] || table "Tokenizer" --model "$MODEL" -p 0 -n 0 --tokenizer "$TEXT" -r "$runs"
fi
echo "$out"
