// Text is almost all bytes that can start nothing, so the cost is finding the next digit, '@', '+' or '(' : the
// portable search looks at one byte a step, AVX2 at 32. The rules behind are shared and run at those bytes only.

#include "filter/pii.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "filter/pii_scan.h"

namespace fasttrain::filter {
namespace {

PiiSpan find_email(const PiiText& t, std::size_t at, std::size_t last) noexcept {
  std::size_t begin = at;
  while (begin > last && local(t.s[begin - 1])) --begin;
  while (begin < at && !alnum(t.s[begin]) && t.s[begin] != '_') ++begin;
  if (begin == at || at - begin > 64 || t.s[at - 1] == '.' || (begin > last && before(t, begin) >= 0x80))
    return nothing;
  std::size_t end = at + 1;
  while (alnum(t.at(end)) || t.at(end) == '.' || t.at(end) == '-') ++end;
  while (end > at + 1 && !alnum(t.s[end - 1])) --end;
  std::size_t label = end;  // start of the last label
  while (label > at + 1 && t.s[label - 1] != '.') {
    if (!letter(t.s[label - 1])) return nothing;
    --label;
  }
  if (label <= at + 2 || end - label < 2 || end - label > 24 || end - at > 254) return nothing;
  for (std::size_t k = at + 1; k + 1 < end; ++k)  // no empty label, none that starts with a hyphen
    if (!alnum(t.s[k]) && (k == at + 1 || t.s[k - 1] == '.')) return nothing;
  if (word(t.at(end)) || t.at(end) == '@') return nothing;
  return {begin, end, email};
}

// Public: routed on the internet. Private, loopback, link-local, shared, documentation, multicast and reserved are not.
bool is_public_v4(const int b[4]) noexcept {
  if (b[0] == 0 || b[0] == 10 || b[0] == 127 || b[0] >= 224) return false;
  if (b[0] == 100 && b[1] >= 64 && b[1] < 128) return false;
  if (b[0] == 169 && b[1] == 254) return false;
  if (b[0] == 172 && b[1] >= 16 && b[1] < 32) return false;
  if (b[0] == 192 && (b[1] == 168 || (b[1] == 0 && (b[2] == 0 || b[2] == 2)))) return false;
  if (b[0] == 198 && (b[1] == 18 || b[1] == 19 || (b[1] == 51 && b[2] == 100))) return false;
  return !(b[0] == 203 && b[1] == 0 && b[2] == 113);
}

PiiSpan find_ipv4(const PiiText& t, std::size_t i) noexcept {
  if (before(t, i) == '.') return nothing;
  int bytes[4];
  std::size_t k = i;
  for (int part = 0; part < 4; ++part) {
    if (part > 0 && t.at(k++) != '.') return nothing;
    if (!digit(t.at(k))) return nothing;
    const std::size_t start = k;
    int value = 0;
    while (digit(t.at(k)) && k - start < 4) value = value * 10 + (t.s[k++] - '0');
    if (value > 255 || k - start > 3 || (t.s[start] == '0' && k - start > 1)) return nothing;
    bytes[part] = value;
  }
  if (word(t.at(k)) || (t.at(k) == '.' && digit(t.at(k + 1)))) return nothing;
  if (k - i == 7) return nothing;  // four one-digit parts: a section or a version, 18 of 18 such in 101 MB of code
  return is_public_v4(bytes) ? PiiSpan{i, k, ip} : nothing;
}

bool hex(int c) noexcept { return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// Global unicast (2000::/3) only, without 2001:db8::/32, which is for documentation.
PiiSpan find_ipv6(const PiiText& t, std::size_t i) noexcept {
  if (before(t, i) == ':' || (t.s[i] != '2' && t.s[i] != '3')) return nothing;
  std::size_t k = i;
  int groups = 0;
  bool gap = false;
  while (hex(t.at(k))) {
    const std::size_t start = k;
    while (hex(t.at(k)) && k - start < 5) ++k;
    if (k - start > 4 || (groups == 0 && k - start != 4)) return nothing;
    ++groups;
    if (t.at(k) != ':') break;
    if (t.at(k + 1) == ':') {
      if (gap) return nothing;
      gap = true;
      k += 2;
    } else if (hex(t.at(k + 1))) {
      ++k;
    } else {
      break;
    }
  }
  if (word(t.at(k)) || t.at(k) == ':' || groups > 8 || (gap ? groups > 7 || groups < 2 : groups != 8)) return nothing;
  // 2001:db8: and 2001:0db8:
  std::size_t second = i + 5;
  if (t.at(second) == '0') ++second;
  if (t.s[i] == '2' && t.at(i + 1) == '0' && t.at(i + 2) == '0' && t.at(i + 3) == '1' && (t.at(second) | 0x20) == 'd' &&
      (t.at(second + 1) | 0x20) == 'b' && t.at(second + 2) == '8' && !hex(t.at(second + 3)))
    return nothing;
  return {i, k, ip};
}

bool luhn(const std::uint8_t* digits, std::size_t n) noexcept {
  int sum = 0;
  for (std::size_t k = 0; k < n; ++k) {
    int d = digits[n - 1 - k];
    if (k % 2 == 1) d = d > 4 ? 2 * d - 9 : 2 * d;
    sum += d;
  }
  return sum % 10 == 0;
}

// Issuer ranges by the first digits (ISO/IEC 7812) with the lengths that they use.
bool is_issued(const std::uint8_t* d, std::size_t n) noexcept {
  const int two = d[0] * 10 + d[1], three = two * 10 + d[2], four = three * 10 + d[3];
  if (d[0] == 4) return n == 16 || n == 19;  // 13, long out of use, would take one in ten barcodes of German goods
  if (two == 34 || two == 37) return n == 15;
  if (two == 36 || two == 38 || (three >= 300 && three <= 305)) return n == 14;
  if ((two >= 51 && two <= 55) || (four >= 2221 && four <= 2720) || two == 35) return n == 16;
  return (four == 6011 || two == 65 || (three >= 644 && three <= 649)) && n >= 16;
}

// Groups as printed on cards; the first is one run of digits. A longer form goes before its part.
constexpr std::uint8_t card_groups[][5] = {{0}, {4, 4, 4, 4, 3}, {4, 4, 4, 4}, {4, 6, 5}, {4, 6, 4}};

PiiSpan find_card(const PiiText& t, std::size_t i) noexcept {
  const int previous = before(t, i);
  if ((previous == '.' || previous == '-') && i >= 2 && digit(t.s[i - 2])) return nothing;  // of a longer number
  std::size_t run = 0;
  while (run < 20 && digit(t.at(i + run))) ++run;
  for (const auto& groups : card_groups) {
    std::uint8_t digits[20];
    std::size_t n = 0, k = i;
    const int separator = t.at(i + 4);
    if (groups[0] == 0) {
      if (run < 14 || run > 16) continue;
      for (; n < run; ++k) digits[n++] = static_cast<std::uint8_t>(t.s[k] - '0');
    } else {
      if (run != 4 || (separator != ' ' && separator != '-')) continue;
      bool fits = true;
      for (int g = 0; fits && g < 5 && groups[g] > 0; ++g) {
        if (g > 0) fits = t.at(k++) == separator;
        for (int m = 0; fits && m < groups[g]; ++m, ++k) {
          fits = digit(t.at(k));
          if (fits) digits[n++] = static_cast<std::uint8_t>(t.s[k] - '0');
        }
      }
      if (!fits) continue;
    }
    if (word(t.at(k)) || ((t.at(k) == '.' || t.at(k) == '-') && digit(t.at(k + 1)))) continue;
    if (is_issued(digits, n) && luhn(digits, n)) return {i, k, card};
  }
  return nothing;
}

PiiSpan find_international(const PiiText& t, std::size_t i) noexcept {
  if (t.at(i + 1) < '1' || t.at(i + 1) > '9') return nothing;
  std::size_t k = i + 1, end = k, count = 0, gap = 0;
  for (; k < t.size; ++k) {
    const int c = t.s[k];
    if (digit(c)) {
      ++count;
      end = k + 1;
      gap = 0;
    } else if ((c == ' ' || c == '.' || c == '-' || c == '(' || c == ')' || c == '/') && ++gap <= 2) {
      continue;
    } else {
      break;
    }
  }
  if (count < 8 || count > 15 || word(t.at(end))) return nothing;
  return {i, end, phone};
}

// (ddd) ddd-dddd, ddd-ddd-dddd and ddd.ddd.dddd of the North American plan: area and exchange start with 2-9.
PiiSpan find_national(const PiiText& t, std::size_t i) noexcept {
  const bool bracket = t.s[i] == '(';
  std::size_t k = i + (bracket ? 1 : 0);
  const auto group = [&](std::size_t n, bool leading) {
    if (leading && (t.at(k) < '2' || t.at(k) > '9')) return false;
    for (std::size_t j = 0; j < n; ++j)
      if (!digit(t.at(k + j))) return false;
    k += n;
    return true;
  };
  if (!group(3, true)) return nothing;
  int separator = -1;
  if (bracket) {
    if (t.at(k++) != ')') return nothing;
    if (t.at(k) == ' ') ++k;
  } else {
    separator = t.at(k++);
    if (separator != '-' && separator != '.') return nothing;
    if (before(t, i) == separator) return nothing;
  }
  if (!group(3, true)) return nothing;
  const int c = t.at(k++);
  if (bracket ? (c != '-' && c != '.' && c != ' ') : c != separator) return nothing;
  if (!group(4, false) || word(t.at(k))) return nothing;
  if ((t.at(k) == '-' || t.at(k) == '.') && digit(t.at(k + 1))) return nothing;
  return {i, k, phone};
}

// Total length by country (ISO 13616 registry).
int iban_length(int a, int b) noexcept {
  struct Country {
    char code[3];
    int length;
  };
  static constexpr Country countries[] = {
      {"AD", 24}, {"AE", 23}, {"AL", 28}, {"AT", 20}, {"AZ", 28}, {"BA", 20}, {"BE", 16}, {"BG", 22}, {"BH", 22},
      {"BR", 29}, {"BY", 28}, {"CH", 21}, {"CR", 22}, {"CY", 28}, {"CZ", 24}, {"DE", 22}, {"DK", 18}, {"DO", 28},
      {"EE", 20}, {"EG", 29}, {"ES", 24}, {"FI", 18}, {"FO", 18}, {"FR", 27}, {"GB", 22}, {"GE", 22}, {"GI", 23},
      {"GL", 18}, {"GR", 27}, {"GT", 28}, {"HR", 21}, {"HU", 28}, {"IE", 22}, {"IL", 23}, {"IQ", 23}, {"IS", 26},
      {"IT", 27}, {"JO", 30}, {"KW", 30}, {"KZ", 20}, {"LB", 28}, {"LI", 21}, {"LT", 20}, {"LU", 20}, {"LV", 21},
      {"LY", 25}, {"MC", 27}, {"MD", 24}, {"ME", 22}, {"MK", 19}, {"MR", 27}, {"MT", 31}, {"MU", 30}, {"NL", 18},
      {"NO", 15}, {"PK", 24}, {"PL", 28}, {"PS", 29}, {"PT", 25}, {"QA", 29}, {"RO", 24}, {"RS", 22}, {"SA", 24},
      {"SC", 31}, {"SE", 24}, {"SI", 19}, {"SK", 24}, {"SM", 27}, {"TN", 24}, {"TR", 26}, {"UA", 29}, {"VA", 22},
      {"VG", 24}, {"XK", 20}};
  for (const Country& c : countries)
    if (c.code[0] == a && c.code[1] == b) return c.length;
  return 0;
}

PiiSpan find_iban(const PiiText& t, std::size_t at, std::size_t last) noexcept {
  if (at < last + 2) return nothing;
  const std::size_t i = at - 2;
  const int length = iban_length(t.s[i], t.s[i + 1]);
  if (length == 0 || word(before(t, i)) || !digit(t.at(i + 3))) return nothing;
  char text[34];
  int n = 0;
  std::size_t k = i;
  while (n < length) {
    const int c = t.at(k);
    if (digit(c) || upper(c)) {
      text[n++] = static_cast<char>(c);
    } else if (c != ' ' || n % 4 != 0) {  // printed in groups of four
      return nothing;
    }
    ++k;
  }
  if (word(t.at(k))) return nothing;
  int rest = 0;  // ISO 7064 mod 97-10: the first four characters go last, letters count as 10..35
  for (int j = 0; j < length; ++j) {
    const char c = text[(j + 4) % length];
    rest = digit(c) ? (rest * 10 + (c - '0')) % 97 : (rest * 100 + (c - 'A' + 10)) % 97;
  }
  return rest == 1 ? PiiSpan{i, k, iban} : nothing;
}

bool digits_at(const PiiText& t, std::size_t i, std::size_t n) noexcept {
  for (std::size_t k = 0; k < n; ++k)
    if (!digit(t.at(i + k))) return false;
  return true;
}

int number_at(const PiiText& t, std::size_t i, std::size_t n) noexcept {
  int value = 0;
  for (std::size_t k = 0; k < n; ++k) value = value * 10 + (t.s[i + k] - '0');
  return value;
}

// Not part of a longer number on either side.
bool stands_alone(const PiiText& t, std::size_t i, std::size_t end) noexcept {
  const int b = before(t, i), a = t.at(end);
  if ((b == '-' || b == '.') && i >= 2 && digit(t.s[i - 2])) return false;
  return !word(a) && !((a == '-' || a == '.') && digit(t.at(end + 1)));
}

// United States: ddd-dd-dddd in the ranges that were ever issued.
bool is_ssn(const PiiText& t, std::size_t i) noexcept {
  if (!digits_at(t, i, 3) || t.at(i + 3) != '-' || !digits_at(t, i + 4, 2) || t.at(i + 6) != '-' ||
      !digits_at(t, i + 7, 4))
    return false;
  const int area = number_at(t, i, 3);
  return area != 0 && area != 666 && area < 900 && number_at(t, i + 4, 2) != 0 && number_at(t, i + 7, 4) != 0;
}

// Brazil: CPF as printed, ddd.ddd.ddd-dd, both check digits.
bool is_cpf(const PiiText& t, std::size_t i) noexcept {
  constexpr std::string_view form = "ddd.ddd.ddd-dd";
  int d[11], n = 0;
  for (std::size_t k = 0; k < form.size(); ++k) {
    const int c = t.at(i + k);
    if (form[k] != 'd' ? c != form[k] : !digit(c)) return false;
    if (form[k] == 'd') d[n++] = c - '0';
  }
  if (std::all_of(d + 1, d + 11, [&](int x) { return x == d[0]; })) return false;
  for (const int length : {9, 10}) {
    int sum = 0;
    for (int k = 0; k < length; ++k) sum += d[k] * (length + 1 - k);
    if (sum * 10 % 11 % 10 != d[length]) return false;
  }
  return true;
}

// China: six digits of a place, date of birth, three digits, ISO 7064 mod 11-2.
bool is_resident(const PiiText& t, std::size_t i) noexcept {
  if (!digits_at(t, i, 17) || t.s[i] == '0') return false;
  const int year = number_at(t, i + 6, 4), month = number_at(t, i + 10, 2), day = number_at(t, i + 12, 2);
  if (year < 1900 || year > 2099 || month < 1 || month > 12 || day < 1 || day > 31) return false;
  int rest = 0;
  for (std::size_t k = 0; k < 17; ++k) rest = (rest + (t.s[i + k] - '0')) * 2 % 11;
  const int check = (12 - rest) % 11;
  return check == 10 ? t.at(i + 17) == 'X' : t.at(i + 17) == '0' + check;
}

// Spain: DNI, eight digits and the letter that the number modulo 23 gives.
bool is_dni(const PiiText& t, std::size_t i) noexcept {
  return digits_at(t, i, 8) && t.at(i + 8) == "TRWAGMYFPDXBNJZSQVHLCKE"[number_at(t, i, 8) % 23];
}

PiiSpan find_national_id(const PiiText& t, std::size_t i) noexcept {
  struct Form {
    bool (*holds)(const PiiText&, std::size_t) noexcept;
    std::size_t bytes;
  };
  for (const Form form : {Form{is_ssn, 11}, Form{is_cpf, 14}, Form{is_resident, 18}, Form{is_dni, 9}})
    if (form.holds(t, i) && stands_alone(t, i, i + form.bytes)) return {i, i + form.bytes, national_id};
  return nothing;
}

// United Kingdom: National Insurance number, two letters that are in use, six digits, A to D; i is its first digit.
PiiSpan find_nino(const PiiText& t, std::size_t i, std::size_t last) noexcept {
  if (i < last + 2 || word(before(t, i - 2)) || !digits_at(t, i, 6)) return nothing;
  const auto a = static_cast<char>(t.s[i - 2]), b = static_cast<char>(t.s[i - 1]);
  if (std::string_view("DFIQUV").find(a) != std::string_view::npos ||
      std::string_view("DFIOQUV").find(b) != std::string_view::npos)
    return nothing;
  for (const std::string_view unused : {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})
    if (unused[0] == a && unused[1] == b) return nothing;
  if (t.at(i + 6) < 'A' || t.at(i + 6) > 'D' || word(t.at(i + 7))) return nothing;
  return {i - 2, i + 7, national_id};
}

}  // namespace

PiiSpan pii_at(const PiiText& t, std::size_t i, std::size_t last) noexcept {
  const int c = t.s[i], previous = before(t, i);
  if (c == '@') {
    const std::size_t user = userinfo_at(t, i, last);
    return user == t.size ? find_email(t, i, last) : find_password(t, user, i);
  }
  if (digit(c) && !digit(previous))
    if (const PiiSpan found = find_secret(t, i, last); found.end > 0) return found;
  if (digit(c) && upper(previous) && i >= 2 && upper(t.s[i - 2])) {
    const PiiSpan found = find_iban(t, i, last);
    return found.end > 0 ? found : find_nino(t, i, last);
  }
  if (word(previous)) return nothing;
  if (c == '+') return find_international(t, i);
  if (c == '(') return find_national(t, i);
  for (const auto find : {find_national_id, find_card, find_ipv4, find_ipv6, find_national})
    if (const PiiSpan found = find(t, i); found.end > 0) return found;
  return nothing;
}

void pii_scalar(const PiiArgs& p) noexcept {
  pii_run(p, [](const PiiText& t, std::size_t i) noexcept {
    while (i < t.size && !is_trigger(t.s[i])) ++i;
    return i;
  });
}

std::span<const Impl<PiiFn>> pii_impls() {
  static constexpr std::array<Impl<PiiFn>, 2> impls{{
      {"avx2", Isa::avx2, pii_avx2},
      {"scalar", Isa::any, pii_scalar},
  }};
  return impls;
}

}  // namespace fasttrain::filter
