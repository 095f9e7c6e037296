// Attention without the (tokens x tokens) matrix: tiles of scores stay in registers, softmax is corrected as it goes
// (Dao 2023, FlashAttention-2). A block has four warps of 16 queries of one head and walks over the keys in tiles, of
// which the next is copied while one is multiplied.

#define ROWS 64
#define KEYS (HEAD <= 128 ? 64 : 32)
// A head's queries fit in registers beside the sums up to this width; wider ones are read again for every tile.
#define KEEP (HEAD <= 128)

// The sums of exponentials of two rows of a warp, and the largest score of each so far.
struct Running {
    float largest[2], sum[2];
};

// Turns scores into exp2(scores * scale - largest * scale), and corrects what was summed before.
template <int BLOCKS>
DEVICE void soften(float scores[BLOCKS][4], Running &running, float out[HEAD / 8][4], float scale) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float largest = running.largest[half];
#pragma unroll
        for (int n = 0; n < BLOCKS; n++) largest = fmaxf(largest, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
        const float base = largest == __int_as_float(0xff800000) ? 0.0f : largest * scale;
        const float correction = exp2f(running.largest[half] * scale - base);
        running.largest[half] = largest;
        float sum = running.sum[half] * correction;
#pragma unroll
        for (int n = 0; n < BLOCKS; n++) {
            scores[n][2 * half] = exp2f(scores[n][2 * half] * scale - base);
            scores[n][2 * half + 1] = exp2f(scores[n][2 * half + 1] * scale - base);
            sum += scores[n][2 * half] + scores[n][2 * half + 1];
        }
        running.sum[half] = sum;
#pragma unroll
        for (int n = 0; n < HEAD / 8; n++) {
            out[n][2 * half] *= correction;
            out[n][2 * half + 1] *= correction;
        }
    }
}

// q (rows, heads, HEAD), k and v (keys, heads / group, HEAD) -> out as q, and where `log_sums` is not null
// log_sums[head * rows + row] = log(sum(exp(scale * q . k))). `tiles` may be null: then one sequence of `keys` keys
// whose last `rows` ones belong to the queries. gridDim: (tiles, heads).
extern "C" __global__ void __launch_bounds__(128)
    attention(const bf16 *q, const bf16 *k, const bf16 *v, bf16 *out, float *log_sums, const Tile *tiles, int rows,
              int keys, int group, int window, float scale) {
    DYNAMIC_SHARED(shared);
    bf16 *queries = shared, *key_tiles = queries + ROWS * STRIDE, *value_tiles = key_tiles + 2 * KEYS * STRIDE;
    const int head = blockIdx.y, heads = gridDim.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    Tile tile;
    if (tiles) {
        tile = tiles[blockIdx.x];
    } else { // the longest first
        const int first = (gridDim.x - 1 - blockIdx.x) * ROWS;
        tile = {first, min(ROWS, rows - first), 0, keys, keys - rows + first};
    }
    const size_t q_stride = static_cast<size_t>(heads) * HEAD, k_stride = q_stride / group;
    q += tile.q_row * q_stride + head * HEAD;
    k += tile.k_row * k_stride + head / group * HEAD;
    v += tile.k_row * k_stride + head / group * HEAD;
    const int end = min(tile.keys, tile.q_at + tile.q_count);
    const int begin = window ? max(0, tile.q_at + 1 - window) / KEYS * KEYS : 0;

    load_tile(queries, q, q_stride, ROWS, tile.q_count);
    close_copies();
    load_tile(key_tiles, k + begin * k_stride, k_stride, KEYS, end - begin);
    load_tile(value_tiles, v + begin * k_stride, k_stride, KEYS, end - begin);
    close_copies();
    wait_copies<1>();
    __syncthreads();
    u32 kept[KEEP ? HEAD / 16 : 1][4];
    if (KEEP) {
#pragma unroll
        for (int c = 0; c < HEAD / 16; c++) load_matrices(kept[KEEP ? c : 0], left_at(queries, warp * 16, c * 16));
    }
    float sums[HEAD / 8][4] = {};
    Running running = {{__int_as_float(0xff800000), __int_as_float(0xff800000)}, {0.0f, 0.0f}};
    const int first = tile.q_at + warp * 16; // position of the warp's first query

    int stage = 0;
    for (int at = begin; at < end; at += KEYS, stage ^= 1) {
        wait_copies<0>();
        __syncthreads(); // this tile is there, and nobody reads the other stage any more
        const int next = at + KEYS;
        if (next < end) {
            bf16 *to = key_tiles + (stage ^ 1) * KEYS * STRIDE;
            load_tile(to, k + next * k_stride, k_stride, KEYS, end - next);
            load_tile(to + 2 * KEYS * STRIDE, v + next * k_stride, k_stride, KEYS, end - next);
            close_copies();
        }
        const bf16 *key_tile = key_tiles + stage * KEYS * STRIDE, *value_tile = value_tiles + stage * KEYS * STRIDE;
        float scores[KEYS / 8][4];
        if (KEEP) {
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) scores[n][0] = scores[n][1] = scores[n][2] = scores[n][3] = 0.0f;
#pragma unroll
            for (int c = 0; c < HEAD / 16; c++) {
#pragma unroll
                for (int n = 0; n < KEYS / 8; n += 2) {
                    u32 b[4];
                    load_matrices(b, right_at(key_tile, n * 8, c * 16));
                    multiply_add(scores[n], kept[KEEP ? c : 0], b[0], b[1]);
                    multiply_add(scores[n + 1], kept[KEEP ? c : 0], b[2], b[3]);
                }
            }
        } else {
            products<KEYS / 8>(scores, queries, warp * 16, key_tile);
        }
        const bool all = at + KEYS - 1 <= first && (window == 0 || at + window > first + 15);
        if (!all) {
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int query = first + lane / 4 + i / 2 * 8, key = at + n * 8 + lane % 4 * 2 + i % 2;
                    if (!sees(query, key, window) || key >= end) scores[n][i] = __int_as_float(0xff800000);
                }
            }
        }
        soften<KEYS / 8>(scores, running, sums, scale * LOG2E);
        accumulate<KEYS / 8, HEAD / 8>(sums, scores, value_tile, 0);
    }

    float total[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = running.sum[half];
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        total[half] = sum;
    }
    const int wanted = tile.q_count - warp * 16; // may be negative
    const size_t row = tile.q_row + warp * 16;
    store_rows<HEAD / 8>(out + row * q_stride + head * HEAD, q_stride, sums, wanted, 1.0f / total[0], 1.0f / total[1]);
    if (log_sums && lane % 4 == 0) {
        float *to = log_sums + static_cast<size_t>(head) * rows + row;
        if (lane / 4 < wanted) to[lane / 4] = running.largest[0] * scale + logf(total[0]);
        if (lane / 4 + 8 < wanted) to[lane / 4 + 8] = running.largest[1] * scale + logf(total[1]);
    }
}
