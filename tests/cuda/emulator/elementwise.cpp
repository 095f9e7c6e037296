// Norm, rotation, gate, loss and the kernels over many tensors.
#include "check.h"

#include "../../../shared/model/src/cuda/kernels/device.cuh"

#include "../../../shared/model/src/cuda/kernels/gate.cu"
#include "../../../shared/model/src/cuda/kernels/loss.cu"
#include "../../../shared/model/src/cuda/kernels/many.cu"
#include "../../../shared/model/src/cuda/kernels/norm.cu"
#include "../../../shared/model/src/cuda/kernels/rotary.cu"

using emulator::launch;

static void norm(int rows, int width, Three block, bool with_delta) {
    const float eps = 1e-5f;
    const auto x = random_bf16(rows * width, 1), delta = random_bf16(rows * width, 2), g = random_bf16(rows * width, 3),
               add = random_bf16(rows * width, 4);
    const auto weight = random_f32(width, 5);
    auto sum = unset(rows * width), y = unset(rows * width), dx = unset(rows * width);
    const unsigned blocks = (rows + block.y - 1) / block.y;
    launch({blocks, 1, 1}, block, 0, [&] {
        rms_norm(x.data(), with_delta ? delta.data() : nullptr, weight.data(), sum.data(), y.data(), rows, width, eps);
    });
    const auto &input = with_delta ? sum : x;
    launch({blocks, 1, 1}, block, 0, [&] {
        rms_norm_backward(input.data(), weight.data(), g.data(), with_delta ? add.data() : nullptr, dx.data(), rows,
                          width, eps);
    });
    std::vector<double> sums, ys, dxs;
    for (int r = 0; r < rows; r++) {
        double squares = 0, dot = 0;
        const auto at = [&](int i) { return static_cast<double>(widen_bf16(input[r * width + i])); };
        for (int i = 0; i < width; i++) {
            sums.push_back(widen_bf16(x[r * width + i]) + (with_delta ? widen_bf16(delta[r * width + i]) : 0.0));
            squares += at(i) * at(i);
            dot += at(i) * widen_bf16(g[r * width + i]) * weight[i];
        }
        const double inverse = 1 / std::sqrt(squares / width + eps);
        for (int i = 0; i < width; i++) {
            ys.push_back(at(i) * inverse * weight[i]);
            dxs.push_back(inverse * widen_bf16(g[r * width + i]) * weight[i] -
                          at(i) * dot * inverse * inverse * inverse / width +
                          (with_delta ? widen_bf16(add[r * width + i]) : 0.0));
        }
    }
    const std::string name = "norm " + std::to_string(rows) + " x " + std::to_string(width);
    if (with_delta) compare(name + ", sum", sum, sums, 4e-3);
    compare(name, y, ys, 4e-3);
    compare(name + ", backward", dx, dxs, 4e-3);
}

static void rotation(int rows, int heads, int half) {
    const auto x = random_bf16(rows * heads * half * 2, 1);
    auto y = unset(x.size()), back = unset(x.size());
    std::vector<float> cosines, sines;
    for (float angle : random_f32(rows * half, 2)) cosines.push_back(std::cos(angle)), sines.push_back(std::sin(angle));
    const auto turn = [&](const std::vector<uint16_t> &from, std::vector<uint16_t> &to, float sign) {
        launch({2, 1, 1}, {64, 1, 1}, 0, [&] {
            rotate(from.data(), cosines.data(), sines.data(), to.data(), rows, heads, half, sign);
        });
    };
    turn(x, y, 1.0f);
    turn(y, back, -1.0f);
    std::vector<double> wanted(x.size());
    for (int r = 0; r < rows; r++)
        for (int h = 0; h < heads; h++)
            for (int i = 0; i < half; i++) {
                const size_t at = (static_cast<size_t>(r) * heads + h) * 2 * half + i;
                const double a = widen_bf16(x[at]), b = widen_bf16(x[at + half]), c = cosines[r * half + i],
                             s = sines[r * half + i];
                wanted[at] = a * c - b * s;
                wanted[at + half] = b * c + a * s;
            }
    compare("rotation", y, wanted, 4e-3);
    compare("rotation and back", back, wide(x), 6e-3);
}

static void gates(size_t count, int kind) {
    const auto g = random_bf16(count, 1, 2.0f), u = random_bf16(count, 2), d = random_bf16(count, 3);
    auto out = unset(count), to_gate = unset(count), to_up = unset(count);
    const unsigned blocks = (count / 8 + 31) / 32;
    launch({blocks, 1, 1}, {32, 1, 1}, 0, [&] { gate(g.data(), u.data(), out.data(), count, kind); });
    launch({blocks, 1, 1}, {32, 1, 1}, 0, [&] {
        gate_backward(g.data(), u.data(), d.data(), to_gate.data(), to_up.data(), count, kind);
    });
    const auto f = [kind](double x) {
        return kind == 0 ? x / (1 + std::exp(-x))
                         : 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    };
    std::vector<double> outs, gates, ups;
    for (size_t i = 0; i < count; i++) {
        const double x = widen_bf16(g[i]), y = widen_bf16(u[i]), z = widen_bf16(d[i]);
        outs.push_back(f(x) * y);
        gates.push_back(z * y * (f(x + 1e-5) - f(x - 1e-5)) / 2e-5);
        ups.push_back(z * f(x));
    }
    const std::string name = kind == 0 ? "SiLU gate" : "GELU gate";
    compare(name, out, outs, 4e-3);
    compare(name + ", gate's gradient", to_gate, gates, 4e-3);
    compare(name + ", up's gradient", to_up, ups, 4e-3);
}

