#pragma once
// Personal data in texts: where it lies, by kind.            N texts, M findings in all.
//
// kinds: 0 e-mail, 1 public IP address, 2 phone number, 3 payment card (Luhn), 4 IBAN (mod 97),
// 5 national id, 6 secret (key of a service, JSON web token, password of a URL, PEM block of a private key)
// Findings of a text do not overlap and come in order. The rules, one by one: fasttrain/filter/pii_ref.py
//
// Called twice: with `begins == nullptr` it only counts, so that the caller can allocate; then it fills.
// The caller allocates and has checked every shape; these functions never allocate and never throw.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::filter {

struct PiiArgs {
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1])
  std::int64_t* counts;         // (N,)    out when counting: findings of each text
  const std::int64_t* starts;   // (N+1,)  when filling: findings of text n go to [starts[n], starts[n+1])
  std::int64_t* begins;         // (M,)    out when filling: first byte, counted from the text's start
  std::int64_t* ends;           // (M,)    out when filling: one past the last byte
  std::uint8_t* kinds;          // (M,)    out when filling
  std::size_t N;
  int threads;
};

using PiiFn = void (*)(const PiiArgs&) noexcept;

void pii_scalar(const PiiArgs&) noexcept;
void pii_avx2(const PiiArgs&) noexcept;

std::span<const Impl<PiiFn>> pii_impls();  // best first

}  // namespace fasttrain::filter
