// A worker of powerhose: it runs one job after another for the master that it
// registers with. docs/POWERHOSE.md is the protocol, and says what is promised.
//
//   int main() {
//     return powerhose::Worker({}, [](powerhose::Job &job) { return powerhose::Result(job.body()); }).run();
//   }
//
// A worker has one thread. It writes the answer to a job before it starts the
// next, starts no job that came over a link that has ended, and comes back under
// the same incarnation if the master goes. While a job runs nothing else is
// looked at, except by Job::cancelled().
//
// There is one worker in a process at a time. No descriptor of it goes on to a
// child, be it of exec or of fork; a child that comes back from the handler is
// ended.

#ifndef POWERHOSE_WORKER_HPP
#define POWERHOSE_WORKER_HPP

#include <csignal>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <optional>
#include <random>
#include <sys/random.h>
#include <sys/time.h>

#include "powerhose/tcp.hpp"
#include "powerhose/wire.hpp"
#include "powerhose/zmtp.hpp"

namespace powerhose {

using std::chrono::milliseconds;

// A Config says what a worker is. What is not set has a default.
struct Config {
  std::string master = {};              // path of the master's socket, or tcp://HOST:PORT; default $POWERHOSE_MASTER
  std::string name = {};                // default PROGRAM-PID
  std::string socket = {};              // path of the own socket; default NAME.sock beside the master's
  std::vector<std::string> kinds = {};  // of jobs that it takes; none takes every job
  unsigned window = 4;                  // jobs that it is willing to hold, 1 to 16
  std::vector<uid_t> masters = {};      // users that a master may have besides our own

  // A master at tcp://HOST:PORT is on another host. The program includes
  // powerhose/curve.hpp then, socket is tcp://HOST:PORT too, at which the master
  // reaches this worker and from which it sees it come (port 0 is one that is
  // free), and the window is 1.
  std::string listen = {};      // where it listens, if that is not socket: tcp://HOST:PORT, where * is every address
  std::string key = {};         // file of the own secret key; default $POWERHOSE_KEY
  std::string master_key = {};  // file of the master's public key; default $POWERHOSE_MASTER_KEY

  // After so many jobs, at this age (or up to a tenth earlier, at random), or
  // with so many bytes in memory it leaves, for the supervisor to replace it.
  // 0 is never.
  std::uint64_t max_jobs = 0;
  milliseconds max_age{0};
  std::uint64_t max_rss = 0;

  milliseconds handshake{2000};  // for a registration, then for the master to connect
  milliseconds drain{30000};     // for the master to say farewell
  milliseconds retry{100};       // before the first try to come back; it doubles
  milliseconds retry_most{2000};
  unsigned retries = 10;

  // Where a line about what happened goes; default standard error.
  std::function<void(const std::string &)> log = {};
};

// A Result is what became of a job.
class Result {
 public:
  Result(std::string body) : body_(std::move(body)) {}  // NOLINT: a body is a result
  Result(std::string_view body) : body_(body) {}        // NOLINT
  Result(const char *body) : body_(body) {}             // NOLINT

  // error says that the job failed, and why. Detail is any bytes.
  static Result error(std::string text, std::string detail = {}) {
    return Result(wire::Code::application, std::move(text), std::move(detail));
  }
  // rejected says that this worker does not take such a job.
  static Result rejected(std::string text) { return Result(wire::Code::rejected, std::move(text), {}); }
  // cancelled says that the job was given up since Job::cancelled() said so.
  static Result cancelled() { return Result(wire::Code::cancelled, "cancelled", {}); }

 private:
  friend class Worker;
  Result(wire::Code code, std::string text, std::string body) : code_(code), text_(std::move(text)), body_(std::move(body)) {}

  wire::Code code_ = wire::Code::ok;
  std::string text_, body_;
};

class Worker;

// A Job is what a handler is given.
class Job {
 public:
  const std::string &body() const { return body_; }
  std::string &body() { return body_; }
  const std::string &kind() const { return kind_; }  // empty if it has none
  unsigned attempt() const { return attempt_; }      // from 1
  bool repeatable() const { return (flags_ & wire::flag_repeatable) != 0; }

  // left is the time to the deadline; it is negative after it.
  milliseconds left() const { return std::chrono::duration_cast<milliseconds>(deadline_ - Clock::now()); }

  // cancelled reports whether nobody waits for the result any more. It looks
  // at the links, which takes about a microsecond, and answers the master's
  // pings.
  bool cancelled();

  // progress sends a message to the caller, if it wants such. It is dropped,
  // and false returned, while an earlier one waits to be read.
  bool progress(std::string_view body);

