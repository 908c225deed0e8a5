// CURVE (RFC 26) for links over TCP, on libsodium. A program that includes this
// header links libsodium, and its workers may have a master at tcp://HOST:PORT.

#ifndef POWERHOSE_CURVE_HPP
#define POWERHOSE_CURVE_HPP

#include <sodium.h>

#include "powerhose/worker.hpp"

namespace powerhose::curve {

using Key = std::array<unsigned char, 32>;

namespace detail {

constexpr std::string_view digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

inline std::string_view view(const Key &k) { return {reinterpret_cast<const char *>(k.data()), k.size()}; }

inline const unsigned char *bytes(std::string_view b) { return reinterpret_cast<const unsigned char *>(b.data()); }
inline unsigned char *bytes(std::string &b, std::size_t at) { return reinterpret_cast<unsigned char *>(b.data() + at); }

inline Key key_of(std::string_view b) {
  Key k{};
  std::memcpy(k.data(), b.data(), k.size());
  return k;
}

inline std::string random(std::size_t size) {
  std::string b(size, '\0');
  ::randombytes_buf(b.data(), b.size());
  return b;
}

// nonce makes the 24 bytes of one: a prefix, and what was not there before.
inline std::string nonce(std::string_view prefix, std::uint64_t number) {
  std::string n(prefix);
  wire::detail::store(n, number, 8);
  return n;
}
inline std::string nonce(std::string_view prefix, std::string_view random) { return std::string(prefix).append(random); }

// shared makes the key that two pairs have in common. It returns false for a
// public key with which everybody would have it.
inline bool shared(Key &to, const Key &theirs, const Key &own) { return ::crypto_box_beforenm(to.data(), theirs.data(), own.data()) == 0; }

constexpr std::size_t mac = crypto_secretbox_MACBYTES;

// seal appends the box of what stands in to from byte at on, in its place.
inline void seal(std::string &to, std::size_t at, std::string_view nonce, const Key &key) {
  const std::size_t size = to.size() - at;
  to.resize(to.size() + mac);
  ::crypto_secretbox_easy(bytes(to, at), bytes(to, at), size, bytes(nonce), key.data());
}

inline std::string box(std::string_view plain, std::string_view nonce, const Key &key) {
  std::string b(plain);
  seal(b, 0, nonce, key);
  return b;
}

inline bool unbox(std::string &plain, std::string_view box, std::string_view nonce, const Key &key) {
  if (box.size() < mac) return false;
  plain.resize(box.size() - mac);
  return ::crypto_secretbox_open_easy(bytes(plain, 0), bytes(box), box.size(), bytes(nonce), key.data()) == 0;
}

}  // namespace detail

// encode writes a key in Z85 (RFC 32): 40 characters.
inline std::string encode(const Key &k) {
  std::string out;
  for (std::size_t i = 0; i < k.size(); i += 4) {
    std::uint64_t v = wire::detail::load(detail::view(k), i, 4);
    std::array<char, 5> five{};
    for (std::size_t j = five.size(); j-- > 0; v /= 85) five[j] = detail::digits[v % 85];
    out.append(five.data(), five.size());
  }
  return out;
}

// decode reads one. It returns what is wrong, without what stands there, or
// nothing.
inline std::string decode(std::string_view text, Key &k) {
  if (text.size() != 40) return std::to_string(text.size()) + " characters; a key has 40";
  for (std::size_t i = 0; i < k.size(); i += 4) {
    std::uint64_t v = 0;
    for (const char c : text.substr(i / 4 * 5, 5)) {
      const std::size_t digit = detail::digits.find(c);
      if (digit == std::string_view::npos) return "a character that Z85 does not have";
      v = v * 85 + digit;
    }
    if (v > UINT32_MAX) return "five characters that are more than 32 bits";
    for (std::size_t j = 0; j < 4; j++) k[i + j] = static_cast<unsigned char>(v >> (24 - 8 * j));
  }
  return ::sodium_is_zero(k.data(), k.size()) == 1 ? "a key of zeros" : "";
}

// A Pair is what one side knows: its own keys, and the public one of the other
// side.
struct Pair {
  Key secret{}, own{}, theirs{};

