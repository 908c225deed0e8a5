// Links of the powerhose protocol: ZMTP 3 with the NULL mechanism over Unix
// stream sockets, or with one of powerhose/curve.hpp over TCP, as docs/POWERHOSE.md
// has it.
//
// A Link never blocks unless it is told until when, takes no memory for a
// length before bytes have come, and throws nothing but std::bad_alloc: it ends,
// and end() says why.

#ifndef POWERHOSE_ZMTP_HPP
#define POWERHOSE_ZMTP_HPP

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "powerhose/wire.hpp"

namespace powerhose {

using Clock = std::chrono::steady_clock;

namespace detail {

inline std::string error_text(int error) { return std::generic_category().message(error); }

// Kept is the table of descriptors that must not go on to a child. Exec is seen
// to by CLOEXEC; after a fork alone the child closes what is in here.
class Kept {
 public:
  using Slot = std::atomic<int>;  // a descriptor plus one, so that 0 is free

  static Slot *take(int fd) {
    static const int registered = ::pthread_atfork(nullptr, nullptr, [] {
      for (Slot &s : slots) {
        const int kept = s.exchange(0);
        if (kept > 0) ::close(kept - 1);
      }
    });
    static_cast<void>(registered);
    for (Slot &s : slots) {
      int expected = 0;
      if (s.compare_exchange_strong(expected, fd + 1)) return &s;
    }
    return nullptr;
  }

 private:
  static inline std::array<Slot, 64> slots{};
};

// poll_time gives the milliseconds until at, rounded up, as poll() takes them.
inline int poll_time(Clock::time_point now, Clock::time_point at) {
  if (at <= now) return 0;
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(at - now).count();
  return ms > INT_MAX ? INT_MAX : static_cast<int>(ms);
}

}  // namespace detail

// An Fd owns a descriptor. A child that is forked does not have it: there it is
// closed, and get() is -1.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) {
    if (fd < 0) return;
    slot_ = detail::Kept::take(fd);
    if (slot_ == nullptr) {
      ::close(fd);
      throw std::runtime_error("too many descriptors are kept from children");
    }
    pid_ = ::getpid();
  }
  Fd(Fd &&o) noexcept : slot_(std::exchange(o.slot_, nullptr)), pid_(o.pid_) {}
  Fd &operator=(Fd &&o) noexcept {
    if (this != &o) {
      reset();
      slot_ = std::exchange(o.slot_, nullptr);
      pid_ = o.pid_;
    }
    return *this;
  }
  Fd(const Fd &) = delete;
  Fd &operator=(const Fd &) = delete;
  ~Fd() { reset(); }

  int get() const { return slot_ == nullptr || pid_ != ::getpid() ? -1 : slot_->load(std::memory_order_relaxed) - 1; }
  explicit operator bool() const { return slot_ != nullptr; }

  void reset() {
    if (slot_ == nullptr) return;
    const int fd = get();
    if (fd >= 0) {
      slot_->store(0);
      ::close(fd);
    }
    slot_ = nullptr;
  }

 private:
  detail::Kept::Slot *slot_ = nullptr;
  pid_t pid_ = 0;
};

namespace detail {

// place is the path in an address: PATH, unix:PATH or ipc://PATH. A relative one is
// of the working directory.
inline std::string place(std::string path) {
  for (const std::string_view prefix : {"ipc://", "unix:"}) {
    if (std::string_view(path).substr(0, prefix.size()) == prefix) {
      path.erase(0, prefix.size());
      break;
    }
  }
  if (path.empty() || path.front() == '/' || path.front() == '@') return path;
  while (path.size() > 2 && path[0] == '.' && path[1] == '/') path.erase(0, 2);
  std::array<char, PATH_MAX> here{};
  return ::getcwd(here.data(), here.size()) == nullptr ? path : std::string(here.data()) + "/" + path;
}

// address makes the address of a Unix socket, or returns an error text.
inline std::string address(const std::string &path, sockaddr_un &to) {
  to = sockaddr_un{};
  to.sun_family = AF_UNIX;
  if (path.empty()) return "a socket needs a path";
  if (path.front() != '/') return path + ": give the path of a socket";
  if (path.find('\0') != std::string::npos) return path + ": a path has no zero bytes";
  if (path.size() >= sizeof to.sun_path) {
    return path + ": the path of a socket has at most 107 bytes, this one " + std::to_string(path.size());
  }
  std::memcpy(to.sun_path, path.data(), path.size());
  return {};
}

inline Fd stream_socket() { return Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

// dial connects to an address. It returns 0 or an error number: EAGAIN is a
// peer that does not accept.
inline int dial(const sockaddr_un &to, Fd &fd) {
  fd = stream_socket();
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr *>(&to), sizeof to) != 0) return errno;
  return 0;
}

struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
};

inline bool peer_of(int fd, Peer &p) {
  ucred c{};
  socklen_t size = sizeof c;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &size) != 0) return false;
  p = {c.pid, c.uid};
  return true;
}

}  // namespace detail

// A Message is what a link received. The head refers to memory of the link, and
// is gone with the next message.
struct Message {
  wire::Head head;
  std::string body;
};

// A Mechanism secures one link. It is one side of a handshake of commands, and then
// puts frames into boxes. What is wrong with those of the peer is a text.
class Mechanism {
 public:
  // A Step is what a command of the peer leads to.
  struct Step {
    std::string error;    // what is wrong with it
    bool tell = false;    // the peer is told
    bool done = false;    // it was the last one of the peer
    std::string metadata; // of the peer, when it is done; it is judged before the answer is sent
    std::string answer;   // a command, or nothing
  };

  Mechanism() = default;
  Mechanism(const Mechanism &) = delete;
  Mechanism &operator=(const Mechanism &) = delete;
  virtual ~Mechanism() = default;

  virtual std::string_view name() const = 0;  // in greetings
  virtual bool server() const = 0;
  virtual std::string begin() = 0;        // the command that is sent first, or nothing
  virtual std::size_t most() const = 0;   // bytes of the longest command that may come next
  virtual Step step(std::string_view command, std::string_view metadata) = 0;

  virtual std::size_t boxed() const = 0;  // bytes that a box adds to a frame
  // seal appends a box of flags and payload. It must be written before what is
  // sealed later.
  virtual void seal(std::string &to, std::uint8_t flags, std::string_view payload) = 0;
  // open turns a box into its payload. It returns an error text, or nothing.
  virtual std::string open(std::string &box, std::uint8_t &flags) = 0;
};

// Keys make the mechanisms of a worker's links over TCP.
class Keys {
 public:
  Keys() = default;
  Keys(const Keys &) = delete;
  Keys &operator=(const Keys &) = delete;
  virtual ~Keys() = default;

  virtual std::unique_ptr<Mechanism> mechanism(bool server) const = 0;
};

namespace detail {

// read_keys reads the own secret key and the master's public one from their files.
// It returns an error text, or nothing. It is there if powerhose/curve.hpp is.
using ReadKeys = std::string (*)(const std::string &key, const std::string &master_key, std::unique_ptr<Keys> &keys);
inline ReadKeys read_keys = nullptr;

}  // namespace detail

// A Link is one connection. Who dialled is a DEALER, who listens a ROUTER.
class Link {
 public:
  enum class Role { dealer, router };
  enum class Got { message, nothing, ended };

  // An End says why a link ended.
  struct End {
    wire::Code code = wire::Code::ok;  // what the peer is told; ok is nothing
    std::string text;                  // for people
  };

  Link() = default;
  // Without a mechanism it is NULL.
  Link(Fd fd, Role role, std::unique_ptr<Mechanism> mechanism = nullptr)
      : fd_(std::move(fd)), role_(role), mechanism_(std::move(mechanism)), in_(in_size) {
    if (mechanism_) {
      std::fill(greeting_.begin() + 12, greeting_.begin() + 32, '\0');
      mechanism_->name().copy(greeting_.data() + 12, 20);
      greeting_[32] = mechanism_->server() ? 1 : 0;
    }
    put(std::string_view(greeting_.data(), greeting_.size()));
    flush();
  }

