// Heads of the powerhose protocol, version 1: what is in the first frame of
// every message. docs/POWERHOSE.md is the specification.
//
// A head has one encoding: append() writes it, and decode() refuses every
// other, except for options that it does not know and that may be ignored.
// Nothing is allocated by decode(); a decoded head refers to what was decoded.
// Nothing here throws, but for std::bad_alloc of append() and cut_text().

#ifndef POWERHOSE_WIRE_HPP
#define POWERHOSE_WIRE_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace powerhose::wire {

constexpr std::uint8_t version = 1;
constexpr std::size_t max_head = 1024;  // bytes, the whole of it
constexpr std::size_t max_window = 16;  // jobs that a worker may hold
constexpr std::size_t max_kinds = 16;   // of one worker
constexpr std::size_t max_text = 512;   // bytes

enum class Type : std::uint8_t {
  none,
  hello,
  welcome,
  refused,
  ping,
  pong,
  job,
  progress,
  result,
  error,
  returned,
  cancel,
  drain,
  bye,
  call,
  reply,
};

constexpr std::size_t num_types = 16;

enum class Code : std::uint16_t {
  ok = 0,
  application = 1,
  rejected = 2,
  cancelled = 3,
  expired = 4,
  panic = 5,
  busy = 16,
  no_worker = 17,
  queue_full = 18,
  timeout = 19,
  lost = 20,
  draining = 21,
  too_big = 22,
  bad_version = 32,
  name_taken = 33,
  bad_socket = 34,
  bad_credentials = 35,
  too_many = 36,
  malformed = 37,
  too_fast = 38,
  broken = 39,
  too_slow = 40,
  silent = 41,
  overdue = 42,
  replaced = 43,
  stop = 48,
  max_jobs = 49,
  max_age = 50,
  max_rss = 51,
};

constexpr std::uint8_t flag_repeatable = 1;
constexpr std::uint8_t flag_progress = 2;
constexpr std::uint8_t flag_urgent = 4;  // CALL only

// A Fault is a way in which bytes are no head.
enum class Fault : std::uint8_t {
  none,
  too_long,
  too_short,
  magic,
  head_version,
  type,
  number,
  value,
  tag,
  order,
  length,
  option,
  missing,
};

// name gives a fault as the test vectors have it.
inline const char *name(Fault f) {
  constexpr std::array<const char *, 13> names = {"none",  "too-long", "too-short", "magic", "version", "type",  "number",
                                                  "value", "tag",      "order",     "length", "option", "missing"};
  return names[static_cast<std::size_t>(f)];
}

// name gives a type as the specification has it.
inline const char *name(Type t) {
  constexpr std::array<const char *, num_types> names = {
      "unknown", "HELLO", "WELCOME", "REFUSED",  "PING",   "PONG",  "JOB", "PROGRESS",
      "RESULT",  "ERROR", "RETURNED", "CANCEL", "DRAIN", "BYE", "CALL", "REPLY"};
  return names[static_cast<std::size_t>(t) < num_types ? static_cast<std::size_t>(t) : 0];
}

// A Head is the head of any message. Which fields a type has is in the
// specification; append() ignores the others, and decode() sets them to zero.
struct Head {
  Type type = Type::none;
  std::uint64_t number = 0;

  Code code = Code::ok;
  std::uint32_t pid = 0;
  std::uint8_t attempt = 0;
  std::uint8_t flags = 0;
  std::uint32_t left = 0;       // ms to the deadline
  std::uint32_t busy_wait = 0;  // ms
  std::uint32_t wait = 0;       // us
  std::uint32_t run = 0;        // us; PONG: ms
  std::uint8_t lowest = 0, highest = 0, version = 0, window = 0, tries = 0;
  std::uint32_t period = 0;  // ms
  std::uint64_t max_body = 0;
  std::array<unsigned char, 16> incarnation{};

  std::string_view name, socket, kind, language, library, text;
  std::string_view kinds;  // of a HELLO: options one after another, see Kinds
  std::string_view held;   // job numbers of eight bytes each, see held_at()
};