  Pair() = default;
  Pair(const Pair &) = default;
  Pair &operator=(const Pair &) = default;
  ~Pair() { ::sodium_memzero(secret.data(), secret.size()); }
};

// A Curve is one side of one link. As a server it admits the other side's key
// alone, as a client it knows its server by that key. Which it is does not
// depend on who has dialled.
class Curve final : public Mechanism {
 public:
  Curve(const Pair &keys, bool server) : keys_(keys), server_(server), awaited_(server ? "HELLO" : "WELCOME") {
    // From the kernel, which is good in a child that was forked, too.
    ::randombytes_buf(secret_.data(), secret_.size());
    ::crypto_scalarmult_base(own_.data(), secret_.data());
    cookie_ = detail::random(cookie_size);
  }
  ~Curve() override {
    ::sodium_memzero(secret_.data(), secret_.size());
    ::sodium_memzero(key_.data(), key_.size());
  }

  std::string_view name() const override { return "CURVE"; }
  bool server() const override { return server_; }

  std::size_t most() const override {
    std::size_t body = 0;
    if (awaited_ == "HELLO") body = hello_size;
    if (awaited_ == "WELCOME") body = welcome_size;
    if (awaited_ == "INITIATE") body = initiate_size + max_metadata;
    if (awaited_ == "READY") body = ready_size + max_metadata;
    return 1 + awaited_.size() + std::max<std::size_t>(body, 256);  // an ERROR always fits
  }

  std::string begin() override {
    Key first;
    if (server_ || !detail::shared(first, keys_.theirs, secret_)) return {};
    std::string c("\x05HELLO\1\0", 8);
    c.append(72, '\0');
    c += detail::view(own_);
    wire::detail::store(c, ++sent_, 8);
    c += detail::box(std::string(64, '\0'), detail::nonce("CurveZMQHELLO---", sent_), first);
    return c;
  }

  Step step(std::string_view command, std::string_view metadata) override {
    Step s;
    const std::size_t size = command.empty() ? 0 : wire::detail::byte(command, 0);
    if (awaited_.empty() || command.substr(std::min<std::size_t>(command.size(), 1), size) != awaited_) {
      s.error = "a command came where " + std::string(awaited_) + " has to come";
      return s;
    }
    const std::string_view body = command.substr(1 + size);
    if (awaited_ == "HELLO") {
      s.error = hello(body, s);
    } else if (awaited_ == "WELCOME") {
      s.error = welcome(body, metadata, s);
    } else if (awaited_ == "INITIATE") {
      s.error = initiate(body, metadata, s);
    } else {
      s.error = ready(body, s);
    }
    if (!s.error.empty()) awaited_ = {};
    return s;
  }

  std::size_t boxed() const override { return message.size() + 8 + detail::mac + 1; }

  void seal(std::string &to, std::uint8_t flags, std::string_view payload) override {
    to.reserve(to.size() + boxed() + payload.size());
    to += message;
    wire::detail::store(to, ++sent_, 8);
    const std::size_t at = to.size();
    wire::detail::store8(to, flags);
    to += payload;
    detail::seal(to, at, detail::nonce(server_ ? from_server : from_client, sent_), key_);
  }

  std::string open(std::string &box, std::uint8_t &flags) override {
    const std::string_view b = box;
    if (b.size() < boxed() || b.substr(0, message.size()) != message) return "a frame is no MESSAGE of CURVE";
    if (std::string e = rise(wire::detail::load(b, 8, 8)); !e.empty()) return e;
    unsigned char *at = detail::bytes(box, 16);
    const std::string n = detail::nonce(server_ ? from_client : from_server, received_);
    if (::crypto_secretbox_open_easy(at, at, box.size() - 16, detail::bytes(n), key_.data()) != 0) return shut;
    flags = *at;
    box.resize(box.size() - detail::mac);
    box.erase(0, 17);
    return {};
  }

