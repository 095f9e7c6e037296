// Attention of one head width, HEAD: forward, backward and decoding against plain loops in float64.
#include "check.h"

#include "../../../shared/model/src/cuda/kernels/device.cuh"

#include "../../../shared/model/src/cuda/kernels/attention.cuh"

namespace forward {
#include "../../../shared/model/src/cuda/kernels/attention.cu"
constexpr size_t BYTES = (ROWS + 4 * KEYS) * STRIDE * 2;
} // namespace forward
#undef ROWS
#undef KEYS
namespace backward {
#include "../../../shared/model/src/cuda/kernels/attention_backward.cu"
constexpr size_t KEYS_BYTES = (2 * ROWS + 4 * STEP) * STRIDE * 2, QUERIES_BYTES = (2 * ROWS + 4 * KEYS) * STRIDE * 2;
constexpr unsigned THREADS_OF_KEYS = 128 * SHARES;
} // namespace backward
#undef ROWS
#undef KEYS
namespace decoding {
#include "../../../shared/model/src/cuda/kernels/decode.cu"
}

using emulator::launch;
using Bits = std::vector<uint16_t>;
using Wide = std::vector<double>;

struct Span {
    int q_row, queries, k_row, keys;
};

struct Problem {
    int heads, group, window;
    std::vector<Span> spans;
    float scale = 0.11f;
    int rows() const { return spans.back().q_row + spans.back().queries; }
    int keys() const { return spans.back().k_row + spans.back().keys; }
    Bits q = {}, k = {}, v = {}, g = {};
};

static Problem problem(int heads, int group, int window, std::vector<std::pair<int, int>> lengths) {
    Problem p{heads, group, window, {}};
    int rows = 0, keys = 0;
    for (auto [queries, all] : lengths) {
        p.spans.push_back({rows, queries, keys, all});
        rows += queries, keys += all;
    }
    p.q = random_bf16(rows * heads * HEAD, 1);
    p.k = random_bf16(keys * heads / group * HEAD, 2);
    p.v = random_bf16(keys * heads / group * HEAD, 3);
    p.g = random_bf16(rows * heads * HEAD, 4);
    return p;
}

struct Wanted {
    Wide out, log_sums, to_q, to_k, to_v;
};

static Wanted plain(const Problem &p) {
    const Wide q = wide(p.q), k = wide(p.k), v = wide(p.v), g = wide(p.g);
    Wanted w{Wide(q.size()), Wide(p.heads * p.rows()), Wide(q.size()), Wide(k.size()), Wide(k.size())};
    for (const Span &span : p.spans)
        for (int h = 0; h < p.heads; h++)
            for (int i = 0; i < span.queries; i++) {
                const int position = span.keys - span.queries + i;
                const size_t at = (static_cast<size_t>(span.q_row + i) * p.heads + h) * HEAD;
                const auto key = [&](int j) {
                    return (static_cast<size_t>(span.k_row + j) * (p.heads / p.group) + h / p.group) * HEAD;
                };
                const int from = p.window ? std::max(0, position + 1 - p.window) : 0;
                Wide scores;
                double sum = 0, inner = 0;
                for (int j = from; j <= position; j++) {
                    double score = 0;
                    for (int d = 0; d < HEAD; d++) score += q[at + d] * k[key(j) + d];
                    scores.push_back(std::exp(score * p.scale));
                    sum += scores.back();
                }
                for (int j = from; j <= position; j++)
                    for (int d = 0; d < HEAD; d++) w.out[at + d] += scores[j - from] / sum * v[key(j) + d];
                w.log_sums[h * p.rows() + span.q_row + i] = std::log(sum);
                for (int d = 0; d < HEAD; d++) inner += g[at + d] * w.out[at + d];
                for (int j = from; j <= position; j++) {
                    const double probability = scores[j - from] / sum;
                    double slope = 0;
                    for (int d = 0; d < HEAD; d++) slope += g[at + d] * v[key(j) + d];
                    slope = probability * (slope - inner) * p.scale;
                    for (int d = 0; d < HEAD; d++) {
                        w.to_v[key(j) + d] += probability * g[at + d];
                        w.to_k[key(j) + d] += slope * q[at + d];
                        w.to_q[at + d] += slope * k[key(j) + d];
                    }
                }
            }
    return w;
}

// Tiles of 64 queries; with `of_keys` tiles of 64 keys, which the same fields describe.
static std::vector<Tile> tiles(const Problem &p) {
    std::vector<Tile> out;
    for (const Span &span : p.spans)
        for (int first = 0; first < span.queries; first += 64)
            out.push_back({span.q_row + first, std::min(64, span.queries - first), span.k_row, span.keys,
                           span.keys - span.queries + first});
    return out;
}

