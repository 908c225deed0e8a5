// Package workers is the crypto worker in C++ and in Python, and the tests that all
// workers give the same results. There is no Go in it but the tests.
//
// The worker in C++ needs Crypto++ (libcrypto++-dev):
//
//	g++ -std=c++17 -O2 -I powerhose/cpp/include -o crypto-worker-cpp examples/token-app/workers/cpp/crypto_worker.cpp -lcryptopp
//
// The worker in Python needs the distributions appbundle-powerhose and cryptography.
// Both take the socket of their master from POWERHOSE_MASTER.
package workers