 private:
  friend class Worker;
  std::uint64_t number_ = 0;
  std::uint8_t attempt_ = 0, flags_ = 0;
  bool cancelled_ = false;
  Clock::time_point deadline_;
  std::string kind_, body_;
  Worker *worker_ = nullptr;
};

using Handler = std::function<Result(Job &)>;

namespace detail {

// Signals turns SIGTERM and SIGINT into a byte in a pipe for as long as it lives.
class Signals {
 public:
  Signals() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) throw std::runtime_error("pipe: " + error_text(errno));
    read_ = Fd(ends[0]);
    write_ = Fd(ends[1]);
    owner() = ::getpid();
    target() = ends[1];
    struct sigaction now {};
    now.sa_handler = note;
    now.sa_flags = SA_RESTART;
    sigemptyset(&now.sa_mask);
    for (std::size_t i = 0; i < numbers.size(); i++) {
      ::sigaction(numbers[i], nullptr, &before_[i]);
      // What was to be ignored is ignored: a shell's background jobs and SIGINT.
      if (before_[i].sa_handler != SIG_IGN) ::sigaction(numbers[i], &now, nullptr);
    }
  }
  Signals(const Signals &) = delete;
  Signals &operator=(const Signals &) = delete;
  ~Signals() {
    for (std::size_t i = 0; i < numbers.size(); i++) ::sigaction(numbers[i], &before_[i], nullptr);
    target() = -1;
  }

  int fd() const { return read_.get(); }

  // take gives the last signal that came, or 0.
  int take() const {
    unsigned char b = 0;
    return ::read(fd(), &b, 1) == 1 ? b : 0;
  }

 private:
  static constexpr std::array<int, 2> numbers = {SIGTERM, SIGINT};

  static std::atomic<pid_t> &owner() {
    static std::atomic<pid_t> pid;
    return pid;
  }
  static std::atomic<int> &target() {
    static std::atomic<int> fd;
    return fd;
  }

  static void note(int number) {
    const int error = errno;
    if (::getpid() != owner()) {  // a child that was forked dies as it would have without us
      ::signal(number, SIG_DFL);
      ::raise(number);
    } else {
      const auto b = static_cast<unsigned char>(number);
      if (::write(target(), &b, 1) != 1) errno = error;  // full: there is one to be read
    }
    errno = error;
  }

  Fd read_, write_;
  std::array<struct sigaction, 2> before_{};
};

// A Notifier tells the supervisor how busy the worker is: BUSY=1/1 when a job
// starts, BUSY=0/1 when none has come for a moment, so that many short jobs are
// one message. READY=1 and STOPPING=1 decide what the end of the process is taken
// for: they wait a second for a supervisor that does not read.
class Notifier {
 public:
  static constexpr milliseconds moment{100};

  Notifier() {
    const char *path = std::getenv("NOTIFY_SOCKET");
    if (path == nullptr || (path[0] != '/' && path[0] != '@') || std::strlen(path) >= sizeof to_.sun_path) return;
    to_.sun_family = AF_UNIX;
    std::memcpy(to_.sun_path, path, std::strlen(path));
    size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path) + (path[0] == '/' ? 1 : 0));
    if (path[0] == '@') to_.sun_path[0] = '\0';
    fd_ = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const timeval second{1, 0};
    if (fd_ && ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second) != 0) fd_ = Fd();
  }

  void ready() { tell("READY=1\nBUSY=0/1", 0); }
  void stopping() { tell("STOPPING=1", 0); }

  void busy() {
    if (!std::exchange(busy_, true)) tell("BUSY=1/1", MSG_DONTWAIT);
  }

  // idle says when it wants to be called again, if it does.
  void idle(Clock::time_point now, Clock::time_point since, Clock::time_point &timer) {
    if (!busy_) return;
    if (now < since + moment) {
      timer = std::min(timer, since + moment);
      return;
    }
    busy_ = false;
    tell("BUSY=0/1", MSG_DONTWAIT);
  }

 private:
  void tell(std::string_view text, int flags) const {
    if (!fd_) return;
    static_cast<void>(::sendto(fd_.get(), text.data(), text.size(), flags | MSG_NOSIGNAL, reinterpret_cast<const sockaddr *>(&to_), size_));
  }

  Fd fd_;
  sockaddr_un to_{};
  socklen_t size_ = 0;
  bool busy_ = false;
};

// resident is how many bytes of memory the process has.
inline std::uint64_t resident() {
  const Fd fd(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC));
  std::array<char, 128> text{};
  if (!fd || ::read(fd.get(), text.data(), text.size() - 1) <= 0) return 0;
  char *end = nullptr;
  std::strtoull(text.data(), &end, 10);
  return std::strtoull(end, nullptr, 10) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

inline void random_bytes(void *to, std::size_t size) {
  if (::getrandom(to, size, 0) != static_cast<ssize_t>(size)) throw std::runtime_error("getrandom: " + error_text(errno));
}

}  // namespace detail

// retry_delay is the pause before try n, from 0: it doubles up to most, and is
// shorter by up to a fifth; random is from 0 to 1.
inline milliseconds retry_delay(const Config &c, unsigned n, double random) {
  milliseconds d = c.retry;
  for (unsigned i = 0; i < n && d < c.retry_most; i++) d *= 2;
  d = std::min(d, c.retry_most);
  return d - milliseconds(static_cast<milliseconds::rep>(static_cast<double>(d.count()) * random / 5));
}

