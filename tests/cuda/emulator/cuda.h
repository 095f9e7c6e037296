// A CUDA block on a CPU: every thread is a fiber, and tensor-core instructions, shuffles and background copies do what
// the PTX manual says. It is slow and strict: shared memory begins as NaN, a background copy arrives only when it is
// waited for, a warp that diverges at an instruction of the whole warp is an error, and the order in which threads run
// can be turned round, so that a missing barrier shows.
#pragma once
#define EMULATE
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __shared__ static
#define __launch_bounds__(threads)
#define DEVICE static inline
#define DYNAMIC_SHARED(name) bf16 *name = reinterpret_cast<bf16 *>(emulator::block->shared.get())

struct Three {
    unsigned x, y, z;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};

namespace emulator {
constexpr size_t STACK = 512 * 1024;

struct Copy {
    uint16_t *to;
    const uint16_t *from;
    bool wanted;
};

// Goes on at the stack `to` and keeps this one in `from`. ucontext does the same with two system calls.
extern "C" void emulator_switch(void **from, void *to);
asm(R"(
.text
.globl emulator_switch
.type emulator_switch, @function
emulator_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
.size emulator_switch, .-emulator_switch
)");

struct Fiber {
    void *top = nullptr; // of its stack, while it does not run
    std::unique_ptr<char[]> stack{new char[STACK]};
    Three index{};
    int number = 0;
    bool finished = false;
    const long *rounds = nullptr; // waits until this is no longer `round`
    long round = 0;
    std::vector<std::vector<Copy>> groups{1};
};

struct Warp {
    void *arguments[32];
    int arrived = 0;
    const void *instruction = nullptr;
    long rounds = 0; // instructions done
};

struct Block {
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    std::unique_ptr<char[]> shared;
    int arrived = 0, finished = 0;
    long rounds = 0; // barriers passed
    void *scheduler = nullptr;
};

inline Block *block = nullptr;
inline Fiber *current = nullptr;
inline Three grid, dims, block_index;
inline bool backwards = false;
inline const std::function<void()> *body = nullptr;

[[noreturn]] inline void fail(const char *what) {
    std::fprintf(stderr, "emulator: %s (block %u %u %u, thread %d)\n", what, block_index.x, block_index.y,
                 block_index.z, current ? current->number : -1);
    std::abort();
}

inline void wait(const long &rounds, long round) {
    current->rounds = &rounds;
    current->round = round;
    emulator_switch(&current->top, block->scheduler);
}

inline void check_barrier() {
    const int total = static_cast<int>(block->fibers.size());
    if (block->arrived == 0 || block->arrived + block->finished < total) return;
    block->rounds++;
    block->arrived = 0;
}

inline void barrier() {
    const long round = block->rounds;
    block->arrived++;
    check_barrier();
    if (block->rounds == round) wait(block->rounds, round);
}

// Every lane comes with its arguments; the last one does the work for all.
template <typename A> void together(const void *instruction, A &arguments, void (*work)(A *[32])) {
    Warp &warp = block->warps[current->number / 32];
    if (warp.arrived > 0 && warp.instruction != instruction) fail("the lanes of a warp are at different instructions");
    warp.instruction = instruction;
    warp.arguments[current->number % 32] = &arguments;
    if (++warp.arrived < 32) return wait(warp.rounds, warp.rounds);
    work(reinterpret_cast<A **>(warp.arguments));
    warp.rounds++;
    warp.arrived = 0;
}

inline void trampoline() {
    (*body)();
    for (auto &group : current->groups)
        if (!group.empty()) fail("a thread ended with copies on their way");
    current->finished = true;
    block->finished++;
    check_barrier();
    emulator_switch(&current->top, block->scheduler);
}

inline void start(Fiber &fiber) {
    // Six registers, the address to return to, and eight bytes so that it starts aligned as after a call.
    void **top = reinterpret_cast<void **>((reinterpret_cast<uintptr_t>(fiber.stack.get()) + STACK) / 16 * 16) - 8;
    std::fill(top, top + 8, nullptr);
    top[6] = reinterpret_cast<void *>(&trampoline);
    fiber.top = top;
}

inline void run_block(size_t shared_bytes) {
    Block own;
    block = &own;
    const int threads = static_cast<int>(dims.x * dims.y);
    own.fibers = std::vector<Fiber>(threads);
    own.warps = std::vector<Warp>((threads + 31) / 32);
    own.shared.reset(new char[shared_bytes + 16]); // operator new aligns to 16 bytes
    std::memset(own.shared.get(), 0xff, shared_bytes);
    for (int i = 0; i < threads; i++) {
        own.fibers[i].index = {i % dims.x, i / dims.x, 0};
        own.fibers[i].number = i;
        start(own.fibers[i]);
    }
    while (own.finished < threads) {
        bool progress = false;
        for (int i = 0; i < threads; i++) {
            Fiber &fiber = own.fibers[backwards ? threads - 1 - i : i];
            if (fiber.finished || (fiber.rounds && *fiber.rounds == fiber.round)) continue;
            fiber.rounds = nullptr;
            current = &fiber;
            emulator_switch(&own.scheduler, fiber.top);
            progress = true;
        }
        if (!progress) fail("all threads wait for each other");
    }
    current = nullptr;
    block = nullptr;
}

inline void launch(Three grid_dim, Three block_dim, size_t shared_bytes, const std::function<void()> &kernel) {
    grid = grid_dim, dims = block_dim, body = &kernel;
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                block_index = {x, y, z};
                run_block(shared_bytes);
            }
}
} // namespace emulator