static void forwards(const std::string &name, const Problem &p, bool with_tiles) {
    const Wanted wanted = plain(p);
    Bits out = unset(p.q.size());
    std::vector<float> log_sums = unset_f32(p.heads * p.rows());
    const auto table = tiles(p);
    const unsigned blocks = with_tiles ? table.size() : (p.rows() + 63) / 64;
    launch({blocks, static_cast<unsigned>(p.heads), 1}, {128, 1, 1}, forward::BYTES, [&] {
        forward::attention(p.q.data(), p.k.data(), p.v.data(), out.data(), log_sums.data(),
                           with_tiles ? table.data() : nullptr, p.rows(), p.keys(), p.group, p.window, p.scale);
    });
    compare(name + ", forward", out, wanted.out, 6e-3);
    compare(name + ", log-sums", log_sums, wanted.log_sums, 1e-5);
}

static void backwards(const std::string &name, const Problem &p) {
    const Wanted wanted = plain(p);
    const unsigned heads = p.heads, rows = p.rows();
    Bits out(p.q.size()), to_q = unset(p.q.size()), parts_k = unset(p.q.size()), parts_v = unset(p.q.size());
    for (size_t i = 0; i < out.size(); i++) out[i] = round_bf16(static_cast<float>(wanted.out[i]));
    std::vector<float> log_sums(wanted.log_sums.begin(), wanted.log_sums.end()), inner = unset_f32(heads * rows);
    const auto table = tiles(p);
    const unsigned blocks = table.size();
    launch({(rows * heads + 3) / 4, 1, 1}, {128, 1, 1}, 0,
           [&] { backward::attention_inner(out.data(), p.g.data(), inner.data(), rows, heads); });
    launch({blocks, heads, 1}, {backward::THREADS_OF_KEYS, 1, 1}, backward::KEYS_BYTES, [&] {
        backward::attention_backward_keys(p.q.data(), p.k.data(), p.v.data(), p.g.data(), log_sums.data(), inner.data(),
                                          parts_k.data(), parts_v.data(), table.data(), rows, p.group, p.window,
                                          p.scale);
    });
    launch({blocks, heads, 1}, {128, 1, 1}, backward::QUERIES_BYTES, [&] {
        backward::attention_backward_queries(p.q.data(), p.k.data(), p.v.data(), p.g.data(), log_sums.data(),
                                             inner.data(), to_q.data(), table.data(), rows, p.group, p.window, p.scale);
    });
    Bits to_k = unset(p.k.size()), to_v = unset(p.k.size());
    const unsigned sums = (p.k.size() / 8 + 127) / 128;
    for (auto [parts, sum] : {std::pair{&parts_k, &to_k}, std::pair{&parts_v, &to_v}})
        launch({sums, 1, 1}, {128, 1, 1}, 0, [&, parts = parts, sum = sum] {
            backward::sum_groups(parts->data(), sum->data(), rows, heads / p.group, p.group);
        });
    compare(name + ", queries' gradient", to_q, wanted.to_q, 8e-3);
    compare(name + ", keys' gradient", to_k, wanted.to_k, 8e-3);
    compare(name + ", values' gradient", to_v, wanted.to_v, 8e-3);
}

static void decodes(const std::string &name, const Problem &p, unsigned splits) {
    const Wanted wanted = plain(p);
    const unsigned heads = p.heads, tokens = p.rows();
    Bits out = unset(p.q.size());
    auto parts = unset_f32(tokens * heads * splits * (HEAD + 2));
    launch({tokens, heads, splits}, {128, 1, 1}, 0, [&] {
        decoding::decode(p.q.data(), p.k.data(), p.v.data(), parts.data(), p.keys(), p.group, p.window, p.scale);
    });
    launch({tokens * heads, 1, 1}, {HEAD, 1, 1}, 0,
           [&] { decoding::join_parts(parts.data(), out.data(), static_cast<int>(splits)); });
    compare(name, out, wanted.out, 4e-3);
}

int main() {
    for (bool order : {false, true}) {
        emulator::backwards = order;
        const std::string width = std::to_string(HEAD) + (order ? " (threads in reverse)" : "");
        const std::vector<std::pair<int, int>> packed = {{70, 70}, {1, 1}, {33, 33}, {130, 130}};
        forwards(width + ": packed", problem(4, 2, 0, packed), true);
        forwards(width + ": window", problem(2, 1, 50, packed), true);
        forwards(width + ": behind a cache", problem(2, 2, 0, {{20, 150}}), false);
        forwards(width + ": behind a cache, window", problem(2, 2, 17, {{90, 190}}), false);
        backwards(width + ": packed", problem(4, 2, 0, packed));
        backwards(width + ": window", problem(2, 1, 50, packed));
        decodes(width + ": decode 1 of 300", problem(4, 2, 0, {{1, 300}}), 3);
        decodes(width + ": decode 3 of 9, more splits than keys", problem(2, 1, 0, {{3, 9}}), 16);
        decodes(width + ": decode 2 of 400, window", problem(2, 1, 150, {{2, 400}}), 2);
        if (HEAD > 128) break; // enough, and slow
    }
    return failures != 0;
}