// A Worker runs the handler for each job.
class Worker {
 public:
  // Statuses of run().
  static constexpr int done = 0;         // it was asked to leave, or was due to be replaced
  static constexpr int misused = 2;      // the configuration is wrong
  static constexpr int failed = 3;       // it could not start
  static constexpr int masterless = 69;  // the master is gone, or does not want it

  Worker(Config config, Handler handler) : config_(std::move(config)), handler_(std::move(handler)) {}
  Worker(const Worker &) = delete;
  Worker &operator=(const Worker &) = delete;

  // run is the life of the worker; its result is for exit(). It throws nothing:
  // what happens is logged.
  int run() noexcept {
    try {
      return live();
    } catch (const std::exception &e) {
      log(e.what());
    } catch (...) {
      log("something was thrown that is no std::exception");
    }
    return failed;
  }

 private:
  friend class Job;

  enum class Phase : std::uint8_t { joining, attaching, ready };
  enum class Ending : std::uint8_t { none, lost, refused, done };

  struct Candidate {
    Link link;
    Clock::time_point until;
  };

  // Stirs is what poll() saw.
  struct Stirs {
    bool signals = false, listener = false, registration = false, candidates = false, work = false;
  };

  static constexpr std::size_t max_candidates = 4;

  int live() {
    if (const std::string e = complete(); !e.empty()) {
      log(e);
      return misused;
    }
    signals_.emplace();
    notifier_.emplace();
    listener_.emplace();
    const struct Cleaner {
      Worker *w;
      ~Cleaner() { w->close(); }
    } cleaner{this};
    if (const std::string e = listen(); !e.empty()) {
      log(e);
      return failed;
    }
    pid_ = ::getpid();
    jobs_ = 0;
    detail::random_bytes(incarnation_.data(), incarnation_.size());
    incarnation_[0] |= 1;  // all zeros is none
    places_.clear();
    std::uint64_t seed = 0;
    detail::random_bytes(&seed, sizeof seed);
    random_.seed(seed);
    born_ = Clock::now();
    max_age_ = config_.max_age - milliseconds(static_cast<milliseconds::rep>(static_cast<double>(config_.max_age.count()) * chance() / 10));

    for (unsigned tries = 0;;) {
      ending_ = Ending::none;
      too_fast_ = false;
      const Clock::time_point attached = session();
      if (ending_ == Ending::done) return done;
      if (ending_ == Ending::refused) return masterless;
      if (attached != Clock::time_point() && Clock::now() - attached >= period_) tries = 0;
      if (tries >= config_.retries) {
        log("no master at " + config_.master + " after " + std::to_string(tries) + " tries");
        return masterless;
      }
      const milliseconds pause = retry_delay(config_, tries, chance());
      if (!too_fast_) tries++;
      if (!pause_for(pause)) return done;
    }
  }

  // complete fills in the defaults. It returns what is wrong, if anything is.
  std::string complete() {
    if (!handler_) return "a worker needs a handler";
    if (config_.master.empty()) {
      if (const char *m = std::getenv("POWERHOSE_MASTER")) config_.master = m;
    }
    if (config_.master.empty()) return "a worker needs the path of its master; set POWERHOSE_MASTER";
    own_name_ = config_.name.empty();
    if (own_name_) {
      std::string program = program_invocation_short_name;
      program.resize(std::min<std::size_t>(program.size(), 40));
      for (char &c : program) {
        if (!wire::detail::word(std::string_view(&c, 1))) c = '_';
      }
      config_.name = program + "-" + std::to_string(::getpid());
    }
    const bool tcp = detail::is_tcp(config_.master);
    if (!tcp) config_.master = detail::place(config_.master);
    if (!tcp && config_.socket.empty()) {
      const std::size_t slash = config_.master.rfind('/');
      config_.socket = (slash == std::string::npos ? std::string(".") : config_.master.substr(0, slash)) + "/" + config_.name + ".sock";
    } else {
      own_name_ = false;  // the path is not of this process alone
      if (!tcp && !detail::is_tcp(config_.socket)) config_.socket = detail::place(config_.socket);
    }
    if (config_.window < 1 || config_.window > wire::max_window) return "a window is from 1 to 16, not " + std::to_string(config_.window);
    if (config_.kinds.size() > wire::max_kinds) return "a worker names at most 16 kinds, not " + std::to_string(config_.kinds.size());
    if (config_.name.size() > 64 || !wire::detail::word(config_.name)) {
      return "\"" + config_.name + "\" is no name: at most 64 letters, digits and . _ + -";
    }
    kinds_.clear();
    for (const std::string &k : config_.kinds) {
      if (k.empty() || k.size() > 32 || !wire::detail::word(k)) return "\"" + k + "\" is no kind: 1 to 32 letters, digits and . _ + -";
      wire::Kinds::add(kinds_, k);
    }
    if (tcp) return complete_tcp();
    if (!config_.key.empty() || !config_.master_key.empty()) return config_.master + ": a Unix socket has no keys; they are for tcp://HOST:PORT";
    if (!config_.listen.empty()) return config_.listen + ": listen is for a socket over TCP";
    if (detail::is_tcp(config_.socket)) return config_.socket + ": the master is at a Unix socket, " + config_.master + "; so is its worker";
    sockaddr_un unused;
    if (std::string e = detail::address(config_.master, unused); !e.empty()) return e;
    return detail::address(config_.socket, unused);
  }

