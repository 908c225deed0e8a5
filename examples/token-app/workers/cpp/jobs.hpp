// The jobs of the token server's crypto workers, on Crypto++: ../../docs/JOBS.md says
// what they are in bytes, ../../docs/TOKENS.md how a token is made.
//
// What is no job throws Malformed. A key that is not allowed is judged before
// anything is computed with it, and its signatures are not good.

#ifndef TOKEN_APP_JOBS_HPP
#define TOKEN_APP_JOBS_HPP

#include <cryptopp/aes.h>
#include <cryptopp/dsa.h>
#include <cryptopp/eccrypto.h>
#include <cryptopp/gcm.h>
#include <cryptopp/hkdf.h>
#include <cryptopp/hmac.h>
#include <cryptopp/oids.h>
#include <cryptopp/pssr.h>
#include <cryptopp/rsa.h>
#include <cryptopp/sha.h>
#include <cryptopp/xed25519.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace token_app {

using CryptoPP::Integer;
using CryptoPP::SecByteBlock;
using CryptoPP::SHA256;

constexpr std::size_t max_job = 64 << 10;

// Malformed is thrown for what is not written as its kind of job is.
class Malformed : public std::exception {
 public:
  const char *what() const noexcept override { return "the job is not written as its kind is"; }
};

namespace detail {

inline const CryptoPP::byte *bytes(std::string_view s) { return reinterpret_cast<const CryptoPP::byte *>(s.data()); }

inline Integer integer(std::string_view s) { return {bytes(s), s.size()}; }

// A Reader reads from the front, and throws behind the end.
class Reader {
 public:
  explicit Reader(std::string_view job) : rest_(job) {
    if (job.size() > max_job || number(1) != 1) throw Malformed();
  }

  std::string_view next(std::size_t size) {
    if (size > rest_.size()) throw Malformed();
    const std::string_view s = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return s;
  }

  std::uint32_t number(std::size_t size) {
    std::uint32_t n = 0;
    for (const char c : next(size)) n = n << 8 | static_cast<unsigned char>(c);
    return n;
  }

  // text is a length of so many bytes, and what it counts.
  std::string_view text(std::size_t size) { return next(number(size)); }

  void end() const {
    if (!rest_.empty()) throw Malformed();
  }

 private:
  std::string_view rest_;
};

inline std::string_view trim(std::string_view s) {
  s.remove_prefix(std::min(s.find_first_not_of('\0'), s.size()));
  return s;
}

// pad puts back the zeros at the front that some signers leave off. What is longer is
// left as it is.
inline std::string pad(std::string_view s, std::size_t size) {
  std::string out(size > s.size() ? size - s.size() : 0, '\0');
  return out.append(s);
}

template <class Verifier>
bool verify(const Verifier &v, std::string_view message, std::string_view signature) {
  return v.VerifyMessage(bytes(message), message.size(), bytes(signature), signature.size());
}

constexpr std::size_t max_part = 513;  // bytes; before a number is made of it

inline bool short_key(std::size_t bits) { return bits >= 1023 && bits <= 1025; }

template <class Scheme>
bool verify_rsa(bool wants_short, const std::vector<std::string_view> &parts, std::string_view message, std::string_view signature) {
  const Integer n = integer(parts[0]), e = integer(parts[1]);
  const std::size_t bits = n.BitCount(), size = n.ByteCount();
  if (wants_short ? !short_key(bits) : bits < 2047 || bits > 4096) return false;
  if (n.IsEven() || e.IsEven() || e < 3 || e.BitCount() > 31) return false;
  if (signature.size() > size || integer(signature) >= n) return false;
  typename Scheme::Verifier v;
  v.AccessKey().Initialize(n, e);
  return verify(v, message, pad(signature, size));
}

// A Group is one of the two that BrowserID has.
struct Group {
  std::string p, q, g;  // in bytes
  CryptoPP::DL_GroupParameters_DSA parameters;