 private:
  static constexpr std::string_view message{"\x07MESSAGE", 8};
  static constexpr std::string_view from_client = "CurveZMQMESSAGEC", from_server = "CurveZMQMESSAGES";
  static constexpr const char *shut = "a box does not open: another key, or somebody between";
  static constexpr const char *weak = "a public key with which nothing is secret";

  // Sizes of the commands' bodies: all of a HELLO and a WELCOME, what an INITIATE
  // and a READY have besides their metadata.
  static constexpr std::size_t cookie_size = 96, max_metadata = 512;
  static constexpr std::size_t hello_size = 2 + 72 + 32 + 8 + 64 + detail::mac;
  static constexpr std::size_t welcome_size = 16 + 32 + cookie_size + detail::mac;
  static constexpr std::size_t vouch_size = 64 + detail::mac;
  static constexpr std::size_t initiate_size = cookie_size + 8 + detail::mac + 32 + 16 + vouch_size;
  static constexpr std::size_t ready_size = 8 + detail::mac;

  static std::string sized(const char *name, std::string_view b, std::size_t least, std::size_t most) {
    if (b.size() >= least && b.size() <= most) return {};
    return std::string(name) + " of " + std::to_string(b.size()) + " bytes";
  }

  // rise takes a nonce of the peer, which has to be higher than all before.
  std::string rise(std::uint64_t n) {
    if (n <= received_) return "nonce " + std::to_string(n) + " after " + std::to_string(received_) + ": something is sent again";
    received_ = n;
    return {};
  }

  std::string hello(std::string_view b, Step &s) {
    if (std::string e = sized("HELLO", b, hello_size, hello_size); !e.empty()) return e;
    if (b[0] != 1 || b[1] != 0) return "another version of CURVE than 1.0";
    theirs_ = detail::key_of(b.substr(74));
    if (std::string e = rise(wire::detail::load(b, 106, 8)); !e.empty()) return e;
    Key first;
    if (!detail::shared(first, theirs_, keys_.secret)) return weak;
    std::string zeros;
    if (!detail::unbox(zeros, b.substr(114), detail::nonce("CurveZMQHELLO---", received_), first)) return shut;
    if (zeros != std::string(64, '\0')) return "a HELLO with something in its box";
    if (!detail::shared(key_, theirs_, secret_)) return weak;
    const std::string random = detail::random(16);
    s.answer = "\x07WELCOME" + random;
    s.answer += detail::box(std::string(detail::view(own_)) + cookie_, detail::nonce("WELCOME-", random), first);
    awaited_ = "INITIATE";
    return {};
  }

  std::string welcome(std::string_view b, std::string_view metadata, Step &s) {
    if (std::string e = sized("WELCOME", b, welcome_size, welcome_size); !e.empty()) return e;
    Key first, vouching;
    if (!detail::shared(first, keys_.theirs, secret_)) return weak;
    std::string plain;
    if (!detail::unbox(plain, b.substr(16), detail::nonce("WELCOME-", b.substr(0, 16)), first)) return shut;
    theirs_ = detail::key_of(plain);
    if (!detail::shared(key_, theirs_, secret_) || !detail::shared(vouching, theirs_, keys_.secret)) return weak;
    const std::string random = detail::random(16);
    std::string inner = std::string(detail::view(keys_.own)) + random;
    inner += detail::box(std::string(detail::view(own_)).append(detail::view(keys_.theirs)), detail::nonce("VOUCH---", random), vouching);
    inner += metadata;
    s.answer = "\x08INITIATE" + plain.substr(32);
    wire::detail::store(s.answer, ++sent_, 8);
    s.answer += detail::box(inner, detail::nonce("CurveZMQINITIATE", sent_), key_);
    awaited_ = "READY";
    return {};
  }