  // complete_tcp is complete for a master on another host.
  std::string complete_tcp() {
    const std::string hint = "give tcp://HOST:PORT, the address at which the master reaches this worker; port 0 is one that is free";
    std::string host;
    unsigned port = 0;
    if (std::string e = detail::split(config_.master, host, port); !e.empty()) return e;
    if (port == 0) return config_.master + ": a master has a port";
    if (config_.socket.empty()) return "a worker of " + config_.master + " needs a socket: " + hint;
    if (!detail::is_tcp(config_.socket)) return config_.socket + ": a master at " + config_.master + " cannot reach this socket: " + hint;
    if (std::string e = detail::split(config_.socket, host, port); !e.empty()) return e;
    std::vector<detail::Place> number;
    const bool named = !detail::resolve(config_.socket, number, AI_NUMERICHOST).empty();
    if (host == "*" || (!named && number[0].everywhere())) return config_.socket + ": that is every address of this host: " + hint;
    if (!config_.listen.empty()) {
      if (!detail::is_tcp(config_.listen)) return config_.listen + ": not tcp://HOST:PORT, where a worker over TCP listens";
      if (port == 0) return config_.socket + ": give the port that leads to " + config_.listen;
      if (std::string e = detail::split(config_.listen, host, port); !e.empty()) return e;
    }
    const auto file = [&](std::string &path, const char *variable) {
      const char *value = std::getenv(variable);
      if (path.empty() && value != nullptr) path = value;
      return !path.empty();
    };
    if (!file(config_.key, "POWERHOSE_KEY")) return config_.master + ": TCP needs a key; set POWERHOSE_KEY";
    if (!file(config_.master_key, "POWERHOSE_MASTER_KEY")) return config_.master + ": TCP needs the key of the master; set POWERHOSE_MASTER_KEY";
    if (detail::read_keys == nullptr) return config_.master + ": TCP needs CURVE; include powerhose/curve.hpp, and link libsodium";
    config_.window = 1;  // a reset can overtake what was written before it
    return {};
  }

  // listen takes the own socket. It returns an error text, or nothing.
  std::string listen() {
    told_ = config_.socket;
    keys_.reset();
    if (!detail::is_tcp(config_.master)) return listener_->listen(config_.socket, own_name_);
    if (std::string e = detail::read_keys(config_.key, config_.master_key, keys_); !e.empty()) return e;
    Fd fd;
    if (config_.listen.empty()) {
      if (std::string e = detail::listen(config_.socket, fd, told_); !e.empty()) return e;
    } else {
      std::vector<detail::Place> places;
      if (std::string e = detail::resolve(config_.socket, places); !e.empty()) return e;
      if (std::string e = detail::listen(config_.listen, fd, told_); !e.empty()) return e;
      told_ = places[0].text();
    }
    listener_->adopt(std::move(fd));
    return {};
  }

  // connect begins the registration link. It returns an error text, or nothing.
  std::string connect() {
    Fd fd;
    if (!keys_) {
      sockaddr_un to;
      detail::address(config_.master, to);
      std::string who;
      if (const int e = detail::dial(to, fd); e != 0) return detail::error_text(e);
      if (!admitted(fd.get(), who)) return who;
      registration_ = Link(std::move(fd), Link::Role::dealer);
    } else {
      // Each try has the next address of the host; then its name is looked up anew.
      if (next_place_ >= places_.size()) {
        next_place_ = 0;
        if (std::string e = detail::resolve(config_.master, places_); !e.empty()) return e;
      }
      if (const int e = detail::dial(places_[next_place_++], fd); e != 0) return detail::error_text(e);
      registration_ = Link(std::move(fd), Link::Role::dealer, keys_->mechanism(false));
    }
    return registration_.ended() ? registration_.end().text : std::string();
  }

  void close() {
    forget();
    listener_.reset();
    notifier_.reset();
    signals_.reset();
  }

  void forget() {
    registration_ = Link();
    work_ = Link();
    candidates_.clear();
    queue_.clear();
  }

  double chance() { return std::uniform_real_distribution<double>(0, 1)(random_); }

  void log(const std::string &text) noexcept {
    try {
      if (config_.log) {
        config_.log(text);
        return;
      }
      const std::string line = "powerhose: " + (config_.name.empty() ? std::string("worker") : config_.name) + ": " + text + "\n";
      if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;
    } catch (...) {
      return;  // a worker does not end over its log
    }
  }

  // pause_for waits. It returns false if the worker is to end.
  bool pause_for(milliseconds pause) {
    const Clock::time_point until = Clock::now() + pause;
    for (;;) {
      if (signals_->take() != 0) return false;
      Clock::time_point wake = until;
      const Clock::time_point now = Clock::now();
      if (now >= until) return true;
      notifier_->idle(now, idle_since_, wake);
      pollfd p = {signals_->fd(), POLLIN, 0};
      ::poll(&p, 1, detail::poll_time(now, wake));
    }
  }

