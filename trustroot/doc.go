// Package trustroot reads Sigstore's trust material as people need to judge it:
// what a trusted_root.json or a signing_config.json says, what is wrong with
// it, and what a change to it means.
//
// It owns the strict reading of those files ([Parse]), the checks ([Lint]), the
// difference between two versions in words ([Compare]), and edits that leave
// the rest of the text as it is ([Document.AddLog] and its siblings). An entry
// is known by its key or its certificates, never by its position.
//
// It trusts nothing in a file and never panics on one. It knows neither git nor
// events, reads no file and no clock, and asks no service: bytes and a moment
// go in, values come out. Text in what it returns comes from the file and is
// not escaped, unless a function says so.
package trustroot
