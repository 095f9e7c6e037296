// One launch over many tensors. Each has an entry of a table in device memory; blockIdx.x is the entry, and the
// gridDim.y blocks of an entry share its elements.

struct Entry {
    u64 count;
    float *first;
    float *second;
    float *third;
    float *fourth;
};

#define EACH(i, count)                                                                                                 \
    for (u64 i = blockIdx.y * static_cast<u64>(blockDim.x) + threadIdx.x; i < (count);                                 \
         i += static_cast<u64>(gridDim.y) * blockDim.x)

// Copies float32 `first` to bfloat16 `second`.
extern "C" __global__ void narrow_many(const Entry *table) {
    const Entry entry = table[blockIdx.x];
    bf16 *out = reinterpret_cast<bf16 *>(entry.second);
    EACH(i, entry.count) out[i] = to_bf16(entry.first[i]);
}

// out[entry * gridDim.y + blockIdx.y] = the sum of the squares of this block's elements.
extern "C" __global__ void squares_many(const Entry *table, float *out) {
    __shared__ float slots[32];
    const Entry entry = table[blockIdx.x];
    float sum = 0.0f;
    EACH(i, entry.count) sum += entry.first[i] * entry.first[i];
    sum = row_sum(sum, slots);
    if (threadIdx.x == 0) out[blockIdx.x * gridDim.y + blockIdx.y] = sum;
}

// first *= factor.
extern "C" __global__ void scale_many(const Entry *table, float factor) {
    const Entry entry = table[blockIdx.x];
    EACH(i, entry.count) entry.first[i] *= factor;
}

// first += second.
extern "C" __global__ void add_many(const Entry *table) {
    const Entry entry = table[blockIdx.x];
    EACH(i, entry.count) entry.first[i] += entry.second[i];
}

// One AdamW step: value `first`, gradient `second`, moments `third` and `fourth`; torch's order of operations.
// rate1 = learning rate / (1 - beta1^t), root2 = sqrt(1 - beta2^t), keep = 1 - learning rate * weight decay.
extern "C" __global__ void adamw_many(const Entry *table, float beta1, float beta2, float eps, float rate1, float root2,
                                      float keep) {
    const Entry entry = table[blockIdx.x];
    EACH(i, entry.count) {
        const float gradient = entry.second[i];
        const float first = entry.third[i] * beta1 + gradient * (1.0f - beta1);
        const float second = entry.fourth[i] * beta2 + gradient * gradient * (1.0f - beta2);
        entry.third[i] = first;
        entry.fourth[i] = second;
        entry.first[i] = entry.first[i] * keep - first / (sqrtf(second) / root2 + eps) * rate1;
    }
}

// Dropout of eight bfloat16 a thread by a hash of seed and place: the same seed drops the same values again.
DEVICE u32 hash(u64 x) {
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    x ^= x >> 33;
    return static_cast<u32>(x >> 32);
}

extern "C" __global__ void dropout(const bf16 *x, const bf16 *add, bf16 *y, u64 count, u64 seed, u32 below,
                                   float keep) {
    const u64 at = (blockIdx.x * static_cast<u64>(blockDim.x) + threadIdx.x) * 8;
    if (at >= count) return;
    float values[8], more[8];
    load8(values, x + at);
    if (add) load8(more, add + at);
#pragma unroll
    for (int j = 0; j < 8; j++) {
        values[j] = hash(seed + (at + j) * 0x9e3779b97f4a7c15ull) < below ? 0.0f : values[j] * keep;
        if (add) values[j] += more[j];
    }
    store8(y + at, values);
}