  void end(Ending e, const std::string &text) {
    if (ending_ != Ending::none) return;
    // Who was about to leave anyhow has left.
    ending_ = e == Ending::lost && leaving_ ? Ending::done : e;
    if (!text.empty()) log(text);
  }

  bool admitted(int fd, std::string &who) const {
    detail::Peer p;
    if (!detail::peer_of(fd, p)) {
      who = detail::error_text(errno);
      return false;
    }
    who = "process " + std::to_string(p.pid) + " of user " + std::to_string(p.uid) + " is not admitted";
    return p.uid == ::geteuid() || std::find(config_.masters.begin(), config_.masters.end(), p.uid) != config_.masters.end();
  }

  // session is one registration and all that follows from it. It returns when
  // the work link was attached, or nothing.
  Clock::time_point session() {
    forget();
    while (listener_->accept()) {  // of an earlier registration
    }
    phase_ = Phase::joining;
    attached_ = {};
    leaving_ = false;
    bye_sent_ = false;
    hello_sent_ = false;
    step_until_ = Clock::now() + config_.handshake;
    if (const std::string e = connect(); !e.empty()) end(Ending::lost, config_.master + ": " + e);
    while (ending_ == Ending::none) {
      // Before a job is started all is read that is there, and the end of a link
      // with it.
      if (queue_.empty()) {
        wait();
      } else {
        look(0);
      }
      service();
      if (ending_ == Ending::none && !queue_.empty()) take_next();
    }
    forget();
    return attached_;
  }

  // wait lets the time pass until something happens.
  void wait() {
    const Clock::time_point now = Clock::now();
    Clock::time_point wake = now + std::chrono::hours(1);
    if (phase_ == Phase::attaching) {
      for (const Candidate &c : candidates_) wake = std::min(wake, c.until);
    }
    if (phase_ != Phase::ready || leaving_) wake = std::min(wake, step_until_);
    if (phase_ == Phase::ready) wake = std::min(wake, next_ping_);
    if (max_age_ > milliseconds(0) && !leaving_) wake = std::min(wake, born_ + max_age_);
    notifier_->idle(now, idle_since_, wake);
    look(detail::poll_time(now, wake));
  }

  // look waits for something to happen, and notes what service() has to see to.
  bool look(int timeout) {
    std::array<pollfd, 4 + max_candidates> all{};
    std::array<bool *, 4 + max_candidates> what{};
    std::size_t n = 0;
    stirs_ = Stirs{};
    const auto add = [&](int fd, bool writes, bool &stirs) {
      what[n] = &stirs;
      all[n].fd = fd;
      all[n++].events = static_cast<short>(POLLIN | (writes ? POLLOUT : 0));
    };
    add(signals_->fd(), false, stirs_.signals);
    add(listener_->fd(), false, stirs_.listener);
    if (registration_) add(registration_.fd(), registration_.writes(), stirs_.registration);
    if (work_) add(work_.fd(), work_.writes(), stirs_.work);
    if (phase_ == Phase::attaching) {
      for (const Candidate &c : candidates_) add(c.link.fd(), c.link.writes(), stirs_.candidates);
    }
    if (::poll(all.data(), n, timeout) <= 0) return false;
    for (std::size_t i = 0; i < n; i++) *what[i] = *what[i] || all[i].revents != 0;
    return true;
  }

  milliseconds patience() const { return period_ * tries_; }

  // service does all that can be done without waiting.
  void service() {
    if (stirs_.signals) {
      if (const int s = signals_->take(); s != 0) leave(wire::Code::stop, s == SIGTERM ? "SIGTERM" : "SIGINT");
    }
    if (stirs_.listener) accept();
    if (stirs_.registration) read_registration();
    if (phase_ == Phase::attaching) read_candidates();
    if (stirs_.work) read_work();
    if (ending_ == Ending::none) timers();
  }

  void timers() {
    const Clock::time_point now = Clock::now();
    if (phase_ == Phase::joining && now >= step_until_) {
      end(Ending::lost, "the master at " + config_.master + " did not answer in time");
    } else if (phase_ == Phase::attaching && now >= step_until_) {
      end(Ending::lost, "the master did not connect to " + told_ + " in time");
    } else if (leaving_ && !running_ && now >= step_until_) {
      end(Ending::done, "the master did not say farewell in time");
    }
    if (phase_ != Phase::ready || running_ != nullptr || ending_ != Ending::none) return;
    if (now >= next_ping_) {
      // A period counts only if it was waited for: who was stopped for a while
      // does not take it for silence of the master.
      if (++silent_ >= tries_) {
        end(Ending::lost, "the master is silent");
        return;
      }
      wire::Head ping;
      ping.type = wire::Type::ping;
      ping.number = ++pings_;
      tell(registration_, ping);
      next_ping_ = now + period_;
    }
    if (max_age_ > milliseconds(0) && now >= born_ + max_age_) leave(wire::Code::max_age, "it is old");
  }

  // tell writes a short message. A peer that lets too many of them wait is lost.
  void tell(Link &link, const wire::Head &h, std::string_view body = {}) {
    link.send(h, body);
    if (link.waiting() > max_waiting) link.stop(wire::Code::too_slow, "the master does not read");
    if (link.ended()) end(Ending::lost, link.end().text);
  }

