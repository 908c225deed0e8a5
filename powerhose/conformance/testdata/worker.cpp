// The worker of the tests, in C++. The package comment says what jobs there are.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <powerhose/worker.hpp>
#include <sstream>

namespace {

using powerhose::Job;
using powerhose::Result;

void mark(const std::string &path, const Job &job) {
  if (path.empty() || path == "-") return;
  const std::string line = std::to_string(::getpid()) + " " + std::to_string(job.attempt()) + "\n";
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0 || ::write(fd, line.data(), line.size()) < 0) throw std::runtime_error("cannot write " + path);
  ::close(fd);
}

bool there(const std::string &path) { return ::access(path.c_str(), F_OK) == 0; }

Result fork_child(const std::string &path) {
  const pid_t child = ::fork();
  if (child != 0) return std::to_string(child);
  for (int i = 0; i < 60000 && !there(path); i++) ::poll(nullptr, 0, 2);
  ::_exit(0);
}

int ledger = -1;

void note(const std::string &text) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::string line = text + " " + std::to_string(std::chrono::nanoseconds(now).count()) + "\n";
  if (::write(ledger, line.data(), line.size()) < 0) throw std::runtime_error("cannot write the ledger");
}

std::uint32_t crc32(const std::string &s) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t n = 0; n < t.size(); n++) {
      std::uint32_t c = n;
      for (int k = 0; k < 8; k++) c = (c & 1) != 0 ? 0xedb88320U ^ (c >> 1) : c >> 1;
      t[n] = c;
    }
    return t;
  }();
  std::uint32_t c = ~0U;
  for (const char b : s) c = table[(c ^ static_cast<unsigned char>(b)) & 0xff] ^ (c >> 8);
  return ~c;
}

// cut ends one of the links of this process, under it.
void cut(const std::string &which) {
  for (int fd = 3; fd < 64; fd++) {
    sockaddr_un own{}, peer{};
    socklen_t n = sizeof own, m = sizeof peer;
    if (::getsockname(fd, reinterpret_cast<sockaddr *>(&own), &n) != 0 || ::getpeername(fd, reinterpret_cast<sockaddr *>(&peer), &m) != 0) continue;
    if ((which == "work" ? n : m) > offsetof(sockaddr_un, sun_path)) ::shutdown(fd, SHUT_RDWR);
  }
}

Result play(Job &job, const std::string &id, const std::string &op, const std::string &arg) {
  const std::string own = id + " " + std::to_string(::getpid()) + " ", attempt = std::to_string(job.attempt());
  note("S " + own + attempt + " " + std::to_string(job.repeatable()) + " " + (job.kind().empty() ? "-" : job.kind()));
  if (op == "nap") ::usleep(static_cast<useconds_t>(std::stoul(arg)));
  if (op == "hold") {
    while (job.left() > std::chrono::seconds(-5)) {
      if (job.cancelled()) {
        note("E " + own + "told");
        return Result::cancelled();
      }
      ::poll(nullptr, 0, 1);
    }
    note("E " + own + "over");
  }
  if (op == "die") ::kill(::getpid(), SIGKILL);
  if (op == "cut") cut(arg);
  if (op == "error") return Result::error(id, "detail of " + id);
  if (op == "reject") return Result::rejected(id);
  if (op == "break") throw 7;  // NOLINT: what is no std::exception
  if (op == "progress") {
    for (int i = 0; i < 3; i++) job.progress(id + " " + std::to_string(i));
  }
  std::array<char, 32> sum{};
  std::snprintf(sum.data(), sum.size(), " %08x %zu", crc32(job.body()), job.body().size());
  const std::string answer = own + attempt + sum.data();
  return op == "echo" ? answer + "\n" + job.body() : answer;
}

Result work(Job &job) {
  std::istringstream words(job.body().substr(0, 1000));
  std::string word, arg, begun, done;
  words >> word >> arg >> begun >> done;
  if (word == "play") return play(job, arg, begun, done);
  if (word == "until") {
    mark(begun, job);
    while (!there(arg)) ::poll(nullptr, 0, 2);
    mark(done, job);
    return "it is there";
  }
  if (word == "hold") {
    mark(begun, job);
    while (!job.cancelled()) ::poll(nullptr, 0, 1);
    mark(done, job);
    return Result::cancelled();
  }
  if (word == "die") {
    mark(begun, job);
    ::kill(::getpid(), SIGKILL);
  }
  if (word == "pid") return std::to_string(::getpid());
  if (word == "about") return job.kind() + " " + std::to_string(job.attempt()) + " " + std::to_string(job.repeatable());
  if (word == "nap") {
    ::poll(nullptr, 0, std::stoi(arg));
    return std::move(job.body());
  }
  if (word == "big") return std::string(std::stoul(arg), 'b');
  if (word == "progress") {
    for (int i = 0; i < std::stoi(arg); i++) job.progress(std::to_string(i));
    return "done";
  }
  if (word == "error") return Result::error(arg, "detail");
  if (word == "reject") return Result::rejected("not this one");
  if (word == "break") throw 7;  // NOLINT: what is no std::exception
  if (word == "fork") return fork_child(arg);
  return std::move(job.body());
}

std::string env(const char *name, const char *otherwise) {
  const char *value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

}  // namespace

int main() {
  powerhose::Config c;
  c.name = env("NAME", "");
  c.socket = env("SOCKET", "");
  c.window = static_cast<unsigned>(std::stoul(env("WINDOW", "4")));
  c.max_jobs = std::stoul(env("MAXJOBS", "0"));
  std::istringstream kinds(env("KINDS", ""));
  for (std::string k; kinds >> k;) c.kinds.push_back(k);
  if (const std::string path = env("LEDGER", ""); !path.empty()) ledger = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  return powerhose::Worker(c, work).run();
}