// A Mistake says what is wrong with a head, and where.
struct Mistake {
  Fault fault = Fault::none;
  Type type = Type::none;  // none if it was not reached
  std::size_t offset = 0;  // of the byte at which it was seen

  explicit operator bool() const { return fault != Fault::none; }

  // text is one sentence, for people.
  std::string text() const {
    std::string s = type == Type::none ? "head" : std::string(wire::name(type)) + " head";
    return s + " is malformed: " + wire::name(fault) + " at byte " + std::to_string(offset);
  }
};

namespace detail {

constexpr std::uint8_t tag_name = 1, tag_socket = 2, tag_kind = 3, tag_language = 4, tag_library = 5, tag_text = 6,
                       tag_held = 7, num_tags = 8, tag_critical = 128;
constexpr std::size_t head_size = 12, option_head = 3;

enum class Number : std::uint8_t { zero, some, any };

struct Shape {
  std::uint8_t fixed;  // bytes of the fixed part
  Number number;
  bool body;
  std::uint8_t tags;  // bit set
};

constexpr std::uint8_t bit(std::uint8_t tag) { return static_cast<std::uint8_t>(1U << tag); }

inline const Shape &shape(Type t) {
  constexpr std::uint8_t text = bit(tag_text), kind = bit(tag_kind);
  static constexpr std::array<Shape, num_types> shapes = {{
      {0, Number::any, false, 0},
      {23, Number::zero, false, 0x3e | bit(tag_held)},  // HELLO: all but text
      {31, Number::zero, false, 0},                     // WELCOME
      {2, Number::zero, false, text},                   // REFUSED
      {0, Number::some, false, 0},                      // PING
      {4, Number::any, false, bit(tag_held)},           // PONG
      {6, Number::some, true, kind},                    // JOB
      {0, Number::some, true, 0},                       // PROGRESS
      {4, Number::some, true, 0},                       // RESULT
      {6, Number::some, true, text},                    // ERROR
      {0, Number::some, false, 0},                      // RETURNED
      {0, Number::some, false, 0},                      // CANCEL
      {2, Number::zero, false, text},                   // DRAIN
      {2, Number::zero, false, text},                   // BYE
      {9, Number::some, true, kind},                    // CALL
      {15, Number::some, true, static_cast<std::uint8_t>(bit(tag_name) | text)},  // REPLY
  }};
  return shapes[static_cast<std::size_t>(t)];
}

struct Limits {
  std::size_t least, most;
};

inline Limits limits(std::uint8_t tag) {
  constexpr std::array<Limits, num_tags> all = {
      {{0, 0}, {1, 64}, {1, 255}, {1, 32}, {1, 16}, {1, 32}, {1, max_text}, {8, 8 * max_window}}};
  return all[tag];
}

inline std::uint8_t byte(std::string_view b, std::size_t at) { return static_cast<std::uint8_t>(b[at]); }

inline std::uint64_t load(std::string_view b, std::size_t at, std::size_t size) {
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < size; i++) v = v << 8 | byte(b, at + i);
  return v;
}

inline std::uint16_t load16(std::string_view b, std::size_t at) { return static_cast<std::uint16_t>(load(b, at, 2)); }
inline std::uint32_t load32(std::string_view b, std::size_t at) { return static_cast<std::uint32_t>(load(b, at, 4)); }
inline std::uint64_t load64(std::string_view b, std::size_t at) { return load(b, at, 8); }

inline void store(std::string &b, std::uint64_t v, std::size_t size) {
  for (std::size_t i = size; i > 0; i--) b.push_back(static_cast<char>(v >> (8 * (i - 1)) & 0xff));
}

inline void store8(std::string &b, std::uint8_t v) { store(b, v, 1); }

// option writes an option, unless it is empty. A length that does not fit is
// written as one that no reader accepts.
inline void option(std::string &b, std::uint8_t tag, std::string_view value) {
  if (value.empty()) return;
  store8(b, tag);
  store(b, std::min(value.size(), max_head + 1), 2);
  b.append(value);
}

