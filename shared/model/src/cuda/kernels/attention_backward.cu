// The backward pass of attention, with the probabilities computed again from the saved log-sums (Dao 2023). One kernel
// walks over the queries for the gradients of keys and values, one over the keys for that of the queries: the scores
// are computed twice, but nothing is added up atomically, so that the same inputs give the same bits.

#define ROWS 64 // keys of a block of backward_keys, queries of a block of backward_queries
#define STEP 32 // queries that backward_keys takes at a time
#define KEYS (HEAD <= 96 ? 64 : 32) // keys that backward_queries takes at a time: 99 KiB of shared memory must do
// Warps that share 16 keys: a warp's registers hold the sums of 128 columns at most.
#define SHARES (HEAD <= 128 ? 1 : 2)
#define COLUMNS (HEAD / 8 / SHARES)

// inner[head * rows + row] = sum(gradient * out) of one head: one warp each. gridDim.x * 4 >= rows * heads.
extern "C" __global__ void attention_inner(const bf16 *out, const bf16 *gradient, float *inner, int rows, int heads) {
    const int index = blockIdx.x * 4 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (index >= rows * heads) return;
    float sum = 0.0f;
    for (int i = lane * 8; i < HEAD; i += 256) {
        float a[8], b[8];
        load8(a, out + static_cast<size_t>(index) * HEAD + i);
        load8(b, gradient + static_cast<size_t>(index) * HEAD + i);
#pragma unroll
        for (int j = 0; j < 8; j++) sum += a[j] * b[j];
    }
    sum = warp_sum(sum);
    if (lane == 0) inner[static_cast<size_t>(index % heads) * rows + index / heads] = sum;
}

// The next queries with their gradients, log-sums and inner products.
DEVICE void load_step(bf16 *queries, bf16 *gradients, float *log_sum, float *inner, const bf16 *q, const bf16 *gradient,
                      const float *log_sums, const float *inners, size_t stride, int wanted) {
    load_tile(queries, q, stride, STEP, wanted);
    load_tile(gradients, gradient, stride, STEP, wanted);
    close_copies();
    for (int i = threadIdx.x; i < STEP; i += blockDim.x) {
        log_sum[i] = i < wanted ? log_sums[i] * LOG2E : 0.0f;
        inner[i] = i < wanted ? inners[i] : 0.0f;
    }
}

// Gradients of keys and values of one query head: to_k and to_v (rows, heads, HEAD). A tile is 64 keys: q_row and
// q_count are those of the tile, q_at its position, keys and k_row those of the whole sequence; queries and keys are
// the same rows. gridDim: (tiles, heads); blockDim: 128 * SHARES.
extern "C" __global__ void __launch_bounds__(128 * SHARES)
    attention_backward_keys(const bf16 *q, const bf16 *k, const bf16 *v, const bf16 *gradient, const float *log_sums,
                            const float *inners, bf16 *to_k, bf16 *to_v, const Tile *tiles, int rows, int group,
                            int window, float scale) {
    DYNAMIC_SHARED(shared);
    __shared__ float log_sum[2][STEP], inner[2][STEP];
    bf16 *key_tile = shared, *value_tile = key_tile + ROWS * STRIDE, *query_tiles = value_tile + ROWS * STRIDE,
         *gradient_tiles = query_tiles + 2 * STEP * STRIDE;
    const Tile tile = tiles[blockIdx.x];
    const int head = blockIdx.y, heads = gridDim.y, lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32 % 4, share = threadIdx.x / 128;
    const size_t q_stride = static_cast<size_t>(heads) * HEAD, k_stride = q_stride / group;
    q += tile.k_row * q_stride + head * HEAD;
    gradient += tile.k_row * q_stride + head * HEAD;
    log_sums += static_cast<size_t>(head) * rows + tile.k_row;
    inners += static_cast<size_t>(head) * rows + tile.k_row;
    const int begin = tile.q_at / STEP * STEP;
    const int end = window ? min(tile.keys, tile.q_at + tile.q_count + window - 1) : tile.keys;

    const size_t own = tile.q_row * k_stride + head / group * HEAD;
    load_tile(key_tile, k + own, k_stride, ROWS, tile.q_count);
    load_tile(value_tile, v + own, k_stride, ROWS, tile.q_count);
    load_step(query_tiles, gradient_tiles, log_sum[0], inner[0], q + begin * q_stride, gradient + begin * q_stride,
              log_sums + begin, inners + begin, q_stride, end - begin);
    float for_k[COLUMNS][4] = {}, for_v[COLUMNS][4] = {};
    const int first = tile.q_at + warp * 16; // position of the warp's first key

    int stage = 0;
    for (int at = begin; at < end; at += STEP, stage ^= 1) {
        wait_copies<0>();
        __syncthreads();
        const int next = at + STEP, other = stage ^ 1;
        if (next < end)
            load_step(query_tiles + other * STEP * STRIDE, gradient_tiles + other * STEP * STRIDE, log_sum[other],
                      inner[other], q + next * q_stride, gradient + next * q_stride, log_sums + next, inners + next,
                      q_stride, end - next);
        if (at + STEP - 1 < first) continue; // no query of these sees a key of this warp
        const bf16 *query_tile = query_tiles + stage * STEP * STRIDE;
        const bf16 *gradient_tile = gradient_tiles + stage * STEP * STRIDE;
        float weights[STEP / 8][4], slopes[STEP / 8][4]; // (keys, queries)
        products<STEP / 8>(weights, key_tile, warp * 16, query_tile);
        products<STEP / 8>(slopes, value_tile, warp * 16, gradient_tile);
#pragma unroll
        for (int n = 0; n < STEP / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int column = n * 8 + lane % 4 * 2 + i % 2, query = at + column;
                const int key = first + lane / 4 + i / 2 * 8;
                const bool seen = query < end && sees(query, key, window);
                const float p = seen ? exp2f(weights[n][i] * scale * LOG2E - log_sum[stage][column]) : 0.0f;
                weights[n][i] = p;
                slopes[n][i] = p * (slopes[n][i] - inner[stage][column]);
            }
        }
        accumulate<STEP / 8, COLUMNS>(for_v, weights, gradient_tile, share * COLUMNS * 8);
        accumulate<STEP / 8, COLUMNS>(for_k, slopes, query_tile, share * COLUMNS * 8);
    }
    const int wanted = tile.q_count - warp * 16;
    const size_t to = (tile.q_row + warp * 16) * q_stride + head * HEAD + share * COLUMNS * 8;
    store_rows<COLUMNS>(to_k + to, q_stride, for_k, wanted, scale, scale);
    store_rows<COLUMNS>(to_v + to, q_stride, for_v, wanted, 1.0f, 1.0f);
}

