// What the tests ask of heads and links.
//
// usage: bytes          a request a line, an answer a line
//        bytes fuzz SEED ROUNDS    mutates the heads of stdin

#include <cstdlib>
#include <iostream>
#include <memory>
#include <new>
#include <powerhose/worker.hpp>

namespace {

std::size_t largest = 0;  // allocation

}  // namespace

void *operator new(std::size_t n) {
  largest = std::max(largest, n);
  if (void *p = std::malloc(n)) return p;
  throw std::bad_alloc();
}
void operator delete(void *p) noexcept { std::free(p); }
void operator delete(void *p, std::size_t) noexcept { std::free(p); }

namespace {

namespace wire = powerhose::wire;
using powerhose::Fd;
using powerhose::Link;

std::string unhex(std::string_view s) {
  std::string out;
  for (std::size_t i = 0; i + 1 < s.size(); i += 2) out += static_cast<char>(std::stoi(std::string(s.substr(i, 2)), nullptr, 16));
  return out;
}

std::string hex(std::string_view s) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const char c : s) {
    out += digits[static_cast<unsigned char>(c) >> 4];
    out += digits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

// tell prints each field that is not empty; strings are in hex.
std::string tell(const wire::Head &h) {
  std::string out = wire::name(h.type);
  const auto number = [&](const char *key, std::uint64_t v) {
    if (v != 0) out += std::string(" ") + key + "=" + std::to_string(v);
  };
  const auto text = [&](const char *key, std::string_view v) {
    if (!v.empty()) out += std::string(" ") + key + "=" + hex(v);
  };
  number("number", h.number), number("code", static_cast<std::uint64_t>(h.code)), number("pid", h.pid);
  number("attempt", h.attempt), number("flags", h.flags), number("left", h.left), number("busy_wait", h.busy_wait);
  number("wait", h.wait), number("run", h.run), number("lowest", h.lowest), number("highest", h.highest);
  number("version", h.version), number("window", h.window), number("tries", h.tries), number("period", h.period);
  number("max_body", h.max_body);
  if (!wire::detail::all_zero(h.incarnation)) {
    text("incarnation", std::string(h.incarnation.begin(), h.incarnation.end()));
  }
  text("name", h.name), text("socket", h.socket);
  wire::Kinds kinds(h.kinds);
  for (std::string_view k; kinds.next(k);) text("kinds", k);
  text("kind", h.kind), text("language", h.language), text("library", h.library), text("text", h.text);
  for (std::size_t i = 0; i < wire::held_size(h.held); i++) number("held", wire::held_at(h.held, i));
  return out;
}

std::string decode(const std::string &bytes) {
  // A copy that is exactly as long, so that a byte too far is seen.
  const std::unique_ptr<char[]> exact(new char[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), exact.get());
  wire::Head h;
  if (const wire::Mistake m = wire::decode(std::string_view(exact.get(), bytes.size()), h)) {
    return std::string(wire::name(m.fault)) + " " + std::to_string(m.offset);
  }
  std::string again = "before";
  if (wire::append(again, h)) return "not encoded";
  return tell(h) + " " + hex(std::string_view(again).substr(6));
}

void requests() {
  for (std::string verb, rest; std::cin >> verb >> rest;) {
    if (verb == "decode") {
      std::cout << decode(unhex(rest.substr(1))) << "\n";
    } else if (verb == "cut") {
      std::cout << "=" << hex(wire::cut_text(unhex(rest.substr(1)))) << "\n";
    } else if (verb == "delay") {
      const auto n = static_cast<unsigned>(std::stoul(rest));
      std::cout << powerhose::retry_delay({}, n, 0).count() << " " << powerhose::retry_delay({}, n, 1).count() << "\n";
    } else if (verb == "append") {  // a head that cannot be
      wire::Head h;
      h.type = wire::Type::refused;
      h.code = wire::Code::stop;
      const std::string text(std::stoul(rest), 'x');
      h.text = text;
      std::string b = "before";
      const wire::Mistake m = wire::append(b, h);
      std::cout << wire::name(m.fault) << " " << b.size() << "\n";
    }
  }
}

using Random = std::mt19937_64;

std::size_t below(Random &r, std::size_t n) { return static_cast<std::size_t>(r() % n); }

void mutate(std::string &s, Random &r, const std::vector<std::string> &seeds) {
  for (std::size_t times = 1 + below(r, 4); times > 0; times--) {
    const std::size_t at = s.empty() ? 0 : below(r, s.size());
    switch (below(r, 6)) {
      case 0:
        if (!s.empty()) s[at] = static_cast<char>(r());
        break;
      case 1:
        if (!s.empty()) s[at] = static_cast<char>(s[at] ^ (1 << below(r, 8)));
        break;
      case 2:
        s.resize(at);
        break;
      case 3:
        s.insert(at, 1 + below(r, 9), static_cast<char>(below(r, 2) == 0 ? r() : 0xff));
        break;
      case 4:
        s.erase(at, 1 + below(r, 9));
        break;
      default: {
        const std::string &other = seeds[below(r, seeds.size())];
        s += other.substr(other.empty() ? 0 : below(r, other.size()));
      }
    }
  }
}

[[noreturn]] void wrong(const std::string &what, const std::string &bytes) {
  std::cerr << what << ": " << hex(bytes) << "\n";
  std::exit(1);
}

void heads(Random &r, const std::vector<std::string> &seeds) {
  std::string s = seeds[below(r, seeds.size())];
  mutate(s, r, seeds);
  const std::unique_ptr<char[]> exact(new char[s.size()]);
  std::copy(s.begin(), s.end(), exact.get());
  wire::Head h, back;
  if (wire::decode(std::string_view(exact.get(), s.size()), h)) return;
  std::string again;
  if (wire::append(again, h)) wrong("a decoded head is not encoded", s);
  if (again.size() > s.size()) wrong("a head is longer than what was decoded", s);
  if (wire::decode(again, back) || tell(back) != tell(h)) wrong("a head is another after a round", s);
}

void put_frame(std::string &to, std::uint8_t flag, std::string_view bytes) {
  const bool wide = bytes.size() > 255;
  wire::detail::store8(to, static_cast<std::uint8_t>(flag | (wide ? 2 : 0)));
  wire::detail::store(to, bytes.size(), wide ? 8 : 1);
  to += bytes;
}

// links gives a link a handshake and messages, broken somewhere, in pieces.
void links(Random &r, const std::vector<std::string> &seeds) {
  const bool dealer = below(r, 2) == 0;
  std::string s("\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL", 16);
  s.resize(64);
  std::string ready("\x05READY\x0bSocket-Type\0\0\0\x06", 22);
  put_frame(s, 4, ready + (dealer ? "ROUTER" : "DEALER"));
  if (below(r, 4) == 0) put_frame(s, 4, std::string("\x04PING\0\0ctx", 10));
  for (std::size_t n = below(r, 6); n > 0; n--) {
    const std::string &head = seeds[below(r, seeds.size())];
    wire::Head h;
    const bool body = !wire::decode(head, h) && wire::has_body(h.type);
    put_frame(s, body ? 1 : 0, head);
    if (body) put_frame(s, 0, std::string(below(r, 400), 'b'));
  }
  if (below(r, 8) != 0) mutate(s, r, seeds);
  if (below(r, 8) == 0) s += std::string("\0\x02\0\0\0\0\x7f\xff\xff\xff", 10).substr(1);

  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) wrong("socketpair", {});
  Fd far(ends[0]);
  Link link(Fd(ends[1]), dealer ? Link::Role::dealer : Link::Role::router);
  link.set_max_body(INT32_MAX);
  powerhose::Message m;
  for (std::size_t at = 0;;) {
    const std::size_t n = std::min(s.size() - at, 1 + below(r, 200));
    if (n > 0 && ::send(far.get(), s.data() + at, n, MSG_NOSIGNAL) < 0) at = s.size();
    at = std::min(s.size(), at + n);
    if (at == s.size()) ::shutdown(far.get(), SHUT_WR);
    Link::Got got = link.next(m);
    for (; got == Link::Got::message; got = link.next(m)) {
      if (!wire::has_body(m.head.type) && !m.body.empty()) wrong("a body that cannot be", s);
      if (m.body.size() > s.size()) wrong("a body of nothing", s);
      tell(m.head);
    }
    if (got == Link::Got::ended) break;
    if (at == s.size() && got == Link::Got::nothing) wrong("a link that has ended waits", s);
  }
  if (link.end().text.empty()) wrong("a link ends and does not say why", s);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 2) {
    requests();
    return 0;
  }
  if (argc != 4) return 64;
  Random r(std::stoull(argv[2]));
  std::vector<std::string> seeds;
  for (std::string line; std::cin >> line;) seeds.push_back(unhex(line.substr(1)));
  for (std::size_t i = std::stoul(argv[3]); i > 0; i--) heads(r, seeds);
  largest = 0;
  for (std::size_t i = std::stoul(argv[3]) / 10; i > 0; i--) links(r, seeds);
  if (largest > (256 << 10)) wrong("an allocation of " + std::to_string(largest) + " bytes for a length", {});
  return 0;
}
