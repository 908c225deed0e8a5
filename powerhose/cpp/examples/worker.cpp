// A worker that takes jobs of three kinds: echo gives the bytes back, upper
// makes ASCII letters upper case, burn hashes the bytes as often as the job
// says in front of a colon ("1000:text"), and says how far it is.
//
// usage: worker [NAME [SOCKET]], with the master's socket in POWERHOSE_MASTER

#include <charconv>
#include <cstdio>

#include <powerhose/worker.hpp>

namespace {

powerhose::Result burn(powerhose::Job &job) {
  std::uint64_t rounds = 0;
  const char *end = job.body().data() + job.body().size();
  const auto [colon, error] = std::from_chars(job.body().data(), end, rounds);
  if (error != std::errc() || colon == end || *colon != ':') {
    return powerhose::Result::rejected("a job of the kind burn is ROUNDS:BYTES");
  }
  const std::string_view bytes(colon + 1, static_cast<std::size_t>(end - colon) - 1);
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, over and over
  for (std::uint64_t i = 0; i < rounds; i++) {
    if (i % 1000 == 0) {
      if (job.cancelled()) return powerhose::Result::cancelled();
      job.progress(std::to_string(i));
    }
    for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

powerhose::Result work(powerhose::Job &job) {
  if (job.kind() == "burn") return burn(job);
  if (job.kind() == "upper") {
    for (char &c : job.body()) {
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
  }
  return job.body();
}

}  // namespace

int main(int argc, char **argv) {
  powerhose::Config config;
  config.kinds = {"burn", "echo", "upper"};
  if (argc > 1) config.name = argv[1];
  if (argc > 2) config.socket = argv[2];
  return powerhose::Worker(config, work).run();
}