  int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }  // false also when it has ended
  bool open() const { return phase_ >= Phase::flags && phase_ != Phase::ended; }  // the handshake is done
  bool ended() const { return phase_ == Phase::ended; }
  const End &end() const { return end_; }
  std::size_t waiting() const { return ended() ? 0 : out_.size() - sent_; }  // bytes to be written
  bool writes() const { return waiting() > 0; }

  void set_max_body(std::uint64_t bytes) { max_body_ = bytes; }

  // next gives the next message of what has come, and does not wait for more.
  // It must be called until it says "nothing" before poll() is of use, and what
  // was complete when the peer closed is given before "ended".
  Got next(Message &m) {
    for (;;) {
      switch (phase_) {
        case Phase::ended:
          return Got::ended;
        case Phase::greeting:
          if (!have(greeting_.size())) return more_;
          if (!greet()) return Got::ended;
          break;
        case Phase::ready_flags:
        case Phase::flags:
          if (!have(1)) return more_;
          if (!flags()) return Got::ended;
          break;
        case Phase::size:
          if (!have(long_ ? 8 : 1)) return more_;
          if (!size()) return Got::ended;
          break;
        case Phase::payload:
          if (!gather()) return more_;
          if (!frame(m)) {
            if (ended()) return Got::ended;
            break;
          }
          return Got::message;
      }
    }
  }

  // send writes a message, or as much of it as the kernel takes; the rest waits
  // for flush(). It returns false if the link is at its end, or the head is none.
  bool send(const wire::Head &h, std::string_view body = {}) {
    if (ended()) return false;
    std::string head;
    if (wire::append(head, h)) return false;
    const bool with_body = wire::has_body(h.type);
    std::string frame;
    if (mechanism_) {
      sealed(frame, with_body ? flag_more : std::uint8_t{0}, head);
      if (with_body) sealed(frame, 0, body);
      write(frame, {});
      return !ended();
    }
    frame_head(frame, with_body ? flag_more : std::uint8_t{0}, head.size());
    frame += head;
    if (with_body) frame_head(frame, 0, body.size());
    write(frame, with_body ? body : std::string_view());
    return !ended();
  }

  // flush writes what waits, without waiting. It returns false if the link is
  // at its end.
  bool flush() {
    if (writes()) write({}, {});
    return !ended();
  }

  // stop ends the link. Why is told to the peer, as far as the kernel takes it
  // at once.
  void stop(wire::Code code, std::string text) {
    if (ended()) return;
    if (open() && code != wire::Code::ok) {
      const std::string cut = wire::cut_text(text);
      wire::Head h;
      h.type = wire::Type::refused;
      h.code = code;
      h.text = cut;
      send(h);
    }
    finish(code, std::move(text));
  }

 private:
  enum class Phase : std::uint8_t { greeting, ready_flags, flags, size, payload, ended };

  static constexpr std::uint8_t flag_more = 1, flag_long = 2, flag_command = 4;
  static constexpr std::uint8_t boxed_command = 2;  // what flag_command is in a box
  static constexpr std::size_t in_size = 64 << 10;  // also what a length alone is worth
  static constexpr std::uint64_t max_command = 512;
  static constexpr std::array<char, 64> null_greeting = {'\xff', 0, 0, 0, 0, 0, 0, 0, 1, '\x7f', 3, 0, 'N', 'U', 'L', 'L'};

  const char *role() const { return role_ == Role::dealer ? "DEALER" : "ROUTER"; }
  const char *other() const { return role_ == Role::dealer ? "ROUTER" : "DEALER"; }

  void finish(wire::Code code, std::string text) {
    if (ended()) return;
    phase_ = Phase::ended;
    end_ = {code, std::move(text)};
    fd_.reset();
  }

  bool fail(std::string text) {
    stop(wire::Code::broken, std::move(text));
    return false;
  }

  // Writing.

  static void frame_head(std::string &b, std::uint8_t flag, std::size_t size) {
    const bool wide = size > 255;
    wire::detail::store8(b, static_cast<std::uint8_t>(flag | (wide ? flag_long : 0)));
    wire::detail::store(b, size, wide ? 8 : 1);
  }

  // sealed appends a frame with a box.
  void sealed(std::string &to, std::uint8_t flags, std::string_view payload) {
    frame_head(to, 0, mechanism_->boxed() + payload.size());
    mechanism_->seal(to, flags, payload);
  }

  void put(std::string_view b) { out_.append(b); }

  // write sends what waits, then a, then b, and keeps what the kernel does not
  // take.
  void write(std::string_view a, std::string_view b) {
    for (;;) {
      const std::string_view old = std::string_view(out_).substr(sent_);
      std::array<iovec, 3> parts{};
      std::size_t n = 0;
      for (const std::string_view part : {old, a, b}) {
        if (part.empty()) continue;
        parts[n].iov_base = const_cast<char *>(part.data());
        parts[n++].iov_len = part.size();
      }
      if (n == 0) {
        out_.clear();
        sent_ = 0;
        return;
      }
      msghdr h{};
      h.msg_iov = parts.data();
      h.msg_iovlen = n;
      const ssize_t done = ::sendmsg(fd(), &h, MSG_NOSIGNAL);
      if (done < 0 && errno == EINTR) continue;
      if (done < 0 && errno != EAGAIN) {
        finish(wire::Code::ok, "write: " + detail::error_text(errno));
        return;
      }
      std::size_t left = done < 0 ? 0 : static_cast<std::size_t>(done);
      sent_ += take(left, old.size());
      a.remove_prefix(take(left, a.size()));
      b.remove_prefix(take(left, b.size()));
      if (done < 0) {
        out_.erase(0, std::exchange(sent_, 0));
        out_.append(a).append(b);
        return;
      }
    }
  }

  static std::size_t take(std::size_t &left, std::size_t most) {
    const std::size_t n = std::min(left, most);
    left -= n;
    return n;
  }

  // Reading.

  std::size_t buffered() const { return tail_ - head_; }

  // have reports whether n bytes are in the buffer, after it has read what
  // there is. If not, more_ says whether there may be more.
  bool have(std::size_t n) {
    while (buffered() < n) {
      if (head_ > 0) {
        std::memmove(in_.data(), in_.data() + head_, buffered());
        tail_ -= std::exchange(head_, 0);
      }
      if (!receive(in_.data() + tail_, in_.size() - tail_, tail_)) return false;
      // Who does not speak ZMTP is told from its first byte, not after a time.
      if (phase_ == Phase::greeting && in_[head_] != greeting_[0]) return no_more("the peer does not speak ZMTP 3");
    }
    return true;
  }

  bool receive(char *to, std::size_t size, std::size_t &count) {
    for (;;) {
      const ssize_t n = ::recv(fd(), to, size, 0);
      if (n > 0) {
        count += static_cast<std::size_t>(n);
        return true;
      }
      if (n == 0) return no_more(closed());
      if (errno == EINTR) continue;
      if (errno == EAGAIN) {
        more_ = Got::nothing;
        return false;
      }
      return no_more("read: " + detail::error_text(errno));
    }
  }

  // closed says what it means that the peer ends the link now.
  const char *closed() const {
    if (!mechanism_ || open()) return "the peer closed the link";
    if (phase_ == Phase::greeting) return "the peer closed the link in the greeting: it may not speak CURVE";
    return "the peer closed the link in the handshake: it has another key than the one known here, or does not admit ours";
  }

  bool no_more(std::string text) {
    finish(wire::Code::ok, std::move(text));
    more_ = Got::ended;
    return false;
  }

  std::string_view take_in(std::size_t n) {
    const std::string_view b(in_.data() + head_, n);
    head_ += n;
    return b;
  }

  // gather collects the payload of a frame. Its memory grows as bytes come, and
  // at most doubles.
  bool gather() {
    while (frame_have_ < want_) {
      const std::size_t left = want_ - frame_have_;
      if (frame_.size() == frame_have_) frame_.resize(frame_have_ + std::min(left, std::max(in_size, frame_have_)));
      const std::size_t room = frame_.size() - frame_have_;
      if (buffered() == 0 && left >= in_size) {
        if (!receive(frame_.data() + frame_have_, room, frame_have_)) return false;
        continue;
      }
      if (!have(1)) return false;
      const std::string_view b = take_in(std::min(buffered(), room));
      std::memcpy(frame_.data() + frame_have_, b.data(), b.size());
      frame_have_ += b.size();
    }
    return true;
  }

  bool greet() {
    const std::string_view b = take_in(greeting_.size());
    if (b[9] != greeting_[9] || wire::detail::byte(b, 10) < 3) return fail("the peer does not speak ZMTP 3");
    if (b.substr(12, 20) != std::string_view(greeting_.data() + 12, 20)) {
      std::string mechanism(b.substr(12, 20));
      mechanism.resize(std::min(mechanism.size(), mechanism.find('\0')));
      const std::string ours = mechanism_ ? std::string(mechanism_->name()) : "NULL";
      return fail(wire::detail::word(mechanism) ? "the peer wants the mechanism " + mechanism + "; this link is " + ours
                                                : "the peer wants a mechanism without a name; this link is " + ours);
    }
    if (const std::string first = mechanism_ ? mechanism_->begin() : "\x05READY" + metadata(); !first.empty()) command(first);
    phase_ = Phase::ready_flags;
    return !ended();
  }

  // metadata is what this side says of itself.
  std::string metadata() const {
    std::string m("\x0bSocket-Type\0\0\0\x06", 16);
    m += role();
    if (role_ == Role::dealer) m.append("\x08Identity\0\0\0\0", 13);
    return m;
  }

  void command(std::string_view payload) {
    std::string frame;
    if (mechanism_ && open()) {
      sealed(frame, boxed_command, payload);
    } else {
      frame_head(frame, flag_command, payload.size());
      frame += payload;
    }
    write(frame, {});
  }

  bool flags() {
    const std::uint8_t f = wire::detail::byte(take_in(1), 0);
    if ((f & ~(flag_more | flag_long | flag_command)) != 0) return fail("a frame has flags that there are not");
    long_ = (f & flag_long) != 0;
    handshake_ = phase_ == Phase::ready_flags;
    sealed_ = mechanism_ && !handshake_;
    if (!sealed_ && !kind((f & flag_more) != 0, (f & flag_command) != 0)) return false;
    phase_ = Phase::size;
    return true;
  }

  // kind judges what a frame is, by its flags or those in its box.
  bool kind(bool more, bool is_command) {
    more_frames_ = more;
    is_command_ = is_command;
    if (is_command && (more || in_body_)) return fail("a command is inside of a message");
    if (handshake_ && !is_command) return fail("a message came before READY");
    if (in_body_ && more) return fail("a message has more than two frames");
    return true;
  }

  // fits judges the size of what a frame is.
  bool fits(std::uint64_t size) {
    std::uint64_t most = is_command_ ? max_command : in_body_ ? max_body_ : wire::max_head;
    if (mechanism_ && handshake_) most = mechanism_->most();
    if (size <= most) return true;
    return fail(std::string(is_command_ ? "a command" : in_body_ ? "a body" : "a head") + " has " + std::to_string(size) +
                " bytes; at most " + std::to_string(most) + " are taken");
  }

  bool size() {
    const std::string_view b = take_in(long_ ? 8 : 1);
    const std::uint64_t size = wire::detail::load(b, 0, b.size());
    if (sealed_) {
      // What is in the box is judged when it is open. Before that, the longest
      // thing that may come is the limit.
      const std::uint64_t most = mechanism_->boxed() + (in_body_ ? max_body_ : std::max<std::uint64_t>(max_command, wire::max_head));
      if (size > most) return fail("a frame has " + std::to_string(size) + " bytes; at most " + std::to_string(most) + " are taken");
    } else if (!fits(size)) {
      return false;
    }
    want_ = static_cast<std::size_t>(size);
    frame_have_ = 0;
    frame_.clear();
    phase_ = Phase::payload;
    return true;
  }

  // frame takes a whole frame. It returns true if it ends a message.
  bool frame(Message &m) {
    phase_ = Phase::flags;
    if (handshake_) return shake();
    if (sealed_ && !unbox()) return false;
    if (is_command_) return heartbeat();
    if (!in_body_) {
      std::memcpy(head_bytes_.data(), frame_.data(), frame_.size());
      const wire::Mistake mistake = wire::decode(std::string_view(head_bytes_.data(), frame_.size()), m.head);
      if (mistake) return malformed(mistake.text());
      if (wire::has_body(m.head.type) != more_frames_) {
        return malformed(std::string(wire::name(m.head.type)) + (more_frames_ ? " has a body" : " has no body"));
      }
      head_frame_ = m.head;
      m.body.clear();
      in_body_ = more_frames_;
      return !in_body_;
    }
    in_body_ = false;
    m.head = head_frame_;
    m.body = std::move(frame_);
    frame_.clear();
    return true;
  }

  bool malformed(std::string text) {
    stop(wire::Code::malformed, std::move(text));
    return false;
  }

  // unbox opens the box that a frame is.
  bool unbox() {
    std::uint8_t f = 0;
    if (const std::string e = mechanism_->open(frame_, f); !e.empty()) return fail(e);
    if ((f & ~(flag_more | boxed_command)) != 0) return fail("a box has flags that there are not");
    return kind((f & flag_more) != 0, (f & boxed_command) != 0) && fits(frame_.size());
  }

  // shake reads a command of the handshake: the READY of the peer, with NULL.
  bool shake() {
    phase_ = Phase::ready_flags;  // so that nothing is sent that the peer does not expect
    std::string_view b = frame_;
    const auto skip = [&b](std::string_view name) {
      if (b.size() <= name.size() || wire::detail::byte(b, 0) != name.size() || b.substr(1, name.size()) != name) return false;
      b.remove_prefix(1 + name.size());
      return true;
    };
    if (skip("ERROR")) {
      std::string reason;
      if (!b.empty()) reason = b.substr(1, wire::detail::byte(b, 0));
      return fail("the peer refuses the link: " + wire::cut_text(reason));
    }
    if (!mechanism_) {
      if (!skip("READY")) return fail("the first command of the peer is not READY");
      if (judge(b)) phase_ = Phase::flags;
      return false;
    }
    const Mechanism::Step s = mechanism_->step(b, metadata());
    if (!s.error.empty()) {
      if (s.tell) refuse(s.error);
      return fail(s.error);
    }
    if (s.done && !judge(s.metadata)) return false;
    if (!s.answer.empty()) command(s.answer);
    if (s.done && !ended()) phase_ = Phase::flags;
    return false;
  }

  // judge reads what the peer says of itself.
  bool judge(std::string_view b) {
    std::string type;
    while (!b.empty()) {
      const std::size_t name_size = wire::detail::byte(b, 0);
      if (name_size == 0 || b.size() < 1 + name_size + 4) return fail("READY ends inside of a property");
      std::string name(b.substr(1, name_size));
      std::transform(name.begin(), name.end(), name.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
      const std::size_t size = wire::detail::load32(b, 1 + name_size);
      b.remove_prefix(1 + name_size + 4);
      if (size > b.size()) return fail("READY ends inside of a property");
      if (name == "socket-type") type = b.substr(0, size);
      b.remove_prefix(size);
    }
    if (type != other()) {
      const std::string text = "the peer is a socket of the type " + (type.empty() ? "(none)" : wire::cut_text(type)) +
                               "; this is a " + role() + ", which talks to a " + other();
      refuse(text);
      return fail(text);
    }
    return true;
  }

  // refuse tells the peer why there is no handshake.
  void refuse(const std::string &text) {
    const std::string reason = text.substr(0, 255);
    std::string error("\x05" "ERROR", 6);
    wire::detail::store8(error, static_cast<std::uint8_t>(reason.size()));
    command(error + reason);
  }

  // heartbeat answers a PING of ZMTP; other commands mean nothing.
  bool heartbeat() {
    const std::string_view b = frame_;
    if (b.size() < 5 || b.substr(0, 5) != "\x04PING") return false;
    if (b.size() < 7 || b.size() > 7 + 16) return fail("a PING of ZMTP has a wrong length");
    if (out_.size() - sent_ > in_size) return fail("the peer does not read");
    command(std::string("\x04PONG").append(b.substr(7)));
    return false;
  }

  Fd fd_;
  Role role_ = Role::dealer;
  std::unique_ptr<Mechanism> mechanism_;
  std::array<char, 64> greeting_ = null_greeting;
  Phase phase_ = Phase::greeting;
  Got more_ = Got::nothing;
  bool more_frames_ = false, long_ = false, is_command_ = false, handshake_ = false, sealed_ = false;
  bool in_body_ = false;  // the head of the message is there
  std::uint64_t max_body_ = 0;
  std::vector<char> in_;  // in_[head_:tail_] was read and not looked at
  std::size_t head_ = 0, tail_ = 0;
  std::string frame_;  // its first frame_have_ bytes are there
  std::size_t want_ = 0, frame_have_ = 0;
  std::array<char, wire::max_head> head_bytes_{};
  wire::Head head_frame_;
  std::string out_;  // out_[sent_:] waits to be written
  std::size_t sent_ = 0;
  End end_;
};

