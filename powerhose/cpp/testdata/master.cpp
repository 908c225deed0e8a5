// The master of master.py on libzmq in C++, over TCP alone: see there.

#include <zmq.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

namespace {

void want(bool ok, const char *what) {
  if (ok) return;
  std::cerr << "master: " << what << ": " << zmq_strerror(zmq_errno()) << "\n";
  std::exit(1);
}

std::string unhex(const std::string &s) {
  std::string out;
  for (std::size_t i = 0; i + 1 < s.size(); i += 2) out += static_cast<char>(std::stoi(s.substr(i, 2), nullptr, 16));
  return out;
}

std::string hex(const std::string &s) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const char c : s) {
    out += digits[static_cast<unsigned char>(c) >> 4];
    out += digits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

using Frames = std::vector<std::string>;

Frames receive(void *socket) {
  Frames frames;
  for (int more = 1; more != 0;) {
    zmq_msg_t m;
    want(zmq_msg_init(&m) == 0 && zmq_msg_recv(&m, socket, 0) >= 0, "receive");
    frames.emplace_back(static_cast<const char *>(zmq_msg_data(&m)), zmq_msg_size(&m));
    more = zmq_msg_more(&m);
    zmq_msg_close(&m);
  }
  return frames;
}

void send(void *socket, const Frames &frames) {
  for (std::size_t i = 0; i < frames.size(); i++) {
    want(zmq_send(socket, frames[i].data(), frames[i].size(), i + 1 < frames.size() ? ZMQ_SNDMORE : 0) >= 0, "send");
  }
}

void show(const Frames &frames) {
  for (std::size_t i = 0; i < frames.size(); i++) std::cout << (i > 0 ? ":" : "") << hex(frames[i]);
  std::cout << std::endl;
}

void *make(void *context, int type) {
  void *s = zmq_socket(context, type);
  want(s != nullptr, "socket");
  const int wait = 20000, linger = 1000;
  want(zmq_setsockopt(s, ZMQ_RCVTIMEO, &wait, sizeof wait) == 0 && zmq_setsockopt(s, ZMQ_LINGER, &linger, sizeof linger) == 0, "options");
  const char *secret = std::getenv("SECRET"), *own = std::getenv("PUBLIC");
  want(secret != nullptr && own != nullptr, "SECRET and PUBLIC are not set");
  want(zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, secret, 41) == 0 && zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, own, 41) == 0, "keys");
  return s;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 5) return 64;
  const std::string welcome = unhex(argv[2]), drain = unhex(argv[3]), bye = unhex(argv[4]);
  void *context = zmq_ctx_new();
  void *registration = make(context, ZMQ_ROUTER);
  const int server = 1, heartbeat = 50;
  want(zmq_setsockopt(registration, ZMQ_CURVE_SERVER, &server, sizeof server) == 0 && zmq_bind(registration, argv[1]) == 0, "bind");
  char endpoint[256];
  std::size_t size = sizeof endpoint;
  want(zmq_getsockopt(registration, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0, "endpoint");
  std::cout << endpoint << std::endl;

  const Frames first = receive(registration);  // who, and HELLO
  const std::string hello = first.at(1);
  show({hello});
  send(registration, {first[0], welcome});
  const auto byte = [&](std::size_t at) { return static_cast<std::size_t>(static_cast<unsigned char>(hello.at(at))); };
  const std::size_t at = 35 + 3 + byte(37);  // behind the name
  void *work = make(context, ZMQ_DEALER);
  const char *worker = std::getenv("WORKER");
  want(worker != nullptr && zmq_setsockopt(work, ZMQ_CURVE_SERVERKEY, worker, 41) == 0, "WORKER");
  want(zmq_setsockopt(work, ZMQ_HEARTBEAT_IVL, &heartbeat, sizeof heartbeat) == 0, "heartbeat");
  want(zmq_connect(work, hello.substr(at + 3, byte(at + 1) * 256 + byte(at + 2)).c_str()) == 0, "connect");
  send(work, {welcome});
  show(receive(work));
  for (std::string job; std::cin >> job;) {
    const std::size_t colon = job.find(':');
    // One at a time, as the window says.
    send(work, {unhex(job.substr(0, colon)), unhex(job.substr(colon + 1))});
    show(receive(work));
  }
  send(work, {drain});
  show(receive(work));
  show(receive(work));
  send(work, {bye});
  zmq_close(work);
  zmq_close(registration);
  return zmq_ctx_term(context);
}
