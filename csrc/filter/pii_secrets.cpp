// Secrets: keys with a prefix, web tokens, Amazon's secret keys, passwords in URLs, private keys in PEM (pii_ref.py).

#include <algorithm>
#include <string_view>

#include "filter/pii_scan.h"

namespace fasttrain::filter {
namespace {

using std::string_view;

string_view view(const PiiText& t, std::size_t begin, std::size_t end) noexcept {
  return {reinterpret_cast<const char*>(t.s) + begin, end - begin};
}

int lower(int c) noexcept { return upper(c) ? c + 32 : c; }

bool same_letters(string_view a, string_view low) noexcept {
  return std::equal(a.begin(), a.end(), low.begin(), low.end(), [](char x, char y) { return lower(x) == y; });
}

bool token(int c) noexcept { return alnum(c) || c == '_' || c == '-'; }

// Keys that their issuers made recognisable: prefix, and how many characters of [A-Za-z0-9_-] follow (0: no upper limit).
struct SecretForm {
  std::string_view prefix;
  std::size_t least, most;
};
constexpr SecretForm secret_forms[] = {
    {"AKIA", 16, 16},        {"ASIA", 16, 16},  {"ghp_", 36, 0},      {"gho_", 36, 0},      {"ghu_", 36, 0},
    {"ghs_", 36, 0},         {"ghr_", 36, 0},   {"github_pat_", 82, 0}, {"glpat-", 20, 0},  {"xoxa-", 20, 0},
    {"xoxb-", 20, 0},        {"xoxp-", 20, 0},  {"xoxr-", 20, 0},     {"xoxs-", 20, 0},     {"AIza", 35, 35},
    {"sk_live_", 24, 0},     {"rk_live_", 24, 0}, {"sk-", 40, 0},     {"hf_", 34, 34},      {"npm_", 36, 36},
    {"pypi-", 85, 0},
};


// begin is the first character of a run of token characters; the signature is what follows the second dot.
PiiSpan find_web_token(const PiiText& t, std::size_t begin) noexcept {
  std::size_t k = begin;
  for (const std::size_t least : {std::size_t{11}, std::size_t{11}, std::size_t{16}}) {
    const std::size_t start = k;
    if (least == 11 && (t.at(k) != 'e' || t.at(k + 1) != 'y' || t.at(k + 2) != 'J')) return nothing;
    while (token(t.at(k))) ++k;
    if (k - start < least) return nothing;
    if (least == 11 && t.at(k++) != '.') return nothing;
  }
  return {begin, k, secret};
}

// i is the first digit of a run of token characters: no prefix holds one, and a key without one is rarer than 1 in 28.
PiiSpan find_prefixed(const PiiText& t, std::size_t i, std::size_t last) noexcept {
  std::size_t begin = i;
  while (begin > last && token(t.s[begin - 1]) && !digit(t.s[begin - 1])) --begin;
  if (i - begin < 3 || token(before(t, begin))) return nothing;
  // Most runs (utf8, int64, x_1) end here: one comparison in place of one a form.
  if (string_view("Aeghnprsx").find(static_cast<char>(t.s[begin])) == string_view::npos) return nothing;
  if (const PiiSpan found = find_web_token(t, begin); found.end > 0) return found;
  for (const SecretForm& form : secret_forms) {
    const std::size_t n = form.prefix.size();
    if (i - begin < n || !std::equal(form.prefix.begin(), form.prefix.end(), t.s + begin)) continue;
    std::size_t end = i;
    while (token(t.at(end))) ++end;
    const std::size_t body = end - begin - n;
    if (body < form.least || (form.most > 0 && body > form.most)) return nothing;
    return {begin, end, secret};
  }
  return nothing;
}

bool key_character(int c) noexcept { return alnum(c) || c == '/' || c == '+'; }
bool quote(int c) noexcept { return c == '"' || c == '\''; }

// Whether `secret_access_key = "` or the like ends at k.
bool is_named(const PiiText& t, std::size_t k) noexcept {
  const auto spaces = [&] {
    for (int n = 0; n < 3 && (before(t, k) == ' ' || before(t, k) == '\t'); ++n) --k;
  };
  const auto hyphen = [&] {
    if (before(t, k) == '_' || before(t, k) == '-') --k;
  };
  const auto ends_with = [&](string_view low) {
    if (k < low.size() || !same_letters(view(t, k - low.size(), k), low)) return false;
    k -= low.size();
    return true;
  };
  if (quote(before(t, k))) --k;
  spaces();
  if (!ends_with("=>") && !ends_with(":=") && !ends_with("=") && !ends_with(":")) return false;
  spaces();
  if (quote(before(t, k))) --k;
  if (!ends_with("key")) return false;
  hyphen();
  if (ends_with("access")) hyphen();
  return ends_with("secret");
}

PiiSpan find_named_key(const PiiText& t, std::size_t i, std::size_t last) noexcept {
  constexpr std::size_t size = 40;
  std::size_t end = i, begin = i;
  while (end < i + size + 1 && key_character(t.at(end))) ++end;  // most numbers are short: this ends it
  while (begin > last && i - begin < size && key_character(t.s[begin - 1]) && !digit(t.s[begin - 1])) --begin;
  if (end - begin != size || word(t.at(end)) || t.at(end) == '/' || t.at(end) == '+') return nothing;
  const int previous = before(t, begin);
  if (word(previous) || previous == '/' || previous == '+') return nothing;
  return is_named(t, begin) ? PiiSpan{begin, end, secret} : nothing;
}

bool userinfo(int c) noexcept {
  return c > ' ' && c < 0x7f && string_view("/@\"'<>`\\").find(static_cast<char>(c)) == string_view::npos;
}

}  // namespace

PiiSpan find_secret(const PiiText& t, std::size_t i, std::size_t last) noexcept {
  if (token(before(t, i)))
    if (const PiiSpan found = find_prefixed(t, i, last); found.end > 0) return found;
  return find_named_key(t, i, last);
}

std::size_t userinfo_at(const PiiText& t, std::size_t at, std::size_t last) noexcept {
  std::size_t k = at;
  bool password = false;
  for (; k > last && at - k < 128 && userinfo(t.s[k - 1]); --k) password = password || t.s[k - 1] == ':';
  return password && k >= 4 && view(t, k - 3, k) == "://" && alnum(t.s[k - 4]) ? k : t.size;
}

PiiSpan find_password(const PiiText& t, std::size_t begin, std::size_t at) noexcept {
  begin += view(t, begin, at).find(':') + 1;
  const string_view word = view(t, begin, at);
  if (word.empty() || string_view("${%[").find(word[0]) != string_view::npos) return nothing;
  for (const string_view none : {"password", "passwd", "pass", "pwd", "secret"})
    if (same_letters(word, none)) return nothing;
  if (word.find_first_not_of("xX*.") == string_view::npos) return nothing;
  return alnum(t.at(at + 1)) || t.at(at + 1) == '[' ? PiiSpan{begin, at, secret} : nothing;
}

// A run of five dashes covers one place in five, so that only those are looked at.
PiiSpan next_key_block(const PiiText& t, std::size_t from) noexcept {
  constexpr std::size_t most_kind = 32, most_bytes = 1 << 14, least = 60;
  constexpr string_view dashes = "-----", head = "BEGIN ", foot = "-----END ", block = " BLOCK", key = "PRIVATE KEY";
  const string_view text = view(t, 0, t.size);
  for (std::size_t k = from + 4; k < t.size; k += 5) {
    if (t.s[k] != '-') continue;
    while (t.at(k) == '-') ++k;
    if (k < from + dashes.size() || text.substr(k - dashes.size(), dashes.size()) != dashes) continue;
    if (text.substr(k, head.size()) != head) continue;
    const std::size_t start = k + head.size();
    std::size_t end = start;
    while ((upper(t.at(end)) || digit(t.at(end)) || t.at(end) == ' ') && end < start + 64) ++end;
    const string_view label = text.substr(start, end - start);
    string_view kind = label;
    if (kind.ends_with(block)) kind.remove_suffix(block.size());
    if (!kind.ends_with(key) || kind.size() > most_kind + key.size()) continue;
    if (text.substr(end, dashes.size()) != dashes) continue;
    const std::size_t body = end + dashes.size(), mark = foot.size() + label.size() + dashes.size();
    std::size_t at = body;  // of the foot
    const auto is_foot = [&] {
      return text.substr(at, foot.size()) == foot && text.substr(at + foot.size(), label.size()) == label &&
             text.substr(at + mark - dashes.size(), dashes.size()) == dashes;
    };
    while (at <= body + most_bytes && at + mark <= t.size && !(t.s[at] == '-' && is_foot())) ++at;
    if (at > body + most_bytes || at + mark > t.size) continue;
    const auto base64 = [](char c) { return alnum(c) || c == '+' || c == '/' || c == '='; };
    if (static_cast<std::size_t>(std::count_if(t.s + body, t.s + at, base64)) < least) continue;
    return {k - dashes.size(), at + mark, secret};
  }
  return {t.size, t.size, secret};
}

}  // namespace fasttrain::filter
