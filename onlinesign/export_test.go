package onlinesign

import "time"

// SetAfter has a test say when the patience with a call is over.
func (o *Options) SetAfter(after func(time.Duration, func()) (stop func() bool)) { o.after = after }

// Prepare is a run without the branch and the commit: what is due at a commit of
// main, signed.
var Prepare = prepare
