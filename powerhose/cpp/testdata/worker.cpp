// The worker of the tests: what a job does is the first word of its body.
//
// usage: worker KEY=VALUE...

#include <sys/wait.h>

#include <iostream>
#include <memory>
#include <powerhose/curve.hpp>
#include <sstream>

namespace {

using powerhose::Job;
using powerhose::Result;

// gate waits until somebody has opened a FIFO for writing, and closed it.
void gate(const std::string &fifo) {
  const int fd = ::open(fifo.c_str(), O_RDONLY | O_CLOEXEC);
  char c = 0;
  while (fd >= 0 && ::read(fd, &c, 1) > 0) {
  }
  ::close(fd);
}

// links counts what this process has of sockets, pipes and locks.
std::string links() {
  int n = 0;
  for (int fd = 3; fd < 256; fd++) {
    char target[256];
    const ssize_t size = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target, sizeof target);
    if (size <= 0) continue;
    const std::string to(target, static_cast<std::size_t>(size));
    if (to.find("socket:") == 0 || to.find("pipe:") == 0 || to.find(".lock") != std::string::npos) n++;
  }
  return std::to_string(n);
}

// The child of fork is alive until the gate is opened; its answer is what it
// has of the parent's.
Result fork_child(const std::string &fifo) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Result::error("pipe");
  const std::string mine = links();
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string n = links();
    if (::write(ends[1], n.data(), n.size()) < 0) ::_exit(1);
    ::close(ends[0]);
    ::close(ends[1]);
    gate(fifo);
    ::_exit(0);
  }
  ::close(ends[1]);
  char n[16];
  const ssize_t size = ::read(ends[0], n, sizeof n);
  ::close(ends[0]);
  if (size <= 0) return Result::error("the child says nothing");
  return std::to_string(child) + " " + mine + " " + std::string(n, static_cast<std::size_t>(size));
}

std::vector<std::string> grown;

// outages lists for how long this process waits for a host that is out of reach,
// for each of its connections over TCP.
std::string outages() {
  std::string all;
  for (int fd = 3; fd < 256; fd++) {
    int ms = 0, alive = 0;
    socklen_t size = sizeof ms;
    sockaddr_storage peer{};
    socklen_t peer_size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr *>(&peer), &peer_size) != 0 ||
        ::getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &size) != 0 ||
        ::getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &alive, &size) != 0) {
      continue;
    }
    all += (all.empty() ? "" : " ") + std::to_string(alive != 0 ? ms : -1);
  }
  return all;
}

int own_looks = -1;  // so often the worker is who it is; then somebody else

Result work(Job &job) {
  std::istringstream words(job.body());
  std::string verb, rest;
  words >> verb >> rest;
  if (verb == "gate") {
    gate(rest);
    return "opened";
  }
  if (verb == "touch") {
    ::close(::open(rest.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    return "touched";
  }
  if (verb == "throw") throw std::runtime_error("no \xff way");
  if (verb == "throw-long") throw std::runtime_error(std::string(600, 'x'));
  if (verb == "throw-int") throw 7;  // NOLINT
  if (verb == "reject") return Result::rejected("not here");
  if (verb == "fail") return Result::error("failed", std::string("\0detail", 7));
  if (verb == "claims-cancelled") return Result::cancelled();
  if (verb == "big") return std::string(std::stoul(rest), 'b');
  if (verb == "left") return std::to_string(job.left().count());
  if (verb == "about") return job.kind() + " " + std::to_string(job.attempt()) + " " + std::to_string(job.repeatable());
  if (verb == "wait") {
    job.progress("waits");
    while (!job.cancelled()) ::poll(nullptr, 0, 1);
    return Result::cancelled();
  }
  if (verb == "progress") {
    int sent = 0;
    for (int i = std::stoi(rest); i > 0; i--) sent += job.progress(std::to_string(i));
    return std::to_string(sent);
  }
  if (verb == "fork") return fork_child(rest);
  if (verb == "fork-and-return") {
    const pid_t child = ::fork();
    if (child == 0) return "an answer of the child";
    int status = 0;
    ::waitpid(child, &status, 0);
    return std::to_string(WEXITSTATUS(status));
  }
  if (verb == "exec") {
    std::string out;
    const std::unique_ptr<FILE, int (*)(FILE *)> pipe(::popen("ls -l /proc/self/fd | grep -c socket:", "r"), ::pclose);
    for (int c = 0; (c = std::fgetc(pipe.get())) != EOF;) out += static_cast<char>(c);
    return out;
  }
  if (verb == "outage") return outages();
  if (verb == "grow") {
    grown.emplace_back(std::stoul(rest), 'g');
    return "grown";
  }
  return job.body();
}

}  // namespace

uid_t geteuid() noexcept {
  if (own_looks == 0) return 4242424;
  if (own_looks > 0) own_looks--;
  return ::getuid();
}

int main(int argc, char **argv) {
  powerhose::Config c;
  using powerhose::milliseconds;
  for (int i = 1; i < argc; i++) {
    const std::string arg = argv[i];
    const std::size_t at = arg.find('=');
    const std::string key = arg.substr(0, at), value = at == std::string::npos ? "" : arg.substr(at + 1);
    if (key == "master") c.master = value;
    else if (key == "name") c.name = value;
    else if (key == "socket") c.socket = value;
    else if (key == "listen") c.listen = value;
    else if (key == "key") c.key = value;
    else if (key == "master_key") c.master_key = value;
    else if (key == "kind") c.kinds.push_back(value);
    else if (key == "window") c.window = static_cast<unsigned>(std::stoul(value));
    else if (key == "max_jobs") c.max_jobs = std::stoul(value);
    else if (key == "max_age") c.max_age = milliseconds(std::stol(value));
    else if (key == "max_rss") c.max_rss = std::stoul(value);
    else if (key == "handshake") c.handshake = milliseconds(std::stol(value));
    else if (key == "drain") c.drain = milliseconds(std::stol(value));
    else if (key == "retry") c.retry = c.retry_most = milliseconds(std::stol(value));
    else if (key == "own_looks") own_looks = std::stoi(value);
    else if (key == "user") c.masters.push_back(static_cast<uid_t>(std::stoul(value)));
    else if (key == "log") c.log = [](const std::string &) { throw std::runtime_error("a log that throws"); };
    else return 64;
  }
  return powerhose::Worker(c, work).run();
}
