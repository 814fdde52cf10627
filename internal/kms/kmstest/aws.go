package kmstest

import (
	"cmp"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/kms"
)

// AWSRegion and AWSAccount are where the keys of [AWS] are.
const (
	AWSRegion  = "eu-central-1"
	AWSAccount = "123456789012"
)

// AWSKey is the ARN of a key.
func AWSKey(name string) string {
	return "arn:aws:kms:" + AWSRegion + ":" + AWSAccount + ":key/" + name
}

// AWS serves keys as AWS KMS does, and returns its URL. Keys are called by their
// name, alias/ and their name, alias/key/ and their name and /now, or the ARN of one
// of these; they have one version, "".
func AWS(t testing.TB, s *Service) string {
	t.Helper()
	server := httptest.NewServer(amazon{s})
	t.Cleanup(server.Close)
	return server.URL
}

type amazon struct{ service *Service }

var amazonAlgorithms = map[string]string{
	kms.P256: "ECDSA_SHA_256", kms.P384: "ECDSA_SHA_384", kms.Ed25519: "ED25519_SHA_512",
	kms.PSS256: "RSASSA_PSS_SHA_256", kms.PSS384: "RSASSA_PSS_SHA_384", kms.PSS512: "RSASSA_PSS_SHA_512",
	kms.PKCS1v256: "RSASSA_PKCS1_V1_5_SHA_256", kms.PKCS1v384: "RSASSA_PKCS1_V1_5_SHA_384", kms.PKCS1v512: "RSASSA_PKCS1_V1_5_SHA_512",
}

var amazonSpecs = map[string]string{kms.P256: "ECC_NIST_P256", kms.P384: "ECC_NIST_P384", kms.Ed25519: "ECC_NIST_EDWARDS25519"}

// amazonFaults are status, code and message.
var amazonFaults = map[Fault][3]string{
	Denied:    {"400", "AccessDeniedException", "User: arn:aws:sts::123456789012:assumed-role/r/s is not authorized to perform this on this resource"},
	LoggedOut: {"400", "UnrecognizedClientException", "The security token included in the request is invalid."},
	Throttled: {"400", "ThrottlingException", "You have exceeded the rate at which you may call KMS."},
	Down:      {"500", "KMSInternalException", ""},
	Disabled:  {"400", "DisabledException", "The key is disabled."},
	Destroyed: {"400", "KMSInvalidStateException", "The key is pending deletion."},
	Gone:      {"400", "NotFoundException", "The key does not exist"},
}

func (a amazon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target, _ := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	operation := map[string]string{"GetPublicKey": "read", "Sign": "sign"}[target]
	if operation == "" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		answerAWS(w, "400", "UnknownOperationException", target)
		return
	}
	var in struct {
		KeyId, MessageType, SigningAlgorithm string
		Message                              []byte
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &in) != nil {
		answerAWS(w, "400", "SerializationException", "")
		return
	}
	fault := a.service.begin(r.Context(), operation)
	if said, ok := amazonFaults[fault]; ok {
		answerAWS(w, said[0], said[1], said[2])
		return
	}
	if fault == Echo {
		answerAWS(w, "400", "AccessDeniedException", repeat(r))
		return
	}
	if fault == CutOff {
		cutOff(w)
	}
	if fault == Garbage {
		fmt.Fprint(w, "<html>not what you look for</html>")
		return
	}
	if sig := r.Header.Get("Authorization"); !strings.Contains(sig, "/"+AWSRegion+"/kms/aws4_request") {
		answerAWS(w, "400", "InvalidSignatureException", "The credential is for another region.")
		return
	}
	name := strings.TrimPrefix(strings.TrimPrefix(in.KeyId, strings.TrimSuffix(AWSKey(""), "key/")), "alias/")
	name = strings.TrimSuffix(strings.TrimPrefix(name, "key/"), "/now")
	k := a.service.find(name, "")
	if k == nil {
		answerAWS(w, "400", "NotFoundException", "Key '"+in.KeyId+"' does not exist")
		return
	}
	arn := AWSKey(name)
	if fault == OtherVersion {
		arn += "0"
	}
	out := map[string]any{"KeyId": arn}
	if operation == "read" {
		der, err := x509.MarshalPKIXPublicKey(k.public(fault))
		if err != nil {
			panic(err)
		}
		if fault == Corrupted {
			der = der[:len(der)-1]
		}
		var list []string
		for scheme, algorithm := range amazonAlgorithms {
			if scheme == k.Scheme || kind(scheme) == "rsa" && kind(k.Scheme) == "rsa" {
				list = append(list, algorithm)
			}
		}
		if k.Scheme == kms.Ed25519 {
			list = append(list, "ED25519_PH_SHA_512")
		}
		out["PublicKey"], out["SigningAlgorithms"], out["KeyUsage"], out["KeySpec"] = der, list, "SIGN_VERIFY", cmp.Or(amazonSpecs[k.Scheme], "RSA_2048")
	} else {
		scheme := ""
		for s, algorithm := range amazonAlgorithms {
			if algorithm == in.SigningAlgorithm {
				scheme = s
			}
		}
		switch {
		case scheme == "":
			answerAWS(w, "400", "ValidationException", "Value '"+in.SigningAlgorithm+"' at 'signingAlgorithm' failed to satisfy constraint")
			return
		case !k.signsIn(scheme):
			answerAWS(w, "400", "InvalidKeyUsageException", "Algorithm "+in.SigningAlgorithm+" is incompatible with the key spec.")
			return
		case scheme == kms.Ed25519 && in.MessageType != "RAW":
			answerAWS(w, "400", "UnsupportedOperationException", in.SigningAlgorithm+" requires message type RAW")
			return
		case scheme != kms.Ed25519 && in.MessageType != "DIGEST", len(in.Message) > 4096: // the real service would hash what is not
			answerAWS(w, "400", "ValidationException", "message type "+in.MessageType)
			return
		}
		sig, err := k.sign(fault, scheme, in.Message)
		if err != nil {
			answerAWS(w, "400", "ValidationException", err.Error())
			return
		}
		out["Signature"], out["SigningAlgorithm"] = sig, in.SigningAlgorithm
	}
	writeJSON(w, "application/x-amz-json-1.1", 200, out)
}

func answerAWS(w http.ResponseWriter, status, code, message string) {
	var n int
	fmt.Sscan(status, &n)
	w.Header().Set("X-Amzn-Errortype", code)
	writeJSON(w, "application/x-amz-json-1.1", n, map[string]any{"__type": code, "message": message})
}

func writeJSON(w http.ResponseWriter, kind string, status int, out any) {
	data, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(data)
}
