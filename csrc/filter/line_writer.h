#pragma once /* part of line_edit */
// Writes a text without what the line rules refuse, for every instruction set.

#include <algorithm>
#include <limits>

#include "filter/lines.h"

namespace fasttrain::filter {

class LineWriter {
 public:
  // `out` has room for the text's bytes.
  LineWriter(std::uint8_t* out, std::uint8_t edit) noexcept : out_(out), edit_(edit), changed_(edit & edit_c4) {}

  // Lines come in order: bytes [begin, next), of which [a, b) without outer spaces and break. s.cuts are RefinedWeb's.
  FT_INLINE void line(const Masks& m, LineScratch& s, const LineRules& rules, std::size_t begin, std::size_t a,
                      std::size_t b, std::size_t next, const LineFate& c4, int refinedweb) {
    if ((edit_ & edit_c4 && c4.reason != line_kept) || (edit_ & edit_refinedweb && refinedweb != rw_kept)) {
      ++removed_;
      changed_ = true;
      return;
    }
    const bool cut = edit_ & edit_refinedweb && !s.cuts.empty();
    if (edit_ & edit_c4) {
      if (any_) out_[length_++] = '\n';
      any_ = true;
      if (!cut) {
        copy(c4.text, c4.bytes);
        return;
      }
      if (rules.c4_flags & c4_citations)
        for (std::size_t i = a; i < b; ++i)
          if (const std::size_t skip = citation(m.text.data(), i, b); skip > 0) {
            s.cuts.push_back({i, i + skip});
            i += skip - 1;
          }
      std::sort(s.cuts.begin(), s.cuts.end(), [](const Cut& x, const Cut& y) { return x.begin < y.begin; });
      begin = a;
      next = b;
    }
    const std::uint8_t* text = m.text.data();
    if (cut) {
      for (const Cut& gone : s.cuts) {
        if (gone.begin > begin) copy(text + begin, gone.begin - begin);
        begin = gone.end > begin ? gone.end : begin;
      }
      changed_ = true;
    }
    copy(text + begin, next - begin);
  }

  // Removes outer spaces of a changed text; `masks` are then those of the written text, or of nothing when it is empty.
  template <auto classify_ascii>
  FT_INLINE void strip(Masks& masks) {
    build<classify_ascii>(masks, out_, length_);
    const std::uint64_t* space = masks.mask(mk_space);
    const std::size_t a = find<false>(space, 0, length_), b = last_clear(space, a, length_);
    if (a == 0 && b == length_) return;
    std::memmove(out_, out_ + a, b - a);
    length_ = b - a;
    build<classify_ascii>(masks, out_, length_);
  }

  // May outer spaces be there? False when both ends are visible ASCII.
  bool may_need_strip() const noexcept {
    const auto visible = [](std::uint8_t c) { return c > 32 && c < 127; };
    return length_ > 0 && !(visible(out_[0]) && visible(out_[length_ - 1]));
  }

  const std::uint8_t* text() const noexcept { return out_; }
  std::size_t length() const noexcept { return length_; }
  std::size_t removed() const noexcept { return removed_; }
  bool changed() const noexcept { return changed_; }

 private:
  FT_INLINE void copy(const std::uint8_t* from, std::size_t bytes) noexcept {
    if (bytes > 0) std::memcpy(out_ + length_, from, bytes);
    length_ += bytes;
  }

  std::uint8_t* out_;
  std::size_t length_ = 0, removed_ = 0;
  std::uint8_t edit_;
  bool changed_, any_ = false;
};

// Length of the edited text n at its place in p.out, or -1 - position of a bad byte.
template <auto classify_ascii>
FT_INLINE std::int64_t edit_text(const LineEditArgs& p, std::size_t n, Masks& m, LineScratch& s) {
  const std::uint8_t* data = p.data + p.offsets[n];
  const std::size_t bytes = static_cast<std::size_t>(p.offsets[n + 1] - p.offsets[n]);
  std::uint8_t* out = p.out + (p.offsets[n] - p.offsets[0]);
  if (const std::int64_t bad = build<classify_ascii>(m, data, bytes); bad >= 0) return -1 - bad;
  if (p.edit[n] == 0) {
    if (bytes > 0) std::memcpy(out, data, bytes);
    return static_cast<std::int64_t>(bytes);
  }
  LineWriter writer(out, p.edit[n]);
  prepare_lines(m, s);
  PhraseRange phrases{0, 0};
  each_line(
      m, [&](std::size_t begin, std::size_t end, std::size_t next) __attribute__((always_inline)) {
        const std::size_t a = find<false>(m.mask(mk_space), begin, end), b = last_clear(m.mask(mk_space), a, end);
        phrases = phrases_of(s, phrases, a, b);
        LineFate c4{line_kept, 0, nullptr, 0};
        int refinedweb = rw_kept;
        if (p.edit[n] & edit_c4) c4 = judge_c4(m, s, p.rules, a, b, phrases);
        if (p.edit[n] & edit_refinedweb) refinedweb = judge_refinedweb(m, s, p.rules, a, b, phrases);
        writer.line(m, s, p.rules, begin, a, b, next, c4, refinedweb);
      });
  if (writer.changed() && writer.may_need_strip()) writer.strip<classify_ascii>(m);
  return static_cast<std::int64_t>(writer.length());
}

// Turns lengths (or bad bytes) of separately written texts into one text after another.
inline void compact(const std::int64_t* offsets, std::uint8_t* out, std::int64_t* out_offsets, std::int64_t* bad,
                    std::size_t N) noexcept {
  bad[0] = bad[1] = -1;
  std::int64_t at = 0;
  for (std::size_t n = 0; n < N; ++n) {
    const std::int64_t length = out_offsets[n + 1], from = offsets[n] - offsets[0];
    if (length < 0) {
      bad[0] = static_cast<std::int64_t>(n);
      bad[1] = -1 - length;
      return;
    }
    if (at != from && length > 0) std::memmove(out + at, out + from, static_cast<std::size_t>(length));
    out_offsets[n] = at;
    at += length;
  }
  out_offsets[N] = at;
}

}  // namespace fasttrain::filter
