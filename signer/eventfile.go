package signer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
)

// EventFile is a signing event as one file: the commits that it lies between,
// and every git object that its review reads. Whoever made it may lie as much as
// whoever serves a git remote; its objects have the ids that their bytes give
// them, and all the rest is reviewed as it is anywhere.
type EventFile struct {
	Event  string // the branch, sign/NAME
	Remote string // where it comes from, without credentials: what a memory is about
	TUFDir string // the folder of the TUF repository, "" for the top
	Main   git.OID
	Head   git.OID

	objects *git.Objects
}

// The forms of the two files, by their first lines. What is written is text but
// for the objects, and the last line of an event is the SHA-256 of all before it.
const (
	eventForm     = "tufops event 1"
	signatureForm = "tufops signatures 1"
)

// MaxEventFile bounds the file of an event, in bytes.
const MaxEventFile = git.MaxObjects + 1<<20

// MaxSignatureFile bounds a file of signatures, in bytes.
const MaxSignatureFile = 1 << 20

// FileError says that a file is not the event or the signatures that it should
// be.
type FileError struct {
	What string // "event" or "signature file"
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("this is no %s: %v", e.What, e.Err) }

func (e *FileError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *FileError) Hint() string {
	if e.What == "event" {
		return "make it with tufops-sign export, and copy it whole"
	}
	return "make it with tufops-sign sign-file, and copy it whole"
}

// fields are lines of a name and a value, in an order that is given.
type fields struct {
	text string
	err  error
}

// next is the value of the next line, which must have this name.
func (f *fields) next(name string) string {
	if f.err != nil {
		return ""
	}
	line, rest, ok := strings.Cut(f.text, "\n")
	value, named := strings.CutPrefix(line, name+" ")
	switch {
	case !ok || !named:
		f.err = fmt.Errorf("where %q must stand there is %q", name, cut(line))
	case value == "" || value != strings.TrimSpace(value) || escape.Terminal(value) != value:
		f.err = fmt.Errorf("%s is %q, which is no name that can be shown as it is", name, cut(value))
	}
	f.text = rest
	return value
}

// line takes a line that must be there.
func (f *fields) line(want string) {
	line, rest, ok := strings.Cut(f.text, "\n")
	if f.err == nil && (!ok || line != want) {
		f.err = fmt.Errorf("where %q must stand there is %q", want, cut(line))
	}
	f.text = rest
}

// cut is the beginning of a text from a stranger.
func cut(s string) string { return s[:min(len(s), 80)] }

// put writes a line as next reads it.
func put(b *bytes.Buffer, name, value string) error {
	f := fields{text: name + " " + value + "\n"}
	if f.next(name); f.err != nil || f.text != "" {
		return fmt.Errorf("%s %q cannot go into a file as it is", name, value)
	}
	fmt.Fprintf(b, "%s %s\n", name, value)
	return nil
}

// Bytes are the event as a file.
func (f *EventFile) Bytes() ([]byte, error) {
	objects, err := f.objects.Bytes()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(eventForm + "\n")
	for _, one := range [][2]string{
		{"event", f.Event}, {"repository", f.Remote}, {"folder", path.Clean("./" + f.TUFDir)},
		{"main", string(f.Main)}, {"head", string(f.Head)},
	} {
		if err := put(&b, one[0], one[1]); err != nil {
			return nil, err
		}
	}
	b.WriteString("\n")
	b.Write(objects)
	fmt.Fprintf(&b, "sha256 %s\n", digest(b.Bytes()))
	return b.Bytes(), nil
}

const maxEventHead = 16 << 10

// ReadEventFile reads the file of an event. A file that is damaged, cut off or
// something else is a *[FileError].
func ReadEventFile(data []byte) (*EventFile, error) {
	f, err := readEventFile(data)
	if err != nil {
		return nil, &FileError{"event", err}
	}
	return f, nil
}

