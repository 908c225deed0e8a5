package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
)

// The encrypted form, version 1:
//
//	header  = version (1) ‖ key id (8) ‖ salt (16)
//	derived = HKDF-SHA256(secret, salt, encryptInfo + service): key (32), nonce (12), signing key (32)
//	token   = base64url(header ‖ AES-256-GCM(key, nonce, payload ‖ HMAC-SHA256(signing key, payload), header))
//
// No key is used twice, for the salt is random. The signature inside makes that
// a token opens under one secret alone, which GCM by itself does not promise.
const (
	// version is no byte with which a signed token can begin: that is a brace.
	version = 1

	// SaltSize is how many bytes the salt of an encrypted token has.
	SaltSize = 16

	keyIDSize  = 8
	headerSize = 1 + keyIDSize + SaltSize
	keySize    = 32
	nonceSize  = 12
	tagSize    = 16

	keyIDInfo         = "appbundle/token-app/v1/key-id"
	encryptInfo       = "appbundle/token-app/v1/encrypt/"
	deriveEncryptInfo = "appbundle/token-app/v1/derive/"

	maxService = 255
)

func checkService(s string) error {
	if s == "" || len(s) > maxService {
		return fmt.Errorf("token: an encrypted token is for a service, whose name has 1 to %d bytes, and not %d", maxService, len(s))
	}
	return nil
}

// keys derives what one token is encrypted and signed with.
func (s *Secret) keys(service string, salt []byte) (aead cipher.AEAD, nonce, signing []byte) {
	k := expand(sha256New, s.text, salt, encryptInfo+service, keySize+nonceSize+sha256.Size)
	block, err := aes.NewCipher(k[:keySize])
	if err == nil {
		aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		panic("token: " + err.Error()) // only for keys of another size
	}
	return aead, k[keySize : keySize+nonceSize], k[keySize+nonceSize:]
}

func (s *Secret) encrypt(service string, payload []byte, salt string) (Minted, error) {
	header := make([]byte, 0, headerSize+len(payload)+sha256.Size+tagSize)
	header = append(header, version)
	header = append(header, s.id[:]...)
	header = append(header, salt...)
	aead, nonce, signing := s.keys(service, header[1+keyIDSize:])
	sealed := aead.Seal(header, nonce, sign(sha256New, signing, payload), header)
	t := base64.URLEncoding.EncodeToString(sealed)
	return Minted{Token: t, Key: derive(sha256New, s.text, salt, deriveEncryptInfo+t)}, nil
}

// decrypt opens an encrypted token, of which b are the bytes.
func (o *Opener) decrypt(text string, b []byte, now time.Time) (*Opened, error) {
	if len(b) < headerSize+sha256.Size+tagSize || checkService(o.Service) != nil {
		return nil, ErrMalformed
	}
	header, sealed := b[:headerSize], b[headerSize:]
	salt := header[1+keyIDSize:]
	for _, s := range o.Secrets {
		if [keyIDSize]byte(header[1:]) != s.id {
			continue
		}
		aead, nonce, signing := s.keys(o.Service, salt)
		signed, err := aead.Open(nil, nonce, sealed, header)
		if err != nil {
			continue
		}
		payload, ok := verify(sha256New, signing, signed)
		if !ok {
			continue
		}
		members, err := readPayload(payload)
		if err == nil {
			err = checkExpires(members, now)
		}
		if err != nil {
			return nil, err
		}
		return &Opened{Form: Encrypted, Payload: payload, Members: members, Key: derive(sha256New, s.text, string(salt), deriveEncryptInfo+text)}, nil
	}
	return nil, ErrSignature
}
