// Rotary embedding of (rows, heads, 2 * half) bfloat16 by float32 angles (rows, half): element i turns with element
// i + half. sign = -1 turns back, which is the derivative. y may be x. Each thread turns two pairs; half is even.
extern "C" __global__ void rotate(const bf16 *x, const float *cosines, const float *sines, bf16 *y, int rows,
                                  int heads, int half, float sign) {
    const int pairs = half / 2;
    const size_t count = static_cast<size_t>(rows) * heads * pairs;
    const size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (size_t index = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; index < count; index += step) {
        const int i = static_cast<int>(index % pairs) * 2;
        const size_t head = index / pairs, row = head / heads;
        const bf16 *from = x + head * 2 * half + i;
        bf16 *to = y + head * 2 * half + i;
        const u32 first = *reinterpret_cast<const u32 *>(from), second = *reinterpret_cast<const u32 *>(from + half);
        const float2 c = *reinterpret_cast<const float2 *>(cosines + row * half + i);
        const float2 s = *reinterpret_cast<const float2 *>(sines + row * half + i);
        const float a0 = low_float(first), a1 = high_float(first), b0 = low_float(second), b1 = high_float(second);
        const float s0 = sign * s.x, s1 = sign * s.y;
        *reinterpret_cast<u32 *>(to) = pack2(a0 * c.x - b0 * s0, a1 * c.y - b1 * s1);
        *reinterpret_cast<u32 *>(to + half) = pack2(b0 * c.x + a0 * s0, b1 * c.y + a1 * s1);
    }
}
