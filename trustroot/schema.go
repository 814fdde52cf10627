package trustroot

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The forms of the two documents, as clients know them. They are written down
// here, and not taken from the newest protobuf-specs, because a client refuses a
// whole file for one field that it does not know: what counts is the oldest
// client. A test holds them against protobuf-specs.

type message map[string]field

type field struct {
	kind     kind
	message  message // kind object
	values   []value // kind enum
	repeated bool
	later    bool // came after the first clients that read the file
}

type kind int

const (
	text kind = iota
	number
	moment
	base64Bytes
	enum
	object
)

type value struct {
	name  string
	later bool
}

var (
	timeRange = message{"start": {kind: moment}, "end": {kind: moment}}
	logID     = message{"keyId": {kind: base64Bytes}}
	publicKey = message{
		"rawBytes":   {kind: base64Bytes},
		"keyDetails": {kind: enum, values: keyDetails},
		"validFor":   {kind: object, message: timeRange},
	}
	logMessage = message{
		"baseUrl":         {kind: text},
		"hashAlgorithm":   {kind: enum, values: hashAlgorithms},
		"publicKey":       {kind: object, message: publicKey},
		"logId":           {kind: object, message: logID},
		"checkpointKeyId": {kind: object, message: logID, later: true},
		"operator":        {kind: text, later: true},
	}
	authorityMessage = message{
		"subject": {kind: object, message: message{"organization": {kind: text}, "commonName": {kind: text}}},
		"uri":     {kind: text},
		"certChain": {kind: object, message: message{
			"certificates": {kind: object, message: message{"rawBytes": {kind: base64Bytes}}, repeated: true},
		}},
		"validFor": {kind: object, message: timeRange},
		"operator": {kind: text, later: true},
	}
	trustedRootMessage = message{
		"mediaType":              {kind: text},
		"tlogs":                  {kind: object, message: logMessage, repeated: true},
		"certificateAuthorities": {kind: object, message: authorityMessage, repeated: true},
		"ctlogs":                 {kind: object, message: logMessage, repeated: true},
		"timestampAuthorities":   {kind: object, message: authorityMessage, repeated: true},
	}

	serviceMessage = message{
		"url":             {kind: text},
		"majorApiVersion": {kind: number},
		"validFor":        {kind: object, message: timeRange},
		"operator":        {kind: text},
	}
	selectorMessage = message{
		"selector": {kind: enum, values: []value{{"SERVICE_SELECTOR_UNDEFINED", false}, {"ALL", false}, {"ANY", false}, {"EXACT", false}}},
		"count":    {kind: number},
	}
	signingConfigMessage = message{
		"mediaType":       {kind: text},
		"caUrls":          {kind: object, message: serviceMessage, repeated: true},
		"oidcUrls":        {kind: object, message: serviceMessage, repeated: true},
		"rekorTlogUrls":   {kind: object, message: serviceMessage, repeated: true},
		"tsaUrls":         {kind: object, message: serviceMessage, repeated: true},
		"rekorTlogConfig": {kind: object, message: selectorMessage},
		"tsaConfig":       {kind: object, message: selectorMessage},
	}
	// The first form, which protobuf-specs has dropped.
	signingConfigV1Message = message{
		"mediaType": {kind: text},
		"caUrl":     {kind: text},
		"oidcUrl":   {kind: text},
		"tlogUrls":  {kind: text, repeated: true},
		"tsaUrls":   {kind: text, repeated: true},
	}
)

var hashAlgorithms = []value{
	{"HASH_ALGORITHM_UNSPECIFIED", false}, {"SHA2_256", false},
	{"SHA2_384", true}, {"SHA2_512", true}, {"SHA3_256", true}, {"SHA3_384", true},
}

var keyDetails = []value{
	{"PUBLIC_KEY_DETAILS_UNSPECIFIED", false},
	{"PKCS1_RSA_PKCS1V5", false}, {"PKCS1_RSA_PSS", false}, {"PKIX_RSA_PKCS1V5", false}, {"PKIX_RSA_PSS", false},
	{"PKIX_ECDSA_P256_SHA_256", false}, {"PKIX_ECDSA_P256_HMAC_SHA_256", false}, {"PKIX_ED25519", false},
	{"PKIX_ED25519_PH", true},
	{"PKIX_RSA_PKCS1V15_2048_SHA256", true}, {"PKIX_RSA_PKCS1V15_3072_SHA256", true}, {"PKIX_RSA_PKCS1V15_4096_SHA256", true},
	{"PKIX_RSA_PSS_2048_SHA256", true}, {"PKIX_RSA_PSS_3072_SHA256", true}, {"PKIX_RSA_PSS_4096_SHA256", true},
	{"PKIX_ECDSA_P384_SHA_384", true}, {"PKIX_ECDSA_P521_SHA_512", true}, {"PKIX_ECDSA_P384_SHA_256", true}, {"PKIX_ECDSA_P521_SHA_256", true},
	{"LMS_SHA256", true}, {"LMOTS_SHA256", true}, {"ML_DSA_44", true}, {"ML_DSA_65", true}, {"ML_DSA_87", true},
}

// walker compares a document with its form. What every client refuses is
// unreadable, what some read is ambiguous, what only newer ones read is too new.
type walker struct {
	data                         []byte
	unreadable, ambiguous, newer []Finding
}

func (w *walker) at(list *[]Finding, check *Check, path string, at int, hint, format string, args ...any) {
	line, column := position(w.data, at)
	*list = append(*list, Finding{
		Check: check.Name, Level: check.Level, Path: path, Line: line, Hint: hint,
		Message: fmt.Sprintf("line %d:%d: ", line, column) + fmt.Sprintf(format, args...),
	})
}

