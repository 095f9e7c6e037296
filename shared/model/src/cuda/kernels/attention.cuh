// What forward and backward of attention share: tiles in shared memory and their way into tensor-core fragments.
//
// HEAD is the width of a head (64, 80, 96, 128 or 256). Rows in shared memory are 16 bytes longer than a head, so that
// the eight rows of a matrix lie in different banks. In a 16 x 8 result, lane l holds rows l / 4 and l / 4 + 8 at
// columns 2 (l % 4) and the next.

#define STRIDE (HEAD + 8)
#define LOG2E 1.4426950408889634f

#ifndef EMULATE
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) bf16 name[]
#endif

// Queries that one block handles, and where they stand among the keys of their sequence.
struct Tile {
    int q_row;   // first query, as a row of the packed queries
    int q_count; // queries of this tile
    int k_row;   // first key of the sequence, as a row of the packed keys
    int keys;    // keys of the sequence
    int q_at;    // position of the first query among these keys
};

// Whether the query at position `query` sees the key at `key`: itself and those before, within the window (0: all).
DEVICE bool sees(int query, int key, int window) { return key <= query && (window == 0 || key + window > query); }

// Copies `wanted` of `rows` rows of one head into a tile, zeros behind them.
DEVICE void load_tile(bf16 *tile, const bf16 *from, size_t stride, int rows, int wanted) {
    const int chunks = HEAD / 8;
    for (int i = threadIdx.x; i < rows * chunks; i += blockDim.x) {
        const int row = i / chunks, column = i % chunks * 8;
        const bool there = row < wanted;
        copy_later(tile + row * STRIDE + column, from + (there ? row * stride : 0) + column, there);
    }
}

// A 16 x 16 left operand at (row, column) of a row-major tile; with load_transposed the two right operands of
// 16 rows (summed over) x 16 columns.
DEVICE const bf16 *left_at(const bf16 *tile, int row, int column) {
    const int lane = threadIdx.x % 32;
    return tile + (row + lane % 16) * STRIDE + column + lane / 16 * 8;
}

// Two right operands, of rows `row`.. and `row + 8`.., summed over 16 columns from `column`.
DEVICE const bf16 *right_at(const bf16 *tile, int row, int column) {
    const int lane = threadIdx.x % 32;
    return tile + (row + lane / 16 * 8 + lane % 8) * STRIDE + column + lane / 8 % 2 * 8;
}

// Two neighbouring 16 x 8 results as one 16 x 16 left operand.
DEVICE void as_left(u32 out[4], const float first[4], const float second[4]) {
    out[0] = pack2(first[0], first[1]);
    out[1] = pack2(first[2], first[3]);
    out[2] = pack2(second[0], second[1]);
    out[3] = pack2(second[2], second[3]);
}

// result (16 x 8 BLOCKS) = rows of `left` from `row` on, times the first 8 BLOCKS rows of `right`, over HEAD columns.
template <int BLOCKS> DEVICE void products(float result[BLOCKS][4], const bf16 *left, int row, const bf16 *right) {
#pragma unroll
    for (int n = 0; n < BLOCKS; n++) result[n][0] = result[n][1] = result[n][2] = result[n][3] = 0.0f;
#pragma unroll
    for (int k = 0; k < HEAD; k += 16) {
        u32 a[4];
        load_matrices(a, left_at(left, row, k));
#pragma unroll
        for (int n = 0; n < BLOCKS; n += 2) {
            u32 b[4];
            load_matrices(b, right_at(right, n * 8, k));
            multiply_add(result[n], a, b[0], b[1]);
            multiply_add(result[n + 1], a, b[2], b[3]);
        }
    }
}

// sum (16 x 8 COLUMNS) += weights (16 x 8 BLOCKS) times rows of `right`, from its column `column` on.
template <int BLOCKS, int COLUMNS>
DEVICE void accumulate(float sum[COLUMNS][4], const float weights[BLOCKS][4], const bf16 *right, int column) {
#pragma unroll
    for (int k = 0; k < BLOCKS; k += 2) {
        u32 a[4];
        as_left(a, weights[k], weights[k + 1]);
#pragma unroll
        for (int n = 0; n < COLUMNS; n += 2) {
            u32 b[4];
            load_transposed(b, left_at(right, k * 8, column + n * 8));
            multiply_add(sum[n], a, b[0], b[1]);
            multiply_add(sum[n + 1], a, b[2], b[3]);
        }
    }
}

// Writes 16 rows of results, of which `wanted` count, times `scale`, as bfloat16.
template <int COLUMNS>
DEVICE void store_rows(bf16 *to, size_t stride, const float values[COLUMNS][4], int wanted, float upper, float lower) {
    const int lane = threadIdx.x % 32, row = lane / 4, column = lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < COLUMNS; n++) {
        if (row < wanted)
            *reinterpret_cast<u32 *>(to + row * stride + n * 8 + column) =
                pack2(values[n][0] * upper, values[n][1] * upper);
        if (row + 8 < wanted)
            *reinterpret_cast<u32 *>(to + (row + 8) * stride + n * 8 + column) =
                pack2(values[n][2] * lower, values[n][3] * lower);
    }
}