func readEventFile(data []byte) (*EventFile, error) {
	if len(data) > MaxEventFile {
		return nil, fmt.Errorf("it has more than %d bytes", MaxEventFile)
	}
	head, _, ok := bytes.Cut(data[:min(len(data), maxEventHead)], []byte("\n\n"))
	if !ok {
		return nil, fmt.Errorf("it does not begin with %q", eventForm)
	}
	in := &fields{text: string(head) + "\n"}
	in.line(eventForm)
	f := &EventFile{Event: in.next("event"), Remote: in.next("repository")}
	folder := in.next("folder")
	main, tip := in.next("main"), in.next("head")
	if in.err == nil && in.text != "" {
		in.err = fmt.Errorf("there is %q after its head", cut(in.text))
	}
	if in.err != nil {
		return nil, in.err
	}
	if f.TUFDir = folder; folder == "." {
		f.TUFDir = ""
	} else if path.Clean("/" + folder)[1:] != folder {
		return nil, fmt.Errorf("folder %q does not lie inside a git repository", folder)
	}
	var err error
	if f.Main, err = git.ParseOID(main); err == nil {
		f.Head, err = git.ParseOID(tip)
	}
	if err != nil {
		return nil, err
	}
	body := data[len(head)+2:]
	last := len("sha256 \n") + 2*sha256.Size
	if len(body) < last {
		return nil, errors.New("it is cut off")
	}
	body, said := body[:len(body)-last], body[len(body)-last:]
	if want := fmt.Sprintf("sha256 %s\n", digest(data[:len(data)-last])); string(said) != want {
		return nil, fmt.Errorf("it is damaged or cut off: its last line is %q, and what stands before it has %q", cut(string(said)), strings.TrimSpace(want))
	}
	f.objects, err = git.ReadObjects(body)
	return f, err
}

// SignatureFile is what a person has signed on a machine without network, and
// the keys that they bring to roles which have invited them.
type SignatureFile struct {
	Event      string
	Remote     string
	By         string // @login
	Keys       []CarriedKey
	Signatures []CarriedSignature
}

// CarriedKey is the public key that a person brings to a role.
type CarriedKey struct {
	Role                        string
	KeyID, Type, Scheme, Public string // as the key object has them
	Proof                       []CarriedProof
}

// CarriedProof is a certificate of an attestation, named as below keys/.
type CarriedProof struct {
	Name string
	Data []byte
}

// key is the key, if it is what its id says.
func (c CarriedKey) key(owner string) (*metadata.Key, error) {
	k, err := metadata.DecodeKey(c.KeyID, metadata.Object{"keytype": c.Type, "scheme": c.Scheme, "keyval": metadata.Object{"public": c.Public}})
	if err == nil {
		err = k.Unusable
	}
	if err != nil {
		return nil, err
	}
	if k, err = metadata.NewKey(k.Public, owner, ""); err == nil && k.ID != c.KeyID {
		err = fmt.Errorf("as a key of %s it has keyid %s", owner, k.ID)
	}
	return k, err
}

// CarriedSignature is one signature of a [SignatureFile].
type CarriedSignature struct {
	Role    string
	Version int64
	SHA256  string // of the payload
	KeyID   string
	Device  string // "file" where the key is on none; for people
	Sig     []byte
}

