// Bound by memory: a domain line costs one hash of some 20 bytes, a lookup two cache misses.

#include "filter/url_list.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include "core/parallel.h"
#include "text/hash128.h"

namespace fasttrain::filter {
namespace {

constexpr std::size_t longest_name = 253;  // of a name in the DNS
using Bytes = std::basic_string_view<char>;

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 32) : c; }
bool is_letter(char c) noexcept { return lower(c) >= 'a' && lower(c) <= 'z'; }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_blank(char c) noexcept { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'; }
bool is_odd(char c) noexcept { return static_cast<unsigned char>(c) >= 128 || c == '%'; }

Bytes strip(Bytes s) noexcept {
  while (!s.empty() && is_blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && is_blank(s.back())) s.remove_suffix(1);
  return s;
}

Bytes strip_dots(Bytes s) noexcept {
  while (!s.empty() && s.front() == '.') s.remove_prefix(1);
  while (!s.empty() && s.back() == '.') s.remove_suffix(1);
  return s;
}

Hash128 hash_of(Bytes s) noexcept {
  std::uint64_t h[2];
  text::murmur3_128(reinterpret_cast<const std::uint8_t*>(s.data()), s.size(), 0, h);
  return {h[0], h[1]};
}

bool less(const Hash128& a, const Hash128& b) noexcept { return a.low != b.low ? a.low < b.low : a.high < b.high; }

// The parts of scheme://[userinfo@]host[:port]rest; `rest` begins with / ? # or \ or is empty.
struct Url {
  Bytes host, port, rest;
  bool ipv6 = false, has_scheme = false;
};

// `text` without its scheme when it has one.
Bytes skip_scheme(Bytes text, bool& found) noexcept {
  found = false;
  if (text.empty() || !is_letter(text[0])) return text;
  for (std::size_t i = 1; i < text.size(); ++i) {
    const char c = text[i];
    if (is_letter(c) || is_digit(c) || c == '+' || c == '.' || c == '-') continue;
    if (text.substr(i, 3) != "://") return text;
    found = true;
    return text.substr(i + 3);
  }
  return text;
}

Url split(Bytes text) noexcept {
  Url url;
  text = skip_scheme(text, url.has_scheme);
  const std::size_t end = std::min(text.find_first_of("/?#\\"), text.size());
  Bytes authority = text.substr(0, end);
  url.rest = text.substr(end);
  if (const std::size_t at = authority.rfind('@'); at != Bytes::npos) authority.remove_prefix(at + 1);
  if (!authority.empty() && authority[0] == '[') {
    const std::size_t close = authority.find(']');
    if (close != Bytes::npos) {
      url.ipv6 = true;
      url.host = authority.substr(1, close - 1);
      authority.remove_prefix(close + 1);
      if (!authority.empty() && authority[0] == ':') url.port = authority.substr(1);
      return url;
    }
  }
  const std::size_t colon = std::min(authority.find(':'), authority.size());
  url.host = strip_dots(authority.substr(0, colon));
  if (colon < authority.size()) url.port = authority.substr(colon + 1);
  return url;
}

void append_lower(std::vector<char>& to, Bytes s) {
  for (const char c : s) to.push_back(lower(c));
}

// The URL's normal form: no scheme, userinfo, default port, fragment or last slash; host in lower case.
Hash128 hash_of(const Url& url, std::vector<char>& buffer) {
  buffer.clear();
  if (url.ipv6) buffer.push_back('[');
  append_lower(buffer, url.host);
  if (url.ipv6) buffer.push_back(']');
  if (!url.port.empty() && url.port != "80" && url.port != "443") {
    buffer.push_back(':');
    buffer.insert(buffer.end(), url.port.begin(), url.port.end());
  }
  const Bytes rest = url.rest.substr(0, std::min(url.rest.find('#'), url.rest.size()));
  buffer.insert(buffer.end(), rest.begin(), rest.end());
  if (!rest.empty() && buffer.back() == '/') buffer.pop_back();
  return hash_of(Bytes(buffer.data(), buffer.size()));
}

struct Reader {
  const UrlReadArgs& p;
  std::vector<char> buffer;
  std::size_t found = 0, odd = 0;

  void be_odd(Bytes entry) {
    const auto begin = reinterpret_cast<const std::uint8_t*>(entry.data()) - p.data;
    p.odd[2 * odd] = begin;
    p.odd[2 * odd++ + 1] = begin + static_cast<std::int64_t>(entry.size());
  }

  void domain(Bytes name) {
    bool has_scheme = false;
    skip_scheme(name, has_scheme);
    if (has_scheme) name = split(name).host;
    if (name.starts_with("*.")) name.remove_prefix(2);
    if (name.size() > 1 && name.back() == '/') name.remove_suffix(1);
    if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
    name = strip_dots(name);
    if (name.empty()) return;
    buffer.clear();
    append_lower(buffer, name);
    p.out[found++] = hash_of(Bytes(buffer.data(), buffer.size()));
  }

  void line(Bytes line) {
    if (p.kind == list_domains) {
      line = line.substr(0, std::min(line.find('#'), line.size()));
    } else {  // a "#" inside a URL begins a fragment
      std::size_t at = line.find('#');
      while (at != Bytes::npos && at > 0 && !is_blank(line[at - 1])) at = line.find('#', at + 1);
      line = line.substr(0, std::min(at, line.size()));
    }
    line = strip(line);
    if (line.empty()) return;
    if (p.kind == list_domains ? std::any_of(line.begin(), line.end(), is_odd)
                               : odd_host(split(line))) {
      be_odd(line);
      return;
    }
    if (p.kind == list_urls) {
      const Url url = split(line);
      p.out[found++] = hash_of(url, buffer);
      if (!url.has_scheme) p.out[found++] = hash_of(line);
    } else {
      domains_of(line);
    }
  }

  // A line of a domain list: one name, or an address and names (a hosts file).
  void domains_of(Bytes line) {
    bool first = true, is_hosts = false;
    while (!line.empty()) {
      const std::size_t end = static_cast<std::size_t>(std::find_if(line.begin(), line.end(), is_blank) - line.begin());
      const Bytes token = line.substr(0, end);
      line = strip(line.substr(end));
      if (first && !line.empty())
        is_hosts = token == "0.0.0.0" || token == "127.0.0.1" || token == "::1" || token == "::";
      if (!first || !is_hosts) domain(token);
      if (first && !is_hosts) return;
      first = false;
    }
  }

  static bool odd_host(const Url& url) noexcept { return std::any_of(url.host.begin(), url.host.end(), is_odd); }
};

template <typename Body>
void each_line_of(const std::uint8_t* data, std::size_t bytes, const Body& body) {
  for (std::size_t i = 0; i < bytes;) {
    const void* hit = std::memchr(data + i, '\n', bytes - i);
    const std::size_t end = hit == nullptr ? bytes : static_cast<std::size_t>(static_cast<const std::uint8_t*>(hit) - data);
    body(Bytes(reinterpret_cast<const char*>(data) + i, end - i));
    i = end + 1;
  }
}

void read_scalar(const UrlReadArgs& p) {
  Reader reader{p, {}};
  each_line_of(p.data, p.S, [&](Bytes line) { reader.line(line); });
  p.counts[0] = static_cast<std::int64_t>(reader.found);
  p.counts[1] = static_cast<std::int64_t>(reader.odd);
}

std::size_t bucket_of(const Hash128& h, int bits) noexcept {
  return bits == 0 ? 0 : static_cast<std::size_t>(h.low >> (64 - bits));
}

// Counting sort by bucket, then each bucket on its own.
void sort_scalar(const UrlSortArgs& p) {
  const std::size_t B = std::size_t{1} << p.bits;
  std::fill(p.starts, p.starts + B + 1, 0);
  for (std::size_t i = 0; i < p.M; ++i) ++p.starts[bucket_of(p.in[i], p.bits) + 1];
  for (std::size_t b = 0; b < B; ++b) p.starts[b + 1] += p.starts[b];
  std::vector<std::int64_t> at(p.starts, p.starts + B);
  for (std::size_t i = 0; i < p.M; ++i) p.out[at[bucket_of(p.in[i], p.bits)]++] = p.in[i];
  std::int64_t count = 0;
  for (std::size_t b = 0; b < B; ++b) {
    Hash128 *first = p.out + p.starts[b], *last = p.out + p.starts[b + 1];
    std::sort(first, last, less);
    const auto same = [](const Hash128& x, const Hash128& y) { return x.low == y.low && x.high == y.high; };
    last = std::unique(first, last, same);
    p.starts[b] = count;
    count = std::copy(first, last, p.out + count) - p.out;
  }
  p.starts[B] = count;
  p.count[0] = count;
}

bool contains(const HashSet& set, const Hash128& h) noexcept {
  const std::size_t b = bucket_of(h, set.bits);
  for (std::int64_t i = set.starts[b]; i < set.starts[b + 1]; ++i)
    if (set.hashes[i].low == h.low && set.hashes[i].high == h.high) return true;
  return false;
}

bool has_domain(const HashSet& set, const Url& url, std::vector<char>& buffer) {
  buffer.clear();
  append_lower(buffer, url.host);
  const Bytes host(buffer.data(), buffer.size());
  if (host.empty()) return false;
  const auto listed = [&](Bytes name) { return name.size() <= longest_name && contains(set, hash_of(name)); };
  if (listed(host)) return true;
  const std::size_t top = host.rfind('.');
  const Bytes last = host.substr(top == Bytes::npos ? 0 : top + 1);
  if (url.ipv6 || std::all_of(last.begin(), last.end(), is_digit)) return false;  // addresses have no domain above
  for (std::size_t i = host.find('.'); i != Bytes::npos; i = host.find('.', i + 1))
    if (listed(host.substr(i + 1))) return true;
  return false;
}

bool has_word(const UrlFindArgs& p, Bytes origin, std::vector<char>& buffer) {
  buffer.clear();
  append_lower(buffer, origin);
  const Bytes text(buffer.data(), buffer.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i > 0 && is_letter(text[i - 1])) continue;
    for (std::size_t w = 0; w < p.W; ++w) {
      const std::size_t end = i + static_cast<std::size_t>(p.word_bytes[w]);
      if (end > text.size()) break;
      if (end < text.size() && is_letter(text[end])) continue;
      if (contains(p.words, hash_of(text.substr(i, end - i)))) return true;
    }
  }
  return false;
}

