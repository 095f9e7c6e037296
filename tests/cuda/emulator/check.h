// Inputs, and the comparison of what a kernel gave with what a plain loop in float64 gives.
#pragma once
#include "cuda.h"
#include <random>
#include <string>

inline int failures = 0;

inline std::vector<uint16_t> random_bf16(size_t count, int seed, float scale = 1.0f) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<uint16_t> out(count);
    for (auto &x : out) x = round_bf16(normal(random) * scale);
    return out;
}

inline std::vector<float> random_f32(size_t count, int seed, float scale = 1.0f) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> out(count);
    for (auto &x : out) x = normal(random) * scale;
    return out;
}

inline std::vector<double> wide(const std::vector<uint16_t> &x) {
    std::vector<double> out;
    for (uint16_t value : x) out.push_back(widen_bf16(value));
    return out;
}
inline std::vector<double> wide(const std::vector<float> &x) { return {x.begin(), x.end()}; }

// NaN, so that what a kernel leaves out shows.
inline std::vector<uint16_t> unset(size_t count) { return std::vector<uint16_t>(count, 0x7fff); }
inline std::vector<float> unset_f32(size_t count) { return std::vector<float>(count, NAN); }

// |got - wanted| / |wanted|, which must be below the limit.
template <typename T>
void compare(const std::string &what, const std::vector<T> &got, const std::vector<double> &wanted, double limit) {
    const std::vector<double> values = wide(got);
    double error = 0, size = 0;
    for (size_t i = 0; i < values.size(); i++) {
        error += (values[i] - wanted[i]) * (values[i] - wanted[i]);
        size += wanted[i] * wanted[i];
    }
    const double relative = std::sqrt(error / size);
    const bool good = values.size() == wanted.size() && relative < limit;
    std::printf("%s %-58s error %.1e (limit %.0e)\n", good ? "ok  " : "FAIL", what.c_str(), relative, limit);
    failures += !good;
}