static void losses(int rows, int width, unsigned threads) {
    const auto logits = random_f32(rows * width, 1, 3.0f);
    std::vector<uint32_t> labels;
    for (int r = 0; r < rows; r++) labels.push_back(r * 37 % width);
    auto loss = unset_f32(rows);
    auto gradient = unset(logits.size());
    launch({static_cast<unsigned>(rows), 1, 1}, {threads, 1, 1}, 0, [&] {
        cross_entropy(logits.data(), labels.data(), loss.data(), gradient.data(), width, 0.125f);
    });
    std::vector<double> wanted, slopes;
    for (int r = 0; r < rows; r++) {
        double sum = 0;
        for (int i = 0; i < width; i++) sum += std::exp(static_cast<double>(logits[r * width + i]));
        wanted.push_back(std::log(sum) - logits[r * width + labels[r]]);
        for (int i = 0; i < width; i++)
            slopes.push_back(0.125 * (std::exp(logits[r * width + i]) / sum - (i == static_cast<int>(labels[r]))));
    }
    const std::string name = "loss of " + std::to_string(width) + " logits";
    compare(name, loss, wanted, 1e-6);
    compare(name + ", gradient", gradient, slopes, 4e-3);
}

static void many() {
    const std::vector<size_t> counts = {1, 40, 700};
    std::vector<std::vector<float>> values, gradients, firsts, seconds;
    std::vector<std::vector<uint16_t>> narrow;
    std::vector<Entry> moments, narrowed, sums;
    for (size_t i = 0; i < counts.size(); i++) {
        values.push_back(random_f32(counts[i], 10 + i));
        gradients.push_back(random_f32(counts[i], 20 + i));
        firsts.push_back(random_f32(counts[i], 30 + i));
        auto second = random_f32(counts[i], 40 + i);
        for (float &x : second) x = x * x;
        seconds.push_back(second);
        narrow.push_back(unset(counts[i]));
    }
    const auto before = values, old_firsts = firsts, old_seconds = seconds, old_gradients = gradients;
    for (size_t i = 0; i < counts.size(); i++) {
        moments.push_back({counts[i], values[i].data(), gradients[i].data(), firsts[i].data(), seconds[i].data()});
        narrowed.push_back({counts[i], values[i].data(), reinterpret_cast<float *>(narrow[i].data()), nullptr, nullptr});
        sums.push_back({counts[i], gradients[i].data(), gradients[i].data(), nullptr, nullptr});
    }
    launch({3, 2, 1}, {64, 1, 1}, 0, [&] { narrow_many(narrowed.data()); });
    auto parts = unset_f32(6);
    launch({3, 2, 1}, {64, 1, 1}, 0, [&] { squares_many(sums.data(), parts.data()); });
    launch({3, 2, 1}, {64, 1, 1}, 0, [&] { adamw_many(moments.data(), 0.9f, 0.999f, 1e-8f, 0.02f, 0.5f, 0.999f); });
    launch({3, 2, 1}, {64, 1, 1}, 0, [&] { add_many(sums.data()); });
    launch({3, 2, 1}, {64, 1, 1}, 0, [&] { scale_many(sums.data(), 0.25f); });
    double square = 0, total = 0;
    for (float part : parts) total += part;
    for (size_t i = 0; i < counts.size(); i++) {
        std::vector<double> wanted, halved;
        for (size_t j = 0; j < counts[i]; j++) {
            const double g = old_gradients[i][j];
            square += g * g;
            halved.push_back(g / 2);
            const double first = old_firsts[i][j] * 0.9 + g * 0.1, second = old_seconds[i][j] * 0.999 + g * g * 0.001;
            wanted.push_back(before[i][j] * 0.999 - first / (std::sqrt(second) / 0.5 + 1e-8) * 0.02);
        }
        const std::string name = " of tensor " + std::to_string(i);
        compare("narrowed values" + name, narrow[i], wide(before[i]), 4e-3);
        compare("AdamW" + name, values[i], wanted, 1e-5);
        compare("sum and scale" + name, gradients[i], halved, 1e-6);
    }
    compare("sum of squares", std::vector<float>{static_cast<float>(total)}, {square}, 1e-6);
}

static void drops() {
    const size_t count = 8000;
    const auto x = random_bf16(count, 1);
    auto y = unset(count), again = unset(count);
    const uint32_t below = static_cast<uint32_t>(0.3 * 4294967296.0);
    const auto drop = [&](std::vector<uint16_t> &to, const uint16_t *add, uint64_t seed) {
        launch({32, 1, 1}, {32, 1, 1}, 0,
               [&] { dropout(x.data(), add, to.data(), count, seed, below, 1.0f / 0.7f); });
    };
    drop(y, nullptr, 7);
    drop(again, nullptr, 7);
    size_t dropped = 0;
    for (uint16_t value : y) dropped += value == 0;
    const bool good = y == again && dropped > count * 0.27 && dropped < count * 0.33;
    std::printf("%s dropout: %zu of %zu dropped, the same twice\n", good ? "ok  " : "FAIL", dropped, count);
    failures += !good;
}

int main() {
    for (bool order : {false, true}) {
        emulator::backwards = order;
        norm(5, 64, {32, 4, 1}, false);
        norm(5, 128, {32, 4, 1}, true);
        norm(3, 1096, {128, 1, 1}, true);
        rotation(5, 3, 40);
        gates(8 * 77, 0);
        gates(8 * 77, 1);
        losses(3, 1000, 128);
        losses(2, 37, 64);
        many();
        drops();
    }
    return failures != 0;
}
