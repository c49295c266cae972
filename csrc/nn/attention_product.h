#pragma once /* part of attention */
// The products of attention, written once over what an operand is: a float, or a pair of bf16. Included by
// attention_body.h and attention_bf16_body.h, which say Operand, Operands (a vector of them), NV and:
//
//   Operands operands(const Operand*)         W of them
//   Operands broadcast(Operand)               one in every lane
//   V multiply_add(Operands, Operands, V)     a b + c, in fp32

constexpr int MR = 6, NR = NV * W;

template <int M, int N>
FT_KERNEL void micro(const Operand* A, std::ptrdiff_t a_row, std::ptrdiff_t a_k, const Operand* B, std::ptrdiff_t b_row,
                     float* C, std::ptrdiff_t c_row, int K, bool keep) noexcept {
  V c[M][N];
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) c[i][j] = keep ? load(C + i * c_row + j * W) : zero();
  for (int k = 0; k < K; ++k) {
    Operands b[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) b[j] = operands(B + k * b_row + j * W);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
      const Operands a = broadcast(A[i * a_row + k * a_k]);
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) c[i][j] = multiply_add(a, b[j], c[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) store(C + i * c_row + j * W, c[i][j]);
}

using MicroFn = void (*)(const Operand*, std::ptrdiff_t, std::ptrdiff_t, const Operand*, std::ptrdiff_t, float*,
                         std::ptrdiff_t, int, bool) noexcept;

template <int N>
constexpr MicroFn micro_of(int rows) {
  constexpr MicroFn of[MR] = {micro<1, N>, micro<2, N>, micro<3, N>, micro<4, N>, micro<5, N>, micro<6, N>};
  return of[rows - 1];
}

// C (rows x N) (+)= A B over K operands, N a multiple of W; B's panels of NR columns lie b_panel operands apart.
FT_KERNEL void product(int rows, int N, int K, const Operand* A, std::ptrdiff_t a_row, std::ptrdiff_t a_k,
                       const Operand* B, std::ptrdiff_t b_row, std::ptrdiff_t b_panel, float* C, std::ptrdiff_t c_row,
                       bool keep) noexcept {
  for (int n = 0; n < N; n += NR, B += b_panel, C += NR) {
    const int vectors = (N - n) / W;
    const MicroFn fn = vectors >= NV            ? micro_of<NV>(rows)
                       : NV > 3 && vectors == 3 ? micro_of<(NV > 3 ? 3 : 1)>(rows)
                       : NV > 2 && vectors == 2 ? micro_of<(NV > 2 ? 2 : 1)>(rows)
                                                : micro_of<1>(rows);
    fn(A, a_row, a_k, B, b_row, C, c_row, K, keep);
  }
}