func (w *walker) bad(path string, n *node, hint, format string, args ...any) {
	w.at(&w.unreadable, unreadable, path, n.start, hint, format, args...)
}

func (w *walker) object(path string, n *node, form message) {
	if n.kind != '{' {
		w.bad(path, n, "write an object in braces", "%s is %s, not an object", pathOrFile(path), n.describe())
		return
	}
	for _, m := range n.members {
		at := join(path, cut(m.name, 80))
		f, known := form[m.name]
		if !known {
			camel := lowerCamel(m.name)
			if f, known = form[camel]; known {
				w.at(&w.ambiguous, ambiguousJSON, at, m.start, "write "+camel, "the field %s is called %s: only some clients read both", at, camel)
			}
		}
		switch {
		case !known:
			w.at(&w.unreadable, unreadable, at, m.start, "remove it; clients refuse the whole file", "no client knows the field %s; there are %s", at, fields(form))
		case f.later:
			w.at(&w.newer, fieldTooNew, at, m.start, "leave it out, or publish it in a new file beside this one (trusted_root.v0.2.json)",
				"the field %s came after this form of the file: older clients refuse the whole file for it", at)
			fallthrough
		default:
			w.field(at, m.value, f)
		}
	}
}

func (w *walker) field(path string, n *node, f field) {
	switch {
	case n.kind == 'n':
		w.at(&w.ambiguous, ambiguousJSON, path, n.start, "leave the field out", "%s is null: only some clients read that as absent", path)
	case !f.repeated:
		w.value(path, n, f)
	case n.kind != '[':
		w.bad(path, n, "write a list in brackets", "%s is %s, not a list", path, n.describe())
	default:
		for i, e := range n.elements {
			w.value(fmt.Sprintf("%s[%d]", path, i), e, f)
		}
	}
}

func (w *walker) value(path string, n *node, f field) {
	switch f.kind {
	case object:
		w.object(path, n, f.message)
	case number:
		_, err := strconv.ParseUint(n.text, 10, 32)
		switch {
		case err == nil && n.kind == '0':
		case err == nil && n.kind == '"':
			w.at(&w.ambiguous, ambiguousJSON, path, n.start, "write it without quotes", "%s is the string %q: only some clients read that as a number", path, n.text)
		default:
			w.bad(path, n, "write a whole number", "%s is %s, not a whole number", path, n.describe())
		}
	case enum:
		w.enum(path, n, f)
	case moment:
		if _, err := parseTime(n.text); n.kind != '"' || err != nil {
			w.bad(path, n, "write it like 2006-01-02T15:04:05Z", "%s is %s, not a time", path, n.describe())
		}
	case base64Bytes:
		w.base64(path, n)
	default:
		if n.kind != '"' {
			w.bad(path, n, "write it in quotes", "%s is %s, not a string", path, n.describe())
		}
	}
}

func (w *walker) enum(path string, n *node, f field) {
	i := slices.IndexFunc(f.values, func(v value) bool { return v.name == n.text })
	switch {
	case n.kind == '0' && !strings.ContainsAny(n.text, ".eE-"):
		w.at(&w.ambiguous, ambiguousJSON, path, n.start, "write the name", "%s is the number %s: only some clients know values by number", path, n.text)
	case n.kind != '"' || i < 0:
		w.bad(path, n, "write a name that clients know", "%s is %s, which no client knows", path, n.describe())
	case f.values[i].later:
		w.at(&w.newer, fieldTooNew, path, n.start, "use an older kind, or publish it in a new file beside this one (trusted_root.v0.2.json)",
			"%s is %s, which came after this form of the file: older clients refuse the whole file for it", path, n.text)
	}
}

func (w *walker) base64(path string, n *node) {
	if n.kind != '"' {
		w.bad(path, n, "write bytes as base64 in quotes", "%s is %s, not bytes in base64", path, n.describe())
		return
	}
	if _, err := base64.StdEncoding.Strict().DecodeString(n.text); err == nil && !strings.ContainsAny(n.text, "\r\n") {
		return
	}
	if _, ok := lenientBase64(n.text); ok {
		w.at(&w.ambiguous, ambiguousJSON, path, n.start, "write it in the standard alphabet, with its padding, on one line",
			"%s is not base64 in its standard form: only some clients read it", path)
		return
	}
	w.bad(path, n, "write bytes as base64", "%s is %s, not bytes in base64", path, n.describe())
}

// lenientBase64 reads base64 as protobuf does: either alphabet, padded or not.
func lenientBase64(s string) ([]byte, bool) {
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
	data, err := base64.RawStdEncoding.DecodeString(s)
	return data, err == nil && !strings.ContainsAny(s, "\r\n")
}

// parseTime reads a time as protobuf does: RFC 3339, capital T and Z.
func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err == nil && (strings.ContainsAny(s, "tz,") || t.Year() < 1) {
		err = fmt.Errorf("%q is not RFC 3339", s)
	}
	return t.UTC(), err
}

// describe shows a value in a message, cut short.
func (n *node) describe() string {
	switch n.kind {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return strconv.Quote(cut(n.text, 80))
	}
	return cut(n.text, 80)
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func pathOrFile(path string) string {
	if path == "" {
		return "the document"
	}
	return path
}

// lowerCamel turns the name of a field in a schema into its name in JSON.
func lowerCamel(s string) string {
	var b strings.Builder
	for i, part := range strings.Split(s, "_") {
		if i > 0 && part != "" {
			part = strings.ToUpper(part[:1]) + part[1:]
		}
		b.WriteString(part)
	}
	return b.String()
}

func fields(form message) string {
	return strings.Join(slices.Sorted(maps.Keys(form)), ", ")
}
