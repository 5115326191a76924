#!/usr/bin/env bash
# quickstart.sh ["PROMPT"]: from a fresh checkout to text: installs what is missing, builds, and continues the prompt with
# the bundled demo model. Run it again at any time. With an NVIDIA GPU and nvcc the CUDA module is built too, for that GPU.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1-} in
-h | --help)
    echo "Usage: tools/quickstart.sh [\"PROMPT\"]"
    echo "Builds tempera in build/release and continues PROMPT (default: \"Once upon a time\")."
    exit 0
    ;;
esac
if [ $# -gt 1 ]; then
    echo "quickstart: one prompt, in quotes" >&2
    exit 2
fi

. tools/setup.sh
setup_build

options=()
pkg-config --exists criterion || options=(-DTEMPERA_TESTS=OFF) # tests/ is not built here, but cmake would look for it
targets=(tempera_program)
if nvidia-smi -L >/dev/null 2>&1 && { command -v nvcc || [ -x /usr/local/cuda/bin/nvcc ]; } >/dev/null 2>&1; then
    options+=(-DTEMPERA_CUDA=ON -DTEMPERA_CUDA_ARCHITECTURES=native)
    targets+=(tempera_cuda)
else
    options+=(-DTEMPERA_CUDA=OFF)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
step() {
    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        echo "quickstart: failed: $*" >&2
        exit 1
    fi
}
echo "building in build/release ..." >&2
step cmake --preset release "${options[@]}"
step cmake --build build/release --target "${targets[@]}"

prompt=${1-Once upon a time}
echo "build/release/tempera generate --echo --prompt \"$prompt\"" >&2
exec build/release/tempera generate --echo --prompt "$prompt"