// rune is the length of the UTF-8 sequence at the start of b, or 0 if there is
// none: neither overlong forms nor surrogates are UTF-8.
inline std::size_t rune(std::string_view b) {
  const std::uint8_t c = byte(b, 0);
  if (c < 0x80) return 1;
  std::size_t size = 0;
  std::uint8_t low = 0x80, high = 0xbf;
  if (c >= 0xc2 && c <= 0xdf) {
    size = 2;
  } else if (c >= 0xe0 && c <= 0xef) {
    size = 3;
    if (c == 0xe0) low = 0xa0;
    if (c == 0xed) high = 0x9f;
  } else if (c >= 0xf0 && c <= 0xf4) {
    size = 4;
    if (c == 0xf0) low = 0x90;
    if (c == 0xf4) high = 0x8f;
  } else {
    return 0;
  }
  if (b.size() < size || byte(b, 1) < low || byte(b, 1) > high) return 0;
  for (std::size_t i = 2; i < size; i++) {
    if ((byte(b, i) & 0xc0) != 0x80) return 0;
  }
  return size;
}

inline bool valid_text(std::string_view b) {
  while (!b.empty()) {
    const std::size_t n = rune(b);
    if (n == 0) return false;
    b.remove_prefix(n);
  }
  return true;
}

// word reports whether a name has only characters that need no quoting
// anywhere.
inline bool word(std::string_view b) {
  return std::all_of(b.begin(), b.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '+' || c == '-';
  });
}

inline bool valid(std::uint8_t tag, std::string_view value) {
  switch (tag) {
    case tag_socket:
      return value.find('\0') == std::string_view::npos;
    case tag_text:
      return valid_text(value);
    case tag_held:
      for (std::size_t at = 0; at + 8 <= value.size(); at += 8) {
        if (load64(value, at) == 0) return false;
      }
      return value.size() % 8 == 0;
    default:
      return word(value);
  }
}

inline bool all_zero(const std::array<unsigned char, 16> &a) {
  return std::all_of(a.begin(), a.end(), [](unsigned char c) { return c == 0; });
}

// fixed reads the fixed part. It returns the offset of a field that is out of
// range, or 0.
inline std::size_t fixed(std::string_view b, Head &h) {
  const auto incarnation = [&](std::size_t at) {
    for (std::size_t i = 0; i < h.incarnation.size(); i++) h.incarnation[i] = byte(b, at + i);
    return !all_zero(h.incarnation);
  };
  switch (h.type) {
    case Type::hello:
      h.pid = load32(b, 12);
      h.lowest = byte(b, 32), h.highest = byte(b, 33), h.window = byte(b, 34);
      if (!incarnation(16)) return 16;
      if (h.lowest == 0 || h.lowest > h.highest) return 32;
      if (h.window > max_window) return 34;
      break;
    case Type::welcome:
      h.version = byte(b, 12), h.window = byte(b, 13), h.tries = byte(b, 14);
      h.period = load32(b, 15), h.max_body = load64(b, 19);
      if (h.version == 0) return 12;
      if (h.window > max_window) return 13;
      if (h.tries == 0) return 14;
      if (h.period == 0) return 15;
      if (!incarnation(27)) return 27;
      break;
    case Type::refused:
    case Type::drain:
    case Type::bye:
      h.code = static_cast<Code>(load16(b, 12));
      if (h.code == Code::ok) return 12;
      break;
    case Type::pong:
    case Type::result:
      h.run = load32(b, 12);
      break;
    case Type::job:
      h.left = load32(b, 12), h.attempt = byte(b, 16), h.flags = byte(b, 17);
      if (h.attempt == 0) return 16;
      if (h.flags > (flag_repeatable | flag_progress)) return 17;
      break;
    case Type::error:
      h.code = static_cast<Code>(load16(b, 12)), h.run = load32(b, 14);
      if (h.code == Code::ok) return 12;
      break;
    case Type::call:
      h.left = load32(b, 12), h.busy_wait = load32(b, 16), h.flags = byte(b, 20);
      if (h.flags > (flag_repeatable | flag_progress | flag_urgent)) return 20;
      break;
    case Type::reply:
      h.code = static_cast<Code>(load16(b, 12)), h.attempt = byte(b, 14), h.pid = load32(b, 15);
      h.wait = load32(b, 19), h.run = load32(b, 23);
      break;
    case Type::none:
    case Type::ping:
    case Type::progress:
    case Type::returned:
    case Type::cancel:
      break;
  }
  return 0;
}