  Group(const char *hex_p, const char *hex_q, const char *hex_g) {
    const Integer numbers[] = {Integer(hex_p), Integer(hex_q), Integer(hex_g)};
    std::string *const texts[] = {&p, &q, &g};
    for (std::size_t i = 0; i < 3; i++) {
      texts[i]->resize(numbers[i].ByteCount());
      numbers[i].Encode(reinterpret_cast<CryptoPP::byte *>(texts[i]->data()), texts[i]->size());
    }
    parameters.Initialize(numbers[0], numbers[1], numbers[2]);
    parameters.Precompute(16);
  }
};

inline const Group &ds128() {
  static const Group group(
      "0xff600483db6abfc5b45eab78594b3533d550d9f1bf2a992a7a8daa6dc34f8045ad4e6e0c429d334eeeaaefd7e23d4810be00e4cc1492cba325ba81ff2d5a5b30"
      "5a8d17eb3bf4a06a349d392e00d329744a5179380344e82a18c47933438f891e22aeef812d69c8f75e326cb70ea000c3f776dfdbd604638c2ef717fc26d02e17",
      "0xe21e04f911d1ed7991008ecaab3bf775984309c3",
      "0xc52a4a0ff3b7e61fdf1867ce84138369a6154f4afa92966e3c827e25cfa6cf508b90e5de419e1337e07a2e9e2a3cd5dea704d175f8ebf6af397d69e110b96afb"
      "17c7a03259329e4829b0d03bbc7896b15b4ade53e130858cc34d96269aa89041f409136c7242a38895c9d5bccad4f389af1d7a4bd1398bd072dffa896233397a");
  return group;
}

inline const Group &ds256() {
  static const Group group(
      "0xd6c4e5045697756c7a312d02c2289c25d40f9954261f7b5876214b6df109c738b76226b199bb7e33f8fc7ac1dcc316e1e7c78973951bfc6ff2e00cc987cd76fc"
      "fb0b8c0096b0b460fffac960ca4136c28f4bfb580de47cf7e7934c3985e3b3d943b77f06ef2af3ac3494fc3c6fc49810a63853862a02bb1c824a01b7fc688e40"
      "28527a58ad58c9d512922660db5d505bc263af293bc93bcd6d885a157579d7f52952236dd9d06a4fc3bc2247d21f1a70f5848eb0176513537c983f5a36737f01"
      "f82b44546e8e7f0fabc457e3de1d9c5dba96965b10a2a0580b0ad0f88179e10066107fb74314a07e6745863bc797b7002ebec0b000a98eb697414709ac17b401",
      "0xb1e370f6472c8754ccd75e99666ec8ef1fd748b748bbbc08503d82ce8055ab3b",
      "0x9a8269ab2e3b733a5242179d8f8ddb17ff93297d9eab00376db211a22b19c854dfa80166df2132cbc51fb224b0904abb22da2c7b7850f782124cb575b116f41e"
      "a7c4fc75b1d77525204cd7c23a15999004c23cdeb72359ee74e886a1dde7855ae05fe847447d0a68059002c3819a75dc7dcbb30e39efac36e07e2c404b7ca98b"
      "263b25fa314ba93c0625718bd489cea6d04ba4b0b7f156eeb4c56c44b50e4fb5bce9d7ae0d55b379225feb0214a04bed72f33e0664d290e7c840df3e2abb5e48"
      "189fa4e90646f1867db289c6560476799f7be8420a6dc01d078de437f280fff2d7ddf1248d56e1a54b933a41629d6c252983c58795105802d30d7bcd819cf6ef");
  return group;
}

template <class Hash>
bool verify_dsa(const Group &group, const std::vector<std::string_view> &parts, std::string_view message, std::string_view signature) {
  if (trim(parts[0]) != group.p || trim(parts[1]) != group.q || trim(parts[2]) != group.g) return false;
  const Integer y = integer(parts[3]);
  if (y <= Integer::One() || y >= group.parameters.GetModulus() - 1) return false;
  const std::size_t size = 2 * group.q.size();
  if (signature.size() > size) return false;
  typename CryptoPP::DSA2<Hash>::Verifier v;
  v.AccessKey().Initialize(group.parameters, y);
  return verify(v, message, pad(signature, size));
}

inline bool verify_p256(const std::vector<std::string_view> &parts, std::string_view message, std::string_view signature) {
  static const auto parameters = [] {
    CryptoPP::DL_GroupParameters_EC<CryptoPP::ECP> p(CryptoPP::ASN1::secp256r1());
    p.Precompute(16);
    return p;
  }();
  if (parts[0].size() != 32 || parts[1].size() != 32 || signature.size() != 64) return false;
  const CryptoPP::ECP::Point point(integer(parts[0]), integer(parts[1]));
  if (!parameters.GetCurve().VerifyPoint(point)) return false;
  CryptoPP::ECDSA<CryptoPP::ECP, SHA256>::Verifier v;
  v.AccessKey().Initialize(parameters, point);
  return verify(v, message, signature);
}

// little is a number whose first byte is the least.
inline Integer little(std::string_view s) { return {bytes(s), s.size(), Integer::UNSIGNED, CryptoPP::LITTLE_ENDIAN_ORDER}; }

inline bool verify_ed25519(std::string_view key, std::string_view message, std::string_view signature) {
  static const Integer prime = Integer::Power2(255) - 19;
  static const Integer order = Integer::Power2(252) + Integer("27742317777372353535851937790883648493");
  // y of the points whose order is at most 8.
  static const std::array<Integer, 5> small_order = {
      Integer::Zero(), Integer::One(), prime - 1,
      Integer("0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826"),
      Integer("0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7")};
  if (key.size() != 32 || signature.size() != 64) return false;
  const Integer y = little(key) % Integer::Power2(255);  // without the sign of x
  if (y >= prime || std::find(small_order.begin(), small_order.end(), y) != small_order.end()) return false;
  if (little(signature.substr(32)) >= order) return false;
  return verify(CryptoPP::ed25519Verifier(bytes(key)), message, signature);
}

// parts_of is how many parts the key of an algorithm has; 0 is that there is none.
inline std::size_t parts_of(unsigned alg) {
  constexpr std::array<std::size_t, 8> table = {0, 2, 2, 2, 1, 4, 4, 2};
  return alg < table.size() ? table[alg] : 0;
}

// A Check is a key of an algorithm, and what it has signed or not.
struct Check {
  unsigned alg;
  std::vector<std::string_view> parts;
  std::string_view message, signature;