void find_scalar(const UrlFindArgs& p) {
  parallel_ranges(p.N, 256, p.threads, [&](std::size_t begin, std::size_t end) {
    std::vector<char> buffer;
    for (std::size_t n = begin; n < end; ++n) {
      const Bytes origin(reinterpret_cast<const char*>(p.data) + p.offsets[n],
                         static_cast<std::size_t>(p.offsets[n + 1] - p.offsets[n]));
      const Url url = split(origin);
      p.odd[n] = url.has_scheme && Reader::odd_host(url);
      p.out[n] = 0;
      if (p.domains.M > 0 && url.has_scheme && has_domain(p.domains, url, buffer)) {
        p.out[n] = 1;
      } else if (p.urls.M > 0 && contains(p.urls, url.has_scheme ? hash_of(url, buffer) : hash_of(origin))) {
        p.out[n] = 2;
      } else if (p.words.M > 0 && has_word(p, origin, buffer)) {
        p.out[n] = 3;
      }
    }
  });
}

}  // namespace

std::size_t url_list_room(const std::uint8_t* data, std::size_t bytes, int kind) noexcept {
  std::size_t lines = 0, blanks = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    lines += data[i] == '\n';
    blanks += data[i] == ' ' || data[i] == '\t' || data[i] == '\r' || data[i] == '\v' || data[i] == '\f';
  }
  return (kind == list_urls ? 2 : 1) * (lines + 1) + (kind == list_domains ? blanks : 0);
}

std::span<const Impl<UrlListFns>> url_list_impls() {
  static constexpr std::array<Impl<UrlListFns>, 1> impls{
      {{"scalar", Isa::any, {read_scalar, sort_scalar, find_scalar}}}};
  return impls;
}

}  // namespace fasttrain::filter
