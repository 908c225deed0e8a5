// A peer that uses libzmq, for the tests: the same program as peer.py.
//
// usage: peer MODE TYPE bind|connect ENDPOINT [KEY=VALUE]...

#include <unistd.h>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include <zmq.hpp>
#include <zmq_addon.hpp>

static void want(bool ok, const std::string &what) {
	if (!ok) {
		std::cerr << "peer: " << what << std::endl;
		std::exit(1);
	}
}

static std::string body(int i) {
	static const int sizes[] = {0, 1, 100, 255, 256, 70000};
	std::string b;
	for (int j = 0; j < sizes[i % 6]; j++)
		b += static_cast<char>((i + j) % 251);
	return b;
}

static void send(zmq::socket_t &sock, const std::vector<std::string> &frames) {
	for (std::size_t i = 0; i < frames.size(); i++)
		sock.send(zmq::buffer(frames[i]), i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
}

static std::vector<std::string> receive(zmq::socket_t &sock) {
	std::vector<zmq::message_t> parts;
	want(zmq::recv_multipart(sock, std::back_inserter(parts)).has_value(), "nothing comes");
	std::vector<std::string> frames;
	for (auto &part : parts)
		frames.push_back(part.to_string());
	return frames;
}

int main(int argc, char **argv) {
	want(argc > 4, "four arguments");
	const std::string mode = argv[1], kind = argv[2], how = argv[3], endpoint = argv[4];
	std::map<std::string, std::string> options;
	for (int i = 5; i < argc; i++) {
		const std::string arg = argv[i];
		const auto at = arg.find('=');
		options[arg.substr(0, at)] = arg.substr(at + 1);
	}
	const std::map<std::string, zmq::socket_type> types = {
		{"ROUTER", zmq::socket_type::router}, {"DEALER", zmq::socket_type::dealer}, {"REQ", zmq::socket_type::req},
		{"REP", zmq::socket_type::rep}, {"PUB", zmq::socket_type::pub}, {"SUB", zmq::socket_type::sub}};

	zmq::context_t context;
	zmq::socket_t sock(context, types.at(kind));
	sock.set(zmq::sockopt::linger, 5000);
	if (mode != "echo")
		sock.set(zmq::sockopt::rcvtimeo, 30000);
	if (options.count("identity"))
		sock.set(zmq::sockopt::routing_id, options["identity"]);
	if (options.count("heartbeat")) {
		sock.set(zmq::sockopt::heartbeat_ivl, std::stoi(options["heartbeat"]));
		sock.set(zmq::sockopt::heartbeat_timeout, 3 * std::stoi(options["heartbeat"]));
	}
	if (options.count("secret")) {
		sock.set(zmq::sockopt::curve_secretkey, options["secret"]);
		sock.set(zmq::sockopt::curve_publickey, options["public"]);
		if (options.count("server"))
			sock.set(zmq::sockopt::curve_serverkey, options["server"]);
		else
			sock.set(zmq::sockopt::curve_server, true);
	}
	if (mode == "subscribe")
		sock.set(zmq::sockopt::subscribe, "a");
	zmq_socket_monitor(sock.handle(), "inproc://monitor", ZMQ_EVENT_DISCONNECTED);
	zmq::socket_t monitor(context, zmq::socket_type::pair);
	monitor.connect("inproc://monitor");
	if (how == "bind")
		sock.bind(endpoint);
	else
		sock.connect(endpoint);
	std::cout << sock.get(zmq::sockopt::last_endpoint) << std::endl;

	if (mode == "echo") {
		for (;;)
			send(sock, receive(sock));
	} else if (mode == "ask") {
		const int window = kind == "REQ" ? 1 : 8;
		for (int sent = 0, got = 0; got < 60;) {
			if (sent < 60 && sent < got + window) {
				send(sock, {std::to_string(sent), body(sent)});
				sent++;
				continue;
			}
			want(receive(sock) == std::vector<std::string>{std::to_string(got), body(got)}, "an echo is not what was sent");
			got++;
		}
		if (options.count("heartbeat")) {
			zmq::pollitem_t item = {monitor.handle(), 0, ZMQ_POLLIN, 0};
			want(zmq::poll(&item, 1, std::chrono::milliseconds(4 * std::stoi(options["heartbeat"]))) == 0, "the connection ended");
		}
		send(sock, {"ok"});
	} else if (mode == "publish") {
		const pid_t parent = getppid();
		for (int i = 0; getppid() == parent; i++) { // else the test was killed
			for (const std::string topic : {"a", "b"})
				send(sock, {topic, std::to_string(i), body(i)});
			zmq_poll(nullptr, 0, 1);
		}
	} else if (mode == "subscribe") {
		for (int i = 0; i < 60; i++)
			want(receive(sock) == std::vector<std::string>{"a" + std::to_string(i), body(i)}, "a message is not what was published");
	}
	std::cout << "ok" << std::endl;
}
