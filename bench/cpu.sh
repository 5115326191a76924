#!/usr/bin/env bash
# Measures the CPU backend and writes bench/results/NAME.md (tables) and NAME.db (every row, SQLite).
#     bench/cpu.sh NAME [program]
# Every table is one run of `tempera bench`, which measures the machine's read bandwidth and rate of products first: quote
# the shares, not the absolute figures, when machines differ. Wants an otherwise idle machine and time: some ten minutes,
# and three times as much again for each build of llama.cpp, most of it for the larger models.
#
# What more can be measured is named in the environment:
#   LLAMA="FOLDER …"   builds of llama.cpp, folders with llama-bench and llama-batched-bench: ratios, interleaved
#   LLAMA_MODELS=DIR   holds SHAPE-TYPE.gguf for them, SHAPE gpt2, gpt2-medium and llama-1b, TYPE f32, bf16, q8 and q4
#                      (q4: embedding and head at 8 bits, as here); those that are missing are left out
#   MODEL=DIR          a model folder of GPT-2's shape: start to the first token, and the tokenizer with TEXT=FILE
#   STORIES=DIR        the folder of stories260K: one thread
#   RUNS=N             repetitions, and rounds of comparisons (5)
# A part alone, in a report of its own:
#   ONLY="GROUP …"     gpt2, gpt2-medium, llama-1b, the same with -compare (against llama.cpp), draws, serve, stories,
#                      startup
#   DTYPES="TYPE …"    of f32, bf16, q8, q4: those that gpt2 and all comparisons are made with
set -euo pipefail

name=${1:?usage: bench/cpu.sh NAME [program]}
program=$(realpath "${2:-build/release/tempera}")
cd "$(dirname "$0")/.."
out=bench/results/$name.md
rows=bench/results/$name.db
runs=${RUNS:-5}
read -ra dtypes <<<"${DTYPES:-f32 bf16 q8 q4}"
groups=" gpt2 gpt2-compare gpt2-medium gpt2-medium-compare llama-1b llama-1b-compare draws serve stories startup "
for group in ${ONLY:-}; do
    [[ $groups == *" $group "* ]] || { echo "bench/cpu.sh: ONLY: unknown group $group; known are$groups" >&2 && exit 2; }
done
for dtype in "${dtypes[@]}"; do
    [[ " f32 bf16 q8 q4 " == *" $dtype "* ]] || { echo "bench/cpu.sh: DTYPES: unknown type $dtype" >&2 && exit 2; }
done
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

wanted() { # group
    [ -z "${ONLY:-}" ] || [[ " $ONLY " == *" $1 "* ]]
}

# Every build of llama.cpp on the same test.
compare() { # title, shape, dtype, flags …
    local title=$1 shape=$2 dtype=$3 folder model
    shift 3
    model=${LLAMA_MODELS:-.}/$shape-$dtype.gguf
    for folder in ${LLAMA:-}; do
        [ -e "$model" ] || continue
        table "$title against llama.cpp ($folder)" compare --random "$shape" --dtype "$dtype" --with-model "$model" \
            --with "llama-bench=$folder/llama-bench" --with "llama-batched-bench=$folder/llama-batched-bench" \
            -r "$runs" "$@"
    done
}

# Prefill and decode, decode at depth, and of 64 rows. The larger the model the fewer tokens: they take as long as many.
compare_model() { # title, shape, dtype, prompt tokens, new tokens, depth, new tokens of 64 rows
    compare "$1, $3" "$2" "$3" -p "$4" -n "$5"
    compare "$1, $3, at depth" "$2" "$3" -p 0 -n $(($5 / 2)) -d "0,$6"
    compare "$1, $3, 64 rows" "$2" "$3" -p 0 -n "$7" -b 64 -d 16
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

for dtype in "${dtypes[@]}"; do
    gpt2=(--random gpt2 --dtype "$dtype" -r "$runs")
    if wanted gpt2; then
        table "GPT-2 124M, $dtype" "${gpt2[@]}" -p 512 -n 128 -b 1
        table "GPT-2 124M, $dtype, at depth" "${gpt2[@]}" -p 0 -n 64 -b 1 -d 0,896
        table "GPT-2 124M, $dtype, batches" "${gpt2[@]}" -p 0 -n 32 -b 2-64*2 -d 16
    fi
    wanted gpt2-compare && compare_model "GPT-2 124M" gpt2 "$dtype" 512 128 896 32
done
wanted gpt2 && table "GPT-2 124M, bf16, top_p 0.95" --random gpt2 --dtype bf16 -p 0 -n 128 -b 1,16 -r "$runs" \
    --sampler temperature=0.8,top_p=0.95
wanted gpt2-medium && table "GPT-2 medium, bf16" --random gpt2-medium --dtype bf16 -p 512 -n 64 -b 1,16 -r "$runs"
wanted llama-1b && table "TinyLlama 1.1B, bf16" --random llama-1b --dtype bf16 -p 256 -n 32 -b 1,16 -r "$runs"
for dtype in "${dtypes[@]}"; do
    wanted gpt2-medium-compare && compare_model "GPT-2 medium" gpt2-medium "$dtype" 128 64 896 16
    # A comparison keeps its engine while the other program runs: in f32 that is 4.4 GB twice.
    [ "$dtype" != f32 ] && wanted llama-1b-compare && compare_model "TinyLlama 1.1B" llama-1b "$dtype" 64 32 512 8
done
wanted draws && table "Draws" sampler -t 1 -b 1 -V 50257,128256 --setting top_p=0.95 \
    --setting temperature=0.8,top_p=0.95 --setting greedy
wanted serve && table "Requests over time, GPT-2 124M, bf16" serve-like --random gpt2 --dtype bf16 --rate 4 \
    --requests 64 --prompt-tokens 64 --output-tokens 64 --slo-ttft 500 --slo-tpot 100
if [ -n "${STORIES:-}" ] && wanted stories; then
    table "stories260K, one thread" --model "$STORIES" -t 1 -p 0 -n 128 -b 1 -r "$runs"
fi
if [ -n "${MODEL:-}" ] && wanted startup; then
    table "Start to first token, warm" --model "$MODEL" -p 0 -n 0 --startup -r "$runs"
    [ -z "${TEXT:-}" ] || table "Tokenizer" --model "$MODEL" -p 0 -n 0 --tokenizer "$TEXT" -r "$runs"
fi
echo "$out"