  void accept() {
    while (Fd fd = listener_->accept()) {
      std::string who;
      if (!keys_ && !admitted(fd.get(), who)) {
        log(told_ + ": " + who);
        continue;
      }
      if (phase_ == Phase::ready) continue;  // there is one already
      if (candidates_.size() == max_candidates) {
        // The oldest; whoever has shown a key is not pushed out by strangers.
        auto out = std::find_if(candidates_.begin(), candidates_.end(), [](const Candidate &c) { return !c.link.open(); });
        candidates_.erase(out == candidates_.end() ? candidates_.begin() : out);
      }
      if (keys_) detail::at_once(fd.get());
      candidates_.push_back({Link(std::move(fd), Link::Role::router, keys_ ? keys_->mechanism(true) : nullptr), Clock::now() + config_.handshake});
    }
  }

  void read_registration() {
    Message m;
    Link &link = registration_;
    while (ending_ == Ending::none) {
      link.flush();
      const Link::Got got = link.next(m);
      if (link.open() && !hello_sent_) {
        hello_sent_ = true;
        tell(link, hello());
      }
      if (got == Link::Got::nothing) return;
      if (got == Link::Got::ended) {
        end(Ending::lost, config_.master + ": " + link.end().text);
        return;
      }
      silent_ = 0;
      switch (m.head.type) {
        case wire::Type::welcome:
          if (phase_ != Phase::joining) {
            broken(link, m);
          } else {
            welcome(m.head);
          }
          break;
        case wire::Type::refused:
          refused(m.head);
          break;
        case wire::Type::ping:
          pong(m.head.number);
          break;
        case wire::Type::pong:
          break;
        default:
          broken(link, m);
      }
    }
  }

  void broken(Link &link, const Message &m) {
    const std::string text = std::string("a ") + wire::name(m.head.type) + " came where there can be none";
    link.stop(wire::Code::broken, text);
    end(Ending::lost, text);
  }

  wire::Head hello() const {
    wire::Head h;
    h.type = wire::Type::hello;
    h.pid = static_cast<std::uint32_t>(pid_);
    h.incarnation = incarnation_;
    h.lowest = h.highest = wire::version;
    h.window = static_cast<std::uint8_t>(config_.window);
    h.name = config_.name;
    h.socket = told_;
    h.kinds = kinds_;
    h.language = "c++17";
    h.library = "powerhose-cpp-0.1.0";
    return h;
  }

  void welcome(const wire::Head &h) {
    if (h.version != wire::version) {
      const std::string text = "the master chose version " + std::to_string(h.version) + "; this worker speaks 1";
      registration_.stop(wire::Code::bad_version, text);
      end(Ending::refused, text);
      return;
    }
    if (h.window == 0 || h.window > config_.window) {
      const std::string text = "the master granted a window of " + std::to_string(h.window) + "; asked for was " + std::to_string(config_.window);
      registration_.stop(wire::Code::broken, text);
      end(Ending::lost, text);
      return;
    }
    window_ = h.window;
    tries_ = h.tries;
    period_ = milliseconds(h.period);
    max_body_ = std::min<std::uint64_t>(h.max_body, INT32_MAX);
    master_ = h.incarnation;
    phase_ = Phase::attaching;
    step_until_ = Clock::now() + config_.handshake;
  }

  void refused(const wire::Head &h) {
    const std::string text = "the master refuses this worker with code " + std::to_string(static_cast<unsigned>(h.code)) +
                             (h.text.empty() ? "" : ": " + std::string(h.text));
    too_fast_ = h.code == wire::Code::too_fast;
    switch (h.code) {
      case wire::Code::bad_version:
      case wire::Code::bad_socket:
      case wire::Code::bad_credentials:
      case wire::Code::malformed:
      case wire::Code::broken:
        end(phase_ == Phase::ready ? Ending::lost : Ending::refused, text);
        break;
      default:
        end(Ending::lost, text);
    }
  }

  void pong(std::uint64_t number) {
    std::string held;
    wire::Head h;
    h.type = wire::Type::pong;
    h.number = number;
    if (running_ != nullptr) {
      wire::held_add(held, running_->number_);
      const auto ms = std::chrono::duration_cast<milliseconds>(Clock::now() - idle_since_).count();
      h.run = static_cast<std::uint32_t>(std::min<milliseconds::rep>(ms, UINT32_MAX));
    }
    for (const Job &j : queue_) wire::held_add(held, j.number_);
    h.held = held;
    tell(registration_, h);
  }

