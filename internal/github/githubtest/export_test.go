package githubtest

import "testing"

// Routes are all of REST that is served, as [Request.Route] has them.
func Routes() []string {
	var all []string
	for _, r := range routes {
		all = append(all, r.method+" "+r.path)
	}
	return all
}

// MustHaveSchemas skips the test where there are none, unless they are required.
func MustHaveSchemas(t *testing.T) *Schemas {
	t.Helper()
	s := foundSchemas(t)
	if s == nil {
		t.Skip("GitHub's schemas are not here; make schemas gets them")
	}
	return s
}

// HaveSchemas reports whether GitHub's schemas are there.
func HaveSchemas() bool {
	_, err := LoadSchemas(schemaDir())
	return err == nil
}