// options reads what follows the fixed part, from offset at.
inline Mistake options(std::string_view b, std::size_t at, std::uint8_t tags, Head &h) {
  int last = -1;
  std::size_t kinds = 0, first = 0;
  while (at < b.size()) {
    if (b.size() - at < option_head) return {Fault::too_short, h.type, b.size()};
    const std::uint8_t tag = byte(b, at);
    const std::size_t size = load16(b, at + 1), end = at + option_head + size;
    const bool known = tag < num_tags && (tags & bit(tag)) != 0;
    const bool several = tag == tag_kind && h.type == Type::hello;
    if (end > b.size()) return {Fault::too_short, h.type, b.size()};
    if (tag >= tag_critical) return {Fault::tag, h.type, at};
    if (tag < last || (tag == last && !several)) return {Fault::order, h.type, at};
    if (known && (size < limits(tag).least || size > limits(tag).most)) return {Fault::length, h.type, at + 1};
    last = tag;
    if (known) {
      const std::string_view value = b.substr(at + option_head, size);
      if (!valid(tag, value)) return {Fault::option, h.type, at + option_head};
      switch (tag) {
        case tag_name:
          h.name = value;
          break;
        case tag_socket:
          h.socket = value;
          break;
        case tag_language:
          h.language = value;
          break;
        case tag_library:
          h.library = value;
          break;
        case tag_text:
          h.text = value;
          break;
        case tag_held:
          h.held = value;
          break;
        default:  // tag_kind
          if (!several) {
            h.kind = value;
            break;
          }
          if (++kinds > max_kinds) return {Fault::length, h.type, at};
          if (kinds == 1) first = at;
          h.kinds = b.substr(first, end - first);  // they stand together
      }
    }
    at = end;
  }
  return {};
}

}  // namespace detail

// has_body reports whether a message of this type has a second frame. It has
// one always, which may be empty, or never.
inline bool has_body(Type t) { return detail::shape(t).body; }

// Kinds goes through the kinds of a HELLO, each once.
class Kinds {
 public:
  explicit Kinds(std::string_view list) : rest_(list) {}

  // next gives one more, or returns false.
  bool next(std::string_view &kind) {
    if (rest_.size() < detail::option_head) return false;
    const std::size_t size = detail::load16(rest_, 1);
    kind = rest_.substr(detail::option_head, size);
    rest_.remove_prefix(std::min(rest_.size(), detail::option_head + size));
    return true;
  }

  // add writes one more kind to the end of a list.
  static void add(std::string &list, std::string_view kind) { detail::option(list, detail::tag_kind, kind); }

 private:
  std::string_view rest_;
};

inline std::size_t held_size(std::string_view held) { return held.size() / 8; }
inline std::uint64_t held_at(std::string_view held, std::size_t i) { return detail::load64(held, 8 * i); }
inline void held_add(std::string &held, std::uint64_t number) { detail::store(held, number, 8); }

