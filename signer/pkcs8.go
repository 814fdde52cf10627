package signer

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"

	"filippo.io/mldsa/x509"
)

// ErrPassphrase says that a passphrase does not open a private key.
var ErrPassphrase = errors.New("the passphrase does not open it")

// privateKeyBlock finds the PKCS#8 block of a PEM file and says whether it is
// encrypted.
func privateKeyBlock(data []byte) (der []byte, encrypted bool, err error) {
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, false, errors.New("it holds no PEM block PRIVATE KEY or ENCRYPTED PRIVATE KEY (PKCS#8)")
		}
		switch block.Type {
		case "PRIVATE KEY":
			return block.Bytes, false, nil
		case "ENCRYPTED PRIVATE KEY":
			return block.Bytes, true, nil
		case "EC PRIVATE KEY", "RSA PRIVATE KEY":
			return nil, false, fmt.Errorf("it holds %s, not PKCS#8: convert it with openssl pkcs8 -topk8 -in FILE -out NEW", block.Type)
		}
	}
}

func parsePKCS8(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("the PEM block is no PKCS#8 private key that can be read")
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a private key of type %T cannot sign", key)
	}
	return s, nil
}

// The structures of PBES2, RFC 8018, appendix A.
type (
	encryptedPrivateKeyInfo struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	pbes2Params struct {
		KeyDerivation, Encryption pkix.AlgorithmIdentifier
	}
	pbkdf2Params struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}

	oidHMACSHA1 = "1.2.840.113549.2.7"
	prfs        = map[string]func() hash.Hash{
		oidHMACSHA1:           sha1.New,
		"1.2.840.113549.2.9":  sha256.New,
		"1.2.840.113549.2.10": sha512.New384,
		"1.2.840.113549.2.11": sha512.New,
	}
	ciphers = map[string]struct {
		keyLength int
		block     func([]byte) (cipher.Block, error)
	}{
		"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
		"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
		"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
		"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
	}
)

// maxIterations bounds what a damaged file can make this machine do: about a
// minute.
const maxIterations = 100_000_000

// decryptPKCS8 opens an EncryptedPrivateKeyInfo as OpenSSL writes it: PBES2 with
// PBKDF2 and AES or Triple-DES in CBC mode.
func decryptPKCS8(der []byte, passphrase string) (crypto.Signer, error) {
	var info encryptedPrivateKeyInfo
	var scheme pbes2Params
	var kdf pbkdf2Params
	var iv []byte
	unsupported := func(what string) error {
		return fmt.Errorf("its encryption is not supported (%s): write it anew with openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256", what)
	}
	for _, step := range []struct {
		der func() []byte
		to  any
	}{
		{func() []byte { return der }, &info},
		{func() []byte { return info.Algorithm.Parameters.FullBytes }, &scheme},
		{func() []byte { return scheme.KeyDerivation.Parameters.FullBytes }, &kdf},
		{func() []byte { return scheme.Encryption.Parameters.FullBytes }, &iv},
	} {
		if step.to == &scheme && !info.Algorithm.Algorithm.Equal(oidPBES2) {
			return nil, unsupported("scheme " + info.Algorithm.Algorithm.String())
		}
		if step.to == &kdf && !scheme.KeyDerivation.Algorithm.Equal(oidPBKDF2) {
			return nil, unsupported("key derivation " + scheme.KeyDerivation.Algorithm.String())
		}
		if rest, err := asn1.Unmarshal(step.der(), step.to); err != nil || len(rest) > 0 {
			return nil, errors.New("the PEM block is no encrypted PKCS#8 private key that can be read")
		}
	}
	prf := oidHMACSHA1 // the default of RFC 8018
	if kdf.PRF.Algorithm != nil {
		prf = kdf.PRF.Algorithm.String()
	}
	newHash, ok := prfs[prf]
	if !ok {
		return nil, unsupported("PRF " + prf)
	}
	c, ok := ciphers[scheme.Encryption.Algorithm.String()]
	if !ok {
		return nil, unsupported("cipher " + scheme.Encryption.Algorithm.String())
	}
	if kdf.Iterations < 1 || kdf.Iterations > maxIterations || kdf.KeyLength != 0 && kdf.KeyLength != c.keyLength {
		return nil, unsupported("parameters of PBKDF2")
	}
	secret, err := pbkdf2.Key(newHash, passphrase, kdf.Salt, kdf.Iterations, c.keyLength)
	if err != nil {
		return nil, err
	}
	block, err := c.block(secret)
	if err != nil {
		return nil, err
	}
	size := block.BlockSize()
	if len(iv) != size || len(info.Data) == 0 || len(info.Data)%size != 0 {
		return nil, unsupported("lengths")
	}
	plain := make([]byte, len(info.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, info.Data)
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > size {
		return nil, ErrPassphrase
	}
	for _, b := range plain[len(plain)-pad:] {
		if int(b) != pad {
			return nil, ErrPassphrase
		}
	}
	key, err := parsePKCS8(plain[:len(plain)-pad])
	if err != nil {
		return nil, ErrPassphrase
	}
	return key, nil
}
