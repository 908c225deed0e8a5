// The worker of the tests, in C++. The package comment says what jobs there are.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

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

Result work(Job &job) {
  std::istringstream words(job.body().substr(0, 1000));
  std::string word, arg, begun, done;
  words >> word >> arg >> begun >> done;
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
    for (int i = 0; i < 3; i++) job.progress(std::to_string(i));
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
  return powerhose::Worker(c, work).run();
}
