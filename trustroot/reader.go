package trustroot

import "slices"

// Reader reads documents, each text once: a document is judged next to its
// neighbours and to what it was before, and most of them are asked for again
// and again. The zero value is ready. It is not for concurrent use.
//
// What [Parse], [Lint] and [Compare] answer is the same with and without it. A
// document that it returns may be returned again, so nobody changes one.
type Reader struct {
	known map[source]reading
	size  int
}

// source is a document before it is read.
type source struct {
	kind Kind
	data string
}

// reading is what became of a text: the document, or nil, and what the walk over
// its form has found.
type reading struct {
	document *Document
	walk     *walker
}

// maxKnown bounds what a Reader remembers, in bytes of text. What is beyond that
// is read anew each time: a document takes some sixty times the memory of its
// text, and strangers may add as many as they like.
const maxKnown = maxSize

// Parse is [Parse].
func (r *Reader) Parse(kind Kind, data []byte) (*Document, error) {
	d, w := r.read(kind, data)
	if d == nil {
		return nil, &ParseError{Findings: slices.Concat(w.unreadable, w.ambiguous)}
	}
	return d, nil
}

func (r *Reader) read(kind Kind, data []byte) (*Document, *walker) {
	if known, ok := r.known[source{kind, string(data)}]; ok {
		return known.document, known.walk
	}
	d, w := read(kind, data)
	if r.size+len(data) <= maxKnown {
		if r.known == nil {
			r.known = map[source]reading{}
		}
		r.size += len(data)
		r.known[source{kind, string(data)}] = reading{d, w}
	}
	return d, w
}
