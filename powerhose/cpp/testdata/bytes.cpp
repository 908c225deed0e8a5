// What the tests ask of heads and links.
//
// usage: bytes          a request a line, an answer a line
//        bytes fuzz SEED ROUNDS    mutates the heads of stdin
//        bytes hostile             what a link with CURVE says of bad peers
//        bytes between SEED ROUNDS changes what two links with CURVE send

#include <cstdlib>
#include <iostream>
#include <memory>
#include <new>
#include <powerhose/curve.hpp>
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
    } else if (verb == "split") {  // an address
      std::string host;
      unsigned port = 0;
      const std::string e = powerhose::detail::split(unhex(rest.substr(1)), host, port);
      std::cout << (e.empty() ? host + " " + std::to_string(port) : e.substr(e.rfind(": "))) << "\n";
    } else if (verb == "z85") {  // a key
      powerhose::curve::Key k{};
      const std::string e = powerhose::curve::decode(unhex(rest.substr(1)), k);
      std::cout << (e.empty() ? powerhose::curve::encode(k) : e) << "\n";
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

namespace curve = powerhose::curve;

curve::Pair pair_of(const curve::Key &secret, const curve::Key &theirs) {
  curve::Pair p;
  p.secret = secret;
  ::crypto_scalarmult_base(p.own.data(), p.secret.data());
  p.theirs = theirs;
  return p;
}

curve::Key random_key() {
  curve::Key k{};
  ::randombytes_buf(k.data(), k.size());
  return k;
}

curve::Key public_of(const curve::Key &secret) { return pair_of(secret, {}).own; }

// A Tap is a link, and the other end of its connection.
struct Tap {
  Fd far;
  Link link;
  std::vector<std::string> got;  // heads and bodies

  Tap(const curve::Pair &keys, bool server, Link::Role role) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) wrong("socketpair", {});
    far = Fd(ends[0]);
    link = Link(Fd(ends[1]), role, std::make_unique<curve::Curve>(keys, server));
    link.set_max_body(1000);
  }

  // take gives what the link has written.
  std::string take() {
    std::string all(64 << 10, '\0');
    const ssize_t n = far ? ::recv(far.get(), all.data(), all.size(), 0) : 0;
    all.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return all;
  }

  void give(const std::string &b) {
    if (far && !b.empty()) static_cast<void>(::send(far.get(), b.data(), b.size(), MSG_NOSIGNAL));
    powerhose::Message m;
    while (link.next(m) == Link::Got::message) {
      if (m.head.type != wire::Type::refused) got.push_back(tell(m.head) + " " + hex(m.body));  // why the other one has ended
    }
  }
};

// A Client speaks to a link as it should, up to a point.
struct Client {
  curve::Curve curve;
  Tap server;

  Client(const curve::Pair &own, const curve::Pair &theirs) : curve(own, false), server(theirs, true, Link::Role::router) {
    server.take();
    std::string s("\xff\0\0\0\0\0\0\0\1\x7f\3\0CURVE", 17);
    s.resize(64);
    server.give(s);
  }

  static std::string framed(const std::string &command) {
    std::string b;
    put_frame(b, 4, command);
    return b;
  }

  // answer takes the server's command.
  std::string answer() {
    const std::string b = server.take();
    if (b.size() < 2) return {};
    return curve.step(std::string_view(b).substr((b[0] & 2) != 0 ? 9 : 2), std::string("\x0bSocket-Type\0\0\0\x06" "DEALER", 22)).answer;
  }

  Client &shake() {
    server.give(framed(curve.begin()));
    server.give(framed(answer()));
    answer();
    if (!server.link.open()) wrong("no handshake: " + server.link.end().text, {});
    return *this;
  }

  std::string box(std::uint8_t flags, const std::string &payload) {
    std::string b, frame;
    curve.seal(b, flags, payload);
    put_frame(frame, 0, b);
    return frame;
  }

  std::string boxes(std::uint8_t f, const std::string &first, std::uint8_t g, const std::string &second) {
    std::string b = box(f, first);
    return b += box(g, second);
  }
};

std::string long_frame(std::uint64_t size) {
  std::string b("\2");
  wire::detail::store(b, size, 8);
  return b;
}

