package storetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
	"sync"

	"github.com/tufops/tufops/publish"
)

// Memory is a store in memory with compare-and-swap and no lock, as cloud
// stores are. The zero value is empty and ready for use.
type Memory struct {
	mu      sync.Mutex
	objects map[string]memoryObject
	writes  int
}

type memoryObject struct {
	data    []byte
	version int
}

// Get implements [publish.Reader].
func (m *Memory) Get(ctx context.Context, name string) (io.ReadCloser, publish.Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[name]
	if !ok {
		return nil, "", fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(o.data)), publish.Version(fmt.Sprint(o.version)), ctx.Err()
}

// List implements [publish.Reader].
func (m *Memory) List(_ context.Context, prefix string) ([]publish.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var objects []publish.Object
	for name, o := range m.objects {
		if strings.HasPrefix(name, prefix) {
			objects = append(objects, publish.Object{Name: name, Size: int64(len(o.data))})
		}
	}
	return objects, nil
}

// Put implements [publish.Store].
func (m *Memory) Put(ctx context.Context, name string, size int64, body io.Reader, was publish.Version) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	data, err := io.ReadAll(body)
	if err == nil && int64(len(data)) != size {
		err = fmt.Errorf("%d bytes came, not %d", len(data), size)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := publish.Version("")
	if o, ok := m.objects[name]; ok {
		now = publish.Version(fmt.Sprint(o.version))
	}
	if now != was {
		return fmt.Errorf("%s: %w", name, publish.ErrChanged)
	}
	m.set(name, data)
	return nil
}

func (m *Memory) set(name string, data []byte) {
	if m.objects == nil {
		m.objects = map[string]memoryObject{}
	}
	m.writes++
	m.objects[name] = memoryObject{data: data, version: m.writes}
}

// Set writes an object as somebody else would: unasked.
func (m *Memory) Set(name, content string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(name, []byte(content))
}

// Remove removes an object as somebody else would.
func (m *Memory) Remove(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
}

// Writes counts the writes so far.
func (m *Memory) Writes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

// Content is everything that is there, by name.
func (m *Memory) Content() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	content := map[string]string{}
	for name, o := range m.objects {
		content[name] = string(o.data)
	}
	return content
}

// Clone returns a copy that can go another way.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{objects: maps.Clone(m.objects), writes: m.writes}
}
