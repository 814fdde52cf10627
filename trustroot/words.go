package trustroot

import (
	"encoding/base64"
	"fmt"
	"time"
)

// date writes a moment: the day where it is midnight.
func date(t time.Time) string {
	t = t.UTC()
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return t.Format("2006-01-02")
	}
	return t.Format(time.RFC3339Nano)
}

// String writes a window as people read it.
func (w Window) String() string {
	start, end := "always", "open"
	if !w.Start.IsZero() {
		start = date(w.Start)
	}
	if !w.End.IsZero() {
		end = date(w.End)
	}
	return start + " -> " + end
}

// from says how far away a moment is: "in 22 days", "today", "3 days ago".
func from(now, t time.Time) string {
	days := int64((t.Sub(now).Abs() + 12*time.Hour) / (24 * time.Hour))
	switch {
	case days == 0 && t.After(now):
		return "within a day"
	case days == 0:
		return "less than a day ago"
	case t.After(now):
		return "in " + count(days, "day")
	}
	return count(days, "day") + " ago"
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func base64Text(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