// decode reads a head. After a mistake h is not to be used; otherwise h refers
// to b.
inline Mistake decode(std::string_view b, Head &h) {
  using namespace detail;
  h = Head{};
  if (b.size() > max_head) return {Fault::too_long, Type::none, max_head};
  if (b.size() < head_size) return {Fault::too_short, Type::none, b.size()};
  if (b[0] != 'P' || b[1] != 'H') return {Fault::magic, Type::none, 0};
  if (byte(b, 2) != wire::version) return {Fault::head_version, Type::none, 2};
  if (byte(b, 3) == 0 || byte(b, 3) >= num_types) return {Fault::type, Type::none, 3};
  h.type = static_cast<Type>(byte(b, 3));
  h.number = load64(b, 4);
  const Shape &s = shape(h.type);
  if ((s.number == Number::zero && h.number != 0) || (s.number == Number::some && h.number == 0)) {
    return {Fault::number, h.type, 4};
  }
  if (b.size() < head_size + s.fixed) return {Fault::too_short, h.type, b.size()};
  if (const std::size_t at = fixed(b, h)) return {Fault::value, h.type, at};
  if (const Mistake m = options(b, head_size + s.fixed, s.tags, h)) return m;
  if (h.type == Type::hello && h.window > 0 && (h.name.empty() || h.socket.empty())) {
    return {Fault::missing, h.type, b.size()};
  }
  return {};
}

// append writes a head behind b. What it writes decode() reads: for a head that
// cannot be, it returns the mistake, and leaves b as it was.
inline Mistake append(std::string &b, const Head &h) {
  using namespace detail;
  if (h.type == Type::none || static_cast<std::size_t>(h.type) >= num_types) return {Fault::type, Type::none, 3};
  const std::size_t start = b.size();
  const auto code = [&] { store(b, static_cast<std::uint16_t>(h.code), 2); };
  const auto incarnation = [&] {
    for (const unsigned char c : h.incarnation) store8(b, c);
  };
  b += "PH";
  store8(b, wire::version);
  store8(b, static_cast<std::uint8_t>(h.type));
  store(b, h.number, 8);
  switch (h.type) {
    case Type::hello:
      store(b, h.pid, 4);
      incarnation();
      store8(b, h.lowest), store8(b, h.highest), store8(b, h.window);
      option(b, tag_name, h.name);
      option(b, tag_socket, h.socket);
      b.append(h.kinds);
      option(b, tag_language, h.language);
      option(b, tag_library, h.library);
      option(b, tag_held, h.held);
      break;
    case Type::welcome:
      store8(b, h.version), store8(b, h.window), store8(b, h.tries);
      store(b, h.period, 4), store(b, h.max_body, 8);
      incarnation();
      break;
    case Type::refused:
    case Type::drain:
    case Type::bye:
      code();
      option(b, tag_text, h.text);
      break;
    case Type::pong:
      store(b, h.run, 4);
      option(b, tag_held, h.held);
      break;
    case Type::job:
      store(b, h.left, 4), store8(b, h.attempt), store8(b, h.flags);
      option(b, tag_kind, h.kind);
      break;
    case Type::result:
      store(b, h.run, 4);
      break;
    case Type::error:
      code(), store(b, h.run, 4);
      option(b, tag_text, h.text);
      break;
    case Type::call:
      store(b, h.left, 4), store(b, h.busy_wait, 4), store8(b, h.flags);
      option(b, tag_kind, h.kind);
      break;
    case Type::reply:
      code(), store8(b, h.attempt), store(b, h.pid, 4), store(b, h.wait, 4), store(b, h.run, 4);
      option(b, tag_name, h.name);
      option(b, tag_text, h.text);
      break;
    case Type::none:
    case Type::ping:
    case Type::progress:
    case Type::returned:
    case Type::cancel:
      break;
  }
  Head back;
  const Mistake m = decode(std::string_view(b).substr(start), back);
  if (m) b.resize(start);
  return m;
}

// cut_text makes a text as short as an option may be, without half a character
// at its end; bytes that are no UTF-8 become U+FFFD.
inline std::string cut_text(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t n = detail::rune(text);
    const std::string_view next = n == 0 ? std::string_view("\xef\xbf\xbd") : text.substr(0, n);
    if (out.size() + next.size() > max_text) break;
    out.append(next);
    text.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return out;
}

}  // namespace powerhose::wire

#endif
