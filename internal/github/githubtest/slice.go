package githubtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A Package is one of npm that brings a schema.
type Package struct {
	Name, Version string
	Integrity     string // as npm has it
	file          string // in the package
	slice         func([]byte) ([]byte, error)
	to            string
}

// Packages are what GitHub's SDK for JavaScript is made from. Other versions
// take other digests: npm view NAME@VERSION dist.integrity.
var Packages = []Package{
	{
		Name: "@octokit/openapi", Version: "23.0.2",
		Integrity: "sha512-pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg==",
		file:      "package/generated/api.github.com.json", slice: sliceOpenAPI, to: openAPIFile,
	},
	{
		Name: "@octokit/graphql-schema", Version: "15.26.1",
		Integrity: "sha512-RFDC2MpRBd4AxSRvUeBIVeBU7ojN/SxDfALUd7iVYOSeEK3gZaqR2MGOysj4Zh2xj2RY5fQAUT+Oqq7hWTraMA==",
		file:      "package/schema.graphql", slice: sliceGraphQL, to: graphQLFile,
	},
}

// Archive is the name that npm pack gives to the package's file.
func (p Package) Archive() string {
	return strings.ReplaceAll(strings.TrimPrefix(p.Name, "@"), "/", "-") + "-" + p.Version + ".tgz"
}

// WriteSchemas takes the schemas out of the archives in the directory from,
// checks that they are what they should be, and writes to dir what [LoadSchemas]
// needs of them. It says what it does to out. What is in dir already is replaced.
func WriteSchemas(dir, from string, out io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range Packages {
		data, err := p.extract(from)
		if err != nil {
			return fmt.Errorf("take %s out of %s: %w", p.file, p.Archive(), err)
		}
		slice, err := p.slice(data)
		if err != nil {
			return fmt.Errorf("slice %s of %s: %w", p.file, p.Archive(), err)
		}
		name := filepath.Join(dir, p.to)
		if err := os.WriteFile(name, slice, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %d kB of the %d kB of %s in %s %s\n", name, len(slice)/1000, len(data)/1000, p.file, p.Name, p.Version)
	}
	return nil
}

// extract returns the schema file of the package's archive.
func (p Package) extract(from string) ([]byte, error) {
	archive, err := os.ReadFile(filepath.Join(from, p.Archive()))
	if err != nil {
		return nil, err
	}
	digest := sha512.Sum512(archive)
	if have := "sha512-" + base64.StdEncoding.EncodeToString(digest[:]); have != p.Integrity {
		return nil, fmt.Errorf("the archive has the digest %s, not %s", have, p.Integrity)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if err == io.EOF {
			return nil, fmt.Errorf("the archive has no %s", p.file)
		}
		if err != nil {
			return nil, err
		}
		if header.Name == p.file {
			return io.ReadAll(files)
		}
	}
}

// prose is what a schema holds beside what it demands.
var prose = map[string]bool{"description": true, "example": true, "examples": true, "summary": true, "externalDocs": true, "tags": true}

// sliceOpenAPI keeps the operations that are served, what they refer to, and no
// prose.
func sliceOpenAPI(data []byte) ([]byte, error) {
	var doc struct {
		OpenAPI    string                    `json:"openapi"`
		Info       any                       `json:"info"`
		Paths      map[string]map[string]any `json:"paths"`
		Components map[string]map[string]any `json:"components"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	paths := map[string]map[string]any{}
	components := map[string]map[string]any{}
	var keep func(v any, isNames bool) (any, error)
	keep = func(v any, isNames bool) (any, error) {
		switch v := v.(type) {
		case []any:
			all := make([]any, len(v))
			for i := range v {
				var err error
				if all[i], err = keep(v[i], false); err != nil {
					return nil, err
				}
			}
			return all, nil
		case map[string]any:
			all := map[string]any{}
			for name, below := range v {
				if !isNames && (prose[name] || strings.HasPrefix(name, "x-")) {
					continue
				}
				kept, err := keep(below, !isNames && name == "properties")
				if err != nil {
					return nil, err
				}
				all[name] = kept
			}
			if ref, ok := v["$ref"].(string); ok {
				kind, name, ok := strings.Cut(strings.TrimPrefix(ref, "#/components/"), "/")
				target, found := doc.Components[kind][name]
				if !ok || !found {
					return nil, fmt.Errorf("%s leads nowhere", ref)
				}
				if components[kind] == nil {
					components[kind] = map[string]any{}
				}
				if _, done := components[kind][name]; !done {
					components[kind][name] = nil // it may refer to itself
					kept, err := keep(target, false)
					if err != nil {
						return nil, err
					}
					components[kind][name] = kept
				}
			}
			return all, nil
		}
		return v, nil
	}
	for _, r := range routes {
		method := strings.ToLower(r.method)
		operation, ok := doc.Paths[r.path][method].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("it has no %s %s", r.method, r.path)
		}
		kept, err := keep(operation, false)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
		if paths[r.path] == nil {
			paths[r.path] = map[string]any{}
		}
		paths[r.path][method] = kept
	}
	// OpenAPI demands a description of every response.
	describe(paths, components)
	return json.Marshal(obj{"openapi": doc.OpenAPI, "info": obj{"title": "GitHub, in part", "version": "0"}, "paths": paths, "components": components})
}

func describe(paths, components map[string]map[string]any) {
	all := []any{components["responses"]}
	for _, operations := range paths {
		for _, o := range operations {
			all = append(all, o.(map[string]any)["responses"])
		}
	}
	for _, responses := range all {
		m, _ := responses.(map[string]any)
		for _, r := range m {
			if r, ok := r.(map[string]any); ok && r["$ref"] == nil {
				r["description"] = ""
			}
		}
	}
}

var (
	graphQLProse = regexp.MustCompile(`(?s)"""(.*?)"""`)
	fieldName    = regexp.MustCompile(`^  (\w+)[(:]`)
)

// sliceGraphQL drops the prose, and fields that stand twice in a type, which
// no parser takes.
func sliceGraphQL(data []byte) ([]byte, error) {
	text := graphQLProse.ReplaceAllString(string(data), "")
	var out strings.Builder
	seen, dropping := map[string]bool{}, false
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		if !strings.HasPrefix(line, " ") {
			seen, dropping = map[string]bool{}, false
		} else if m := fieldName.FindStringSubmatch(line); m != nil {
			dropping = seen[m[1]]
			seen[m[1]] = true
		}
		if !dropping {
			out.WriteString(line)
		}
	}
	return []byte(out.String()), nil
}