  std::string initiate(std::string_view b, std::string_view metadata, Step &s) {
    if (std::string e = sized("INITIATE", b, initiate_size, initiate_size + max_metadata); !e.empty()) return e;
    if (::sodium_memcmp(b.data(), cookie_.data(), cookie_size) != 0) return "a cookie that is not ours";
    if (std::string e = rise(wire::detail::load(b, cookie_size, 8)); !e.empty()) return e;
    std::string plain, vouched;
    if (!detail::unbox(plain, b.substr(cookie_size + 8), detail::nonce("CurveZMQINITIATE", received_), key_)) return shut;
    const std::string_view p = plain;
    const Key client = detail::key_of(p);
    Key vouching;
    if (!detail::shared(vouching, client, secret_)) return weak;
    if (!detail::unbox(vouched, p.substr(48, vouch_size), detail::nonce("VOUCH---", p.substr(32, 16)), vouching)) return shut;
    if (vouched != std::string(detail::view(theirs_)).append(detail::view(keys_.own))) return "a vouch for other keys";
    if (::sodium_memcmp(client.data(), keys_.theirs.data(), client.size()) != 0) {
      s.tell = true;
      return "client key " + encode(client) + " is not that of the master";
    }
    s.done = true;
    s.metadata = p.substr(48 + vouch_size);
    s.answer = "\x05READY";
    wire::detail::store(s.answer, ++sent_, 8);
    s.answer += detail::box(metadata, detail::nonce("CurveZMQREADY---", sent_), key_);
    awaited_ = {};
    return {};
  }

  std::string ready(std::string_view b, Step &s) {
    if (std::string e = sized("READY", b, ready_size, ready_size + max_metadata); !e.empty()) return e;
    if (std::string e = rise(wire::detail::load(b, 0, 8)); !e.empty()) return e;
    if (!detail::unbox(s.metadata, b.substr(8), detail::nonce("CurveZMQREADY---", received_), key_)) return shut;
    s.done = true;
    awaited_ = {};
    return {};
  }