// out (rows, heads, HEAD) = the sums over `group` neighbouring heads of x (rows, heads * group, HEAD); eight values a
// thread.
extern "C" __global__ void sum_groups(const bf16 *x, bf16 *out, int rows, int heads, int group) {
    const int chunks = HEAD / 8;
    const size_t index = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x;
    if (index >= static_cast<size_t>(rows) * heads * chunks) return;
    const size_t head = index / chunks;
    const int column = static_cast<int>(index % chunks) * 8;
    float sum[8] = {};
    for (int member = 0; member < group; member++) {
        float values[8];
        load8(values, x + (head * group + member) * HEAD + column);
#pragma unroll
        for (int j = 0; j < 8; j++) sum[j] += values[j];
    }
    store8(out + head * HEAD + column, sum);
}

// The gradient of the queries; tiles as in the forward pass. gridDim: (tiles, heads).
extern "C" __global__ void __launch_bounds__(128)
    attention_backward_queries(const bf16 *q, const bf16 *k, const bf16 *v, const bf16 *gradient, const float *log_sums,
                               const float *inners, bf16 *to_q, const Tile *tiles, int rows, int group, int window,
                               float scale) {
    DYNAMIC_SHARED(shared);
    bf16 *queries = shared, *gradients = queries + ROWS * STRIDE, *key_tiles = gradients + ROWS * STRIDE,
         *value_tiles = key_tiles + 2 * KEYS * STRIDE;
    const Tile tile = tiles[blockIdx.x];
    const int head = blockIdx.y, heads = gridDim.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const size_t q_stride = static_cast<size_t>(heads) * HEAD, k_stride = q_stride / group;
    const size_t own = tile.q_row * q_stride + head * HEAD;
    k += tile.k_row * k_stride + head / group * HEAD;
    v += tile.k_row * k_stride + head / group * HEAD;
    const int end = min(tile.keys, tile.q_at + tile.q_count);
    const int begin = window ? max(0, tile.q_at + 1 - window) / KEYS * KEYS : 0;

    load_tile(queries, q + own, q_stride, ROWS, tile.q_count);
    load_tile(gradients, gradient + own, q_stride, ROWS, tile.q_count);
    load_tile(key_tiles, k + begin * k_stride, k_stride, KEYS, end - begin);
    load_tile(value_tiles, v + begin * k_stride, k_stride, KEYS, end - begin);
    close_copies();
    const int wanted = tile.q_count - warp * 16;
    float log_sum[2], inner[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = lane / 4 + half * 8;
        const size_t at = static_cast<size_t>(head) * rows + tile.q_row + warp * 16 + row;
        log_sum[half] = row < wanted ? log_sums[at] * LOG2E : 0.0f;
        inner[half] = row < wanted ? inners[at] : 0.0f;
    }
    float sums[HEAD / 8][4] = {};
    const int first = tile.q_at + warp * 16;

    int stage = 0;
    for (int at = begin; at < end; at += KEYS, stage ^= 1) {
        wait_copies<0>();
        __syncthreads();
        const int next = at + KEYS;
        if (next < end) {
            bf16 *to = key_tiles + (stage ^ 1) * KEYS * STRIDE;
            load_tile(to, k + next * k_stride, k_stride, KEYS, end - next);
            load_tile(to + 2 * KEYS * STRIDE, v + next * k_stride, k_stride, KEYS, end - next);
            close_copies();
        }
        const bf16 *key_tile = key_tiles + stage * KEYS * STRIDE, *value_tile = value_tiles + stage * KEYS * STRIDE;
        float weights[KEYS / 8][4], slopes[KEYS / 8][4]; // (queries, keys)
        products<KEYS / 8>(weights, queries, warp * 16, key_tile);
        products<KEYS / 8>(slopes, gradients, warp * 16, value_tile);
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int query = first + lane / 4 + i / 2 * 8, key = at + n * 8 + lane % 4 * 2 + i % 2;
                const bool seen = key < end && sees(query, key, window);
                const float p = seen ? exp2f(weights[n][i] * scale * LOG2E - log_sum[i / 2]) : 0.0f;
                slopes[n][i] = p * (slopes[n][i] - inner[i / 2]);
            }
        }
        accumulate<KEYS / 8, HEAD / 8>(sums, slopes, key_tile, 0);
    }
    store_rows<HEAD / 8>(to_q + own + warp * 16 * q_stride, q_stride, sums, wanted, scale, scale);
}
