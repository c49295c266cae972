#pragma once
// One op, several implementations: a table, best first, that tests and users can list and name.

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#define FT_TARGET(isa) __attribute__((target(isa)))
// What an AVX2 / AVX-512 / AVX-512-BF16 implementation may use; the same sets that cpu_has() asks the CPU for.
#define FT_AVX2 FT_TARGET("avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")
#define FT_AVX512 FT_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512cd,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")
#define FT_AVX512BF16 \
  FT_TARGET("avx512bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512cd,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace fasttrain {

enum class Isa { any, avx2, avx512, avx512bf16 };

inline std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::avx512bf16: return "avx512bf16";
    default: return "any";
  }
}

inline bool cpu_has(Isa isa) {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  switch (isa) {
    case Isa::any: return true;
    case Isa::avx2: return avx2;
    case Isa::avx512: return avx512;
    case Isa::avx512bf16: return avx512 && __builtin_cpu_supports("avx512bf16");
  }
  return false;
#else
  return isa == Isa::any;
#endif
}

template <typename Fn>
struct Impl {
  std::string_view name;
  Isa needs;
  Fn fn;
};

// Names that this CPU can run, best first.
template <typename Fn>
std::vector<std::string> runnable(std::span<const Impl<Fn>> impls) {
  std::vector<std::string> names;
  for (const auto& impl : impls)
    if (cpu_has(impl.needs)) names.emplace_back(impl.name);
  return names;
}

// Throws when the name is unknown or this CPU cannot run it: a forced choice never falls back.
template <typename Fn>
Fn pick(std::span<const Impl<Fn>> impls, std::string_view op, std::string_view name) {
  for (const auto& impl : impls) {
    if (impl.name != name) continue;
    if (cpu_has(impl.needs)) return impl.fn;
    throw std::invalid_argument(std::string(op) + ": impl '" + std::string(name) + "' is not supported by this CPU");
  }
  throw std::invalid_argument(std::string(op) + ": no impl named '" + std::string(name) + "'");
}

}  // namespace fasttrain