#define threadIdx (emulator::current->index)
#define blockIdx (emulator::block_index)
#define blockDim (emulator::dims)
#define gridDim (emulator::grid)
#define __syncthreads() emulator::barrier()

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline float __uint_as_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
inline float __int_as_float(uint32_t bits) { return __uint_as_float(bits); }
inline float __expf(float x) { return std::exp(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

struct Shuffle {
    float value, out;
    int distance;
};
inline float __shfl_xor_sync(unsigned, float x, int distance) {
    static const char instruction = 0;
    Shuffle own{x, 0.0f, distance};
    emulator::together<Shuffle>(&instruction, own, [](Shuffle *lanes[32]) {
        for (int i = 0; i < 32; i++) lanes[i]->out = lanes[i ^ lanes[i]->distance]->value;
    });
    return own.out;
}

inline uint16_t round_bf16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if (x != x) return 0x7fff;
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float widen_bf16(uint16_t x) { return __uint_as_float(static_cast<uint32_t>(x) << 16); }
inline uint32_t pack2(float low, float high) {
    return round_bf16(low) | static_cast<uint32_t>(round_bf16(high)) << 16;
}

struct Matrices {
    const uint16_t *row;
    uint32_t *out;
};
template <bool TRANSPOSED> void read_matrices(Matrices *lanes[32]) {
    for (int i = 0; i < 32; i++) {
        if (reinterpret_cast<uintptr_t>(lanes[i]->row) % 16) emulator::fail("ldmatrix needs 16-byte addresses");
        for (int m = 0; m < 4; m++) {
            const auto at = [&](int row, int column) { return lanes[m * 8 + row]->row[column]; };
            const int a = i / 4, b = i % 4 * 2;
            const uint16_t first = TRANSPOSED ? at(b, a) : at(a, b), second = TRANSPOSED ? at(b + 1, a) : at(a, b + 1);
            lanes[i]->out[m] = first | static_cast<uint32_t>(second) << 16;
        }
    }
}
inline void load_matrices(uint32_t out[4], const uint16_t *row) {
    static const char instruction = 0;
    Matrices own{row, out};
    emulator::together<Matrices>(&instruction, own, read_matrices<false>);
}
inline void load_transposed(uint32_t out[4], const uint16_t *row) {
    static const char instruction = 0;
    Matrices own{row, out};
    emulator::together<Matrices>(&instruction, own, read_matrices<true>);
}

struct Product {
    float *c;
    const uint32_t *a;
    uint32_t b[2];
};
inline float half_of(uint32_t pair, int which) { return widen_bf16(static_cast<uint16_t>(pair >> (16 * which))); }
inline void multiply_lanes(Product *lanes[32]) {
    float a[16][16], b[16][8];
    for (int i = 0; i < 32; i++)
        for (int r = 0; r < 4; r++)
            for (int h = 0; h < 2; h++) {
                a[i / 4 + r % 2 * 8][i % 4 * 2 + h + r / 2 * 8] = half_of(lanes[i]->a[r], h);
                if (r < 2) b[i % 4 * 2 + h + r * 8][i / 4] = half_of(lanes[i]->b[r], h);
            }
    for (int i = 0; i < 32; i++)
        for (int r = 0; r < 4; r++) {
            const int row = i / 4 + r / 2 * 8, column = i % 4 * 2 + r % 2;
            double sum = lanes[i]->c[r];
            for (int k = 0; k < 16; k++) sum += static_cast<double>(a[row][k]) * b[k][column];
            lanes[i]->c[r] = static_cast<float>(sum);
        }
}
inline void multiply_add(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
    static const char instruction = 0;
    Product own{c, a, {b0, b1}};
    emulator::together<Product>(&instruction, own, multiply_lanes);
}

inline void copy_later(uint16_t *to, const uint16_t *from, bool wanted) {
    if (reinterpret_cast<uintptr_t>(to) % 16 || reinterpret_cast<uintptr_t>(from) % 16)
        emulator::fail("a background copy needs 16-byte addresses");
    std::memset(to, 0xff, 16); // NaN until it arrives
    emulator::current->groups.back().push_back({to, from, wanted});
}
inline void close_copies() { emulator::current->groups.emplace_back(); }
template <int LEFT> void wait_copies() {
    auto &groups = emulator::current->groups;
    while (groups.size() > LEFT + 1) {
        for (const emulator::Copy &copy : groups.front()) {
            if (copy.wanted) std::memcpy(copy.to, copy.from, 16);
            else std::memset(copy.to, 0, 16);
        }
        groups.erase(groups.begin());
    }
}
