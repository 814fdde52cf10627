package sigstore

// Algorithms are those by which the artifact is known.
func (a Artifact) Algorithms() (names []string) {
	for _, d := range a.digests() {
		names = append(names, d.Algorithm)
	}
	return names
}