// A Listener is the worker's own socket: mode 0600, in a directory of mode 0700,
// under a lock.
class Listener {
 public:
  Listener() = default;
  Listener(Listener &&) = delete;
  Listener &operator=(Listener &&) = delete;

  // listen takes the path. It returns an error text, or nothing. A path that is
  // used once has its lock removed at the end.
  std::string listen(const std::string &path, bool once = false) {
    sockaddr_un at;
    if (std::string e = detail::address(path, at); !e.empty()) return e;
    if (path[0] != '/') return path + ": the path of a worker's socket must begin with /";
    if (std::string e = directory(path.substr(0, path.rfind('/'))); !e.empty()) return e;
    Fd locked;
    bool mine = false;
    if (std::string e = take(path + ".lock", locked, mine); !e.empty()) return e;
    Fd other;
    const int answer = detail::dial(at, other);
    if (answer == 0 || answer == EAGAIN) {
      detail::Peer p;
      detail::peer_of(other.get(), p);
      const std::string who = answer == 0 ? "process " + std::to_string(p.pid) : "a process";
      return path + ": " + who + " listens here; give each worker a socket of its own";
    }
    other.reset();
    if (!mine) return path + ".lock: another process has the lock; give each worker a socket of its own";
    struct stat st{};
    if (::lstat(path.c_str(), &st) == 0) {
      if (!S_ISSOCK(st.st_mode)) return path + ": is there, and is no socket; remove it or choose another path";
      if (::unlink(path.c_str()) != 0) return path + ": " + detail::error_text(errno);
    }
    Fd fd = detail::stream_socket();
    // The mode of the descriptor becomes that of the file: it is never wider.
    if (!fd || ::fchmod(fd.get(), 0600) != 0 ||
        ::bind(fd.get(), reinterpret_cast<const sockaddr *>(&at), sizeof at) != 0 ||
        ::chmod(path.c_str(), 0600) != 0 || ::lstat(path.c_str(), &st) != 0 || ::listen(fd.get(), 16) != 0) {
      return path + ": " + detail::error_text(errno);
    }
    path_ = path;
    once_ = once;
    device_ = st.st_dev;
    inode_ = st.st_ino;
    pid_ = ::getpid();
    lock_ = std::move(locked);
    fd_ = std::move(fd);
    return {};
  }

