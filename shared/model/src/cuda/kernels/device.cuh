// What all kernels share: bfloat16 as bits, reductions, and the tensor-core instructions of compute capability 8.0.
// It stands before every kernel's source, without any header: NVRTC brings none. tests/cuda/emulate defines EMULATE
// and gives the same names on a CPU.

typedef unsigned short bf16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifndef EMULATE
#define DEVICE static __device__ __forceinline__

// Two floats as bfloat16, rounded to nearest even; `low` stands first in memory.
DEVICE u32 pack2(float low, float high) {
    u32 bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}

DEVICE u32 shared_address(const void *pointer) {
    return static_cast<u32>(__cvta_generic_to_shared(pointer));
}

// Four 8 x 8 matrices of bfloat16: lane l gives the address of row l % 8 of matrix l / 8.
DEVICE void load_matrices(u32 out[4], const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// The same, each matrix transposed.
DEVICE void load_transposed(u32 out[4], const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// c (16 x 8, float32) += a (16 x 16) b (16 x 8).
DEVICE void multiply_add(float c[4], const u32 a[4], const u32 b0, const u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 16 bytes from global to shared memory in the background; zeros where `wanted` is false.
DEVICE void copy_later(bf16 *to, const bf16 *from, bool wanted) {
    const int bytes = wanted ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
}

DEVICE void close_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most `LEFT` of this thread's closed groups are on their way.
template <int LEFT> DEVICE void wait_copies() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory"); }
#endif

DEVICE float low_float(u32 pair) { return __uint_as_float(pair << 16); }
DEVICE float high_float(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }
DEVICE float to_float(bf16 x) { return __uint_as_float(static_cast<u32>(x) << 16); }
DEVICE bf16 to_bf16(float x) { return static_cast<bf16>(pack2(x, 0.0f) & 0xffffu); }

// Eight bfloat16 at a 16-byte address.
DEVICE void load8(float out[8], const bf16 *from) {
    const uint4 bits = *reinterpret_cast<const uint4 *>(from);
    out[0] = low_float(bits.x), out[1] = high_float(bits.x);
    out[2] = low_float(bits.y), out[3] = high_float(bits.y);
    out[4] = low_float(bits.z), out[5] = high_float(bits.z);
    out[6] = low_float(bits.w), out[7] = high_float(bits.w);
}

DEVICE void store8(bf16 *to, const float x[8]) {
    uint4 bits;
    bits.x = pack2(x[0], x[1]), bits.y = pack2(x[2], x[3]);
    bits.z = pack2(x[4], x[5]), bits.w = pack2(x[6], x[7]);
    *reinterpret_cast<uint4 *>(to) = bits;
}

DEVICE float warp_sum(float x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
    return x;
}

DEVICE float warp_max(float x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, distance));
    return x;
}

// The sum over the threads of a row (threadIdx.x), known to all of them. Rows of one warp need no shared memory; a
// row of several warps must be the only one of its block. `slots` holds 32 floats.
DEVICE float row_sum(float x, float *slots) {
    x = warp_sum(x);
    if (blockDim.x == 32) return x;
    const int warp = threadIdx.x / 32, warps = blockDim.x / 32, lane = threadIdx.x % 32;
    __syncthreads(); // the slots may still be read from the sum before
    if (lane == 0) slots[warp] = x;
    __syncthreads();
    return warp_sum(lane < warps ? slots[lane] : 0.0f);
}