void hostile() {
  const curve::Key a = random_key(), b = random_key(), other = random_key();
  const curve::Pair own = pair_of(a, public_of(b)), theirs = pair_of(b, public_of(a));
  const auto ends = [](const std::string &name, Client &c) {
    std::cout << name << ": " << (c.server.link.ended() ? c.server.link.end().text : "goes on") << "\n";
  };
  using Change = std::function<void(std::string &)>;
  const auto set = [](std::size_t at, const std::string &bytes) -> Change { return [=](std::string &s) { s.replace(at, bytes.size(), bytes); }; };
  const auto cut = [](std::size_t n) -> Change { return [=](std::string &s) { s.resize(s.size() - n); }; };
  const auto add = [](std::size_t n) -> Change { return [=](std::string &s) { s.append(n, 'x'); }; };

  // HELLO: name 6, version 2, 72 zeros, key 32, nonce 8, box.
  const std::vector<std::pair<std::string, Change>> hellos = {
      {"good hello", cut(0)},
      {"short hello", cut(1)},
      {"long hello", add(1)},
      {"version", set(6, "\2")},
      {"weak key", set(80, std::string(32, '\0'))},
      {"nonce 0", set(112, std::string(8, '\0'))},
      {"changed hello", set(199, "?")},
      {"another command", set(0, "\5READY")},
      {"no name", [](std::string &s) { s.clear(); }},
      {"cut name", [](std::string &s) { s = "\x05HEL"; }},
      {"very long", add(2000)},
  };
  for (const auto &[name, change] : hellos) {
    Client c(own, theirs);
    std::string hello = c.curve.begin();
    change(hello);
    c.server.give(Client::framed(hello));
    ends(name, c);
  }
  // INITIATE: name 9, cookie 96, nonce 8, box.
  const std::vector<std::pair<std::string, Change>> initiates = {
      {"good initiate", cut(0)},
      {"cookie", set(9, std::string(96, 'c'))},
      {"old nonce", set(105, std::string("\0\0\0\0\0\0\0\1", 8))},
      {"changed initiate", set(113, "?")},
      {"short initiate", cut(40)},
      {"long initiate", add(600)},
      {"another command for initiate", set(0, "\x08MITIATE")},
  };
  for (const auto &[name, change] : initiates) {
    Client c(own, theirs);
    c.server.give(Client::framed(c.curve.begin()));
    std::string initiate = c.answer();
    change(initiate);
    c.server.give(Client::framed(initiate));
    ends(name, c);
  }
  {  // somebody else
    Client c(pair_of(other, public_of(b)), theirs);
    c.server.give(Client::framed(c.curve.begin()));
    c.server.give(Client::framed(c.answer()));
    std::string text = c.server.link.end().text, key = curve::encode(public_of(other));
    if (text.find(key) != std::string::npos) text.replace(text.find(key), key.size(), "KEY");
    const std::string told = c.server.take();
    std::cout << "stranger: " << text << "; told " << (told.find("is not that of the master") != std::string::npos) << "\n";
  }
  {  // a key that is only said
    curve::Pair said = pair_of(other, public_of(b));
    said.own = public_of(a);
    Client c(said, theirs);
    c.server.give(Client::framed(c.curve.begin()));
    c.server.give(Client::framed(c.answer()));
    ends("said", c);
  }
  {  // another server
    Client c(pair_of(a, public_of(other)), theirs);
    c.server.give(Client::framed(c.curve.begin()));
    ends("another server", c);
  }
  const std::string head = [] {
    wire::Head h;
    h.type = wire::Type::result;
    h.number = h.run = 1;
    std::string s;
    static_cast<void>(wire::append(s, h));
    return s;
  }();
  using Send = std::function<std::string(Client &)>;
  const std::vector<std::pair<std::string, Send>> boxes = {
      {"message", [&](Client &c) { return c.boxes(1, head, 0, "body"); }},
      {"ping", [](Client &c) { return c.box(2, std::string("\x04PING\0\0ctx", 10)); }},
      {"unknown command", [](Client &c) { return c.box(2, "\x05OTHER"); }},
      {"no message", [](Client &) { return std::string("\0\x64", 2) + std::string(100, 'x'); }},
      {"short", [](Client &) { return std::string("\0\1x", 3); }},
      {"empty", [](Client &) { return std::string("\0\0", 2); }},
      {"command outside", [](Client &) { return std::string("\4\7\4PING\0\0", 9); }},
      {"reserved", [](Client &) { return std::string("\x08\0", 2); }},
      {"2^62", [](Client &) { return long_frame(1ULL << 62); }},
      {"long head", [](Client &) { return long_frame(1024 + 34); }},
      {"long body", [&](Client &c) { return c.box(1, head) + long_frame(1000 + 34); }},
      {"long command", [](Client &c) { return c.box(2, "\5OTHER" + std::string(600, 'x')); }},
      {"three frames", [&](Client &c) { return c.boxes(1, head, 1, "b"); }},
      {"command inside", [&](Client &c) { return c.boxes(1, head, 2, std::string("\4PING\0\0", 7)); }},
      {"more command", [](Client &c) { return c.box(3, "x"); }},
      {"flags", [](Client &c) { return c.box(4, "x"); }},
      {"twice", [](Client &c) { const std::string one = c.box(2, "\5OTHER"); return one + one; }},
      {"a gap", [](Client &c) { c.box(0, "lost"); return c.box(2, "\5OTHER"); }},
      {"out of order", [](Client &c) { const std::string one = c.box(2, "\5OTHER"); return c.box(2, "\5OTHER") + one; }},
      {"changed", [](Client &c) { std::string one = c.box(2, "\5OTHER"); one.back() = static_cast<char>(one.back() ^ 1); return one; }},
  };
  for (const auto &[name, send] : boxes) {
    Client c(own, theirs);
    c.shake();
    c.server.give(send(c));
    ends(name + (c.server.got.empty() ? "" : " (" + c.server.got[0] + ")"), c);
  }
  {  // what the server has said, sent back to it
    Client c(own, theirs);
    c.shake();
    wire::Head h;
    h.type = wire::Type::ping;
    h.number = 1;
    for (int i = 0; i < 4; i++) {
      c.server.take();
      c.server.link.send(h);
    }
    c.server.give(c.server.take());
    ends("sent back", c);
  }
  largest = 0;
  Client c(own, theirs);
  c.shake();
  c.server.link.set_max_body(INT32_MAX);
  c.server.give(c.box(1, head) + long_frame(1 << 30) + std::string(1000, 'x'));
  ends("a length alone", c);
  if (largest > (256 << 10)) wrong("an allocation of " + std::to_string(largest) + " bytes for a length", {});
}

