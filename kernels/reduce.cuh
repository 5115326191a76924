// reduce.cuh: sums over a warp's part or a block, each of one fixed order.
#pragma once

#include "kernels/device.cuh"

namespace dev {

// Sum over the WIDTH neighbouring lanes (a power of two) that this lane is one of: lane ^ WIDTH/2, …, 2, 1.
template <int WIDTH> DEV float lanes_sum(float value) {
    for (int mask = WIDTH / 2; mask > 0; mask >>= 1) value += shfl_xor(value, mask);
    return value;
}

// Sum over the block: each warp's butterfly, then the warps' sums one after the other. `partials` [warps] is shared memory
// that nothing else uses before the next barrier. Holds one block barrier.
DEV float block_sum(float value, float *partials) {
    const int warps = (int)blockDim.x / 32;
    value = lanes_sum<32>(value);
    if (threadIdx.x % 32 == 0) partials[threadIdx.x / 32] = value;
    block_sync();
    float sum = partials[0];
    for (int w = 1; w < warps; w++) sum += partials[w];
    return sum;
}

} // namespace dev
