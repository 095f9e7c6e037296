// Gated activations of bfloat16, eight values a thread: out = f(gate) * up with f = SiLU (kind 0) or GELU by tanh (1).

struct Activated {
    float value, slope;
};

DEVICE Activated activate(float x, int kind) {
    if (kind == 0) {
        const float sigmoid = 1.0f / (1.0f + __expf(-x));
        return {x * sigmoid, sigmoid * (1.0f + x * (1.0f - sigmoid))};
    }
    const float slope = 0.7978845608f; // sqrt(2 / pi)
    const float inner = slope * (x + 0.044715f * x * x * x);
    const float tanh = 1.0f - 2.0f / (1.0f + __expf(2.0f * inner));
    const float steep = slope * (1.0f + 3.0f * 0.044715f * x * x);
    return {0.5f * x * (1.0f + tanh), 0.5f * (1.0f + tanh) + 0.5f * x * (1.0f - tanh * tanh) * steep};
}

extern "C" __global__ void gate(const bf16 *gate, const bf16 *up, bf16 *out, u64 count, int kind) {
    const u64 at = (blockIdx.x * static_cast<u64>(blockDim.x) + threadIdx.x) * 8;
    if (at >= count) return;
    float g[8], u[8];
    load8(g, gate + at);
    load8(u, up + at);
#pragma unroll
    for (int j = 0; j < 8; j++) g[j] = activate(g[j], kind).value * u[j];
    store8(out + at, g);
}

// d gate and d up; they may stand where gate and up did.
extern "C" __global__ void gate_backward(const bf16 *gate, const bf16 *up, const bf16 *gradient, bf16 *to_gate,
                                         bf16 *to_up, u64 count, int kind) {
    const u64 at = (blockIdx.x * static_cast<u64>(blockDim.x) + threadIdx.x) * 8;
    if (at >= count) return;
    float g[8], u[8], d[8];
    load8(g, gate + at);
    load8(u, up + at);
    load8(d, gradient + at);
#pragma unroll
    for (int j = 0; j < 8; j++) {
        const Activated f = activate(g[j], kind);
        g[j] = d[j] * u[j] * f.slope;
        u[j] = d[j] * f.value;
    }
    store8(to_gate + at, g);
    store8(to_up + at, u);
}
