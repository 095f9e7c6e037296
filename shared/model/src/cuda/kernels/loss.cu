// Cross-entropy of one row of float32 logits a block: losses[row] = log(sum(exp(logits))) - logits[label], and where
// `gradient` is not null gradient[row] = scale * (softmax(logits) - one at the label), in bfloat16.

struct Tail {
    float largest, sum; // sum of exp(x - largest)
};

DEVICE Tail join(Tail a, Tail b) {
    const float largest = fmaxf(a.largest, b.largest);
    // Both may be -inf where a thread saw nothing: no exp of NaN then.
    const float left = a.sum == 0.0f ? 0.0f : a.sum * __expf(a.largest - largest);
    const float right = b.sum == 0.0f ? 0.0f : b.sum * __expf(b.largest - largest);
    return {largest, left + right};
}

DEVICE Tail warp_join(Tail x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        const Tail other = {__shfl_xor_sync(0xffffffffu, x.largest, distance),
                            __shfl_xor_sync(0xffffffffu, x.sum, distance)};
        x = join(x, other);
    }
    return x;
}

extern "C" __global__ void cross_entropy(const float *logits, const u32 *labels, float *losses, bf16 *gradient,
                                         int width, float scale) {
    __shared__ float largest[32], sums[32];
    const size_t at = static_cast<size_t>(blockIdx.x) * width;
    const float *row = logits + at;
    Tail tail = {__int_as_float(0xff800000), 0.0f};
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        const float x = row[i];
        if (x > tail.largest) {
            tail.sum = tail.sum * __expf(tail.largest - x) + 1.0f;
            tail.largest = x;
        } else {
            tail.sum += __expf(x - tail.largest);
        }
    }
    tail = warp_join(tail);
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
    if (lane == 0) {
        largest[threadIdx.x / 32] = tail.largest;
        sums[threadIdx.x / 32] = tail.sum;
    }
    __syncthreads();
    tail.largest = lane < warps ? largest[lane] : __int_as_float(0xff800000);
    tail.sum = lane < warps ? sums[lane] : 0.0f;
    tail = warp_join(tail);
    const float log_sum = tail.largest + logf(tail.sum);
    const int label = static_cast<int>(labels[blockIdx.x]);
    if (threadIdx.x == 0) losses[blockIdx.x] = log_sum - row[label];
    if (!gradient) return;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        const float p = __expf(row[i] - log_sum);
        gradient[at + i] = to_bf16(scale * (i == label ? p - 1.0f : p));
    }
}