// Bytes are the signatures as a file.
func (f *SignatureFile) Bytes() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(signatureForm + "\n")
	write := func(lines ...[2]string) error {
		for _, one := range lines {
			if err := put(&b, one[0], one[1]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := write([2]string{"event", f.Event}, [2]string{"repository", f.Remote}, [2]string{"by", f.By}); err != nil {
		return nil, err
	}
	for _, one := range f.Keys {
		b.WriteString("\n")
		lines := [][2]string{
			{"invitation", one.Role}, {"keyid", one.KeyID}, {"keytype", one.Type}, {"scheme", one.Scheme}, {"public", hex.EncodeToString([]byte(one.Public))},
		}
		for _, p := range one.Proof {
			lines = append(lines, [2]string{"proof", p.Name + " " + hex.EncodeToString(p.Data)})
		}
		if err := write(lines...); err != nil {
			return nil, err
		}
	}
	for _, one := range f.Signatures {
		b.WriteString("\n")
		if err := write([2]string{"role", one.Role}, [2]string{"version", strconv.FormatInt(one.Version, 10)}, [2]string{"sha256", one.SHA256},
			[2]string{"keyid", one.KeyID}, [2]string{"key", one.Device}, [2]string{"signature", hex.EncodeToString(one.Sig)}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// ReadSignatureFile reads what [SignatureFile.Bytes] has written, also where
// somebody has copied it from a screen: empty lines around it and the ends of lines
// of other systems change nothing. Anything else is a *[FileError].
func ReadSignatureFile(data []byte) (*SignatureFile, error) {
	f, err := readSignatureFile(data)
	if err != nil {
		return nil, &FileError{"signature file", err}
	}
	return f, nil
}

func readSignatureFile(data []byte) (*SignatureFile, error) {
	if len(data) > MaxSignatureFile {
		return nil, fmt.Errorf("it has more than %d bytes", MaxSignatureFile)
	}
	in := &fields{text: strings.TrimSpace(strings.ReplaceAll(string(data), "\r\n", "\n")) + "\n"}
	in.line(signatureForm)
	f := &SignatureFile{Event: in.next("event"), Remote: in.next("repository"), By: in.next("by")}
	if in.err == nil && !loginPattern.MatchString(f.By) {
		in.err = fmt.Errorf("%q is not a login like @alice", cut(f.By))
	}
	for in.err == nil && strings.HasPrefix(in.text, "\ninvitation ") {
		in.line("")
		one, err := readCarriedKey(in)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(f.Keys, func(o CarriedKey) bool { return o.Role == one.Role }) {
			return nil, fmt.Errorf("it has two keys for role %s", cut(one.Role))
		}
		f.Keys = append(f.Keys, one)
	}
	for in.err == nil && in.text != "" {
		in.line("")
		one := CarriedSignature{Role: in.next("role")}
		version := in.next("version")
		one.SHA256, one.KeyID, one.Device = in.next("sha256"), in.next("keyid"), in.next("key")
		sig := in.next("signature")
		if in.err != nil {
			break
		}
		var err error
		if one.Version, err = strconv.ParseInt(version, 10, 64); err != nil || one.Version < 1 || strconv.FormatInt(one.Version, 10) != version {
			return nil, fmt.Errorf("version %q is not a number", cut(version))
		}
		if one.Sig, err = hex.DecodeString(sig); err != nil || hex.EncodeToString(one.Sig) != sig {
			return nil, fmt.Errorf("the signature of %s is not written in hex", cut(one.Role))
		}
		if slices.ContainsFunc(f.Signatures, func(o CarriedSignature) bool { return o.Role == one.Role && o.KeyID == one.KeyID }) {
			return nil, fmt.Errorf("it has two signatures of %s with keyid %s", cut(one.Role), cut(one.KeyID))
		}
		f.Signatures = append(f.Signatures, one)
	}
	if in.err == nil && len(f.Signatures)+len(f.Keys) == 0 {
		in.err = errors.New("it has no signature")
	}
	return f, in.err
}

// proofName is how a file of an attestation is named.
var proofName = regexp.MustCompile(`^[a-z0-9_]{1,40}\.pem$`)

func readCarriedKey(in *fields) (CarriedKey, error) {
	one := CarriedKey{Role: in.next("invitation"), KeyID: in.next("keyid"), Type: in.next("keytype"), Scheme: in.next("scheme")}
	unhex := func(text string) []byte {
		data, err := hex.DecodeString(text)
		if in.err == nil && (err != nil || hex.EncodeToString(data) != text) {
			in.err = fmt.Errorf("the key for role %s is not written in hex", cut(one.Role))
		}
		return data
	}
	one.Public = string(unhex(in.next("public")))
	for in.err == nil && strings.HasPrefix(in.text, "proof ") {
		name, text, _ := strings.Cut(in.next("proof"), " ")
		p := CarriedProof{Name: name, Data: unhex(text)}
		if in.err == nil && (!proofName.MatchString(name) || len(p.Data) > maxCertificate || len(one.Proof) == maxCertificates ||
			slices.ContainsFunc(one.Proof, func(o CarriedProof) bool { return o.Name == name })) {
			in.err = fmt.Errorf("the proof %q of the key for role %s is none that can be kept", cut(name), cut(one.Role))
		}
		one.Proof = append(one.Proof, p)
	}
	return one, in.err
}

// touchKeys reads what is asked for when a token is looked for, so that the
// objects that are noted hold it.
func touchKeys(ctx context.Context, g *git.Repo, oids []git.OID) error {
	for _, oid := range oids {
		if _, err := g.BlobLimit(ctx, oid, maxCertificate); err != nil && !errors.As(err, new(*git.TooLargeError)) {
			return err
		}
	}
	return nil
}
