// Attention of a few new tokens to a long cache: the keys of one query head are split over blocks, whose results are
// joined by the second kernel. A thread takes a key for the scores, and eight columns for the sums.

#define THREADS 128
#define CHUNKS (HEAD / 8)
#define LANES (THREADS / CHUNKS) // keys that are summed at the same time

// Sums over [begin, end) of the keys: parts[(token * heads + head) * splits + split] holds the largest score, the sum
// of exponentials and HEAD sums of values. gridDim: (tokens, heads, splits).
extern "C" __global__ void __launch_bounds__(THREADS)
    decode(const bf16 *q, const bf16 *k, const bf16 *v, float *parts, int keys, int group, int window, float scale) {
    __shared__ float query[HEAD], weights[THREADS], slots[32], sums[LANES][HEAD];
    const int token = blockIdx.x, head = blockIdx.y, heads = gridDim.y, thread = threadIdx.x;
    const int position = keys - gridDim.x + token; // the tokens are the last of the keys
    const int from = window ? max(0, position + 1 - window) : 0, count = position + 1 - from;
    const int share = (count + gridDim.z - 1) / gridDim.z;
    const int begin = from + blockIdx.z * share, end = min(begin + share, position + 1);
    const size_t stride = static_cast<size_t>(heads / group) * HEAD;
    k += head / group * HEAD;
    v += head / group * HEAD;
    for (int i = thread; i < HEAD; i += THREADS)
        query[i] = to_float(q[(static_cast<size_t>(token) * heads + head) * HEAD + i]) * scale;
    const int lane = thread / CHUNKS, column = thread % CHUNKS * 8;
    float largest = __int_as_float(0xff800000), total = 0.0f, sum[8] = {};
    for (int at = begin; at < end; at += THREADS) {
        __syncthreads(); // the query is there; the weights were read
        const int key = at + thread;
        float score = __int_as_float(0xff800000);
        if (key < end) {
            score = 0.0f;
#pragma unroll 4
            for (int i = 0; i < HEAD; i += 8) {
                float values[8];
                load8(values, k + key * stride + i);
#pragma unroll
                for (int j = 0; j < 8; j++) score += values[j] * query[i + j];
            }
        }
        const float here = warp_max(score);
        if (thread % 32 == 0) slots[thread / 32] = here;
        __syncthreads();
        const float next = fmaxf(fmaxf(fmaxf(slots[0], slots[1]), fmaxf(slots[2], slots[3])), largest);
        const float correction = __expf(largest - next), weight = __expf(score - next);
        largest = next;
        weights[thread] = weight;
        total = total * correction + weight; // of this thread's keys; joined at the end
#pragma unroll
        for (int j = 0; j < 8; j++) sum[j] *= correction;
        __syncthreads();
        for (int i = lane; lane < LANES && i < min(THREADS, end - at); i += LANES) {
            float values[8];
            load8(values, v + (at + i) * stride + column);
#pragma unroll
            for (int j = 0; j < 8; j++) sum[j] += weights[i] * values[j];
        }
    }
    total = row_sum(total, slots);
    if (lane < LANES) {
#pragma unroll
        for (int j = 0; j < 8; j++) sums[lane][column + j] = sum[j];
    }
    __syncthreads();
    float *part = parts + ((static_cast<size_t>(token) * heads + head) * gridDim.z + blockIdx.z) * (HEAD + 2);
    if (thread == 0) part[0] = largest, part[1] = total;
    for (int i = thread; i < HEAD; i += THREADS) {
        float joined = 0.0f;
        for (int l = 0; l < LANES; l++) joined += sums[l][i];
        part[2 + i] = joined;
    }
}

// Joins the parts of one token and head: out (tokens, heads, HEAD). gridDim: tokens * heads; a thread a column.
extern "C" __global__ void join_parts(const float *parts, bf16 *out, int splits) {
    const float *own = parts + static_cast<size_t>(blockIdx.x) * splits * (HEAD + 2);
    float largest = __int_as_float(0xff800000), total = 0.0f, sum = 0.0f;
    for (int split = 0; split < splits; split++) largest = fmaxf(largest, own[split * (HEAD + 2)]);
    for (int split = 0; split < splits; split++) {
        const float *part = own + split * (HEAD + 2);
        const float weight = part[1] == 0.0f ? 0.0f : __expf(part[0] - largest); // a split without keys counts nothing
        total += weight * part[1];
        sum += weight * part[2 + threadIdx.x];
    }
    out[static_cast<size_t>(blockIdx.x) * HEAD + threadIdx.x] = to_bf16(sum / total);
}
