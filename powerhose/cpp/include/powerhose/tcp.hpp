// Addresses and sockets of TCP, for a worker on another host than its master.
// Links over TCP need CURVE: see powerhose/curve.hpp.

#ifndef POWERHOSE_TCP_HPP
#define POWERHOSE_TCP_HPP

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "powerhose/zmtp.hpp"

namespace powerhose::detail {

inline bool is_tcp(std::string_view address) { return address.substr(0, 6) == "tcp://"; }

// split takes tcp://HOST:PORT apart, where a host with colons is in brackets. It
// returns an error text, or nothing.
inline std::string split(const std::string &address, std::string &host, unsigned &port) {
  const std::string wrong = address + ": not tcp://HOST:PORT, with an IPv6 address as in tcp://[::1]:7000";
  const std::string_view rest = std::string_view(address).substr(6);
  const std::size_t colon = rest.rfind(':');
  if (address.size() > 255) return address + ": an address has at most 255 bytes";
  if (colon == std::string_view::npos) return wrong;
  std::string_view name = rest.substr(0, colon);
  const std::string_view digits = rest.substr(colon + 1);
  const bool bracketed = name.size() >= 2 && name.front() == '[' && name.back() == ']';
  if (bracketed) name = name.substr(1, name.size() - 2);
  port = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9' || port > 65535) return wrong;
    port = port * 10 + static_cast<unsigned>(c - '0');
  }
  if (digits.empty() || port > 65535 || name.empty() || name.find_first_of(std::string_view("[]/@ \0", 6)) != std::string_view::npos ||
      (name.find(':') != std::string_view::npos) != bracketed) {
    return wrong;
  }
  host = name;
  return {};
}

// A Place is one address of a host, with a port.
struct Place {
  sockaddr_storage at{};
  socklen_t size = 0;

  const sockaddr *address() const { return reinterpret_cast<const sockaddr *>(&at); }

  // everywhere reports whether it stands for all addresses of the host.
  bool everywhere() const {
    if (at.ss_family == AF_INET) return reinterpret_cast<const sockaddr_in *>(&at)->sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6 *>(&at)->sin6_addr);
  }

  // text is tcp://ADDRESS:PORT, without the zone, which is that of one host.
  std::string text() const {
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> port{};
    if (::getnameinfo(address(), size, host.data(), host.size(), port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0) return {};
    std::string name(host.data());
    name.resize(std::min(name.size(), name.find('%')));
    return "tcp://" + (at.ss_family == AF_INET6 ? "[" + name + "]" : name) + ":" + port.data();
  }
};

// resolve gives the addresses that tcp://HOST:PORT has, in the order in which they
// are to be tried. It returns an error text, or nothing.
inline std::string resolve(const std::string &address, std::vector<Place> &places, int flags = 0) {
  std::string host;
  unsigned port = 0;
  if (std::string e = split(address, host, port); !e.empty()) return e;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo *found = nullptr;
  const int e = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (e != 0) return address + ": " + (e == EAI_SYSTEM ? error_text(errno) : std::string(::gai_strerror(e)));
  places.clear();
  for (const addrinfo *a = found; a != nullptr; a = a->ai_next) {
    Place p;
    if (a->ai_addrlen > sizeof p.at) continue;
    std::memcpy(&p.at, a->ai_addr, a->ai_addrlen);
    p.size = a->ai_addrlen;
    places.push_back(p);
  }
  ::freeaddrinfo(found);
  return places.empty() ? address + ": no address" : std::string();
}

inline void set_option(int fd, int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof value); }

// at_once has short messages written at once.
inline void at_once(int fd) { set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); }

// limit_outage has the kernel end a link when the other host is out of reach for
// so long: to what was written no answer comes, or none to three probes.
inline void limit_outage(int fd, std::chrono::milliseconds outage) {
  constexpr int probes = 3;
  // Less would end links over which an answer takes its time.
  const auto ms = std::clamp<std::chrono::milliseconds::rep>(outage.count(), 2000, INT_MAX);
  const int pause = static_cast<int>(std::min<std::chrono::milliseconds::rep>((ms + probes * 1000 - 1) / (probes * 1000), 32767));
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, pause);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, pause);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, probes);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(ms));
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

inline Fd stream_socket(const Place &to) { return Fd(::socket(to.at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

// dial begins to connect. It returns 0 or an error number; a Link may be made of
// the socket, and ends if nobody answers.
inline int dial(const Place &to, Fd &fd) {
  fd = stream_socket(to);
  if (!fd) return errno;
  at_once(fd.get());
  return ::connect(fd.get(), to.address(), to.size) == 0 || errno == EINPROGRESS ? 0 : errno;
}

// listen binds a port of tcp://HOST:PORT, 0 for one that is free; the host * is
// every address. Socket is what a master is told: an IP address, for it looks up no
// names that others give it. It returns an error text, or nothing.
inline std::string listen(const std::string &address, Fd &fd, std::string &socket) {
  std::vector<Place> places;
  if (address.substr(0, 8) == "tcp://*:") {
    std::vector<Place> four;
    if (std::string e = resolve("tcp://[::]:" + address.substr(8), places); !e.empty()) return address + ": not tcp://HOST:PORT";
    if (resolve("tcp://0.0.0.0:" + address.substr(8), four).empty()) places.push_back(four[0]);
  } else if (std::string e = resolve(address, places); !e.empty()) {
    return e;
  }
  int error = 0;
  for (const Place &p : places) {  // a name may have an address that this host does not have
    fd = stream_socket(p);
    if (fd) {
      // A port that this worker had before its restart is free again.
      set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
      if (p.at.ss_family == AF_INET6 && p.everywhere()) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
      Place bound;
      bound.size = sizeof bound.at;
      if (::bind(fd.get(), p.address(), p.size) == 0 && ::listen(fd.get(), 16) == 0 &&
          ::getsockname(fd.get(), reinterpret_cast<sockaddr *>(&bound.at), &bound.size) == 0) {
        socket = bound.text();
        return {};
      }
    }
    error = errno;
  }
  return address + ": " + error_text(error) + (error == EADDRINUSE ? "; give each worker a port of its own, or 0 for a free one" : "");
}

}  // namespace powerhose::detail

#endif
