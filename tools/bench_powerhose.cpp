// The peers of `tools/bench --only powerhose`: a broker of the least recently
// used worker on libzmq, its workers, and callers; and a worker of ours.
//
// usage: bench_powerhose broker FRONT BACK
//        bench_powerhose worker BACK MICROSECONDS
//        bench_powerhose load mux|req FRONT CALLERS SIZE SECONDS [HEAD]
//        bench_powerhose powerhose NAME

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <powerhose/worker.hpp>
#include <zmq.hpp>

namespace {

using Clock = std::chrono::steady_clock;
using zmq::message_t;
using zmq::socket_t;
constexpr auto none = zmq::send_flags::none;
constexpr auto more = zmq::send_flags::sndmore;

// take receives one part, and is false when there is none and flags do not wait.
bool take(socket_t &from, message_t &part, zmq::recv_flags flags = zmq::recv_flags::none) { return from.recv(part, flags).has_value(); }

void no_limits(socket_t &s) {
  s.set(zmq::sockopt::sndhwm, 0);
  s.set(zmq::sockopt::rcvhwm, 0);
  s.set(zmq::sockopt::linger, 0);
}

// broker gives each job to the worker that has been free for longest. A worker
// says once that it is there; its answers say so too. Jobs that no worker is free
// for stay in the socket. All that has come is taken before it polls again.
int broker(const char *front_at, const char *back_at) {
  zmq::context_t context;
  socket_t front(context, zmq::socket_type::router), back(context, zmq::socket_type::router);
  no_limits(front);
  no_limits(back);
  front.bind(front_at);
  back.bind(back_at);
  std::deque<message_t> idle;
  zmq::pollitem_t items[] = {{back.handle(), 0, ZMQ_POLLIN, 0}, {front.handle(), 0, ZMQ_POLLIN, 0}};
  for (;;) {
    zmq::poll(items, idle.empty() ? 1 : 2, std::chrono::milliseconds(-1));
    message_t worker, empty, caller, body;
    while (take(back, worker, zmq::recv_flags::dontwait)) {
      take(back, empty);
      take(back, caller);
      if (caller.more()) {
        take(back, empty);
        take(back, body);
        front.send(caller, more);
        front.send(empty, more);
        front.send(body, none);
      }
      idle.push_back(std::move(worker));
    }
    while (!idle.empty() && take(front, caller, zmq::recv_flags::dontwait)) {
      take(front, empty);
      take(front, body);
      back.send(idle.front(), more);
      back.send(message_t(), more);
      back.send(caller, more);
      back.send(empty, more);
      back.send(body, none);
      idle.pop_front();
    }
  }
}

// worker answers each job with itself, after it was busy for so long.
int worker(const char *back_at, std::chrono::microseconds busy) {
  zmq::context_t context;
  socket_t back(context, zmq::socket_type::req);
  no_limits(back);
  back.connect(back_at);
  back.send(zmq::str_buffer("READY"), none);
  for (message_t caller, empty, body;;) {
    take(back, caller);
    take(back, empty);
    take(back, body);
    if (busy.count() > 0) {
      for (const auto end = Clock::now() + busy; Clock::now() < end;) {
      }
    }
    back.send(caller, more);
    back.send(empty, more);
    back.send(body, none);
  }
}

double processor_seconds() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

// A Load is callers that have one job each. A job ends with the number of its
// caller; the head in front of it is what a protocol wants there.
class Load {
 public:
  Load(int callers, std::size_t size, double seconds, std::string head)
      : job_(std::move(head) + std::string(size - digits, 'x')), size_(size), began_(static_cast<std::size_t>(callers)), seconds_(seconds) {}

  // give sends the job of a caller.
  void give(socket_t &to, std::size_t caller) {
    const std::string number = std::to_string(first + caller);
    message_t body(job_.size() + digits);
    std::memcpy(body.data(), job_.data(), job_.size());
    std::memcpy(static_cast<char *>(body.data()) + job_.size(), number.data(), digits);
    began_[caller] = Clock::now();
    to.send(body, none);
  }

