// launch.cu: the one setting that all launchers share.
#include "kernels/device.cuh"
#include "kernels/kernels.h"

extern "C" void kernels_overlap_launches(bool on) {
    dev::overlap_launches = on;
}