  // Who listened removes the socket, if it is still its own. A forked child
  // leaves it alone.
  ~Listener() {
    struct stat st{};
    if (fd_.get() >= 0 && pid_ == ::getpid() && ::lstat(path_.c_str(), &st) == 0 && st.st_dev == device_ &&
        st.st_ino == inode_) {
      ::unlink(path_.c_str());
      if (once_) ::unlink((path_ + ".lock").c_str());
    }
  }

  // adopt takes a port that listens.
  void adopt(Fd fd) { fd_ = std::move(fd); }

  int fd() const { return fd_.get(); }

  // accept gives the next connection, or nothing.
  Fd accept() const {
    for (;;) {
      const int fd = ::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd >= 0) return Fd(fd);
      if (errno != EINTR && errno != ECONNABORTED) return {};
    }
  }

 private:
  // take locks the file of a lock; it may have been removed meanwhile by who had
  // the lock before.
  static std::string take(const std::string &lock, Fd &fd, bool &mine) {
    for (;;) {
      fd = Fd(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
      if (!fd) return lock + ": " + detail::error_text(errno);
      mine = ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0;
      if (!mine) return errno == EWOULDBLOCK ? std::string() : lock + ": " + detail::error_text(errno);
      struct stat here{}, there{};
      if (::fstat(fd.get(), &here) == 0 && ::lstat(lock.c_str(), &there) == 0 && here.st_dev == there.st_dev &&
          here.st_ino == there.st_ino) {
        return {};
      }
    }
  }

  // directory makes the directory of a socket, or looks at the one that is there.
  static std::string directory(const std::string &dir) {
    if (dir.empty()) return "a socket must not be in /; give it a directory of its own";
    if (::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) return dir + ": " + detail::error_text(errno);
    struct stat st{};
    if (::stat(dir.c_str(), &st) != 0) return dir + ": " + detail::error_text(errno);
    if (!S_ISDIR(st.st_mode)) return dir + ": is no directory";
    if (st.st_uid != ::geteuid()) return dir + ": belongs to user " + std::to_string(st.st_uid) + "; a worker's socket needs a directory of its own user";
    if ((st.st_mode & 077) != 0) return dir + ": others can look into it; chmod 700 " + dir;
    return {};
  }

  Fd lock_, fd_;
  std::string path_;
  bool once_ = false;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  pid_t pid_ = 0;
};

}  // namespace powerhose

#endif