  // finish notes an answer, and gives the number of its caller.
  std::size_t finish(const message_t &body) {
    const auto *bytes = static_cast<const char *>(body.data());
    if (body.size() < size_ || bytes[body.size() - digits - 1] != 'x') throw std::runtime_error("an answer that is none: " + body.to_string());
    const std::size_t caller = std::stoul(std::string(bytes + body.size() - digits, digits)) - first;
    const auto now = Clock::now();
    all_++;
    if (now >= start_) took_.push_back(std::chrono::duration<double>(now - began_.at(caller)).count());
    last_ = now;
    return caller;
  }

  bool over() const { return last_ >= start_ + std::chrono::duration<double>(seconds_); }

  // report prints what was measured; CPU is that of the callers, for all jobs.
  void report() {
    std::sort(took_.begin(), took_.end());
    const std::size_t n = took_.size();
    if (n == 0) throw std::runtime_error("no answer");
    const double took = std::chrono::duration<double>(last_ - start_).count();
    std::printf("{\"rate\": %.1f, \"p50\": %.9f, \"p99\": %.9f, \"jobs\": %zu, \"cpu\": %.6f}\n", static_cast<double>(n) / took, took_[n / 2],
                took_[n * 99 / 100], all_, processor_seconds());
  }

 private:
  static constexpr std::size_t digits = 4, first = 1000;  // number of a caller
  std::string job_;
  std::size_t size_, all_ = 0;
  std::vector<Clock::time_point> began_;
  double seconds_;
  Clock::time_point start_ = Clock::now() + std::chrono::milliseconds(300), last_;  // all workers are there by then
  std::vector<double> took_;
};

// mux has all callers on one socket.
void mux(Load &load, zmq::context_t &context, const char *front_at, std::size_t callers) {
  socket_t front(context, zmq::socket_type::dealer);
  no_limits(front);
  front.connect(front_at);
  const auto give = [&](std::size_t caller) {
    front.send(message_t(), more);
    load.give(front, caller);
  };
  for (std::size_t i = 0; i < callers; i++) give(i);
  for (message_t empty, body; !load.over();) {
    take(front, empty);
    take(front, body);
    give(load.finish(body));
  }
}

// req has a socket for each caller.
void req(Load &load, zmq::context_t &context, const char *front_at, std::size_t callers) {
  std::vector<socket_t> fronts;
  std::vector<zmq::pollitem_t> items;
  for (std::size_t i = 0; i < callers; i++) {
    no_limits(fronts.emplace_back(context, zmq::socket_type::req));
    fronts[i].connect(front_at);
    items.push_back({fronts[i].handle(), 0, ZMQ_POLLIN, 0});
    load.give(fronts[i], i);
  }
  for (message_t body; !load.over();) {
    zmq::poll(items, std::chrono::milliseconds(-1));
    for (std::size_t i = 0; i < callers; i++) {
      if (items[i].revents == 0) continue;
      take(fronts[i], body);
      load.give(fronts[i], load.finish(body));
    }
  }
}

int powerhose_worker(const char *name) {
  powerhose::Config config;
  config.name = name;
  config.log = [](const std::string &) {};
  return powerhose::Worker(config, [](powerhose::Job &job) -> powerhose::Result { return job.body(); }).run();
}

}  // namespace

int main(int argc, char **argv) {
  const std::string role = argc > 1 ? argv[1] : "";
  if (role == "broker" && argc == 4) return broker(argv[2], argv[3]);
  if (role == "worker" && argc == 4) return worker(argv[2], std::chrono::microseconds(std::atol(argv[3])));
  if (role == "powerhose" && argc == 3) return powerhose_worker(argv[2]);
  if (role == "load" && (argc == 7 || argc == 8)) {
    const int callers = std::atoi(argv[4]);
    Load load(callers, std::stoul(argv[5]), std::atof(argv[6]), argc == 8 ? argv[7] : "");
    zmq::context_t context;
    (std::string(argv[2]) == "req" ? req : mux)(load, context, argv[3], static_cast<std::size_t>(callers));
    load.report();
    return 0;
  }
  std::fprintf(stderr, "usage: bench_powerhose broker|worker|load|powerhose ...\n");
  return 2;
}
