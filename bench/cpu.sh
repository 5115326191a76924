#!/usr/bin/env bash
# Measures the CPU backend and writes bench/results/NAME.md (tables) and NAME.jsonl (the rows).
#     bench/cpu.sh NAME [program]
# Every table is one run of `tempera bench`, which measures the machine's read bandwidth and fp32 rate first: quote the
# shares, not the absolute figures, when machines differ. Takes about ten minutes; wants an otherwise idle machine.
set -euo pipefail

name=${1:?usage: bench/cpu.sh NAME [program]}
program=${2:-build/release/tempera}
cd "$(dirname "$0")/.."
out=bench/results/$name.md
rows=bench/results/$name.jsonl
text=$(mktemp)
trap 'rm -f "$text"' EXIT

table() { # title, flags …
    local title=$1
    shift
    echo "measuring: $title" >&2
    printf '\n## %s\n\n`tempera bench %s`\n\n' "$title" "$*" >>"$out"
    "$program" bench "$@" --format json 2>>"$out.notes" >"$text"
    cat "$text" >>"$rows"
    "$program" bench "$@" --format markdown >>"$out" 2>>"$out.notes"
    sed -n 's/^measured ceilings: /Ceilings in this run: /p' "$out.notes" | tail -1 >>"$out"
    : >"$out.notes"
}

: >"$rows"
{
    echo "# $name"
    echo
    echo "$("$program" --version | head -1); $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) processors."
    echo "Rates are tokens per second, greedy, sampling included; a share is of what the ceilings measured in the same run allow."
} >"$out"

for dtype in f32 bf16 q8 q4; do
    table "GPT-2 124M, $dtype" --random gpt2 --dtype "$dtype" -p 512 -n 128 -b 1,2,4,8,16,32,64 -r 5
done
table "GPT-2 124M, bf16, at depth" --random gpt2 --dtype bf16 -p 0 -n 64 -b 1 -d 0,512,896 -r 5
table "GPT-2 124M, bf16, top_p 0.95" --random gpt2 --dtype bf16 -p 0 -n 128 -b 1,16 -r 5 --sampler temperature=0.8,top_p=0.95
table "GPT-2 medium, bf16" --random gpt2-medium --dtype bf16 -p 512 -n 64 -b 1,16 -r 3
table "TinyLlama 1.1B, bf16" --random llama-1b --dtype bf16 -p 256 -n 32 -b 1,16 -r 3
rm -f "$out.notes"
echo "$out"