  // read_candidates looks for the link that the master makes to us: it begins
  // with the WELCOME of the registration. Any other is closed.
  void read_candidates() {
    Message m;
    const Clock::time_point now = Clock::now();
    for (std::size_t i = 0; i < candidates_.size();) {
      Link &link = candidates_[i].link;
      link.flush();
      const Link::Got got = link.next(m);
      if (got == Link::Got::message && m.head.type == wire::Type::welcome && m.head.incarnation == master_) {
        attach(std::move(link));
        return;
      }
      if (got == Link::Got::message) link.stop(wire::Code::broken, "the first message must be the WELCOME of the registration");
      if (got == Link::Got::nothing && now < candidates_[i].until) {
        i++;
        continue;
      }
      if (got != Link::Got::nothing) log(told_ + ": a link was closed: " + link.end().text);
      candidates_.erase(candidates_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  void attach(Link link) {
    work_ = std::move(link);
    candidates_.clear();
    work_.set_max_body(max_body_);
    stirs_.work = true;  // more may have been read than the WELCOME
    if (keys_) {
      for (const Link *l : {&registration_, &work_}) detail::limit_outage(l->fd(), patience());
    }
    phase_ = Phase::ready;
    attached_ = Clock::now();
    silent_ = 0;
    next_ping_ = attached_ + period_;
    tell(work_, hello());
    if (!std::exchange(was_ready_, true)) notifier_->ready();
    log("registered with the master at " + config_.master);
  }

  void read_work() {
    Message m;
    while (ending_ == Ending::none) {
      work_.flush();
      const Link::Got got = work_.next(m);
      if (got == Link::Got::nothing) return;
      if (got == Link::Got::ended) {
        end(Ending::lost, "work link: " + work_.end().text);
        return;
      }
      silent_ = 0;
      switch (m.head.type) {
        case wire::Type::job:
          take(m);
          break;
        case wire::Type::cancel:
          if (running_ != nullptr && running_->number_ == m.head.number) running_->cancelled_ = true;
          for (Job &j : queue_) {
            if (j.number_ == m.head.number) j.cancelled_ = true;
          }
          break;
        case wire::Type::drain:
          leave(wire::Code::stop, "the master asks for it");
          break;
        case wire::Type::bye:
          end(bye_sent_ ? Ending::done : Ending::lost, bye_sent_ ? "" : "the master says farewell");
          break;
        case wire::Type::refused:
          refused(m.head);
          break;
        default:
          broken(work_, m);
      }
    }
  }

  void take(Message &m) {
    const auto same = [&](const Job &j) { return j.number_ == m.head.number; };
    if ((running_ != nullptr && same(*running_)) || std::any_of(queue_.begin(), queue_.end(), same)) {
      work_.stop(wire::Code::broken, "a job came twice");
      end(Ending::lost, work_.end().text);
      return;
    }
    if (leaving_) {
      give_back(m.head.number);
      return;
    }
    if (queue_.size() + (running_ != nullptr ? 1 : 0) >= window_) {
      work_.stop(wire::Code::broken, "more jobs came than the window of " + std::to_string(window_));
      end(Ending::lost, work_.end().text);
      return;
    }
    Job j;
    j.number_ = m.head.number;
    j.attempt_ = m.head.attempt;
    j.flags_ = m.head.flags;
    j.deadline_ = Clock::now() + milliseconds(m.head.left);
    j.kind_ = m.head.kind;
    j.body_ = std::move(m.body);
    j.worker_ = this;
    queue_.push_back(std::move(j));
  }

  void give_back(std::uint64_t number) {
    wire::Head h;
    h.type = wire::Type::returned;
    h.number = number;
    tell(work_, h);
  }

  // leave begins the end: no job is started any more.
  void leave(wire::Code code, const std::string &text) {
    if (leaving_ || ending_ != Ending::none) return;
    log("leaves: " + text);
    leaving_ = true;
    step_until_ = Clock::now() + config_.drain;
    if (phase_ != Phase::ready) {
      end(Ending::done, "");
      return;
    }
    notifier_->stopping();
    wire::Head h;
    h.type = wire::Type::drain;
    h.code = leave_code_ = code;
    h.text = text;
    tell(work_, h);
    while (!queue_.empty()) {
      give_back(queue_.front().number_);
      queue_.pop_front();
    }
    farewell();
  }

  void farewell() {
    if (!leaving_ || bye_sent_ || running_ != nullptr || ending_ != Ending::none) return;
    bye_sent_ = true;
    step_until_ = Clock::now() + config_.drain;
    wire::Head h;
    h.type = wire::Type::bye;
    h.code = leave_code_;
    tell(work_, h);
  }

  // take_next answers the first job of the queue.
  void take_next() {
    Job job = std::move(queue_.front());
    queue_.pop_front();
    const Clock::time_point began = Clock::now();
    if (job.cancelled_) {
      answer(job, Result::cancelled(), 0);
    } else if (began >= job.deadline_) {
      answer(job, Result(wire::Code::expired, "the deadline was over before the job was started", {}), 0);
    } else {
      idle_since_ = began;
      notifier_->busy();
      running_ = &job;
      Result result = call(job);
      if (::getpid() != pid_) ::_exit(EXIT_FAILURE);  // a child that the handler forked: the job is the parent's
      running_ = nullptr;
      idle_since_ = Clock::now();
      const auto us = std::chrono::ceil<std::chrono::microseconds>(idle_since_ - began).count();
      jobs_++;
      if (ending_ == Ending::none) {  // else nobody waits for the answer
        answer(job, std::move(result), static_cast<std::uint32_t>(std::clamp<std::int64_t>(us, 1, UINT32_MAX)));
      }
    }
    if (ending_ != Ending::none) return;
    const Clock::time_point now = Clock::now();
    silent_ = 0;  // while it was busy it did not listen
    next_ping_ = now + period_;
    if (config_.max_jobs != 0 && jobs_ >= config_.max_jobs) leave(wire::Code::max_jobs, "it has done its " + std::to_string(jobs_) + " jobs");
    if (config_.max_rss != 0 && now >= next_rss_) {
      next_rss_ = now + milliseconds(100);  // it costs as much as a short job
      const std::uint64_t rss = detail::resident();
      if (rss > config_.max_rss) leave(wire::Code::max_rss, "it has grown to " + std::to_string(rss) + " bytes");
    }
    farewell();
  }

  Result call(Job &job) {
    try {
      return handler_(job);
    } catch (const std::exception &e) {
      return Result::error(e.what());
    } catch (...) {
      return Result(wire::Code::panic, "the handler threw something that is no std::exception", {});
    }
  }

  // answer writes an answer, all of it: the next job is not started before the
  // kernel has it.
  void answer(const Job &job, Result r, std::uint32_t run) {
    if (r.code_ == wire::Code::cancelled && !job.cancelled_) r.code_ = wire::Code::application;
    if (r.body_.size() > max_body_) {
      r = Result::error("the result has " + std::to_string(r.body_.size()) + " bytes; the master takes at most " + std::to_string(max_body_) + " (its --max-body)");
    }
    const std::string text = wire::cut_text(r.text_);
    wire::Head h;
    h.type = r.code_ == wire::Code::ok ? wire::Type::result : wire::Type::error;
    h.number = job.number_;
    h.code = r.code_;
    h.run = run;
    h.text = text;
    work_.send(h, r.body_);
    // A master that is alive reads, or closes a link.
    Clock::time_point until = Clock::now() + patience();
    for (std::size_t left = work_.waiting(); work_.writes();) {
      std::array<pollfd, 2> p{};
      p[0] = {work_.fd(), POLLOUT, 0};
      p[1] = {registration_.fd(), 0, 0};
      const Clock::time_point now = Clock::now();
      if (now >= until) work_.stop(wire::Code::too_slow, "the master does not read");
      if (::poll(p.data(), p.size(), detail::poll_time(now, until)) > 0 && p[1].revents != 0) {
        end(Ending::lost, "registration link: the peer closed the link");
        return;
      }
      work_.flush();
      if (work_.waiting() < left) {
        left = work_.waiting();
        until = Clock::now() + patience();
      }
    }
    if (work_.ended()) end(Ending::lost, "work link: " + work_.end().text);
  }

  // cancelled serves Job::cancelled().
  bool cancelled(const Job &job) {
    if (ending_ == Ending::none && look(0)) service();
    return job.cancelled_ || ending_ != Ending::none;
  }

  bool progress(const Job &job, std::string_view body) {
    if ((job.flags_ & wire::flag_progress) == 0 || ending_ != Ending::none || body.size() > max_body_) return false;
    if (!work_.flush() || work_.writes()) return false;
    wire::Head h;
    h.type = wire::Type::progress;
    h.number = job.number_;
    return work_.send(h, body);
  }

  static constexpr std::size_t max_waiting = 64 << 10;

  Config config_;
  Handler handler_;
  bool own_name_ = false;  // the name is of this process alone
  std::string kinds_;
  std::string told_;            // the own socket, as the master is told
  std::unique_ptr<Keys> keys_;  // of TCP
  std::vector<detail::Place> places_;  // of the master over TCP
  std::size_t next_place_ = 0;
  std::array<unsigned char, 16> incarnation_{}, master_{};
  pid_t pid_ = 0;
  std::mt19937_64 random_;

  std::optional<detail::Signals> signals_;
  std::optional<detail::Notifier> notifier_;
  std::optional<Listener> listener_;

  // Of this registration.
  Link registration_, work_;
  std::vector<Candidate> candidates_;
  Phase phase_ = Phase::joining;
  Stirs stirs_;
  Ending ending_ = Ending::none;
  bool too_fast_ = false, hello_sent_ = false, leaving_ = false, bye_sent_ = false, was_ready_ = false;
  wire::Code leave_code_ = wire::Code::stop;
  std::size_t window_ = 0;
  unsigned tries_ = 0, silent_ = 0;  // periods
  milliseconds period_{0};
  std::uint64_t max_body_ = 0, pings_ = 0;
  Clock::time_point attached_, step_until_, next_ping_;

  std::deque<Job> queue_;   // in the order in which they came
  Job *running_ = nullptr;  // what the handler has

  // Of this life.
  std::uint64_t jobs_ = 0;
  milliseconds max_age_{0};
  Clock::time_point born_, next_rss_, idle_since_;  // idle_since_: of the last start or end of a job
};

inline bool Job::cancelled() { return worker_ != nullptr && worker_->cancelled(*this); }
inline bool Job::progress(std::string_view body) { return worker_ != nullptr && worker_->progress(*this, body); }

}  // namespace powerhose

#endif