// between has two links with CURVE talk through somebody who changes something.
// Whatever that is, what one receives is what the other has sent, or less.
void between(Random &r) {
  const curve::Key a = random_key(), b = random_key();
  const bool turned = below(r, 2) == 0;  // who dials is not who is the server
  Tap one(pair_of(a, public_of(b)), false, turned ? Link::Role::router : Link::Role::dealer);
  Tap two(pair_of(b, public_of(a)), true, turned ? Link::Role::dealer : Link::Role::router);
  const bool change = below(r, 8) != 0;
  std::size_t until = below(r, 1400);  // bytes that are left alone
  std::array<std::vector<std::string>, 2> sent;
  std::size_t messages = 0;
  bool changed = false;
  for (int idle = 0; idle < 3;) {
    bool moved = false;
    for (int side = 0; side < 2; side++) {
      Tap &from = side == 0 ? one : two, &to = side == 0 ? two : one;
      if (from.link.open() && messages < 8) {
        messages++;
        wire::Head h;
        h.type = below(r, 2) == 0 ? wire::Type::result : wire::Type::ping;
        h.number = messages;
        if (h.type == wire::Type::result) h.run = 1;
        const std::string body(h.type == wire::Type::result ? below(r, 600) : 0, 'b');
        sent[static_cast<std::size_t>(side)].push_back(tell(h) + " " + hex(body));
        from.link.send(h, body);
      }
      from.link.flush();
      std::string s = from.take();
      if (s.empty()) continue;
      moved = true;
      if (change && !changed && s.size() > until) {
        changed = true;
        const std::string before = s;
        switch (below(r, 4)) {
          case 0:
            s[until] = static_cast<char>(s[until] ^ (1 << below(r, 8)));
            break;
          case 1:
            s.erase(until, 1 + below(r, 300));
            break;
          case 2:
            s.insert(until, 1 + below(r, 40), static_cast<char>(r()));
            break;
          default:
            s += s;  // once more
        }
      } else {
        until -= std::min(until, s.size());
      }
      to.give(s);
    }
    idle = moved ? 0 : idle + 1;
  }
  const auto begins = [](const std::vector<std::string> &all, const std::vector<std::string> &some) {
    return some.size() <= all.size() && std::equal(some.begin(), some.end(), all.begin());
  };
  if (!begins(sent[0], two.got) || !begins(sent[1], one.got)) wrong("something was received that was not sent", {});
  if (!changed && (two.got != sent[0] || one.got != sent[1] || messages != 8)) wrong("something was lost: " + one.link.end().text + two.link.end().text, {});
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 2) {
    requests();
    return 0;
  }
  if (std::string_view(argv[1]) == "hostile") {
    hostile();
    return 0;
  }
  if (argc != 4) return 64;
  Random r(std::stoull(argv[2]));
  if (std::string_view(argv[1]) == "between") {
    for (std::size_t i = std::stoul(argv[3]); i > 0; i--) between(r);
    return 0;
  }
  std::vector<std::string> seeds;
  for (std::string line; std::cin >> line;) seeds.push_back(unhex(line.substr(1)));
  for (std::size_t i = std::stoul(argv[3]); i > 0; i--) heads(r, seeds);
  largest = 0;
  for (std::size_t i = std::stoul(argv[3]) / 10; i > 0; i--) links(r, seeds);
  if (largest > (256 << 10)) wrong("an allocation of " + std::to_string(largest) + " bytes for a length", {});
  return 0;
}
