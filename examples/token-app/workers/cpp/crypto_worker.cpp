// The crypto worker of the token server in C++. It does the same as cmd/crypto-worker,
// and both can serve one master.

#include <unistd.h>

#include <powerhose/worker.hpp>

#include "jobs.hpp"

namespace {

powerhose::Result work(powerhose::Job &job) {
  static const std::string self = "cpp " + std::to_string(::getpid());
  job.progress(self);
  try {
    if (job.kind() == "verify") return token_app::verify(job.body());
    if (job.kind() == "mint") return token_app::mint(job.body());
  } catch (const token_app::Malformed &e) {
    return powerhose::Result::rejected(e.what());
  }
  return powerhose::Result::rejected("there is no such kind");
}

}  // namespace

int main(int argc, char **) {
  if (argc > 1) {
    static_cast<void>(std::fputs("usage: POWERHOSE_MASTER=PATH crypto-worker-cpp\n", stderr));
    return powerhose::Worker::misused;
  }
  powerhose::Config config;
  config.kinds = {"verify", "mint"};
  return powerhose::Worker(config, work).run();
}