  bool good() const {
    for (const std::string_view part : parts) {
      if (part.size() > max_part) return false;
    }
    switch (alg) {
      case 1: return verify_rsa<CryptoPP::RSASS<CryptoPP::PKCS1v15, SHA256>>(false, parts, message, signature);
      case 2: return verify_rsa<CryptoPP::RSASS<CryptoPP::PSS, SHA256>>(false, parts, message, signature);
      case 3: return verify_p256(parts, message, signature);
      case 4: return verify_ed25519(parts[0], message, signature);
      case 5: return verify_dsa<CryptoPP::SHA1>(ds128(), parts, message, signature);
      case 6: return verify_dsa<SHA256>(ds256(), parts, message, signature);
      case 7: return verify_rsa<CryptoPP::RSASS<CryptoPP::PKCS1v15, SHA256>>(true, parts, message, signature);
      default: return false;
    }
  }
};

inline SecByteBlock hkdf(std::string_view secret, std::string_view salt, std::string_view info, std::size_t size) {
  SecByteBlock out(size);
  CryptoPP::HKDF<SHA256>().DeriveKey(out, out.size(), bytes(secret), secret.size(), bytes(salt), salt.size(), bytes(info), info.size());
  return out;
}

inline std::string_view view(const SecByteBlock &b) { return {reinterpret_cast<const char *>(b.data()), b.size()}; }

inline std::string hmac(std::string_view key, std::string_view text) {
  std::string out(SHA256::DIGESTSIZE, '\0');
  CryptoPP::HMAC<SHA256>(bytes(key), key.size()).CalculateDigest(reinterpret_cast<CryptoPP::byte *>(out.data()), bytes(text), text.size());
  return out;
}

inline std::string base64url(std::string_view s) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  out.reserve((s.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < s.size(); i += 3) {
    std::uint32_t n = 0;
    for (std::size_t j = 0; j < 3; j++) n = n << 8 | (i + j < s.size() ? static_cast<unsigned char>(s[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; j++) out += i + j <= s.size() ? digits[n >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

inline std::string concat(std::string_view a, std::string_view b) { return std::string(a).append(b); }

struct Minted {
  std::string token, key;
};

inline Minted sign(std::string_view secret, std::string_view salt, std::string_view payload) {
  const SecByteBlock signing = hkdf(secret, "", "services.mozilla.com/tokenlib/v1/signing", 32);
  std::string token = base64url(concat(payload, hmac(view(signing), payload)));
  const SecByteBlock key = hkdf(secret, salt, concat("services.mozilla.com/tokenlib/v1/derive/", token), 32);
  return {std::move(token), base64url(view(key))};
}

inline Minted encrypt(std::string_view secret, std::string_view service, std::string_view salt, std::string_view payload) {
  const SecByteBlock id = hkdf(secret, "", "appbundle/token-app/v1/key-id", 8);
  const SecByteBlock derived = hkdf(secret, salt, concat("appbundle/token-app/v1/encrypt/", service), 76);
  const std::string header = concat(concat("\x01", view(id)), salt);
  const std::string text = concat(payload, hmac(view(derived).substr(44), payload));
  std::string sealed(text.size() + 16, '\0');
  auto *const out = reinterpret_cast<CryptoPP::byte *>(sealed.data());
  CryptoPP::GCM<CryptoPP::AES>::Encryption gcm;
  gcm.SetKeyWithIV(derived, 32, derived + 32, 12);
  gcm.EncryptAndAuthenticate(out, out + text.size(), 16, derived + 32, 12, bytes(header), header.size(), bytes(text), text.size());
  std::string token = base64url(concat(header, sealed));
  const SecByteBlock key = hkdf(secret, salt, concat("appbundle/token-app/v1/derive/", token), 32);
  return {std::move(token), base64url(view(key))};
}

inline bool ascii(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

inline void append32(std::string &out, std::string_view s) {
  for (const unsigned shift : {24U, 16U, 8U, 0U}) out += static_cast<char>(s.size() >> shift & 255);
  out += s;
}

}  // namespace detail

// verify does a job of kind verify.
inline std::string verify(std::string_view job) {
  detail::Reader r(job);
  const std::uint32_t count = r.number(1);
  if (count == 0 || count > 4) throw Malformed();
  std::vector<detail::Check> checks(count);
  for (detail::Check &c : checks) {
    c.alg = r.number(1);
    const std::size_t n = r.number(1);
    if (n == 0 || n != detail::parts_of(c.alg)) throw Malformed();
    for (std::size_t i = 0; i < n; i++) c.parts.push_back(r.text(2));
    c.message = r.text(4);
    c.signature = r.text(2);
  }
  r.end();
  std::string result(count, '\0');
  for (std::size_t i = 0; i < count && checks[i].good(); i++) result[i] = 1;
  return result;
}

// mint does a job of kind mint.
inline std::string mint(std::string_view job) {
  detail::Reader r(job);
  const std::uint32_t form = r.number(1);
  const std::string_view secret = r.text(2), service = r.text(1), salt = r.text(1), payload = r.text(4);
  r.end();
  if (form > 1 || secret.empty() || secret.size() > 4096 || payload.empty() || payload.size() > 16 << 10 || payload[0] != '{') throw Malformed();
  if (form == 0 ? !service.empty() || !detail::ascii(salt) : service.empty() || salt.size() != 16) throw Malformed();
  const detail::Minted m = form == 0 ? detail::sign(secret, salt, payload) : detail::encrypt(secret, service, salt, payload);
  std::string result;
  detail::append32(result, m.token);
  detail::append32(result, m.key);
  return result;
}

}  // namespace token_app

#endif
