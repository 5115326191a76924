// bench_kernels_simt.cpp: the same benchmark for the emulated device, where --tiny shows that every case runs.
#include "bench_kernels.cu"