  const Pair keys_;
  const bool server_;
  std::string_view awaited_;  // the command that has to come
  Key secret_{}, own_{};      // of this link
  Key theirs_{};              // of this link
  Key key_{};                 // that both have in common
  std::string cookie_;
  std::uint64_t sent_ = 0, received_ = 0;
};

namespace detail {

// read_file reads a file of keys, which only its owner writes; one of a secret key
// nobody else reads. It returns an error text, or nothing.
inline std::string read_file(const std::string &path, mode_t forbidden, const char *others, std::string &text) {
  const std::string file = "key file " + path + ": ";
  // It does not wait for the writer of a pipe.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat st{};
  if (!fd || ::fstat(fd.get(), &st) != 0) return file + powerhose::detail::error_text(errno);
  if (!S_ISREG(st.st_mode)) return file + "is no regular file";
  if (st.st_uid != 0 && st.st_uid != ::geteuid()) {
    return file + "belongs to user " + std::to_string(st.st_uid) + "; chown " + std::to_string(::geteuid()) + " " + path;
  }
  const mode_t mode = st.st_mode & 07777;
  if ((mode & forbidden) != 0) {
    std::array<char, 64> what{};
    std::snprintf(what.data(), what.size(), "has mode %04o, others can %s it; chmod %o ", mode, others, mode & ~forbidden);
    return file + what.data() + path;
  }
  text.resize(64 << 10);
  const ssize_t n = ::read(fd.get(), text.data(), text.size());
  if (n < 0) return file + powerhose::detail::error_text(errno);
  text.resize(static_cast<std::size_t>(n));
  return {};
}

inline std::string_view trim(std::string_view s) {
  constexpr std::string_view blank = " \t\r\n";
  const std::size_t from = std::min(s.size(), s.find_first_not_of(blank));
  s.remove_prefix(from);
  return s.substr(0, s.find_last_not_of(blank) + 1);
}

// How the files of appbundle powerhose keygen begin: the keys in them look alike.
constexpr std::string_view secret_mark = "# appbundle secret key";
constexpr std::string_view public_mark = "# appbundle public key";

inline bool starts_with(std::string_view s, std::string_view with) { return s.substr(0, with.size()) == with; }

// secret_key reads the secret key of a file; there may be lines of comment.
inline std::string secret_key(const std::string &path, Key &key) {
  const std::string file = "key file " + path + ": ";
  constexpr std::string_view suffix = ".pub";
  if (path.size() >= suffix.size() && path.substr(path.size() - suffix.size()) == suffix) {
    return file + "that is the name of a public key; give the file of the secret one, as " + path.substr(0, path.size() - suffix.size());
  }
  std::string text;
  if (std::string e = read_file(path, 077, "read", text); !e.empty()) return e;
  std::string_view left = trim(text);
  bool marked = false;
  // Z85 has a #, but it is too high a digit to be the first of five.
  while (!left.empty() && left.front() == '#') {
    marked = marked || starts_with(left, public_mark);
    left = trim(left.substr(std::min(left.size(), left.find('\n'))));
  }
  const std::string e = decode(left, key);
  ::sodium_memzero(text.data(), text.size());
  if (marked) return file + "it says that it has a public key; give the file of the secret one";
  return e.empty() ? "" : file + e + "; a secret key is 40 characters of Z85 and a newline";
}

// public_key reads the one public key of a file; there may be comments and blank
// lines.
inline std::string public_key(const std::string &path, Key &key) {
  std::string text;
  if (std::string e = read_file(path, 022, "write", text); !e.empty()) return e;
  bool found = false;
  unsigned number = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.size(), rest.find('\n'));
    const std::string_view line = trim(rest.substr(0, end));
    rest.remove_prefix(std::min(rest.size(), end + 1));
    number++;
    const std::string at = "key file " + path + ":" + std::to_string(number) + ": ";
    if (starts_with(line, secret_mark)) return at + "it says that it has a secret key; give the file of the public key of the master";
    if (line.empty() || line.front() == '#') continue;
    const std::size_t blank = std::min(line.size(), line.find_first_of(" \t"));
    const std::string_view comment = trim(line.substr(blank));
    if (!comment.empty() && comment.front() != '#') return at + "something behind the key; one key a line, and # before a comment";
    if (found) return at + "a second key; a master has one";
    if (std::string e = decode(line.substr(0, blank), key); !e.empty()) return at + e + "; a public key is 40 characters of Z85";
    found = true;
  }
  return found ? "" : "key file " + path + ": no key; it is to have the public key of the master";
}

class FileKeys final : public Keys {
 public:
  std::unique_ptr<Mechanism> mechanism(bool server) const override { return std::make_unique<Curve>(pair, server); }

  static std::string read(const std::string &key, const std::string &master_key, std::unique_ptr<Keys> &keys) {
    if (::sodium_init() < 0) return "libsodium does not start";
    auto k = std::make_unique<FileKeys>();
    if (std::string wrong = secret_key(key, k->pair.secret); !wrong.empty()) return wrong;
    ::crypto_scalarmult_base(k->pair.own.data(), k->pair.secret.data());
    if (std::string wrong = public_key(master_key, k->pair.theirs); !wrong.empty()) return wrong;
    if (k->pair.theirs == k->pair.secret) return "key file " + master_key + ": the own secret key; it is to have the public key of the master";
    keys = std::move(k);
    return {};
  }

  Pair pair;
};

// Workers find it by this: no other header knows of libsodium.
[[maybe_unused]] static const bool included = (powerhose::detail::read_keys = &FileKeys::read, true);

}  // namespace detail

}  // namespace powerhose::curve

#endif
