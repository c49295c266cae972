#include "text/word_places.h"

#include <array>

#include "text/shingle_words.h"

namespace fasttrain::text {

void word_places_scalar(const WordPlacesArgs& p) noexcept {
  std::int64_t count = 0;
  p.word_offsets[0] = 0;
  for (std::size_t n = 0; n < p.N; ++n) {
    bool inside = false;
    for (std::int64_t at = p.offsets[n]; at < p.offsets[n + 1];) {
      std::size_t taken = 0;
      const Role role = role_of(p.data + at, static_cast<std::size_t>(p.offsets[n + 1] - at), &taken);
      const auto end = at + static_cast<std::int64_t>(taken);
      if (role == Role::alone || (role == Role::inside && !inside)) {
        std::int64_t* place = p.places + 3 * count++;
        place[0] = at, place[1] = end, place[2] = at;
      } else if (role == Role::inside) {
        p.places[3 * count - 1] = at;
      }
      if (role != Role::nothing) inside = role == Role::inside;
      at = end;
    }
    p.word_offsets[n + 1] = count;
  }
}

std::span<const Impl<WordPlacesFn>> word_places_impls() {
  static constexpr std::array<Impl<WordPlacesFn>, 1> impls{{{"scalar", Isa::any, word_places_scalar}}};
  return impls;
}

}  // namespace fasttrain::text
