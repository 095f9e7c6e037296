// RMSNorm of rows of bfloat16 with a float32 weight. blockDim.x threads share a row, blockDim.y rows share a block;
// width is a multiple of 8.

// y = s / sqrt(mean(s^2) + eps) * weight, where s = x, or with `delta` s = x + delta, which is written to `sum`.
extern "C" __global__ void rms_norm(const bf16 *x, const bf16 *delta, const float *weight, bf16 *sum, bf16 *y,
                                    int rows, int width, float eps) {
    __shared__ float slots[32];
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    const bool mine = row < rows;
    const size_t at = static_cast<size_t>(mine ? row : 0) * width;
    const bf16 *source = delta ? sum : x;
    float squares = 0.0f;
    for (int i = threadIdx.x * 8; mine && i < width; i += blockDim.x * 8) {
        float values[8];
        load8(values, x + at + i);
        if (delta) {
            float more[8];
            load8(more, delta + at + i);
#pragma unroll
            for (int j = 0; j < 8; j++) values[j] = to_float(to_bf16(values[j] + more[j]));
            store8(sum + at + i, values);
        }
#pragma unroll
        for (int j = 0; j < 8; j++) squares += values[j] * values[j];
    }
    const float inverse = rsqrtf(row_sum(squares, slots) / width + eps);
    for (int i = threadIdx.x * 8; mine && i < width; i += blockDim.x * 8) {
        float values[8];
        load8(values, source + at + i); // each thread reads what it wrote
#pragma unroll
        for (int j = 0; j < 8; j++) values[j] *= inverse * weight[i + j];
        store8(y + at + i, values);
    }
}

// dx = r g w - x r^3 / width * sum(g w x) + add, with r = 1 / sqrt(mean(x^2) + eps); `add` may be null, and may be dx.
extern "C" __global__ void rms_norm_backward(const bf16 *x, const float *weight, const bf16 *gradient, const bf16 *add,
                                             bf16 *dx, int rows, int width, float eps) {
    __shared__ float slots[32];
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    const bool mine = row < rows;
    const size_t at = static_cast<size_t>(mine ? row : 0) * width;
    float squares = 0.0f, dot = 0.0f;
    for (int i = threadIdx.x * 8; mine && i < width; i += blockDim.x * 8) {
        float values[8], g[8];
        load8(values, x + at + i);
        load8(g, gradient + at + i);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            squares += values[j] * values[j];
            dot += values[j] * g[j] * weight[i + j];
        }
    }
    const float inverse = rsqrtf(row_sum(squares, slots) / width + eps);
    const float shrink = row_sum(dot, slots) * inverse * inverse * inverse / width;
    for (int i = threadIdx.x * 8; mine && i < width; i += blockDim.x * 8) {
        float values[8], g[8], more[8];
        load8(values, x + at + i);
        load8(g, gradient + at + i);
        if (add) load8(more, add + at + i);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            values[j] = inverse * g[j] * weight[i + j] - values[j] * shrink;
            if (add) values[j] += more[j];
        }
        store8(dx + at + i, values);
    }
}
