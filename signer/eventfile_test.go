package signer

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/git"
)

func eventFileOf(t testing.TB) *EventFile {
	t.Helper()
	objects, err := git.ReadObjects([]byte("sha1 blob 1\n1\nsha1 blob 0\n\n"))
	if err != nil {
		t.Fatal(err)
	}
	return &EventFile{
		Event: "sign/x", Remote: "https://tuf.example.com/tuf", TUFDir: "a/b",
		Main: git.OID(strings.Repeat("1", 40)), Head: git.OID(strings.Repeat("2", 40)), objects: objects,
	}
}

func signatureFileOf() *SignatureFile {
	one := CarriedSignature{Role: "targets", Version: 2, SHA256: strings.Repeat("3", 64), KeyID: strings.Repeat("4", 64), Device: "YubiKey 11111111", Sig: []byte("sig")}
	two := one
	two.Role, two.Device = "a role with \\x1b and é", "file"
	key := CarriedKey{
		Role: "root", KeyID: strings.Repeat("5", 64), Type: "ecdsa", Scheme: "ecdsa-sha2-nistp256", Public: "a\nkey\n",
		Proof: []CarriedProof{{"device_cert.pem", []byte("a\n")}, {"key_cert.pem", []byte("b\n")}},
	}
	return &SignatureFile{Event: "sign/x", Remote: "/a path/tuf", By: "@alice", Keys: []CarriedKey{key}, Signatures: []CarriedSignature{one, two}}
}

// What cannot be read back as it is is not written.
func TestFilesRefuseToBeWritten(t *testing.T) {
	for name, change := range map[string]func(*EventFile, *SignatureFile){
		"line":   func(e *EventFile, s *SignatureFile) { e.Remote, s.Remote = "/a\nhead x", "/a\nby @eve" },
		"code":   func(e *EventFile, s *SignatureFile) { e.Event, s.Event = "sign/\x1b[2J", "sign/\x1b[2J" },
		"hidden": func(e *EventFile, s *SignatureFile) { e.Event, s.Signatures[0].Role = "sign/\u202ex", "\u202ex" },
		"empty":  func(e *EventFile, s *SignatureFile) { e.Remote, s.Signatures[1].Device = "", "" },
		"space":  func(e *EventFile, s *SignatureFile) { e.Remote, s.By = "/a ", " @alice" },
	} {
		e, s := eventFileOf(t), signatureFileOf()
		change(e, s)
		if data, err := e.Bytes(); err == nil {
			t.Errorf("%s: written as %q", name, data)
		}
		if data, err := s.Bytes(); err == nil {
			t.Errorf("%s: written as %q", name, data)
		}
	}
}

// What is no file of signatures is not read, and the sentence shows no code.
func TestReadSignatureFileRefuses(t *testing.T) {
	good, err := signatureFileOf().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	key := string(good[bytes.Index(good, []byte("\ninvitation")):bytes.Index(good, []byte("\nrole"))])
	block := string(good[bytes.Index(good, []byte("\nrole")):])
	block = block[:strings.Index(block[1:], "\n\n")+2]
	for name, one := range map[string]struct{ from, to, want string }{
		"another form": {"signatures 1", "signatures 2", `where "tufops signatures 1" must stand`},
		"no login":     {"by @alice", "by alice; rm", "is not a login"},
		"no version":   {"version 2", "version 02", `version "02" is not a number`},
		"version 0":    {"version 2", "version 0", `version "0" is not a number`},
		"no hex":       {"signature 736967", "signature xyz", "is not written in hex"},
		"upper case":   {"signature 736967", "signature 7369AA", "is not written in hex"},
		"cut off":      {"\nsignature 736967", "", `where "signature" must stand there is ""`},
		"a line more":  {"signature 736967\n", "signature 736967\nx\n", `where "" must stand there is "x"`},
		"a line less":  {"key file\n", "", `where "key" must stand`},
		"twice":        {block, block + block, "has two signatures of targets"},
		"none":         {string(good[bytes.Index(good, []byte("\ninvitation")):]), "", "it has no signature"},
		"key no hex":   {"public 610a6b65790a", "public x", "the key for role root is not written in hex"},
		"proof no hex": {"key_cert.pem 620a", "key_cert.pem 62A0", "is not written in hex"},
		"proof leaves": {"proof key_cert.pem", "proof ../../key_cert.pem", "is none that can be kept"},
		"proof twice":  {"proof key_cert.pem", "proof device_cert.pem", "is none that can be kept"},
		"proof large":  {"key_cert.pem 620a", "key_cert.pem " + strings.Repeat("00", maxCertificate+1), "is none that can be kept"},
		"two keys":     {key, key + key, "it has two keys for role root"},
		"escape codes": {"key file", "key \x1b[2Jfile", "which is no name that can be shown"},
		"hidden":       {"key file", "key \u202efile", "which is no name that can be shown"},
		"too large":    {"key file", "key " + strings.Repeat("x", MaxSignatureFile), "it has more than"},
		"empty":        {string(good), "", `where "tufops signatures 1" must stand`},
	} {
		if !strings.Contains(string(good), one.from) {
			t.Fatalf("%s: %q is not there", name, one.from)
		}
		f, err := ReadSignatureFile([]byte(strings.Replace(string(good), one.from, one.to, 1)))
		if err == nil || !strings.Contains(err.Error(), one.want) || strings.ContainsAny(err.Error(), "\x1b\u202e") {
			t.Errorf("%s: %+v, %v, want %q", name, f, err, one.want)
		}
	}
}

// Whatever is read is one event and no other: it is written as it was.
func FuzzEventFile(f *testing.F) {
	e := eventFileOf(f)
	for _, dir := range []string{"", "a/b"} {
		e.TUFDir = dir
		data, err := e.Bytes()
		if err != nil {
			f.Fatal(err)
		}
		if again, err := ReadEventFile(data); err != nil || again.TUFDir != dir || again.Main != e.Main || again.Remote != e.Remote {
			f.Fatalf("%+v, %v", again, err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// With a last line that is right, or none of what stands before is ever read.
		for _, in := range [][]byte{data, append(bytes.Clone(data), ("sha256 " + digest(data) + "\n")...)} {
			e, err := ReadEventFile(in)
			if err != nil {
				continue
			}
			if out, err := e.Bytes(); err != nil || !bytes.Equal(out, in) {
				t.Errorf("%q is written as %q, %v", in, out, err)
			}
		}
	})
}

// The same of signatures, but for what a screen does to a text.
func FuzzSignatureFile(f *testing.F) {
	data, err := signatureFileOf().Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(bytes.Replace(data, []byte("version 2"), []byte("version 02"), 1))
	copied := []byte("\r\n" + strings.ReplaceAll(string(data), "\n", "\r\n") + "  \n")
	if s, err := ReadSignatureFile(copied); err != nil || len(s.Signatures) != 2 {
		f.Errorf("copied from a screen: %+v, %v", s, err)
	}
	f.Add(copied)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ReadSignatureFile(data)
		if err != nil {
			return
		}
		plain := bytes.TrimSpace(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")))
		if out, err := s.Bytes(); err != nil || string(out) != string(plain)+"\n" {
			t.Errorf("%q is written as %q, %v", data, out, err)
		}
	})
}
