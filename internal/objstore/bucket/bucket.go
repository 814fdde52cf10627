// Package bucket has what the stores in buckets share: how a URL names a place
// in a bucket, how a body is made ready to be sent, and how a refusal is told.
//
// It talks to no service and reads no credential. What its errors print is made
// of names and of what the service said, never of a request: requests may carry
// secrets.
package bucket

import (
	"fmt"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Location is a place in a bucket: all objects whose key begins with Prefix.
type Location struct {
	Scheme string // gs
	Bucket string // of Azure: ACCOUNT/CONTAINER
	Prefix string // empty, or with a slash at the end
}

// Parse takes a URL apart whose bucket consists of so many parts: one in
// gs://BUCKET/PREFIX, two in azblob://ACCOUNT/CONTAINER/PREFIX. Nothing in it is
// unescaped: a prefix is what its bytes say.
func Parse(url string, parts int) (Location, error) {
	scheme, rest, _ := strings.Cut(url, "://")
	rest = strings.TrimSuffix(rest, "/")
	segments := strings.Split(rest, "/")
	if len(segments) < parts {
		return Location{}, fmt.Errorf("it does not name all of the bucket")
	}
	for _, segment := range segments[:parts] {
		if segment == "" || strings.Trim(segment, ".") == "" || strings.ContainsFunc(segment, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.$", r)
		}) {
			return Location{}, fmt.Errorf("%q cannot be the name of a bucket", segment)
		}
	}
	l := Location{Scheme: scheme, Bucket: strings.Join(segments[:parts], "/")}
	if len(segments) > parts {
		prefix := strings.Join(segments[parts:], "/")
		if !valid(prefix) || strings.ContainsAny(prefix, "?#%") {
			return Location{}, fmt.Errorf("%q cannot be a prefix: it is a path, and is not unescaped", prefix)
		}
		l.Prefix = prefix + "/"
	}
	return l, nil
}

// String is the URL of the place.
func (l Location) String() string {
	return strings.TrimSuffix(l.Scheme+"://"+l.Bucket+"/"+l.Prefix, "/")
}

// Key is the key of an object. Names are refused that some service would take
// for another one, such as dir/../x, or one with a backslash.
func (l Location) Key(name string) (string, error) {
	if !valid(name) {
		return "", fmt.Errorf("%q cannot be the name of a published file", name)
	}
	return l.Prefix + name, nil
}

// Name is the name of the object with this key.
func (l Location) Name(key string) string { return strings.TrimPrefix(key, l.Prefix) }

// URL names an object for people.
func (l Location) URL(name string) string { return l.Scheme + "://" + l.Bucket + "/" + l.Prefix + name }

// valid reports whether a name is relative, normal, and made of characters that
// XML, in which buckets are listed, can carry.
func valid(name string) bool {
	return fs.ValidPath(name) && name != "." && !strings.ContainsFunc(name, func(r rune) bool {
		return r == '\\' || unicode.IsControl(r) || r == '\uFFFE' || r == '\uFFFF' || r == utf8.RuneError
	})
}
